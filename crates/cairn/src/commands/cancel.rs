//! `cairn cancel`: takes a run from the daemon's queue, or ends it.

use hyper::Method;
use serde_json::Value;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::remote::{Ending, GOES_ON, Remote};

/// Take a run from the daemon's queue, or end it: gently the first time, at once the second.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn cancel 1a2b3c4d", "the run whose id begins or ends so"),
    ("cairn cancel 1a2b3c4d; cairn cancel 1a2b3c4d", "at once"),
]))]
pub(crate) struct Args {
    /// The run: its id, or the beginning or the end of it
    #[arg(value_name = "RUN")]
    run: String,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let remote = Remote::require(&context.project()?.state()?)?;
    let path = format!("/api/v1/runs/{}", args.run);
    let look = || remote.ask(Method::GET, &path, None, None);
    let ending = if is_cancelled(&look()?) { Ending::Now } else { Ending::Gently };
    // Sent again it is the same, unless the run is over by then, by itself perhaps.
    let done = || {
        let run = look()?;
        let is_done = is_over(&run) || is_cancelled(&run) && ending == Ending::Gently;
        Ok(Some(run).filter(|_| is_done))
    };
    let body = ending.body();
    let run = remote.ask_unless(&Method::POST, &format!("{path}/cancel"), Some(&body), done)?;
    let text = |key: &str| run.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let how = if is_cancelled(&run) { "is cancelled" } else { "had ended" };
    context.remark(&format!("  {} of `{}` {how}\n", text("short"), text("pipeline")));
    Ok(ExitStatus::Done)
}

fn is_cancelled(run: &Value) -> bool {
    run.get("cancelled").is_some_and(Value::is_string)
}

fn is_over(run: &Value) -> bool {
    let status = run.get("status").and_then(Value::as_str);
    status.is_some_and(|status| !GOES_ON.contains(&status))
}
