//! `cairn effects`: effects in outside systems, and those in doubt.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use anstyle::Style;
use cairn_executor::{UndoError, recover};
use cairn_model::{Clock as _, EffectState, Name, Outcome, RunId, SystemClock};
use cairn_scheduler::outside::{self, FindEffectError};
use cairn_scheduler::rollback::{find_inputs, standing};
use cairn_store::{Batch, Durability, Effect, Store};
use hyper::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, resume};
use crate::args::examples;
use crate::execute::interval_of;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{Past, damaged};
use crate::remote::{Held, Remote, Writer, silent, told};
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::{style, time};
use crate::work::{self, Checked, Given};

/// Show effects in outside systems; settle those in doubt, undo them.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn effects list", "all effects, and how far each is known to have happened"),
    ("cairn effects settle sales/2024-05-01 --happened", "it took place: it is not done again"),
    ("cairn effects settle sales/2024-05-01 --did-not-happen", "the next run does it"),
    ("cairn effects undo sales/2024-05-01", "run its `undo`"),
    ("cairn effects undo --run latest", "undo all that the run did, the last first"),
]))]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List effects
    List(ListArgs),
    /// Say whether an effect took place, once you found out
    Settle(SettleArgs),
    /// Undo an effect, or all of a run
    Undo(UndoArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those of which it is not known whether they stand
    #[arg(long)]
    open: bool,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct SettleArgs {
    /// The effect's key
    #[arg(value_name = "KEY")]
    key: String,
    /// It took place, and stands
    #[arg(long, required_unless_present = "did_not_happen", conflicts_with = "did_not_happen")]
    happened: bool,
    /// It did not take place, or was undone
    #[arg(long)]
    did_not_happen: bool,
    /// The pipeline, where several have an effect with this key
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
}

#[derive(Debug, clap::Args)]
struct UndoArgs {
    /// The effect's key
    #[arg(value_name = "KEY", required_unless_present = "run", conflicts_with = "run")]
    key: Option<String>,
    /// All effects of this run, the last one first
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// The pipeline, where several have an effect with this key
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    match &args.command {
        Command::List(args) => list(args, context),
        Command::Settle(args) => settle(args, context),
        Command::Undo(args) => undo(args, context),
    }
}

/// `cairn.effect/1`: an effect, and how far it is known to have happened.
#[derive(Serialize)]
struct Shown<'a> {
    schema: &'static str,
    key: &'a str,
    pipeline: String,
    instance: String,
    state: &'static str,
    mode: &'static str,
    attempts: u32,
    input_hash: String,
    run: String,
    intended: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drifted: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<Vec<&'a str>>,
}

fn list(args: &ListArgs, context: &Context) -> Result<ExitStatus, Failure> {
    let mut effects = match Past::open(&context.project()?)? {
        Some(past) => past.store.effects().map_err(damaged)?,
        None => Vec::new(),
    };
    effects.retain(|(.., effect)| !args.open || effect.state.is_open());
    if args.json {
        let lines = effects.iter().map(|(pipeline, key, effect)| json::line(&shown(pipeline, key, effect)));
        context.print(&lines.collect::<String>())?;
        return Ok(ExitStatus::Done);
    }
    if effects.is_empty() {
        context.remark(if args.open { "no effect is in doubt\n" } else { "no effect yet\n" });
        return Ok(ExitStatus::Done);
    }
    // What a person has to do something about comes first.
    let is_fine = |effect: &Effect| !effect.state.is_open() && !effect.is_drifted();
    effects.sort_by_key(|(.., effect)| (is_fine(effect), std::cmp::Reverse(effect.intended)));
    let zone = time::zone();
    let columns = [
        Column::new("STATE"),
        Column::giving("KEY"),
        Column::giving("INSTANCE"),
        Column::new("MODE"),
        Column::right("TRIES"),
        Column::new("SINCE"),
        Column::giving("WHY"),
    ];
    let row = |(pipeline, key, effect): &(Name, String, Effect)| {
        vec![
            Cell::styled(
                effect.word(),
                if effect.is_drifted() { style::WARNING } else { state_style(effect.state) },
            ),
            Cell::new(key.clone()),
            Cell::new(format!("{pipeline}.{}", effect.instance)),
            Cell::new(effect.mode.as_str()),
            Cell::new(effect.attempts.to_string()),
            Cell::new(time::date_time(effect.settled.unwrap_or(effect.intended), &zone)),
            Cell::new(effect.error.clone().or_else(|| effect.drifted.clone()).unwrap_or_default()),
        ]
    };
    let rows: Vec<Vec<Cell>> = effects.iter().map(row).collect();
    context.print(&table(&columns, &rows, context.terminal.stdout))?;
    Ok(ExitStatus::Done)
}

