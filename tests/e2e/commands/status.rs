//! `cairn status`: how each pipeline stands; 3 when something is stale.

use cairn_testkit::Project;
use insta::assert_snapshot;
use rustix::process::{Pid, Signal, kill_process_group};

use super::super::BINARY;
use super::{TROUBLE, sales, sales_done, see, wait_for_slow, waiting};

#[test]
fn never_ran() {
    let project = sales();
    assert_snapshot!(see(&project, &["status"]), @r"
    exit status: 3
    ----- stdout -----
    sales  pipeline.toml
      never ran; next: cairn run pipeline.toml
    ");
    assert!(!project.exists(".cairn"));
}

#[test]
fn all_in_place() {
    assert_snapshot!(see(&sales_done(), &["status"]), @r"
    exit status: 0
    ----- stdout -----
    sales  pipeline.toml
      succeeded in [T] · 3 RAN · run [RUN] · [TIME]
      all in place
    ");
}

#[test]
fn stale() {
    let project = sales_done();
    project.write("source.txt", "c\n");
    assert_snapshot!(see(&project, &["status"]), @r"
    exit status: 3
    ----- stdout -----
    sales  pipeline.toml
      succeeded in [T] · 3 RAN · run [RUN] · [TIME]
      stale: fetch: input `source.txt` changed
      stale: count: runs if `fetch` makes other bytes than before
      stale: report: runs if `count` makes other bytes than before
      next: cairn run pipeline.toml
    ");
}

#[test]
fn failed() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run", "-j1"]).expect(1);
    let shown = see(&project, &["status"]);
    for part in ["exit status: 3", "failed: bad: exit status 4", "next: cairn resume"] {
        assert!(shown.contains(part), "`{part}` is not told: {shown}");
    }
    assert!(!shown.contains("bad: never ran"), "what failed did run: {shown}");
}

#[test]
fn running_and_cut_off() {
    let project = waiting();
    let mut run = project.start(&["run", "-j1"]);
    wait_for_slow(&project);
    assert_snapshot!(see(&project, &["status"]), @r"
    exit status: 0
    ----- stdout -----
    waiting  pipeline.toml
      running · 1 RAN · run [RUN] · [TIME]
      next: cairn logs [RUN] -f
    ");
    kill_process_group(Pid::from_child(&run), Signal::KILL).unwrap();
    run.wait().unwrap();
    let shown = see(&project, &["status"]);
    for part in ["exit status: 3", "  cut off · 1 RAN · run [RUN] · [TIME]", "next: cairn resume [RUN]"] {
        assert!(shown.contains(part), "`{part}` is not told: {shown}");
    }
    assert!(!shown.contains("slow: never ran"), "it was cut off: {shown}");
}

#[test]
fn a_broken_definition() {
    let project = sales_done();
    project.write("pipeline.toml", "[stages.fetch]\nrunn = \"true\"\n");
    assert_snapshot!(see(&project, &["status"]), @r#"
    exit status: 2
    ----- stdout -----
    sales  pipeline.toml
      succeeded in [T] · 3 RAN · run [RUN] · [TIME]
    error[CRN0201]: a stage has no key `runn`
     --> pipeline.toml:2:1
      |
    2 | runn = "true"
      | ^^^^ unknown key
      |
    help: did you mean `run`?
      |
    2 - runn = "true"
    2 + run = "true"
      |

    error: 1 error in `pipeline.toml`
    "#);
}
