//! Bad input: exit 2 with place, cause and mend, all errors at once, and nothing executed.

use std::os::unix::fs::symlink;

use cairn_testkit::{Outcome, Project};
use insta::assert_snapshot;

use super::BINARY;

/// Seconds after which a command counts as hanging.
const HANG: &str = "10";

/// Makes a project whose commands are ended when they hang.
fn project() -> Project {
    Project::new("timeout")
}

fn cairn(project: &Project, arguments: &[&str]) -> Outcome {
    let limited: Vec<&str> =
        ["--kill-after=1", HANG, BINARY].into_iter().chain(arguments.iter().copied()).collect();
    project.cairn(&limited)
}

/// Checks that a command is refused and leaves everything as it was.
#[track_caller]
fn refused(project: &Project, arguments: &[&str]) -> Outcome {
    let before = project.snapshot();
    let outcome = cairn(project, arguments).expect(2);
    assert!(!project.exists(".cairn"), "a state folder was made: {}", outcome.shown());
    assert_eq!(project.snapshot(), before, "{}", outcome.shown());
    assert!(!outcome.stderr.contains('\x1b'), "an escape got through: {}", outcome.shown());
    outcome
}

/// Checks that `check`, `plan` and `run` refuse the project's file with the same errors, each with its place and its
/// mend, and returns what people see.
#[track_caller]
fn shown_in(project: &Project) -> String {
    let run = refused(project, &["run"]);
    assert_eq!(run.stdout, "", "{}", run.shown());
    for command in ["check", "plan"] {
        let outcome = refused(project, &[command]);
        assert_eq!(outcome.stderr, run.stderr, "`{command}` and `run` differ");
    }
    let lines = || run.stderr.lines();
    let errors = lines().filter(|line| line.starts_with("error[CRN")).count();
    let places = lines().filter(|line| line.trim_start().starts_with("--> pipeline.toml:")).count();
    let mends = lines().filter(|line| line.starts_with("help: ") || line.contains(" = help: ")).count();
    assert!(errors > 0 && errors == places && errors == mends, "{}", run.shown());
    run.shown()
}

#[track_caller]
fn shown(text: impl AsRef<[u8]>) -> String {
    let project = project();
    project.write("pipeline.toml", text);
    shown_in(&project)
}

/// Checks that all of `parts` are told: places, causes, mends.
#[track_caller]
fn says(text: impl AsRef<[u8]>, parts: &[&str]) {
    let shown = shown(text);
    for part in parts {
        assert!(
            shown.contains(part),
            "`{part}` is not told:\n{}",
            shown.chars().take(4000).collect::<String>()
        );
    }
}

