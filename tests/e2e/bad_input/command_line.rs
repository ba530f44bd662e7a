//! The command line: FILE, STAGE, params, options.

use insta::assert_snapshot;

use super::super::BINARY;
use super::{HANG, project, refused};

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
