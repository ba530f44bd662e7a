//! `cairn plan`: what `run` would do.

use std::collections::HashSet;
use std::sync::Arc;

use anstyle::Style;
use cairn_model::{Clock as _, Outcome, RunId, SystemClock, Timestamp};
use cairn_scheduler::plan::{Prediction, plan};
use cairn_scheduler::select::Request;
use cairn_store::Store;
use serde::Serialize;

use super::Context;
use crate::args::{Choice, Params, Target, examples};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::logical::Logical;
use crate::past::Past;
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::text::append;
use crate::terminal::{style, time};
use crate::work::{self, Checked, Given, selection};

/// Show what `run` would do to each instance, and why; nothing is executed or changed.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn plan", "what `cairn run` would do now"),
    ("cairn plan -p year=2014", "what another param would change"),
    ("cairn plan --from clean", "what would be done over again"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    pub(crate) logical: Logical,
    /// Print each instance as a JSON object on a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) choice: Choice,
}

/// Instances above which those that are fresh are only counted.
const FRESH_SHOWN_MAX: usize = 40;

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let settled = context.settle(&args.target.words())?;
    let (now, run) = (context.clock.now(), RunId::generate(&context.clock));
    let given =
        Given { params: args.params.params.clone(), logical_time: now, interval: None, run: Some(run) };
    let (checked, given) = args.logical.check(settled.pipeline.read()?, given, context.terminal)?;
    context.warn(&checked);
    let request = args.choice.request(&settled.stages);
    show(&checked, (&request, args.choice.force_effects), run, given.logical_time, args.json, context)
}

/// Predicts what a run of `request` would do, with `--force-effects` or without.
pub(crate) fn predict(
    checked: &Checked,
    (request, force_effects): (&Request, bool),
    run: RunId,
    now: Timestamp,
) -> Result<Vec<Prediction>, Failure> {
    let past = Past::open_state(checked.project.state())?;
    predict_in(checked, (request, force_effects), run, now, past.map(|past| past.store))
}

/// Predicts it by a store that is open.
pub(crate) fn predict_in(
    checked: &Checked,
    (request, force_effects): (&Request, bool),
    run: RunId,
    now: Timestamp,
    store: Option<Store>,
) -> Result<Vec<Prediction>, Failure> {
    let selection = selection(checked, request, force_effects)?;
    let engine =
        work::engine(checked, store, Arc::new(SystemClock), (run, now), HashSet::new(), force_effects)?;
    plan(&engine, &checked.graph, &selection.selected, &selection.forced)
        .map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))
}

/// Shows the plan of a request.
pub(crate) fn show(
    checked: &Checked,
    request: (&Request, bool),
    run: RunId,
    now: Timestamp,
    as_json: bool,
    context: &Context,
) -> Result<ExitStatus, Failure> {
    let predictions = predict(checked, request, run, now)?;
    let out = if as_json { lines(checked, &predictions) } else { drawn(checked, &predictions, context) };
    context.print(&out)?;
    Ok(ExitStatus::Done)
}

#[derive(Serialize)]
struct Planned<'a> {
    schema: &'static str,
    instance: String,
    action: &'static str,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_hash: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    restores: &'a [String],
}

fn lines(checked: &Checked, predictions: &[Prediction]) -> String {
    let mut out = String::new();
    for (instance, prediction) in checked.pipeline.instances.iter().zip(predictions) {
        let Some((action, _)) = word(prediction) else { continue };
        let input_hash = match prediction {
            Prediction::Run { input_hash, .. } | Prediction::Drifted { input_hash, .. } => {
                Some(input_hash.to_string())
            }
            _ => None,
        };
        let restores = match prediction {
            Prediction::Restore { paths, .. } => paths.as_slice(),
            _ => &[],
        };
        let (instance, reason) = (instance.name.to_string(), reason(prediction));
        out.push_str(&json::line(&Planned {
            schema: "cairn.plan/1",
            instance,
            action,
            reason,
            input_hash,
            restores,
        }));
    }
    out
}

fn drawn(checked: &Checked, predictions: &[Prediction], context: &Context) -> String {
    let stream = context.terminal.stdout;
    let fold = predictions.len() > FRESH_SHOWN_MAX;
    let mut rows = Vec::new();
    let mut counts: Vec<(&'static str, Style, usize)> = Vec::new();
    for (instance, prediction) in checked.pipeline.instances.iter().zip(predictions) {
        let Some((word, style)) = word(prediction) else { continue };
        match counts.iter_mut().find(|(known, ..)| *known == word) {
            Some((.., count)) => *count += 1,
            None => counts.push((word, style, 1)),
        }
        if fold && matches!(prediction, Prediction::Fresh { .. }) {
            continue;
        }
        let quiet = if matches!(prediction, Prediction::Fresh { .. }) { style::DIM } else { Style::new() };
        rows.push(vec![
            Cell::styled(format!("  {word}"), style),
            Cell::styled(instance.name.to_string(), quiet),
            Cell::styled(reason(prediction), quiet),
        ]);
    }
    let columns = [Column::new("  would"), Column::new("instance"), Column::giving("why")];
    let mut out = if rows.is_empty() { String::new() } else { table(&columns, &rows, stream) + "\n" };
    let words: Vec<String> = counts
        .iter()
        .map(|(word, style, count)| stream.paint.with(*style, &format!("{count} {word}")))
        .collect();
    append!(out, "  {}\n", words.join(", "));
    out
}

/// The word for a prediction, `None` where the instance takes no part.
fn word(prediction: &Prediction) -> Option<(&'static str, Style)> {
    Some(match prediction {
        Prediction::Run { .. } => ("RUN", style::outcome(Outcome::Ran)),
        Prediction::After { .. } => ("FOLLOW", style::outcome(Outcome::Ran)),
        Prediction::Restore { .. } => ("RESTORE", style::outcome(Outcome::Restored)),
        Prediction::Fresh { .. } => ("FRESH", style::outcome(Outcome::Fresh)),
        Prediction::Broken { .. } => ("FAIL", style::outcome(Outcome::Failed)),
        Prediction::Drifted { .. } => ("DRIFTED", style::WARNING),
        Prediction::InDoubt { .. } => ("IN DOUBT", style::outcome(Outcome::InDoubt)),
        Prediction::Blocked(_) => ("BLOCK", style::outcome(Outcome::Blocked)),
        Prediction::NotSelected => return None,
    })
}

/// Says why in one line.
pub(crate) fn reason(prediction: &Prediction) -> String {
    match prediction {
        Prediction::Fresh { effect: Some(key), .. } => format!("its effect `{key}` is done"),
        Prediction::Fresh { saved_ms, effect: None, .. } => {
            format!("unchanged, saves {}", time::took(*saved_ms))
        }
        other => other.why(),
    }
}
