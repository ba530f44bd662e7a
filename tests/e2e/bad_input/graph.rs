//! Instances, and what they are to each other.

use insta::assert_snapshot;

use super::{project, says, shown, shown_in};

#[test]
fn a_matrix_of_nothing() {
    assert_snapshot!(
        shown("[stages.a]\nrun = 'x'\nmatrix = {}\n[stages.b]\nrun = 'x'\nmatrix = { x = [1], y = [] }\n"),
        @r"
    exit status: 2
    ----- stderr -----
    error[CRN0304]: `matrix` has no values
     --> pipeline.toml:3:10
      |
    3 | matrix = {}
      |          ^^ no instance comes of this
      |
      = help: list at least one value, or remove the matrix

    error[CRN0304]: `y` of the matrix has no values
     --> pipeline.toml:6:25
      |
    6 | matrix = { x = [1], y = [] }
      |                         ^^ no instance comes of this
      |
      = help: list at least one value, or remove the matrix

    error: 2 errors in `pipeline.toml`
    "
    );
}

#[test]
fn more_than_a_million_instances() {
    let values = |count: u32| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let stage = |name: &str, axes: &[u32]| {
        let axes: Vec<String> =
            (0..).zip(axes).map(|(n, axis): (u32, _)| format!("m{n} = [{}]", values(*axis))).collect();
        format!("[stages.{name}]\nrun = 'x'\nmatrix = {{ {} }}\n", axes.join(", "))
    };
    says(stage("a", &[101, 100, 100]), &["pipeline.toml:1:9", "more than 1000000 instances", "= 1010000"]);
    says(stage("a", &[10; 70]), &["pipeline.toml:1:9", "more than 1000000 instances"]);
    let several = stage("a", &[600, 1000]) + &stage("b", &[600, 1000]);
    says(several, &["pipeline.toml:4:9", "`b`", "more than 1000000 instances"]);
}

#[test]
fn cycles() {
    assert_snapshot!(
        shown(
            "[stages.a]\nrun = 'cp c a'\ninputs = ['c']\noutputs = ['a']\n\
             [stages.b]\nrun = 'cp a b'\ninputs = ['a']\noutputs = ['b']\n\
             [stages.c]\nrun = 'cp b c'\ninputs = ['b']\noutputs = ['c']\n"
        ),
        @r"
    exit status: 2
    ----- stderr -----
    error[CRN0605]: stages wait for each other: a → c → b → a
      --> pipeline.toml:3:11
       |
     3 | inputs = ['c']
       |           ^^^ `a` reads `c`, which `c` writes
    ...
     7 | inputs = ['a']
       |           --- `b` reads `a`, which `a` writes
    ...
    11 | inputs = ['b']
       |           --- `c` reads `b`, which `b` writes
       |
       = note: an arrow leads from a stage to the one it waits for
       = help: remove one of these dependencies, or split a stage in two

    error: 1 error in `pipeline.toml`
    "
    );
    // Both of two cycles are told.
    let pair = |one: &str, other: &str| {
        format!(
            "[stages.{one}]\nrun = 'x'\nneeds = ['{other}']\n[stages.{other}]\nrun = 'x'\nneeds = ['{one}']\n"
        )
    };
    says(
        pair("a", "b") + &pair("c", "d"),
        &["pipeline.toml:3:10", "a → b → a", "pipeline.toml:9:10", "c → d → c"],
    );
}

#[test]
fn a_stage_that_waits_for_itself() {
    assert_snapshot!(shown("[stages.a]\nrun = 'x'\nneeds = ['a']\n"), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0604]: the stage `a` waits for itself
     --> pipeline.toml:3:10
      |
    3 | needs = ['a']
      |          ^^^ the stage itself
      |
      = help: remove it

    error: 1 error in `pipeline.toml`
    ");
    says("[stages.a]\nrun = 'x'\ninputs = [{ stage = 'a' }]\n", &["pipeline.toml:3:21", "waits for itself"]);
    says("[stages.a]\nrun = 'x'\nneeds = ['b']\n", &["pipeline.toml:3:10", "there is no stage `b`"]);
}

