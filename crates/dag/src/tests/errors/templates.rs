//! Templates.

use super::*;

#[test]
fn unknown_names_at_their_place() {
    let text = r#"[params]
year = 2013
[stages.a]
matrix = { carrier = ["UA"] }
inputs = { raw = "raw.csv" }
outputs = ["out.csv"]
run = """
echo {{ params.yaer }} {{ year }} {{ matrix.carier }} \
  {{ inputs.row }} {{ outputs[1] }} {{ param.year }} {{ foo }}
"""
"#;
    insta::assert_snapshot!(drawn(text, &["raw.csv"]), @r#"
    error[CRN0402]: there is no `params.yaer`
     --> pipeline.toml:8:16
      |
    8 | echo {{ params.yaer }} {{ year }} {{ matrix.carier }} \
      |                ^^^^ unknown name
      |
    help: did you mean `params.year`?
      |
    8 - echo {{ params.yaer }} {{ year }} {{ matrix.carier }} \
    8 + echo {{ params.year }} {{ year }} {{ matrix.carier }} \
      |

    error[CRN0402]: there is no name `year`
     --> pipeline.toml:8:27
      |
    8 | echo {{ params.yaer }} {{ year }} {{ matrix.carier }} \
      |                           ^^^^ unknown name
      |
    help: write `params.year`
      |
    8 | echo {{ params.yaer }} {{ params.year }} {{ matrix.carier }} \
      |                           +++++++

    error[CRN0402]: there is no `matrix.carier`
     --> pipeline.toml:8:45
      |
    8 | echo {{ params.yaer }} {{ year }} {{ matrix.carier }} \
      |                                             ^^^^^^ unknown name
      |
    help: did you mean `matrix.carrier`?
      |
    8 | echo {{ params.yaer }} {{ year }} {{ matrix.carrier }} \
      |                                                +

    error[CRN0402]: there is no `inputs.row`
     --> pipeline.toml:9:13
      |
    9 |   {{ inputs.row }} {{ outputs[1] }} {{ param.year }} {{ foo }}
      |             ^^^ unknown name
      |
    help: did you mean `inputs.raw`?
      |
    9 -   {{ inputs.row }} {{ outputs[1] }} {{ param.year }} {{ foo }}
    9 +   {{ inputs.raw }} {{ outputs[1] }} {{ param.year }} {{ foo }}
      |

    error[CRN0402]: `outputs[1]` does not exist: there are 1
     --> pipeline.toml:9:31
      |
    9 |   {{ inputs.row }} {{ outputs[1] }} {{ param.year }} {{ foo }}
      |                               ^ too large
      |
      = help: count from 0

    error[CRN0402]: there is no name `param`
     --> pipeline.toml:9:40
      |
    9 |   {{ inputs.row }} {{ outputs[1] }} {{ param.year }} {{ foo }}
      |                                        ^^^^^ unknown name
      |
    help: did you mean `params`?
      |
    9 |   {{ inputs.row }} {{ outputs[1] }} {{ params.year }} {{ foo }}
      |                                             +

    error[CRN0402]: there is no name `foo`
     --> pipeline.toml:9:57
      |
    9 |   {{ inputs.row }} {{ outputs[1] }} {{ param.year }} {{ foo }}
      |                                                         ^^^ unknown name
      |
      = help: the names are `params`, `matrix`, `inputs`, `outputs`, `stage`, `run` and `interval`; for `{{` itself write `{{ "{{" }}`

    error: 7 errors in `pipeline.toml`
    "#);
}

#[test]
fn names_that_mean_nothing_here() {
    let text = r#"[env]
A = "{{ matrix.x }}{{ stage.name }}"
[stages.a]
run = "echo {{ item.path }} {{ interval.begin }} {{ env.HOME }} {{ now() }}"
inputs = ["{{ outputs[0] }}"]
outputs = ["{{ inputs[0] }}.gz"]
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0406]: `matrix` means nothing in `[env]`
     --> pipeline.toml:2:9
      |
    2 | A = "{{ matrix.x }}{{ stage.name }}"
      |         ^^^^^^ not here
      |
      = help: use `params`, `run`, `interval`

    error[CRN0406]: `stage` means nothing in `[env]`
     --> pipeline.toml:2:23
      |
    2 | A = "{{ matrix.x }}{{ stage.name }}"
      |                       ^^^^^ not here
      |
      = help: use `params`, `run`, `interval`

    error[CRN0203]: `item` is not supported yet
     --> pipeline.toml:4:16
      |
    4 | run = "echo {{ item.path }} {{ interval.begin }} {{ env.HOME }} {{ now() }}"
      |                ^^^^ comes in a later version
      |
      = help: list the values in a `matrix`

    error[CRN0402]: there is no `interval.begin`
     --> pipeline.toml:4:41
      |
    4 | run = "echo {{ item.path }} {{ interval.begin }} {{ env.HOME }} {{ now() }}"
      |                                         ^^^^^ unknown name
      |
      = help: there is `interval.start`, `interval.end`

    error[CRN0402]: `env` is not a name in templates
     --> pipeline.toml:4:53
      |
    4 | run = "echo {{ item.path }} {{ interval.begin }} {{ env.HOME }} {{ now() }}"
      |                                                     ^^^ unknown name
      |
      = help: write `pass_env = ["HOME"]` and use `"$HOME"` in the text

    error[CRN0402]: there is no function `now`
     --> pipeline.toml:4:68
      |
    4 | run = "echo {{ item.path }} {{ interval.begin }} {{ env.HOME }} {{ now() }}"
      |                                                                    ^^^ unknown function
      |
      = help: the clock is in no template: write `run.logical_time` or `interval.end`, which are fixed for a run

    error[CRN0406]: `outputs` means nothing in an input
     --> pipeline.toml:5:15
      |
    5 | inputs = ["{{ outputs[0] }}"]
      |               ^^^^^^^ not here
      |
      = help: use `params`, `matrix`, `stage`, `run`, `interval`

    error[CRN0406]: `inputs` means nothing in an output's path
     --> pipeline.toml:6:16
      |
    6 | outputs = ["{{ inputs[0] }}.gz"]
      |                ^^^^^^ not here
      |
      = help: use `params`, `matrix`, `stage`, `run`, `interval`

    error: 8 errors in `pipeline.toml`
    "#);
}

