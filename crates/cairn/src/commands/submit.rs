//! `cairn submit`: asks the daemon for a run.

use cairn_server::gate::random_hex;
use hyper::Method;
use serde_json::{Value, json};

use super::Context;
use crate::args::{Params, examples};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::remote::Remote;

/// Ask the daemon for a run, and do not wait for it.
///
/// With a key the same request makes one run, however often it is sent.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn submit flights", "a run of the pipeline `flights`"),
    ("cairn submit flights -p year=2014 --key 2014", "once, however often it is called"),
]))]
pub(crate) struct Args {
    /// The pipeline's name
    #[arg(value_name = "PIPELINE")]
    pipeline: String,
    #[command(flatten)]
    params: Params,
    /// Names the request: sent again, it makes no second run
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Runs with a greater one leave the queue first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// Print the run as a JSON object
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let remote = Remote::require(&context.project()?.state()?)?;
    let params: serde_json::Map<String, Value> =
        args.params.params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let body = json!({ "params": params, "priority": args.priority, "by_hand": true });
    let path = format!("/api/v1/pipelines/{}/runs", args.pipeline);
    // Without one of its caller's, one of its own has it be sent again to the next daemon.
    let key = args.key.clone().unwrap_or_else(random_hex);
    let run = remote.ask(Method::POST, &path, Some(&body), Some(&key))?;
    let text = |key: &str| run.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if args.json {
        context.print(&format!("{run}\n"))?;
    } else {
        context.print(&format!("{}\n", text("short")))?;
        context.remark(&format!(
            "  {} is {}; watch it: `cairn logs {} -f`\n",
            text("short"),
            text("status"),
            text("short")
        ));
    }
    Ok(ExitStatus::Done)
}
