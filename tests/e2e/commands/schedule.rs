//! `cairn schedule next`: times to come.

use cairn_testkit::Project;
use insta::assert_snapshot;

use super::super::BINARY;
use super::{sales, see};

const BERLIN: [&str; 8] =
    ["schedule", "next", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2026-03-27"];

#[test]
fn of_an_expression() {
    assert_snapshot!(Project::new(BINARY).cairn(&[&BERLIN[..], &["-n", "4"]].concat()).stdout, @"
    TIME                       DAY  INTERVAL
    2026-03-27T02:30:00+01:00  Fri  2026-03-26T02:30:00+01:00/2026-03-27T02:30:00+01:00
    2026-03-28T02:30:00+01:00  Sat  2026-03-27T02:30:00+01:00/2026-03-28T02:30:00+01:00
    2026-03-29T03:00:00+02:00  Sun  2026-03-28T02:30:00+01:00/2026-03-29T03:00:00+02:00
    2026-03-30T02:30:00+02:00  Mon  2026-03-29T03:00:00+02:00/2026-03-30T02:30:00+02:00
    ");
    assert_snapshot!(Project::new(BINARY).cairn(&[&BERLIN[..], &["-n", "1", "--json"]].concat()).stdout, @r#"
    {"schema":"cairn.occurrence/1","id":"73de805c2172354d054b790c09d6731e60f5df7fd0559f2c68ea3dddb571daca","nominal":"2026-03-27T02:30:00+01:00","fires_at":"2026-03-27T02:30:00+01:00","interval_start":"2026-03-26T02:30:00+01:00","interval_end":"2026-03-27T02:30:00+01:00"}
    "#);
}

#[test]
fn of_a_pipeline() {
    let text = "[pipeline]\nname = \"six\"\n[schedule]\nevery = \"6h\"\nstart = 2026-01-01T06:00:00\nend = 2026-01-01T20:00:00Z\nafter = [\"sales\"]\n\
        [stages.a]\nrun = \"true\"\n";
    let project = Project::with_pipeline(BINARY, text);
    assert_snapshot!(project.cairn(&["schedule", "next", "--from", "2025-01-01"]).stdout, @"
    TIME                  DAY  INTERVAL
    2026-01-01T06:00:00Z  Thu  2026-01-01T00:00:00Z/2026-01-01T06:00:00Z
    2026-01-01T12:00:00Z  Thu  2026-01-01T06:00:00Z/2026-01-01T12:00:00Z
    2026-01-01T18:00:00Z  Thu  2026-01-01T12:00:00Z/2026-01-01T18:00:00Z
    ");
    project.write(
        "pipeline.toml",
        "[pipeline]\nname = \"six\"\n[schedule]\nafter = [\"sales\"]\n[stages.a]\nrun = \"true\"\n",
    );
    assert_snapshot!(see(&project, &["schedule", "next"]), @"
    exit status: 0
    ----- stderr -----
      `six` runs after `sales`
      at no time of its own
    ");
}

#[test]
fn of_days() {
    let arguments = ["schedule", "next", "--cron", "@daily", "--from", "2026-01-01", "-n2"];
    assert_snapshot!(Project::new(BINARY).cairn(&arguments).stdout, @"
    TIME                  DAY  INTERVAL
    2026-01-02T00:00:00Z  Fri  2026-01-01/2026-01-02
    2026-01-03T00:00:00Z  Sat  2026-01-02/2026-01-03
    ");
}

#[test]
fn what_is_wrong() {
    let project = Project::new(BINARY);
    assert_snapshot!(see(&project, &["schedule", "next", "--cron", "61 6 * * monday"]), @"
    exit status: 2
    ----- stderr -----
    error: `61 6 * * monday` is no cron expression
    note: `61`: the minute cannot be 61; write 0 to 59
    note: `monday`: the day of the week cannot be `monday`; names have three letters: write `MON`
    ");
    assert_snapshot!(see(&project, &["schedule", "next", "--cron", "0 6 31 2 *"]), @"
    exit status: 2
    ----- stderr -----
    error: `0 6 31 2 *` is no cron expression
    note: `31`: no month of `2` has a day `31`
    help: this never comes: write `L` for the last day of a month, or another month
    ");
    assert_snapshot!(see(&project, &["schedule", "next", "--cron", "@daily", "--timezone", "New York"]), @"
    exit status: 2
    ----- stderr -----
    error: there is no time zone `New York`
    help: did you mean `America/New_York`?
    ");
    assert_snapshot!(see(&project, &["schedule", "next", "--cron", "@daily", "--from", "soon"]), @"
    exit status: 2
    ----- stderr -----
    error: `--from soon` is no date or time
    help: write for example `2026-01-31`, `[TIME]` or `[TIME]`
    ");
    assert_snapshot!(see(&sales(), &["schedule", "next"]), @r#"
    exit status: 2
    ----- stderr -----
    error: the pipeline `sales` has no schedule
    help: write for example `[schedule]` and below it `cron = "0 6 * * *"`
    "#);
}
