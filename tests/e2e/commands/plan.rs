//! `cairn plan`: what a run would do, and why; it does nothing.

use insta::assert_snapshot;

use super::{sales, sales_done, see};

#[test]
fn nothing_ran_yet() {
    let project = sales();
    let plan = see(&project, &["plan"]);
    assert!(plan.contains("RUN     fetch     never ran before"), "{plan}");
    assert!(!plan.contains("than before\n"), "there is no before of what never ran: {plan}");
    assert!(!project.exists(".cairn") && !project.exists("out"), "it left something behind");
}

#[test]
fn nothing_changed() {
    assert_snapshot!(see(&sales_done(), &["plan"]), @r"
    exit status: 0
    ----- stdout -----
      would  instance  why
      FRESH  fetch     unchanged, saves [T]
      FRESH  count     unchanged, saves [T]
      FRESH  report    unchanged, saves [T]

      3 FRESH
    ");
}

#[test]
fn an_input_changed_and_what_hangs_on_it_may_follow() {
    let project = sales_done();
    project.write("source.txt", "c\n");
    assert_snapshot!(see(&project, &["plan"]), @r"
    exit status: 0
    ----- stdout -----
      would   instance  why
      RUN     fetch     input `source.txt` changed
      FOLLOW  count     runs if `fetch` makes other bytes than before
      FOLLOW  report    runs if `count` makes other bytes than before

      1 RUN, 2 FOLLOW
    ");
    assert_snapshot!(see(&project, &["plan", "fetch"]), @r"
    exit status: 0
    ----- stdout -----
      would  instance  why
      RUN    fetch     input `source.txt` changed

      1 RUN
    ");
    let plan = project.cairn(&["plan"]);
    let dry = project.cairn(&["run", "-n"]).expect(0);
    assert_eq!(dry.stdout, plan.stdout, "`run -n` is `plan`");
    assert_eq!(project.read("out/rows.txt"), "a\nb\n");
}

#[test]
fn an_output_is_gone_and_another_was_edited() {
    let project = sales_done();
    project.remove("report.txt").write("out/rows.txt", "scribble");
    assert_snapshot!(see(&project, &["plan"]), @r"
    exit status: 0
    ----- stdout -----
      would    instance  why
      RESTORE  fetch     `out/rows.txt` missing or changed
      FRESH    count     unchanged, saves [T]
      RESTORE  report    `report.txt` missing or changed

      2 RESTORE, 1 FRESH
    ");
    assert_eq!(project.read("out/rows.txt"), "scribble");
}

#[test]
fn what_is_forced() {
    assert_snapshot!(see(&sales_done(), &["plan", "--from", "count"]), @r"
    exit status: 0
    ----- stdout -----
      would   instance  why
      FRESH   fetch     unchanged, saves [T]
      RUN     count     forced
      FOLLOW  report    runs if `count` makes other bytes than before

      1 FRESH, 1 RUN, 1 FOLLOW
    ");
}
