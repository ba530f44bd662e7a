//! Effects in doubt, and those that drifted, wherever they are told: to people, and to programs.

use cairn_testkit::Project;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::super::BINARY;
use super::see;

/// Takes long enough for its time to be told. Pays, and fails after that when it is told to; the probe shows the book.
const BANK: &str = r#"
[pipeline]
name = "bank"

[stages.pay]
run = "sleep 0.05; echo paid >> $BANK/book; test ! -e $BANK/fail"
pass_env = ["BANK"]

[stages.pay.effect]
mode = "at-most-once"
key = "invoice/7"
probe = "cat $BANK/book"

[stages.after]
run = "sleep 0.05; echo done > after.txt"
outputs = ["after.txt"]
needs = ["pay"]
"#;

fn bank() -> Project {
    let mut project = Project::with_pipeline(BINARY, BANK);
    project.write("bank/book", "");
    let folder = project.file("bank").display().to_string();
    project.set_env("BANK", &folder);
    project
}

/// One whose payment may have taken place.
fn in_doubt() -> Project {
    let project = bank();
    project.write("bank/fail", "");
    project.cairn(&["run", "-j1"]).expect(4);
    project
}

/// One that has paid, and of which somebody has changed the book.
fn drifted() -> Project {
    let project = bank();
    project.cairn(&["run", "-j1"]).expect(0);
    project.write("bank/book", "gone\n");
    project
}

/// The given keys of each object, those that are there.
#[track_caller]
fn told(project: &Project, status: i32, arguments: &[&str], keys: &[&str]) -> Vec<Value> {
    let lines = project.cairn(arguments).expect(status).stdout;
    let told = lines.lines().map(|line| {
        let all: Value = serde_json::from_str(line).unwrap();
        keys.iter().filter_map(|key| Some(((*key).to_owned(), all.get(key)?.clone()))).collect()
    });
    told.collect()
}

