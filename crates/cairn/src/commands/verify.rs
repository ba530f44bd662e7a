//! `cairn verify`: is each stage idempotent?

use std::io::Write as _;
use std::sync::Arc;

use anstyle::Style;
use cairn_executor::verify::{Check, Options, Report, Step, Verdict as Found, Verifier, VerifyError};
use cairn_executor::{Engine, Verdict};
use cairn_model::{Outcome, RunId, SystemClock};
use cairn_scheduler::select::{self, Request};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::Context;
use crate::args::{Params, Target, examples};
use crate::execute::{interval_of, start_keeper};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{Past, damaged};
use crate::remote::Writer;
use crate::terminal::style::Paint;
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::text::append;
use crate::terminal::{style, text};
use crate::work::{self, Checked, Given, selection};

/// Find out whether stages are idempotent: executed again, is what they make the same?
///
/// Each is executed elsewhere, on top of its own outputs, and after being cut off at some moments, and what it makes is
/// compared with what the last run recorded. All of that happens in copies: your files, outputs and checkpoints are not
/// changed. What a stage does outside of the project is not repeated unless you say `--effects`.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn verify", "every stage of the only pipeline here"),
    ("cairn verify load", "one stage"),
    ("cairn verify flights load --cuts 20", "of the pipeline `flights`, cut off at 20 moments"),
    ("cairn verify --json", "each as a JSON object on a line"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    params: Params,
    /// Moments at which each command is cut off
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    cuts: u32,
    /// Also execute what does something outside of the project: it is done again
    #[arg(long)]
    effects: bool,
    /// Print each instance as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let settled = context.settle(&args.target.words())?;
    let definition = settled.pipeline.read()?;
    let no_run = || Failure::wrong("there is no run yet to compare with").help("`cairn run` makes the first");
    let past = Past::open_state(&definition.state)?.ok_or_else(no_run)?;
    let file = definition.relative();
    let runs = past.store.runs(usize::MAX).map_err(damaged)?;
    let (last, record) = runs.into_iter().find(|(_, record)| record.file == file).ok_or_else(no_run)?;
    drop(past);
    // What the run is to its commands, it is again: its id and logical time may be in their input-hashes.
    let given = Given {
        params: args.params.params.clone(),
        logical_time: record.logical_time,
        interval: interval_of(&record),
        run: Some(last),
    };
    let checked = work::check(definition, &given, context.terminal.stderr.report_style())?;
    context.warn(&checked);
    let target = if settled.stages.is_empty() {
        select::Target::All
    } else {
        select::Target::Only(settled.stages.clone())
    };
    let selected = selection(&checked, &Request { target, ..Request::default() }, false)?.selected;
    let store = match Writer::find(checked.project.state(), checked.project.root())? {
        Writer::Here(store) => store,
        // It is read as it stands now, and written by the daemon alone.
        Writer::There(_) => Past::open_state(checked.project.state())?.ok_or_else(no_run)?.store,
    };
    // A result counts whether or not the stage is executed in each run.
    let done_before = checked.pipeline.instances.iter().map(|instance| instance.name.clone()).collect();
    let clock = Arc::new(SystemClock);
    let engine =
        work::engine(&checked, Some(store.clone()), clock, (last, record.logical_time), done_before, false)?;
    let wanted = done(&checked, &engine, &selected)?;
    let verifier = Verifier::new(Arc::new(engine), start_keeper()?, RunId::generate(&context.clock));
    let verifier = Arc::new(verifier.map_err(|error| failure(&error))?);
    let reports = drive(args, context, &checked, &wanted, &verifier);
    // All that it started has ended and its copies are gone before anything is said.
    drop(verifier);
    let told = reports?;
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    let Some(told) = told else { return Ok(ExitStatus::Interrupted) };
    if !args.json {
        context.print(&drawn(&told, context))?;
    }
    let is_not = |(_, report): &(String, Report)| matches!(report.verdict, Found::NotIdempotent(_));
    Ok(if told.iter().any(is_not) { ExitStatus::StageFailed } else { ExitStatus::Done })
}

/// Returns the selected instances, all of which have a result of what their inputs are now.
fn done(checked: &Checked, engine: &Engine, selected: &[bool]) -> Result<Vec<u32>, Failure> {
    let wanted: Vec<u32> = (0..).zip(selected).filter(|(_, selected)| **selected).map(|(at, _)| at).collect();
    let upstream = checked.graph.upstream_closure(&wanted);
    let mut missing = Vec::new();
    for &index in checked.graph.order() {
        if !upstream[index as usize] {
            continue;
        }
        let name = || checked.pipeline.instances[index as usize].name.to_string();
        match engine.look_up(index, false, true) {
            Ok(Verdict::Hit { .. } | Verdict::Stands { .. }) => {}
            Ok(Verdict::InDoubt { .. }) => missing.push(format!("`{}`: its effect is in doubt", name())),
            Ok(Verdict::Miss { reason, .. }) => missing.push(format!("`{}`: {}", name(), reason.text())),
            Err(error) if error.is_store() => {
                return Err(Failure::of(ExitStatus::Store, &error).maybe_help(error.help()));
            }
            Err(error) => missing.push(format!("`{}`: {error}", name())),
        }
    }
    if missing.is_empty() {
        return Ok(wanted);
    }
    let many = text::count(missing.len(), "instance");
    let mut failure = Failure::wrong(format!("{many} not done, so that there is nothing to compare with"));
    for missing in missing.into_iter().take(5) {
        failure = failure.note(missing);
    }
    Err(failure.help("`cairn run` first, with the same params"))
}

