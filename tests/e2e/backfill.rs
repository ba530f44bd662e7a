//! Logical time by hand, and a run for each interval of a stretch of time.

use cairn_testkit::Project;
use serde_json::Value;

use super::BINARY;
use super::examples::example;

const JANUARY: [&str; 5] = ["backfill", "--from", "2026-01-01", "--to", "2026-01-21"];

fn backfill(project: &Project, more: &[&str], status: i32) -> Vec<Value> {
    let arguments = [JANUARY.as_slice(), &["--json"], more].concat();
    let outcome = project.cairn(&arguments).expect(status);
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["schema"] == "cairn.backfill/1").collect()
}

/// Returns the days of the month with this word under `key`.
fn days(lines: &[Value], key: &str, word: &str) -> Vec<u32> {
    let with = lines.iter().filter(|line| line[key] == word);
    with.map(|line| line["interval_start"].as_str().unwrap()[8..10].parse().unwrap()).collect()
}

#[test]
fn twenty_days_are_made_once_and_an_edit_makes_those_that_it_changes() {
    let project = example("daily");
    let planned = backfill(&project, &["--plan"], 0);
    assert_eq!(days(&planned, "plan", "RUN"), (1..=20).collect::<Vec<u32>>());
    assert!(!project.exists("build"), "a plan makes nothing");

    let made = backfill(&project, &[], 0);
    assert_eq!(days(&made, "status", "succeeded").len(), 20);
    let page = project.read("build/pages/2026-01-20.txt");
    assert!(page.contains('/'), "{page}");
    let snapshot = project.snapshot_of("build");

    let again = backfill(&project, &[], 0);
    assert_eq!(days(&again, "plan", "FRESH").len(), 20);
    assert!(again.iter().all(|day| day["selected"] == false && day["last"] == "succeeded"));

    // Another day is gone: it is put back, and no other is touched.
    project.remove("build/pages/2026-01-07.txt");
    let restored = backfill(&project, &[], 0);
    assert_eq!(days(&restored, "plan", "RESTORE"), [7]);
    assert_eq!(project.snapshot_of("build"), snapshot);

    // A visit more on the 5th: the log is an input of each day, what follows is one of a day whose bytes changed.
    let log = project.read("visits.csv");
    project.write("visits.csv", format!("{log}2026-01-05,/new,100\n"));
    let made = backfill(&project, &[], 0);
    assert_eq!(days(&made, "status", "succeeded").len(), 20);
    assert!(project.read("build/pages/2026-01-05.txt").contains("/new"));
    let changed = project.snapshot_of("build");
    assert_eq!(changed.iter().filter(|(path, bytes)| snapshot[*path] != **bytes).count(), 2);
}

#[test]
fn what_is_reprocessed_is_what_was_asked_for() {
    let project = example("daily");
    project.cairn(&["run", "--interval", "2026-01-03/2026-01-04"]).expect(0);
    // The 9th cannot be made.
    let text = project.read("pipeline.toml");
    project.write(
        "pipeline.toml",
        text.replace("run = \"awk", "run = \"test {{ interval.start | date }} != 2026-01-09 && awk"),
    );
    let missing = backfill(&project, &["--reprocess", "missing", "-k"], 1);
    assert_eq!(days(&missing, "status", "failed"), [9]);
    assert_eq!(missing[2]["selected"], false, "the 3rd has a run");
    assert_eq!(days(&missing, "status", "succeeded").len(), 18);

    let failed = backfill(&project, &["--reprocess", "failed", "--plan"], 0);
    assert_eq!(days(&failed, "last", "failed"), [9]);
    assert_eq!(failed.iter().filter(|day| day["selected"] == true).count(), 1);
    // Without `-k` nothing is made after what fails.
    project.write(
        "pipeline.toml",
        text.replace("run = \"awk", "run = \"test {{ interval.start | date }} != 2026-01-02 && awk"),
    );
    let stopped = backfill(&project, &["--reprocess", "all"], 1);
    assert_eq!(
        (days(&stopped, "status", "succeeded"), days(&stopped, "status", "failed")),
        (vec![1], vec![2])
    );
    assert!(stopped[2].get("run").is_none());
}

