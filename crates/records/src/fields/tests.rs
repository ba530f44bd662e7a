use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::BadClass;

fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

fn paths(texts: &[&str]) -> Vec<FieldPath> {
    texts.iter().map(|text| path(text)).collect()
}

fn extract(key: &[&str], json: &str) -> Result<Extracted, BadRecord> {
    Extractor::new(&paths(key), None, None).extract(json.as_bytes())
}

fn expected_key(canonical: &str) -> ShortDigest {
    blake3::derive_key("cairn v1 record-key", canonical.as_bytes())[..16].try_into().unwrap()
}

#[test]
fn the_key_is_the_digest_of_its_canonical_array() {
    let check = |key: &[&str], json: &str, canonical: &str| {
        assert_eq!(extract(key, json).unwrap().key, expected_key(canonical), "{json}");
    };
    check(&["a"], r#"{"a":"x"}"#, r#"["x"]"#);
    check(&["a", "b"], r#" { "b" : 1 , "a" : "x" } "#, r#"["x",1]"#);
    check(&["b", "a"], r#"{"b":1,"a":"x"}"#, r#"[1,"x"]"#);
    check(&["a"], r#"{"a":"\u0061\/\u00e9\n"}"#, r#"["a/é\n"]"#);
    check(&["a"], r#"{"\u0061":true}"#, "[true]");
    check(&["a.b", "a.c.d"], r#"{"a":{"c":{"d":2},"b":1}}"#, "[1,2]");
    check(&["a", "a"], r#"{"a":1}"#, "[1,1]");
    check(&["a"], r#"{"a":123456789012345678901234567890}"#, "[123456789012345678901234567890]");
    check(&["a"], r#"{"a":1e9999999999}"#, "[1e9999999999]");
    check(&[], r#"{"a":1}"#, r#"{"a":1}"#);
}

#[test]
fn equal_numbers_are_one_key_and_no_text_is_a_number() {
    let key = |value: &str| extract(&["a"], &format!("{{\"a\":{value}}}")).unwrap().key;
    for same in ["1.0", "1e0", "10E-1", "1.000"] {
        assert_eq!(key(same), key("1"), "{same}");
    }
    assert_eq!(key("-0"), key("0"));
    assert_ne!(key("1"), key("\"1\""));
    assert_ne!(key("true"), key("\"true\""));
    assert_ne!(key("9007199254740993"), key("9007199254740992"));
    assert_ne!(key("18446744073709551616"), key("18446744073709551617"));
}

#[test]
fn of_equal_names_the_last_counts() {
    let check = |key: &str, json: &str, canonical: &str| {
        assert_eq!(extract(&[key], json).unwrap().key, expected_key(canonical), "{json}");
    };
    check("a", r#"{"a":1,"a":2}"#, "[2]");
    check("a.b", r#"{"a":{"b":1},"a":{"b":2}}"#, "[2]");
    let bad = extract(&["a.b"], r#"{"a":{"b":1},"a":{"c":2}}"#).unwrap_err();
    assert_eq!(bad.error, "field `a.b` of the key is missing");
    extract(&["a.b"], r#"{"a":{"b":1},"a":5}"#).unwrap_err();
}

#[test]
fn the_digest_is_of_the_bytes_as_they_stand() {
    let digest = |json: &str| extract(&["a"], json).unwrap().digest;
    let expect: ShortDigest = blake3::derive_key("cairn v1 record", br#"{"a":1}"#)[..16].try_into().unwrap();
    assert_eq!(digest(r#"{"a":1}"#), expect);
    assert_eq!(record_digest(br#"{"a":1}"#), expect);
    assert_ne!(digest(r#"{"a": 1}"#), expect);
}

#[test]
fn a_record_without_its_key_says_what_it_has() {
    let check = |key: &str, json: &str, error: &str, help: &str| {
        let bad = extract(&[key], json).unwrap_err();
        assert_eq!((bad.class, bad.error.as_str()), (BadClass::Key, error));
        assert_eq!(bad.help.as_deref(), Some(help));
        assert_eq!(bad.excerpt, json.as_bytes());
    };
    check(
        "order_id",
        r#"{"orderid":1,"total":2}"#,
        "field `order_id` of the key is missing",
        "the record has `orderid`, `total` (did you mean `orderid`?); name a field in `key` that every record has",
    );
    check(
        "customer.id",
        r#"{"customer":{"name":"x","ident":2}}"#,
        "field `customer.id` of the key is missing",
        "`customer` has `name`, `ident` (did you mean `customer.ident`?); name a field in `key` that every record has",
    );
    check(
        "a.b",
        r#"{"a":1}"#,
        "field `a.b` of the key is missing",
        "`a` is no object; name a field in `key` that every record has",
    );
    check(
        "a",
        "{}",
        "field `a` of the key is missing",
        "the record has no fields; name a field in `key` that every record has",
    );
    check(
        "a",
        r#"{"a":null}"#,
        "field `a` of the key is null",
        "give every record a `a`, or name other fields in `key`",
    );
    check(
        "a",
        r#"{"a":[1]}"#,
        "field `a` of the key is an array",
        "name fields in `key` that hold texts, numbers or booleans",
    );
    check(
        "a",
        r#"{"a":{"id":1}}"#,
        "field `a` of the key is an object",
        "name fields within it in `key`, as `a.id`, that hold texts, numbers or booleans",
    );
    let many: Vec<String> = (0..20).map(|n| format!("\"f{n}\":{n}")).collect();
    let bad = extract(&["zzz"], &format!("{{{}}}", many.join(","))).unwrap_err();
    assert!(bad.help.unwrap().contains("`f11` and 8 more;"));
}

#[test]
fn what_is_not_one_object_is_refused_whole() {
    let check = |json: &[u8], error: &str| {
        let bad = Extractor::new(&[], None, None).extract(json).unwrap_err();
        assert_eq!(bad.error, error, "{}", json.escape_ascii());
        assert!(bad.help.is_some() || bad.class == BadClass::Encoding);
    };
    let not = "the record is not one JSON object:";
    check(b"1", &format!("{not} invalid type: integer `1`, expected one JSON object near byte 1"));
    check(b"[{}]", &format!("{not} invalid type: sequence, expected one JSON object"));
    check(b"{} {}", &format!("{not} trailing characters near byte 4"));
    check(b"{\"a\":1", &format!("{not} EOF while parsing an object near byte 6"));
    check(b"{\"a\":[1,}", &format!("{not} expected value near byte 9"));
    check(b"{\"a\":01}", &format!("{not} invalid number near byte 7"));
    check(b"{'a':1}", &format!("{not} key must be a string near byte 2"));
    check(
        b"{\"a\":\"\x01\"}",
        &format!("{not} control character (\\u0000-\\u001F) found while parsing a string near byte 6"),
    );
    check(b"", &format!("{not} EOF while parsing a value"));
    check(b"{\"b\":\"\xff\"}", "byte 7 of the record is not UTF-8");
    // Deep nesting costs no stack.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    Extractor::new(&[], None, None).extract(deep.as_bytes()).unwrap();
}

#[test]
fn versions_order_or_are_refused() {
    let version = path("v");
    let mut extractor = Extractor::new(&paths(&["a"]), Some(&version), None);
    let mut order = |json: &str| extractor.extract(json.as_bytes()).map(|found| found.version.unwrap());
    let earlier = order(r#"{"a":1,"v":"2026-01-01T00:00:00+01:00"}"#).unwrap();
    assert!(earlier < order(r#"{"a":1,"v":"2026-01-01T00:00:00Z"}"#).unwrap());
    assert_eq!(earlier, order(r#"{"a":1,"v":"2025-12-31T23:00:00Z"}"#).unwrap());
    let mut check = |json: &str, error: &str| {
        let bad = order(json).unwrap_err();
        assert_eq!((bad.class, bad.error.as_str()), (BadClass::Version, error));
        assert!(bad.help.is_some());
    };
    check(r#"{"a":1}"#, "field `v`, the version, is missing");
    check(r#"{"a":1,"v":null}"#, "field `v`, the version, is null");
    check(r#"{"a":1,"v":{}}"#, "field `v`, the version, is an object, neither a number nor a text");
}

#[test]
fn a_tombstone_is_what_is_neither_false_null_0_nor_empty() {
    let tombstone = path("gone");
    let is = |untyped: bool, value: &str| {
        let mut extractor = Extractor::new(&[], None, Some(&tombstone)).untyped(untyped);
        extractor.extract(format!("{{\"gone\":{value}}}").as_bytes()).unwrap().tombstone
    };
    for value in ["false", "null", "0", "-0.0e5", "\"\"", "[ ]", "{}"] {
        assert!(!is(false, value), "{value}");
    }
    for value in ["true", "1", "0.1", "1e0", "\"0\"", "\"false\"", "[0]", "{\"a\":1}"] {
        assert!(is(false, value), "{value}");
    }
    for value in ["\"0\"", "\"false\"", "\"FALSE\"", "\"null\"", "\" \"", "\"\""] {
        assert!(!is(true, value), "{value} without types");
    }
    assert!(is(true, "\"1\""));
    let mut extractor = Extractor::new(&[], None, Some(&tombstone));
    assert!(!extractor.extract(b"{}").unwrap().tombstone);
}

#[test]
fn the_key_is_shown_plainly() {
    let check = |key: &[&str], json: &str, expect: &str| {
        assert_eq!(key_text(json.as_bytes(), &paths(key)), expect);
    };
    check(&["a", "b"], r#"{"a":"x\u0079","b":1.0}"#, r#"["xy",1]"#);
    check(&["a"], r#"{"a":"x\"y"}"#, "x\"y");
    check(&["a"], r#"{"a":1.50}"#, "1.5");
    check(&["a"], "{}", "null");
    check(&["a", "b"], "no JSON", "[null,null]");
    let hex = key_text(b"{}", &[]);
    assert_eq!(hex.len(), 32);
    assert!(hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

proptest! {
    /// A slow oracle that has serde_json's own map agrees, however the record is spaced and whatever else it holds.
    #[test]
    fn keys_are_what_an_oracle_says(
        a in scalar(), b in scalar(), other in scalar(), names in proptest::collection::vec("[a-d]", 0..4), pretty: bool,
    ) {
        let mut object = json!({ "x": { "a": a }, "b": b });
        for name in names {
            object.as_object_mut().unwrap().entry(name).or_insert(json!([other, { "a": other }]));
        }
        let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) }.unwrap();
        let found = extract(&["x.a", "b"], &text).unwrap();
        let canonical = serde_json::to_string(&json!([object["x"]["a"], object["b"]])).unwrap();
        prop_assert_eq!(found.key, expected_key(&canonical));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[{}\\[\\]\":,a0-9.eE\\\\u -]{0,40}") {
        let version = path("a");
        let mut extractor = Extractor::new(&paths(&["a.a", "a"]), Some(&version), Some(&version));
        let _ = extractor.extract(&bytes);
        let _ = extractor.extract(text.as_bytes());
    }
}