fn failure(error: &VerifyError) -> Failure {
    let status = match error {
        VerifyError::Gather(_) | VerifyError::NotDone { .. } => ExitStatus::Wrong,
        VerifyError::Read(_)
        | VerifyError::Place { .. }
        | VerifyError::Keeper(_)
        | VerifyError::Strays { .. } => ExitStatus::Store,
    };
    Failure::of(status, error).maybe_help(error.help())
}

/// Verifies one after the other; `None` when it was interrupted.
fn drive(
    args: &Args,
    context: &Context,
    checked: &Checked,
    wanted: &[u32],
    verifier: &Arc<Verifier>,
) -> Result<Option<Vec<(String, Report)>>, Failure> {
    let cannot =
        |error: std::io::Error| Failure::new(ExitStatus::Store, format!("cannot start a runtime: {error}"));
    // The work copies and hashes: signals are listened to meanwhile.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(cannot)?;
    let options = Options { cuts: args.cuts, effects: args.effects };
    let progress = Progress::new(context);
    let done = runtime.block_on(async {
        let mut signals = (
            signal(SignalKind::interrupt()).map_err(cannot)?,
            signal(SignalKind::terminate()).map_err(cannot)?,
            signal(SignalKind::hangup()).map_err(cannot)?,
        );
        let mut told = Vec::new();
        for (at, &index) in wanted.iter().enumerate() {
            let name = checked.pipeline.instances[index as usize].name.to_string();
            let steps = progress.of(&name, at + 1, wanted.len());
            let verifier = Arc::clone(verifier);
            let work = tokio::spawn(async move { verifier.verify(index, options, &steps).await });
            let stop = work.abort_handle();
            let report = tokio::select! {
                report = work => report,
                _ = signals.0.recv() => { stop.abort(); return Ok(None) }
                _ = signals.1.recv() => { stop.abort(); return Ok(None) }
                _ = signals.2.recv() => { stop.abort(); return Ok(None) }
            };
            progress.clear();
            let report = match report {
                Ok(report) => report.map_err(|error| failure(&error))?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            if args.json {
                context.print(&wire(&name, &report))?;
            }
            told.push((name, report));
        }
        Ok(Some(told))
    });
    progress.clear();
    // What was aborted still copies, perhaps: it is waited for, so that nothing is written after the copies are removed.
    drop(runtime);
    done
}

/// Tells on standard error what goes on.
#[derive(Clone, Copy)]
struct Progress {
    paint: Paint,
    live: bool,
    quiet: bool,
}

impl Progress {
    fn new(context: &Context) -> Self {
        let stream = context.terminal.stderr;
        Self { paint: stream.paint, live: stream.live, quiet: context.globals.quiet }
    }

    /// Returns what is called at each step of an instance.
    fn of(self, name: &str, number: usize, all: usize) -> impl Fn(Step) + Send + Sync + 'static {
        let name = name.to_owned();
        let count = format!("{number} of {all}");
        move |step| {
            let doing = match step {
                Step::Elsewhere => "elsewhere".to_owned(),
                Step::OnTop { time } => format!("on top of its own outputs, {time} of 2"),
                Step::CutOff { number, of, .. } => format!("cut off, {number} of {of}"),
            };
            if self.quiet {
                return;
            }
            let line = format!("  {}  {name}  {doing}", self.paint.with(style::RUNNING, &count));
            // Where lines cannot be drawn again, the first step stands for all.
            if self.live {
                write(&format!("\r\u{1b}[K{line}"));
            } else if step == Step::Elsewhere {
                write(&format!("  {count}  {name}\n"));
            }
        }
    }

    fn clear(self) {
        if self.live && !self.quiet {
            write("\r\u{1b}[K");
        }
    }
}

fn write(text: &str) {
    // Progress that nobody can read any more is no failure.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn word(verdict: &Found) -> (&'static str, Style) {
    match verdict {
        Found::Verified => ("VERIFIED", style::outcome(Outcome::Ran)),
        Found::NotIdempotent(_) => ("NOT IDEMPOTENT", style::outcome(Outcome::Failed)),
        Found::NotVerified(_) => ("NOT VERIFIED", style::outcome(Outcome::Blocked)),
    }
}

