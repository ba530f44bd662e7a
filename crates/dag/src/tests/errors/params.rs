//! Params.

use super::*;

#[test]
fn params_of_the_command_line() {
    let text = "[params]\nyear = 2013\nfull = false\nday = 2024-01-31\ncarrier = { default = \"UA\", choices = [\"UA\", \"AA\"] }\n[stages.a]\nrun = \"echo {{ params }}\"\n";
    let set = [
        ("yaer", "2014"),
        ("year", "last"),
        ("carrier", "ZZ"),
        ("full", "yes"),
        ("day", "2024-01-31T00:00:00"),
    ];
    let report = load_with(text, &with_params(&set), &Disk::default()).unwrap_err();
    insta::assert_snapshot!(draw(text, &report), @r#"
    error[CRN0301]: `-p yaer=2014`: there is no param `yaer`
    help: did you mean `year`?

    error[CRN0302]: `-p year=last`: the param `year` is an integer
    help: write a value like its default, `-p year=2013`

    error[CRN0302]: `-p full=yes`: the param `full` is a boolean
    help: write a value like its default, `-p full=false`

    error[CRN0302]: `-p day=2024-01-31T00:00:00`: the param `day` is a date
    help: write a value like its default, `-p day=2024-01-31`

    error[CRN0303]: `-p carrier=ZZ`: not a choice of the param `carrier`
    help: take one of `UA`, `AA`

    error[CRN0405]: `params` is a table, not a text
     --> pipeline.toml:7:16
      |
    7 | run = "echo {{ params }}"
      |                ^^^^^^ no text
      |
      = help: write `params.carrier` or `params.day` or `params.full` or `params.year`

    error: 6 errors in `pipeline.toml`
    "#);
}

#[test]
fn params_that_contradict_themselves() {
    let text = "[params]\na = { default = 1, choices = [2, \"3\"] }\nb = { help = \"x\" }\nc = [1, 2]\nd = inf\n[stages.a]\nrun = \"echo {{ params.a }} {{ params.b }}\"\n";
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0303]: the default of the param `a` is not among its choices
     --> pipeline.toml:2:17
      |
    2 | a = { default = 1, choices = [2, "3"] }
      |                 ^ not a choice
      |
      = help: take one of 2, "3"

    error[CRN0204]: a choice of the param `a` is not an integer like its default
     --> pipeline.toml:2:34
      |
    2 | a = { default = 1, choices = [2, "3"] }
      |                 -                ^^^ this is a string
      |                 |
      |                 this is an integer
      |
      = help: give all choices the type of the default

    error[CRN0206]: the param `b` has no default
     --> pipeline.toml:3:1
      |
    3 | b = { help = "x" }
      | ^ no `default` in this table
      |
      = help: write `{ default = … }`: a param has the type of its default

    error[CRN0204]: the param `c` cannot be an array
     --> pipeline.toml:4:5
      |
    4 | c = [1, 2]
      |     ^^^^^^ this is an array
      |
      = help: for allowed values write `{ default = …, choices = […] }`; for a run of each, write a `matrix` in the stage

    error[CRN0205]: the param `d` is not finite
     --> pipeline.toml:5:5
      |
    5 | d = inf
      |     ^^^ not finite
      |
      = help: write a finite number, or a string

    error[CRN0402]: `params.b` has no value
     --> pipeline.toml:7:31
      |
    7 | run = "echo {{ params.a }} {{ params.b }}"
      |                               ^^^^^^^^ nothing has this name
      |
      = help: give it a value, or a default: `… | default("x")`

    error: 6 errors in `pipeline.toml`
    "#);
}
