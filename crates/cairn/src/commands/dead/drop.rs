//! `cairn dead drop`.

use cairn_store::{Batch, Durability};

use super::filter::Chosen;
use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::notes::open_for_writing;
use crate::terminal::text;

/// Forget dead letters.
///
/// Their records are gone from cairn, unless they are still in their source: a record that fails again dies again.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn dead drop 3f9a12c4 77b01e2d", "these two"),
    ("cairn dead drop --stage load --older-than 30d", "old ones of a stage"),
]))]
pub(super) struct Args {
    #[command(flatten)]
    which: Chosen,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let store = open_for_writing(context)?;
    let letters = args.which.read(&store, context)?;
    let (mut batch, mut out) = (Batch::new(), String::new());
    for letter in &letters {
        batch.remove_dead(letter);
        if args.json {
            let id = letter.id().to_string();
            out.push_str(&json::line(&json::DeadDrop { schema: json::DeadDrop::SCHEMA, id }));
        }
    }
    let committed = store.commit(batch, Durability::Synced).and_then(|_| store.close());
    committed.map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    if !args.json {
        out = format!("dropped {}\n", text::count(letters.len(), "dead letter"));
    }
    context.print(&out)?;
    Ok(ExitStatus::Done)
}
