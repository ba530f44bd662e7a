//! The processes that the keeper inherited, and whose they are.
//!
//! The keeper is a subreaper: when a process of a job ends, its children become the keeper's. So a job is over when its main
//! process has ended and no child of the keeper is its own; whatever a process did to get away (own session, double fork,
//! emptied environment), its ancestors end, and then it is here.
//!
//! An inherited process belongs to the only job there is, or to the one whose token its environment holds, or to the one
//! whose session it is in. If nothing tells, it belongs to those that then ran, together: it goes with the last of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rustix::process::{Pid, Signal, WaitOptions};

use super::super::TOKEN_VARIABLE;
use super::super::process::{Held, Snapshot, Stat, environment, own_children, variable};
use super::attempt::Attempt;

/// The inherited processes. Their numbers stay theirs until they are reaped here.
#[derive(Debug, Default)]
pub(super) struct Family {
    adopted: HashMap<Pid, Orphan>,
}

#[derive(Debug)]
struct Orphan {
    /// The jobs that it may belong to: one as a rule; none once it has turned out that it cannot be ended.
    owners: Vec<u64>,
    /// Whether it was sent SIGKILL.
    killed: bool,
}

impl Family {
    /// Reaps inherited processes that have ended, and takes in those that are new.
    pub(super) fn survey(&mut self, attempts: &BTreeMap<u64, Attempt>) {
        let mains: BTreeSet<i32> = attempts.values().map(|attempt| attempt.main().as_raw_pid()).collect();
        loop {
            let known = self.adopted.len();
            self.adopted.retain(|pid, _| !reap(*pid));
            let mut reaped = self.adopted.len() < known;
            for pid in own_children() {
                if mains.contains(&pid.as_raw_pid()) || self.adopted.contains_key(&pid) {
                    continue;
                }
                if reap(pid) {
                    reaped = true;
                } else {
                    self.adopted.insert(pid, Orphan { owners: owners(pid, attempts), killed: false });
                }
            }
            // What ended left its own children here, maybe after they were listed.
            if !reaped {
                return;
            }
        }
    }

    /// Tells whether an inherited process of job `id` lives.
    pub(super) fn has_any(&self, id: u64) -> bool {
        self.members(id).next().is_some()
    }

    /// Tells whether an inherited process of job `id` lives that was not sent SIGKILL.
    pub(super) fn has_unkilled(&self, id: u64) -> bool {
        self.members(id).any(|(_, orphan)| !orphan.killed)
    }

    /// Forgets a job that has ended.
    pub(super) fn forget(&mut self, id: u64) {
        for orphan in self.adopted.values_mut() {
            orphan.owners.retain(|owner| *owner != id);
        }
    }

    /// Sends `signal` to the whole of a job: its process group, and what left that. Returns the processes that it was sent
    /// to, beside the main one, and how many inherited ones refused it: they will not be waited for if that was SIGKILL.
    pub(super) fn signal(
        &mut self,
        id: u64,
        main: Pid,
        signal: Signal,
        snapshot: &Snapshot,
    ) -> (Vec<Pid>, u32) {
        let adopted: Vec<Pid> = self.members(id).map(|(pid, _)| pid).collect();
        let below = snapshot.below(adopted.iter().copied().chain([main]));
        let held = adopted.iter().filter_map(|pid| Held::open(*pid, |stat| !stat.dead));
        let all: Vec<Held> = held.chain(below).collect();
        // The group's number is its own until the main process is reaped. It is empty when all have left it.
        let _ = rustix::process::kill_process_group(main, signal);
        for pid in adopted {
            let orphan = self.adopted.get_mut(&pid).expect("it is a member");
            orphan.killed |= signal == Signal::KILL;
        }
        let mut sent = Vec::new();
        let mut refused = 0;
        for process in all {
            // What was sent to the group should not come twice.
            let has_it = signal == Signal::TERM && process.stat.group == main.as_raw_pid();
            if has_it || process.signal(signal).is_ok() {
                sent.push(process.pid);
            } else if signal == Signal::KILL
                && let Some(orphan) = self.adopted.get_mut(&process.pid)
            {
                orphan.owners.clear();
                refused += 1;
            }
            if signal == Signal::TERM {
                // One that was stopped gets to see it.
                let _ = process.signal(Signal::CONT);
            }
        }
        if signal == Signal::TERM {
            let _ = rustix::process::kill_process_group(main, Signal::CONT);
        }
        (sent, refused)
    }

    fn members(&self, id: u64) -> impl Iterator<Item = (Pid, &Orphan)> {
        self.adopted
            .iter()
            .filter(move |(_, orphan)| orphan.owners == [id])
            .map(|(pid, orphan)| (*pid, orphan))
    }
}

fn owners(pid: Pid, attempts: &BTreeMap<u64, Attempt>) -> Vec<u64> {
    let ids = || attempts.keys().copied().collect();
    if attempts.len() == 1 {
        return ids();
    }
    let environment = environment(pid).unwrap_or_default();
    let token = variable(&environment, TOKEN_VARIABLE);
    let session = Stat::of(pid).map(|stat| stat.session);
    let by_token = || attempts.iter().find(|(_, attempt)| Some(attempt.token().as_bytes()) == token);
    let by_session = || attempts.iter().find(|(_, attempt)| Some(attempt.main().as_raw_pid()) == session);
    by_token().or_else(by_session).map_or_else(ids, |(id, _)| vec![*id])
}

/// Reaps a child if it has ended; tells whether it is gone.
fn reap(child: Pid) -> bool {
    !matches!(rustix::process::waitpid(Some(child), WaitOptions::NOHANG), Ok(None))
}
