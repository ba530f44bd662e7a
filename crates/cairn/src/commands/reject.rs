//! `cairn reject`: records that a stage's command refuses become dead letters.

use cairn_notes::protocol::{Reply, Request};

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::lines::Lines;
use crate::notes::{Caller, Scope, unexpected};

/// Have each line of standard input be a dead letter, and go on.
///
/// They are there once the stage has succeeded; an attempt that fails leaves none. `cairn dead list` shows them.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn reject --reason 'no id' < bad.jsonl", "within a stage: these are not what it can work with"),
    ("cairn dead list", "all dead letters"),
]))]
pub(crate) struct Args {
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    scope: Scope,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let mut caller = Caller::find(&args.scope, context)?;
    let mut lines = Lines::new(std::io::stdin().lock());
    loop {
        let next = lines.next().map_err(|error| Failure::of(ExitStatus::StageFailed, &error))?;
        if next.is_empty() {
            break;
        }
        let lines = next.into_iter().map(|(number, line)| (number, line.to_vec())).collect();
        expect_ok(&caller.ask(&Request::Reject { reason: args.reason.clone(), lines })?)?;
    }
    expect_ok(&caller.ask(&Request::End)?)?;
    caller.end()?;
    Ok(ExitStatus::Done)
}

fn expect_ok(reply: &Reply) -> Result<(), Failure> {
    if *reply == Reply::Ok { Ok(()) } else { Err(unexpected(reply)) }
}
