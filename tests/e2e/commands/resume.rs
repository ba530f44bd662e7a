//! `cairn resume`: goes on with a run.

use cairn_testkit::Project;
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process_group};

use super::super::BINARY;
use super::{TROUBLE, sales_done, see, wait_for_slow, waiting};

#[test]
fn there_is_nothing_to_do() {
    assert_snapshot!(see(&sales_done(), &["resume"]), @r"
    exit status: 0
    ----- stderr -----
      nothing to do: run [RUN] of `sales` succeeded
    ");
}

#[test]
fn there_is_no_run() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    assert_snapshot!(see(&project, &["resume"]), @r"
    exit status: 2
    ----- stderr -----
    error: there is no run yet
    note: looked in `.cairn`
    help: `cairn run` makes the first
    ");
    assert_snapshot!(see(&sales_done(), &["resume", "1234"]), @r"
    exit status: 2
    ----- stderr -----
    error: there is no run `1234`
    help: `cairn runs` lists them
    ");
}

#[test]
fn after_a_failure() {
    let project =
        Project::with_pipeline(BINARY, &TROUBLE.replace("exit 4", "test -e mended; cp good.txt bad.txt"));
    let text = project.read("pipeline.toml").replace(
        "inputs = [\"good.txt\"]",
        "inputs = [\"good.txt\", { path = \"mended\", optional = true }]",
    );
    project.write("pipeline.toml", text);
    project.cairn(&["run", "-j1"]).expect(1);
    project.write("mended", "");
    assert_snapshot!(see(&project, &["resume"]), @r"
    exit status: 0
    ----- stderr -----
      trouble · run [RUN], resumed · 3 instances · 1 at once
      FRESH     good              inputs and outputs unchanged
      RAN       bad       [T]  attempt 1 failed: exit status 1
      RAN       behind    [T]  never ran before

      2 RAN, 1 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
}

#[test]
fn after_a_kill() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    kill_process_group(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    project.write("go", "");
    assert_snapshot!(see(&project, &["resume"]), @r"
    exit status: 0
    ----- stderr -----
      waiting · run [RUN], resumed · 2 instances · 1 at once
      FRESH     quick             inputs and outputs unchanged
      RAN       slow      [T]  attempt 1 was cut off

      1 RAN, 1 FRESH in [T] · saved [T] (work not repeated) · run [RUN]
    ");
}

/// A run that was resumed is told as one run: what the first part did is not contradicted by the second.
#[test]
fn a_resumed_run_is_told_without_contradiction() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run", "-j1"]).expect(1);
    // In the first part of the run `good` RAN, in the second and in the third it is FRESH.
    project.cairn(&["resume"]).expect(1);
    project.cairn(&["resume"]).expect(1);
    for command in [&["show"][..], &["graph"], &["status"], &["show", "latest", "good"], &["runs"]] {
        let outcome = project.cairn(command);
        assert_eq!(outcome.stderr, "", "`{}` grumbles", command.join(" "));
    }
    assert_snapshot!(see(&project, &["show"]), @r"
    exit status: 0
    ----- stdout -----
    run [RUN] of trouble: failed · 1 RAN, 1 FAILED, 1 BLOCKED
      started  [TIME] +00:00
      took     [T]
      saved    [T] (work not repeated)
      command  cairn resume
      file     pipeline.toml
      id       [RUN]

    OUTCOME  INSTANCE    TOOK  TRIES  REASON
    RAN      good      [T]      1  never ran before
    FAILED   bad       [T]      3  exit status 4
    BLOCKED  behind                   `bad` failed

    next: cairn logs [RUN] bad
    ");
}
