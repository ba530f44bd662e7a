//! `cairn runs`: the runs, newest first.

use cairn_testkit::Project;
use insta::assert_snapshot;
use serde_json::Value;

use super::super::BINARY;
use super::{TROUBLE, sales, sales_done, see};

#[test]
fn none_yet() {
    assert_snapshot!(see(&sales(), &["runs"]), @r"
    exit status: 0
    ----- stderr -----
    no run yet; `cairn run` makes the first
    ");
}

#[test]
fn several() {
    let project = sales_done();
    project.cairn(&["run"]).expect(0);
    project.write("source.txt", "c\n");
    project.cairn(&["run", "--frozen"]).expect(3);
    assert_snapshot!(see(&project, &["runs"]), @r"
    exit status: 0
    ----- stdout -----
    RUN       PIPELINE  STARTED                TOOK  STATUS     INSTANCES
    [RUN]  sales     [TIME]  [T]  frozen     3 BLOCKED
    [RUN]  sales     [TIME]  [T]  succeeded  3 FRESH
    [RUN]  sales     [TIME]  [T]  succeeded  3 RAN
    ");
}

/// `run`, `runs`, `show` and `status` tell of the same run: how long it took is one number.
#[test]
fn a_run_took_the_same_wherever_it_is_told() {
    let project = sales();
    let events = project.cairn(&["run", "--json"]).expect(0).stdout;
    let took = |text: &str| {
        let line: Value = serde_json::from_str(text).unwrap();
        let run = line.get("last_run").unwrap_or(&line);
        run["took_ms"].as_u64().expect("a number")
    };
    let told = took(events.lines().last().unwrap());
    for command in ["runs", "show", "status"] {
        let json = project.cairn(&[command, "--json"]).stdout;
        assert_eq!(took(json.lines().next().unwrap()), told, "in `{command}`");
    }
}

#[test]
fn what_failed() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run", "-j1"]).expect(1);
    assert_snapshot!(see(&project, &["runs"]), @r"
    exit status: 0
    ----- stdout -----
    RUN       PIPELINE  STARTED                TOOK  STATUS  INSTANCES
    [RUN]  trouble   [TIME]  [T]  failed  1 RAN, 1 FAILED, 1 BLOCKED
    ");
}
