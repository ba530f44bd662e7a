//! The keeper: one thread that starts jobs, reads what they write, and sees that nothing of them is left.
//!
//! - [`watch`]: the loop over callers' requests, ended children, pipes and timers
//! - [`caller`]: whom it serves; [`host`]: where it outlives who started it
//! - [`attempt`]: one job from start to end; [`family`]: which inherited process belongs to which job
//! - [`program`]: from a command to what the kernel executes; [`spawn`]: the step into the new process
//! - [`output`]: from pipes to log; [`system`]: what the system offers without a safe interface
//!
//! It holds no async runtime and no other thread, so that forking is cheap and its children's parent never ends early.

mod attempt;
mod caller;
mod family;
mod host;
mod output;
mod program;
mod spawn;
mod system;
mod watch;

use std::io::{self, Write};

/// What `cairn __keeper` runs: serves the caller at the other ends of standard input and output until that of the input closes, then ends all
/// that still runs. With the path of a socket as its argument, standard input is that socket: it serves callers there, one after
/// the other, and ends when there is nothing to do for any. Returns the exit status. To be called first in `main`, before
/// any thread is started.
pub fn keeper_main() -> u8 {
    let socket = std::env::args_os().nth(2).map(std::path::PathBuf::from);
    match watch::Supervisor::set_up(socket.as_deref()) {
        Ok(supervisor) => {
            supervisor.run();
            0
        }
        Err(error) => {
            // Nobody is left to be told if this fails.
            drop(writeln!(io::stderr(), "error: the keeper process cannot start: {error}"));
            2
        }
    }
}
