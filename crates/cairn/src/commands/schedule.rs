//! `cairn schedule`: when pipelines run by themselves.

mod next;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Tell when pipelines run by themselves.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn schedule next", "the next times of the only pipeline here, and what each run is about"),
    ("cairn schedule next --cron \"30 2 * * *\" --timezone Europe/Berlin", "of an expression"),
]))]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print the next times and their intervals
    Next(next::Args),
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    match &args.action {
        Action::Next(args) => next::run(args, context),
    }
}