fn shown<'a>(pipeline: &Name, key: &'a str, effect: &'a Effect) -> Shown<'a> {
    Shown {
        schema: "cairn.effect/1",
        key,
        pipeline: pipeline.to_string(),
        instance: effect.instance.to_string(),
        state: effect.word(),
        mode: effect.mode.as_str(),
        attempts: effect.attempts,
        input_hash: effect.input_hash.to_string(),
        run: effect.run.to_string(),
        intended: time::rfc3339(effect.intended),
        settled: effect.settled.map(time::rfc3339),
        probe: effect.probe.as_deref(),
        error: effect.error.as_deref(),
        drifted: effect.drifted.as_deref(),
        undo: effect.undo.as_ref().map(cairn_model::Command::argv),
    }
}

fn state_style(state: EffectState) -> Style {
    match state {
        EffectState::Confirmed => style::outcome(Outcome::Ran),
        EffectState::Rejected | EffectState::Undone => style::DIM,
        EffectState::Intent => style::WARNING,
        EffectState::InDoubt | EffectState::Held | EffectState::Undoing => style::outcome(Outcome::InDoubt),
    }
}

fn settle(args: &SettleArgs, context: &Context) -> Result<ExitStatus, Failure> {
    let held = Held::open(context)?;
    let (pipeline, known) = find(held.store(), &args.key, args.pipeline.as_deref())?;
    let before = known.state;
    let state = match &held {
        Held::Here(store) => {
            let mut batch = Batch::new();
            let of = (&pipeline, args.key.as_str());
            let settled = outside::settle(&mut batch, of, known, args.happened, context.clock.now());
            let committed = store.commit(batch, Durability::Synced).map(drop);
            committed.map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
            settled.state.as_str().to_owned()
        }
        Held::There(remote, _) => {
            let body = json!({ "key": args.key, "pipeline": pipeline.as_str(), "happened": args.happened });
            let effect = remote.ask(Method::POST, "/api/v1/effects/settle", Some(&body), None)?;
            effect.get("state").and_then(Value::as_str).unwrap_or_default().to_owned()
        }
    };
    held.close()?;
    let paint = context.terminal.stderr.paint;
    let styled = EffectState::ALL.iter().find(|known| known.as_str().eq_ignore_ascii_case(&state)).copied();
    let word = paint.with(
        styled.map_or(style::DIM, state_style),
        &styled.map_or_else(|| state.clone(), |known| known.as_str().to_owned()),
    );
    context.remark(&format!("  `{}` is {word}; it was {before}\n", args.key));
    Ok(ExitStatus::Done)
}

/// Finds an effect by its key.
fn find(store: &Store, key: &str, pipeline: Option<&str>) -> Result<(Name, Effect), Failure> {
    outside::find(store, key, pipeline).map_err(|error| {
        let status = match error {
            FindEffectError::Read(_) => ExitStatus::Store,
            FindEffectError::Unknown { .. } | FindEffectError::Ambiguous { .. } => ExitStatus::Wrong,
        };
        Failure::of(status, &error).maybe_help(error.help())
    })
}

const UNDO: &str = "cairn.undo/1";

/// `cairn.undo/1`: whether an effect was undone.
#[derive(Serialize)]
struct UndoLine<'a> {
    schema: &'static str,
    key: &'a str,
    undone: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

fn undo(args: &UndoArgs, context: &Context) -> Result<ExitStatus, Failure> {
    let project = context.project()?;
    let past = Past::require(&project)?;
    let (run, keys) = match (&args.key, &args.run) {
        (Some(key), _) => {
            let (_, effect) = find(&past.store, key, args.pipeline.as_deref())?;
            (effect.run, vec![key.clone()])
        }
        (None, run) => {
            let run = past.find(run.as_deref().unwrap_or_default())?;
            (run, Vec::new())
        }
    };
    let record = past.store.run(run).map_err(damaged)?.ok_or_else(|| {
        Failure::new(ExitStatus::Store, format!("the store no longer has run {}", run.short()))
    })?;
    // Its own definition says what stage it was, and what inputs `undo` finds.
    let root = project.root_of(&past.state);
    let definition = resume::definition(&record, &past, false, &root)?;
    if let Some(remote) = Remote::find(&past.state)? {
        return undo_remotely(&remote, past, &record.pipeline, (run, keys), args.json, context);
    }
    drop(past);
    let given = Given {
        params: record.params.clone(),
        logical_time: record.logical_time,
        interval: interval_of(&record),
        run: Some(run),
    };
    let checked = work::check(definition, &given, context.terminal.stderr.report_style())?;
    let store = match Writer::find(checked.project.state(), &root)? {
        Writer::Here(store) => store,
        // It began just now.
        Writer::There(remote) => {
            let past = Past::require(&project)?;
            return undo_remotely(&remote, past, &record.pipeline, (run, keys), args.json, context);
        }
    };
    let keys = if keys.is_empty() {
        let standing = standing(&store, &record.pipeline, run).map_err(damaged)?;
        standing.into_iter().map(|done| done.key).collect()
    } else {
        keys
    };
    if keys.is_empty() {
        nothing_stands(run, context);
    }
    let status = undo_all(&checked, &store, run, &keys, args.json, context)?;
    close(store)?;
    Ok(status)
}

