//! SQLite: rows and ledger in one transaction, whatever the records are.

use cairn_model::{Address, SinkMode, SinkPlace};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{Given, batch, delete, deliver, faults, put, refusal};

mod keys;

fn given() -> Given {
    Given::new(SinkPlace::Sqlite { path: Address("out.db".into()), table: "orders".into() })
}

/// A folder, and a second connection to the file in it.
fn file() -> (TempDir, Connection) {
    let folder = TempDir::new().unwrap();
    let connection = Connection::open(folder.path().join("out.db")).unwrap();
    (folder, connection)
}

/// All rows of a query, values separated by `|`.
fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let mut found = Vec::new();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let values = (0..width).map(|column| match row.get(column).unwrap() {
            rusqlite::types::Value::Null => "-".to_owned(),
            rusqlite::types::Value::Integer(value) => value.to_string(),
            rusqlite::types::Value::Real(value) => format!("{value:?}"),
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Blob(bytes) => format!("{bytes:?}"),
        });
        found.push(values.collect::<Vec<_>>().join("|"));
    }
    found
}

#[test]
fn a_missing_table_is_made_from_the_records() {
    let (folder, db) = file();
    let mut sink = given().open(folder.path());
    let records = [
        put(r#"{"id":2,"name":"b","sum":1.5,"ok":true,"tags":["x",{"y":null}],"none":null,"any":1}"#),
        put(r#"{"id":1,"sum":2,"name":"a\"é","any":"x"}"#),
    ];
    deliver(&mut *sink, &records).unwrap();
    assert_eq!(
        rows(&db, "SELECT * FROM orders ORDER BY id"),
        [r#"1|a"é|2.0|-|-|-|x"#, r#"2|b|1.5|1|["x",{"y":null}]|-|1"#]
    );
    assert_eq!(
        rows(&db, "SELECT name, type, \"notnull\", pk FROM pragma_table_info('orders')"),
        [
            "id|INTEGER|1|1",
            "name|TEXT|0|0",
            "sum|REAL|0|0",
            "ok|BOOLEAN|0|0",
            "tags|TEXT|0|0",
            "none||0|0",
            "any||0|0"
        ]
    );
}

#[test]
fn a_missing_table_is_made_from_declared_columns() {
    let (folder, db) = file();
    let mut sink = given().column("id", "TEXT").column("n", "INTEGER").open(folder.path());
    let faulty = deliver(&mut *sink, &[put(r#"{"id":"a","n":1,"m":2}"#)]);
    assert_eq!(
        faults(faulty),
        [(
            0,
            "the field `m` is no column of the table `orders`: add it (`ALTER TABLE orders ADD COLUMN \"m\" TEXT`), \
             or have the worker leave it out"
                .to_owned()
        )]
    );
    assert!(
        rows(&db, "SELECT name FROM sqlite_schema").is_empty(),
        "nothing of a batch that does not fit stays"
    );
    deliver(&mut *sink, &[put(r#"{"id":"a","n":"12"}"#)]).unwrap();
    assert_eq!(rows(&db, "SELECT id, n, typeof(n) FROM orders"), ["a|12|integer"]);
    assert_eq!(
        refusal(given().column("n", "INTEGER").try_open(folder.path())).0,
        "the key field `id` is not among the declared columns"
    );
}

#[test]
fn an_upsert_writes_only_what_differs_and_nothing_older() {
    let (folder, db) = file();
    let mut sink = given().version("at").open(folder.path());
    let first = [
        put(r#"{"id":1,"at":"2024-05-01T10:00:00+02:00","v":"a"}"#),
        put(r#"{"id":2,"at":"2024-05-01","v":"a"}"#),
    ];
    deliver(&mut *sink, &first).unwrap();
    db.execute_batch("CREATE TABLE seen (v); CREATE TRIGGER t AFTER UPDATE ON orders BEGIN INSERT INTO seen VALUES (new.v); END")
        .unwrap();
    deliver(&mut *sink, &first).unwrap();
    assert!(rows(&db, "SELECT * FROM seen").is_empty(), "equal rows are not written again");

    // Older: its text is greater, its instant is not.
    deliver(&mut *sink, &[put(r#"{"id":1,"at":"2024-05-01T07:59:59Z","v":"old"}"#)]).unwrap();
    // The same instant with other content passes: the order of equal versions is decided before.
    deliver(&mut *sink, &[put(r#"{"id":1,"at":"2024-05-01T08:00:00Z","v":"same"}"#)]).unwrap();
    deliver(
        &mut *sink,
        &[put(r#"{"id":2,"at":"2024-05-02","v":"new"}"#), put(r#"{"id":3,"at":"2024-05-02","v":"c"}"#)],
    )
    .unwrap();
    assert_eq!(rows(&db, "SELECT v FROM seen"), ["same", "new"]);
    assert_eq!(rows(&db, "SELECT id, v FROM orders ORDER BY id"), ["1|same", "2|new", "3|c"]);
}

#[test]
fn a_repeated_delivery_writes_nothing() {
    let (folder, db) = file();
    let mut sink = given().mode(SinkMode::Append).open(folder.path());
    let records = [put(r#"{"id":1}"#), put(r#"{"id":1}"#)];
    let id = batch(1, &records);
    assert_eq!(sink.applied(&id).unwrap(), Some(false));
    assert_eq!(sink.last_applied(&id.scope).unwrap(), Some(0));
    sink.deliver(&id, &records).unwrap();
    assert_eq!(sink.applied(&id).unwrap(), Some(true));
    let version = rows(&db, "PRAGMA data_version");
    sink.deliver(&id, &records).unwrap();
    drop(sink);
    let mut sink = given().mode(SinkMode::Append).open(folder.path());
    sink.deliver(&id, &records).unwrap();
    assert_eq!(rows(&db, "PRAGMA data_version"), version, "not one page was written");
    assert_eq!(rows(&db, "SELECT count(*) FROM orders"), ["2"]);
    assert_eq!(sink.last_applied(&id.scope).unwrap(), Some(1));

    let other = [put(r#"{"id":2}"#)];
    let (error, _) = refusal(sink.deliver(&batch(1, &other), &other));
    assert!(error.contains("was applied with other content"), "{error}");
    refusal(sink.applied(&batch(1, &other)));
}

#[test]
fn the_ledger_keeps_the_last_hundred_and_says_when_it_cannot_tell() {
    let (folder, db) = file();
    let mut sink = given().open(folder.path());
    let records = [put(r#"{"id":1}"#)];
    for sequence in 1..=103 {
        sink.deliver(&batch(sequence, &records), &records).unwrap();
    }
    assert_eq!(rows(&db, "SELECT count(*), min(batch_seq) FROM cairn_ledger"), ["100|4"]);
    assert_eq!(sink.applied(&batch(4, &records)).unwrap(), Some(true));
    let (error, _) = refusal(sink.deliver(&batch(3, &records), &records));
    assert!(error.contains("does not tell any more"), "{error}");
}

#[test]
fn a_lower_fence_is_refused() {
    let (folder, db) = file();
    let (mut old, mut new) = (given().open(folder.path()), given().open(folder.path()));
    let records = [put(r#"{"id":1}"#)];
    let mut id = batch(1, &records);
    id.fence = 2;
    new.deliver(&id, &records).unwrap();
    let later = [put(r#"{"id":2}"#)];
    let (error, help) = refusal(old.deliver(&batch(2, &later), &later));
    assert!(error.contains("another cairn writes here"), "{error}");
    assert!(help.contains("run again"), "{help}");
    assert_eq!(rows(&db, "SELECT id FROM orders"), ["1"]);
    assert_eq!(rows(&db, "SELECT fence FROM cairn_fence"), ["2"]);
}

#[test]
fn a_table_without_the_unique_index_is_refused_with_the_ddl() {
    let (folder, db) = file();
    db.execute_batch(r#"CREATE TABLE orders (id INTEGER, "b c" TEXT, v TEXT); CREATE UNIQUE INDEX partial ON orders (id) WHERE id > 0"#)
        .unwrap();
    let records = [put(r#"{"id":1,"b c":"x","v":"1"}"#)];
    let keyed = given().key(&["id", "b c"]);
    let mut sink = keyed.open(folder.path());
    let (error, help) = refusal(deliver(&mut *sink, &records));
    assert_eq!(error, "the table `orders` has no unique index over `id`, `b c`");
    assert_eq!(help, r#"CREATE UNIQUE INDEX "orders_id_b c_key" ON "orders" ("id", "b c")"#);
    // Only an index over all of `id` serves: the one there has a condition.
    refusal(deliver(&mut *given().open(folder.path()), &records));
    db.execute_batch(&help).unwrap();
    deliver(&mut *sink, &records).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":1,"b c":"x","v":"2"}"#)]).unwrap();
    assert_eq!(rows(&db, "SELECT * FROM orders"), ["1|x|2"]);
    let (error, _) = refusal(deliver(&mut *given().key(&["nr"]).open(folder.path()), &records));
    assert!(error.contains("no column `nr`"), "{error}");
    // SQLite takes no second column of that name.
    db.execute_batch("ALTER TABLE orders RENAME COLUMN id TO ID").unwrap();
    let (error, help) = refusal(deliver(&mut *keyed.open(folder.path()), &records));
    assert!(error.contains("`ID`") && error.contains("letter case alone"), "{error}");
    let rename = help.split('`').nth(1).unwrap();
    db.execute_batch(rename).unwrap();
    deliver(&mut *keyed.open(folder.path()), &records).unwrap();
}

#[test]
fn every_faulty_record_is_told_of_and_nothing_is_applied() {
    let (folder, db) = file();
    db.execute_batch(
        "CREATE TABLE orders (id TEXT PRIMARY KEY, n INTEGER CHECK (n < 100), m TEXT NOT NULL) STRICT",
    )
    .unwrap();
    let mut sink = given().open(folder.path());
    let records = [
        put(r#"{"id":"a","n":1,"m":"x"}"#),
        put(r#"{"id":"b","n":"many","m":"x"}"#),
        put(r#"{"id":"c","n":100,"m":"x"}"#),
        put(r#"{"id":"d","n":1}"#),
        put(r#"{"n":1,"m":"x"}"#),
        put(r#"{"id":"f","m":"x""#),
    ];
    let found = faults(deliver(&mut *sink, &records));
    let found: Vec<String> = found.into_iter().map(|(index, error)| format!("{index}: {error}")).collect();
    assert_eq!(
        found,
        [
            "1: column `n` of type INTEGER does not take a string `many`",
            "2: CHECK constraint failed: n < 100",
            "3: NOT NULL constraint failed: orders.m",
            "4: the key field `id` is missing or null",
            "5: the record is cut off",
        ]
    );
    assert!(rows(&db, "SELECT * FROM orders").is_empty());
    assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(0));
    deliver(&mut *sink, &records[..1]).unwrap();
    assert_eq!(rows(&db, "SELECT * FROM orders"), ["a|1|x"]);
}

/// What comes first may be nothing but tombstones: they are not what the table is made after.
#[test]
fn tombstones_alone_make_no_table() {
    let (folder, db) = file();
    let mut sink = given().version("at").open(folder.path());
    let gone = [delete(r#"{"id":1,"at":5}"#)];
    let first = batch(1, &gone);
    sink.deliver(&first, &gone).unwrap();
    assert_eq!(sink.applied(&first).unwrap(), Some(true));
    assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(1));
    let there = [put(r#"{"id":2,"at":1,"v":"x"}"#), delete(r#"{"id":3,"at":1}"#)];
    sink.deliver(&batch(2, &there), &there).unwrap();
    assert_eq!(rows(&db, "SELECT id, v FROM orders"), ["2|x"]);
    assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(2));
}

/// Instances of one stage may all begin with a file that is not there.
#[test]
fn several_open_a_new_file_at_once() {
    for _ in 0..20 {
        let folder = TempDir::new().unwrap();
        std::thread::scope(|scope| {
            for id in 0..4 {
                let folder = folder.path();
                scope.spawn(move || {
                    let mut sink = given().open(folder);
                    let records = [put(&format!(r#"{{"id":{id}}}"#))];
                    let mut id_of = batch(1, &records);
                    id_of.scope = format!("instance {id}");
                    sink.deliver(&id_of, &records).unwrap();
                });
            }
        });
        let db = Connection::open(folder.path().join("out.db")).unwrap();
        assert_eq!(rows(&db, "SELECT count(*) FROM orders"), ["4"]);
    }
}

#[test]
fn a_table_that_was_dropped_has_nothing() {
    let (folder, db) = file();
    let mut sink = given().open(folder.path());
    deliver(&mut *sink, &[put(r#"{"id":1}"#)]).unwrap();
    assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(1));
    db.execute_batch("DROP TABLE orders").unwrap();
    assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(0));
}

#[test]
fn the_first_one_stays_in_mode_insert() {
    let (folder, db) = file();
    let mut sink = given().mode(SinkMode::Insert).open(folder.path());
    deliver(&mut *sink, &[put(r#"{"id":1,"v":"a"}"#)]).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":1,"v":"b"}"#), put(r#"{"id":2,"v":"b"}"#)]).unwrap();
    assert_eq!(rows(&db, "SELECT * FROM orders ORDER BY id"), ["1|a", "2|b"]);
}

#[test]
fn a_tombstone_deletes_what_is_not_newer() {
    let (folder, db) = file();
    let mut sink = given().version("v").open(folder.path());
    let records: Vec<_> = (1..=4).map(|id| put(&format!(r#"{{"id":{id},"v":5}}"#))).collect();
    deliver(&mut *sink, &records).unwrap();
    let tombstones = [
        delete(r#"{"id":1,"v":6,"deleted":true}"#),
        delete(r#"{"id":2,"v":4,"deleted":true}"#),
        delete(r#"{"id":9,"v":4}"#),
    ];
    deliver(&mut *sink, &tombstones).unwrap();
    deliver(&mut *sink, &tombstones).unwrap();
    assert_eq!(rows(&db, "SELECT id FROM orders ORDER BY id"), ["2", "3", "4"]);
}

#[test]
fn a_default_is_used_where_a_record_lacks_the_field() {
    let (folder, db) = file();
    db.execute_batch("CREATE TABLE orders (nr INTEGER PRIMARY KEY, id TEXT UNIQUE, n INTEGER DEFAULT 7, m INTEGER, twice AS (n * 2))")
        .unwrap();
    let mut sink = given().open(folder.path());
    deliver(
        &mut *sink,
        &[put(r#"{"id":"a"}"#), put(r#"{"id":"b","n":null}"#), put(r#"{"id":"c","n":1,"m":1}"#)],
    )
    .unwrap();
    deliver(&mut *sink, &[put(r#"{"id":"c"}"#)]).unwrap();
    assert_eq!(
        rows(&db, "SELECT nr, id, n, m, twice FROM orders ORDER BY id"),
        ["1|a|7|-|14", "2|b|-|-|-", "3|c|1|-|2"]
    );
}

#[test]
fn a_default_counts_in_whatever_column_and_alone() {
    let (folder, db) = file();
    let many: Vec<String> = (0..130).map(|n| format!(", c{n} INTEGER DEFAULT {n}")).collect();
    db.execute_batch(&format!("CREATE TABLE orders (id INTEGER PRIMARY KEY{})", many.concat())).unwrap();
    let mut sink = given().open(folder.path());
    deliver(&mut *sink, &[put(r#"{"id":1,"c70":5}"#), put(r#"{"id":2,"c129":null}"#)]).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":1,"c2":1}"#)]).unwrap();
    assert_eq!(
        rows(&db, "SELECT id, c2, c62, c63, c70, c129 FROM orders ORDER BY id"),
        ["1|1|62|63|5|129", "2|2|62|63|70|-"]
    );
    db.execute_batch("DROP TABLE orders; CREATE TABLE orders (x INTEGER DEFAULT 7)").unwrap();
    let mut sink = given().mode(SinkMode::Append).key(&[]).open(folder.path());
    deliver(&mut *sink, &[put("{}"), put(r#"{"x":1}"#)]).unwrap();
    assert_eq!(rows(&db, "SELECT x FROM orders ORDER BY x"), ["1", "7"]);
}

#[test]
fn a_nested_key_is_a_column_of_its_own() {
    let (folder, db) = file();
    let mut sink = given().key(&["customer.id", "nr"]).open(folder.path());
    for name in ["a", "b"] {
        deliver(&mut *sink, &[put(&format!(r#"{{"customer":{{"id":"c","name":"{name}"}},"nr":1}}"#))])
            .unwrap();
    }
    assert_eq!(
        rows(&db, r#"SELECT "customer.id", nr, customer FROM orders"#),
        [r#"c|1|{"id":"c","name":"b"}"#]
    );
}

#[test]
fn the_fingerprint_is_of_the_rows_alone() {
    let (folder, _) = file();
    let other = TempDir::new().unwrap();
    let mut sink = given().open(folder.path());
    assert_eq!(sink.fingerprint().unwrap(), None);
    let records = [put(r#"{"id":1,"v":"a"}"#), put(r#"{"id":2,"v":"b"}"#)];
    deliver(&mut *sink, &records).unwrap();
    let print = sink.fingerprint().unwrap();
    let mut elsewhere = given().open(other.path());
    deliver(&mut *elsewhere, &records[1..]).unwrap();
    assert_ne!(elsewhere.fingerprint().unwrap(), print);
    deliver(&mut *elsewhere, &records[..1]).unwrap();
    assert_eq!(elsewhere.fingerprint().unwrap(), print, "batches, their number and order do not count");
}

#[test]
fn what_is_no_database_is_refused() {
    let (folder, db) = file();
    std::fs::write(
        folder.path().join("text.db"),
        "no database, though it is longer than a header would be, and more and more and more",
    )
    .unwrap();
    let at =
        |path: &str| Given::new(SinkPlace::Sqlite { path: Address(path.into()), table: "orders".into() });
    let (error, _) = refusal(at("text.db").try_open(folder.path()));
    assert_eq!(error, "file is not a database");
    let (_, help) = refusal(at("no/such/folder.db").try_open(folder.path()));
    assert!(help.contains("make the folder"), "{help}");
    refusal(at(":memory:").try_open(folder.path()));
    let url = format!("sqlite://{}", folder.path().join("out.db").display());
    let sink = at(&url).open(std::path::Path::new("/"));
    assert_eq!(sink.name(), format!("sqlite table `orders` in `{}`", folder.path().join("out.db").display()));
    drop((sink, db));
}

#[test]
fn a_trigger_that_rolls_back_takes_the_whole_batch_with_it() {
    let (folder, db) = file();
    let records = [put(r#"{"id":1}"#)];
    let mut sink = given().open(folder.path());
    deliver(&mut *sink, &records).unwrap();
    db.execute_batch("CREATE TRIGGER full BEFORE INSERT ON orders WHEN new.id = 3 BEGIN SELECT RAISE(ROLLBACK, 'gone'); END").unwrap();
    let more = [put(r#"{"id":2}"#), put(r#"{"id":3}"#), put(r#"{"id":4}"#)];
    let error = deliver(&mut *sink, &more).unwrap_err();
    assert_eq!(rows(&db, "SELECT id FROM orders"), ["1"], "{error:?}");
    assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(1));
}

#[test]
fn what_is_appended_without_a_key_cannot_be_deleted_and_with_one_is_all_of_it() {
    let (folder, db) = file();
    for key in [&[][..], &["id"]] {
        let mut sink = given().key(key).mode(SinkMode::Append).open(folder.path());
        deliver(&mut *sink, &[put(r#"{"id":1}"#), put(r#"{"id":1}"#), put(r#"{"id":2}"#)]).unwrap();
        let deleted = deliver(&mut *sink, &[delete(r#"{"id":1}"#)]);
        if key.is_empty() {
            assert!(faults(deleted)[0].1.contains("no `key`"));
        } else {
            deleted.unwrap();
        }
    }
    assert_eq!(rows(&db, "SELECT id FROM orders"), ["2", "2"]);
}

/// What was encoded ahead is written as it is only where nothing has changed meanwhile.
#[test]
fn a_batch_that_was_encoded_ahead_arrives_as_any_other() {
    let (folder, db) = file();
    db.execute_batch("CREATE TABLE orders (id TEXT PRIMARY KEY, v INTEGER, w TEXT)").unwrap();
    let mut sink = given().open(folder.path());
    let encoder = sink.encoder().expect("the table is there");
    let mut go = |sequence, change: &str, records: &[&str]| {
        let records: Vec<_> = records.iter().map(|record| put(record)).collect();
        let ahead = encoder.encode(&records);
        db.execute_batch(change).unwrap();
        sink.deliver_encoded(&batch(sequence, &records), &records, ahead)
    };
    go(1, "", &[r#"{"id":2,"v":8,"w":"a\"b"}"#, r#"{"w":"plain","id":1}"#]).unwrap();
    let all = || rows(&db, "SELECT * FROM orders ORDER BY id");
    assert_eq!(all(), ["1|-|plain", "2|8|a\"b"]);
    // The forms of keys are those of the load, not of the batch.
    let failed = faults(go(2, "", &[r#"{"id":"3","v":1}"#, r#"{"id":"4","v":1}"#]).map(drop));
    assert!(
        failed.len() == 2 && failed[1].1.contains("is a string here and a number elsewhere"),
        "{failed:?}"
    );
    let failed = faults(go(2, "", &[r#"{"id":5,"v":1}"#, r#"{"id":6,"v":"x"}"#]).map(drop));
    assert!(failed.len() == 1 && failed[0].1.contains("column `v` of type INTEGER"), "{failed:?}");
    let change = "ALTER TABLE orders RENAME COLUMN v TO x; ALTER TABLE orders ADD COLUMN v TEXT";
    go(2, change, &[r#"{"id":7,"v":1}"#]).unwrap();
    assert_eq!(all()[2], "7|-|-|1");
    assert_eq!(rows(&db, "SELECT typeof(v) FROM orders WHERE id = 7"), ["text"]);
}

#[test]
fn a_large_batch_arrives_whole() {
    let (folder, db) = file();
    let record = |id: usize| {
        put(&format!(r#"{{"id":{},"n":{id},"text":"{}"}}"#, (id * 7919) % 20_000, "é".repeat(60)))
    };
    let mut records: Vec<_> = (0..20_000).map(record).collect();
    // One value larger than what is sent at once.
    records.push(put(&format!(r#"{{"id":20000,"n":0,"text":"{}"}}"#, "x".repeat(1_000_000))));
    let mut sink = given().open(folder.path());
    deliver(&mut *sink, &records).unwrap();
    let sums = || rows(&db, "SELECT count(*), sum(n), sum(length(text)) FROM orders").remove(0);
    let expected = "20001|199990000|2200000";
    assert_eq!(sums(), expected);
    let print = sink.fingerprint().unwrap();
    deliver(&mut *sink, &records).unwrap();
    assert_eq!((sums(), sink.fingerprint().unwrap()), (expected.to_owned(), print));
}

const ROWS: u64 = 200;

fn rows_of(sequence: u64) -> Vec<cairn_records::sink::Delivery> {
    (0..ROWS).map(|n| put(&format!(r#"{{"id":{},"n":{sequence}}}"#, sequence * ROWS + n))).collect()
}

/// What the next test kills: delivers batch after batch into the folder that the environment names.
#[test]
#[ignore = "run by the next test, in a process of its own"]
fn deliver_until_killed() {
    let Some(folder) = std::env::var_os("CAIRN_TEST_FOLDER") else { return };
    let mut sink = given().open(std::path::Path::new(&folder));
    let last = sink.last_applied(crate::support::SCOPE).unwrap().unwrap();
    // With an end, should nobody be there to kill it.
    for sequence in last + 1..last + 10_000 {
        let records = rows_of(sequence);
        sink.deliver(&batch(sequence, &records), &records).unwrap();
    }
}

/// A process that is killed at the end, also that of a test that fails.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_process_leaves_whole_batches_and_a_ledger_that_knows_them() {
    let (folder, db) = file();
    db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let mut before = 0;
    for _ in 0..5 {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::deliver_until_killed", "--ignored"])
            .env("CAIRN_TEST_FOLDER", folder.path())
            .stdout(std::process::Stdio::null())
            .spawn();
        let mut child = Killed(child.unwrap());
        // Killed at whatever it does once some more batches are there.
        let mut watch = given().open(folder.path());
        while watch.last_applied(crate::support::SCOPE).unwrap().unwrap() < before + 3 {
            assert!(child.0.try_wait().unwrap().is_none(), "it delivers until it is killed");
        }
        drop(child);
        let last = watch.last_applied(crate::support::SCOPE).unwrap().unwrap();
        let counted = rows(&db, "SELECT count(*), count(DISTINCT n), max(n) FROM orders");
        assert_eq!(counted, [format!("{}|{last}|{last}", last * ROWS)], "whole batches, those of the ledger");
        let records = rows_of(last);
        assert_eq!(watch.applied(&batch(last, &records)).unwrap(), Some(true));
        watch.deliver(&batch(last, &records), &records).unwrap();
        assert_eq!(watch.applied(&batch(last + 1, &records)).unwrap(), Some(false));
        assert_eq!(rows(&db, "SELECT count(*) FROM orders"), [(last * ROWS).to_string()]);
        before = last;
    }
}

/// What is beside a database that may not be written is what was beside it, whoever asks it.
#[test]
fn a_database_that_is_only_read_has_nothing_new_beside_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, db) = file();
    let records = [put(r#"{"id":1}"#)];
    deliver(&mut *given().open(folder.path()), &records).unwrap();
    drop(db);
    let listed = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let before = listed();
    assert_eq!(before.len(), 1, "{before:?}");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let file = folder.path().join(&before[0]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            if rustix::process::getuid().is_root() {
                // What is forbidden is not forbidden to root: this thread is somebody else.
                let nobody = rustix::process::Uid::from_raw(65_534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            let mut sink = given().open(folder.path());
            assert_eq!(sink.last_applied(crate::support::SCOPE).unwrap(), Some(1));
            let (error, help) = refusal(deliver(&mut *sink, &records));
            assert!(error.contains("readonly") && help.contains("write the file"), "{error} {help}");
        });
        asked.join().unwrap();
    });
    assert_eq!(listed(), before);
}
