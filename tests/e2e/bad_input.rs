//! Bad input: exit 2 with place, cause and mend, all errors at once, and nothing executed.

mod command_line;
mod graph;
mod keys;
mod paths;
mod syntax;
mod templates;

use cairn_testkit::{Outcome, Project};

use super::BINARY;

/// Seconds after which a command counts as hanging.
const HANG: &str = "60";

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

/// Checks that `check` and `run` refuse the project's file with the same errors, each with its place and its mend, and
/// returns what people see.
#[track_caller]
fn shown_in(project: &Project) -> String {
    let run = refused(project, &["run"]);
    assert_eq!(run.stdout, "", "{}", run.shown());
    let check = refused(project, &["check"]);
    assert_eq!(check.stderr, run.stderr, "`check` and `run` differ");
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
