use proptest::prelude::*;

use super::*;

fn check(bytes: &[u8], expect: &[(u64, &str)]) {
    let found = records("a.csv", bytes);
    let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(found, expect, "{}", bytes.escape_ascii());
}

#[test]
fn rows_are_objects_of_texts() {
    check(b"", &[]);
    check(b"a,b\n", &[]);
    check(b"a,b\n1,x\n,\n", &[(2, r#"{"a":"1","b":"x"}"#), (3, r#"{"a":"","b":""}"#)]);
    check(b"\xef\xbb\xbfa\r\n1\r\n\r\n2", &[(2, r#"{"a":"1"}"#), (4, r#"{"a":"2"}"#)]);
    check(b"\"a\"\"b\",c\n1,\n", &[(2, r#"{"a\"b":"1","c":""}"#)]);
}

#[test]
fn quotes_hold_commas_quotes_and_line_ends() {
    check(
        b"a,b\n\"x, \"\"y\"\"\",\"1\r\n2\"\n3,4\n",
        &[(2, r#"{"a":"x, \"y\"","b":"1\r\n2"}"#), (4, r#"{"a":"3","b":"4"}"#)],
    );
}

#[test]
fn a_bad_row_is_passed_and_the_next_is_read() {
    let (all, error) = read("a.csv", b"a,b\n1\n\"\xff\",2\n1,2,3\n\0,\n5,6\n", None);
    assert!(error.is_none());
    let bad = |class, text: &str| Err((class, text.to_owned()));
    assert_eq!(
        all,
        [
            (0, 2, bad(BadClass::Row, "the row has 1 fields, the header 2")),
            (1, 3, bad(BadClass::Encoding, "byte 1 of the record is not UTF-8")),
            (2, 4, bad(BadClass::Row, "the row has 3 fields, the header 2")),
            (3, 5, bad(BadClass::Encoding, "byte 1 of the record is a NUL")),
            (4, 6, Ok(r#"{"a":"5","b":"6"}"#.to_owned())),
        ]
    );
}

#[test]
fn a_quote_that_is_not_closed_swallows_nothing_in_silence() {
    let (all, error) = read("a.csv", b"a,b\n1,\"2\n3,4\n5,6\n", None);
    assert!(error.is_none());
    let text = "the file ends within a quote that this row opens".to_owned();
    assert_eq!(all, [(0, 2, Err((BadClass::Row, text)))]);
    check(b"a\n\"1\"", &[(2, r#"{"a":"1"}"#)]);
    check(b"a\n5\" pipe", &[(2, r#"{"a":"5\" pipe"}"#)]);
}

#[test]
fn a_row_that_is_too_long_is_passed() {
    let mut bytes = b"a,b\n1,\"".to_vec();
    bytes.resize(bytes.len() + BadRecord::LONGEST + 1, b'x');
    bytes.extend_from_slice(b"\"\n3,4\n");
    let (all, error) = read("a.csv", &bytes, None);
    assert!(error.is_none());
    let text = "the record is longer than 16 MiB".to_owned();
    assert_eq!(all, [(0, 2, Err((BadClass::TooLong, text))), (1, 3, Ok(r#"{"a":"3","b":"4"}"#.to_owned()))]);
}

#[test]
fn a_header_must_name_its_columns() {
    assert_eq!(error("a.csv", b"a,b,a\n1,2,3\n").0, "the header of `a.csv` names the column `a` twice");
    assert_eq!(error("a.csv", b"\"a\n1\n").0, "the header of `a.csv` has a quote that is not closed");
    assert_eq!(error("a.csv", b"\xff\n1\n").0, "the header of `a.csv` is not UTF-8");
}

proptest! {
    #[test]
    fn what_another_program_writes_is_read(
        rows in proptest::collection::vec(proptest::collection::vec("[a-c,\"\r\n é]{0,9}", 3), 0..20),
        crlf: bool,
    ) {
        let terminator = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
        let mut writer = ::csv::WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
        writer.write_record(["x", "y", "z"]).unwrap();
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let found: Vec<Vec<String>> = records("a.csv", &bytes)
            .into_iter()
            .map(|(_, text)| {
                let object: serde_json::Value = serde_json::from_str(&text).unwrap();
                ["x", "y", "z"].map(|name| object[name].as_str().unwrap().to_owned()).to_vec()
            })
            .collect();
        prop_assert_eq!(found, rows);
    }
}

#[test]
fn a_row_of_another_width_is_kept_as_it_is_written() {
    let long = "x".repeat(70_000);
    // One that goes over the end of what is read at once, too.
    let text = format!("a,b\n1,\"2,\n3\",4\r\n{long},2\n5\n{},\"6\",7\n", "y".repeat(61_000));
    let fixture = fixture("a.csv", text.as_bytes());
    let mut reader = Reader::open(&fixture.file, None).unwrap();
    let mut kept = Vec::new();
    while let Some(raw) = reader.next().unwrap() {
        kept.extend(raw.body.err().map(|bad| String::from_utf8(bad.excerpt).unwrap()));
    }
    assert_eq!(kept[..2], ["1,\"2,\n3\",4", "5"]);
    assert_eq!(kept[2], "y".repeat(BadRecord::EXCERPT));
}
