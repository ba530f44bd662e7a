//! `cairn show`: a run, or one instance of it.

use cairn_testkit::Project;
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process_group};

use super::super::BINARY;
use super::{TROUBLE, sales_done, see, wait_for_slow, waiting};

#[test]
fn a_run() {
    assert_snapshot!(see(&sales_done(), &["show"]), @r"
    exit status: 0
    ----- stdout -----
    run [RUN] of sales: succeeded · 3 RAN
      started  [TIME] +00:00
      took     [T]
      command  cairn run -j1
      file     pipeline.toml
      id       [RUN]

    OUTCOME  INSTANCE    TOOK  TRIES  REASON
    RAN      fetch     [T]      1  never ran before
    RAN      count     [T]      1  never ran before
    RAN      report    [T]      1  never ran before
    ");
}

#[test]
fn an_instance() {
    assert_snapshot!(see(&sales_done(), &["show", "latest", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
    fetch in run [RUN] of sales: RAN
      reason    never ran before
      attempts  1
      started   [TIME] +00:00
      took      [T]
      hash      [HASH]
      used      [T] ([T] user, [T] system), [SIZE] of memory
      sandbox   private
      log       .cairn/logs/[RUN]/fetch.1.log (15 B)

      command
        echo fetching hello
        sleep 0.05
        sort source.txt > out/rows.txt

      environment
        MODE=plain

      inputs
        source.txt  file     [HASH]

      outputs
        out/rows.txt  file     [HASH]  4 B
    ");
}

#[test]
fn a_stage_of_the_latest_run() {
    let project = sales_done();
    assert_eq!(see(&project, &["show", "fetch"]), see(&project, &["show", "latest", "fetch"]));
}

#[test]
fn a_run_that_failed() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run", "-j1"]).expect(1);
    assert_snapshot!(see(&project, &["show"]), @r"
    exit status: 0
    ----- stdout -----
    run [RUN] of trouble: failed · 1 RAN, 1 FAILED, 1 BLOCKED
      started  [TIME] +00:00
      took     [T]
      command  cairn run -j1
      file     pipeline.toml
      id       [RUN]

    OUTCOME  INSTANCE    TOOK  TRIES  REASON
    RAN      good      [T]      1  never ran before
    FAILED   bad       [T]      1  exit status 4
    BLOCKED  behind                   `bad` failed

    next: cairn logs [RUN] bad
    ");
    assert_snapshot!(see(&project, &["show", "latest", "behind"]), @r"
    exit status: 0
    ----- stdout -----
    behind in run [RUN] of trouble: BLOCKED
      reason    `bad` failed

      command
        cp bad.txt behind.txt

      inputs
        bad.txt  path

      outputs
        behind.txt  file
    ");
}

/// Of an instance that failed one wants to know what was tried: the command, what it read, what it said.
#[test]
fn an_instance_that_failed() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run", "-j1"]).expect(1);
    let shown = see(&project, &["show", "latest", "bad"]);
    for part in ["reason    exit status 4", "exit 4", "good.txt", "bad.1.log"] {
        assert!(shown.contains(part), "`{part}` is not told: {shown}");
    }
}

#[test]
fn a_run_that_goes_on() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    assert_snapshot!(see(&project, &["show"]), @r"
    exit status: 0
    ----- stdout -----
    run [RUN] of waiting: running · 1 RAN
      started  [TIME] +00:00
      command  cairn run -j1
      file     pipeline.toml
      id       [RUN]

    OUTCOME  INSTANCE    TOOK  TRIES  REASON
    RAN      quick     [T]      1  never ran before
    running  slow                  1  never ran before
    ");
    project.write("go", "");
    assert!(run.wait().unwrap().success());
}

/// Nothing runs in a run whose process is gone.
#[test]
fn a_run_that_was_cut_off() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    kill_process_group(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    let shown = see(&project, &["show"]);
    assert!(shown.contains("of waiting: cut off") && !shown.contains("running"), "{shown}");
}

#[test]
fn what_is_not_there() {
    let project = sales_done();
    assert_snapshot!(see(&project, &["show", "latest", "fetsch"]), @r"
    exit status: 2
    ----- stderr -----
    error: run [RUN] has no stage or instance `fetsch`
    help: did you mean `fetch`?
    ");
    assert_snapshot!(see(&project, &["show", "1234"]), @r"
    exit status: 2
    ----- stderr -----
    error: there is no run `1234`
    help: `cairn runs` lists them
    ");
}

/// What is shown of a run's id can be typed, and its beginning, as of a commit's.
#[test]
fn a_run_is_named_by_what_is_shown_of_it() {
    let project = sales_done();
    let runs = project.cairn(&["runs"]).stdout;
    let short = runs.lines().nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(short.len(), 8);
    for name in [short, &short[..6]] {
        project.cairn(&["show", name]).expect(0);
    }
}
