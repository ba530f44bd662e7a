//! `cairn dead retry`.

use cairn_model::Clock as _;
use cairn_store::{Batch, DeadKind, DeadLetter, Durability, Retry, Store};

use super::edit::edit;
use super::filter::Chosen;
use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::notes::open_for_writing;
use crate::past::damaged;
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
    let store = open_for_writing(context)?;
    let letters = args.which.read(&store, context)?;
    let mut out = String::new();
    let (mut marked, mut left) = (0, 0);
    let mut batch = Batch::new();
    for letter in letters {
        let (id, kind) = (letter.id(), letter.kind);
        let command = match kind {
            DeadKind::Record => None,
            DeadKind::Instance | DeadKind::Rejected => command(&store, &letter)?,
        };
        let edited = match kind {
            DeadKind::Record if args.edit => edit(&letter)?,
            // What was edited before stays edited.
            DeadKind::Record => letter.retry.as_ref().and_then(|retry| retry.payload.clone()),
            DeadKind::Instance | DeadKind::Rejected => None,
        };
        let is_edited = edited.is_some();
        if kind == DeadKind::Record {
            marked += 1;
            let retry = Some(Retry { payload: edited, asked: context.clock.now() });
            batch.put_dead(&DeadLetter { retry, ..letter.clone() });
            // Edited by hand: that is not to be lost because a later one goes wrong.
            if args.edit {
                commit(&store, std::mem::take(&mut batch))?;
            }
        } else {
            left += 1;
        }
        if args.json {
            out.push_str(&json::line(&json::DeadRetry {
                schema: json::DeadRetry::SCHEMA,
                id: id.to_string(),
                kind: kind.as_str(),
                taken_in: kind == DeadKind::Record,
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
    commit(&store, batch)?;
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    if !args.json && (marked > 0 || left == 0) {
        append!(out, "the next run takes {} in again\n", text::count(marked, "record"));
    }
    context.print(&out)?;
    Ok(ExitStatus::Done)
}

fn commit(store: &Store, batch: Batch) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    match store.commit(batch, Durability::Synced) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::of(ExitStatus::Store, &error).maybe_help(error.help())),
    }
}

/// Returns the command that runs an instance again; `None` where a record was rejected in a scope, which is no instance.
fn command(store: &Store, letter: &DeadLetter) -> Result<Option<String>, Failure> {
    let run = store.run(letter.run).map_err(damaged)?;
    let of_scope = run.as_ref().is_none_or(|run| run.pipeline != letter.pipeline);
    if letter.kind == DeadKind::Rejected && of_scope {
        return Ok(None);
    }
    let file = run.map_or_else(|| letter.pipeline.to_string(), |run| run.file);
    let force = match letter.kind {
        DeadKind::Rejected => " --force",
        DeadKind::Record | DeadKind::Instance => "",
    };
    Ok(Some(format!("cairn run {} {}{force}", quoted(&file), quoted(&letter.instance.to_string()))))
}
