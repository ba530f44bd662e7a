//! `cairn logs`: what the commands printed; with `-f` as they print it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cairn_testkit::Project;
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;

use super::super::BINARY;
use super::{sales_done, see, wait_for_slow, waiting};

/// After this long without a line, or without an end, something hangs.
const HANG: Duration = Duration::from_secs(30);

#[test]
fn of_a_run_and_of_a_stage() {
    let project = sales_done();
    assert_snapshot!(see(&project, &["logs"]), @r"
    exit status: 0
    ----- stdout -----
    ── fetch ──
    fetching hello
    ── count ──
    counting
    ");
    assert_snapshot!(see(&project, &["logs", "count"]), @r"
    exit status: 0
    ----- stdout -----
    ── count ──
    counting
    ");
    assert_snapshot!(see(&project, &["logs", "--timestamps", "latest", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
    ── fetch ──
    [TIME]  fetching hello
    ");
    // Nothing was printed in a run that executed nothing, but in the one that did.
    project.cairn(&["run"]).expect(0);
    assert_snapshot!(see(&project, &["logs", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
    ── fetch ──
    fetching hello
    ----- stderr -----
    fetch was not executed in run [RUN]; this is what it printed in run [RUN]
    ");
}

#[test]
fn of_each_attempt() {
    let text = "[pipeline]\nname = \"flaky\"\n[stages.s]\nrun = \"echo try $CAIRN_ATTEMPT; test $CAIRN_ATTEMPT = 2\"\n\
                retries = { attempts = 2, delay = \"1ms\" }\n";
    let project = Project::with_pipeline(BINARY, text);
    project.cairn(&["run"]).expect(0);
    assert_snapshot!(see(&project, &["logs"]), @r"
    exit status: 0
    ----- stdout -----
    ── s ──
    try 1
    ── s · attempt 2 ──
    try 2
    ");
}

#[test]
fn nothing_was_printed() {
    let project = sales_done();
    project.cairn(&["run"]).expect(0);
    assert_snapshot!(see(&project, &["logs"]), @r"
    exit status: 0
    ----- stderr -----
    nothing was printed
    ");
    assert_eq!(project.cairn(&["logs", "--json"]).stdout, "", "a sentence is no JSON object");
}

/// `logs -f`, and its lines as they come.
struct Followed {
    process: Child,
    lines: Receiver<String>,
}

fn follow(project: &Project, arguments: &[&str]) -> Followed {
    let mut process = project.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let (to, lines) = channel();
    let stdout = BufReader::new(process.stdout.take().unwrap());
    std::thread::spawn(move || {
        for line in stdout.lines() {
            // The test may have ended meanwhile.
            let _ = to.send(line.unwrap());
        }
    });
    Followed { process, lines }
}

impl Followed {
    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(HANG).expect("another line")
    }

    /// Returns the lines until its end, and how it ended.
    #[track_caller]
    fn end(mut self) -> (Vec<String>, Option<i32>) {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(HANG) {
            rest.push(line);
        }
        let ended = self.process.try_wait().unwrap();
        if ended.is_none() {
            // Its output is at an end, so it is about to be.
            std::thread::sleep(Duration::from_secs(1));
        }
        let ended = self.process.try_wait().unwrap();
        if ended.is_none() {
            self.process.kill().unwrap();
            self.process.wait().unwrap();
        }
        (rest, ended.expect("it ends when the run does").code())
    }
}

#[test]
fn followed_to_the_end_of_the_run() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    let followed = follow(&project, &["logs", "-f"]);
    assert_eq!([followed.line(), followed.line()], ["── slow ──", "one"]);
    // Only now does the stage go on: what was seen, was seen while it ran.
    assert!(run.try_wait().unwrap().is_none());
    project.write("go", "");
    assert!(run.wait().unwrap().success());
    assert_eq!(followed.end(), (vec!["two".to_owned()], Some(0)));
}

#[test]
fn followed_as_json() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    let followed = follow(&project, &["logs", "-f", "--json", "latest", "slow"]);
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    assert_eq!(text(&followed.line()), "one\n");
    project.write("go", "");
    assert!(run.wait().unwrap().success());
    let (rest, status) = followed.end();
    assert_eq!(
        (rest.iter().map(|line| text(line)).collect::<Vec<_>>(), status),
        (vec!["two\n".to_owned()], Some(0))
    );
}

#[test]
fn followed_until_the_run_is_killed() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    let followed = follow(&project, &["logs", "-f"]);
    assert_eq!([followed.line(), followed.line()], ["── slow ──", "one"]);
    kill_process_group(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    assert_eq!(followed.end(), (Vec::new(), Some(0)));
}

#[test]
fn followed_when_all_is_over() {
    let outcome = sales_done().cairn(&["logs", "-f"]).expect(0);
    assert!(outcome.stdout.contains("fetching hello"), "{}", outcome.shown());
}
