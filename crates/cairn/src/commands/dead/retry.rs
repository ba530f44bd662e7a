//! `cairn dead retry`.

use std::collections::HashMap;

use cairn_model::Clock as _;
use cairn_scheduler::letters::{self, Retried};
use cairn_store::{Batch, DeadKind, DeadLetter, Durability, Store};
use hyper::Method;
use serde_json::{Value, json};

use super::TOGETHER_MAX;
use super::edit::edit;
use super::filter::Chosen;
use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::damaged;
use crate::remote::{Held, Remote};
use crate::terminal::line::quoted;
use crate::terminal::text::{self, append};

/// Have the next run of a stage take records in again, under the same idempotency keys.
///
/// What is not taken in again by being marked is told with what to do: an instance runs again with its pipeline, and the
/// script that rejected a record has to be given it.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn dead retry --stage load --error timeout", "those that timed out"),
    ("cairn dead retry 3f9a12c4 --edit", "mended in $VISUAL or $EDITOR first"),
]))]
pub(super) struct Args {
    #[command(flatten)]
    which: Chosen,
    /// Edit each record before it is taken in again
    #[arg(long)]
    edit: bool,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let held = Held::open(context)?;
    let letters = args.which.read(held.store(), context)?;
    let mut out = String::new();
    let (mut marked, mut left) = (0, 0);
    // Edited by hand: that is not to be lost because a later one goes wrong.
    let together = if args.edit { 1 } else { TOGETHER_MAX };
    let mut all = Vec::with_capacity(letters.len());
    for letters in letters.chunks(together) {
        let edited = match letters {
            [letter] if args.edit && letter.kind == DeadKind::Record => edit(letter)?,
            _ => None,
        };
        let retried = match &held {
            Held::Here(store) => retry_here(store, letters, edited.as_deref(), context)?,
            Held::There(remote, _) => retry_there(remote, letters, edited)?,
        };
        all.extend(letters.iter().zip(retried));
    }
    held.close()?;
    for (letter, retried) in all {
        let (id, kind) = (letter.id(), letter.kind);
        let (taken_in, is_edited) = match retried {
            Retried::TakenIn { edited } => (true, edited),
            Retried::Run { .. } | Retried::Script => (false, false),
        };
        let command = match &retried {
            Retried::Run { file, instance, force } => {
                let force = if *force { " --force" } else { "" };
                Some(format!("cairn run {} {}{force}", quoted(file), quoted(instance)))
            }
            Retried::TakenIn { .. } | Retried::Script => None,
        };
        if taken_in {
            marked += 1;
        } else {
            left += 1;
        }
        if args.json {
            out.push_str(&json::line(&json::DeadRetry {
                schema: json::DeadRetry::SCHEMA,
                id: id.to_string(),
                kind: kind.as_str(),
                taken_in,
                edited: is_edited,
                command,
            }));
        } else if kind == DeadKind::Rejected && command.is_none() {
            append!(
                out,
                "{} was rejected in the scope `{}`: mend it in its source, run the script that rejected it again, and drop it\n",
                id.short(),
                letter.instance
            );
        } else if let Some(command) = command {
            match kind {
                DeadKind::Rejected => append!(
                    out,
                    "{} was rejected by the script of `{}`: mend it in its source, and `{command}`; then drop it\n",
                    id.short(),
                    letter.instance
                ),
                DeadKind::Instance | DeadKind::Record => {
                    append!(out, "{} is an instance: `{command}` runs it again\n", id.short());
                }
            }
        }
    }
    if !args.json && (marked > 0 || left == 0) {
        append!(out, "the next run takes {} in again\n", text::count(marked, "record"));
    }
    context.print(&out)?;
    Ok(ExitStatus::Done)
}

fn retry_here(
    store: &Store,
    letters: &[DeadLetter],
    edited: Option<&[u8]>,
    context: &Context,
) -> Result<Vec<Retried>, Failure> {
    let (mut batch, now) = (Batch::new(), context.clock.now());
    let retry = |letter| letters::retry(store, &mut batch, letter, edited.map(<[u8]>::to_vec), now);
    let retried = letters.iter().map(retry).collect::<Result<_, _>>().map_err(damaged)?;
    if !batch.is_empty() {
        let committed = store.commit(batch, Durability::Synced).map(drop);
        committed.map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    }
    Ok(retried)
}

/// Has the daemon do it that holds the store.
fn retry_there(
    remote: &Remote,
    letters: &[DeadLetter],
    edited: Option<Vec<u8>>,
) -> Result<Vec<Retried>, Failure> {
    let ids: Vec<String> = letters.iter().map(|letter| letter.id().to_string()).collect();
    let payload = edited.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let body = json!({ "ids": ids, "payload": payload });
    let answer = remote.ask(Method::POST, "/api/v1/dead-letters/retry", Some(&body), None)?;
    let told = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let told: HashMap<&str, &Value> =
        told.iter().filter_map(|item| Some((item.get("id")?.as_str()?, item))).collect();
    let read = |id: &String| {
        let item = told.get(id.as_str())?;
        let flag = |name: &str| item.get(name).and_then(Value::as_bool).unwrap_or(false);
        if flag("taken_in") {
            return Some(Retried::TakenIn { edited: flag("edited") });
        }
        let Some(run) = item.get("run_again") else { return Some(Retried::Script) };
        let text = |name: &str| Some(run.get(name)?.as_str()?.to_owned());
        let force = run.get("force").and_then(Value::as_bool)?;
        Some(Retried::Run { file: text("file")?, instance: text("instance")?, force })
    };
    let retried: Option<Vec<Retried>> = ids.iter().map(read).collect();
    retried.ok_or_else(|| {
        Failure::new(ExitStatus::Store, "the daemon answers as none that this cairn knows")
            .help("restart it with this version: `cairn serve`")
    })
}
