//! Keys in canonical form.

use std::fmt::Write;

use cairn_model::FieldPath;

use super::walk::Wanted;
use super::{KEY, short_digest};
use crate::order::OrderBytes;
use crate::order::decimal::Decimal;

/// Why a value cannot be a part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyFault {
    Missing,
    Null,
    Array,
    Object,
    /// An escape in a text that stands for no character.
    NoText,
}

/// Appends a value, as it is written in a record, in the one form of its kind.
pub(super) fn write_canonical(value: Option<&str>, out: &mut Vec<u8>) -> Result<(), KeyFault> {
    let value = value.ok_or(KeyFault::Missing)?;
    let bytes = value.as_bytes();
    match bytes.first() {
        Some(b'"') if memchr::memchr(b'\\', bytes).is_some() => {
            let text: String = serde_json::from_str(value).map_err(|_| KeyFault::NoText)?;
            serde_json::to_writer(out, &text).expect("a text is JSON");
        }
        Some(b'{') => return Err(KeyFault::Object),
        Some(b'[') => return Err(KeyFault::Array),
        Some(b'n') => return Err(KeyFault::Null),
        Some(b'-' | b'0'..=b'9') if value != "-0" && bytes[1..].iter().all(u8::is_ascii_digit) => {
            out.extend_from_slice(bytes);
        }
        Some(b'-' | b'0'..=b'9') => match Decimal::parse(bytes) {
            Some(number) => number.write_json(out),
            None => out.extend_from_slice(bytes),
        },
        // A text without escapes has no other form; nor have true and false.
        _ => out.extend_from_slice(bytes),
    }
    Ok(())
}

/// Returns a JSON value in the one form of its kind, `None` for one that cannot be a part of a key.
pub(crate) fn canonical(json: &str) -> Option<String> {
    let mut out = Vec::new();
    write_canonical(Some(json), &mut out).ok()?;
    String::from_utf8(out).ok()
}

/// Returns the key of a record as JSON: an array of its fields' values, of one field alone the value; without key fields
/// the digest in hex, as a text.
pub(crate) fn key_json(json: &[u8], key: &[FieldPath]) -> String {
    if key.is_empty() {
        return format!("\"{}\"", key_text(json, key));
    }
    let canonical = canonical_array(json, key);
    if key.len() > 1 { canonical } else { canonical[1..canonical.len() - 1].to_owned() }
}

fn canonical_array(json: &[u8], key: &[FieldPath]) -> String {
    let mut wanted = Wanted::new(&key.iter().collect::<Vec<_>>());
    let found = wanted.find(json).ok();
    let mut out = Vec::new();
    for slot in 0..key.len() {
        let value = found.and_then(|text| wanted.value(slot, text));
        out.push(if slot == 0 { b'[' } else { b',' });
        if write_canonical(value, &mut out).is_err() {
            out.extend_from_slice(b"null");
        }
    }
    out.push(b']');
    String::from_utf8(out).expect("it was put together from texts")
}

/// Makes bytes that sort as keys do: numbers by their value, texts as bytes, one field after the other.
pub(crate) struct SortKey {
    wanted: Wanted,
    fields: usize,
}

impl SortKey {
    pub(crate) fn new(key: &[FieldPath]) -> Self {
        Self { wanted: Wanted::new(&key.iter().collect::<Vec<_>>()), fields: key.len() }
    }

    /// Returns the bytes of a record; what has no place in the order comes first.
    pub(crate) fn of(&mut self, json: &[u8]) -> Vec<u8> {
        let Ok(text) = self.wanted.find(json) else { return Vec::new() };
        let mut bytes = Vec::with_capacity(24);
        for slot in 0..self.fields {
            let order = self.wanted.value(slot, text).map(|value| OrderBytes::of_json(value, false));
            if let Some(Ok(order)) = order {
                bytes.extend_from_slice(order.as_bytes());
            }
            bytes.push(0);
        }
        bytes
    }
}

/// Returns the key of a record for people and ledgers: `["a",1]`; of one field alone its plain value, `a`, the empty text
/// as `""`, for it is a key and nothing is none; without key fields the digest in hex. What a record lacks is shown as `null`.
pub fn key_text(json: &[u8], key: &[FieldPath]) -> String {
    if key.is_empty() {
        return short_digest(&KEY, json).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
    }
    let canonical = canonical_array(json, key);
    if key.len() > 1 {
        return canonical;
    }
    let value = &canonical[1..canonical.len() - 1];
    match serde_json::from_str::<String>(value) {
        Ok(text) if !text.is_empty() => text,
        _ => value.to_owned(),
    }
}
