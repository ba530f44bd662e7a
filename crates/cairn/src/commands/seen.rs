//! `cairn seen`: a filter that lets each record pass once.

use std::io::Write as _;

use cairn_executor::notes::protocol::{Reply, Request};
use cairn_model::{Domain, FieldPath};
use serde_json::Value;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::lines::Lines;
use crate::notes::{Caller, Scope, unexpected};
use crate::terminal::text;

/// Pass on the records of standard input that no successful attempt had before.
///
/// Records are JSON objects, one a line. What passes is remembered once the stage has succeeded: an attempt that fails
/// has had nothing. Within an attempt, and of attempts that run at the same time, each record passes once, too.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn seen --key id < orders.jsonl > new.jsonl", "within a stage: only those that are new"),
    ("cairn seen --key customer.id day < visits.jsonl", "known by two fields, one within another"),
    ("cairn seen < lines.txt", "known by all that is in the line"),
]))]
pub(crate) struct Args {
    /// Fields that a record is known by, nested ones by dots [default: the whole line]
    #[arg(long, value_name = "FIELD", num_args = 1.., value_parser = field)]
    key: Vec<FieldPath>,
    #[command(flatten)]
    scope: Scope,
}

fn field(text: &str) -> Result<FieldPath, String> {
    FieldPath::parse(text)
        .ok_or_else(|| "write it as `id`, or `customer.id` for one within another".to_owned())
}

/// Records that are asked for at once.
const RECORDS_MAX: usize = 8192;

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let mut caller = Caller::find(&args.scope, context)?;
    let mut lines = Lines::new(std::io::stdin().lock());
    let mut out = std::io::stdout().lock();
    let mut passed = Vec::new();
    loop {
        let next = lines.next().map_err(|error| Failure::of(ExitStatus::StageFailed, &error))?;
        if next.is_empty() {
            break;
        }
        for next in next.chunks(RECORDS_MAX) {
            let keys = next.iter().map(|(number, line)| {
                key_of(line, &args.key).map_err(|wrong| {
                    Failure::new(ExitStatus::StageFailed, format!("line {number} {}", wrong.what))
                        .help(wrong.help)
                })
            });
            let records = keys.collect::<Result<Vec<_>, Failure>>()?;
            let passes = match caller.ask(&Request::Seen { records })? {
                Reply::Passes(passes) if passes.len() == next.len() => passes,
                other => return Err(unexpected(&other)),
            };
            passed.clear();
            for ((_, line), _) in next.iter().zip(passes).filter(|(_, passes)| *passes) {
                passed.extend_from_slice(line);
                passed.push(b'\n');
            }
            out.write_all(&passed)?;
            out.flush()?;
        }
    }
    match caller.ask(&Request::End)? {
        Reply::Ok => {}
        other => return Err(unexpected(&other)),
    }
    caller.end()?;
    Ok(ExitStatus::Done)
}

/// What is wrong with a record.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    what: String,
    help: String,
}

/// Returns what a record is known by: a digest over its key fields' values as canonical JSON, in which `1`, `1.0` and
/// `1e0` are one, or over the whole line.
fn key_of(line: &[u8], key: &[FieldPath]) -> Result<[u8; 16], Wrong> {
    let mut text = Vec::new();
    if key.is_empty() {
        text.extend_from_slice(line);
    } else {
        let record: Value = serde_json::from_slice(line).map_err(|error| Wrong {
            what: format!("is not a JSON object: {error}"),
            help: "put bad lines aside with `cairn reject` first".to_owned(),
        })?;
        for field in key {
            let value = find(&record, field)?;
            serde_json::to_writer(&mut text, &canonical(value)).expect("a value is written to memory");
            text.push(b',');
        }
    }
    let digest = Domain::NoteKey.digest(&text);
    Ok(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

fn find<'a>(record: &'a Value, field: &FieldPath) -> Result<&'a Value, Wrong> {
    let mut value = record;
    for name in &field.0 {
        let Value::Object(fields) = value else {
            return Err(Wrong {
                what: format!("has no field `{field}`"),
                help: "it is no object there; name a field that all records have".to_owned(),
            });
        };
        value = fields.get(name).ok_or_else(|| {
            let known: Vec<&str> = fields.keys().map(String::as_str).collect();
            let near = text::nearest(name, known.iter().copied());
            let help = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", text::list(&known)),
            };
            Wrong { what: format!("has no field `{field}`"), help }
        })?;
    }
    if value.is_null() || value.is_array() || value.is_object() {
        let what = format!("has no key in `{field}`: it is {}", kind(value));
        return Err(Wrong { what, help: "a key is a text, a number or a truth value".to_owned() });
    }
    Ok(value)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
        Value::Bool(_) | Value::Number(_) | Value::String(_) => "a value",
    }
}

/// A number has one form, whichever way it is written.
fn canonical(value: &Value) -> Value {
    /// Up to here every whole number is one of these.
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    match value.as_f64() {
        Some(number) if value.is_f64() && number.fract() == 0.0 && number.abs() <= WHOLE_MAX =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
            Value::from(number as i64)
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(line: &str, fields: &[&str]) -> Result<[u8; 16], Wrong> {
        let fields: Vec<FieldPath> = fields.iter().map(|field| FieldPath::parse(field).unwrap()).collect();
        key_of(line.as_bytes(), &fields)
    }

    #[test]
    fn a_record_is_known_by_the_values_of_its_key() {
        let same = |left: &str, right: &str, fields: &[&str]| {
            assert_eq!(key(left, fields).unwrap(), key(right, fields).unwrap(), "{left} {right}");
        };
        let other = |left: &str, right: &str, fields: &[&str]| {
            assert_ne!(key(left, fields).unwrap(), key(right, fields).unwrap(), "{left} {right}");
        };
        same(r#"{"id":1,"x":2}"#, r#"{ "x": 3, "id": 1.0 }"#, &["id"]);
        same(r#"{"id":1}"#, r#"{"id":1e0}"#, &["id"]);
        same(r#"{"id":"\u0061"}"#, r#"{"id":"a"}"#, &["id"]);
        other(r#"{"id":1}"#, r#"{"id":"1"}"#, &["id"]);
        other(r#"{"id":18446744073709551615}"#, r#"{"id":18446744073709551614}"#, &["id"]);
        other(r#"{"a":"x","b":"y"}"#, r#"{"a":"x,","b":"y"}"#, &["a", "b"]);
        same(r#"{"a":{"b":1}}"#, r#"{"a":{"b":1,"c":2}}"#, &["a.b"]);
        other("a", "b", &[]);
        other("a", "a ", &[]);
    }

    #[test]
    fn a_record_without_its_key_is_told_what_it_has() {
        assert!(key(r#"{"id":1}"#, &["idd"]).unwrap_err().help.contains("`id`"));
        assert!(key("[1]", &["id"]).is_err());
        assert!(key("{", &["id"]).unwrap_err().what.contains("JSON"));
        assert!(key(r#"{"id":null}"#, &["id"]).unwrap_err().what.contains("null"));
    }
}