#[test]
fn broken_toml() {
    assert_snapshot!(shown("[stages.a]\nrun = \"echo\n[stages.b\nrun = 'x'\nrun = 'y'\n"), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0101]: invalid basic string
     --> pipeline.toml:2:12
      |
    2 | run = "echo
      |            ^ expected `"`
      |
      = help: close the string with the quote it began with

    error[CRN0101]: unclosed table
     --> pipeline.toml:3:10
      |
    3 | [stages.b
      |          ^ expected `]`
      |
      = help: close the header with `]`

    error: 2 errors in `pipeline.toml`
    "#);
    says(
        "[stages.a]\nrun = 'x'\n[stages.a]\nrun = 'x'\n",
        &["pipeline.toml:3:9", "`a` is defined twice", "rename it"],
    );
    says(
        "[stages.a]\noutputs = ['a'\n[stages.b]\nrun = 'x'\n",
        &["pipeline.toml:3:1", "close the array before this line"],
    );
    says("[stages.a\nrun = 'x'\n", &["pipeline.toml:1:10", "unclosed table", "close the header with `]`"]);
    says("hello world\n", &["pipeline.toml:1:7", "key with no value", "write `key = value`"]);
    says("[stages.a]\nrun = \"a\\d\"\n", &["pipeline.toml:2:10", "write `\\\\` for a backslash"]);
}

/// A reference to the language's site is no mend.
#[test]
fn every_syntax_error_has_a_mend_of_its_own() {
    for line in ["run == 'x'", "priority = 01", "timeout = 1979-13-01", "run = 'x' 'y'", "run = \"\"\"x", "]"]
    {
        let shown = shown(format!("[stages.a]\n{line}\n"));
        assert!(shown.contains("pipeline.toml:2:") || shown.contains("pipeline.toml:3:1"), "{shown}");
        assert!(!shown.contains("toml.io"), "{shown}");
    }
}

/// Where a text is never closed, the place that helps is where it was opened.
#[test]
fn a_text_that_is_never_closed_is_shown_where_it_opens() {
    says("[stages.a]\nrun = \"\"\"\necho\n\n\n", &["pipeline.toml:2:7", "close it with `\"\"\"`"]);
    says("[stages.a]\nrun = '''\necho\n\n\n", &["pipeline.toml:2:7", "close it with `'''`"]);
}

/// A control character in a string is no matter of quotes.
#[test]
fn a_control_character_is_named_as_what_it_is() {
    says("[stages.a]\nrun = \"ec\x1b[31mho\"\n", &["pipeline.toml:2:10", "control character", "\\u001b"]);
}

#[test]
fn wrong_types() {
    assert_snapshot!(
        shown("[env]\nA = 1\n[stages.a]\nrun = 3\ninputs = \"x\"\ntimeout = 10\nmatrix = 4\n"),
        @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0204]: the variable `A` must be a string, not an integer
     --> pipeline.toml:2:5
      |
    2 | A = 1
      |     ^ this is an integer
      |
    help: write `"1"`
      |
    2 - A = 1
    2 + A = "1"
      |

    error[CRN0204]: `run` must be a string or an array of strings, not an integer
     --> pipeline.toml:4:7
      |
    4 | run = 3
      |       ^ this is an integer
      |
    help: write `"3"`
      |
    4 - run = 3
    4 + run = "3"
      |

    error[CRN0204]: `inputs` must be an array, or a table of names, not a string
     --> pipeline.toml:5:10
      |
    5 | inputs = "x"
      |          ^^^ this is a string
      |
    help: write `["x"]`
      |
    5 - inputs = "x"
    5 + inputs = ["x"]
      |

    error[CRN0208]: `timeout` is 10 of what?
     --> pipeline.toml:6:11
      |
    6 | timeout = 10
      |           ^^ a duration needs a unit
      |
    help: write `"10s"` for seconds
      |
    6 - timeout = 10
    6 + timeout = "10s"
      |

    error[CRN0204]: `matrix` must be a table of arrays such as `{ carrier = ["UA", "AA"] }`, not an integer
     --> pipeline.toml:7:10
      |
    7 | matrix = 4
      |          ^ this is an integer
      |
      = help: write a table of arrays such as `{ carrier = ["UA", "AA"] }`

    error: 5 errors in `pipeline.toml`
    "#
    );
    says("stages = [1]\n", &["pipeline.toml:1:1", "`stages` must be a table", "[stages.NAME]"]);
    says("[[stages]]\nrun = 'x'\n", &["pipeline.toml:1:", "`stages` must be a table", "[stages.NAME]"]);
    says("[stages]\na = 'x'\n", &["pipeline.toml:2:5", "the stage `a` must be a table", "[stages.a]"]);
    says(
        "[params]\nx = [1]\n[stages.a]\nrun = 'x'\n",
        &["pipeline.toml:2:5", "cannot be an array", "`matrix`"],
    );
}

