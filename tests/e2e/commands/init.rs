//! `cairn init`: a project that works, and never over one that is there.

use cairn_testkit::Project;
use insta::assert_snapshot;

use super::super::{BINARY, run};
use super::see;

#[test]
fn a_first_project_is_made_and_works() {
    let project = Project::new(BINARY);
    assert_snapshot!(see(&project, &["init"]), @r"
    exit status: 0
    ----- stdout -----
    made 5 files in `.`:
      pipeline.toml
      scripts/clean.awk
      scripts/shop.awk
      scripts/report.awk
      data/sales.csv

    next:
      cairn run    makes `report.txt`
      cairn run    again: nothing is left to do
      cairn plan   after you changed a file: what that touches
    ");
    assert_snapshot!(see(&project, &["check"]), @r"
    exit status: 0
    ----- stdout -----
    1 pipeline, 4 stages, 6 instances: all well
    ");
    let everything = "clean={} ranking={} report={} shop[harbour]={} shop[market]={} shop[station]={}";
    assert_eq!(run(&project, &[]), everything.replace("{}", "RAN"));
    assert!(project.read("report.txt").contains("harbour"));
    assert_eq!(run(&project, &[]), everything.replace("{}", "FRESH"));
}

#[test]
fn in_a_folder_of_its_own() {
    let project = Project::new(BINARY);
    assert_snapshot!(see(&project, &["init", "my demo"]), @r"
    exit status: 0
    ----- stdout -----
    made 5 files in `my demo`:
      pipeline.toml
      scripts/clean.awk
      scripts/shop.awk
      scripts/report.awk
      data/sales.csv

    next:
      cd 'my demo'
      cairn run    makes `report.txt`
      cairn run    again: nothing is left to do
      cairn plan   after you changed a file: what that touches
    ");
    assert!(project.exists("my demo/pipeline.toml"));
}

#[test]
fn what_is_there_is_left_alone() {
    let project = Project::with_pipeline(BINARY, "mine");
    project.write("data/sales.csv", "mine too");
    let before = project.snapshot();
    assert_snapshot!(see(&project, &["init"]), @r"
    exit status: 2
    ----- stderr -----
    error: `.` holds `pipeline.toml` and `data/sales.csv` already
    help: nothing was changed; choose an empty folder: `cairn init DIR`
    ");
    assert_eq!(project.snapshot(), before);
}
