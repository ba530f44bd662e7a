//! Rows that are new are copied right into the table; what comes of it is the same as if they had been staged.

use super::Database;
use crate::support::{Given, deliver, faults, known, put};

/// Makes the table, and writes down each statement that puts rows into it.
fn watched(columns: &str) -> Database {
    let db = Database::new();
    db.sql(&format!(
        "CREATE TABLE orders ({columns});
         CREATE TABLE said (statement text);
         CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN INSERT INTO said VALUES (split_part(current_query(), '' '', 1)); RETURN NULL; END';
         CREATE TRIGGER watch BEFORE INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION say()"
    ));
    db
}

/// The statements that put rows.
fn said(db: &Database) -> String {
    db.sql("SELECT string_agg(statement, ' ') FROM said")
}

fn with(given: &Given) -> Box<dyn cairn_records::sink::Sink> {
    given.open(std::path::Path::new("/"))
}

#[test]
fn new_rows_are_copied_and_others_are_put() {
    let db = watched("id int PRIMARY KEY, at timestamptz, v text");
    let mut sink = with(&db.given().version("at"));
    deliver(&mut *sink, &[put(r#"{"id":2,"at":"2024-05-02","v":"b"}"#), put(r#"{"id":1,"v":"a"}"#)]).unwrap();
    assert_eq!(said(&db), "COPY");
    // Its key was delivered before.
    deliver(&mut *sink, &[known(r#"{"id":2,"at":"2024-05-03","v":"c"}"#), put(r#"{"id":3}"#)]).unwrap();
    assert_eq!(said(&db), "COPY INSERT");
    deliver(&mut *sink, &[put(r#"{"id":4,"v":"d"}"#)]).unwrap();
    assert_eq!(said(&db), "COPY INSERT COPY");
    assert_eq!(db.sql("SELECT id, v FROM orders ORDER BY id"), "1|a\n2|c\n3|\n4|d");
}

/// The state folder was lost, or the table was filled by someone else.
#[test]
fn where_a_row_stands_under_a_new_key_the_batch_is_put_by_the_rules_of_the_mode() {
    let db = watched("id int PRIMARY KEY, at int, v text");
    db.sql("INSERT INTO orders VALUES (2, 9, 'theirs'), (3, 1, 'theirs'); TRUNCATE said");
    let mut sink = with(&db.given().version("at"));
    let records = [1, 2, 3].map(|id| put(&format!(r#"{{"id":{id},"at":5,"v":"ours"}}"#)));
    deliver(&mut *sink, &records).unwrap();
    assert_eq!(db.sql("SELECT id, v FROM orders ORDER BY id"), "1|ours\n2|theirs\n3|ours");
    // Once it met rows it expects them; a copy that fails leaves its rows as garbage.
    deliver(&mut *sink, &[put(r#"{"id":4,"at":5,"v":"ours"}"#)]).unwrap();
    assert_eq!(said(&db), "INSERT INSERT");
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "4");
}

#[test]
fn a_bad_record_among_new_ones_is_found_and_the_next_batch_is_copied_again() {
    let db = watched("id int PRIMARY KEY, v int CHECK (v < 10)");
    let mut sink = db.open();
    let records: Vec<_> = (0..50).map(|id| put(&format!(r#"{{"id":{id},"v":{}}}"#, id % 49 / 4))).collect();
    let failed = faults(deliver(&mut *sink, &records));
    let wrong: Vec<usize> = failed.iter().map(|(index, _)| *index).collect();
    assert_eq!(wrong, (40..49).collect::<Vec<_>>(), "{failed:?}");
    assert_eq!(db.sql("SELECT count(*) FROM orders"), "0", "the batch whole or not at all");
    deliver(&mut *sink, &records[..40]).unwrap();
    assert_eq!((said(&db).as_str(), db.sql("SELECT count(*) FROM orders").as_str()), ("COPY", "40"));
}

#[test]
fn columns_that_all_leave_to_their_default_get_it() {
    let db =
        watched("nr serial, id text UNIQUE, w int, n int DEFAULT 7, v int, at timestamptz DEFAULT now()");
    let mut sink = db.open();
    deliver(&mut *sink, &[put(r#"{"id":"a","w":1,"v":null}"#), put(r#"{"id":"b","v":2}"#)]).unwrap();
    assert_eq!(said(&db), "COPY");
    deliver(&mut *sink, &[put(r#"{"id":"c","n":1}"#), put(r#"{"id":"d"}"#)]).unwrap();
    assert_eq!(said(&db), "COPY INSERT INSERT", "two groups");
    assert_eq!(
        db.sql("SELECT nr, id, w, n, v, at IS NOT NULL FROM orders ORDER BY nr"),
        "1|a|1|7||t\n2|b||7|2|t\n3|c||1||t\n4|d||7||t"
    );
}

/// Eight bytes of a number are a time, too.
#[test]
fn a_column_that_became_another_since_it_was_looked_at_gets_no_bytes_of_the_old_type() {
    let db = watched("id int PRIMARY KEY, v int8");
    let mut sink = db.open();
    deliver(&mut *sink, &[put(r#"{"id":1,"v":0}"#)]).unwrap();
    db.sql("ALTER TABLE orders ALTER v TYPE float8");
    deliver(&mut *sink, &[put(r#"{"id":2,"v":1}"#)]).unwrap();
    assert_eq!(db.sql("SELECT id, v FROM orders ORDER BY id"), "1|0\n2|1");
    assert_eq!(said(&db), "COPY INSERT");
}

/// Numbers of all sizes, copied and staged, beside the server's own reading of their text.
#[test]
fn exact_numbers_are_copied_as_the_server_reads_them() {
    let db = watched("id text PRIMARY KEY, v numeric, w numeric(12,3)");
    let mut texts: Vec<String> = [
        "0",
        "-0",
        "0.000",
        "-0.0e5",
        "1",
        "-1",
        "9999",
        "10000",
        "-10001",
        "100000000",
        "0.1",
        "0.0001",
        "0.00010",
        "0.00001",
        "12345678.9",
        "1e3",
        "1.5e3",
        "1.5E-3",
        "-25e-4",
        "123456.789e-2",
        "99999999.9994",
        "0.0005",
        "0.00049",
        "1e-300",
    ]
    .map(str::to_owned)
    .into();
    // Digits and the point's place by a fixed sequence.
    let mut seed = 1_u64;
    for _ in 0..300 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let digits = (seed >> 20).to_string();
        let sign = if seed.is_multiple_of(3) { "-" } else { "" };
        texts.push(format!("{sign}{}.{}", &digits[..digits.len().min(8) - 1], &digits[digits.len() / 2..]));
        texts.push(format!("{sign}{digits}e-{}", 6 + seed % 40));
    }
    let mut sink = db.open();
    let record = |text: &String| format!(r#"{{"id":"{text}","v":{text},"w":{text}}}"#);
    deliver(&mut *sink, &texts.iter().map(|text| put(&record(text))).collect::<Vec<_>>()).unwrap();
    assert_eq!(said(&db), "COPY");
    let other = "SELECT id FROM orders WHERE (v::text, w::text) IS DISTINCT FROM (id::numeric::text, id::numeric(12,3)::text)";
    assert_eq!(db.sql(other), "");
    assert_eq!(db.sql("SELECT count(*) FROM orders"), texts.len().to_string());
    db.sql("DELETE FROM orders; TRUNCATE said");
    deliver(&mut *sink, &texts.iter().map(|text| known(&record(text))).collect::<Vec<_>>()).unwrap();
    assert_eq!(said(&db), "INSERT");
    assert_eq!(db.sql(other), "");
    assert_eq!(db.sql("SELECT count(*) FROM orders"), texts.len().to_string());
    let far = faults(deliver(&mut *sink, &[put(r#"{"id":"x","v":1e-16384}"#)]));
    assert!(far[0].1.contains("column `v` of type numeric does not take a number `1e-16384`"), "{far:?}");
}

/// `COPY` would pass by the rule.
#[test]
fn a_table_with_a_rule_gets_statements() {
    let db = watched("id int PRIMARY KEY, v int");
    db.sql("CREATE TABLE log (id int); CREATE RULE note AS ON INSERT TO orders DO ALSO INSERT INTO log VALUES (NEW.id)");
    let mut sink = with(&db.given().mode(cairn_model::SinkMode::Append));
    deliver(&mut *sink, &[put(r#"{"id":1,"v":0}"#)]).unwrap();
    assert_eq!((said(&db).as_str(), db.sql("SELECT id FROM log").as_str()), ("INSERT", "1"));
}

#[test]
fn a_reference_that_is_checked_at_the_end_is_told_of_its_record() {
    let db = watched("id int PRIMARY KEY, parent int");
    db.sql(
        "CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1);
         ALTER TABLE orders ADD FOREIGN KEY (parent) REFERENCES parents DEFERRABLE INITIALLY DEFERRED",
    );
    let mut sink = db.open();
    let records = [put(r#"{"id":1,"parent":1}"#), put(r#"{"id":2,"parent":2}"#)];
    let failed = faults(deliver(&mut *sink, &records));
    assert_eq!(failed.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1], "{failed:?}");
}

/// A copy that begins before and goes on after would read what it is sent by the wrong columns.
#[test]
fn a_batch_waits_for_who_alters_the_table_and_goes_into_what_becomes_of_it() {
    let db = watched("id int PRIMARY KEY, v int8, w text");
    let mut sink = db.open();
    deliver(&mut *sink, &[put(r#"{"id":1,"v":0}"#)]).unwrap();
    std::thread::scope(|scope| {
        let (begun, begins) = std::sync::mpsc::channel();
        let db = &db;
        scope.spawn(move || {
            let altering = "BEGIN; ALTER TABLE orders ALTER v TYPE float8; ALTER TABLE orders DROP w; SELECT pg_sleep(1); COMMIT";
            begun.send(()).unwrap();
            db.sql(altering);
        });
        begins.recv().unwrap();
        while db.sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = 'orders'::regclass") == "0" {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        deliver(&mut *sink, &[put(r#"{"id":2,"v":1}"#)]).unwrap();
    });
    assert_eq!(db.sql("SELECT id, v FROM orders ORDER BY id"), "1|0\n2|1");
}

/// What is remembered of a key that was written otherwise is let go of when its row is another's.
#[test]
fn who_has_a_row_is_known_whatever_way_it_came() {
    let db = watched("id int PRIMARY KEY, v int");
    let mut sink = db.open();
    deliver(&mut *sink, &[put(r#"{"id":"07","v":1}"#)]).unwrap();
    db.sql("DELETE FROM orders");
    deliver(&mut *sink, &[put(r#"{"id":"7","v":2}"#)]).unwrap();
    deliver(&mut *sink, &[known(r#"{"id":"7","v":3}"#)]).unwrap();
    let failed = faults(deliver(&mut *sink, &[known(r#"{"id":"07","v":4}"#)]));
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(db.sql("SELECT id, v FROM orders"), "7|3");
}
