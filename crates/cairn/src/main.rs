//! The binary: reads the command line, does the command, ends with its exit status.
//!
//! - what can be typed: [`args`], a file for each of [`commands`]
//! - what a run is about: [`logical`]
//! - where things are: [`project`], [`settings`]
//! - what is shown: [`terminal`] for people, [`json`] for programs, both folds ([`cairn_scheduler::history`]) over a run's
//!   events, which [`shown`] passes on from a thread of its own
//! - what stages' own commands call: [`notes`], [`lines`]; what reaches the daemon: [`remote`]
//! - who is sent the traces of runs: [`telemetry`]
//! - how it ends: [`exit`], [`failure`], [`mod@panic`]
//!
//! What it does not do: decide what runs, hash, store or start a process: that is the crates' below.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails where it should"))]

mod args;
mod commands;
mod execute;
mod exit;
mod failure;
mod json;
mod lines;
mod logical;
mod notes;
mod panic;
mod past;
mod project;
mod remote;
mod settings;
mod shown;
mod telemetry;
mod terminal;
mod trace;
mod work;

use std::io::Write as _;
use std::process::ExitCode;

use args::Cli;
use cairn_model::SystemClock;
use clap::CommandFactory as _;
use commands::Context;
use exit::ExitStatus;
use terminal::Terminal;

fn main() -> ExitCode {
    // Before anything else: the keeper is to stay small, and none of the following is for it.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == cairn_executor::isolation::KEEPER_ARGUMENT)
    {
        return ExitCode::from(cairn_executor::isolation::keeper_main());
    }
    panic::install();
    let cli = args::parse(std::env::args_os());
    let terminal = Terminal::detect(cli.globals.color.into());
    let Some(command) = cli.command else {
        let help = Cli::command().render_help();
        let text = if terminal.stdout.paint.is_on() { help.ansi().to_string() } else { help.to_string() };
        // As with any result: a reader that has gone away is no failure.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitStatus::Done.into();
    };
    let (verbose, quiet) = (cli.globals.verbose, cli.globals.quiet);
    // A daemon's log tells what happens.
    let verbose = if matches!(command, args::Command::Serve(_)) && !quiet { verbose.max(1) } else { verbose };
    let context = Context { globals: cli.globals, terminal, clock: SystemClock };
    let done =
        trace::start(verbose, quiet, terminal.stderr).and_then(|()| commands::dispatch(&command, &context));
    match done {
        Ok(status) => status.into(),
        Err(failure) => {
            // Where standard error is gone too, the exit status still tells.
            let _ = std::io::stderr().write_all(failure.render(terminal.stderr.paint).as_bytes());
            failure.status.into()
        }
    }
}
