//! One job, from its start to its end.
//!
//! ```text
//! running ── main process ends, nothing else lives ─────────────────────────────┐
//!    │  └─── main process ends, others live ── grace ───┐                       │
//!    └─ timeout or stop: SIGTERM ── kill_after_ms ──────┴── SIGKILL ── all gone ┴─ ended
//! ```
//!
//! While others live the main process is not reaped: so its number stays its own, and the process group's.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::super::job::{Ended, Job};
use super::super::log::Stream;
use super::super::start_error::StartError;
use super::super::wire::Urgency;
use super::output::Output;
use super::program::Program;
use super::spawn::Spawner;
use super::system;

/// How long processes may outlive the main one before they are killed. Most are about to end: `tee` in
/// `make > >(tee log)` has yet to write what it was given, and the shell does not wait for it.
const STRAY_GRACE: Duration = Duration::from_millis(500);

/// A job that was started.
pub(super) struct Attempt {
    token: String,
    main: Pid,
    output: Output,
    started_ms: u64,
    /// Set when the main process has ended.
    took_ms: Option<u64>,
    timeout_at: Option<Instant>,
    kill_after: Duration,
    ending: Ending,
    timed_out: bool,
    stopped: bool,
    killed: HashSet<Pid>,
    strays: u32,
    survivors: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// Nothing was done to end it.
    Untouched,
    /// What lives at that time is killed.
    KillAt(Instant),
    /// Everything was sent SIGKILL, and what turns up yet gets it too.
    Killed,
}

impl Attempt {
    /// Starts `job`.
    pub(super) fn start(spawner: &mut Spawner, job: &Job) -> Result<Self, StartError> {
        let program = Program::find(job)?;
        let (output, ends) = Output::open(job)?;
        let started_ms = now_ms();
        let main = spawner
            .start(&program, ends.stdin.as_ref().map(AsFd::as_fd), ends.stdout.as_fd(), ends.stderr.as_fd())
            .map_err(|failed| program.explain(job, failed))?;
        let after = |ms| Instant::now().checked_add(Duration::from_millis(ms));
        Ok(Self {
            token: job.token.clone(),
            main,
            output,
            started_ms,
            took_ms: None,
            timeout_at: job.timeout_ms.and_then(after),
            kill_after: Duration::from_millis(job.kill_after_ms),
            ending: Ending::Untouched,
            timed_out: false,
            stopped: false,
            killed: HashSet::new(),
            strays: 0,
            survivors: 0,
        })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The main process, which is not reaped before [`Attempt::finish`].
    pub(super) fn main(&self) -> Pid {
        self.main
    }

    pub(super) fn pipes(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        self.output.pipes()
    }

    /// Moves what `stream` has to the log.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) {
        self.output.read(stream, buffer);
    }

    /// Takes note of the main process's end, if it has ended. What it left is to be surveyed after this.
    pub(super) fn look(&mut self) {
        if self.took_ms.is_none() && self.main_has_ended() {
            self.took_ms = Some(now_ms().saturating_sub(self.started_ms));
        }
    }

    /// Tells whether [`Attempt::look`] saw that the main process has ended.
    pub(super) fn has_exited(&self) -> bool {
        self.took_ms.is_some()
    }

    /// Takes note that the caller wants it ended; returns the signal to send now.
    pub(super) fn stop(&mut self, urgency: Urgency, now: Instant) -> Option<Signal> {
        self.stopped |= !self.main_has_ended();
        match urgency {
            Urgency::Gently => self.ask(now),
            Urgency::Now => Some(self.force()),
        }
    }

    /// Returns when [`Attempt::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.ending {
            Ending::Untouched => self.timeout_at,
            Ending::KillAt(at) => Some(at),
            Ending::Killed => None,
        }
    }

    /// Does what is due; returns the signal to send now.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Signal> {
        if self.deadline().is_none_or(|at| at > now) {
            return None;
        }
        match self.ending {
            Ending::Untouched => {
                self.timed_out = !self.main_has_ended();
                self.ask(now)
            }
            Ending::KillAt(_) => Some(self.force()),
            Ending::Killed => None,
        }
    }

    /// Takes note that others outlive the main process; returns the signal to send now. `unkilled`: some of them were not
    /// sent SIGKILL.
    pub(super) fn outlived(&mut self, now: Instant, unkilled: bool) -> Option<Signal> {
        match self.ending {
            Ending::Untouched => {
                self.ending = Ending::KillAt(now + STRAY_GRACE);
                None
            }
            Ending::KillAt(_) => None,
            Ending::Killed => unkilled.then_some(Signal::KILL),
        }
    }

    /// Takes note of what SIGKILL was sent to.
    pub(super) fn note_killed(&mut self, killed: Vec<Pid>, refused: u32) {
        for pid in killed {
            let is_stray = self.killed.insert(pid) && self.has_exited();
            self.strays += u32::from(is_stray);
        }
        self.survivors += refused;
    }

    /// Ends the book-keeping, when the main process has ended and nothing else lives.
    pub(super) fn finish(self, buffer: &mut [u8]) -> Ended {
        if cfg!(not(target_os = "linux")) {
            // Nothing is inherited there, so that what is left of the group was not seen.
            let _ = rustix::process::kill_process_group(self.main, Signal::KILL);
        }
        let (log_bytes, log_dropped, log_error) = self.output.finish(buffer);
        let (status, usage) = system::reap(self.main).expect("a child that was never reaped");
        Ended {
            status,
            timed_out: self.timed_out,
            stopped: self.stopped,
            strays: self.strays,
            survivors: self.survivors,
            took_ms: self.took_ms.unwrap_or_default(),
            user_ms: usage.user_ms,
            sys_ms: usage.sys_ms,
            max_rss_bytes: usage.max_rss_bytes,
            log_bytes,
            log_dropped,
            log_error,
        }
    }

    fn main_has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let waited = || rustix::process::waitid(WaitId::Pid(self.main), options);
        !matches!(rustix::io::retry_on_intr(waited), Ok(None))
    }

    fn ask(&mut self, now: Instant) -> Option<Signal> {
        match self.ending {
            // Those that outlived the main process are on their way out; they have their grace.
            _ if self.main_has_ended() => None,
            Ending::Untouched => {
                self.ending = now.checked_add(self.kill_after).map_or(Ending::Untouched, Ending::KillAt);
                self.timeout_at = None;
                Some(Signal::TERM)
            }
            Ending::KillAt(_) | Ending::Killed => None,
        }
    }

    fn force(&mut self) -> Signal {
        self.ending = Ending::Killed;
        Signal::KILL
    }
}

/// Milliseconds since boot, sleep included.
fn now_ms() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let now = rustix::time::clock_gettime(clock);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
