//! Which of two records of one row is the newer, and which comes first.

use super::*;
use crate::support::path;

#[test]
fn versions_in_texts_are_compared_as_the_engine_does() {
    let db = Database::new();
    for (new, old, passes) in [
        ("b", "a", true),
        ("B", "a", false),
        ("10", "9", true),
        ("9", "10", true),
        ("8.5", "9", false),
        ("2024-05-01T10:00:00+02:00", "2024-05-01T09:00:00Z", false),
        ("2024-05-01T10:00:00+02:00", "2024-05-01 08:00", true),
        ("2024-05-01", "2024-04-30T23:59:59.999999999z", true),
        ("2024-05-01T10", "2024-05-01T11:00:00Z", true),
        ("2024-05-01", "a", false),
        // Numbers come before times, those before other texts.
        ("2024-05-01T10:00:00Z", "9", true),
        ("8", "9a", false),
        ("1st", "2024-05-01", true),
        ("1st", "9", true),
        ("2024-01-05", "2024-02-29", false),
        ("2024-02-29T10:00:00Z", "2024-02-29T11:00:00Z", false),
        ("2000-02-29", "2000-02-28", true),
        ("2024-03-01", "2024-02-29", true),
        ("1000000", "3e5", true),
        ("101", "1E+2", true),
        ("1e-6", "1e-7", true),
        ("2e5", "3e5", false),
        // CSV has it as a text, which comes after numbers.
        ("1e2", "500", true),
        // What looks like a time and is none does not stop the statement.
        ("2024-02-30", "2024-02-28", true),
        ("2024-05-01 25:00:00", "0000-00-00 00:00:00", true),
        ("2024-05-01T10:00:00+18", "2024-05-01T09:00:00Z", true),
    ] {
        db.sql("DROP TABLE IF EXISTS orders, cairn_ledger, cairn_fence");
        let mut sink = open(&db.given().version("at"));
        deliver(&mut *sink, &[put(&format!(r#"{{"id":1,"at":"{old}"}}"#))]).unwrap();
        deliver(&mut *sink, &[put(&format!(r#"{{"id":1,"at":"{new}"}}"#))]).unwrap();
        assert_eq!(db.sql("SELECT at FROM orders"), if passes { new } else { old }, "{new} after {old}");
    }
    // Other content under the same version, which no server reads as a time.
    db.sql("DROP TABLE IF EXISTS orders, cairn_ledger, cairn_fence");
    let mut sink = open(&db.given().version("at"));
    for x in ["1", "2"] {
        deliver(&mut *sink, &[put(&format!(r#"{{"id":1,"at":"0000-00-00 00:00:00","x":"{x}"}}"#))]).unwrap();
    }
    assert_eq!(db.sql("SELECT x FROM orders"), "2");
}

/// A sink's key may be another than the records': then a batch has several of one.
#[test]
fn several_records_of_one_row_are_applied_in_their_order() {
    let db = Database::new();
    db.sql("CREATE TABLE orders (customer int PRIMARY KEY, event int)");
    let mut given = db.given();
    given.definition.key = vec![path("customer")];
    let mut sink = given.open(Path::new("/"));
    // More than a few are sorted in another way.
    let mut records: Vec<_> =
        (0..90).map(|event| put(&format!(r#"{{"customer":{},"event":{event}}}"#, event % 3))).collect();
    records.insert(60, delete(r#"{"customer":0}"#));
    records.push(delete(r#"{"customer":1}"#));
    deliver(&mut *sink, &records).unwrap();
    assert_eq!(db.sql("SELECT customer, event FROM orders ORDER BY 1"), "0|87\n2|89");
    // By the other way into the table, too: rows that are there.
    deliver(&mut *sink, &records[..30]).unwrap();
    assert_eq!(db.sql("SELECT customer, event FROM orders ORDER BY 1"), "0|27\n1|28\n2|29");
}
