use std::path::Path;
use std::time::{Duration, Instant};

use cairn_model::{
    Blocker, Domain, Event, InputHash, InstanceEvent, InstanceName, Reason, RunEvent, RunId, RunStatus,
    Timestamp,
};

use super::super::summary::summary;
use super::{Scene, Show, ShowOptions};
use crate::terminal::{Stream, text};

/// A run that has one of everything: what happens when, in milliseconds from its start.
struct Script {
    names: Vec<InstanceName>,
    events: Vec<(u64, Event)>,
    log: tempfile::NamedTempFile,
}

fn hash() -> InputHash {
    InputHash::from_digest(Domain::InputHash.digest(b""))
}

fn name(text: &str) -> InstanceName {
    match text.split_once('[') {
        Some((stage, at)) => {
            InstanceName::new(stage.parse().unwrap(), Some(at.trim_end_matches(']').to_owned()))
        }
        None => InstanceName::new(text.parse().unwrap(), None),
    }
}

impl Script {
    fn new(instances: &[&str]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let names: Vec<_> = instances.iter().map(|text| name(text)).collect();
        let mut script = Self { names, events: Vec::new(), log };
        let instances = u32::try_from(instances.len()).unwrap();
        script.run(0, RunEvent::Started { instances, resumed: false });
        script
    }

    fn run(&mut self, at: u64, what: RunEvent) {
        // 2026-11-25T12:00:00Z, so that times of day are easy to read.
        self.events.push((at, Event { at: Timestamp(1_795_608_000_000).plus_millis(at), what }));
    }

    fn add(&mut self, at: u64, instance: &str, event: InstanceEvent) -> &mut Self {
        self.run(at, RunEvent::Instance { instance: name(instance), event });
        self
    }

    fn fresh(&mut self, at: u64, instance: &str, saved_ms: u64) -> &mut Self {
        self.add(
            at,
            instance,
            InstanceEvent::CheckpointFound {
                input_hash: hash(),
                restored: vec![],
                trashed: vec![],
                saved_ms,
            },
        )
    }

    fn restored(&mut self, at: u64, instance: &str, path: &str) -> &mut Self {
        let restored = vec![path.to_owned()];
        self.add(
            at,
            instance,
            InstanceEvent::CheckpointFound { input_hash: hash(), restored, trashed: vec![], saved_ms: 2500 },
        )
    }

    fn started(&mut self, at: u64, instance: &str, attempt: u32, reason: Reason) -> &mut Self {
        self.add(at, instance, InstanceEvent::AttemptStarted { attempt, input_hash: hash(), reason })
    }

    fn ran(&mut self, at: u64, instance: &str, took_ms: u64) -> &mut Self {
        self.add(at, instance, InstanceEvent::Committed { attempt: 1, input_hash: hash(), took_ms })
    }
}

fn changed(what: &str) -> Reason {
    Reason::Changed(vec![what.to_owned()])
}

/// Flights on a bad day: one of each outcome, a retry, an edited output.
fn flights() -> Script {
    let mut script = Script::new(&[
        "clean",
        "clean-weather",
        "carrier[AA]",
        "carrier[DL]",
        "carrier[UA]",
        "carriers",
        "weather",
        "hours",
        "report",
    ]);
    std::fs::write(
        script.log.path(),
        "reading build/flights.csv\n\u{1b}[1mawk: scripts/tables/hours.awk:12: syntax error near }\u{1b}[0m\n",
    )
    .unwrap();
    script
        .fresh(20, "clean-weather", 1200)
        .started(30, "clean", 1, changed("input `scripts/clean.awk` changed"))
        .ran(1900, "clean", 1850)
        .restored(1950, "weather", "build/tables/weather.csv")
        .started(2000, "carrier[AA]", 1, changed("input `build/flights.csv` changed"))
        .started(2010, "carrier[DL]", 1, changed("input `build/flights.csv` changed"))
        .ran(3500, "carrier[AA]", 1490)
        .started(3510, "carrier[UA]", 1, changed("input `build/flights.csv` changed"))
        .add(
            4200,
            "carrier[DL]",
            InstanceEvent::AttemptFailed {
                attempt: 1,
                error: "exit status 7".into(),
                retry_at: Timestamp(1_795_608_000_000 + 6200),
            },
        )
        .started(4210, "hours", 1, Reason::First)
        .ran(4900, "carrier[UA]", 1380)
        .started(6200, "carrier[DL]", 2, Reason::Again("attempt 1 failed: exit status 7".into()))
        .add(6900, "carrier[DL]", InstanceEvent::Committed { attempt: 2, input_hash: hash(), took_ms: 690 })
        .add(
            6900,
            "carrier[DL]",
            InstanceEvent::Trashed {
                attempt: 2,
                paths: vec![".cairn/trash/0193/build/carriers/DL.csv".into()],
            },
        )
        .started(6910, "carriers", 1, changed("input `build/carriers/AA.csv` changed"))
        .add(
            7400,
            "hours",
            InstanceEvent::Failed {
                attempts: 1,
                error: "exit status 2".into(),
                help: Some("mend the command or its inputs, then `cairn resume`".into()),
            },
        )
        .add(7410, "report", InstanceEvent::Blocked { by: Blocker::Failed("hours".into()) })
        .ran(9000, "carriers", 2090);
    script.run(9010, RunEvent::Ended { status: RunStatus::Failed });
    script
}

