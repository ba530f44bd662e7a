//! `cairn mark`: a checkpoint inside a long stage.

use cairn_notes::protocol::{Reply, Request};

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::notes::{Caller, Scope, unexpected};

/// Keep a value for the next attempt of the same stage with the same inputs.
///
/// It is durable when this ends. Other code or other inputs start without it, and so does what is executed again after
/// it succeeded.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn mark offset=88123", "keep it"),
    ("cairn mark --get offset", "print it; ends with 1 when there is none"),
]))]
pub(crate) struct Args {
    /// The name and its new value
    #[arg(value_name = "NAME=VALUE", required_unless_present = "get", value_parser = name_and_value)]
    mark: Option<(String, String)>,
    /// Print the value of NAME
    #[arg(long, value_name = "NAME", conflicts_with = "mark")]
    get: Option<String>,
    #[command(flatten)]
    scope: Scope,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE, for example `offset=88123`".to_owned()),
    }
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let mut caller = Caller::find(&args.scope, context)?;
    let request = match (&args.mark, &args.get) {
        (Some((name, value)), _) => Request::Mark { name: name.clone(), value: value.clone() },
        (None, Some(name)) => Request::GetMark { name: name.clone() },
        (None, None) => unreachable!("one of them is required"),
    };
    let reply = caller.ask_anyone(&request)?;
    caller.end()?;
    match reply {
        Reply::Ok => Ok(ExitStatus::Done),
        Reply::Value(Some(value)) => {
            context.print(&format!("{value}\n"))?;
            Ok(ExitStatus::Done)
        }
        Reply::Value(None) => Ok(ExitStatus::StageFailed),
        other => Err(unexpected(&other)),
    }
}
