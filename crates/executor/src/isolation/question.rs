//! Asks a command for what it prints: beside any attempt, without the keeper.
//!
//! Such a command is short (`awk --version`) and leaves nothing, so it is spared what the keeper does for a stage. It
//! still does not get away: it carries the mark by which [`end_strays`](super::strays::end_strays) finds what a killed
//! run left, and it is ended when it does not.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpid};

use super::process::{Held, Snapshot};
use super::{STATE_VARIABLE, TOKEN_VARIABLE};

/// The token of all questions: the same ever, since a command may print its environment.
const TOKEN: &str = "question";

/// The longest pause between two looks whether a command that says no more has ended.
const PAUSE_MAX: Duration = Duration::from_millis(10);

/// How far a command is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may take.
    pub within: Duration,
    /// How many bytes it may print, to standard output and to standard error each.
    pub bytes: usize,
}

/// Why a command has no answer. Each reads as what the command does.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It cannot be started or read from.
    #[error("cannot be started: {0}")]
    Unheard(#[from] io::Error),
    /// It took longer than it may.
    #[error("takes longer than {} s", .0.within.as_secs())]
    TooLong(Limits),
    /// It printed more than it may.
    #[error("prints more than {} KiB", .0.bytes >> 10)]
    TooMuch(Limits),
}

/// The commands that this process asks.
struct Asking {
    children: Vec<Pid>,
    /// Whether the process is about to end: nothing more is asked.
    is_over: bool,
}

static ASKING: Mutex<Asking> = Mutex::new(Asking { children: Vec::new(), is_over: false });

/// Ends all commands that this process asks, with what they started: it is about to end itself. Nothing is asked after that.
pub fn end_questions() {
    let mut asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    asking.is_over = true;
    for child in asking.children.drain(..) {
        end_tree(child);
    }
}

/// Takes down that a command is asked, or is asked no more.
fn note(change: impl FnOnce(&mut Vec<Pid>)) -> Result<(), NoAnswer> {
    let mut asking = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    if asking.is_over {
        return Err(io::Error::new(io::ErrorKind::Interrupted, "cairn is about to end").into());
    }
    change(&mut asking.children);
    Ok(())
}

/// Runs `command` to its end and returns what it printed; beyond the limits it and what it started are killed. `state_id`
/// marks it as started for that state folder.
///
/// A daemon that it left behind and that holds its output open is listened to until then, and no longer.
pub fn ask(command: &mut Command, state_id: &str, limits: Limits) -> Result<Output, NoAnswer> {
    let mut child = command
        .env(STATE_VARIABLE, state_id)
        .env(TOKEN_VARIABLE, TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_child(&child);
    let answered = note(|children| children.push(pid)).and_then(|()| {
        let answered = listen(&mut child, limits)?;
        // Of one that was ended meanwhile this is no answer.
        note(|_| ())?;
        Ok(answered)
    });
    // Nothing is left to be taken down where all was ended.
    let _ = note(|children| children.retain(|asked| *asked != pid));
    if answered.is_err() {
        end_tree(pid);
        reap(child);
    }
    answered
}

/// Takes what a command prints until both its pipes are closed, and waits for its end.
fn listen(child: &mut Child, limits: Limits) -> Result<Output, NoAnswer> {
    let deadline = Instant::now() + limits.within;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while out.is_some() || err.is_some() {
        if stdout.len().max(stderr.len()) > limits.bytes {
            return Err(NoAnswer::TooMuch(limits));
        }
        let Some(left) = left_until(deadline) else { return Err(NoAnswer::TooLong(limits)) };
        let (is_out, is_err) = {
            let wanted = PollFlags::IN;
            let mut polled: Vec<PollFd<'_>> = Vec::new();
            polled.extend(out.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), wanted)));
            polled.extend(err.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), wanted)));
            match poll(&mut polled, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            let mut has_more = polled.iter().map(|polled| !polled.revents().is_empty());
            let is_out = out.is_some() && has_more.next() == Some(true);
            (is_out, err.is_some() && has_more.next() == Some(true))
        };
        if is_out {
            read_some(&mut out, &mut stdout)?;
        }
        if is_err {
            read_some(&mut err, &mut stderr)?;
        }
    }
    if stdout.len().max(stderr.len()) > limits.bytes {
        return Err(NoAnswer::TooMuch(limits));
    }
    let status = ended(child, deadline)?.ok_or(NoAnswer::TooLong(limits))?;
    Ok(Output { status, stdout, stderr })
}

