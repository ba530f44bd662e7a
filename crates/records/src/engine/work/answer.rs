//! What goes to a worker and what comes back.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// An answer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// What is to be delivered.
    Records(Vec<Bytes>),
    /// It leads to nothing.
    Drop,
    /// It failed.
    Error {
        /// What the worker says.
        error: String,
        /// Whether another try may succeed.
        retry: bool,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: &'a RawValue,
    #[serde(borrow, default)]
    record: Option<&'a RawValue>,
    #[serde(borrow, default)]
    records: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    drop: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    retry: Option<bool>,
}

/// Returns the line that asks a worker about a record.
pub(super) fn request(key: &str, attempt: u32, record: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(record.len() + key.len() + 40);
    line.extend_from_slice(b"{\"key\":");
    line.extend_from_slice(key.as_bytes());
    line.extend_from_slice(format!(",\"attempt\":{attempt},\"record\":").as_bytes());
    line.extend_from_slice(record);
    line.extend_from_slice(b"}\n");
    line
}

/// Reads a line of a worker: the key in canonical form, and the answer.
pub(super) fn read(line: &[u8]) -> Result<(String, Answer), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let read: Line<'_> = serde_json::from_str(text).map_err(|error| format!("it is no answer: {error}"))?;
    let Line { key, record, records, drop, error, retry } = read;
    let key = canonical_key(key.get())?;
    let said = [record.is_some(), records.is_some(), drop, error.is_some()];
    if said.iter().filter(|said| **said).count() != 1 {
        return Err("it must have one of `record`, `records`, `drop` and `error`".to_owned());
    }
    let object = |value: &RawValue| {
        let is_object = value.get().starts_with('{');
        let bytes = one_line(value.get());
        if is_object { Ok(bytes) } else { Err("a record must be an object".to_owned()) }
    };
    let answer = if let Some(record) = record {
        Answer::Records(vec![object(record)?])
    } else if let Some(records) = records {
        Answer::Records(records.into_iter().map(object).collect::<Result<_, _>>()?)
    } else if let Some(error) = error {
        Answer::Error { error, retry: retry.unwrap_or(true) }
    } else {
        Answer::Drop
    };
    Ok((key, answer))
}

/// Returns whether a text without a line end is the beginning of an answer: whoever wrote it ended in the middle.
pub(super) fn is_cut_off(text: &[u8]) -> bool {
    let ends_early = |text: &str| serde_json::from_str::<Line<'_>>(text).is_err_and(|error| error.is_eof());
    match std::str::from_utf8(text) {
        // A number that ends in its sign, point or exponent is no beginning to the parser before a digit follows.
        Ok(text) => ends_early(text) || ends_early(&format!("{text}0")),
        Err(error) => error.error_len().is_none() && is_cut_off(&text[..error.valid_up_to()]),
    }
}

/// A line holds no line break; a carriage return in a worker's own layout would look like one.
fn one_line(json: &str) -> Bytes {
    if json.contains('\r') {
        let cleaned: String = json.chars().map(|c| if c == '\r' { ' ' } else { c }).collect();
        return Bytes::from(cleaned);
    }
    Bytes::copy_from_slice(json.as_bytes())
}

/// Returns a key as it is compared: workers may write a text with other escapes than it was sent with.
pub(super) fn canonical_key(json: &str) -> Result<String, String> {
    let wrong = |_| "its `key` is not one that was sent".to_owned();
    if json.trim_start().starts_with('[') {
        let parts: Vec<&RawValue> = serde_json::from_str(json).map_err(wrong)?;
        let parts: Result<Vec<String>, String> = parts.iter().map(|part| canonical_key(part.get())).collect();
        return Ok(format!("[{}]", parts?.join(",")));
    }
    crate::fields::canonical(json.trim()).ok_or_else(|| "its `key` is not one that was sent".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_each_kind() {
        let good = |line: &str| read(line.as_bytes()).unwrap();
        let records = |all: &[&str]| {
            Answer::Records(all.iter().map(|record| Bytes::copy_from_slice(record.as_bytes())).collect())
        };
        assert_eq!(good(r#"{"key": "a", "record": {"x": 1}}"#), ("\"a\"".into(), records(&[r#"{"x": 1}"#])));
        assert_eq!(good(r#"{"key":1,"records":[{},{"y":2}]}"#), ("1".into(), records(&["{}", r#"{"y":2}"#])));
        assert_eq!(good(r#"{"key": ["a", 1.0], "drop": true}"#), (r#"["a",1]"#.into(), Answer::Drop));
        let error = |retry| Answer::Error { error: "no".into(), retry };
        assert_eq!(good(r#"{"key":1,"error":"no"}"#).1, error(true));
        assert_eq!(good(r#"{"key":1,"error":"no","retry":false}"#).1, error(false));
        // What Python writes for a text that is not ASCII.
        assert_eq!(good(r#"{"key":"\u00e9","drop":true}"#).0, "\"é\"");
    }

    #[test]
    fn what_is_no_answer() {
        for (line, said) in [
            ("hello", "no answer"),
            (r#"{"record":{}}"#, "missing field `key`"),
            (r#"{"key":1}"#, "one of"),
            (r#"{"key":1,"drop":true,"record":{}}"#, "one of"),
            (r#"{"key":1,"record":[1]}"#, "an object"),
            (r#"{"key":1,"recrod":{}}"#, "unknown field"),
            ("{\"key\":1,\"error\":\"\u{0}\"}", "no answer"),
        ] {
            let error = read(line.as_bytes()).unwrap_err();
            assert!(error.contains(said), "{line}: {error}");
        }
        assert!(read(b"\xff").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn what_is_the_beginning_of_an_answer() {
        let whole = r#"{"key": ["é", -1.5e-7], "record": {"x": true}}"#.as_bytes();
        assert!((0..whole.len()).all(|length| is_cut_off(&whole[..length])));
        for other in [
            whole,
            b"hello",
            b"{\"recrod\": ",
            b"{\"key\": \"\xff",
            b"{\"key\": \"\xff\xc3",
            b"{\"key\": 1} x",
        ] {
            assert!(!is_cut_off(other), "{}", other.escape_ascii());
        }
    }
}
