//! `cairn why`: which part of an input-hash changed.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_executor::Engine;
use cairn_executor::gather::GatherError;
use cairn_model::{Clock as _, Difference, InputHash, RunId, SystemClock, Value, differences};
use cairn_scheduler::plan::prime;
use cairn_store::{Checkpoint, Store};
use serde::Serialize;
use similar::{ChangeTag, TextDiff};

use super::Context;
use crate::args::{Params, examples};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::logical::Logical;
use crate::past::{Past, damaged};
use crate::terminal::line::quoted;
use crate::terminal::style::{self, Paint};
use crate::terminal::text::append;
use crate::terminal::{text, time};
use crate::work::{self, Checked, Given};

/// Tell which part of an instance's input-hash changed since its nearest checkpoint, with both values.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "cairn why [OPTIONS] [FILE] STAGE",
    allow_missing_positional = true,
    after_help = examples(&[
        ("cairn why report", "why `report` would run"),
        ("cairn why flights 'carrier[UA]'", "one instance of a matrix, of the pipeline `flights`"),
        ("cairn why report -p late=30", "what another param would change in it"),
    ]),
)]
pub(crate) struct Args {
    /// The pipeline: a file, a folder with a `pipeline.toml`, or a name; not needed where there is only one
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// A stage, or an instance of it
    #[arg(value_name = "STAGE", required = true)]
    stage: String,
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    pub(crate) logical: Logical,
    /// Print each difference as a JSON object on a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Lines of unchanged text shown around a change.
const CONTEXT_LINES: usize = 2;
/// Files up to this size are compared line by line.
const DIFF_BYTES_MAX: u64 = 256 * 1024;

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let words: Vec<String> = args.file.iter().chain([&args.stage]).cloned().collect();
    let settled = context.settle(&words)?;
    let [asked] = settled.stages.as_slice() else {
        return Err(Failure::wrong("name one stage or instance").help("`cairn plan` tells of all of them"));
    };
    let (now, run) = (context.clock.now(), RunId::generate(&context.clock));
    let given =
        Given { params: args.params.params.clone(), logical_time: now, interval: None, run: Some(run) };
    let (checked, given) = args.logical.check(settled.pipeline.read()?, given, context.terminal)?;
    let instances = named(&checked, asked)?;
    let Some(past) = Past::open_state(checked.project.state())? else {
        return Err(Failure::wrong("nothing ran here yet, so there is nothing to compare with")
            .help("`cairn run` makes the first checkpoints"));
    };
    let engine = work::engine(
        &checked,
        Some(past.store.clone()),
        Arc::new(SystemClock),
        (run, given.logical_time),
        HashSet::new(),
        false,
    )?;
    let mut wanted = vec![false; checked.pipeline.instances.len()];
    for instance in &instances {
        wanted[*instance as usize] = true;
    }
    prime(&engine, &checked.graph, &wanted);
    let mut out = String::new();
    for instance in instances {
        // Those of the same stage that come before it may be needed as well.
        let told = tell(&checked, &engine, &past.store, instance)?;
        out.push_str(&if args.json { told.lines() } else { told.drawn(context.terminal.stdout.paint) });
    }
    context.print(&out)?;
    Ok(ExitStatus::Done)
}

/// Returns the instances that a name on the command line is about.
fn named(checked: &Checked, asked: &str) -> Result<Vec<u32>, Failure> {
    let instances = &checked.pipeline.instances;
    let all = 0..u32::try_from(instances.len()).expect("the language allows a million instances");
    let found: Vec<u32> = all
        .filter(|index| {
            let name = &instances[*index as usize].name;
            name.stage().as_str() == asked || name.to_string() == asked
        })
        .collect();
    if found.is_empty() {
        let stages: Vec<&str> = checked.pipeline.stages.iter().map(|stage| stage.name.as_str()).collect();
        let near = text::nearest(asked, stages.iter().copied());
        let help = if near.is_empty() {
            format!("the stages are {}", text::list(&stages))
        } else {
            format!("did you mean {}?", text::list(&near))
        };
        return Err(Failure::wrong(format!("there is no stage or instance `{asked}`")).help(help));
    }
    Ok(found)
}