#[test]
fn unknown_keys_propose_ours() {
    assert_snapshot!(
        shown("[stages.a]\ncmd = 'x'\ndeps = ['in']\nouts = ['out']\ninptus = ['in']\n"),
        @r"
    exit status: 2
    ----- stderr -----
    error[CRN0202]: a stage has no key `cmd`
     --> pipeline.toml:2:1
      |
    2 | cmd = 'x'
      | ^^^ is called `run` here
      |
    help: write `run`
      |
    2 - cmd = 'x'
    2 + run = 'x'
      |

    error[CRN0202]: a stage has no key `deps`
     --> pipeline.toml:3:1
      |
    3 | deps = ['in']
      | ^^^^ is called `inputs` here
      |
    help: write `inputs`
      |
    3 - deps = ['in']
    3 + inputs = ['in']
      |

    error[CRN0202]: a stage has no key `outs`
     --> pipeline.toml:4:1
      |
    4 | outs = ['out']
      | ^^^^ is called `outputs` here
      |
    help: write `outputs`
      |
    4 | outputs = ['out']
      |    +++

    error[CRN0201]: a stage has no key `inptus`
     --> pipeline.toml:5:1
      |
    5 | inptus = ['in']
      | ^^^^^^ unknown key
      |
    help: did you mean `inputs`?
      |
    5 - inptus = ['in']
    5 + inputs = ['in']
      |

    error: 4 errors in `pipeline.toml`
    "
    );
    for (word, ours) in [
        ("cmd", "run"),
        ("command", "run"),
        ("script", "run"),
        ("deps", "inputs"),
        ("outs", "outputs"),
        ("depends", "needs"),
        ("depends_on", "needs"),
        ("retry", "retries"),
        ("outptus", "outputs"),
    ] {
        let text = format!("[stages.a]\nrun = 'x'\n{word} = ['x']\n");
        says(text, &["pipeline.toml:3:1", &format!("no key `{word}`"), &format!("`{ours}")]);
    }
    says(
        "[stages.a]\nrun = 'x'\nquux = 1\n",
        &["pipeline.toml:3:1", "the keys of a stage are `run`, `inputs`"],
    );
    says("[stage.a]\nrun = 'x'\n", &["pipeline.toml:1:2", "write `stages`"]);
    says("[stages.a]\nrun = 'x'\nwhen = 'x'\n", &["pipeline.toml:3:1", "`when` is not supported yet"]);
}

#[test]
fn unknown_template_names() {
    assert_snapshot!(
        shown("[params]\nyear = 2013\n[stages.a]\nrun = 'echo {{ params.yaer }} {{ foo }}'\n"),
        @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0402]: there is no `params.yaer`
     --> pipeline.toml:4:23
      |
    4 | run = 'echo {{ params.yaer }} {{ foo }}'
      |                       ^^^^ unknown name
      |
    help: did you mean `params.year`?
      |
    4 - run = 'echo {{ params.yaer }} {{ foo }}'
    4 + run = 'echo {{ params.year }} {{ foo }}'
      |

    error[CRN0402]: there is no name `foo`
     --> pipeline.toml:4:34
      |
    4 | run = 'echo {{ params.yaer }} {{ foo }}'
      |                                  ^^^ unknown name
      |
      = help: the names are `params`, `matrix`, `inputs`, `outputs`, `stage` and `run`; for `{{` itself write `{{ "{{" }}`

    error: 2 errors in `pipeline.toml`
    "#
    );
    let check = |expression: &str, parts: &[&str]| {
        let text = format!(
            "[params]\nyear = 1\n[stages.a]\nmatrix = {{ y = [1] }}\nrun = '{{{{ {expression} }}}}'\n"
        );
        says(text, parts);
    };
    check("param.year", &["pipeline.toml:5:11", "did you mean `params`?"]);
    check("matrix.x", &["pipeline.toml:5:18", "did you mean `matrix.y`?"]);
    check("inputs.raw", &["pipeline.toml:5:18", "`inputs", "raw"]);
    check("outputs.raw", &["pipeline.toml:5:19", "no `outputs.raw`"]);
    check("1 +", &["pipeline.toml:5:", "cannot be read"]);
    check("params.year|nope", &["pipeline.toml:5:", "nope", "filters"]);
    says(
        "[stages.a]\nrun = 'echo {{ params.year'\n",
        &["pipeline.toml:2:13", "not closed", "close it with `}}`"],
    );
}

