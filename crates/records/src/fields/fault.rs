//! What is wrong with a record, for people: the field, the fields that there are, what to do.

use cairn_model::FieldPath;

use super::key::KeyFault;
use crate::object::each_field;
use crate::order::OrderError;
use crate::source::{BadClass, BadRecord};

/// Names that are listed at most.
const SHOWN: usize = 12;

pub(super) fn json(error: &serde_json::Error, record: &[u8]) -> BadRecord {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    // The parser points at the byte it read or at the one before; column 0 is where it had none.
    let error = match error.column() {
        0 => format!("the record is not one JSON object: {what}"),
        column => format!("the record is not one JSON object: {what} near byte {column}"),
    };
    let bad = BadRecord::new(BadClass::Json, error, record);
    if record.trim_ascii_start().starts_with(b"[") {
        return bad.help("write one object a line; `jq -c '.[]'` takes an array apart");
    }
    bad.help("write one whole object a line; `jq -c .` does it")
}

pub(super) fn key(field: &FieldPath, fault: KeyFault, record: &[u8]) -> BadRecord {
    let what = match fault {
        KeyFault::Missing => "is missing",
        KeyFault::Null => "is null",
        KeyFault::Array => "is an array",
        KeyFault::Object => "is an object",
        KeyFault::NoText => "holds an escape that stands for no character",
    };
    let bad = BadRecord::new(BadClass::Key, format!("field `{field}` of the key {what}"), record);
    match fault {
        KeyFault::Missing => {
            bad.help(format!("{}; name a field in `key` that every record has", fields(field, record)))
        }
        KeyFault::Null | KeyFault::NoText => {
            bad.help(format!("give every record a `{field}`, or name other fields in `key`"))
        }
        KeyFault::Array => bad.help("name fields in `key` that hold texts, numbers or booleans"),
        KeyFault::Object => bad.help(format!(
            "name fields within it in `key`, as `{field}.id`, that hold texts, numbers or booleans"
        )),
    }
}

pub(super) fn no_version(field: &FieldPath, record: &[u8]) -> BadRecord {
    BadRecord::new(BadClass::Version, format!("field `{field}`, the version, is missing"), record)
        .help(format!("{}; name a field in `version` that every record has", fields(field, record)))
}

pub(super) fn version(field: &FieldPath, error: OrderError, record: &[u8]) -> BadRecord {
    BadRecord::new(BadClass::Version, format!("field `{field}`, the version, {error}"), record)
        .help("name a field in `version` that holds a number, an RFC 3339 timestamp or a short text in every record")
}

/// Says which fields there are where `wanted` should be, and which one looks like it.
fn fields(wanted: &FieldPath, record: &[u8]) -> String {
    let mut value = record;
    let mut path = String::new();
    for name in &wanted.0 {
        let mut names = Vec::new();
        let mut within = None;
        let walked = each_field(value, |field, value| {
            if field == name.as_str() {
                within = Some(value.as_bytes());
            }
            names.push(field.into_owned());
        });
        let place = if path.is_empty() { "the record".to_owned() } else { format!("`{path}`") };
        if walked.is_err() {
            return format!("{place} is no object");
        }
        if !path.is_empty() {
            path.push('.');
        }
        match within {
            Some(within) => {
                value = within;
                path.push_str(name);
            }
            None => return there_are(&place, &path, name, &names),
        }
    }
    "the record has it only in part".to_owned()
}

fn there_are(place: &str, path: &str, wanted: &str, names: &[String]) -> String {
    if names.is_empty() {
        return format!("{place} has no fields");
    }
    let near = names.iter().map(|name| (strsim::jaro_winkler(name, wanted), name));
    let near = near.filter(|(likeness, _)| *likeness > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let list: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let near = near.map(|(_, name)| format!(" (did you mean `{path}{name}`?)")).unwrap_or_default();
    format!("{place} has {}{more}{near}", list.join(", "))
}
