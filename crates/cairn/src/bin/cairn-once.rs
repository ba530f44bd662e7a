//! What stages find as `cairn`: does a plain `cairn once KEY -- COMMAND…` of an attempt by itself, and starts `cairn`, which
//! lies beside it, for all else: other commands, other options, whatever has to be explained. `cairn` itself does all of it; but
//! to start a program with a database in it takes longer than the rest of the call.

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use cairn_executor::isolation::TOKEN_VARIABLE;
use cairn_notes::protocol::{Reply, Request};
use cairn_notes::{Client, ClientError, EPOCH_VARIABLE, SOCKET_VARIABLE, once};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    Call::of(&arguments).and_then(|call| call.make()).unwrap_or_else(|| start_cairn(&arguments))
}

/// A call in its plainest form.
struct Call<'a> {
    key: &'a str,
    command: &'a [OsString],
}

impl<'a> Call<'a> {
    fn of(arguments: &'a [OsString]) -> Option<Self> {
        let [once, key, dashes, command @ ..] = arguments else { return None };
        let key = key.to_str().filter(|key| !key.starts_with('-'))?;
        (once == "once" && dashes == "--" && !command.is_empty()).then_some(Self { key, command })
    }

    /// Makes the call, as far as nothing has to be said; `None`: nothing is done yet.
    fn make(&self) -> Option<ExitCode> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (token, socket) = (variable(TOKEN_VARIABLE)?, variable(SOCKET_VARIABLE)?);
        let epoch = variable(EPOCH_VARIABLE)?.parse().ok()?;
        let mut client = Client::of_attempt(Path::new(&socket), token, epoch, None).ok()?;
        let (key, within) = (self.key.to_owned(), once::within());
        // Held, nothing is written down of a command that was cut off before, and who explains it may ask again.
        let asked = Request::Once { key: key.clone(), hold: true, within: within.clone() };
        let once_key = match client.ask(&asked) {
            Ok(Reply::AlreadyDone) => return Some(ExitCode::SUCCESS),
            Ok(Reply::Run { once_key, cut_off: None }) => once_key,
            _ => return None,
        };
        // From here on it is written down that the command is started.
        if let Err(error) = client.share_with_commands() {
            return Some(failed(STORE, GONE, Some(&error)));
        }
        let ended = match once::run(self.command, &once_key, within) {
            // What became of it is not known: that it was started stays written down.
            Ok(ended) if once::is_cut_off(ended, false) => return Some(once::status_of(ended).into()),
            ended => ended,
        };
        let succeeded = ended.as_ref().is_ok_and(std::process::ExitStatus::success);
        let told = client.ask(&Request::OnceEnded { key, succeeded });
        Some(match (ended, told) {
            (Err(error), _) => {
                let program = self.command[0].to_string_lossy();
                failed(CANNOT_RUN, &format!("cannot run `{program}`"), Some(&error))
            }
            (Ok(ended), Ok(Reply::Ok)) => once::status_of(ended).into(),
            (Ok(_), Ok(reply)) => failed(BUG, &format!("an answer that was not asked for: {reply:?}"), None),
            (Ok(_), Err(ClientError::Gone(error))) => failed(STORE, GONE, Some(&error)),
            (Ok(_), Err(ClientError::Refused { error, help, store })) => {
                let status = failed(if store { STORE } else { WRONG }, &error, None);
                if let Some(help) = help {
                    tell(&format!("help: {help}\n"));
                }
                status
            }
        })
    }
}

// As `cairn` ends, and speaks (docs/commands.md).
const CANNOT_RUN: u8 = 1;
const WRONG: u8 = 2;
const STORE: u8 = 5;
const BUG: u8 = 70;
const GONE: &str = "the process that holds the store does not answer";

fn failed(status: u8, what: &str, cause: Option<&dyn std::error::Error>) -> ExitCode {
    tell(&format!("error: {what}\n"));
    if let Some(cause) = cause {
        tell(&format!("  because: {cause}\n"));
    }
    status.into()
}

fn tell(text: &str) {
    // Where standard error is gone too, the exit status still tells.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Becomes `cairn`, with the same arguments.
fn start_cairn(arguments: &[OsString]) -> ExitCode {
    let cairn =
        std::env::current_exe().and_then(std::fs::canonicalize).map(|own| own.with_file_name("cairn"));
    let error = match cairn {
        Ok(cairn) => Command::new(cairn).args(arguments).exec(),
        Err(error) => error,
    };
    failed(STORE, "cannot start the `cairn` that lay beside `cairn-once`", Some(&error))
}
