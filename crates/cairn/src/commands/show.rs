//! `cairn show`: a run, or one instance of it.

mod contents;
mod details;

use cairn_executor::Project as Folders;
use cairn_model::{AttemptId, Outcome};
use jiff::tz::TimeZone;

use super::Context;
use super::runs::status_style;
use crate::args::examples;
use crate::execute::{asked_words, interval_of};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::logical;
use crate::past::{LATEST, Past, PastRun};
use crate::terminal::line::quoted;
use crate::terminal::style::{self, Paint};
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::text::append;
use crate::terminal::{Stream, text, time};
use cairn_scheduler::history::{InstanceHistory, count_words};

/// Show a run: how it was started and what became of each instance. With a STAGE: what one instance read and made.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn show", "the latest run"),
    ("cairn show report", "one stage of it"),
    ("cairn show 1a2b3c4d report", "one stage: command, inputs and outputs with digests, log"),
    ("cairn show latest 'carrier[UA]' --json", "one instance of a matrix, for a script"),
]))]
pub(crate) struct Args {
    /// The run: the beginning or the end of its id, or `latest`; without it, STAGE is one of the latest
    #[arg(value_name = "RUN", default_value = LATEST, hide_default_value = false)]
    run: String,
    /// A stage or an instance of it
    #[arg(value_name = "STAGE")]
    stage: Option<String>,
    /// Print the run, then each instance, as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let project = context.project()?;
    let past = Past::require(&project)?;
    let (run, stage) = asked(&past, args)?;
    let instances: Vec<&InstanceHistory> = match stage {
        None => run.history.instances.iter().collect(),
        Some(stage) => run.instances(stage)?,
    };
    let one = stage.is_some() && instances.len() == 1;
    let text = match (args.json, one) {
        (true, _) => wire(&past, &run, &instances, stage.is_some())?,
        (false, true) => details::draw(&past, &run, instances[0], &project, context.terminal.stdout.paint)?,
        (false, false) => {
            let mut out = if stage.is_none() {
                head(&run, context.terminal.stdout.paint, &time::zone())
            } else {
                String::new()
            };
            out.push_str(&list(&run, &instances, context.terminal.stdout));
            out
        }
    };
    context.print(&text)?;
    Ok(ExitStatus::Done)
}

/// Returns the run and the stage that are asked about: one word that names no run is a stage of the latest.
fn asked<'a>(past: &Past, args: &'a Args) -> Result<(PastRun, Option<&'a str>), Failure> {
    if args.stage.is_none() && !past.is_run(&args.run) {
        let latest = past.run(past.find(LATEST)?)?;
        if latest.instances(&args.run).is_ok() {
            return Ok((latest, Some(&args.run)));
        }
    }
    Ok((past.run(past.find(&args.run)?)?, args.stage.as_deref()))
}

fn wire(
    past: &Past,
    run: &PastRun,
    instances: &[&InstanceHistory],
    with_checkpoints: bool,
) -> Result<String, Failure> {
    let mut out = String::new();
    if !with_checkpoints {
        out.push_str(&json::line(&run.wire()));
    }
    for instance in instances {
        let log = log_path(past, run, instance);
        let mut wire = run.instance_wire(instance, log);
        if with_checkpoints {
            wire.checkpoint = details::Found::of(past, instance)?.map(details::Found::wire);
        }
        out.push_str(&json::line(&wire));
    }
    Ok(out)
}

/// Returns the log of an instance's last attempt in this run, `None` where it made none.
fn log_path(past: &Past, run: &PastRun, instance: &InstanceHistory) -> Option<String> {
    let number = instance.last_attempt?;
    let attempt = AttemptId { run: run.id, instance: instance.name.clone(), number };
    Some(past.state.join(Folders::log_path(&attempt)).display().to_string())
}

/// What was asked for and how it ended.
fn head(run: &PastRun, paint: Paint, zone: &TimeZone) -> String {
    let record = &run.record;
    let status = run.status();
    let mut rows: Vec<(&str, String)> = vec![
        ("started", time::date_time_offset(record.started, zone)),
        ("command", command_line(&record.command_line)),
        ("file", record.file.clone()),
    ];
    if let Some(took) = run.took_ms() {
        rows.insert(1, ("took", time::took(took)));
    }
    if record.saved_ms >= 10 {
        rows.insert(2, ("saved", format!("{} (work not repeated)", time::took(record.saved_ms))));
    }
    if !record.params.is_empty() {
        let params: Vec<String> =
            record.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        rows.push(("params", params.join(" ")));
    }
    if let Some(interval) = interval_of(record) {
        rows.push(("interval", logical::shown(interval, &time::zone())));
    }
    let asked = asked_words(record);
    if !asked.is_empty() {
        rows.push(("stages", asked.join(" ")));
    }
    rows.push(("id", run.id.to_string()));
    let counts: Vec<String> = count_words(&run.history.counts())
        .into_iter()
        .map(|(outcome, words)| match outcome {
            Some(outcome) => paint.with(style::outcome(outcome), &words),
            None => words,
        })
        .collect();
    let mut out = format!(
        "run {} of {}: {} · {}\n",
        paint.with(style::BOLD, &run.id.short()),
        paint.with(style::BOLD, record.pipeline.as_str()),
        paint.with(status_style(status), status),
        counts.join(", "),
    );
    for (name, value) in rows {
        append!(out, "  {}{value}\n", paint.with(style::DIM, &text::pad(name, 9)));
    }
    out.push('\n');
    out
}

/// The command line as it was typed, but for the folder of the program.
fn command_line(words: &[String]) -> String {
    let mut typed: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    if let (Some(first), Some(program)) = (typed.first_mut(), words.first()) {
        let name = std::path::Path::new(program).file_name().unwrap_or_default();
        *first = quoted(&name.to_string_lossy());
    }
    typed.join(" ")
}

/// The instances, one a line.
fn list(run: &PastRun, instances: &[&InstanceHistory], stream: Stream) -> String {
    let columns = [
        Column::new("OUTCOME"),
        Column::giving("INSTANCE"),
        Column::right("TOOK"),
        Column::right("TRIES"),
        Column::giving("REASON"),
    ];
    let rows: Vec<Vec<Cell>> = instances
        .iter()
        .map(|instance| {
            let style = instance.state.outcome().map_or(style::RUNNING, style::outcome);
            let took = if instance.attempts == 0 { None } else { instance.took_ms };
            let tries = if instance.attempts == 0 { String::new() } else { instance.attempts.to_string() };
            vec![
                Cell::styled(run.state_word(instance), style),
                Cell::new(instance.name.to_string()),
                Cell::new(took.map_or_else(String::new, time::took)),
                Cell::new(tries),
                Cell::new(instance.reason.lines().next().unwrap_or_default()),
            ]
        })
        .collect();
    let mut out = table(&columns, &rows, stream);
    let total = usize::try_from(run.history.instances_total).unwrap_or(usize::MAX);
    let unheard = total.saturating_sub(run.history.instances.len());
    if unheard > 0 && instances.len() == run.history.instances.len() {
        append!(out, "{} had no turn\n", text::count(unheard, "instance"));
    }
    if let Some(failed) = instances.iter().find(|instance| instance.state.outcome() == Some(Outcome::Failed))
    {
        let command = format!("cairn logs {} {}", run.id.short(), quoted(&failed.name.to_string()));
        append!(out, "\nnext: {}\n", stream.paint.with(style::HELP, &command));
    }
    out
}

#[cfg(test)]
pub(super) mod tests;
