mod compressed;
mod csv;
mod jsonl;
mod parquet;

use std::fs;

use cairn_model::{Format, ProjectPath};
use tempfile::TempDir;

use super::*;

/// What one record was: ordinal, line, and its text or its fault.
type Seen = (u64, u64, Result<String, (BadClass, String)>);

struct Fixture {
    _folder: TempDir,
    file: SourceFile,
}

fn fixture(name: &str, bytes: &[u8]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = ProjectPath::parse(name).unwrap();
    let disk = folder.path().join(name);
    fs::write(&disk, bytes).unwrap();
    Fixture { _folder: folder, file: SourceFile { path, disk } }
}

fn seen(raw: Raw<'_>) -> Seen {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (raw.ordinal, raw.line, raw.body.map(text).map_err(|bad| (bad.class, bad.error)))
}

/// Reads a file to its end or its error.
fn read(name: &str, bytes: &[u8], format: Option<Format>) -> (Vec<Seen>, Option<SourceError>) {
    let fixture = fixture(name, bytes);
    let mut reader = match Reader::open(&fixture.file, format) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut all = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(raw)) => all.push(seen(raw)),
            Ok(None) => return (all, None),
            Err(error) => {
                assert!(reader.next().unwrap().is_none(), "there is nothing after an error");
                return (all, Some(error));
            }
        }
    }
}

/// Reads a file that has no fault.
fn records(name: &str, bytes: &[u8]) -> Vec<(u64, String)> {
    let (all, error) = read(name, bytes, None);
    assert!(error.is_none(), "{error:?}");
    all.into_iter().map(|(_, line, body)| (line, body.unwrap())).collect()
}

fn error(name: &str, bytes: &[u8]) -> (String, Option<String>) {
    let (_, error) = read(name, bytes, None);
    let error = error.unwrap();
    assert_eq!(error.path().as_str(), name);
    (error.to_string(), error.help())
}

#[test]
fn a_reader_can_go_to_another_thread() {
    fn check<T: Send>() {}
    check::<Reader>();
}

#[test]
fn an_unknown_ending_is_an_error_with_its_mend() {
    let (text, help) = error("orders.txt", b"{}\n");
    assert_eq!(text, "`orders.txt` has no ending that says how it is read");
    assert!(help.unwrap().contains("`format = \"jsonl\"`"));
    error("orders.gz", b"");
    error("orders", b"");
    let (all, error) = read("orders.txt", b"{}\n", Some(Format::Jsonl));
    assert!(error.is_none());
    assert_eq!(all, [(0, 1, Ok("{}".to_owned()))]);
}

#[test]
fn the_format_stands_above_the_ending() {
    let (all, _) = read("orders.json", b"a\n1\n", Some(Format::Csv));
    assert_eq!(all, [(0, 2, Ok(r#"{"a":"1"}"#.to_owned()))]);
    assert_eq!(records("orders.NDJSON", b"{}\n"), [(1, "{}".to_owned())]);
}

#[test]
fn a_file_that_is_not_there_or_a_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = ProjectPath::parse("a/orders.jsonl").unwrap();
    let file = |disk: PathBuf| SourceFile { path: path.clone(), disk };
    let error = Reader::open(&file(folder.path().join("absent")), None).unwrap_err();
    assert!(error.to_string().starts_with("cannot read `a/orders.jsonl`: No such file"), "{error}");
    let error = Reader::open(&file(folder.path().to_owned()), None).unwrap_err();
    assert_eq!(error.to_string(), "cannot read `a/orders.jsonl`: is a directory");
}

#[test]
fn only_wanted_records_are_looked_at() {
    let check = |name: &str, bytes: &[u8], expect: &[(u64, u64, &str)]| {
        let fixture = fixture(name, bytes);
        let mut reader = Reader::open(&fixture.file, None).unwrap();
        let mut asked = Vec::new();
        let mut found = Vec::new();
        while let Some(raw) = reader
            .next_if(|ordinal| {
                asked.push(ordinal);
                ordinal % 2 == 1
            })
            .unwrap()
        {
            let (ordinal, line, body) = seen(raw);
            found.push((ordinal, line, body.unwrap()));
        }
        assert_eq!(asked, [0, 1, 2, 3]);
        let found: Vec<_> =
            found.iter().map(|(ordinal, line, body)| (*ordinal, *line, body.as_str())).collect();
        assert_eq!(found, expect, "{name}");
    };
    // What is passed over is bad, and an empty line is no record in either pass.
    check("a.jsonl", b"\xff\n\n{\"a\":1}\n\0\n{\"a\":2}", &[(1, 3, r#"{"a":1}"#), (3, 5, r#"{"a":2}"#)]);
    check("a.csv", b"a\n1,2\n\n3\n4,5\n6\n", &[(1, 4, r#"{"a":"3"}"#), (3, 6, r#"{"a":"6"}"#)]);
}
