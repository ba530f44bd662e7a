//! `[schedule]`, and what reads its intervals.

use cairn_model::{Catchup, Overlap, SensorKind, Timestamp, Trigger};

use super::*;
use crate::code;

const STAGE: &str = "[stages.a]\nrun = \"true\"\n";

fn schedule_codes(schedule: &str) -> Vec<&'static str> {
    codes(&format!("{STAGE}[schedule]\n{schedule}"), &[])
}

#[test]
fn all_that_a_schedule_can_say() {
    let text = format!(
        "{STAGE}{}",
        r#"[schedule]
end = 2027-01-01
start = 2026-01-01
cron = "30 6 * * MON-FRI"
timezone = "europe/berlin"
catchup = "all"
catchup_window = "7d"
overlap = "queue"
jitter = "5m"
stop_after_failures = 3
after = ["flights"]
priority = -2
retry_dead = "6h"
retry_dead_max = 5
check_drift = "1h"
[[schedule.sensors]]
files = "incoming/*.csv"
settle = "10s"
[[schedule.sensors]]
command = "git rev-parse HEAD"
poll = "5m"
[[schedule.sensors]]
url = "https://example.org/data.csv"
[[schedule.sensors]]
webhook = "orders"
"#
    );
    let pipeline = pipeline(&text, &[]);
    let bytes = postcard::to_allocvec(&pipeline).unwrap();
    assert_eq!(postcard::from_bytes::<Pipeline>(&bytes).unwrap(), pipeline);
    let schedule = pipeline.schedule.unwrap();
    let Some(Trigger::Cron(cron)) = &schedule.trigger else { panic!("no cron: {schedule:?}") };
    assert_eq!(cron.to_string(), "30 6 * * MON-FRI");
    assert_eq!(schedule.timezone, "Europe/Berlin");
    assert_eq!((schedule.catchup, schedule.overlap), (Catchup::All, Overlap::Queue));
    // Midnight in Berlin, whatever the order of the keys.
    assert_eq!(schedule.start, Some(Timestamp(1_767_222_000_000)));
    assert_eq!((schedule.jitter_ms, schedule.stop_after_failures, schedule.priority), (300_000, Some(3), -2));
    assert_eq!(
        (schedule.retry_dead_ms, schedule.retry_dead_max, schedule.check_drift_ms),
        (Some(21_600_000), 5, Some(3_600_000))
    );
    assert_eq!(schedule.after[0].as_str(), "flights");
    assert_eq!(
        schedule.sensors[0].kind,
        SensorKind::Files { pattern: "incoming/*.csv".into(), settle_ms: 10_000 }
    );
    assert_eq!(
        schedule.sensors.iter().map(|sensor| sensor.poll_ms).collect::<Vec<_>>(),
        [5_000, 300_000, 60_000, 60_000]
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one picture")]
fn everything_wrong_with_a_schedule_is_said_at_once() {
    let text = format!(
        "{STAGE}{}",
        r#"[schedule]
cron = "0 25 31 2,13 monday"
timezone = "Berlin"
catchup = "last"
overlap = "skipp"
jitter = "10"
start = "soon"
crontab = "0 6 * * *"
every = "1h"
"#
    );
    insta::assert_snapshot!(drawn(&text, &[]), @r#"
    error[CRN0212]: `0 25 31 2,13 monday` is no cron expression
     --> pipeline.toml:4:11
      |
    4 | cron = "0 25 31 2,13 monday"
      |           ^^ the hour cannot be 25
      |
      = help: write 0 to 23

    error[CRN0212]: `0 25 31 2,13 monday` is no cron expression
     --> pipeline.toml:4:19
      |
    4 | cron = "0 25 31 2,13 monday"
      |                   ^^ the month cannot be 13
      |
      = help: write 1 to 12

    error[CRN0212]: `0 25 31 2,13 monday` is no cron expression
     --> pipeline.toml:4:22
      |
    4 | cron = "0 25 31 2,13 monday"
      |                      ^^^^^^ the day of the week cannot be `monday`
      |
    help: names have three letters: write `MON`
      |
    4 - cron = "0 25 31 2,13 monday"
    4 + cron = "0 25 31 2,13 MON"
      |

    error[CRN0213]: there is no time zone `Berlin`
     --> pipeline.toml:5:12
      |
    5 | timezone = "Berlin"
      |            ^^^^^^^^ not in the time zone database
      |
    help: did you mean `Europe/Berlin`?
      |
    5 | timezone = "Europe/Berlin"
      |             +++++++

    error[CRN0205]: `catchup` cannot be `last`
     --> pipeline.toml:6:11
      |
    6 | catchup = "last"
      |           ^^^^^^ unknown word
      |
    help: write one of `none`, `latest` and `all`
      |
    6 | catchup = "latest"
      |              ++

    error[CRN0205]: `overlap` cannot be `skipp`
     --> pipeline.toml:7:11
      |
    7 | overlap = "skipp"
      |           ^^^^^^^ unknown word
      |
    help: write one of `skip`, `queue` and `cancel`
      |
    7 - overlap = "skipp"
    7 + overlap = "skip"
      |

    error[CRN0208]: `jitter` is 10 of what?
     --> pipeline.toml:8:10
      |
    8 | jitter = "10"
      |          ^^^^ a duration needs a unit
      |
    help: write `"10s"` for seconds
      |
    8 | jitter = "10s"
      |             +

    error[CRN0214]: `start` is no date or time: `soon`
     --> pipeline.toml:9:9
      |
    9 | start = "soon"
      |         ^^^^^^ cannot be read
      |
      = help: write for example `2026-01-31`, `2026-01-31T06:00:00` in the schedule's zone or `2026-01-31T06:00:00Z`

    error[CRN0202]: `[schedule]` has no key `crontab`
      --> pipeline.toml:10:1
       |
    10 | crontab = "0 6 * * *"
       | ^^^^^^^ is called `cron` here
       |
    help: write `cron`
       |
    10 - crontab = "0 6 * * *"
    10 + cron = "0 6 * * *"
       |

    error[CRN0215]: a schedule with `cron` and `every`
      --> pipeline.toml:11:1
       |
     4 | cron = "0 25 31 2,13 monday"
       | ---- the first
    ...
    11 | every = "1h"
       | ^^^^^ a second trigger
       |
       = help: keep one; for times that one expression cannot say, write two pipelines

    error: 10 errors in `pipeline.toml`
    "#);
}

#[test]
fn what_never_comes_is_an_error() {
    insta::assert_snapshot!(drawn(&format!("{STAGE}[schedule]\ncron = \"0 6 31 2 *\"\n"), &[]), @r#"
    error[CRN0212]: `0 6 31 2 *` is no cron expression
     --> pipeline.toml:4:13
      |
    4 | cron = "0 6 31 2 *"
      |             ^^ no month of `2` has a day `31`
      |
    help: this never comes: write `L` for the last day of a month, or another month
      |
    4 - cron = "0 6 31 2 *"
    4 + cron = "0 6 L 2 *"
      |

    error: 1 error in `pipeline.toml`
    "#);
    insta::assert_snapshot!(drawn(&format!("{STAGE}[schedule]\ncron = \"0 0 6 * * ?\"\n"), &[]), @r#"
    error[CRN0212]: `0 0 6 * * ?` is no cron expression
     --> pipeline.toml:4:9
      |
    4 | cron = "0 0 6 * * ?"
      |         ^^ 6 fields where there are five
      |
    help: there are no seconds: remove the first field
      |
    4 - cron = "0 0 6 * * ?"
    4 + cron = "0 6 * * ?"
      |

    error: 1 error in `pipeline.toml`
    "#);
    insta::assert_snapshot!(drawn(&format!("{STAGE}[schedule]\ncatchup = \"all\"\n"), &[]), @r#"
    error[CRN0206]: the schedule starts nothing
     --> pipeline.toml:3:2
      |
    3 | [schedule]
      |  ^^^^^^^^ when?
      |
      = help: write for example `cron = "0 6 * * *"` or `every = "1h"`

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn what_is_looked_after_by_itself_is_said_with_a_time() {
    let schedule = |text: &str| pipeline(&format!("{STAGE}[schedule]\n{text}\n"), &[]).schedule.unwrap();
    let alone = schedule("retry_dead = \"1d\"");
    assert_eq!(
        (alone.retry_dead_ms, alone.retry_dead_max),
        (Some(86_400_000), 3),
        "it starts runs by itself"
    );
    assert_eq!(schedule("check_drift = \"90s\"").check_drift_ms, Some(90_000));
    let check = |schedule: &str, expect: &str| assert_eq!(schedule_codes(schedule), [expect], "{schedule}");
    check("retry_dead = \"1d\"\nretry_dead_max = 0", code::BAD_VALUE);
    check("retry_dead = \"10ms\"", code::BAD_DURATION);
    check("check_drift = \"0s\"", code::BAD_DURATION);
    check("cron = \"0 6 * * *\"\nretry_dead_max = 2", code::BAD_VALUE);
    check("cron = \"0 6 * * *\"\nredrive = \"2h\"", code::FOREIGN_KEY);
    insta::assert_snapshot!(drawn(&format!("{STAGE}[schedule]\nevery = \"1h\"\nretry_dead_max = 2\n"), &[]), @r#"
    error[CRN0205]: `retry_dead_max` without `retry_dead`
     --> pipeline.toml:5:18
      |
    5 | retry_dead_max = 2
      |                  ^ nothing is tried again
      |
      = help: write for example `retry_dead = "6h"` as well

    error: 1 error in `pipeline.toml`
    "#);
}

#[test]
fn one_fault_one_code() {
    let check = |schedule: &str, expect: &[&str]| assert_eq!(schedule_codes(schedule), expect, "{schedule}");
    check("cron = \"@dayly\"", &[code::BAD_CRON]);
    check("cron = \"\"", &[code::BAD_CRON]);
    check("cron = 5", &[code::WRONG_TYPE]);
    check("every = \"0s\"", &[code::BAD_DURATION]);
    check("every = \"1 month\"", &[code::BAD_DURATION]);
    check("at = []", &[code::BAD_VALUE]);
    check("at = 12:00:00", &[code::WRONG_TYPE]);
    check("at = [\"2026-02-30\"]", &[code::BAD_TIME]);
    check("every = \"1h\"\nstart = 2026-01-02\nend = 2026-01-02", &[code::BAD_VALUE]);
    check("every = \"1h\"\njitter = \"1h\"", &[code::BAD_VALUE]);
    check("every = \"1h\"\nstop_after_failures = 0", &[code::BAD_VALUE]);
    check("every = \"1h\"\nafter = [\"Flights!\", \"a\", \"a\"]", &[code::BAD_NAME, code::BAD_VALUE]);
    check("every = \"1h\"\ntimezone = \"Mars/Base\"", &[code::UNKNOWN_ZONE]);
    check("evry = \"1h\"", &[code::UNKNOWN_KEY]);
    check("interval = \"1h\"", &[code::FOREIGN_KEY]);
    check("sensors = [{}]", &[code::MISSING_KEY]);
    check("sensors = [{ path = \"a\" }]", &[code::FOREIGN_KEY]);
    check("sensors = { files = \"a\", command = \"b\" }", &[code::TWO_TRIGGERS]);
    check("sensors = { files = \"../a\" }", &[code::BAD_GLOB]);
    check("sensors = { url = \"ftp://a\" }", &[code::BAD_VALUE]);
    check("sensors = { webhook = \"a\", poll = \"1m\" }", &[code::BAD_VALUE]);
    check("sensors = { command = \"a\", settle = \"1m\" }", &[code::BAD_VALUE]);
    check("sensors = { command = \"a\", poll = \"1ms\" }", &[code::BAD_DURATION]);
    assert_eq!(codes(&format!("schedule = \"@daily\"\n{STAGE}"), &[]), [code::WRONG_TYPE]);
    assert_eq!(codes(&format!("cron = \"@daily\"\n{STAGE}"), &[]), [code::FOREIGN_KEY]);
}

#[test]
fn an_interval_that_no_output_names_is_doubtful() {
    let load = |text: &str| load_with(text, &options(), &Disk::of(&[])).unwrap();
    let stage = |output: &str| {
        format!(
            "[schedule]\nevery = \"1d\"\n[stages.a]\nrun = \"echo $CAIRN_INTERVAL_START > x\"\noutputs = [\"{output}\"]\n"
        )
    };
    let doubtful = load(&stage("x"));
    insta::assert_snapshot!(draw(&stage("x"), &doubtful.warnings), @r#"
    warning[CRN0703]: the stage `a` reads its interval, but no output names it
     --> pipeline.toml:5:12
      |
    5 | outputs = ["x"]
      |            ^^^ the same path for each interval
      |
      = help: write for example `build/{{ interval.start | date }}.csv`, so that no interval takes another's place

    warning: 1 warning in `pipeline.toml`
    "#);
    assert!(doubtful.pipeline.reads_interval && doubtful.pipeline.volatile);
    assert!(load(&stage("x-{{ interval.start | date }}")).warnings.diagnostics.is_empty());
    assert!(load(&stage("x").replace("[schedule]\nevery = \"1d\"\n", "")).warnings.diagnostics.is_empty());
}
