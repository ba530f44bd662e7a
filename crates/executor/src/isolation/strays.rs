//! Ends processes that outlived both their keeper and its caller.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, getppid};

use super::process::{Held, Snapshot, Stat, all, environment, variable};
use super::{STATE_VARIABLE, TOKEN_VARIABLE};

/// How long killed processes may take to be gone. One that waits for a device may take longer, and is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two looks at processes that are about to end.
const PAUSE: Duration = Duration::from_millis(2);

/// What [`end_strays`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strays {
    /// Processes that were ended.
    pub ended: u32,
    /// Processes that were found and still live: they belong to another user, or wait for a device.
    pub left: u32,
}

/// Ends every process that a killed run left, and all that these started; returns when they are gone, or after 10 s.
///
/// A process is one of them when its environment holds `state_id` as [`STATE_VARIABLE`] and any [`TOKEN_VARIABLE`]. This
/// process and those it descends from are none: a stage may itself call cairn. Call it only while holding the state
/// folder's lock, before anything is started. It looks at every process there is, which takes some 10 µs for each.
pub fn end_strays(state_id: &str) -> Strays {
    end_strays_if(state_id, &|_| true)
}

/// The same for those processes only whose [`TOKEN_VARIABLE`] passes `is_stray`, and what these started.
pub fn end_strays_if(state_id: &str, is_stray: &dyn Fn(&str) -> bool) -> Strays {
    let deadline = Instant::now() + PATIENCE;
    let mut ended = HashSet::new();
    loop {
        let (killed, refused): (Vec<Held>, Vec<Held>) =
            marked(state_id, is_stray).into_iter().partition(|process| process.signal(Signal::KILL).is_ok());
        while killed.iter().any(Held::is_alive) && Instant::now() < deadline {
            thread::sleep(PAUSE);
        }
        let (alive, gone): (Vec<Held>, Vec<Held>) = killed.into_iter().partition(Held::is_alive);
        ended.extend(gone.iter().map(|process| (process.pid, process.stat.start_ticks)));
        // Looked at again until nothing is found: a process may have forked between being seen and being killed.
        if gone.is_empty() || Instant::now() >= deadline {
            return Strays { ended: count(ended.len()), left: count(alive.len() + refused.len()) };
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("a process number has 22 bits")
}

/// Returns the living processes marked with `state_id` and a token that passes, and those below them.
fn marked(state_id: &str, is_stray: &dyn Fn(&str) -> bool) -> Vec<Held> {
    let is_marked = |pid: Pid| {
        environment(pid).is_some_and(|environment| {
            variable(&environment, STATE_VARIABLE) == Some(state_id.as_bytes())
                && variable(&environment, TOKEN_VARIABLE)
                    .is_some_and(|token| is_stray(&String::from_utf8_lossy(token)))
        })
    };
    // Held, then looked at again: what was looked at is what is held.
    let take = |pid| Held::open(pid, |stat| !stat.dead).filter(|_| is_marked(pid));
    let mut held: Vec<Held> = all().filter(|pid| is_marked(*pid)).filter_map(take).collect();
    if held.is_empty() {
        return held;
    }
    let spared = ancestors();
    held.retain(|process| !spared.contains(&process.pid));
    let marked: HashSet<Pid> = held.iter().map(|process| process.pid).collect();
    let below = Snapshot::take().below(marked.iter().copied());
    held.extend(below.into_iter().filter(|process| !marked.contains(&process.pid)));
    held
}

/// Returns this process and those it descends from.
fn ancestors() -> Vec<Pid> {
    let mut line = vec![getpid()];
    let mut next = getppid();
    while let Some(parent) = next {
        line.push(parent);
        next = Stat::of(parent).and_then(|stat| Pid::from_raw(stat.parent));
    }
    line
}
