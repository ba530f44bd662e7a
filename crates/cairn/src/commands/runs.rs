//! `cairn runs`: the runs there were.

use cairn_model::{Counts, Outcome};

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{self, Past, PastRun};
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::{style, time};
use cairn_scheduler::history::count_words;

/// List runs, the newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn runs", "the last 20"),
    ("cairn runs flights -n 5", "the last 5 of the pipeline `flights`"),
    ("cairn runs --json | jq -r .run", "their ids"),
]))]
pub(crate) struct Args {
    /// The pipeline's name [default: all]
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// The most to list
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    number: usize,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let Some(past) = Past::open(&context.project()?)? else {
        context.remark("no run yet; `cairn run` makes the first\n");
        return Ok(ExitStatus::Done);
    };
    // Filtered here: the store knows runs by time only.
    let read = if args.pipeline.is_some() { usize::MAX } else { args.number };
    let mut runs = past.store.runs(read).map_err(past::damaged)?;
    if let Some(pipeline) = &args.pipeline {
        runs.retain(|(_, record)| record.pipeline.as_str() == pipeline);
        runs.truncate(args.number);
    }
    let runs = runs.iter().map(|(id, _)| past.run(*id)).collect::<Result<Vec<PastRun>, Failure>>()?;
    if args.json {
        let lines: String = runs.iter().map(|run| json::line(&run.wire())).collect();
        context.print(&lines)?;
        return Ok(ExitStatus::Done);
    }
    if runs.is_empty() {
        context.remark("no run yet; `cairn run` makes the first\n");
        return Ok(ExitStatus::Done);
    }
    let zone = time::zone();
    let columns = [
        Column::new("RUN"),
        Column::giving("PIPELINE"),
        Column::new("STARTED"),
        Column::right("TOOK"),
        Column::new("STATUS"),
        Column::giving("INSTANCES"),
    ];
    let rows: Vec<Vec<Cell>> = runs
        .iter()
        .map(|run| {
            let status = run.status();
            vec![
                Cell::new(run.id.short()),
                Cell::new(run.record.pipeline.to_string()),
                Cell::new(time::date_time(run.record.started, &zone)),
                Cell::new(run.took_ms().map_or_else(String::new, time::took)),
                Cell::styled(status, status_style(status)),
                Cell::new(counts(&run.history.counts())),
            ]
        })
        .collect();
    context.print(&table(&columns, &rows, context.terminal.stdout))?;
    Ok(ExitStatus::Done)
}

/// Returns the style of a run's status.
pub(crate) fn status_style(status: &str) -> anstyle::Style {
    match status {
        "succeeded" => style::outcome(Outcome::Ran),
        "failed" | "in doubt" => style::outcome(Outcome::Failed),
        "running" => style::RUNNING,
        // Interrupted, cut off, frozen: something is left to do.
        _ => style::outcome(Outcome::Blocked),
    }
}

fn counts(counts: &Counts) -> String {
    if counts.total() == 0 {
        return String::new();
    }
    let words: Vec<String> = count_words(counts).into_iter().map(|(_, words)| words).collect();
    words.join(", ")
}