/// Has the daemon that holds the store undo effects, one after the other.
fn undo_remotely(
    remote: &Remote,
    past: Past,
    pipeline: &Name,
    (run, keys): (RunId, Vec<String>),
    as_json: bool,
    context: &Context,
) -> Result<ExitStatus, Failure> {
    let keys = if keys.is_empty() {
        let standing = standing(&past.store, pipeline, run).map_err(damaged)?;
        standing.into_iter().map(|done| (done.key, done.effect.undo.is_some())).collect()
    } else {
        keys.into_iter().map(|key| (key, true)).collect::<Vec<_>>()
    };
    let state = past.state.clone();
    drop(past);
    if keys.is_empty() {
        nothing_stands(run, context);
    }
    let several = keys.len() > 1;
    let mut status = ExitStatus::Done;
    for (key, has_undo) in &keys {
        if several && !has_undo {
            status = ExitStatus::StageFailed;
            if as_json {
                let (error, help) = (Some(UndoError::NoUndo.to_string()), UndoError::NoUndo.help());
                context.print(&json::line(&UndoLine { schema: UNDO, key, undone: false, error, help }))?;
            }
            kept(key, context);
            continue;
        }
        let body = json!({ "key": key, "pipeline": pipeline.as_str() });
        let asked = remote.exchange(Method::POST, "/api/v1/effects/undo", Some(&body), None);
        let (answered, answer) = remote.block_on(asked).map_err(silent)?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let (error, help) = if answered.is_success() { (None, None) } else { (text("detail"), text("help")) };
        let undone = answered.is_success();
        if as_json {
            let (error, help) = (error.clone(), help.clone());
            context.print(&json::line(&UndoLine { schema: UNDO, key, undone, error, help }))?;
        } else if undone {
            said_undone(key, context);
        }
        if !undone {
            let past = Past::open_state(&state)?;
            let known = past.map(|past| past.store.effect(pipeline, key)).transpose().map_err(damaged)?;
            let is_open = known.flatten().is_some_and(|effect| effect.state.is_open());
            let status = match told(answered, &answer).status {
                ExitStatus::Store => ExitStatus::Store,
                _ if is_open => ExitStatus::InDoubt,
                _ => ExitStatus::StageFailed,
            };
            let message =
                format!("`{key}` was not undone: {}", error.unwrap_or_else(|| answered.to_string()));
            return Err(Failure::new(status, message).maybe_help(help));
        }
    }
    Ok(status)
}

fn nothing_stands(run: RunId, context: &Context) {
    context.remark(&format!("  nothing to undo: no effect of run {} stands\n", run.short()));
}

fn said_undone(key: &str, context: &Context) {
    let word = context.terminal.stderr.paint.with(style::DIM, EffectState::Undone.as_str());
    context.remark(&format!("  {word}  {key}\n"));
}

fn kept(key: &str, context: &Context) {
    context.remark(&format!("  kept    {key}: it has no `undo`\n"));
}

fn undo_all(
    checked: &Checked,
    store: &Store,
    run: RunId,
    keys: &[String],
    as_json: bool,
    context: &Context,
) -> Result<ExitStatus, Failure> {
    recover::recover(&checked.project, store, &BTreeSet::new())
        .map_err(|error| Failure::of(ExitStatus::Store, &error))?;
    let logical_time = context.clock.now();
    let clock = Arc::new(SystemClock);
    let engine =
        work::engine(checked, Some(store.clone()), clock, (run, logical_time), HashSet::new(), false)?;
    find_inputs(checked, store, &engine, keys).map_err(damaged)?;
    let mut status = ExitStatus::Done;
    for key in keys {
        let undone = engine.undo(key, None);
        let (error, help) = match &undone {
            Ok(()) => (None, None),
            Err(error) => (Some(error.to_string()), error.help()),
        };
        if as_json {
            let undone = undone.is_ok();
            let (error, help) = (error.clone(), help.clone());
            context.print(&json::line(&UndoLine { schema: UNDO, key, undone, error, help }))?;
        } else if undone.is_ok() {
            said_undone(key, context);
        }
        match undone {
            Ok(()) => {}
            // It stands as it stood, and nothing before it stands on it.
            Err(UndoError::NoUndo) if keys.len() > 1 => {
                status = ExitStatus::StageFailed;
                kept(key, context);
            }
            Err(error) => {
                engine.clear();
                let status = match &error {
                    UndoError::Failed { .. } => ExitStatus::InDoubt,
                    UndoError::State { state, .. } if state.is_open() => ExitStatus::InDoubt,
                    UndoError::Read(_) | UndoError::Commit(_) => ExitStatus::Store,
                    _ => ExitStatus::StageFailed,
                };
                let message = format!("`{key}` was not undone: {error}");
                return Err(Failure::new(status, message).maybe_help(error.help()));
            }
        }
    }
    engine.clear();
    Ok(status)
}

fn close(store: Store) -> Result<(), Failure> {
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))
}