/// The parser of templates counts parentheses only; all else that nests or chains must end in an error as well.
#[test]
fn templates_without_end() {
    let check = |expression: String| {
        says(format!("[stages.a]\nrun = '{{{{ {expression} }}}}'\n"), &["pipeline.toml:2:", "error[CRN04"]);
    };
    check("(".repeat(200) + "1" + &")".repeat(200));
    check("not ".repeat(100_000) + "1");
    check("-".repeat(100_000) + "1");
    check("1 + ".repeat(100_000) + "1");
    check("1".to_owned() + &"|string".repeat(100_000));
    check("stage".to_owned() + &".a".repeat(100_000));
    check("1 if 1 else ".repeat(100_000) + "1");
    check("range(100000000)|list|length".to_owned());
    check("\"a\" * 1000000000".to_owned());
}

#[test]
fn bad_durations() {
    assert_snapshot!(
        shown("[stages.a]\nrun = 'x'\ntimeout = '10'\nkill_after = 'soon'\ncache = { ttl = '-1s' }\n"),
        @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0208]: `timeout` is 10 of what?
     --> pipeline.toml:3:11
      |
    3 | timeout = '10'
      |           ^^^^ a duration needs a unit
      |
    help: write `"10s"` for seconds
      |
    3 - timeout = '10'
    3 + timeout = "10s"
      |

    error[CRN0208]: `kill_after` is no duration: `soon`
     --> pipeline.toml:4:14
      |
    4 | kill_after = 'soon'
      |              ^^^^^^ cannot be read as a duration
      |
      = help: write for example `"30s"`, `"10m"`, `"1h30m"`, `"2d"` or `"PT1H30M"`

    error[CRN0208]: `ttl` is no duration: `-1s`
     --> pipeline.toml:5:17
      |
    5 | cache = { ttl = '-1s' }
      |                 ^^^^^ it is negative
      |
      = help: write for example `"30s"`, `"10m"`, `"1h30m"`, `"2d"` or `"PT1H30M"`

    error: 3 errors in `pipeline.toml`
    "#
    );
    for bad in ["5x", "", "ten minutes", "99999999999999999999d", "1h30", "1.5.5s"] {
        let text = format!("[stages.a]\nrun = 'x'\nretries = {{ attempts = 2, delay = '{bad}' }}\n");
        says(text, &["pipeline.toml:3:35", "`delay` is", "\"30s\""]);
    }
    says("[stages.a]\nrun = 'x'\ntimeout = '0s'\n", &["pipeline.toml:3:11", "too short"]);
}

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
    project.write("Y", "").write("pipeline.toml", "[stages.a]\nrun = 'x'\ninputs = ['Y']\noutputs = ['y']\n");
    let shown = shown_in(&project);
    assert!(shown.contains("pipeline.toml:3:11") && shown.contains("letter case"), "{shown}");
}

