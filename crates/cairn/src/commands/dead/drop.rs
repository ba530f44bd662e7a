//! `cairn dead drop`.

use cairn_store::{Batch, Durability};
use hyper::Method;
use serde_json::json;

use super::TOGETHER_MAX;
use super::filter::Chosen;
use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::remote::Held;
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
    let held = Held::open(context)?;
    let letters = args.which.read(held.store(), context)?;
    match &held {
        Held::Here(store) => {
            let mut batch = Batch::new();
            for letter in &letters {
                batch.remove_dead(letter);
            }
            let committed = store.commit(batch, Durability::Synced).map(drop);
            committed.map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
        }
        Held::There(remote, _) => {
            for letters in letters.chunks(TOGETHER_MAX) {
                let ids: Vec<String> = letters.iter().map(|letter| letter.id().to_string()).collect();
                remote.ask(Method::POST, "/api/v1/dead-letters/drop", Some(&json!({ "ids": ids })), None)?;
            }
        }
    }
    held.close()?;
    let mut out = String::new();
    if args.json {
        for letter in &letters {
            let id = letter.id().to_string();
            out.push_str(&json::line(&json::DeadDrop { schema: json::DeadDrop::SCHEMA, id }));
        }
    }
    if !args.json {
        out = format!("dropped {}\n", text::count(letters.len(), "dead letter"));
    }
    context.print(&out)?;
    Ok(ExitStatus::Done)
}