#[test]
fn in_doubt_is_told_to_people() {
    let project = in_doubt();
    assert_snapshot!(see(&project, &["plan"]), @r"
    exit status: 0
    ----- stdout -----
      would     instance  why
      IN DOUBT  pay       its effect `invoice/7` may have taken place: exit status 1
      BLOCK     after     `pay` before it would fail

      1 IN DOUBT, 1 BLOCK
    ");
    assert_snapshot!(see(&project, &["status"]), @r"
    exit status: 4
    ----- stdout -----
    bank  pipeline.toml
      in doubt in [T] · 1 BLOCKED, 1 IN DOUBT · run [RUN] · [TIME]
      in doubt: pay: its effect `invoice/7` may have taken place: exit status 1
      stale: after: `pay` before it would fail
      next: cairn effects list
    ");
    assert_snapshot!(see(&project, &["show"]), @r"
    exit status: 0
    ----- stdout -----
    run [RUN] of bank: in doubt · 1 BLOCKED, 1 IN DOUBT
      started  [TIME] +00:00
      took     [T]
      command  cairn run -j1
      file     pipeline.toml
      id       [RUN]

    OUTCOME   INSTANCE    TOOK  TRIES  REASON
    IN DOUBT  pay       [T]      1  its effect `invoice/7` may have taken place: exit status 1
    BLOCKED   after                    the effect of `pay` is in doubt
    ");
    assert_snapshot!(see(&project, &["show", "pay"]), @r"
    exit status: 0
    ----- stdout -----
    pay in run [RUN] of bank: IN DOUBT
      reason    its effect `invoice/7` may have taken place: exit status 1
      help      find out, then say so: `cairn effects settle invoice/7 --happened`, or `--did-not-happen`
      attempts  1
      started   [TIME] +00:00
      took      [T]
      hash      [HASH]
      log       .cairn/logs/[RUN]/pay.1.log

      command
        sleep 0.05; echo paid >> $BANK/book; test ! -e $BANK/fail
    ");
}

#[test]
fn in_doubt_is_told_to_programs() {
    let project = in_doubt();
    let why = "its effect `invoice/7` may have taken place: exit status 1";
    let plan = told(&project, 0, &["plan", "--json"], &["instance", "action", "reason"]);
    assert_eq!(plan[0], json!({ "instance": "pay", "action": "IN DOUBT", "reason": why }));
    assert_eq!(plan[1]["action"], "BLOCK");
    let status = told(&project, 4, &["status", "--json"], &["stale", "failed", "in_doubt", "drifted"]);
    assert_eq!(status, [json!({ "stale": ["pay", "after"], "failed": [], "in_doubt": ["pay"] })]);
    let keys = ["status", "outcomes", "instance", "state", "reason", "attempts", "help"];
    let show = told(&project, 0, &["show", "--json"], &keys);
    let outcomes = json!({ "ran": 0, "restored": 0, "fresh": 0, "failed": 0, "blocked": 1, "in_doubt": 1 });
    let help = "find out, then say so: `cairn effects settle invoice/7 --happened`, or `--did-not-happen`";
    let pay = json!({ "instance": "pay", "state": "IN DOUBT", "reason": why, "attempts": 1, "help": help });
    assert_eq!(show[0], json!({ "status": "in doubt", "outcomes": outcomes }));
    assert_eq!(show[1], pay);
    assert_eq!(show[2]["reason"], "the effect of `pay` is in doubt");
    assert_eq!(told(&project, 0, &["show", "pay", "--json"], &keys), [pay]);
    // It is over once a person has said what happened.
    project.cairn(&["effects", "settle", "invoice/7", "--happened"]).expect(0);
    let plan = told(&project, 0, &["plan", "--json"], &["instance", "action"]);
    assert_eq!(plan[0], json!({ "instance": "pay", "action": "FRESH" }));
    let status = told(&project, 3, &["status", "--json"], &["stale", "in_doubt"]);
    assert_eq!(status, [json!({ "stale": ["after"] })]);
}

#[test]
fn drift_is_told_to_people() {
    let project = drifted();
    assert_snapshot!(see(&project, &["plan"]), @r"
    exit status: 0
    ----- stdout -----
      would    instance  why
      DRIFTED  pay       the probe of its effect prints `gone`, and after it was done `paid`
      FOLLOW   after     runs if `pay` makes other bytes than before

      1 DRIFTED, 1 FOLLOW
    ");
    assert_snapshot!(see(&project, &["status"]), @r"
    exit status: 3
    ----- stdout -----
    bank  pipeline.toml
      succeeded in [T] · 2 RAN · run [RUN] · [TIME]
      drifted: pay: the probe of its effect prints `gone`, and after it was done `paid`
      stale: after: runs if `pay` makes other bytes than before
      next: cairn run pipeline.toml
    ");
    project.cairn(&["run", "-j1"]).expect(0);
    assert_snapshot!(see(&project, &["show"]), @r"
    exit status: 0
    ----- stdout -----
    run [RUN] of bank: succeeded · 1 RAN, 1 FRESH
      started  [TIME] +00:00
      took     [T]
      saved    [T] (work not repeated)
      command  cairn run -j1
      file     pipeline.toml
      id       [RUN]

    OUTCOME  INSTANCE    TOOK  TRIES  REASON
    RAN      pay       [T]      1  drifted: the probe of its effect prints `gone`, and after it was done `paid`
    FRESH    after                    inputs and outputs unchanged
    ");
    assert_snapshot!(see(&project, &["show", "pay"]), @r"
    exit status: 0
    ----- stdout -----
    pay in run [RUN] of bank: RAN
      reason    drifted: the probe of its effect prints `gone`, and after it was done `paid`
      attempts  1
      started   [TIME] +00:00
      took      [T]
      hash      [HASH]
      used      [T] ([T] user, [T] system), [SIZE] of memory
      sandbox   private
      log       nothing was printed

      command
        sleep 0.05; echo paid >> $BANK/book; test ! -e $BANK/fail

      environment
        BANK=[DIR]/bank
    ");
}

#[test]
fn drift_is_told_to_programs() {
    let project = drifted();
    let why = "the probe of its effect prints `gone`, and after it was done `paid`";
    let plan = told(&project, 0, &["plan", "--json"], &["instance", "action", "reason"]);
    assert_eq!(plan[0], json!({ "instance": "pay", "action": "DRIFTED", "reason": why }));
    assert_eq!(plan[1]["action"], "FOLLOW");
    let status = told(&project, 3, &["status", "--json"], &["stale", "failed", "in_doubt", "drifted"]);
    assert_eq!(status, [json!({ "stale": ["pay", "after"], "failed": [], "drifted": ["pay"] })]);
    // The last run is as it was; the next one did it again, and says why.
    let keys = ["status", "instance", "state", "reason"];
    let show = told(&project, 0, &["show", "--json"], &keys);
    assert_eq!(show[0], json!({ "status": "succeeded" }));
    project.cairn(&["run", "-j1"]).expect(0);
    let pay = json!({ "instance": "pay", "state": "RAN", "reason": format!("drifted: {why}") });
    assert_eq!(told(&project, 0, &["show", "--json"], &keys)[1], pay);
    assert_eq!(told(&project, 0, &["show", "pay", "--json"], &keys), [pay]);
    let status = told(&project, 0, &["status", "--json"], &["stale", "drifted"]);
    assert_eq!(status, [json!({ "stale": [] })]);
}
