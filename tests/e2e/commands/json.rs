//! `--json`: one object a line, each with its schema; the keys are public.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cairn_testkit::Project;
use insta::assert_snapshot;
use serde_json::Value;

use super::super::BINARY;
use super::{TROUBLE, sales, sales_done};

/// Reads lines, of which each must be an object with a schema and nothing else may be there.
#[track_caller]
fn objects(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let outcome = project.cairn(arguments);
    assert!(outcome.stdout.ends_with('\n') || outcome.stdout.is_empty(), "{}", outcome.shown());
    let object = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        let schema = value["schema"].as_str().unwrap_or_else(|| panic!("no schema in {line}"));
        assert!(schema.starts_with("cairn.") && schema.ends_with("/1"), "{line}");
        value
    };
    outcome.stdout.lines().map(object).collect()
}

/// Lists each schema, and type where there is one, with its keys.
fn shapes(objects: &[Value]) -> String {
    let mut shapes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for object in objects {
        let kind = object["type"].as_str().map(|kind| format!(" {kind}")).unwrap_or_default();
        let keys = shapes.entry(format!("{}{kind}", object["schema"].as_str().unwrap())).or_default();
        for key in object.as_object().unwrap().keys().filter(|key| *key != "schema" && *key != "type") {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
    }
    let mut text = String::new();
    for (shape, mut keys) in shapes {
        keys.sort_unstable();
        writeln!(text, "{shape}: {}", keys.join(" ")).unwrap();
    }
    text
}

#[test]
fn every_command() {
    let project = sales();
    let mut all = Vec::new();
    let mut add = |arguments: &[&str]| {
        let objects = objects(&project, arguments);
        assert!(!objects.is_empty(), "{arguments:?}");
        all.extend(objects);
    };
    for command in ["check", "plan", "status", "graph"] {
        add(&[command, "--json"]);
    }
    add(&["run", "--json"]);
    project.remove("report.txt");
    for command in ["check", "plan", "status", "graph", "run", "runs", "show"] {
        add(&[command, "--json"]);
    }
    add(&["show", "latest", "fetch", "--json"]);
    add(&["logs", "fetch", "--json"]);
    add(&["why", "fetch", "--json"]);
    project.write("source.txt", "c\n");
    add(&["why", "fetch", "--json"]);
    add(&["run", "--frozen", "--json"]);
    assert_snapshot!(shapes(&all), @r"
    cairn.check/1: errors instances pipelines stages warnings
    cairn.event/1 instance_attempt_started: at attempt input_hash instance reason run
    cairn.event/1 instance_blocked: at by instance outcome run
    cairn.event/1 instance_checkpoint_found: at input_hash instance outcome restored run saved_ms trashed
    cairn.event/1 instance_committed: at attempt input_hash instance log outcome run took_ms
    cairn.event/1 run_ended: at outcomes run saved_ms status took_ms
    cairn.event/1 run_started: at instances pipeline resumed run
    cairn.graph/1: nodes pipeline
    cairn.instance/1: attempts checkpoint input_hash instance reason run saved_ms stage state
    cairn.log/1: at attempt instance run stream text
    cairn.plan/1: action input_hash instance reason restores
    cairn.run/1: cairn_version command_line definition ended file logical_time outcomes params pipeline run saved_ms selection started status took_ms
    cairn.status/1: failed file last_run pipeline stale
    cairn.why/1: after before input_hash instance part run verdict
    ");
}

#[test]
fn what_fails() {
    let project = Project::with_pipeline(
        BINARY,
        &TROUBLE.replace("exit 4\"", "exit 4\"\nretries = { attempts = 2, delay = \"1ms\" }"),
    );
    let mut all = objects(&project, &["run", "-j1", "--json"]);
    all.extend(objects(&project, &["resume", "--json"]));
    all.extend(objects(&project, &["show", "--json"]));
    assert_snapshot!(shapes(&all), @r"
    cairn.event/1 instance_attempt_failed: at attempt error instance log retry_at run
    cairn.event/1 instance_attempt_started: at attempt input_hash instance reason run
    cairn.event/1 instance_blocked: at by instance outcome run
    cairn.event/1 instance_checkpoint_found: at input_hash instance outcome restored run saved_ms trashed
    cairn.event/1 instance_committed: at attempt input_hash instance log outcome run took_ms
    cairn.event/1 instance_failed: at attempts error instance log outcome run
    cairn.event/1 run_ended: at outcomes run saved_ms status took_ms
    cairn.event/1 run_started: at instances pipeline resumed run
    cairn.instance/1: attempts input_hash instance log reason run saved_ms stage started state took_ms
    cairn.run/1: cairn_version command_line definition ended file logical_time outcomes params pipeline run saved_ms selection started status took_ms
    ");
    project.write("pipeline.toml", "[stages.a]\ncmd = \"true\"\n");
    assert_snapshot!(shapes(&objects(&project, &["check", "--json"])), @r"
    cairn.check/1: errors instances pipelines stages warnings
    cairn.finding/1: code column edit file help line message notes severity spans
    ");
}

/// Every event of a run has the run, in order of time, and the last one sums up.
#[test]
fn the_events_of_a_run() {
    let project = sales_done();
    project.remove("report.txt");
    let events = objects(&project, &["run", "--json", "--force=fetch"]);
    let run = &events[0]["run"];
    assert!(events.iter().all(|event| event["run"] == *run));
    let times: Vec<&str> = events.iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let last = events.last().unwrap();
    assert_eq!((last["type"].as_str(), last["status"].as_str()), (Some("run_ended"), Some("succeeded")));
    assert_eq!(
        last["outcomes"],
        serde_json::json!({"ran": 1, "restored": 1, "fresh": 1, "failed": 0, "blocked": 0})
    );
}

/// A mistake is told on standard error: what a program reads stays JSON.
#[test]
fn mistakes_stay_out_of_it() {
    let project = sales();
    project.write("pipeline.toml", "[stages.a]\ncmd = \"true\"\n");
    for command in ["plan", "run", "graph"] {
        assert_eq!(objects(&project, &[command, "--json"]), Vec::<Value>::new(), "{command}");
    }
}