fn options(stream: Stream, quiet: bool, log: &Path) -> ShowOptions {
    let run = RunId::from_bytes(*b"\x01\x93\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x1a\x2b\x3c\x4d");
    let folder = log.parent().unwrap().to_owned();
    ShowOptions { stream, quiet, jobs: 2, run, pipeline: "flights".into(), folder }
}

/// What a run leaves on the screen.
fn draw(script: &Script, stream: Stream, quiet: bool) -> String {
    let options = options(stream, quiet, script.log.path());
    let Show { scene, frames } = Show::new(options, &script.names, &[]);
    assert!(frames.is_none());
    let mut scene: std::sync::MutexGuard<'_, Scene> = scene.lock().unwrap();
    scene.lines.zone = jiff::tz::TimeZone::UTC;
    let mut out = String::new();
    for (_, event) in &script.events {
        out.push_str(&scene.event(event, Some(script.log.path()), Instant::now()));
    }
    if !quiet {
        out.push_str(&summary(&scene.history, scene.options.run, stream.paint, stream.columns()));
    }
    let log = script.log.path().file_name().unwrap().to_string_lossy();
    out.replace(&*log, "[LOG]")
}

#[test]
fn a_run_with_one_of_everything() {
    insta::assert_snapshot!(draw(&flights(), Stream::fixed(Some(100), false), false), @r"
    flights · run 1a2b3c4d · 9 instances · 2 at once
    FRESH     clean-weather          inputs and outputs unchanged
    RAN       clean          1.85 s  input `scripts/clean.awk` changed
    RESTORED  weather                put back `build/tables/weather.csv`
    RAN       carrier[AA]    1.49 s  input `build/flights.csv` changed
    RETRY     carrier[DL]    2.19 s  attempt 1 failed: exit status 7; the next in 2 s (at 12:00:06)
    RAN       carrier[UA]    1.38 s  input `build/flights.csv` changed
    RAN       carrier[DL]    0.69 s  input `build/flights.csv` changed; attempt 2
              kept: what stood there was not made by cairn, or was edited since: moved to
                    `.cairn/trash/0193/build/carriers/DL.csv`
    FAILED    hours          3.19 s  exit status 2
              help: mend the command or its inputs, then `cairn resume`
              │ reading build/flights.csv
              │ awk: scripts/tables/hours.awk:12: syntax error near }
              log: [LOG]
              see: cairn logs 1a2b3c4d hours
    BLOCKED   report                 `hours` failed
    RAN       carriers       2.09 s  input `build/carriers/AA.csv` changed

    5 RAN, 1 RESTORED, 1 FRESH, 1 FAILED, 1 BLOCKED in 9.01 s · saved 3.70 s (work not repeated) ·
    run 1a2b3c4d
    failed: hours: exit status 2
    next: cairn logs 1a2b3c4d hours  what it said
          cairn resume               goes on from here
    ");
}

