//! Asks a command for what it prints: beside any attempt, without the keeper.
//!
//! Such a command is short (`awk --version`) and leaves nothing, so it is spared what the keeper does for a stage. It
//! still does not get away: it carries the mark by which [`end_strays`](super::strays::end_strays) finds what a killed
//! run left, and it is ended when it does not.

use std::io;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getpid};

use super::process::{Held, Snapshot};
use super::{STATE_VARIABLE, TOKEN_VARIABLE};

/// The token of all questions: the same ever, since a command may print its environment.
const TOKEN: &str = "question";

/// Runs `command` to its end and returns what it printed; `None` when that takes longer than `limit`, after which it and
/// what it started are killed. `state_id` marks it as started for that state folder.
///
/// # Errors
///
/// When it cannot be started or read from.
pub fn ask(command: &mut Command, state_id: &str, limit: Duration) -> io::Result<Option<Output>> {
    let child = command
        .env(STATE_VARIABLE, state_id)
        .env(TOKEN_VARIABLE, TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_child(&child);
    let (answer, answered) = channel();
    // Waits and reads, without limit; this thread has the limit. When that is over the other is left to itself: a daemon
    // that got away may hold the pipes open.
    let wait = move || drop(answer.send(child.wait_with_output()));
    if let Err(error) = thread::Builder::new().name("question".to_owned()).spawn(wait) {
        end_tree(pid);
        return Err(error);
    }
    match answered.recv_timeout(limit) {
        Ok(output) => output.map(Some),
        Err(RecvTimeoutError::Timeout) => {
            end_tree(pid);
            Ok(None)
        }
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("it is not waited for")),
    }
}

/// Kills a child of this process and all below it.
fn end_tree(child: Pid) {
    // Still a child: else its number may be another's by now.
    let is_child = |stat: &super::process::Stat| stat.parent == getpid().as_raw_pid() && !stat.dead;
    // All are found before the first one ends: what it started is then another's child.
    let child_held = Held::open(child, is_child);
    let below = Snapshot::take().below([child]);
    for process in child_held.iter().chain(&below) {
        if let Err(error) = process.signal(Signal::KILL) {
            tracing::warn!(%error, "a command that takes too long cannot be ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn shell(text: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]);
        command
    }

    #[test]
    fn what_it_prints_and_how_it_ends_is_returned() {
        let output = ask(&mut shell("echo out; echo err >&2; exit 3"), "state", Duration::from_mins(1));
        let output = output.unwrap().unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn after_the_limit_it_and_all_it_started_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("sleep 1000 & echo $! > below; sleep 1000 & echo $! >> below; wait");
        let begun = Instant::now();
        let asked = ask(command.current_dir(folder.path()), "state", Duration::from_millis(500));
        assert!(asked.unwrap().is_none());
        assert!(begun.elapsed() < Duration::from_secs(100));
        let below = std::fs::read_to_string(folder.path().join("below")).unwrap();
        let pids: Vec<i32> = below.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(pids.len(), 2);
        for pid in pids {
            let pid = Pid::from_raw(pid).unwrap();
            while super::super::process::Stat::of(pid).is_some_and(|stat| !stat.dead) {
                assert!(begun.elapsed() < Duration::from_secs(100), "{pid:?} lives on");
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}
