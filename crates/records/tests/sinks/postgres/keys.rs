//! Keys that are two and would be one row: told of with both, in one batch or in several, and nothing is written.

use super::Database;
use crate::support::{delete, deliver, faults, put};

/// A key by itself tells that others are rounded to it too; some types of text the server is asked about.
#[test]
fn keys_that_are_two_do_not_become_one_row() {
    for (declared, one, other, said) in [
        ("numeric(9,2)", "1.01", "1.011", "is `1.011`, which PostgreSQL rounds to 2 places"),
        ("numeric(9,2)", "\"1.01\"", "\"1.012\"", "is `1.012`, which PostgreSQL rounds to 2 places"),
        ("float8", "9007199254740992", "9007199254740993", "which PostgreSQL stores as `9007199254740992`"),
        ("float4", "0.5", "16777217", "which PostgreSQL stores as `16777216`"),
        (
            "timestamptz",
            "\"2024-05-01T10:00:00.000001Z\"",
            "\"2024-05-01T10:00:00.0000011Z\"",
            "which PostgreSQL stores as `2024-05-01T10:00:00.000001Z`",
        ),
        (
            "timestamptz(3)",
            "\"2024-05-01T10:00:00.001Z\"",
            "\"2024-05-01T10:00:00.0014Z\"",
            "which PostgreSQL stores as `2024-05-01T10:00:00.001Z`",
        ),
        (
            "timestamp(0)",
            "\"2024-05-01T10:00:00\"",
            "\"2024-05-01T09:59:59.5\"",
            "which PostgreSQL stores as `2024-05-01T10:00:00Z`",
        ),
        ("citext", "\"Bob\"", "\"BOB\"", "the keys `Bob` and `BOB` would be one row"),
        ("text COLLATE folding", "\"Bob\"", "\"BOB\"", "the keys `Bob` and `BOB` would be one row"),
    ] {
        let db = Database::new();
        db.sql("CREATE EXTENSION citext");
        db.sql(
            "CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        );
        db.sql(&format!("CREATE TABLE orders (id {declared} PRIMARY KEY, x int)"));
        let mut sink = db.open();
        let records = [one, other].map(|id| put(&format!(r#"{{"id":{id},"x":1}}"#)));
        let told = faults(deliver(&mut *sink, &records));
        assert!(
            matches!(told.as_slice(), [(1, error)] if error.contains(said)),
            "{declared} {one} {other}: {told:?}"
        );
        assert_eq!(db.sql("SELECT count(*) FROM orders"), "0");
        // The one is there when the other comes, in a batch of its own, be it to delete it.
        deliver(&mut *sink, &records[..1]).unwrap();
        for second in [put, delete].map(|make| make(&format!(r#"{{"id":{other},"x":2}}"#))) {
            let told = faults(deliver(&mut *sink, &[second]));
            assert!(told[0].1.contains(said), "{declared} {one} {other}: {told:?}");
        }
        assert_eq!(db.sql("SELECT count(*), max(x) FROM orders"), "1|1");
        deliver(&mut *sink, &records[..1]).unwrap();
    }
}

/// How a key is written is the source's business, as long as no two of a batch are one row.
#[test]
fn keys_may_be_written_in_any_way_but_not_in_two() {
    for (declared, one, other) in [
        ("int", "1", "\"1\""),
        ("text", "\"1\"", "1"),
        ("bigint", "\"7\"", "\"07\""),
        ("numeric", "\"7\"", "\"7.0\""),
        ("numeric(9,2)", "7", "\"7.0000000000\""),
        ("boolean", "\"true\"", "\"yes\""),
        ("char(5)", "\"a\"", "\"a \""),
        ("date", "\"2024-05-01\"", "\"2024-05-01 00:00:00\""),
        ("uuid", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\""),
        ("uuid", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", "\"a0eebc999c0b4ef8bb6d6bb9bd380a11\""),
    ] {
        let db = Database::new();
        db.sql(&format!("CREATE TABLE orders (id {declared} PRIMARY KEY, x int)"));
        let mut sink = db.open();
        let records = [one, other].map(|id| put(&format!(r#"{{"id":{id},"x":1}}"#)));
        let delivered = deliver(&mut *sink, &records);
        assert!(delivered.is_err(), "{declared} {one} {other}");
        let told = faults(delivered);
        assert!(
            matches!(told.as_slice(), [(1, error)] if error.contains("would be one row")),
            "{declared} {one} {other}: {told:?}"
        );
        assert_eq!(db.sql("SELECT count(*) FROM orders"), "0");
        deliver(&mut *sink, &records[1..]).unwrap();
        assert_eq!(db.sql("SELECT count(*) FROM orders"), "1");
    }
}

/// The same, where each has a batch of its own, and the sink is opened anew between them.
#[test]
fn keys_written_in_two_ways_are_told_of_in_several_batches() {
    for (declared, plain, others) in [
        ("bigint", "\"7\"", ["\"07\"", "\"+7\"", "\"7.0\""]),
        ("bigint", "7", ["\"07\"", "\"007\"", "\"7e0\""]),
        ("numeric", "\"0.5\"", ["\".5\"", "\"0.50\"", "\"5e-1\""]),
        ("numeric(9,2)", "\"7\"", ["\"7.00\"", "\"7.0\"", "\"07\""]),
        ("float8", "\"0.5\"", ["\".5\"", "\"0.50\"", "\"5e-1\""]),
        ("boolean", "true", ["\"yes\"", "1", "\"on\""]),
        ("char(5)", "\"a\"", ["\"a \"", "\"a  \"", "\"a   \""]),
        ("date", "\"2024-05-01\"", ["\"2024-05-01 00:00:00\"", "\"20240501\"", "\"2024-05-01T00:00:00\""]),
        (
            "timestamptz(0)",
            "\"2024-05-01T10:00:00Z\"",
            ["\"2024-05-01T12:00:00+02:00\"", "\"2024-05-01 10:00:00Z\"", "\"2024-05-01T10:00:00.000Z\""],
        ),
        (
            "timestamp",
            "\"2024-05-01T10:00:00.25\"",
            ["\"2024-05-01T10:00:00.25Z\"", "\"2024-05-01 10:00:00.25\"", "\"2024-05-01T10:00:00.250\""],
        ),
        (
            "uuid",
            "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"",
            [
                "\"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11\"",
                "\"a0eebc999c0b4ef8bb6d6bb9bd380a11\"",
                "\"{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}\"",
            ],
        ),
    ] {
        let db = Database::new();
        let record = |id: &str, x: u8| put(&format!(r#"{{"id":{id},"x":{x}}}"#));
        let rows = || db.sql("SELECT count(*), max(x) FROM orders");
        let ways: Vec<&str> = std::iter::once(plain).chain(others).collect();
        // One that is plain, and one that is not.
        for first in &ways[..2] {
            db.sql("DROP TABLE IF EXISTS orders, cairn_ledger, cairn_fence, cairn_keys");
            db.sql(&format!("CREATE TABLE orders (id {declared} PRIMARY KEY, x int)"));
            deliver(&mut *db.open(), &[record(first, 1)]).unwrap();
            assert_eq!(
                db.sql("SELECT count(*) FROM cairn_keys WHERE key <> ''") == "0",
                *first == plain,
                "{first}"
            );
            for second in ways.iter().filter(|second| *second != first) {
                for second in [record(second, 2), delete(&format!(r#"{{"id":{second}}}"#))] {
                    let told = faults(deliver(&mut *db.open(), &[second]));
                    assert!(told[0].1.contains("would be one row"), "{declared} {first} {told:?}");
                    assert_eq!(rows(), "1|1");
                }
            }
            // It is its own row all the same.
            deliver(&mut *db.open(), &[record(first, 3)]).unwrap();
            assert_eq!(rows(), "1|3");
        }
    }
}

/// A row that is gone belongs to no key, and one that was there before the load to any.
#[test]
fn a_row_is_of_the_key_that_wrote_it() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (\"of\" text, id bigint, x int, PRIMARY KEY (\"of\", id))");
    let open = || db.given().key(&["of", "id"]).open(std::path::Path::new("/"));
    let fields = |id: &str, x: u8| format!(r#"{{"of":"a","id":{id},"x":{x}}}"#);
    let record = |id: &str, x: u8| put(&fields(id, x));
    let remembered = || db.sql("SELECT key FROM cairn_keys WHERE key <> ''");
    deliver(&mut *open(), &[record("8", 0), record("\"07\"", 0)]).unwrap();
    assert_eq!(remembered(), r#"["a","07"]"#);
    let told = faults(deliver(&mut *open(), &[record("9", 1), record("7", 1)]));
    let said = r#"the keys `["a","07"]` and `["a",7]` would be one row"#;
    assert!(matches!(told.as_slice(), [(1, error)] if error.contains(said)), "{told:?}");
    let told = faults(deliver(&mut *open(), &[record("\"08\"", 1)]));
    assert!(told[0].1.contains(r#"the keys `a, 8` and `["a","08"]` would be one row"#), "{told:?}");
    deliver(&mut *open(), &[delete(&fields("\"07\"", 0))]).unwrap();
    deliver(&mut *open(), &[record("7", 2)]).unwrap();
    assert_eq!(
        (remembered().as_str(), db.sql("SELECT id, x FROM orders ORDER BY id").as_str()),
        ("", "7|2\n8|0")
    );
    let told = faults(deliver(&mut *open(), &[record("\"07\"", 3)]));
    assert!(told[0].1.contains("would be one row"), "{told:?}");
    // Whose a row is that was there before, nobody knows: the first that comes takes it.
    db.sql("DROP TABLE cairn_ledger, cairn_fence, cairn_keys");
    deliver(&mut *open(), &[record("\"07\"", 4), record("\"08\"", 4)]).unwrap();
    assert_eq!(db.sql("SELECT min(x), count(*) FROM orders"), "4|2");
    let told = faults(deliver(&mut *open(), &[record("7", 5)]));
    assert!(told[0].1.contains(said), "{told:?}");
}

/// Who may not make tables loads as ever.
#[test]
fn without_the_right_to_make_tables_nothing_is_remembered() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (id bigint PRIMARY KEY, x int)");
    deliver(&mut *db.open(), &[put(r#"{"id":1,"x":1}"#)]).unwrap();
    db.sql("DROP TABLE cairn_keys; REVOKE CREATE ON SCHEMA public FROM public;
            CREATE ROLE loader LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON orders, cairn_ledger, cairn_fence TO loader");
    let url = format!("{}{}", db.url, if db.url.contains('?') { "&user=loader" } else { "?user=loader" });
    let mut sink = super::at(&url).open(std::path::Path::new("/"));
    deliver(&mut *sink, &[put(r#"{"id":"07","x":1}"#)]).unwrap();
    deliver(&mut *sink, &[put(r#"{"id":"7","x":2}"#)]).unwrap();
    assert_eq!(db.sql("SELECT count(*), to_regclass('cairn_keys') IS NULL FROM orders"), "2|t");
}

/// Moments can be written in many ways, and types of extensions: what one batch has is told apart.
#[test]
fn keys_that_are_sent_alike_are_found_in_a_batch() {
    let moment = ("timestamptz", "\"2024-05-01T10:00:00Z\"", "\"2024-05-01T12:00:00+02:00\"");
    for (declared, one, other) in [moment, ("inet", "\"10.0.0.1\"", "\"10.0.0.1/32\"")] {
        let db = Database::new();
        db.sql(&format!("CREATE TABLE orders (\"of\" text, id {declared}, PRIMARY KEY (id, \"of\"))"));
        let mut sink = db.given().key(&["id", "of"]).open(std::path::Path::new("/"));
        let records = [(one, "a"), (other, "b"), (other, "a")]
            .map(|(id, of)| put(&format!(r#"{{"id":{id},"of":"{of}"}}"#)));
        let told = faults(deliver(&mut *sink, &records));
        let said = format!("the keys `[{one},\"a\"]` and `[{other},\"a\"]` would be one row");
        assert!(matches!(told.as_slice(), [(2, error)] if error.contains(&said)), "{told:?}");
        deliver(&mut *sink, &records[..2]).unwrap();
        assert_eq!(db.sql("SELECT count(*) FROM orders"), "2");
    }
}

/// Fields that give the same bytes one behind the other are not the same fields.
#[test]
fn keys_that_are_told_apart_stay_so() {
    let db = Database::new();
    db.sql("CREATE EXTENSION citext");
    db.sql("CREATE TYPE mood AS ENUM ('glad', 'sad')");
    db.sql("CREATE TABLE orders (a text, b text, c citext, d mood, e numeric, PRIMARY KEY (a, b, c, d, e))");
    let mut sink = db.given().key(&["a", "b", "c", "d", "e"]).open(std::path::Path::new("/"));
    let records = [("ab", "c"), ("a", "bc")].map(|(a, b)| {
        put(&format!(r#"{{"a":"{a}","b":"{b}","c":"Bob","d":"sad","e":"12345678901234567890.5"}}"#))
    });
    for _ in 0..2 {
        deliver(&mut *sink, &records).unwrap();
        assert_eq!(db.sql("SELECT count(*) FROM orders"), "2");
    }
}
