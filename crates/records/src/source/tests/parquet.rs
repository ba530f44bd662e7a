use std::sync::Arc;

use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type,
    Int64Type, Int96, Int96Type,
};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::parser::parse_message_type;

use super::*;

/// Writes one row group with `write`.
fn file(schema: &str, write: impl Fn(&mut SerializedRowGroupWriter<'_, &mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, Arc::new(WriterProperties::new())).unwrap();
    for _ in 0..2 {
        let mut group = writer.next_row_group().unwrap();
        write(&mut group);
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>,
    values: &[T::T],
    definitions: Option<&[i16]>,
    repetitions: Option<&[i16]>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, definitions, repetitions).unwrap();
    column.close().unwrap();
}

#[test]
fn rows_of_all_groups_are_objects() {
    let bytes = file("message m { required int64 id; optional binary name (STRING); }", |group| {
        column::<Int64Type>(group, &[1, 2], None, None);
        column::<ByteArrayType>(group, &[ByteArray::from("é\"")], Some(&[1, 0]), None);
    });
    let (all, error) = read("a.parquet", &bytes, None);
    assert!(error.is_none());
    let one = r#"{"id":1,"name":"é\""}"#.to_owned();
    let two = r#"{"id":2,"name":null}"#.to_owned();
    assert_eq!(all, [(0, 0, Ok(one.clone())), (1, 0, Ok(two.clone())), (2, 0, Ok(one)), (3, 0, Ok(two))]);
}

#[test]
fn every_type_has_its_json() {
    let schema = "message m {
        required boolean flag; required int32 small (INTEGER(8,true)); required int64 large (INTEGER(64,false));
        required float single; required double double; required double infinite;
        required int32 day (DATE); required int32 price (DECIMAL(9,2)); required int64 milli (TIMESTAMP(MILLIS,true));
        required int64 local (TIMESTAMP(MICROS,false)); required int64 nano (TIMESTAMP(NANOS,true));
        required int64 at (TIME(MICROS,true)); required int96 old; required binary raw;
        required fixed_len_byte_array(3) fixed; required fixed_len_byte_array(16) uuid (UUID); required binary text (JSON);
        required group list (LIST) { repeated group list { required int64 element (TIMESTAMP(NANOS,true)); } }
        required group map (MAP) { repeated group key_value { required int32 key; required int32 value; } }
        optional group inner { required int32 x; }
    }";
    let bytes = file(schema, |group| {
        column::<BoolType>(group, &[true], None, None);
        column::<Int32Type>(group, &[-1], None, None);
        column::<Int64Type>(group, &[-1], None, None);
        column::<FloatType>(group, &[0.1], None, None);
        column::<DoubleType>(group, &[0.1], None, None);
        column::<DoubleType>(group, &[f64::INFINITY], None, None);
        column::<Int32Type>(group, &[-1], None, None);
        column::<Int32Type>(group, &[1230], None, None);
        column::<Int64Type>(group, &[1500], None, None);
        column::<Int64Type>(group, &[1], None, None);
        column::<Int64Type>(group, &[-1], None, None);
        column::<Int64Type>(group, &[3_600_000_001], None, None);
        column::<Int96Type>(group, &[Int96::from(vec![0, 0, 2_440_589])], None, None);
        column::<ByteArrayType>(group, &[ByteArray::from(vec![0xff, 0])], None, None);
        column::<FixedLenByteArrayType>(group, &[ByteArray::from("abc").into()], None, None);
        column::<FixedLenByteArrayType>(
            group,
            &[ByteArray::from((0..16).collect::<Vec<u8>>()).into()],
            None,
            None,
        );
        column::<ByteArrayType>(group, &[ByteArray::from("[1]")], None, None);
        column::<Int64Type>(group, &[0, 1], Some(&[1, 1]), Some(&[0, 1]));
        column::<Int32Type>(group, &[7], Some(&[1]), Some(&[0]));
        column::<Int32Type>(group, &[8], Some(&[1]), Some(&[0]));
        column::<Int32Type>(group, &[9], Some(&[1]), None);
    });
    let expect = concat!(
        r#"{"flag":true,"small":-1,"large":18446744073709551615,"single":0.1,"double":0.1,"infinite":null,"#,
        r#""day":"1969-12-31","price":"12.30","milli":"1970-01-01T00:00:01.5Z","local":"1970-01-01T00:00:00.000001","#,
        r#""nano":"1969-12-31T23:59:59.999999999Z","at":"01:00:00.000001","old":"1970-01-02T00:00:00Z","raw":"/wA=","#,
        r#""fixed":"YWJj","uuid":"00010203-0405-0607-0809-0a0b0c0d0e0f","text":"[1]","list":["1970-01-01T00:00:00Z","1970-01-01T00:00:00.000000001Z"],"#,
        r#""map":{"7":8},"inner":{"x":9}}"#
    );
    assert_eq!(records("a.parquet", &bytes)[0].1, expect);
}

#[test]
fn a_value_without_a_form_is_a_bad_record() {
    let bytes = file(
        "message m { required int64 at (TIMESTAMP(MILLIS,true)); required int32 day (DATE); }",
        |group| {
            column::<Int64Type>(group, &[i64::MAX, 0, 0], None, None);
            column::<Int32Type>(group, &[0, i32::MAX, 0], None, None);
        },
    );
    let (all, error) = read("a.parquet", &bytes, None);
    assert!(error.is_none());
    let bad = |text: &str| Err((BadClass::Value, text.to_owned()));
    assert_eq!(all[0].2, bad("`at` holds a moment outside of the years -9999 to 9999"));
    assert_eq!(all[1].2, bad("`day` holds a date outside of the years -9999 to 9999"));
    assert_eq!(all[2].2, Ok(r#"{"at":"1970-01-01T00:00:00Z","day":"1970-01-01"}"#.to_owned()));
}

#[test]
fn what_is_no_parquet_file_is_an_error() {
    for bytes in [&b""[..], b"{\"a\":1}\n", b"PAR1PAR1", b"id,name\n1,x\n"] {
        let (text, help) = error("a.parquet", bytes);
        assert!(text.starts_with("`a.parquet` cannot be read as Parquet: "), "{text}");
        assert!(help.unwrap().contains("`format = \"jsonl\"`"));
    }
}

#[test]
fn a_type_without_a_form_is_an_error() {
    let bytes = file("message m { required fixed_len_byte_array(12) span (INTERVAL); }", |group| {
        column::<FixedLenByteArrayType>(group, &[ByteArray::from(vec![0; 12]).into()], None, None);
    });
    assert_eq!(
        error("a.parquet", &bytes).0,
        "the column `span` of `a.parquet` holds intervals, which have no form in JSON"
    );
}

/// Whatever byte of a file is wrong: an error or other values, never a panic.
#[test]
fn a_damaged_file_is_an_error_or_other_values() {
    let bytes = file("message m { required int64 id; optional binary name (STRING); }", |group| {
        column::<Int64Type>(group, &[1, 2, 3], None, None);
        column::<ByteArrayType>(group, &[ByteArray::from("abc")], Some(&[1, 0, 0]), None);
    });
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;
        let _ = read("a.parquet", &damaged, None);
    }
}
