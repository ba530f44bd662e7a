//! The disk of a database server fills up in the middle of a load.
//!
//! The server is a real one; the database's tables, temporary ones too, lie on a small disk, its log of transactions does not.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use cairn_testkit::PostgresServer;

use super::*;

const RECORDS: u64 = 60_000;
const KEYS: u64 = 45_000;

/// Records of some 400 bytes: some keys come twice, in either order of their versions.
fn record(number: u64) -> (u64, u64, String) {
    let version = (number * 7919) % RECORDS;
    (number % KEYS, version, format!("{number:0>8} {}", "x".repeat(350)))
}

/// What a table holds after all: the newest version of each key.
fn expected() -> String {
    let mut newest: BTreeMap<u64, (u64, String)> = BTreeMap::new();
    for (id, version, text) in (0..RECORDS).map(record) {
        let of_key = newest.entry(id).or_default();
        if of_key.1.is_empty() || version >= of_key.0 {
            *of_key = (version, text);
        }
    }
    newest.iter().map(|(id, (v, x))| format!("{id}|{v}|{x}")).collect::<Vec<_>>().join("\n")
}

/// A project that loads all records.
fn project(url: &str) -> Project {
    let mut project = Project::with_pipeline(
        BINARY,
        "[stages.load.records]\nsource = \"in.jsonl\"\nkey = \"id\"\nversion = \"v\"\nbatch = 3000\nretries = 1\n\
         sink = { type = \"postgres\", url = \"{{ env.DATABASE_URL }}\", table = \"t\" }\n",
    );
    project.set_env("DATABASE_URL", url);
    let lines =
        (0..RECORDS).map(record).map(|(id, v, x)| format!("{{\"id\":{id},\"v\":{v},\"x\":\"{x}\"}}\n"));
    project.write("in.jsonl", lines.collect::<String>());
    project
}

/// A folder that the server, another user, can get to: a project is closed to it.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("cairn-disk-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// How many rows there are, how many the ledger says were put, and how many batches.
fn has(server: &PostgresServer) -> (u64, u64, u64) {
    let counted = "SELECT (SELECT count(*) FROM t), sum(puts), max(batch_seq) FROM cairn_ledger";
    let counted: Vec<u64> =
        server.sql("load", counted).split('|').map(|number| number.parse().unwrap()).collect();
    (counted[0], counted[1], counted[2])
}

#[track_caller]
fn no_record_is_to_blame(project: &Project) {
    let dead = project.cairn(&["dead", "list", "--json"]).expect(0);
    assert!(!dead.stdout.contains("\"kind\":\"record\""), "{}", dead.shown());
}

/// Checks that a run, now that there is room, puts all that is missing once, and that others after it write nothing.
#[track_caller]
fn is_loaded(project: &Project, server: &PostgresServer) {
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    let (rows, puts, _) = has(server);
    assert_eq!((rows, puts), (KEYS, KEYS), "none was put twice: {}", outcome.shown());
    let sql = |sql: &str| server.sql("load", sql);
    assert!(sql("SELECT id, v, x FROM t ORDER BY id") == expected(), "the table is not what the source says");
    let written = sql("SELECT md5(string_agg(xmin::text, ',' ORDER BY id)) FROM t");
    assert_eq!(run(project, &[]), "load=FRESH");
    project.cairn(&["run", "--force"]).expect(0);
    assert_eq!(sql("SELECT md5(string_agg(xmin::text, ',' ORDER BY id)) FROM t"), written);
}

#[test]
fn full_disk_of_a_database_server_in_the_middle_of_a_load() {
    let server = PostgresServer::start(&[]);
    let folder = open_folder();
    let place = folder.path().join("tables");
    let Some(disk) = Disk::mount(&place, "24m") else { return };
    let user = fs::metadata(server.socket()).unwrap();
    chown(&place, Some(user.uid()), Some(user.gid())).unwrap();
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    let url = server.database("load");
    server.sql("postgres", "ALTER DATABASE load SET TABLESPACE small");
    let project = project(&url);
    let mut before = None;
    for _ in 0..2 {
        let outcome = project.cairn(&["run"]).expect(1);
        assert!(outcome.stderr.contains("FAILED    load"), "{}", outcome.shown());
        assert!(outcome.stderr.contains("the disk of the server is full"), "{}", outcome.shown());
        assert!(outcome.stderr.contains("help: run again once it is there"), "{}", outcome.shown());
        names_the_cause(&outcome);
        let (rows, puts, batches) = has(&server);
        assert_eq!(rows, puts, "each batch is there whole or not at all");
        assert!((1..KEYS / 3000).contains(&batches), "{batches}: it was in the middle");
        // Without room it comes no further, and loses nothing.
        assert!(before.is_none_or(|before| before <= (rows, puts, batches)), "{before:?}");
        before = Some((rows, puts, batches));
        no_record_is_to_blame(&project);
    }
    disk.remount("size=200m");
    is_loaded(&project, &server);
    drop(server);
}

/// Where the server cannot write its log of transactions it ends, with all connections, and does not begin again.
#[test]
fn full_disk_of_a_database_servers_log_in_the_middle_of_a_load() {
    let folder = open_folder();
    let log = folder.path().join("log");
    let Some(disk) = Disk::mount(&log, "20m") else { return };
    // Its log is not shortened in the middle, and nothing but the load writes to it.
    let settings = [
        "max_wal_size = '1GB'",
        "checkpoint_timeout = '1h'",
        "autovacuum = off",
        "restart_after_crash = off",
    ];
    let mut server = PostgresServer::start_with_log_in(&log, &settings);
    let project = project(&server.database("load"));
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("FAILED    load"), "{}", outcome.shown());
    assert!(outcome.stderr.contains("help: run again once it is there"), "{}", outcome.shown());
    no_record_is_to_blame(&project);
    // It is not there, which is said too.
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("help: run again once it is there"), "{}", outcome.shown());
    disk.remount("size=200m");
    server.restart();
    let (rows, puts, batches) = has(&server);
    assert_eq!(rows, puts, "each batch is there whole or not at all");
    assert!((1..KEYS / 3000).contains(&batches), "{batches}: it was in the middle");
    is_loaded(&project, &server);
    drop(server);
}
