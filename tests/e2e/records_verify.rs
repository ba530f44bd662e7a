//! `cairn verify` of stages that pass records on: they are loaded again, into copies.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use cairn_testkit::{PostgresServer, Project};
use serde_json::Value;

use super::{BINARY, run};

/// A stage `load` from `in/*` with more keys of `records`, `cairn_worker.py` its worker where there is one.
fn project(keys: &str, worker: Option<&str>) -> Project {
    let command = worker.map_or("", |_| "worker = [\"python3\", \"worker.py\"]\n");
    let inputs = worker.map_or("", |_| "inputs = [\"worker.py\"]\n");
    let text = format!(
        "[pipeline]\nname = \"p\"\n[stages.load]\n{inputs}[stages.load.records]\nsource = \"in/*\"\nkey = [\"id\"]\n{command}{keys}\n"
    );
    let project = Project::with_pipeline(BINARY, &text);
    if let Some(body) = worker {
        project.write(
            "worker.py",
            format!(
                "import json, sys, time\nfor line in sys.stdin:\n    request = json.loads(line)\n    record = request[\"record\"]\n    {body}\n    \
                 print(json.dumps({{\"key\": request[\"key\"], \"record\": record}}), flush=True)\n"
            ),
        );
    }
    let lines = (0..40).map(|id| format!("{{\"id\":{id},\"x\":{}}}\n", id * 2));
    project.write("in/a.jsonl", lines.collect::<Vec<_>>().concat());
    project
}

const SQLITE: &str = "sink = { type = \"sqlite\", path = \"t.db\", table = \"t\" }";
const JSONL: &str = "sink = { type = \"jsonl\", path = \"out.jsonl\" }";
const STAMP: &str = "record[\"at\"] = time.time_ns()";

/// Every file of the project, and all of the state but what a process that looks takes: its bytes, and what changes when
/// it is written to.
fn everything(project: &Project) -> BTreeMap<String, (Vec<u8>, u64, i64, i64)> {
    let mut files = project.snapshot();
    files.extend(project.snapshot_of(".cairn/objects"));
    files.extend(project.snapshot_of(".cairn/records"));
    let stamped = files.into_iter().map(|(path, bytes)| {
        let data = std::fs::symlink_metadata(project.file(&path)).unwrap();
        (path, (bytes, data.ino(), data.ctime(), data.ctime_nsec()))
    });
    stamped.collect()
}

/// Verifies, and holds that nothing of the user's is touched and nothing left.
#[track_caller]
fn verify(project: &Project, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["verify", "--json", "--cuts", "3"].iter().chain(arguments).copied().collect();
    let before = everything(project);
    let outcome = project.cairn(&arguments);
    let told: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{}", outcome.shown()));
    assert_eq!(everything(project), before, "files of the user's were touched");
    let staging = std::fs::read_dir(project.file(".cairn/staging")).into_iter().flatten().flatten();
    let left: Vec<_> = staging.map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
    outcome.expect(i32::from(told["verdict"] == "not_idempotent"));
    told
}

#[track_caller]
fn loaded(keys: &str, worker: Option<&str>) -> Project {
    let project = project(keys, worker);
    assert_eq!(run(&project, &[]), "load=RAN");
    project
}

#[track_caller]
fn assert_verified(told: &Value, cut_off: &str) {
    let checks = ["verdict", "elsewhere", "on_top", "cut_off"].map(|key| told[key].as_str().unwrap());
    assert_eq!(checks, ["verified", "same", "same", cut_off], "{told}");
}

#[test]
fn a_load_that_stays_the_same_is_verified() {
    let steady = "record[\"y\"] = record[\"x\"] + 1";
    for (keys, worker) in [
        (SQLITE, None),
        (SQLITE, Some(steady)),
        (JSONL, None),
        (JSONL, Some(steady)),
        (
            "[[stages.load.records.sink]]\ntype = \"sqlite\"\npath = \"t.db\"\ntable = \"t\"\n[[stages.load.records.sink]]\ntype = \"csv\"\npath = \"out.csv\"",
            Some(steady),
        ),
        ("sink = { type = \"sqlite\", path = \"t.db\", table = \"t\", mode = \"insert\" }", None),
    ] {
        let project = loaded(keys, worker);
        let told = verify(&project, &[]);
        assert_verified(&told, "same");
        if worker.is_some() {
            // A worker takes long enough to start for a load to be cut off.
            assert!(told["cuts"].as_u64().unwrap() > 0, "{told}");
        }
        // Nothing was lost: the next run has nothing to do.
        assert_eq!(run(&project, &[]), "load=FRESH", "{keys}");
    }
}

