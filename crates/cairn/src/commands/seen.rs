//! `cairn seen`: a filter that lets each record pass once.

use std::io::Write as _;

use cairn_model::{Domain, FieldPath};
use cairn_notes::protocol::{Reply, Request};
use cairn_records::fields::Extractor;
use cairn_records::source::BadRecord;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::lines::Lines;
use crate::notes::{Caller, Scope, unexpected};

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
    let mut fields = (!args.key.is_empty()).then(|| Extractor::new(&args.key, None, None));
    loop {
        let next = lines.next().map_err(|error| Failure::of(ExitStatus::StageFailed, &error))?;
        if next.is_empty() {
            break;
        }
        for next in next.chunks(RECORDS_MAX) {
            let keys = next.iter().map(|(number, line)| {
                key_of(line, fields.as_mut()).map_err(|bad| {
                    Failure::new(ExitStatus::StageFailed, format!("line {number}: {}", bad.error))
                        .maybe_help(bad.help)
                })
            });
            let records = keys.collect::<Result<Vec<_>, Failure>>()?;
            let answers = match caller.ask(&Request::Seen { records })? {
                Reply::Passes(answers) if answers.len() == next.len() => answers,
                other => return Err(unexpected(&other)),
            };
            passed.clear();
            for ((_, line), _) in next.iter().zip(answers).filter(|(_, passes)| *passes) {
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

/// Returns what a record is known by: as in a records stage, a digest over its key fields' values as canonical JSON, in
/// which `1`, `1.0` and `1e0` are one; without fields a digest of the line.
fn key_of(line: &[u8], fields: Option<&mut Extractor>) -> Result<[u8; 16], BadRecord> {
    if let Some(fields) = fields {
        return Ok(fields.extract(line)?.key);
    }
    let digest = Domain::NoteKey.digest(line);
    Ok(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(line: &str, fields: &[&str]) -> Result<[u8; 16], BadRecord> {
        let fields: Vec<FieldPath> = fields.iter().map(|field| FieldPath::parse(field).unwrap()).collect();
        let mut extractor = (!fields.is_empty()).then(|| Extractor::new(&fields, None, None));
        key_of(line.as_bytes(), extractor.as_mut())
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
        let bad = |line: &str| key(line, &["idd"]).unwrap_err();
        assert!(bad(r#"{"id":1}"#).help.is_some_and(|help| help.contains("`id`")));
        assert!(bad("[1]").error.contains("not one JSON object"));
        assert!(bad(r#"{"idd":null}"#).error.contains("null"));
    }
}
