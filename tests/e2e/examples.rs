//! The pipelines of `pipelines/` and what the README shows of them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::Project;

use super::{BINARY, run};

pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Copies an example into a project of its own.
pub(super) fn example(name: &str) -> Project {
    let project = Project::new(BINARY);
    let copied = Command::new("cp")
        .arg("-R")
        .arg(repository().join("pipelines").join(name).join("."))
        .arg(project.path())
        .status()
        .expect("cp");
    assert!(copied.success());
    project
}

/// Returns the instances with this outcome.
fn with<'a>(outcomes: &'a str, outcome: &str) -> Vec<&'a str> {
    outcomes.split(' ').filter_map(|told| told.strip_suffix(outcome)?.strip_suffix('=')).collect()
}

#[test]
fn flights_runs_once_and_an_edit_runs_its_cone() {
    let project = example("flights");
    let first = run(&project, &[]);
    assert_eq!(with(&first, "RAN").len(), 30, "{first}");
    let page = project.read("build/report.html");
    assert!(page.contains("<svg"), "a page with pictures");

    let again = run(&project, &[]);
    assert_eq!(with(&again, "FRESH").len(), 30, "{again}");

    // A comment in the script of one picture: that picture is drawn again, with the same bytes, and nothing behind it.
    let script = project.read("scripts/pictures/hours.awk");
    project.write("scripts/pictures/hours.awk", format!("# edited\n{script}"));
    let edited = run(&project, &[]);
    assert_eq!(with(&edited, "RAN"), ["plot[hours]"], "{edited}");
    assert_eq!(project.read("build/report.html"), page);
}

/// The README's transcripts are what a person sees: each of their commands is run, and what it prints is compared.
#[test]
fn the_transcripts_of_the_readme_are_true() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("the README");
    let blocks = readme.split("```console\n").skip(1).map(|rest| rest.split("```").next().expect("its end"));
    let blocks: Vec<&str> = blocks.collect();
    let examples = ["words", "orders"];
    assert_eq!(blocks.len(), examples.len(), "each transcript is of an example");
    for (name, shown) in examples.into_iter().zip(blocks) {
        assert_true(&example(name), shown);
    }
}

#[track_caller]
fn assert_true(project: &Project, shown: &str) {
    let folder = Path::new(BINARY).parent().expect("it is in a folder");
    let mut printed = String::new();
    for line in shown.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let outcome = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .current_dir(project.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
            .output()
            .expect("sh");
        writeln!(printed, "$ {line}\n{}", String::from_utf8_lossy(&outcome.stdout))
            .expect("a string takes all");
    }
    let plain = |text: &str| {
        let text = cairn_testkit::redact(text, project.path()).replace("·  ", "· ");
        let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let lines: Vec<String> =
            lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        // How many run at once is the machine's.
        lines
            .join("\n")
            .split(" at once")
            .map(|part| part.trim_end_matches(|c: char| c.is_ascii_digit()))
            .collect::<Vec<_>>()
            .join("N at once")
    };
    assert_eq!(plain(&printed), plain(shown), "\n{printed}");
}
