use cairn_model::{
    Blocker, Counts, Digest, Event, InputHash, InstanceEvent, InstanceName, Reason, RunEvent, RunId,
    RunStatus, Timestamp,
};
use cairn_store::{Force, ProcessId, RunOptions, RunRecord};

use super::*;
use cairn_scheduler::history::History;

/// A run of which one instance failed. Its process is one that never was.
pub(in crate::commands) fn past_run(status: RunStatus) -> PastRun {
    let name =
        |stage: &str, at: Option<&str>| InstanceName::new(stage.parse().unwrap(), at.map(str::to_owned));
    let input_hash = InputHash::from_digest(Digest::from_bytes([7; 32]));
    let instance = |at: i64, instance: InstanceName, event| Event {
        at: Timestamp(1_795_608_000_000 + at),
        what: RunEvent::Instance { instance, event },
    };
    let started = |reason| InstanceEvent::AttemptStarted { attempt: 1, input_hash, reason };
    let mut events = vec![
        Event { at: Timestamp(1_795_608_000_000), what: RunEvent::Started { instances: 6, resumed: false } },
        instance(
            5,
            name("clean", None),
            InstanceEvent::CheckpointFound { input_hash, restored: vec![], trashed: vec![], saved_ms: 2000 },
        ),
        instance(
            9,
            name("carrier", Some("UA")),
            started(Reason::Changed(vec!["input `late` changed".into()])),
        ),
        instance(
            1500,
            name("carrier", Some("UA")),
            InstanceEvent::Committed { attempt: 1, input_hash, took_ms: 1490 },
        ),
        instance(1600, name("weather", None), started(Reason::First)),
        instance(
            1700,
            name("weather", None),
            InstanceEvent::Failed { attempts: 1, error: "exit status 2".into(), help: None },
        ),
        instance(
            1701,
            name("report", None),
            InstanceEvent::Blocked { by: Blocker::Failed("weather".into()) },
        ),
    ];
    if status != RunStatus::Running {
        events.push(Event { at: Timestamp(1_795_608_002_000), what: RunEvent::Ended { status } });
    }
    let record = RunRecord {
        pipeline: "flights".parse().unwrap(),
        file: "pipeline.toml".into(),
        definition: Digest::from_bytes([3; 32]),
        params: vec![("late".into(), "30".into())],
        logical_time: Timestamp(1_795_608_000_000),
        started: Timestamp(1_795_608_000_000),
        ended: (status != RunStatus::Running).then_some(Timestamp(1_795_608_002_000)),
        status,
        counts: Counts { ran: 1, fresh: 1, failed: 1, blocked: 1, restored: 0, in_doubt: 0 },
        selection: vec![],
        options: RunOptions { jobs: 2, keep_going: false, frozen: false, force: Force::Nothing },
        caller: None,
        command_line: ["/opt/bin/cairn", "run", "-p", "late=30"].map(str::to_owned).to_vec(),
        process: ProcessId { boot_id: "never".into(), pid: 1, start_ticks: 1 },
        cairn_version: "0.1.0".into(),
        saved_ms: 2000,
    };
    let id = RunId::from_bytes(*b"\x01\x93\x00\x00\x00\x00\x70\x00\x80\x00\x00\x00\x1a\x2b\x3c\x4d");
    PastRun { id, record, history: History::of(&events) }
}

#[test]
fn a_run_and_its_instances() {
    let run = past_run(RunStatus::Failed);
    let instances: Vec<&InstanceHistory> = run.history.instances.iter().collect();
    let text = head(&run, Paint::new(false), &TimeZone::UTC)
        + &list(&run, &instances, Stream::fixed(Some(80), false));
    insta::assert_snapshot!(text, @r"
    run 1a2b3c4d of flights: failed · 1 RAN, 1 FRESH, 1 FAILED, 1 BLOCKED
      started  2026-11-25 12:00:00 +00:00
      took     2.00 s
      saved    2.00 s (work not repeated)
      command  cairn run -p late=30
      file     pipeline.toml
      params   late=30
      id       01930000-0000-7000-8000-00001a2b3c4d

    OUTCOME  INSTANCE       TOOK  TRIES  REASON
    FRESH    clean                       inputs and outputs unchanged
    RAN      carrier[UA]  1.49 s      1  input `late` changed
    FAILED   weather      0.10 s      1  exit status 2
    BLOCKED  report                      `weather` failed
    2 instances had no turn

    next: cairn logs 1a2b3c4d weather
    ");
}

#[test]
fn instances_are_found_by_stage_and_by_name() {
    let run = past_run(RunStatus::Failed);
    let names = |name: &str| -> Result<Vec<String>, String> {
        let found = run.instances(name).map_err(|failure| failure.render(Paint::new(false)))?;
        Ok(found.iter().map(|instance| instance.name.to_string()).collect())
    };
    assert_eq!(names("carrier"), Ok(vec!["carrier[UA]".into()]));
    assert_eq!(names("carrier[UA]"), Ok(vec!["carrier[UA]".into()]));
    insta::assert_snapshot!(names("wether").unwrap_err(), @r"
    error: run 1a2b3c4d has no stage or instance `wether`
    help: did you mean `weather`?
    ");
    insta::assert_snapshot!(names("x").unwrap_err(), @r"
    error: run 1a2b3c4d has no stage or instance `x`
    help: `cairn show 1a2b3c4d` lists them
    ");
}

/// The shape is public: what changes here changes for every reader.
#[test]
fn the_shape_of_a_run_and_an_instance() {
    let run = past_run(RunStatus::Failed);
    let line =
        |value: String| value.replace(&"07".repeat(32), "[HASH]").replace(&"03".repeat(32), "[DIGEST]");
    insta::assert_snapshot!(line(json::line(&run.wire())), @r#"
    {"schema":"cairn.run/1","run":"01930000-0000-7000-8000-00001a2b3c4d","pipeline":"flights","file":"pipeline.toml","status":"failed","started":"2026-11-25T12:00:00.000Z","ended":"2026-11-25T12:00:02.000Z","took_ms":2000,"saved_ms":2000,"outcomes":{"ran":1,"restored":0,"fresh":1,"failed":1,"blocked":1},"params":{"late":"30"},"selection":[],"logical_time":"2026-11-25T12:00:00.000Z","definition":"[DIGEST]","command_line":["/opt/bin/cairn","run","-p","late=30"],"cairn_version":"0.1.0"}
    "#);
    let failed = run.instances("weather").unwrap()[0];
    insta::assert_snapshot!(line(json::line(&run.instance_wire(failed, Some("x.log".into())))), @r#"
    {"schema":"cairn.instance/1","run":"01930000-0000-7000-8000-00001a2b3c4d","instance":"weather","stage":"weather","state":"FAILED","reason":"exit status 2","attempts":1,"started":"2026-11-25T12:00:01.600Z","took_ms":100,"saved_ms":0,"input_hash":"[HASH]","log":"x.log"}
    "#);
}
