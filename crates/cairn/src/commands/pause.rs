//! `cairn pause`: a pipeline's schedule.

use hyper::Method;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::remote::Remote;

/// Have a pipeline's schedule start nothing until it is taken up again.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn pause flights", "until `cairn unpause flights`"),
    ("cairn pause flights && cairn run flights", "by hand it runs all the same"),
]))]
pub(crate) struct Args {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let remote = Remote::require(&context.project()?.state()?)?;
    let _ = remote.ask_again(Method::POST, &format!("/api/v1/pipelines/{}/pause", args.pipeline))?;
    context.remark(&format!("  the schedule of `{}` is paused\n", args.pipeline));
    Ok(ExitStatus::Done)
}
