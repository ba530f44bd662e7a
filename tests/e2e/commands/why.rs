//! `cairn why`: which part of an input-hash changed.

use cairn_testkit::Project;
use insta::assert_snapshot;
use serde_json::Value;

use super::super::BINARY;
use super::{SALES, TROUBLE, sales, sales_done, see};

#[test]
fn nothing_changed() {
    assert_snapshot!(see(&sales_done(), &["why", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
    fetch is as in run [RUN], [TIME]: nothing changed
      input-hash [HASH]
    ");
}

#[test]
fn an_input_changed() {
    let project = sales_done();
    project.write("source.txt", "b\nc\n");
    assert_snapshot!(see(&project, &["why", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
    fetch runs: 1 change since run [RUN], [TIME]
      input-hash [HASH]

      input `source.txt` changed
          b
        - a
        + c
    ");
}

#[test]
fn the_command_changed() {
    let project = sales_done();
    project.write("pipeline.toml", SALES.replace("sleep 0.05\nsort", "sort -u"));
    assert_snapshot!(see(&project, &["why", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
    fetch runs: 1 change since run [RUN], [TIME]
      input-hash [HASH]

      the command changed
          echo fetching hello
        - sleep 0.05
        - sort source.txt > out/rows.txt
        + sort -u source.txt > out/rows.txt
    ");
    assert_snapshot!(see(&project, &["why", "fetch", "-p", "word=bye"]), @r"
    exit status: 0
    ----- stdout -----
    fetch runs: 1 change since run [RUN], [TIME]
      input-hash [HASH]

      the command changed
        - echo fetching hello
        - sleep 0.05
        - sort source.txt > out/rows.txt
        + echo fetching bye
        + sort -u source.txt > out/rows.txt
    ");
}

#[test]
fn a_variable_changed() {
    let project = sales_done();
    project.write("pipeline.toml", SALES.replace("\"plain\"", "\"fancy\"\nNEW = \"1\""));
    assert_snapshot!(see(&project, &["why", "sales", "fetch"]), @r#"
    exit status: 0
    ----- stdout -----
    fetch runs: 2 changes since run [RUN], [TIME]
      input-hash [HASH]

      env `MODE` changed
        - "plain"
        + "fancy"

      env `NEW` is new
        + "1"
    "#);
}

#[test]
fn never_ran() {
    let project = Project::with_pipeline(BINARY, &format!("{SALES}\n[stages.new]\nrun = \"true\"\n"));
    project.write("source.txt", "a\n");
    project.cairn(&["run", "fetch"]).expect(0);
    assert_snapshot!(see(&project, &["why", "new"]), @r"
    exit status: 0
    ----- stdout -----
    new runs: it never ran before
      input-hash [HASH]
    ");
    assert_snapshot!(see(&sales(), &["why", "fetch"]), @r"
    exit status: 2
    ----- stderr -----
    error: nothing ran here yet, so there is nothing to compare with
    help: `cairn run` makes the first checkpoints
    ");
}

/// What failed did run.
#[test]
fn it_failed() {
    let project = Project::with_pipeline(BINARY, TROUBLE);
    project.cairn(&["run", "-j1"]).expect(1);
    for command in [&["why", "bad"][..], &["plan"], &["run", "-n", "bad"]] {
        let shown = see(&project, command);
        let line = shown.lines().find(|line| line.contains("bad ")).expect(&shown);
        assert!(!line.contains("never ran"), "`{}`: {line}", command.join(" "));
    }
}

/// What hangs on something that is to run first is asked about most: the help is of this command, not of another's option.
#[test]
fn something_before_it_is_not_done() {
    let project = sales_done();
    project.write("source.txt", "c\n");
    let shown = see(&project, &["why", "report"]);
    assert!(shown.contains("`count`") || shown.contains("`fetch`"), "{shown}");
    assert!(!shown.contains("--only"), "{shown}");
}

/// For programs: values as they are, digests whole.
#[test]
fn as_json() {
    let project = sales_done();
    project.write("source.txt", "c\n").write("pipeline.toml", SALES.replace("\"plain\"", "\"fancy\""));
    let lines = project.cairn(&["why", "fetch", "--json"]).expect(0).stdout;
    let changes: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |part: &str| changes.iter().find(|change| change["part"][0] == part).expect(&lines);
    assert_eq!(
        (of("env")["before"].as_str(), of("env")["after"].as_str()),
        (Some("plain"), Some("fancy")),
        "{lines}"
    );
    let digest = of("inputs")["before"].as_str().unwrap();
    assert_eq!(digest.len(), 64, "{lines}");
}