/// Reads what is there without waiting for more; at its end the pipe is closed.
fn read_some<R: Read>(pipe: &mut Option<R>, into: &mut Vec<u8>) -> io::Result<()> {
    let Some(from) = pipe else { return Ok(()) };
    let mut buffer = [0; 16 << 10];
    match from.read(&mut buffer) {
        Ok(0) => *pipe = None,
        Ok(read) => into.extend_from_slice(&buffer[..read]),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Waits for the end of a command; `None` after the deadline.
fn ended(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(100);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if left_until(deadline).is_none() {
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Returns how long it is until the deadline, `None` once that is over.
fn left_until(deadline: Instant) -> Option<Timespec> {
    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
    Timespec::try_from(left).ok()
}

/// Waits for a command that was killed, beside all else: the system may take a while.
fn reap(mut child: Child) {
    let wait = move || drop(child.wait());
    if let Err(error) = thread::Builder::new().name("question".to_owned()).spawn(wait) {
        tracing::warn!(%error, "a command that was ended is not waited for");
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

    const LONG: Limits = Limits { within: Duration::from_mins(1), bytes: 1 << 20 };
    const SHORT: Limits = Limits { within: Duration::from_millis(500), ..LONG };

    #[test]
    fn what_it_prints_and_how_it_ends_is_returned() {
        let output = ask(&mut shell("echo out; echo err >&2; exit 3"), "state", LONG).unwrap();
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn after_the_limit_it_and_all_it_started_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("sleep 1000 & echo $! > below; sleep 1000 & echo $! >> below; wait");
        let begun = Instant::now();
        let asked = ask(command.current_dir(folder.path()), "state", SHORT);
        assert!(matches!(asked, Err(NoAnswer::TooLong(_))), "{asked:?}");
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

    #[test]
    fn what_holds_the_output_open_is_not_listened_to_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        // It gets away from its parent, and keeps the pipes.
        let text = "(setsid sh -c 'echo $$ > pid; until [ -e go ]; do sleep 0.05; done; echo more; touch said' &) ; echo out";
        let mut command = shell(text);
        let asked = ask(command.current_dir(folder.path()), "state", SHORT);
        assert!(matches!(asked, Err(NoAnswer::TooLong(_))), "{asked:?}");
        std::fs::write(folder.path().join("go"), "").unwrap();
        let pid: i32 = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
        let (pid, begun) = (Pid::from_raw(pid).unwrap(), Instant::now());
        while super::super::process::Stat::of(pid).is_some_and(|stat| !stat.dead) {
            assert!(begun.elapsed() < Duration::from_secs(100), "{pid:?} lives on");
            thread::sleep(Duration::from_millis(2));
        }
        assert!(!folder.path().join("said").exists(), "nobody holds the other end of its pipe");
    }

    #[test]
    fn one_that_prints_without_end_is_ended_and_the_bound_is_told() {
        for text in ["exec yes", "exec yes >&2", "head -c 65537 /dev/zero"] {
            let begun = Instant::now();
            let limits = Limits { within: Duration::from_mins(10), bytes: 64 << 10 };
            let error = ask(&mut shell(text), "state", limits).unwrap_err();
            assert_eq!(error.to_string(), "prints more than 64 KiB", "{text}");
            assert!(begun.elapsed() < Duration::from_secs(100), "{text}");
        }
        let limits = Limits { bytes: 64 << 10, ..LONG };
        assert_eq!(ask(&mut shell("head -c 65536 /dev/zero"), "state", limits).unwrap().stdout.len(), 65536);
    }

    #[test]
    fn what_it_prints_is_taken_up_to_the_bound() {
        let text = "head -c 300000 /dev/zero; head -c 200000 /dev/zero >&2; exec >&- 2>&-; sleep 0.1; exit 4";
        let output = ask(&mut shell(text), "state", LONG).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len(), output.status.code()),
            (300_000, 200_000, Some(4))
        );
    }
}