#[test]
fn a_resumed_run_keeps_its_interval() {
    let project = example("daily");
    let text = project.read("pipeline.toml");
    project.write(
        "pipeline.toml",
        text.replace("run = \"cut", "run = \"test -e go; cut")
            .replace("inputs = [\"build", "inputs = [{ path = \"go\", optional = true }, \"build")
            .replace("{{ inputs[0] }} |", "{{ inputs[1] }} |"),
    );
    project.cairn(&["run", "--interval", "2026-01-05/2026-01-06"]).expect(1);
    project.write("go", "");
    project.cairn(&["resume"]).expect(0);
    assert!(project.exists("build/pages/2026-01-05.txt"));
    let shown: Value = serde_json::from_str(project.cairn(&["runs", "--json", "-n1"]).stdout.trim()).unwrap();
    assert_eq!(shown["logical_time"], "2026-01-05T23:00:00.000Z", "the end of the day in Berlin");
    assert_eq!(
        (&shown["interval_start"], &shown["interval_end"]),
        (&"2026-01-04T23:00:00.000Z".into(), &shown["logical_time"])
    );
    // It stands as it does for the interval of its last run.
    project.cairn(&["status"]).expect(0);
    let shown = project.cairn(&["show"]).expect(0).stdout;
    assert!(shown.contains("interval") && !shown.contains("--interval="), "{shown}");
}

#[test]
fn a_run_without_an_interval_is_about_the_schedules_last() {
    let project = example("daily");
    project.cairn(&["run", "--at", "2026-01-08T15:00:00"]).expect(0);
    assert!(project.exists("build/pages/2026-01-07.txt"));
    let text = project.read("pipeline.toml");
    let (head, tail) = (text.find("[schedule]").unwrap(), text.find("# `interval.start`").unwrap());
    project.write("pipeline.toml", format!("{}{}", &text[..head], &text[tail..]));
    insta::assert_snapshot!(project.cairn(&["run"]).expect(2).shown(), @"
    exit status: 2
    ----- stderr -----
    error: `daily` reads its interval, and nothing says which
    help: say it, for example `--interval 2026-01-31/2026-02-01`, or write a `[schedule]` with `cron` or `every`
    ");
    insta::assert_snapshot!(project.cairn(&JANUARY).expect(2).shown(), @r#"
    exit status: 2
    ----- stderr -----
    error: `daily` has no schedule that says how long an interval is
    help: say it: `--every 1d`, or write `[schedule]` with `cron = "@daily"`
    "#);
    insta::assert_snapshot!(project.cairn(&["run", "--interval", "2026-01-08"]).expect(2).shown(), @"
    exit status: 2
    ----- stderr -----
    error: `--interval 2026-01-08` is no stretch of time
    help: write two dates or times, the second later: `--interval 2026-01-31/2026-02-01` is the last day of January
    ");
    project.cairn(&["run", "--interval", "2026-01-08/2026-01-09"]).expect(0);
    let made = backfill(&project, &["--every", "10d"], 0);
    assert_eq!(days(&made, "status", "succeeded"), [1, 11]);
}

#[test]
fn how_a_backfill_looks() {
    let project = example("daily");
    let arguments = ["backfill", "--from", "2026-01-01", "--to", "2026-01-04"];
    insta::assert_snapshot!(project.cairn(&[&arguments[..], &["--plan"]].concat()).shown(), @"
    exit status: 0
    ----- stdout -----
      interval               would  last run  why
      2026-01-01/2026-01-02  RUN    none      never ran before
      2026-01-02/2026-01-03  RUN    none      never ran before
      2026-01-03/2026-01-04  RUN    none      never ran before

      3 intervals would run
    ");
    let done = project.cairn(&arguments).expect(0);
    insta::assert_snapshot!(cairn_testkit::redact(&done.stdout, project.path()), @"
    interval               run       status     instances
    2026-01-01/2026-01-02  [RUN]  succeeded  2 RAN
    2026-01-02/2026-01-03  [RUN]  succeeded  2 RAN
    2026-01-03/2026-01-04  [RUN]  succeeded  2 RAN

    3 intervals done
    ");
    insta::assert_snapshot!(project.cairn(&[&arguments[..], &["--plan"]].concat()).shown(), @"
    exit status: 0
    ----- stdout -----
      interval               would  last run   why
      2026-01-01/2026-01-02  FRESH  succeeded
      2026-01-02/2026-01-03  FRESH  succeeded
      2026-01-03/2026-01-04  FRESH  succeeded

      0 intervals would run, 3 passed over
    ");
    insta::assert_snapshot!(project.cairn(&["backfill", "--from", "2026-01-04", "--to", "2026-01-01"]).shown(), @"
    exit status: 2
    ----- stderr -----
    error: `--to` is no later than `--from`
    help: `--to` is the first time that is no longer a part: the day after the last day
    ");
}

#[test]
fn a_pipeline_without_an_interval_is_not_filled() {
    let project =
        Project::with_pipeline(BINARY, "[schedule]\ncron = \"@daily\"\n[stages.a]\nrun = \"true\"\n");
    let outcome = project.cairn(&JANUARY).expect(2);
    assert!(outcome.stderr.contains("reads no interval"), "{}", outcome.stderr);
}