/// What is to tell of one instance.
struct Told {
    instance: String,
    input_hash: Option<InputHash>,
    verdict: Verdict,
}

enum Verdict {
    /// Its inputs cannot be gathered.
    Unknown { error: String, help: Option<String> },
    /// It never ran.
    Never,
    /// It was never done: how it failed the last time.
    Failed(String),
    /// Its input-hash has a checkpoint.
    Same(Box<Checkpoint>),
    /// The nearest checkpoint, and how it differs.
    Differs { nearest: Box<Checkpoint>, changes: Vec<Change> },
}

struct Change {
    difference: Difference,
    /// The lines that differ, with `-`, `+` or a space before each.
    lines: Vec<(char, String)>,
}

fn tell(checked: &Checked, engine: &Engine, store: &Store, index: u32) -> Result<Told, Failure> {
    let instance = &checked.pipeline.instances[index as usize];
    let told = |input_hash, verdict| Told { instance: instance.name.to_string(), input_hash, verdict };
    let gathered = match engine.gather(index) {
        Ok(gathered) => gathered,
        Err(error) => {
            let help = match &error {
                GatherError::NotDone { maker } => Some(format!("`cairn why {}` tells why", quoted(maker))),
                _ => error.help(),
            };
            return Ok(told(None, Verdict::Unknown { error: error.to_string(), help }));
        }
    };
    let hash = gathered.input_hash;
    if let Some(checkpoint) = store.checkpoint(&hash).map_err(damaged)? {
        return Ok(told(Some(hash), Verdict::Same(Box::new(checkpoint))));
    }
    let mut nearest: Option<(Box<Checkpoint>, Vec<Difference>)> = None;
    for known in store.latest(&checked.pipeline.name, &instance.name).map_err(damaged)? {
        let Some((checkpoint, _)) = store.recorded(&known).map_err(damaged)? else { continue };
        let Ok(found) = differences(&checkpoint.preimage, &gathered.preimage) else { continue };
        if nearest.as_ref().is_none_or(|(_, fewest)| found.len() < fewest.len()) {
            nearest = Some((Box::new(checkpoint), found));
        }
    }
    let Some((nearest, found)) = nearest else {
        let failed = engine.failed_before(index).map_err(damaged)?;
        let verdict = failed.map_or(Verdict::Never, |error| Verdict::Failed(error.to_owned()));
        return Ok(told(Some(hash), verdict));
    };
    let changes = found.into_iter().map(|difference| change(checked, engine, difference)).collect();
    Ok(told(Some(hash), Verdict::Differs { nearest, changes }))
}

