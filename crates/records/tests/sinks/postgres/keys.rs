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
