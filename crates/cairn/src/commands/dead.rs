//! `cairn dead`: what failed for good, looked at, tried again, dropped.

mod drop;
mod edit;
mod filter;
mod list;
mod retry;
mod show;

use cairn_store::{DeadCounts, DeadKind, DeadLetter};

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::terminal::{text, time};

/// Show, try again, or drop what failed for good.
///
/// A dead letter is a record that could not be delivered, one that a script rejected, or an instance that failed. It keeps
/// all that is needed to look into it, and stays until it is dropped, delivered after all, or, an instance, succeeds.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn dead list", "all of them"),
    ("cairn dead show 3f9a12c4", "one, with its record and its attempts"),
    ("cairn dead retry --stage load", "the next run takes the records of `load` in again"),
    ("cairn dead drop 3f9a12c4", "forget it"),
]))]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List them
    List(list::Args),
    /// Show one with all that is kept of it
    Show(show::Args),
    /// Have the next run take records in again
    Retry(retry::Args),
    /// Forget them
    Drop(drop::Args),
}

/// Dead letters that the daemon is told of in one request: their ids fill a small part of what it takes.
const TOGETHER_MAX: usize = 5000;

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    match &args.action {
        Action::List(args) => list::run(args, context),
        Action::Show(args) => show::run(args, context),
        Action::Retry(args) => retry::run(args, context),
        Action::Drop(args) => drop::run(args, context),
    }
}

/// Returns the shape that `--json` prints.
fn wire(letter: &DeadLetter) -> json::Dead {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let hexadecimal = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            text::append!(text, "{byte:02x}");
            text
        })
    };
    let has_payload = letter.kind != DeadKind::Instance;
    let payload = text(&letter.payload).filter(|_| has_payload);
    json::Dead {
        schema: json::Dead::SCHEMA,
        id: letter.id().to_string(),
        kind: letter.kind.as_str(),
        pipeline: letter.pipeline.to_string(),
        stage: letter.instance.stage().to_string(),
        instance: letter.instance.to_string(),
        key: letter.key.clone(),
        payload_hex: (has_payload && payload.is_none()).then(|| hexadecimal(&letter.payload)),
        payload,
        digest: has_payload.then(|| letter.digest.to_string()),
        source: letter.source.as_ref().map(|(file, _)| file.clone()),
        line: letter.source.as_ref().map(|(_, line)| *line).filter(|line| *line > 0),
        class: letter.class.clone(),
        error: letter.error.clone(),
        attempts: letter
            .attempts
            .iter()
            .map(|(at, error)| json::DeadAttempt { at: time::rfc3339(*at), error: error.clone() })
            .collect(),
        input_hash: letter.input_hash.map(|hash| hash.to_string()),
        run: letter.run.to_string(),
        idempotency_key: letter.idempotency_key.clone(),
        died: time::rfc3339(letter.died),
        retry_asked: letter.retry.as_ref().map(|retry| time::rfc3339(retry.asked)),
        edited: letter.mended().and_then(text),
        retries: letter.retries,
    }
}

/// Says in words how many dead letters there are: `2 dead letters (1 record, 1 rejected)`.
pub(crate) fn count_words(counts: &DeadCounts) -> String {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    if counts.records > 0 {
        parts.push(text::count(number(counts.records), "record"));
    }
    if counts.rejected > 0 {
        parts.push(format!("{} rejected", counts.rejected));
    }
    if counts.instances > 0 {
        parts.push(text::count(number(counts.instances), "instance"));
    }
    format!("{} ({})", text::count(number(counts.total()), "dead letter"), parts.join(", "))
}