/// Adds the lines that differ, where both texts are known.
fn change(checked: &Checked, engine: &Engine, difference: Difference) -> Change {
    let lines = match (difference.tags.as_slice(), &difference.before, &difference.after) {
        (_, Some(Value::Text(before)), Some(Value::Text(after)))
            if before.contains('\n') || after.contains('\n') =>
        {
            diff(before, after)
        }
        (_, Some(Value::Bytes(before)), Some(Value::Bytes(after))) => {
            diff(&String::from_utf8_lossy(before), &String::from_utf8_lossy(after))
        }
        ([inputs, _, path, content], Some(Value::Digest(before)), Some(Value::Digest(after)))
            if inputs == "inputs" && content == "content" =>
        {
            let path = cairn_model::ProjectPath::parse(path).ok();
            let on_disk = path.map(|path| checked.project.on_disk(&path));
            let now = engine.stored_text(after, DIFF_BYTES_MAX).or_else(|| {
                let path = on_disk
                    .filter(|path| path.metadata().is_ok_and(|found| found.len() <= DIFF_BYTES_MAX))?;
                std::fs::read_to_string(path).ok()
            });
            match (engine.stored_text(before, DIFF_BYTES_MAX), now) {
                (Some(before), Some(now)) => diff(&before, &now),
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    };
    Change { difference, lines }
}

fn diff(before: &str, after: &str) -> Vec<(char, String)> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (at, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if at > 0 {
            lines.push(('~', String::new()));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push((sign, change.value().trim_end_matches('\n').to_owned()));
        }
    }
    lines
}

impl Told {
    fn drawn(&self, paint: Paint) -> String {
        let name = paint.with(style::BOLD, &self.instance);
        let hash = self.input_hash.map_or_else(String::new, |hash| {
            format!("  {}\n", paint.with(style::DIM, &format!("input-hash {}", hash.short())))
        });
        let of = |checkpoint: &Checkpoint| {
            let made = &checkpoint.made_by;
            format!("run {}, {}", made.run.short(), time::date_time(checkpoint.finished, &time::zone()))
        };
        match &self.verdict {
            Verdict::Unknown { error, help } => {
                let help = help.as_ref().map_or_else(String::new, |help| format!("  help: {help}\n"));
                format!("{name} cannot be looked up: {error}\n{help}")
            }
            Verdict::Never => format!("{name} runs: it never ran before\n{hash}"),
            Verdict::Failed(error) => format!("{name} runs again: it failed before ({error})\n{hash}"),
            Verdict::Same(checkpoint) => {
                format!("{name} is as in {}: nothing changed\n{hash}", of(checkpoint))
            }
            Verdict::Differs { nearest, changes } => {
                let count = text::count(changes.len(), "change");
                let mut out = format!("{name} runs: {count} since {}\n{hash}", of(nearest));
                for change in changes {
                    out.push_str(&change.drawn(paint));
                }
                out
            }
        }
    }

    fn lines(&self) -> String {
        let mut told = Wire {
            schema: "cairn.why/1",
            instance: &self.instance,
            input_hash: self.input_hash.map(|hash| hash.to_string()),
            verdict: "",
            run: None,
            error: None,
            part: None,
            before: None,
            after: None,
        };
        match &self.verdict {
            Verdict::Unknown { error, .. } => {
                json::line(&Wire { verdict: "unknown", error: Some(error), ..told })
            }
            Verdict::Never => json::line(&Wire { verdict: "never_ran", ..told }),
            Verdict::Failed(error) => json::line(&Wire { verdict: "failed", error: Some(error), ..told }),
            Verdict::Same(checkpoint) => {
                let run = Some(checkpoint.made_by.run.to_string());
                json::line(&Wire { verdict: "same", run, ..told })
            }
            Verdict::Differs { nearest, changes } => {
                told.verdict = "differs";
                let mut out = String::new();
                for Change { difference, .. } in changes {
                    out.push_str(&json::line(&Wire {
                        run: Some(nearest.made_by.run.to_string()),
                        part: Some(difference.tags.clone()),
                        before: difference.before.as_ref().map(whole),
                        after: difference.after.as_ref().map(whole),
                        ..told.clone()
                    }));
                }
                out
            }
        }
    }
}

/// Returns a value as programs read it: what people see is quoted and shortened.
fn whole(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Digest(digest) => digest.to_string(),
        Value::Absent | Value::Boolean(_) | Value::Integer(_) | Value::Empty => value.to_string(),
    }
}

impl Change {
    fn drawn(&self, paint: Paint) -> String {
        let Difference { before, after, .. } = &self.difference;
        let mut out = format!("\n  {}\n", paint.with(style::WARNING, &self.difference.summary()));
        if self.lines.is_empty() {
            let mut side = |sign: char, value: &Option<Value>| {
                if let Some(value) = value {
                    let line = format!("{sign} {value}");
                    append!(out, "    {}\n", paint.with(of_sign(sign), &line));
                }
            };
            side('-', before);
            side('+', after);
        }
        for (sign, line) in &self.lines {
            let line = format!("{sign} {line}");
            append!(out, "    {}\n", paint.with(of_sign(*sign), line.trim_end()));
        }
        out
    }
}

fn of_sign(sign: char) -> anstyle::Style {
    match sign {
        '-' => style::outcome(cairn_model::Outcome::Failed),
        '+' => style::outcome(cairn_model::Outcome::Ran),
        _ => style::DIM,
    }
}

#[derive(Serialize, Clone)]
struct Wire<'a> {
    schema: &'static str,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_hash: Option<String>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}
