//! Keys that are two and would be one row, and names that differ in letter case alone: told of, and nothing is written.

use super::{file, given, rows};
use crate::support::{delete, deliver, faults, put, refusal};

#[test]
fn keys_that_are_two_do_not_become_one_row() {
    for (declared, one, other, said) in [
        ("INTEGER", "1", "\"1\"", "is a string here and a number elsewhere"),
        ("INTEGER", "1", "true", "is a boolean here and a number elsewhere"),
        ("TEXT", "\"1\"", "1", "is a number here and a string elsewhere"),
        ("TEXT", "\"true\"", "true", "is a boolean here and a string elsewhere"),
        ("INTEGER", "\"7\"", "\"07\"", "the keys `7` and `07` would be one row"),
        ("DECIMAL", "7", "\"7\"", "is a string here and a number elsewhere"),
        ("", "18446744073709551615", "18446744073709551614", "which SQLite stores as `18446744073709552000`"),
        ("REAL", "9007199254740992", "9007199254740993", "which SQLite stores as `9007199254740992`"),
        ("REAL", "0.1", "0.1000000000000000055", "which SQLite stores as `0.1`"),
    ] {
        let (folder, connection) = file();
        connection.execute_batch(&format!("CREATE TABLE orders (id {declared} PRIMARY KEY, x)")).unwrap();
        let mut sink = given().open(folder.path());
        let records = [one, other].map(|id| put(&format!("{{\"id\":{id},\"x\":1}}")));
        let found = faults(deliver(&mut *sink, &records));
        assert!(found.last().unwrap().1.contains(said), "{declared} {one} {other}: {found:?}");
        assert!(rows(&connection, "SELECT * FROM orders").is_empty());
        // The one is there when the other comes, in a batch of its own and another process. The first of all may be what does
        // not fit.
        drop(sink);
        let mut sink = given().open(folder.path());
        if deliver(&mut *sink, &records[..1]).is_ok() {
            drop(sink);
            let mut sink = given().open(folder.path());
            let told = faults(deliver(&mut *sink, &records[1..]));
            assert!(told[0].1.contains(said), "{declared} {one} {other}: {told:?}");
            assert_eq!(rows(&connection, "SELECT * FROM orders").len(), 1);
        }
    }
    // What is told apart stays so, in one batch or in several.
    for (declared, ids) in [
        ("TEXT", ["1", "2.5"]),
        ("INTEGER", ["\"1\"", "\"2\""]),
        ("REAL", ["1", "2.5"]),
        ("DECIMAL", ["\"1\"", "\"2.5\""]),
        ("TEXT", ["\"a\"", "2"]),
        ("", ["1", "\"1\""]),
    ] {
        let (folder, connection) = file();
        connection.execute_batch(&format!("CREATE TABLE orders (id {declared} PRIMARY KEY, x)")).unwrap();
        let mut sink = given().open(folder.path());
        let records = ids.map(|id| put(&format!("{{\"id\":{id},\"x\":1}}")));
        deliver(&mut *sink, &records).unwrap();
        deliver(&mut *sink, &records[..1]).unwrap();
        assert_eq!(rows(&connection, "SELECT * FROM orders").len(), 2, "{declared} {ids:?}");
    }
}

#[test]
fn keys_written_in_two_ways_are_told_of_in_several_batches() {
    for (declared, ways) in [
        ("INTEGER", ["\"7\"", "\"07\"", "\"+7\"", "\"7.0\""]),
        ("REAL", ["\"0.5\"", "\".5\"", "\"0.50\"", "\"5e-1\""]),
        ("DECIMAL", ["\"7\"", "\"07\"", "\"7.0\"", "\" 7 \""]),
    ] {
        for first in ways {
            let (folder, connection) = file();
            connection.execute_batch(&format!("CREATE TABLE orders (id {declared} PRIMARY KEY, x)")).unwrap();
            let record = |id: &str, x: u8| put(&format!("{{\"id\":{id},\"x\":{x}}}"));
            let rows = || rows(&connection, "SELECT x FROM orders");
            let open = || given().open(folder.path());
            deliver(&mut *open(), &[record(first, 1)]).unwrap();
            for second in ways.into_iter().filter(|second| *second != first) {
                for second in [record(second, 2), delete(&format!("{{\"id\":{second}}}"))] {
                    let told = faults(deliver(&mut *open(), &[second]));
                    assert!(told[0].1.contains("would be one row"), "{declared} {first} {told:?}");
                    assert_eq!(rows(), ["1"]);
                }
            }
            // It is its own row all the same, and when that is gone another key's.
            deliver(&mut *open(), &[record(first, 3)]).unwrap();
            assert_eq!(rows(), ["3"]);
            deliver(&mut *open(), &[delete(&format!("{{\"id\":{first}}}"))]).unwrap();
            deliver(&mut *open(), &[record(ways[0], 4)]).unwrap();
            assert_eq!(rows(), ["4"]);
        }
    }
}

/// Whose a row is that was there before the load, nobody knows: the first that comes takes it.
#[test]
fn rows_of_before_are_taken_by_keys_written_in_any_way() {
    let (folder, connection) = file();
    let sql = "CREATE TABLE orders (id INTEGER PRIMARY KEY, x); INSERT INTO orders VALUES (7, 0), (8, 0)";
    connection.execute_batch(sql).unwrap();
    let open = || given().open(folder.path());
    deliver(&mut *open(), &[put(r#"{"id":"07","x":1}"#), put(r#"{"id":"8","x":1}"#)]).unwrap();
    assert_eq!(rows(&connection, "SELECT sum(x) FROM orders"), ["2"]);
    let told = faults(deliver(&mut *open(), &[put(r#"{"id":"7","x":2}"#)]));
    assert!(told[0].1.contains("the keys `07` and `7` would be one row"), "{told:?}");
}

#[test]
fn a_key_that_is_compared_without_its_case_is_refused() {
    let (folder, connection) = file();
    connection.execute_batch("CREATE TABLE orders (id TEXT COLLATE NOCASE PRIMARY KEY, x)").unwrap();
    let mut sink = given().open(folder.path());
    let (error, help) = refusal(deliver(&mut *sink, &[put("{\"id\":\"a\",\"x\":1}")]));
    assert!(error.contains("compares `id` by NOCASE") && help.contains("COLLATE"), "{error} {help}");
}

#[test]
fn names_that_differ_in_letter_case_alone_are_told_of() {
    let (folder, connection) = file();
    let mut sink = given().open(folder.path());
    // The table that is made has the first of them.
    let found = faults(deliver(&mut *sink, &[put("{\"id\":1,\"x\":1}"), put("{\"id\":2,\"X\":2}")]));
    assert!(found.len() == 1 && found[0].1.contains("the field `X` and the column `x`"), "{found:?}");
    let declared = given().column("id", "INTEGER").column("x", "TEXT").column("X", "TEXT");
    let (error, _) = refusal(deliver(&mut *declared.open(folder.path()), &[put("{\"id\":1,\"x\":1}")]));
    assert!(error.contains("differ in letter case alone"), "{error}");
    connection.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY, x)").unwrap();
    let found = faults(deliver(&mut *sink, &[put("{\"id\":1,\"X\":2}")]));
    assert!(found[0].1.contains("the field `X` and the column `x`"), "{found:?}");
}