#[test]
fn the_same_in_a_narrow_window() {
    let text = draw(&flights(), Stream::fixed(Some(40), false), false);
    assert!(text.lines().all(|line| text::width(line) <= 40), "{text}");
    insta::assert_snapshot!(text, @r"
    flights · run 1a2b3c4d · 9 instances ·
    2 at once
    FRESH     clean-weather
      inputs and outputs unchanged
    RAN       clean          1.85 s
      input `scripts/clean.awk` changed
    RESTORED  weather
      put back `build/tables/weather.csv`
    RAN       carrier[AA]    1.49 s
      input `build/flights.csv` changed
    RETRY     carrier[DL]    2.19 s
      attempt 1 failed: exit status 7; the
      next in 2 s (at 12:00:06)
    RAN       carrier[UA]    1.38 s
      input `build/flights.csv` changed
    RAN       carrier[DL]    0.69 s
      input `build/flights.csv` changed;
      attempt 2
      kept: what stood there was not made
            by cairn, or was edited since:
            moved to
            `.cairn/trash/0193/build/carri
            ers/DL.csv`
    FAILED    hours          3.19 s
      exit status 2
      help: mend the command or its
            inputs, then `cairn resume`
      │ reading build/flights.csv
      │ awk: scripts/tables/hours.awk:12:…
      log: [LOG]
      see: cairn logs 1a2b3c4d hours
    BLOCKED   report
      `hours` failed
    RAN       carriers       2.09 s
      input `build/carriers/AA.csv`
      changed

    5 RAN, 1 RESTORED, 1 FRESH, 1 FAILED,
    1 BLOCKED in 9.01 s ·
    saved 3.70 s (work not repeated) ·
    run 1a2b3c4d
    failed: hours: exit status 2
    next: cairn logs 1a2b3c4d hours
          cairn resume
    ");
}

#[test]
fn quiet_shows_failures_only() {
    insta::assert_snapshot!(draw(&flights(), Stream::fixed(None, false), true), @r"
    FAILED    hours          3.19 s  exit status 2
              help: mend the command or its inputs, then `cairn resume`
              │ reading build/flights.csv
              │ awk: scripts/tables/hours.awk:12: syntax error near }
              log: [LOG]
              see: cairn logs 1a2b3c4d hours
    ");
}

#[test]
fn colour_is_only_around_words_and_dim_text() {
    let plain = draw(&flights(), Stream::fixed(None, false), false);
    let coloured = draw(&flights(), Stream::fixed(None, true), false);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
    assert!(coloured.contains("\u{1b}[32mRAN\u{1b}[0m"), "{coloured}");
    assert!(!plain.contains('\u{1b}'), "{plain}");
}

#[test]
fn in_a_crowd_fresh_and_blocked_instances_are_counted() {
    let names: Vec<String> = (0..60).map(|n| format!("part[{n}]")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut script = Script::new(&names);
    for name in &names[..40] {
        script.fresh(5, name, 1000);
    }
    script.restored(6, names[40], "build/40.csv");
    let failed =
        InstanceEvent::Failed { attempts: 0, error: "input `x` is being written".into(), help: None };
    script.add(7, names[41], failed);
    for name in &names[42..] {
        script.add(8, name, InstanceEvent::Blocked { by: Blocker::Stopping("part[41]".into()) });
    }
    script.run(9, RunEvent::Ended { status: RunStatus::Failed });
    insta::assert_snapshot!(draw(&script, Stream::fixed(None, false), false), @r"
    flights · run 1a2b3c4d · 60 instances · 2 at once
    RESTORED  part[40]          put back `build/40.csv`
    FAILED    part[41]          input `x` is being written
    BLOCKED   part[42]          the run stopped because `part[41]` failed
    BLOCKED   part[43]          the run stopped because `part[41]` failed
    BLOCKED   part[44]          the run stopped because `part[41]` failed
    BLOCKED   part[45]          the run stopped because `part[41]` failed
    BLOCKED   part[46]          the run stopped because `part[41]` failed
              and more that are blocked

    1 RESTORED, 40 FRESH, 1 FAILED, 18 BLOCKED in 0.01 s · saved 42.5 s (work not repeated) · run 1a2b3c4d
    failed: part[41]: input `x` is being written
    next: cairn logs 1a2b3c4d 'part[41]'  what it said
          cairn resume                    goes on from here
    ");
}

#[test]
fn a_run_that_had_nothing_to_do_says_what_it_saved() {
    let mut script = Script::new(&["clean", "report"]);
    script.fresh(5, "clean", 12_000).fresh(6, "report", 2_000);
    script.run(40, RunEvent::Ended { status: RunStatus::Succeeded });
    insta::assert_snapshot!(draw(&script, Stream::fixed(None, false), false), @r"
    flights · run 1a2b3c4d · 2 instances · 2 at once
    FRESH     clean             inputs and outputs unchanged
    FRESH     report            inputs and outputs unchanged

    2 FRESH in 0.04 s · saved 14.0 s (work not repeated) · run 1a2b3c4d
    ");
}

/// Plays the script in real time on this terminal.
#[test]
#[ignore = "to be looked at: cargo test -p cairn watch_a_run -- --ignored --nocapture"]
fn watch_a_run() {
    let script = flights();
    let stream = crate::terminal::Terminal::detect(anstream::ColorChoice::Auto).stderr;
    let expected = [2000, 0, 1500, 1500, 1500, 2000, 0, 3000, 1000];
    let mut show = Show::new(options(stream, false, script.log.path()), &script.names, &expected);
    let start = Instant::now();
    for (at, event) in &script.events {
        std::thread::sleep(Duration::from_millis(*at).saturating_sub(start.elapsed()));
        show.event(event, Some(script.log.path()));
    }
    show.finish();
}