#[test]
fn syntax() {
    let text = r#"[stages.a]
run = "echo {{ params. }} {{ 1 + }} {{.Names}} {{ 'x }}"
[stages.b]
run = "{% for x in y %}{{ x }}"
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0401]: `{{ params. }}` cannot be read
     --> pipeline.toml:2:22
      |
    2 | run = "echo {{ params. }} {{ 1 + }} {{.Names}} {{ 'x }}"
      |                      ^ unexpected end of input, expected identifier or integer
      |
      = help: write a name such as `{{ params.year }}`; for `{{` itself write `{{ "{{" }}`

    error[CRN0401]: `{{ 1 + }}` cannot be read
     --> pipeline.toml:2:32
      |
    2 | run = "echo {{ params. }} {{ 1 + }} {{.Names}} {{ 'x }}"
      |                                ^ unexpected end of input, expected expression
      |
      = help: write a name such as `{{ params.year }}`; for `{{` itself write `{{ "{{" }}`

    error[CRN0401]: `{{.Names}}` cannot be read
     --> pipeline.toml:2:39
      |
    2 | run = "echo {{ params. }} {{ 1 + }} {{.Names}} {{ 'x }}"
      |                                       ^ unexpected `.`
      |
      = help: write a name such as `{{ params.year }}`; for `{{` itself write `{{ "{{" }}`

    error[CRN0401]: a template is not closed
     --> pipeline.toml:2:48
      |
    2 | run = "echo {{ params. }} {{ 1 + }} {{.Names}} {{ 'x }}"
      |                                                ^^ opened here
      |
      = help: close it with `}}`; for `{{` itself write `{{ "{{" }}`

    error[CRN0403]: a template holds expressions only, no blocks
     --> pipeline.toml:4:8
      |
    4 | run = "{% for x in y %}{{ x }}"
      |        ^^ a block begins here
      |
      = help: write an expression such as `{{ "a" if params.x else "b" }}`; for `{%` itself write `{{ "{%" }}`

    error[CRN0402]: there is no name `x`
     --> pipeline.toml:4:27
      |
    4 | run = "{% for x in y %}{{ x }}"
      |                           ^ unknown name
      |
      = help: the names are `params`, `matrix`, `inputs`, `outputs`, `stage`, `run` and `interval`; for `{{` itself write `{{ "{{" }}`

    error: 6 errors in `pipeline.toml`
    "#);
}

