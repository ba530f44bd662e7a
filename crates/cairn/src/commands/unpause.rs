//! `cairn unpause`: a pipeline's schedule.

use hyper::Method;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::remote::Remote;

/// Have a pipeline's schedule go on.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn schedule next flights", "when it would run"),
    ("cairn unpause flights", "its schedule goes on; what was missed goes by its `catchup`"),
]))]
pub(crate) struct Args {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let remote = Remote::require(&context.project()?.state()?)?;
    let _ = remote.ask_again(Method::POST, &format!("/api/v1/pipelines/{}/unpause", args.pipeline))?;
    context.remark(&format!("  the schedule of `{}` goes on\n", args.pipeline));
    Ok(ExitStatus::Done)
}