#[test]
fn two_writers_of_one_path() {
    let two = |one: &str, other: &str| {
        format!("[stages.a]\nrun = 'x'\noutputs = ['{one}']\n[stages.b]\nrun = 'x'\noutputs = ['{other}']\n")
    };
    assert_snapshot!(shown(two("out/x", "./out/x")), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0601]: `out/x` is written by `a` and by `b`
     --> pipeline.toml:6:12
      |
    3 | outputs = ['out/x']
      |            ------- written by `a`
    ...
    6 | outputs = ['./out/x']
      |            ^^^^^^^^^ written by `b`
      |
      = help: give each its own path; a stage that needs both reads both

    error: 1 error in `pipeline.toml`
    ");
    assert_snapshot!(shown(two("out/x", "Out/X")), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0602]: the outputs `Out/X` and `out/x` differ in letter case only
     --> pipeline.toml:3:12
      |
    3 | outputs = ['out/x']
      |            ^^^^^^^ written by `a`
    ...
    6 | outputs = ['Out/X']
      |            ------- written by `b`
      |
      = note: on the filesystems of macOS and Windows they are one file
      = help: rename one, or write it the same where the same is meant

    error: 1 error in `pipeline.toml`
    ");
    for (one, other) in [("x", "x"), ("./x", "x"), ("d/./x", "d//x"), ("d/", "d")] {
        says(two(one, other), &["pipeline.toml:6:12", "is written by `a` and by `b`", "its own path"]);
    }
    for (one, other) in [("d/", "d/x"), ("d/", "D/x/"), ("d", "d/x")] {
        says(
            two(one, other),
            &["pipeline.toml:6:12", "lies in the output", "written by `a`", "written by `b`"],
        );
    }
    says(
        "[stages.a]\nrun = 'x'\noutputs = ['x']\nstdout = './x'\n",
        &["pipeline.toml:4:10", "an output of `a` twice"],
    );
    says(
        "[stages.a]\nrun = 'x'\nmatrix = { i = [1, 2] }\noutputs = ['x.csv']\n",
        &["pipeline.toml:4:12", "`a[1]` and by `a[2]`", "x-{{ matrix.i }}.csv"],
    );
}

/// I7: a clash by letter case hides no clash by name.
#[test]
fn two_writers_beside_a_third_that_differs_by_letter_case() {
    says(
        "[stages.a]\nrun = 'x'\noutputs = ['x']\n[stages.b]\nrun = 'x'\noutputs = ['x']\n\
         [stages.c]\nrun = 'x'\noutputs = ['X']\n",
        &["`x` is written by `a` and by `b`", "differ in letter case only"],
    );
}

#[test]
fn outputs_that_are_inputs() {
    assert_snapshot!(shown("[stages.a]\nrun = 'x'\ninputs = ['x']\noutputs = ['./x']\n"), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0604]: `a` reads `x`, which it writes itself
     --> pipeline.toml:3:11
      |
    3 | inputs = ['x']
      |           ^^^ reads what it writes
    4 | outputs = ['./x']
      |            ----- written here
      |
      = help: write to another path, or read less: what a stage reads is there before it starts

    error: 1 error in `pipeline.toml`
    ");
    let check = |input: &str, output: &str| {
        let text = format!("[stages.a]\nrun = 'x'\ninputs = ['{input}']\noutputs = ['{output}']\n");
        says(text, &["pipeline.toml:3:11", "which it writes itself", "write to another path"]);
    };
    check("*.txt", "x.txt");
    check("d", "d/x");
    check("d/x", "d/");
    check("d/**", "d/e/");
}

/// On a filesystem without letter case, `Y` and `y` are one file, as two outputs are.
#[test]
fn an_output_that_is_an_input_by_letter_case() {
    let project = project();
    project.write("Y", "").write("D/x", "");
    let check = |input: &str, output: &str| {
        let text = format!("[stages.a]\nrun = 'x'\ninputs = ['{input}']\noutputs = ['{output}']\n");
        project.write("pipeline.toml", text);
        let shown = shown_in(&project);
        assert!(shown.contains("pipeline.toml:3:11") && shown.contains("letter case"), "{shown}");
    };
    check("Y", "y");
    check("D/x", "d/");
    check("D/x", "d/X");
}
