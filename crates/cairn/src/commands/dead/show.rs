//! `cairn dead show`.

use cairn_scheduler::json_text;
use cairn_store::{DeadKind, DeadLetter};

use super::filter::find;
use super::wire;
use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::Past;
use crate::terminal::style::{self, Paint};
use crate::terminal::text::{self, append};
use crate::terminal::time;

/// Show a dead letter with all that is kept of it.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn dead show 3f9a12c4", "its record, its attempts, where it came from"),
    ("cairn dead show 3f9a --json", "for a program"),
]))]
pub(super) struct Args {
    /// The beginning of its id
    #[arg(value_name = "ID")]
    id: String,
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let past = Past::require(&context.project()?)?;
    let letter = find(&past.store, &args.id)?;
    let shown =
        if args.json { json::line(&wire(&letter)) } else { draw(&letter, context.terminal.stdout.paint) };
    context.print(&shown)?;
    Ok(ExitStatus::Done)
}

fn draw(letter: &DeadLetter, paint: Paint) -> String {
    let zone = time::zone();
    let mut out = String::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            append!(out, "{} {value}\n", paint.with(style::DIM, &text::pad(name, 11)));
        }
    };
    fact("id", &letter.id().to_string());
    fact("kind", letter.kind.as_str());
    fact("pipeline", letter.pipeline.as_str());
    fact("stage", &letter.instance.to_string());
    fact("key", &text::clean(&letter.key));
    fact("died", &time::date_time_offset(letter.died, &zone));
    fact("class", &text::clean(&letter.class));
    fact("error", &paint.with(style::ERROR, &clean_lines(&letter.error, "\n            ")));
    if let Some((file, line)) = &letter.source {
        let file = text::clean(file);
        fact("source", &if *line > 0 { format!("{file}, line {line}") } else { file });
    }
    if letter.run.as_bytes() != &[0; 16] {
        fact("run", &letter.run.short());
    }
    fact("input-hash", &letter.input_hash.map_or_else(String::new, |hash| hash.digest().short()));
    if letter.kind != DeadKind::Instance {
        fact("retried as", &text::clean(&letter.idempotency_key));
        fact("digest", &letter.digest.short());
    }
    if let Some(retry) = &letter.retry {
        let how = if retry.payload.is_some() { ", edited" } else { "" };
        fact("retry", &format!("the next run takes it in again{how}"));
    } else if letter.edited.is_some() {
        fact("edited", "as it stands below: it died once more like that");
    }
    if letter.retries > 0 {
        fact("retries", &format!("{} by itself", letter.retries));
    }
    for (number, (at, error)) in letter.attempts.iter().enumerate() {
        let name = if number == 0 { "attempts" } else { "" };
        let first_line = error.lines().next().unwrap_or_default();
        append!(
            out,
            "{} {}  {}\n",
            paint.with(style::DIM, &text::pad(name, 11)),
            time::date_time(*at, &zone),
            text::clean(first_line)
        );
    }
    if letter.kind != DeadKind::Instance {
        append!(out, "\n{}\n", pretty(letter.payload_to_retry()));
        if letter.mended().is_some() {
            append!(out, "\n{}\n{}\n", paint.with(style::DIM, "as it came:"), pretty(&letter.payload));
        }
    }
    out
}

/// Returns a text without what would disturb a terminal.
fn clean_lines(text: &str, between: &str) -> String {
    text.lines().map(text::clean).collect::<Vec<_>>().join(between)
}

/// Lays out a record; one that is no JSON stands as it is.
fn pretty(payload: &[u8]) -> String {
    let text = json_text::laid_out(payload).unwrap_or_else(|| String::from_utf8_lossy(payload).into_owned());
    clean_lines(&text, "\n")
}