fn drawn(told: &[(String, Report)], context: &Context) -> String {
    let stream = context.terminal.stdout;
    let mut counts: Vec<(&'static str, Style, usize)> = Vec::new();
    let mut rows = Vec::new();
    for (name, report) in told {
        let (word, style) = word(&report.verdict);
        match counts.iter_mut().find(|(known, ..)| *known == word) {
            Some((.., count)) => *count += 1,
            None => counts.push((word, style, 1)),
        }
        let cell = |check: Check| match check {
            Check::NotTried => Cell::styled("·", style::DIM),
            Check::Same => Cell::new("same"),
            Check::Differs => Cell::styled("differs", style::outcome(Outcome::Failed)),
        };
        let cut_off = match report.cut_off {
            Check::Same => Cell::new(cuts(report.cuts)),
            check => cell(check),
        };
        rows.push(vec![
            Cell::styled(format!("  {word}"), style),
            Cell::new(name.clone()),
            cell(report.elsewhere),
            cell(report.on_top),
            cut_off,
        ]);
    }
    let columns = [
        Column::new("  is"),
        Column::giving("instance"),
        Column::new("elsewhere"),
        Column::new("on itself"),
        Column::new("cut off"),
    ];
    let mut out = table(&columns, &rows, stream);
    for (name, report) in told {
        out.push_str(&details(name, report, stream.paint));
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(word, style, count)| stream.paint.with(*style, &format!("{count} {word}")))
        .collect();
    append!(out, "\n  {}\n", words.join(", "));
    let same = "it ran in copies: your files, outputs and checkpoints are as they were";
    append!(out, "  {}\n", stream.paint.with(style::DIM, same));
    out
}

/// Says at how many moments a command was cut off; one that takes a few milliseconds may have ended before.
fn cuts((hit, tried): (u32, u32)) -> String {
    if hit == tried {
        format!("same, {}", text::count(hit as usize, "cut"))
    } else {
        format!("same, {hit} of {}", text::count(tried as usize, "cut"))
    }
}

/// What is to be said of one instance beyond its row.
fn details(name: &str, report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    let name = paint.with(style::BOLD, name);
    let below = |out: &mut String, style: Style, word: &str, text: &str| {
        append!(out, "    {}{text}\n", paint.with(style, word));
    };
    match &report.verdict {
        Found::Verified => {}
        Found::NotIdempotent(finding) => {
            append!(out, "\n  {name}, {}: {}\n", finding.step, text::clean(&finding.difference.to_string()));
            if let Some((recorded, found)) = finding.difference.values() {
                below(&mut out, style::outcome(Outcome::Failed), "- ", &text::clean(recorded));
                below(&mut out, style::outcome(Outcome::Ran), "+ ", &text::clean(found));
            }
            if let Some(cause) = finding.cause {
                below(&mut out, style::WARNING, "perhaps: ", &cause.to_string());
                below(&mut out, style::HELP, "help: ", cause.help());
            }
            if report.starts_empty && !matches!(finding.step, Step::Elsewhere) {
                let note = "cairn starts it where nothing stands: this matters run by hand, or with `sandbox = \"off\"`";
                below(&mut out, style::BOLD, "note: ", note);
            }
        }
        Found::NotVerified(reason) => {
            append!(out, "\n  {name}: {}\n", text::clean(&reason.text));
            if let Some(help) = &reason.help {
                below(&mut out, style::HELP, "help: ", help);
            }
        }
    }
    if !report.unseen.is_empty() {
        if out.is_empty() {
            append!(out, "\n  {name}\n");
        }
        below(&mut out, style::WARNING, "not looked at: ", &report.unseen.join(", "));
    }
    out
}

#[derive(Serialize)]
struct Wire<'a> {
    schema: &'static str,
    instance: &'a str,
    verdict: &'static str,
    elsewhere: &'static str,
    on_top: &'static str,
    cut_off: &'static str,
    cuts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    not_looked_at: &'a [String],
}

fn wire(name: &str, report: &Report) -> String {
    let check = |check: Check| match check {
        Check::NotTried => "not_tried",
        Check::Same => "same",
        Check::Differs => "differs",
    };
    let mut wire = Wire {
        schema: "cairn.verify/1",
        instance: name,
        verdict: "verified",
        elsewhere: check(report.elsewhere),
        on_top: check(report.on_top),
        cut_off: check(report.cut_off),
        cuts: report.cuts.0,
        step: None,
        reason: None,
        path: None,
        recorded: None,
        found: None,
        cause: None,
        help: None,
        not_looked_at: &report.unseen,
    };
    match &report.verdict {
        Found::Verified => {}
        Found::NotIdempotent(finding) => {
            wire.verdict = "not_idempotent";
            wire.step = Some(finding.step.as_str());
            wire.reason = Some(finding.difference.to_string());
            wire.path = finding.difference.path();
            (wire.recorded, wire.found) = finding.difference.values().unzip();
            wire.cause = finding.cause.map(cairn_executor::verify::Cause::as_str);
            wire.help = finding.cause.map(cairn_executor::verify::Cause::help);
        }
        Found::NotVerified(reason) => {
            wire.verdict = "not_verified";
            wire.reason = Some(reason.text.clone());
            wire.help = reason.help.as_deref();
        }
    }
    json::line(&wire)
}
