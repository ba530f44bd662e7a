use std::fs;

use cairn_model::ProjectPath;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::source::{BadClass, Reader, SourceFile};

fn columns(declared: &[(&str, &str)]) -> BTreeMap<String, String> {
    declared.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
}

/// Writes records, of which those that do not fit give their error and its help.
fn write(format: Format, declared: &[(&str, &str)], records: &[&str]) -> (Vec<u8>, Vec<(String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let mut writer = FileWriter::create(&path, format, &columns(declared)).unwrap();
    let mut refused = Vec::new();
    for record in records {
        match writer.write(record.as_bytes()) {
            Ok(()) => {}
            Err(WriteError::Record(bad)) => refused.push((bad.error, bad.help.unwrap_or_default())),
            Err(error) => panic!("{error}"),
        }
    }
    drop(writer.finish().unwrap());
    (fs::read(path).unwrap(), refused)
}

fn written(format: Format, declared: &[(&str, &str)], records: &[&str]) -> String {
    let (bytes, refused) = write(format, declared, records);
    assert_eq!(refused, []);
    String::from_utf8(bytes).unwrap()
}

fn read_back(bytes: &[u8]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("in");
    fs::write(&disk, bytes).unwrap();
    let file = SourceFile { path: ProjectPath::parse("in.parquet").unwrap(), disk };
    let mut reader = Reader::open(&file, None).unwrap();
    let mut records = Vec::new();
    while let Some(raw) = reader.next().unwrap() {
        records.push(String::from_utf8(raw.body.unwrap().to_vec()).unwrap());
    }
    records
}

/// Writes a Parquet file of records that all fit and reads it.
fn through_parquet(declared: &[(&str, &str)], records: &[&str]) -> Vec<String> {
    let (bytes, refused) = write(Format::Parquet, declared, records);
    assert_eq!(refused, []);
    read_back(&bytes)
}

#[test]
fn lines_are_the_bytes_of_the_records() {
    let check = |records: &[&str], expect: &str| {
        assert_eq!(written(Format::Jsonl, &[], records), expect);
    };
    check(&[], "");
    check(&[r#"{"b": 1.0,"a":"\u0061"}"#, "{}"], "{\"b\": 1.0,\"a\":\"\\u0061\"}\n{}\n");
    check(&["{\n\"a\":\n1}"], "{ \"a\": 1}\n");
}

#[test]
fn csv_has_the_columns_of_the_first_record_in_their_order() {
    let check = |records: &[&str], expect: &str| {
        assert_eq!(written(Format::Csv, &[], records), expect);
    };
    check(&[], "");
    check(&[r#"{"b":1.50,"a":"x"}"#, r#"{"a":"y"}"#, r#"{"a":null,"b":true}"#], "b,a\n1.50,x\n,y\ntrue,\n");
    check(&[r#"{"a":"x, \"y\"\n","b":{"c":[1, 2]}}"#], "a,b\n\"x, \"\"y\"\"\n\",\"{\"\"c\"\":[1, 2]}\"\n");
    check(&[r#"{"a":1,"a":2}"#], "a\n2\n");
    check(&[r#"{"a":null}"#], "a\n\"\"\n");
}

#[test]
fn csv_has_the_declared_columns() {
    let declared = [("b", "string"), ("a", "integer")];
    assert_eq!(written(Format::Csv, &declared, &[]), "a,b\n");
    assert_eq!(written(Format::Csv, &declared, &[r#"{"b":1}"#]), "a,b\n,1\n");
}

#[test]
fn a_field_without_a_column_is_refused_and_nothing_of_its_record_written() {
    for format in [Format::Csv, Format::Parquet] {
        let declared = [("a", "integer"), ("b", "integer")];
        let (bytes, refused) = write(format, &declared, &[r#"{"a":1}"#, r#"{"a":2,"é x":3}"#, r#"{"a":4}"#]);
        assert_eq!(
            refused,
            [(
                "field `é x` is no column of the file".to_owned(),
                "add it to the columns: `columns = { …, \"é x\" = \"string\" }`".to_owned()
            )]
        );
        if format == Format::Csv {
            assert_eq!(bytes, b"a,b\n1,\n4,\n");
        } else {
            assert_eq!(read_back(&bytes), [r#"{"a":1,"b":null}"#, r#"{"a":4,"b":null}"#]);
        }
    }
    let (bytes, refused) =
        write(Format::Csv, &[], &["{}", r#"{"a":1}"#, r#"{"b":2}"#, "[]", r#"{"a":"\u0000"}"#]);
    let errors: Vec<_> = refused.iter().map(|(error, _)| error.as_str()).collect();
    assert_eq!(
        errors[..2],
        ["the first record has no fields to name columns by", "field `b` is no column of the file"]
    );
    assert!(errors[2].starts_with("the record is not one JSON object: "), "{}", errors[2]);
    assert_eq!(errors[3], "field `a` holds a NUL, which a CSV file cannot");
    assert!(refused[1].1.ends_with("declare them all: `columns = { a = \"string\", …, b = \"string\" }`"));
    assert_eq!(bytes, b"a\n1\n");
}

#[test]
fn parquet_types_are_the_narrowest_that_fit() {
    let found = through_parquet(
        &[],
        &[
            r#"{"s":"x","i":1,"f":1,"b":true,"m":1,"n":null,"o":{"x": [1]},"g":18446744073709551616}"#,
            r#"{"i":-2,"f":0.5,"m":"y","late":"z"}"#,
        ],
    );
    let one = concat!(
        r#"{"s":"x","i":1,"f":1.0,"b":true,"m":"1","n":null,"o":"{\"x\": [1]}","g":"18446744073709551616","#,
        r#""late":null}"#
    );
    let two = r#"{"s":null,"i":-2,"f":0.5,"b":null,"m":"\"y\"","n":null,"o":null,"g":null,"late":"z"}"#;
    assert_eq!(found, [one, two]);
}

#[test]
fn parquet_types_can_be_declared() {
    let declared = [
        ("t", "timestamp"),
        ("i", "integer"),
        ("f", "float"),
        ("b", "boolean"),
        ("s", "string"),
        ("j", "json"),
    ];
    let found = through_parquet(
        &declared,
        &[
            r#"{"t":"2026-01-31T12:00:00.5+02:00","i":1e2,"f":1,"b":false,"s":"\u0061","j":[1]}"#,
            r#"{"t":"1969-12-31"}"#,
        ],
    );
    assert_eq!(
        found,
        [
            r#"{"b":false,"f":1.0,"i":100,"j":"[1]","s":"a","t":"2026-01-31T10:00:00.5Z"}"#,
            r#"{"b":null,"f":null,"i":null,"j":null,"s":null,"t":"1969-12-31T00:00:00Z"}"#,
        ]
    );
}

#[test]
fn a_value_that_does_not_fit_is_refused_with_its_mend() {
    let check = |kind: &str, value: &str| {
        let (bytes, refused) = write(
            Format::Parquet,
            &[("a", kind), ("b", "string")],
            &[r#"{"b":"before"}"#, &format!(r#"{{"b":"x","a":{value}}}"#), r#"{"b":"after"}"#],
        );
        assert_eq!(refused.len(), 1, "{kind} {value}");
        assert!(
            refused[0].0.starts_with("field `a` does not fit its column, which holds "),
            "{}",
            refused[0].0
        );
        assert!(refused[0].1.contains("`columns = { a = \"json\", … }`"));
        assert_eq!(read_back(&bytes).len(), 2);
    };
    check("integer", "0.5");
    check("integer", "9223372036854775808");
    check("integer", "\"1\"");
    check("float", "1e999");
    check("float", "true");
    check("boolean", "1");
    check("string", "1");
    check("string", r#""\ud800""#);
    check("timestamp", "\"soon\"");
    check("timestamp", "\"2026-01-01T00:00:00.000000001Z\"");
    check("timestamp", "1");
}

#[test]
fn after_the_first_ten_thousand_the_types_stand() {
    let first: Vec<String> = (0..10_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let mut records: Vec<&str> = first.iter().map(String::as_str).collect();
    records.extend([r#"{"n":"text"}"#, r#"{"m":1}"#, r#"{"n":10000}"#]);
    let (bytes, refused) = write(Format::Parquet, &[], &records);
    assert_eq!(refused.len(), 2);
    let found = read_back(&bytes);
    assert_eq!(found.len(), 10_001);
    assert_eq!(found.last().unwrap(), r#"{"n":10000}"#);
}

#[test]
fn row_groups_end_and_all_rows_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let mut writer = FileWriter::create(&path, Format::Parquet, &columns(&[("n", "integer")])).unwrap();
    let count = (1 << 17) + 5;
    for n in 0..count {
        writer.write(format!("{{\"n\":{n}}}").as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    let found = read_back(&fs::read(path).unwrap());
    assert_eq!(found.len(), count);
    assert_eq!(found.last().unwrap(), &format!("{{\"n\":{}}}", count - 1));
}

#[test]
fn no_columns_and_unknown_types_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let error = FileWriter::create(&path, Format::Parquet, &columns(&[("a", "text")])).unwrap_err();
    assert!(error.to_string().ends_with("is declared as `text`, which is no type"), "{error}");
    assert!(error.help().unwrap().contains("`timestamp`"));
    assert!(!path.exists());
    let mut writer = FileWriter::create(&path, Format::Parquet, &columns(&[])).unwrap();
    writer.write(b"{}").unwrap();
    let error = writer.finish().unwrap_err();
    assert!(error.help().unwrap().contains("`columns = { id = \"string\" }`"));
    let writer = FileWriter::create(&path, Format::Parquet, &columns(&[])).unwrap();
    writer.finish().unwrap();
    assert_eq!(read_back(&fs::read(&path).unwrap()), Vec::<String>::new());
}

#[test]
fn a_bad_record_has_a_class() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = FileWriter::create(&folder.path().join("out"), Format::Parquet, &columns(&[])).unwrap();
    let WriteError::Record(bad) = writer.write(b"[1]").unwrap_err() else { panic!("it is the record's") };
    assert_eq!(bad.class, BadClass::Json);
    let WriteError::Record(bad) = writer.write(br#"{"a":"\ud800"}"#).unwrap_err() else {
        panic!("it is the record's")
    };
    assert_eq!(
        (bad.class, bad.error.as_str()),
        (BadClass::Value, "field `a` holds an escape that stands for no character")
    );
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_with_its_path() {
    let error = FileWriter::create(Path::new("/dev/null/x"), Format::Jsonl, &columns(&[])).unwrap_err();
    assert!(error.to_string().starts_with("cannot write `/dev/null/x`: "), "{error}");
    for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
        let mut writer =
            FileWriter::create(Path::new("/dev/full"), format, &columns(&[("a", "string")])).unwrap();
        let mut written = Ok(());
        for _ in 0..10 {
            written = written.and_then(|()| writer.write(br#"{"a":"x"}"#));
        }
        let error = written.and_then(|()| writer.finish().map(drop)).unwrap_err();
        assert!(error.to_string().starts_with("cannot write `/dev/full`: No space left"), "{error}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[ -~é]{0,8}".prop_map(Value::from),
        Just(serde_json::json!([1, { "x": null }])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The bytes are a function of the records; and whatever they hold, all come back.
    #[test]
    fn equal_records_are_equal_bytes(
        records in proptest::collection::vec(proptest::collection::btree_map("[a-c]", value(), 1..4), 1..20)
    ) {
        let texts: Vec<String> = records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        for format in [Format::Jsonl, Format::Csv, Format::Parquet] {
            prop_assert_eq!(write(format, &[], &texts), write(format, &[], &texts));
        }
        let found = through_parquet(&[], &texts);
        prop_assert_eq!(found.len(), records.len());
        for (found, record) in found.iter().zip(&records) {
            let found: BTreeMap<String, Value> = serde_json::from_str(found).unwrap();
            for (name, value) in record {
                // A column of mixed types has JSON texts.
                let as_json = Value::from(serde_json::to_string(value).unwrap());
                prop_assert!(found[name] == *value || found[name] == as_json, "{} {:?}", name, value);
            }
        }
    }
}