#[test]
fn paths_that_leave_the_project() {
    assert_snapshot!(shown("[stages.a]\nrun = 'x'\ninputs = ['../in']\noutputs = ['/tmp/out']\n"), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0501]: the input `../in` is not in the project
     --> pipeline.toml:3:11
      |
    3 | inputs = ['../in']
      |           ^^^^^^^ the path climbs out by `..`
      |
      = help: paths are relative to the pipeline's `workdir` and stay below it; move the file into the project

    error[CRN0501]: the output `/tmp/out` is not in the project
     --> pipeline.toml:4:12
      |
    4 | outputs = ['/tmp/out']
      |            ^^^^^^^^^^ the path is absolute
      |
      = help: paths are relative to the pipeline's `workdir` and stay below it; move the file into the project

    error: 2 errors in `pipeline.toml`
    ");
    for path in ["../x", "/etc/passwd", "a/../../x", "..", "../*.csv", "/etc/*"] {
        let text = format!("[stages.a]\nrun = 'x'\ninputs = ['{path}']\n");
        says(text, &["pipeline.toml:3:11", "is not in the project", "move the file into the project"]);
    }
    for path in ["../x", "/x", "a/../../x", "..", "../d/"] {
        let text = format!("[stages.a]\nrun = 'x'\noutputs = ['{path}']\n");
        says(text, &["pipeline.toml:3:12", "is not in the project"]);
    }
    says("[stages.a]\nrun = 'x'\nstdout = '../x'\n", &["pipeline.toml:3:10", "is not in the project"]);
    says(
        "[pipeline]\nworkdir = '../..'\n[stages.a]\nrun = 'x'\n",
        &["pipeline.toml:2:11", "climbs out by `..`"],
    );
    says("[stages.a]\nrun = 'x'\noutputs = ['.cairn/x']\n", &["pipeline.toml:3:12", ".cairn"]);
}

/// I7: an entry that is empty hides nothing of the others.
#[test]
fn every_bad_path_of_a_list_is_told() {
    says(
        "[stages.a]\nrun = 'x'\ninputs = ['', '../x']\noutputs = ['/x', '']\n",
        &["pipeline.toml:3:11", "pipeline.toml:3:15", "pipeline.toml:4:12", "pipeline.toml:4:18"],
    );
}