#[test]
fn an_expression_that_is_nested_too_deep() {
    let text = |n| format!("[stages.a]\nrun = [\"{{{{ {}1{} }}}}\"]\n", "(".repeat(n), ")".repeat(n));
    pipeline(&text(20), &[]);
    assert_eq!(codes(&text(50_000), &[]), [crate::code::TEMPLATE_SYNTAX]);
}

#[test]
fn values_that_a_shell_would_not_take_as_they_are() {
    let text = r#"[params]
title = "a; rm -rf ~"
[stages.a]
matrix = { name = ["good", "not good", "nor this"] }
run = "echo {{ params.title }} {{ matrix.name }}"
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0404]: `params.title` puts `;` into a shell text
     --> pipeline.toml:5:16
      |
    5 | run = "echo {{ params.title }} {{ matrix.name }}"
      |                ^^^^^^^^^^^^ its value is `a; rm -rf ~`
      |
      = note: a shell text takes only values of letters, digits and `_./:=@%+,-`, so that no value can be a command
      = note: the same is found 2 more times in the stage
      = help: write `env = { TITLE = "{{ params.title }}" }` and use `"$TITLE"` in the text

    error[CRN0404]: `matrix.name` puts a blank into a shell text
     --> pipeline.toml:5:35
      |
    5 | run = "echo {{ params.title }} {{ matrix.name }}"
      |                                   ^^^^^^^^^^^ its value is `not good`
      |
      = note: a shell text takes only values of letters, digits and `_./:=@%+,-`, so that no value can be a command
      = note: the same is found once more in the stage
      = help: write `env = { NAME = "{{ matrix.name }}" }` and use `"$NAME"` in the text

    error: 2 errors in `pipeline.toml`
    "#);
}

