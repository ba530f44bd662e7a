//! A daemon that is killed, and the next one: what ran goes on, runs once, and its outputs are right. The daemon is
//! `examples/daemon.rs`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes, on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_mins(1);

struct Project(tempfile::TempDir);

/// The example's binary, which cargo builds before it runs tests, unless `--test` names one.
fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/daemon");
    assert!(path.exists(), "run `cargo build --examples` first: `{}` is missing", path.display());
    path
}

impl Project {
    /// A project whose stages write down each start in `started`, outside of what cairn sees.
    fn new(stages: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().display().to_string();
        fs::write(folder.path().join("pipeline.toml"), stages.replace("OUTSIDE", &outside)).unwrap();
        fs::write(folder.path().join("in.txt"), "one\n").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn daemon(&self) -> Child {
        Command::new(example()).arg(self.0.path()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// Waits for the end of a daemon; returns what it said.
    fn end_of(daemon: Child) -> String {
        let output = daemon.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    fn kill(mut daemon: Child) {
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn until(&self, name: &str) {
        until(name, || self.path(name).exists());
    }

    fn make(&self, name: &str) {
        fs::write(self.path(name), "").unwrap();
    }

    /// The stages that were started, one a line.
    fn started(&self) -> String {
        fs::read_to_string(self.path("started")).unwrap_or_default()
    }

    fn output(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn nothing_is_left(&self) {
        let folder = self.path(".cairn/staging");
        let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "{left:?}");
        let ended = fs::read_dir(self.path(".cairn/run/ended")).map_or(0, Iterator::count);
        assert_eq!(ended, 0, "every end is acknowledged");
        let outputs = fs::read_dir(self.path("out")).into_iter().flatten();
        let parts: Vec<_> = outputs.map(|entry| entry.unwrap().file_name()).collect();
        let is_part = |name: &std::ffi::OsString| name.as_encoded_bytes().starts_with(b".");
        assert!(!parts.iter().any(is_part), "{parts:?}");
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `slow` waits for a file, `after` needs it.
const TWO: &str = r#"
[stages.slow]
run = """
echo slow >> OUTSIDE/started; touch OUTSIDE/waits
until [ -e OUTSIDE/go ]; do sleep 0.02; done
tr a-z A-Z < in.txt > out/slow.txt; echo done >> OUTSIDE/went
"""
inputs = ["in.txt"]
outputs = ["out/slow.txt"]

[stages.after]
run = "echo after >> OUTSIDE/started; cat out/slow.txt out/slow.txt > out/after.txt"
inputs = ["out/slow.txt"]
outputs = ["out/after.txt"]
"#;

#[test]
fn what_runs_goes_on_and_is_adopted() {
    let project = Project::new(TWO);
    let first = project.daemon();
    project.until("waits");
    Project::kill(first);
    let second = project.daemon();
    project.make("go");
    assert_eq!(Project::end_of(second), "adopted slow 1\nsucceeded\n");
    assert_eq!(project.started(), "slow\nafter\n");
    assert_eq!(project.output("out/after.txt"), "ONE\nONE\n");
    project.nothing_is_left();
}

#[test]
fn what_ended_while_no_daemon_was_there_is_harvested() {
    let project = Project::new(TWO);
    let first = project.daemon();
    project.until("waits");
    Project::kill(first);
    project.make("go");
    project.until("went");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(Project::end_of(project.daemon()), "adopted slow 1\nsucceeded\n");
    assert_eq!(project.started(), "slow\nafter\n");
    assert_eq!(project.output("out/after.txt"), "ONE\nONE\n");
    project.nothing_is_left();
}

#[test]
fn what_runs_on_other_inputs_is_ended_and_executed_again() {
    let project = Project::new(TWO);
    let first = project.daemon();
    project.until("waits");
    Project::kill(first);
    fs::write(project.path("in.txt"), "two\n").unwrap();
    fs::remove_file(project.path("waits")).unwrap();
    let second = project.daemon();
    project.until("waits");
    project.make("go");
    assert_eq!(Project::end_of(second), "succeeded\n");
    assert_eq!(project.started(), "slow\nslow\nafter\n");
    assert_eq!(project.output("went"), "done\n", "the first was ended before the second began");
    assert_eq!(project.output("out/after.txt"), "TWO\nTWO\n");
    project.nothing_is_left();
}

#[test]
fn a_failure_of_what_was_adopted_is_a_failure() {
    let project = Project::new(
        r#"
[stages.slow]
run = """
echo slow >> OUTSIDE/started; touch OUTSIDE/waits
until [ -e OUTSIDE/go ]; do sleep 0.02; done
exit 3
"""
outputs = ["out/slow.txt"]
"#,
    );
    let first = project.daemon();
    project.until("waits");
    Project::kill(first);
    project.make("go");
    assert_eq!(Project::end_of(project.daemon()), "adopted slow 1\nfailed\n");
    assert_eq!(project.started(), "slow\n");
    project.nothing_is_left();
}

#[test]
fn an_effect_that_was_adopted_is_not_in_doubt() {
    let project = Project::new(
        r#"
[stages.send]
run = """
echo send >> OUTSIDE/started; touch OUTSIDE/waits
until [ -e OUTSIDE/go ]; do sleep 0.02; done
"""
inputs = ["in.txt"]
effect = { mode = "at-most-once" }
"#,
    );
    let first = project.daemon();
    project.until("waits");
    Project::kill(first);
    let second = project.daemon();
    project.make("go");
    assert_eq!(Project::end_of(second), "adopted send 1\nsucceeded\n");
    assert_eq!(project.started(), "send\n");
    project.nothing_is_left();
}

#[test]
fn outputs_in_the_project_itself_are_those_of_the_adopted_command() {
    let project = Project::new(&TWO.replace("[stages.slow]", "[stages.slow]\nsandbox = \"off\""));
    fs::create_dir(project.path("out")).unwrap();
    fs::write(project.path("out/slow.txt"), "mine\n").unwrap();
    let first = project.daemon();
    project.until("waits");
    assert!(!project.path("out/slow.txt").exists(), "it is set aside");
    Project::kill(first);
    let second = project.daemon();
    project.make("go");
    assert_eq!(Project::end_of(second), "adopted slow 1\nsucceeded\n");
    assert_eq!(project.started(), "slow\nafter\n");
    assert_eq!(project.output("out/after.txt"), "ONE\nONE\n");
    project.nothing_is_left();
}

#[test]
fn daemons_are_killed_over_and_over_and_each_stage_runs_once() {
    let mut stages = String::new();
    for number in 0..24 {
        let big = 6000 + number;
        let _ = write!(
            stages,
            r#"
[stages.s{number}]
run = "echo s{number} >> OUTSIDE/started; sleep 0.1; head -c {big} /dev/zero > out/s{number}; chmod +x out/s{number}"
inputs = ["in.txt"]
outputs = ["out/s{number}"]
"#
        );
    }
    let project = Project::new(&stages);
    let mut said = String::new();
    for round in 0_u64.. {
        assert!(round < 100, "it gets nowhere");
        let mut daemon = project.daemon();
        std::thread::sleep(Duration::from_millis(250 + 97 * (round % 9)));
        if daemon.try_wait().unwrap().is_some() {
            said = Project::end_of(daemon);
            break;
        }
        Project::kill(daemon);
    }
    assert!(said.ends_with("succeeded\n"), "{said}");
    let started = project.started();
    let mut lines: Vec<&str> = started.lines().collect();
    lines.sort_unstable();
    let count = lines.len();
    lines.dedup();
    assert_eq!((lines.len(), count), (24, 24), "each was executed once: {started}");
    for number in 0..24 {
        let path = project.path(&format!("out/s{number}"));
        let data = fs::metadata(&path).unwrap();
        assert_eq!(data.len(), 6000 + number);
        assert!(is_executable(&path), "{}", path.display());
    }
    project.nothing_is_left();
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0
}

#[test]
fn what_told_the_daemon_of_records_is_executed_again() {
    let project = Project::new(TWO);
    let first = project.daemon();
    project.until("waits");
    Project::kill(first);
    // As if it had called `cairn reject`: what it told was in the memory of the daemon.
    let attempts = fs::read_dir(project.path(".cairn/staging")).unwrap();
    for attempt in attempts {
        fs::write(attempt.unwrap().path().join("told"), "").unwrap();
    }
    project.make("go");
    assert_eq!(Project::end_of(project.daemon()), "succeeded\n");
    assert_eq!(project.started(), "slow\nslow\nafter\n");
    assert_eq!(project.output("out/after.txt"), "ONE\nONE\n");
    project.nothing_is_left();
}