#[test]
fn in_append_a_rerun_adds_nothing() {
    let keys = "sink = { type = \"sqlite\", path = \"t.db\", table = \"t\", mode = \"append\" }";
    for worker in [None, Some("record[\"y\"] = 1")] {
        assert_verified(&verify(&loaded(keys, worker), &[]), "same");
    }
    let told = verify(&loaded(keys, Some(STAMP)), &[]);
    assert_eq!((&told["verdict"], &told["step"]), (&"not_idempotent".into(), &"on_top".into()), "{told}");
    assert!(told["reason"].as_str().unwrap().ends_with("has another `at`"), "{told}");
}

#[test]
fn a_worker_that_writes_the_time_is_named_with_key_and_field() {
    for (keys, path) in [(SQLITE, "t.db"), (JSONL, "out.jsonl")] {
        let project = loaded(keys, Some(STAMP));
        let told = verify(&project, &[]);
        assert_eq!(told["verdict"], "not_idempotent", "{told}");
        assert_eq!((&told["step"], &told["path"]), (&"elsewhere".into(), &path.into()), "{told}");
        assert_eq!(told["reason"], format!("in `{path}` the record `0` has another `at`"), "{told}");
        assert_ne!(told["recorded"], told["found"]);
        assert_eq!(run(&project, &[]), "load=FRESH");
    }
}

/// What someone else made of a table is not what a load makes of it.
#[test]
fn a_table_that_was_changed_since_is_found() {
    let project = loaded(SQLITE, None);
    let connection = rusqlite::Connection::open(project.file("t.db")).unwrap();
    connection.execute_batch("UPDATE t SET x = -1 WHERE id = 7; INSERT INTO t VALUES (99, 1)").unwrap();
    drop(connection);
    let told = verify(&project, &[]);
    assert_eq!(told["reason"], "in `t.db` the record `7` has another `x`", "{told}");
    assert_eq!((&told["recorded"], &told["found"]), (&"-1".into(), &"14".into()));
}

#[test]
fn a_stage_that_cannot_be_loaded_anew_is_not_judged() {
    let project = loaded(SQLITE, Some("record[\"server\"] = \"postgres://db/x\""));
    let told = verify(&project, &[]);
    assert_eq!(told["verdict"], "not_verified", "{told}");
    assert_verified(&verify(&project, &["--effects"]), "same");
}

/// A server's table is asked, and not written to; an endpoint is not even asked.
#[test]
fn servers_are_not_written_to() {
    let http = "sink = { type = \"http\", url = \"http://127.0.0.1:1/x\" }";
    let project = project(http, None);
    project.write("in/a.jsonl", "");
    assert_eq!(run(&project, &[]), "load=RAN");
    let told = verify(&project, &[]);
    assert_verified(&told, "not_tried");
    assert_eq!(told["not_looked_at"][0], "what the endpoint at `127.0.0.1:1` makes of a load");

    let server = PostgresServer::start(&[]);
    let url = server.database("d");
    let keys = format!("sink = {{ type = \"postgres\", url = \"{url}\", table = \"t\" }}");
    let project = loaded(&keys, Some("record[\"y\"] = 1"));
    let seen = || {
        server.sql("d", "SELECT xmin, * FROM t ORDER BY id")
            + &server.sql("d", "SELECT l.xmin, f.xmin, * FROM cairn_ledger l, cairn_fence f")
    };
    let before = seen();
    let told = verify(&project, &[]);
    assert_verified(&told, "not_tried");
    assert_eq!(told["not_looked_at"][0], "what postgres table `t` makes of a load");
    assert_eq!(seen(), before, "not a row was written");
    // A worker that writes the time is found by what it would deliver.
    let project = self::project(&keys.replace("\"t\"", "\"u\""), Some(STAMP));
    assert_eq!(run(&project, &[]), "load=RAN");
    let told = verify(&project, &[]);
    assert_eq!(told["reason"], "in what it delivers the record `0` has another `at`", "{told}");
}
