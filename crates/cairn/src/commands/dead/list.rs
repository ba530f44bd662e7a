//! `cairn dead list`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use cairn_model::Clock as _;
use cairn_store::{DeadKind, DeadLetter};

use super::filter::Filter;
use super::wire;
use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::Past;
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::{style, text, time};

/// List dead letters, or export them.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn dead list --stage load --older-than 7d", "old ones of a stage"),
    ("cairn dead list --jsonl --output dead.jsonl", "all with all that is kept of them"),
    ("cairn dead list --records --stage load", "their records alone, as they came, one a line"),
]))]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Print each as a JSON object on a line, with its record
    #[arg(long, visible_alias = "jsonl")]
    json: bool,
    /// Print records alone, as they came
    #[arg(long, conflicts_with = "json")]
    records: bool,
    /// Write to FILE; without `--records` as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Does it.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let past = Past::open(&context.project()?)?;
    let Some(past) = past else {
        if let Some(path) = &args.output {
            File::create(path).map_err(|error| unwritable(path, &error))?;
        }
        return nothing(args, context);
    };
    let letters = args.filter.each(&past.store, context);
    if let Some(path) = &args.output {
        let mut file = BufWriter::new(File::create(path).map_err(|error| unwritable(path, &error))?);
        let mut written = 0_usize;
        for letter in letters {
            let line = line(&letter?, args.records);
            written += usize::from(!line.is_empty());
            file.write_all(&line).map_err(|error| unwritable(path, &error))?;
        }
        let file = file.into_inner().map_err(|error| unwritable(path, error.error()))?;
        file.sync_all().map_err(|error| unwritable(path, &error))?;
        let what = if args.records { "record" } else { "dead letter" };
        context.remark(&format!("{} written to `{}`\n", text::count(written, what), path.display()));
        return Ok(ExitStatus::Done);
    }
    if args.json || args.records {
        let mut out = BufWriter::new(std::io::stdout().lock());
        for letter in letters {
            out.write_all(&line(&letter?, args.records))?;
        }
        out.flush()?;
        return Ok(ExitStatus::Done);
    }
    let now = context.clock.now();
    let columns = [
        Column::new("ID"),
        Column::new("KIND"),
        Column::giving("STAGE"),
        Column::giving("KEY"),
        Column::right("AGE"),
        Column::new(""),
        Column::giving("ERROR"),
    ];
    let rows = letters.map(|letter| {
        let letter = letter?;
        let first_line = letter.error.lines().next().unwrap_or_default().to_owned();
        let waits = if letter.retry.is_some() { "retry" } else { "" };
        Ok(vec![
            Cell::new(letter.id().short()),
            Cell::new(letter.kind.as_str()),
            Cell::new(letter.instance.to_string()),
            Cell::new(text::clean(&known_by(&letter))),
            Cell::new(time::about(now.millis_since(letter.died))),
            Cell::styled(waits, style::HELP),
            Cell::styled(text::clean(&first_line), style::ERROR),
        ])
    });
    let rows = rows.collect::<Result<Vec<_>, Failure>>()?;
    if rows.is_empty() {
        return nothing(args, context);
    }
    context.print(&table(&columns, &rows, context.terminal.stdout))?;
    Ok(ExitStatus::Done)
}

fn nothing(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    if !args.json && !args.records {
        let words = if args.filter.is_empty() { "no dead letters" } else { "no such dead letters" };
        context.remark(&format!("{words}\n"));
    }
    Ok(ExitStatus::Done)
}

/// A record without a key is told by its beginning.
fn known_by(letter: &DeadLetter) -> String {
    if letter.key.is_empty() {
        String::from_utf8_lossy(&letter.payload[..letter.payload.len().min(40)]).into_owned()
    } else {
        letter.key.clone()
    }
}

fn line(letter: &DeadLetter, record: bool) -> Vec<u8> {
    if !record {
        return json::line(&wire(letter)).into_bytes();
    }
    if letter.kind == DeadKind::Instance {
        return Vec::new();
    }
    let mut line = letter.payload_to_retry().to_vec();
    line.push(b'\n');
    line
}

fn unwritable(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::new(ExitStatus::StageFailed, format!("cannot write `{}`", path.display()))
        .because_of(Some(error))
}
