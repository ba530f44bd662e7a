//! The disk under a records stage fills up in the middle of a load: the stage fails and names the cause, nothing is lost,
//! and once there is room each record is there once.

use rusqlite::Connection;

use super::*;

const RECORDS: u32 = 20_000;

/// A source of so many records of some 400 bytes, and what a file of them holds.
fn records(count: u32) -> String {
    let line = |id: u32| format!("{{\"id\":{id},\"x\":\"{id:0>8} {}\"}}\n", "x".repeat(370));
    (0..count).map(line).collect()
}

/// A stage `load` from `in.jsonl` into the given sink, with more keys.
fn load(keys: &str, sink: &str) -> String {
    format!(
        "[pipeline]\nname = \"p\"\n[stages.load.records]\nsource = \"in.jsonl\"\nkey = \"id\"\n\
         retries = {{ attempts = 2, delay = \"1ms\" }}\n{keys}\nsink = {{ {sink} }}\n"
    )
}

const WORKER: &str = "import json, sys\nfor line in sys.stdin:\n    request = json.loads(line)\n    \
    print(json.dumps({\"key\": request[\"key\"], \"record\": request[\"record\"]}, separators=(\",\", \":\")))\n    \
    sys.stdout.flush()\n";

/// The same with a worker, which changes nothing.
fn worked(text: &str) -> String {
    text.replace("[stages.load.records]", "[stages.load]\ninputs = [\"worker.py\"]\n[stages.load.records]")
        .replace("key = \"id\"", "key = \"id\"\nworker = [\"python3\", \"worker.py\"]")
}

/// Fails twice, as without room it comes no further the second time, and blames no record.
#[track_caller]
fn fails_twice(project: &Project) {
    for _ in 0..2 {
        let outcome = project.cairn(&["run"]).expect(1);
        assert!(outcome.stderr.contains("FAILED    load"), "{}", outcome.shown());
        names_the_cause(&outcome);
        let dead = project.cairn(&["dead", "list", "--json"]).expect(0);
        assert!(!dead.stdout.contains("\"kind\":\"record\""), "{}", dead.shown());
    }
}

/// Rows, how many of them are different, how many were put by the ledger, and batches.
fn table(project: &Project) -> (u32, u32, u32, u32) {
    let connection = Connection::open(project.file("db/t.db")).unwrap();
    let sql = "SELECT (SELECT count(*) FROM t), (SELECT count(DISTINCT x) FROM t), sum(puts), count(*) FROM cairn_ledger";
    let counts =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)));
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    counts.unwrap()
}

#[test]
fn full_disk_of_a_sqlite_file_in_the_middle_of_a_load() {
    for mode in ["upsert", "append"] {
        let sink = format!("type = \"sqlite\", path = \"db/t.db\", table = \"t\", mode = \"{mode}\"");
        let project = Project::with_pipeline(BINARY, &load("batch = 1000", &sink));
        let Some(disk) = Disk::mount(&project.file("db"), "4m") else { return };
        project.write("in.jsonl", records(RECORDS));
        fails_twice(&project);
        disk.make_room();
        let (rows, different, puts, batches) = table(&project);
        assert_eq!((rows, different), (puts, puts), "each batch is there whole or not at all");
        assert!((1..RECORDS / 1000).contains(&batches), "{batches}: it was in the middle");
        assert_eq!(run(&project, &[]), "load=RAN");
        let all = (RECORDS, RECORDS, RECORDS, RECORDS / 1000);
        assert_eq!(table(&project), all, "{mode}: none was put twice");
        assert_eq!(run(&project, &[]), "load=FRESH");
        project.cairn(&["run", "--force"]).expect(0);
        assert_eq!(table(&project), all);
    }
}

/// A disk that was full before the load began: there is not even a table.
#[test]
fn full_disk_of_a_sqlite_file_before_a_load() {
    let sink = "type = \"sqlite\", path = \"db/t.db\", table = \"t\"";
    let project = Project::with_pipeline(BINARY, &load("", sink));
    let Some(disk) = Disk::mount(&project.file("db"), "4m") else { return };
    project.write("in.jsonl", records(100));
    disk.fill();
    fails_twice(&project);
    disk.make_room();
    assert_eq!(run(&project, &[]), "load=RAN");
    assert_eq!(table(&project), (100, 100, 100, 1));
}

/// Where a file is made, and put in place: in the project, whose disk it does not fit on.
#[test]
fn full_disk_of_a_file_that_is_made_of_records() {
    for (name, worker) in
        [("out.jsonl", false), ("out.csv", false), ("out.parquet", false), ("out.jsonl", true)]
    {
        let mut project = Project::new(BINARY);
        let state = tempfile::tempdir().unwrap();
        project.set_env("CAIRN_STATE", &state.path().join("state").to_string_lossy());
        let Some(disk) = Disk::mount(&project.file("out"), "1m") else { return };
        let kind = name.rsplit_once('.').unwrap().1;
        let text = load("", &format!("type = \"{kind}\", path = \"out/{name}\""));
        project.write("pipeline.toml", if worker { worked(&text) } else { text }).write("worker.py", WORKER);
        project.write("in.jsonl", records(100));
        assert_eq!(run(&project, &[]), "load=RAN");
        let out = format!("out/{name}");
        let before = fs::read(project.file(&out)).unwrap();
        disk.fill();
        project.write("in.jsonl", records(RECORDS));
        fails_twice(&project);
        assert_eq!(fs::read(project.file(&out)).unwrap(), before, "what stood there stands");
        disk.make_room();
        assert_eq!(run(&project, &[]), "load=RAN");
        let made = fs::read(project.file(&out)).unwrap();
        if kind == "jsonl" {
            assert!(made == records(RECORDS).as_bytes(), "{name}: each once, in the order of the source");
        }
        // As if there had always been room.
        let other = Project::with_pipeline(BINARY, &project.read("pipeline.toml"));
        other.write("worker.py", WORKER).write("in.jsonl", records(RECORDS));
        assert_eq!(run(&other, &[]), "load=RAN");
        assert!(made == fs::read(other.file(&out)).unwrap(), "{name}");
        assert_eq!(run(&project, &[]), "load=FRESH");
        let left: Vec<_> =
            fs::read_dir(project.file("out")).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, [name], "nothing is left behind");
    }
}

/// Where what workers made is kept, and files are written before they are put in place: in the state folder.
#[test]
fn full_state_folder_while_a_file_is_made_of_records() {
    for worker in [false, true] {
        let text = load("batch = 1000", "type = \"jsonl\", path = \"out.jsonl\"");
        let project = Project::with_pipeline(BINARY, &if worker { worked(&text) } else { text });
        project.write("worker.py", WORKER).write("in.jsonl", records(100));
        let Some(disk) = Disk::mount(&project.file(".cairn"), "5m") else { return };
        assert_eq!(run(&project, &[]), "load=RAN");
        project.write("in.jsonl", records(RECORDS));
        for _ in 0..2 {
            let outcome = project.cairn(&["run"]);
            assert!(matches!(outcome.status, Some(1 | 5)), "{}", outcome.shown());
            names_the_cause(&outcome);
            // It may be the store that is written to in the moment in which nothing is left.
            let says = |text| outcome.stderr.contains(text);
            assert!(says("make room") || says("cannot write to the store"), "{}", outcome.shown());
            assert!(project.read("out.jsonl") == records(100), "what stood there stands");
        }
        disk.make_room();
        assert_eq!(run(&project, &[]), "load=RAN");
        assert!(project.read("out.jsonl") == records(RECORDS), "each once, in the order of the source");
        assert_eq!(run(&project, &[]), "load=FRESH");
    }
}
