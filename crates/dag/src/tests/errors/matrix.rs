//! Matrices.

use super::*;

#[test]
fn of_nothing() {
    let text =
        "[stages.a]\nrun = \"true\"\nmatrix = {}\n[stages.b]\nrun = \"true\"\nmatrix = { year = [] }\n";
    insta::assert_snapshot!(drawn(text, &[]), @"
    error[CRN0304]: `matrix` has no values
     --> pipeline.toml:3:10
      |
    3 | matrix = {}
      |          ^^ no instance comes of this
      |
      = help: list at least one value, or remove the matrix

    error[CRN0304]: `year` of the matrix has no values
     --> pipeline.toml:6:19
      |
    6 | matrix = { year = [] }
      |                   ^^ no instance comes of this
      |
      = help: list at least one value, or remove the matrix

    error: 2 errors in `pipeline.toml`
    ");
}

#[test]
fn of_more_than_a_million() {
    let list = |n: usize| (0..n).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let text = format!(
        "[stages.a]\nrun = \"true\"\n[stages.grid]\nrun = \"true\"\n[stages.grid.matrix]\nx = [{}]\ny = [{}]\n",
        list(1000),
        list(1000)
    );
    insta::assert_snapshot!(drawn(&text, &[]), @"
    error[CRN0305]: up to the stage `grid` there are more than 1000000 instances
     --> pipeline.toml:3:9
      |
    3 | [stages.grid]
      |         ^^^^ 1000 × 1000 = 1000000 instances
    ...
    6 | x = [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,3…
      | - 1000 values
    7 | y = [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,3…
      | - 1000 values
      |
      = help: let one instance do a range of the work, or split the pipeline

    error: 1 error in `pipeline.toml`
    ");
    // The product does not fit 64 bits, and no part of it is made.
    let axes = (0..10).map(|axis| format!("x{axis} = [{}]\n", list(1000))).collect::<String>();
    let text = format!("[stages.a]\nrun = \"true\"\n[stages.a.matrix]\n{axes}");
    assert_eq!(codes(&text, &[]), [crate::code::TOO_MANY_INSTANCES]);
}

#[test]
fn of_equal_values() {
    let text =
        "[stages.a]\nrun = \"true\"\nmatrix = { x = [1, \"1\", 2], y = [\"{{ params.z }}\"], z-z = [[1]] }\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0306]: `1` stands twice in `x` of the matrix
     --> pipeline.toml:3:20
      |
    3 | matrix = { x = [1, "1", 2], y = ["{{ params.z }}"], z-z = [[1]] }
      |                 -  ^^^ again
      |                 |
      |                 first here
      |
      = help: remove one: values are told apart by their text

    error[CRN0205]: a value of `y` of the matrix cannot be a template
     --> pipeline.toml:3:34
      |
    3 | matrix = { x = [1, "1", 2], y = ["{{ params.z }}"], z-z = [[1]] }
      |                                  ^^^^^^^^^^^^^^^^ taken as it is
      |
      = help: write the values themselves; a param can be combined with them where they are used

    error[CRN0207]: `z-z` cannot be a name in a matrix
     --> pipeline.toml:3:53
      |
    3 | matrix = { x = [1, "1", 2], y = ["{{ params.z }}"], z-z = [[1]] }
      |                                                     ^^^ not usable in a template
      |
      = note: such a name begins with a letter or `_` and holds letters, digits and `_`
    help: write `z_z`
      |
    3 - matrix = { x = [1, "1", 2], y = ["{{ params.z }}"], z-z = [[1]] }
    3 + matrix = { x = [1, "1", 2], y = ["{{ params.z }}"], z_z = [[1]] }
      |

    error[CRN0204]: a value of `z-z` of the matrix must be a string, number, boolean, date or time, not an array
     --> pipeline.toml:3:60
      |
    3 | matrix = { x = [1, "1", 2], y = ["{{ params.z }}"], z-z = [[1]] }
      |                                                            ^^^ this is an array
      |
      = help: write a string, number, boolean, date or time

    error: 4 errors in `pipeline.toml`
    "#);
}

#[test]
fn instances_that_write_the_same() {
    let text = "[stages.by-carrier]\nmatrix = { year = [2013, 2014], carrier = [\"UA\", \"AA\"] }\nrun = \"true\"\noutputs = [\"build/out.json\"]\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0601]: `build/out.json` is written by `by-carrier[2013,UA]` and by `by-carrier[2013,AA]`
     --> pipeline.toml:4:12
      |
    4 | outputs = ["build/out.json"]
      |            ^^^^^^^^^^^^^^^^ the same for several instances
      |
      = note: the same is found 2 more times in the stage
      = help: put the matrix into the path, for example `build/out-{{ matrix.year }}-{{ matrix.carrier }}.json`

    error: 1 error in `pipeline.toml`
    "#);
}