#[test]
fn inputs_that_are_no_single_path() {
    let text = r#"[stages.a]
run = "cat {{ inputs.all }} {{ inputs.token }} {{ inputs.version }}"
inputs = { all = "raw/*.csv", token = { env = "TOKEN" }, version = { command = "awk --version" } }
[stages.b]
run = ["cat", "{{ inputs[0] }}", "{{ inputs }}", "{{ params }}"]
inputs = [{ stage = "c" }]
[stages.c]
run = "true > c"
outputs = ["c"]
"#;
    insta::assert_snapshot!(drawn(text, &["raw/a.csv"]), @r#"
    error[CRN0406]: this input is the pattern `raw/*.csv`, not one path
     --> pipeline.toml:2:15
      |
    2 | run = "cat {{ inputs.all }} {{ inputs.token }} {{ inputs.version }}"
      |               ^^^^^^^^^^ cannot be put into a text
      |
      = help: write the pattern itself in a shell text, which expands it: `raw/*.csv`

    error[CRN0406]: this input is the variable `TOKEN`, not a path
     --> pipeline.toml:2:32
      |
    2 | run = "cat {{ inputs.all }} {{ inputs.token }} {{ inputs.version }}"
      |                                ^^^^^^^^^^^^ cannot be put into a text
      |
      = help: write `pass_env = ["TOKEN"]` and use `"$TOKEN"` in the text

    error[CRN0406]: this input is what a command prints, not a path
     --> pipeline.toml:2:51
      |
    2 | run = "cat {{ inputs.all }} {{ inputs.token }} {{ inputs.version }}"
      |                                                   ^^^^^^^^^^^^^^ cannot be put into a text
      |
      = help: run the command in the text as well

    error[CRN0406]: this input is all outputs of `c`, not one path
     --> pipeline.toml:5:19
      |
    5 | run = ["cat", "{{ inputs[0] }}", "{{ inputs }}", "{{ params }}"]
      |                   ^^^^^^^^ cannot be put into a text
      |
      = help: write the path of the output as an input of its own

    error[CRN0405]: `inputs` is a list, not a text
     --> pipeline.toml:5:38
      |
    5 | run = ["cat", "{{ inputs[0] }}", "{{ inputs }}", "{{ params }}"]
      |                                      ^^^^^^ no text
      |
      = help: write `inputs[0]` for the first

    error[CRN0405]: `params` is a table, not a text
     --> pipeline.toml:5:54
      |
    5 | run = ["cat", "{{ inputs[0] }}", "{{ inputs }}", "{{ params }}"]
      |                                                      ^^^^^^ no text
      |
      = help: define what `params` is to hold first

    error: 6 errors in `pipeline.toml`
    "#);
}

#[test]
fn what_cannot_be_computed() {
    let text = r#"[params]
year = 2013
[stages.a]
run = ["echo", "{{ params.year | nofilter }}", "{{ params.year / 0 }}", "{{ range(1000000) | join }}", "{{ none }}", "{{ params.year if false }}"]
"#;
    insta::assert_snapshot!(drawn(text, &[]), @r#"
    error[CRN0405]: `params.year | nofilter` cannot be filled in
     --> pipeline.toml:4:20
      |
    4 | run = ["echo", "{{ params.year | nofilter }}", "{{ params.year / 0 }}", "{{ range(1000000) | join }}", "{{ none }...
      |                    ^^^^^^^^^^^^^^^^^^^^^^ filter nofilter is unknown
      |
      = help: see the filters of minijinja: https://docs.rs/minijinja/latest/minijinja/filters

    error[CRN0405]: `params.year / 0` cannot be filled in
     --> pipeline.toml:4:52
      |
    4 | run = ["echo", "{{ params.year | nofilter }}", "{{ params.year / 0 }}", "{{ range(1000000) | join }}", "{{ none }...
      |                                                    ^^^^^^^^^^^^^^^ unable to calculate 2013 / 0
      |
      = help: check the types of the values

    error[CRN0405]: `range(1000000) | join` cannot be filled in
     --> pipeline.toml:4:77
      |
    4 | ... "{{ params.year / 0 }}", "{{ range(1000000) | join }}", "{{ none }}", "{{ params.year if false }}"]
      |                                  ^^^^^^^^^^^^^^^^^^^^^ range has too many elements
      |
      = help: check the types of the values

    error[CRN0405]: `none` is nothing, not a text
     --> pipeline.toml:4:108
      |
    4 | ...year / 0 }}", "{{ range(1000000) | join }}", "{{ none }}", "{{ params.year if false }}"]
      |                                                     ^^^^ no text
      |
      = help: write an expression whose value is a text or a number

    error[CRN0402]: `params.year if false` has no value
     --> pipeline.toml:4:122
      |
    4 | ...00) | join }}", "{{ none }}", "{{ params.year if false }}"]
      |                                      ^^^^^^^^^^^^^^^^^^^^ nothing has this name
      |
      = help: give it a value, or a default: `… | default("x")`

    error: 5 errors in `pipeline.toml`
    "#);
}

#[test]
fn a_command_longer_than_the_system_takes() {
    let text = format!("[stages.a]\nrun = '''\n{}\n'''\n", "echo 0123456789\n".repeat(10_000));
    insta::assert_snapshot!(drawn(&text, &[]), @"
    error[CRN0407]: a command of 160001 bytes
     --> pipeline.toml:2:7
      |
    2 | run = '''
      |       ^^^ the system takes 131071 in one argument
      |
      = help: put it in a script file, and name that in `inputs`

    error: 1 error in `pipeline.toml`
    ");
}