#[test]
fn links_that_leave_the_project_or_loop() {
    let project = project();
    project.write(
        "pipeline.toml",
        "[stages.a]\nrun = 'x'\ninputs = ['etc/passwd', 'file', 'one', 'd/self/x']\noutputs = ['etc/x', 'two/x']\n",
    );
    project.write("d/x", "");
    for (target, link) in
        [("/etc", "etc"), ("/etc/passwd", "file"), ("two", "one"), ("one", "two"), ("self", "d/self")]
    {
        symlink(target, project.file(link)).unwrap();
    }
    assert_snapshot!(shown_in(&project), @r"
    exit status: 2
    ----- stderr -----
    error[CRN0502]: the input `etc/passwd` is reached by a link that leaves the project
     --> pipeline.toml:3:11
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |           ^^^^^^^^^^^^ outside of the project
      |
      = help: copy the file into the project, or make the link end inside it

    error[CRN0502]: the input `file` is reached by a link that leaves the project
     --> pipeline.toml:3:25
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |                         ^^^^^^ outside of the project
      |
      = help: copy the file into the project, or make the link end inside it

    error[CRN0502]: the input `one` is reached by links that lead to each other
     --> pipeline.toml:3:33
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |                                 ^^^^^ links in a circle
      |
      = help: remove one of the links

    error[CRN0502]: the input `d/self/x` is reached by links that lead to each other
     --> pipeline.toml:3:40
      |
    3 | inputs = ['etc/passwd', 'file', 'one', 'd/self/x']
      |                                        ^^^^^^^^^^ links in a circle
      |
      = help: remove one of the links

    error[CRN0502]: the output `etc/x` is reached by a link that leaves the project
     --> pipeline.toml:4:12
      |
    4 | outputs = ['etc/x', 'two/x']
      |            ^^^^^^^ outside of the project
      |
      = help: make a folder of the link, and write to it

    error[CRN0502]: the output `two/x` is reached by links that lead to each other
     --> pipeline.toml:4:21
      |
    4 | outputs = ['etc/x', 'two/x']
      |                     ^^^^^^^ links in a circle
      |
      = help: remove one of the links

    error: 6 errors in `pipeline.toml`
    ");
    project.write("pipeline.toml", "[stages.a]\nrun = 'x'\ninputs = ['d/*']\n");
    let shown = shown_in(&project);
    assert!(shown.contains("pipeline.toml:3:11") && shown.contains("`d/self`"), "{shown}");
    assert!(shown.contains("help: remove"), "what mends a link is no right to read: {shown}");
}

#[test]
fn bytes_that_are_no_text() {
    assert_snapshot!(shown(b"[stages.a]\nrun = \"caf\xe9\"\n"), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0102]: the file is not UTF-8: byte 21, in line 2, is 0xe9
     --> pipeline.toml:2:11
      |
    2 | run = "caf�"
      |           ^ not UTF-8
      |
      = help: save the file as UTF-8, for example by `iconv -f latin1 -t utf-8`

    error: 1 error in `pipeline.toml`
    "#);
    assert_snapshot!(shown(b"[stages.a]\nrun = \"ec\0ho\"\n"), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0103]: the file holds a NUL character at byte 20
     --> pipeline.toml:2:10
      |
    2 | run = "ec␀ho"
      |          ^ a NUL
      |
      = help: is this the pipeline file? a text holds no NUL

    error: 1 error in `pipeline.toml`
    "#);
    says(b"\xff\xfe[\0s\0", &["pipeline.toml:1:1", "not UTF-8", "iconv"]);
    says(
        "[env]\nA = \"\\u0000\"\n[stages.a]\nrun = \"a\\u0000\"\noutputs = [\"a\\u0000\"]\n",
        &["pipeline.toml:2:5", "pipeline.toml:4:7", "pipeline.toml:5:12", "holds a NUL"],
    );
}

#[test]
fn ten_megabytes_on_one_line() {
    let long = "x".repeat(10_000_000);
    for text in [
        format!("[stages.a]\nrun = '{long}'\n"),
        format!("[stages.a]\nrun = {long}\n"),
        format!("[stages.a]\n{long} = 'x'\n"),
        format!("[stages.a]\n# {long}\n"),
        format!("[stages.a]\nrun = {}\n", "[".repeat(10_000_000)),
        format!("[stages.a]\ninputs = [{}]\n", "'a',".repeat(2_500_000)),
    ] {
        let shown = shown(text);
        assert!(shown.len() < 1000, "the report is long itself: {} bytes", shown.len());
        assert!(shown.contains("pipeline.toml:2:1") && shown.contains("bytes, more than 2097152"), "{shown}");
    }
}

#[test]
fn two_hundred_levels_deep() {
    let (open, close) = ("[".repeat(200), "]".repeat(200));
    says(format!("x = {open}{close}\n"), &["pipeline.toml:1:85", "more than 80 levels deep"]);
    let tables = format!("[stages.a]\nrun = 'x'\nenv = {}1{}\n", "{ a = ".repeat(200), " }".repeat(200));
    says(tables, &["pipeline.toml:3:", "more than 80 levels deep", "no pipeline needs more"]);
    says(format!("[{}]\nx = 1\n", ["a"; 200].join(".")), &["pipeline.toml:1:", "levels deep"]);
    says(format!("{} = 1\n", ["a"; 200].join(".")), &["pipeline.toml:1:1", "levels deep"]);
    says(format!("x = {}\n", "[".repeat(100_000)), &["pipeline.toml:1:", "levels deep"]);
}

#[test]
fn a_file_without_stages() {
    assert_snapshot!(shown(""), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0106]: the file has no stage
     --> pipeline.toml:1:1
      |
    1 |
      | ^
      |
      = help: write for example
              [stages.hello]
              run = "echo hello > hello.txt"
              outputs = ["hello.txt"]

    error: 1 error in `pipeline.toml`
    "#);
    for text in ["\n\n", "# nothing\n", "[pipeline]\nname = 'x'\n", "[stages]\n"] {
        says(text, &["pipeline.toml:1:1", "the file has no stage", "[stages.hello]"]);
    }
}

#[test]
fn inputs_that_are_not_there() {
    let project = project();
    project
        .write("data.csv", "")
        .write("pipeline.toml", "[stages.a]\nrun = 'x'\ninputs = ['dta.csv', 'none/*.csv']\n");
    assert_snapshot!(shown_in(&project), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0506]: the input `dta.csv` does not exist
     --> pipeline.toml:3:11
      |
    3 | inputs = ['dta.csv', 'none/*.csv']
      |           ^^^^^^^^^ neither on disk nor made by a stage
      |
    help: did you mean `data.csv`?
      |
    3 - inputs = ['dta.csv', 'none/*.csv']
    3 + inputs = ["data.csv", 'none/*.csv']
      |

    error[CRN0507]: the pattern `none/*.csv` matches nothing
     --> pipeline.toml:3:22
      |
    3 | inputs = ['dta.csv', 'none/*.csv']
      |                      ^^^^^^^^^^^^ no file on disk, and none that a stage makes
      |
      = help: mend the pattern, or write `{ path = "none/*.csv", optional = true }`

    error: 2 errors in `pipeline.toml`
    "#);
}

/// A folder above the data that is misspelt makes no empty pipeline.
#[test]
fn a_workdir_that_is_not_there() {
    says(
        "[pipeline]\nworkdir = 'dta'\n[stages.a]\nrun = 'echo > x'\noutputs = ['x']\n",
        &["pipeline.toml:2:11", "dta"],
    );
}

const GOOD: &str =
    "[params]\nyear = 2013\n[stages.build]\nrun = 'echo {{ params.year }} > out'\noutputs = ['out']\n";

#[test]
fn a_file_that_is_none() {
    let project = project();
    project.write("pipeline.toml", GOOD).write("empty/readme", "");
    let shown = |arguments: &[&str]| refused(&project, arguments).shown();
    assert_snapshot!(shown(&["run", "empty/"]), @r"
    exit status: 2
    ----- stderr -----
    error: the folder `empty/` holds no `pipeline.toml`
    help: the pipelines here are `pipeline.toml`
    ");
    assert_snapshot!(shown(&["run", "pipelin.toml"]), @r"
    exit status: 2
    ----- stderr -----
    error: there is no file `pipelin.toml`
    help: did you mean `pipeline.toml`?
    ");
    for arguments in
        [["plan", "empty/"], ["check", "empty/"], ["graph", "empty/"], ["run", "nowhere/pipeline.toml"]]
    {
        let shown = shown(&arguments);
        assert!(shown.contains(arguments[1]) && shown.contains("help: "), "{shown}");
        assert!(!arguments[1].starts_with("empty") || shown.contains("holds no `pipeline.toml`"), "{shown}");
    }
}

#[test]
fn a_project_without_a_pipeline() {
    let project = project();
    project.write("empty/readme", "");
    let shown = |arguments: &[&str]| refused(&project, arguments).shown();
    assert_snapshot!(shown(&["run"]), @r"
    exit status: 2
    ----- stderr -----
    error: there is no pipeline here
    note: looked for `pipeline.toml`, `*.toml` with stages, and `pipelines/` in `.`, and for `cairn.toml` in it and the folders above
    help: `cairn init` makes a first one here; or name a file
    ");
    // What was named is there: it is said what it lacks.
    let named = shown(&["run", "empty"]);
    assert!(named.contains("`empty`") && named.contains("holds no `pipeline.toml`"), "{named}");
}

/// Neither waits for what never comes, nor reads until memory is gone.
#[test]
fn a_file_that_is_no_regular_file() {
    let project = project();
    project.write("sub/readme", "");
    let path = project.file("pipe.toml");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // So little memory that a reader of `/dev/zero` ends soon.
    let limited = |file: &str| {
        let script = "ulimit -v 3000000; exec \"$@\"";
        project.cairn(&["--kill-after=1", HANG, "sh", "-c", script, "sh", BINARY, "check", file])
    };
    for file in ["pipe.toml", "/dev/zero"] {
        let outcome = limited(file).expect(2);
        assert!(
            outcome.stderr.contains(file) && outcome.stderr.contains("regular file"),
            "{}",
            outcome.shown()
        );
    }
}

#[test]
fn unknown_stages() {
    let project = project();
    project.write("pipeline.toml", GOOD);
    let shown = |arguments: &[&str]| refused(&project, arguments).shown();
    assert_snapshot!(shown(&["run", "biuld"]), @r"
    exit status: 2
    ----- stderr -----
    error: there is no stage or instance `biuld`
    help: did you mean `build`?
    ");
    for arguments in [
        &["run", "pipeline.toml", "biuld"][..],
        &["plan", "biuld"],
        &["run", "--only", "biuld"],
        &["run", "--from", "biuld"],
        &["run", "--force=biuld"],
        &["run", "build[x]"],
        &["why", "biuld"],
    ] {
        let shown = shown(arguments);
        assert!(shown.contains("there is no stage or instance `") && shown.contains("help: "), "{shown}");
        assert!(shown.contains("`build`"), "the nearest name: {shown}");
    }
}

#[test]
fn wrong_params() {
    let project = project();
    project.write("pipeline.toml", GOOD);
    let shown = |arguments: &[&str]| refused(&project, arguments).shown();
    let unknown = shown(&["run", "-p", "yaer=2014"]);
    assert!(unknown.contains("`-p yaer=2014`: there is no param `yaer`"), "{unknown}");
    assert!(unknown.contains("did you mean `year`?"), "{unknown}");
    assert_snapshot!(shown(&["run", "-p", "year"]), @r"
    exit status: 2
    ----- stderr -----
    error: invalid value 'year' for '--param <NAME=VALUE>': write it as NAME=VALUE, for example `-p year=2014`

    For more information, try '--help'.
    ");
    let mistyped = shown(&["run", "-p", "year=soon"]);
    assert!(mistyped.contains("`-p year=soon`: the param `year` is an integer"), "{mistyped}");
    for shown in [unknown, mistyped] {
        assert!(!shown.contains("\n |\n"), "there is no line to draw a frame for: {shown}");
    }
    for arguments in [["check", "-p", "=1"], ["plan", "-p", "yaer=1"], ["check", "-p", "year=1.5"]] {
        let shown = shown(&arguments);
        assert!(shown.contains(arguments[2]) || shown.contains("NAME=VALUE"), "{shown}");
    }
    // A value is text, never a command.
    project.write("pipeline.toml", GOOD.replace("2013", "'x'"));
    assert_snapshot!(shown(&["run", "-p", "year=1; rm -rf /"]), @r#"
    exit status: 2
    ----- stderr -----
    error[CRN0404]: `params.year` puts `;` into a shell text
     --> pipeline.toml:4:16
      |
    4 | run = 'echo {{ params.year }} > out'
      |                ^^^^^^^^^^^ its value is `1; rm -rf /`
      |
      = note: a shell text takes only values of letters, digits and `_./:=@%+,-`, so that no value can be a command
      = help: write `env = { YEAR = "{{ params.year }}" }` and use `"$YEAR"` in the text

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn wrong_command_lines() {
    let project = project();
    project.write("pipeline.toml", GOOD);
    let shown = |arguments: &[&str]| refused(&project, arguments).shown();
    assert_snapshot!(shown(&["rnu"]), @r"
    exit status: 2
    ----- stderr -----
    error: unrecognized subcommand 'rnu'

      tip: a similar subcommand exists: 'runs'

    Usage: cairn [OPTIONS] [COMMAND]

    For more information, try '--help'.
    ");
    for arguments in [&["run", "--forse"][..], &["run", "-j", "0"], &["graph", "--format", "svgg"], &["why"]]
    {
        let shown = shown(arguments);
        assert!(shown.contains("--help"), "{shown}");
    }
}
