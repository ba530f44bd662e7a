//! `cairn once`: a command that succeeds once under a key.

use std::ffi::OsString;
use std::process::ExitStatus as Ended;

use cairn_model::Timestamp;
use cairn_notes::once::{self, is_cut_off, status_of};
use cairn_notes::protocol::{CutOff, Reply, Request};

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::notes::{Caller, Scope, unexpected};
use crate::terminal::time;

/// Run a command, unless it is known to have succeeded under KEY.
///
/// That it is about to run is durable before it does, and that it succeeded when this ends with 0. A command that fails
/// may be run again, and its exit status is passed on. One that was cut off, as by a signal, may have succeeded: it is run
/// again, with the same `CAIRN_ONCE_KEY` in its environment, so that who is called can tell; with `--hold` it is not.
///
/// A key belongs to the pipeline's stage, whatever its code and inputs. Of several calls with one key at a time one runs
/// the command, and the others wait for it.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn once mail:42 -- ./mail.sh 42", "within a stage: once, however often the stage runs"),
    ("cairn once pay:7 -- curl -sf -H \"Idempotency-Key: $CAIRN_ONCE_KEY\" URL", "the key passed on"),
    ("cairn once --scope nightly backup-2026-01-01 -- ./backup.sh", "outside of stages"),
]))]
pub(crate) struct Args {
    /// What the command is known by
    #[arg(value_name = "KEY")]
    key: String,
    /// When the command was cut off before, do not run it: end with status 4
    #[arg(long)]
    hold: bool,
    #[command(flatten)]
    scope: Scope,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let mut caller = Caller::find(&args.scope, context)?;
    let key = &args.key;
    let within = once::within();
    // Given back before the conversation ends: that may wait for who waits for this.
    let lock = caller.lock_once(key, &within)?;
    let asked = Request::Once { key: key.clone(), hold: args.hold, within: within.clone() };
    let (once_key, cut_off) = match caller.ask_once(&asked, lock.as_ref())? {
        Reply::AlreadyDone => {
            drop(lock);
            caller.end()?;
            return Ok(ExitStatus::Done);
        }
        Reply::Held(cut_off) => {
            drop(lock);
            caller.end()?;
            let text = format!("`{key}` {}, and what became of it is not known", started(&cut_off));
            return Err(Failure::new(ExitStatus::InDoubt, text).help(
                    "find out whether it happened: `-- true` in its place has it done; without `--hold` it is run again",
                ));
        }
        Reply::Run { once_key, cut_off } => (once_key, cut_off),
        other => return Err(unexpected(&other)),
    };
    if let Some(cut_off) = cut_off {
        context.remark(&format!(
            "cairn once: `{key}` {}, and what became of it is not known: it is run again under the same key\n",
            started(&cut_off)
        ));
    }
    caller.share_with_commands()?;
    let ended = once::run(&args.command, &once_key, within).map_err(|error| {
        let program = args.command.first().map(|program| program.to_string_lossy()).unwrap_or_default();
        Failure::new(ExitStatus::StageFailed, format!("cannot run `{program}`")).because_of(Some(&error))
    });
    if let Ok(ended) = &ended
        && is_cut_off(*ended, args.hold)
    {
        // What became of it is not known: that it was started stays written down.
        drop(lock);
        caller.end()?;
        std::process::exit(status_of(*ended).into());
    }
    let succeeded = ended.as_ref().is_ok_and(Ended::success);
    let told = caller.ask_anyone(&Request::OnceEnded { key: key.clone(), succeeded });
    drop(lock);
    match (ended, told) {
        (Ok(ended), Ok(Reply::Ok)) => {
            caller.end()?;
            let code = status_of(ended);
            if code == 0 { Ok(ExitStatus::Done) } else { std::process::exit(code.into()) }
        }
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
        (Ok(_), Ok(other)) => Err(unexpected(&other)),
    }
}

fn started(cut_off: &CutOff) -> String {
    let at = time::date_time(Timestamp(cut_off.at), &time::zone());
    let run = cut_off.run.as_ref().map_or_else(String::new, |run| format!(" in run {run}"));
    let times =
        if cut_off.starts > 1 { format!(" for the {}th time", cut_off.starts) } else { String::new() };
    format!("was started{times} at {at}{run}")
}
