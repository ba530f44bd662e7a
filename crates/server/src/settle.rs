//! What follows from the end of a run: its ticket, how its schedule stands, the pipelines that come after it.

use std::collections::BTreeSet;

use cairn_model::{Counts, DropReason, Name, RunId, RunRetries, RunStatus};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::retry::{Backoff, Dice, Policy};
use cairn_store::{Batch, Ticket, TicketStage, Trigger, TriggerKind};

use crate::daemon::{Daemon, StoreError, lock};
use crate::fire::Missed;
use crate::hub::Change;
use crate::queue::Waiting;
use crate::submit::{Order, enter};

impl Daemon {
    /// Has a run that failed wait for its next try, where its schedule says so.
    fn again(&self, run: RunId, ticket: &Ticket, status: RunStatus) -> Result<Option<Waiting>, StoreError> {
        if status != RunStatus::Failed || !is_by_itself(ticket) || ticket.cancel.is_some() {
            return Ok(None);
        }
        let entry = self.catalog().get(&ticket.pipeline).cloned();
        let retries = entry.and_then(|entry| entry.schedule.as_ref().and_then(|schedule| schedule.retries));
        let Some(retries) = retries else { return Ok(None) };
        let RunRetries { attempts, delay_ms, doubles, max_delay_ms, jitter } = retries;
        let backoff = if doubles { Backoff::Exponential } else { Backoff::Constant };
        let policy = Policy { attempts, delay_ms, backoff, max_delay_ms, jitter };
        let failures = ticket.retries + 1;
        if !policy.allows_more_after(failures) {
            return Ok(None);
        }
        let seed = u64::from_be_bytes(run.as_bytes()[8..].try_into().expect("8 of 16 bytes"));
        let pause = policy.pause_ms(failures, Dice { seed, instance: 0, attempt: failures });
        let not_before = Some(self.clock.now().plus_millis(pause));
        let ticket = Ticket { stage: TicketStage::Queued, retries: failures, not_before, ..ticket.clone() };
        let mut batch = Batch::new();
        batch.put_ticket(run, &ticket);
        self.commit(batch)?;
        tracing::info!(run = %run.short(), pipeline = %ticket.pipeline, pause_ms = pause, "the run is tried again");
        let (pipeline, priority) = (ticket.pipeline, ticket.priority);
        Ok(Some(Waiting { run, pipeline, priority, not_before }))
    }

    /// Returns whether runs of `from` lead to runs of `to`, by `after`; a pipeline leads to itself.
    fn leads_to(&self, from: &Name, to: &Name) -> bool {
        let catalog = self.catalog();
        let mut seen: BTreeSet<&Name> = [from].into();
        let mut next = vec![from];
        while let Some(name) = next.pop() {
            if name == to {
                return true;
            }
            for entry in catalog.entries() {
                let follows = entry.schedule.as_ref().is_some_and(|schedule| schedule.after.contains(name));
                if follows && seen.insert(&entry.name) {
                    next.push(&entry.name);
                }
            }
        }
        false
    }

    /// Settles all that follows from a run's end, in one batch: it happens once, whenever the daemon is killed.
    pub(crate) fn settle(&self, run: RunId, ticket: &Ticket, status: RunStatus) -> Result<(), StoreError> {
        // It reads and writes how schedules stand, as those do who decide.
        let deciding = lock(&self.deciding);
        let now = self.clock.now();
        let pipeline = ticket.pipeline.clone();
        // Meanwhile it may have been asked to end.
        let ticket = &self.store.ticket(run)?.unwrap_or_else(|| ticket.clone());
        if let Some(waiting) = self.again(run, ticket, status)? {
            self.has_waiting(waiting);
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put_ticket(run, &Ticket { stage: TicketStage::Ended, ..ticket.clone() });
        let record = self.store.run(run)?;
        let mut waiting = Vec::new();
        let entry = self.catalog().get(&pipeline).cloned();
        let own = entry.as_ref().and_then(|entry| entry.schedule.as_ref());
        match status {
            RunStatus::Succeeded => {
                let mut standing = self.store.schedule(&pipeline)?;
                if standing.failures > 0 && !is_mending(ticket) {
                    standing.failures = 0;
                    batch.put_schedule(&pipeline, &standing);
                }
                let is_followed = is_followed(ticket, record.as_ref().map(|record| record.counts));
                let followers: Vec<_> = {
                    let catalog = self.catalog();
                    let follows = |entry: &&std::sync::Arc<crate::catalog::Entry>| {
                        is_followed
                            && entry
                                .schedule
                                .as_ref()
                                .is_some_and(|schedule| schedule.after.contains(&pipeline))
                    };
                    catalog.entries().filter(follows).cloned().collect()
                };
                for follower in followers {
                    if self.leads_to(&follower.name, &pipeline) {
                        tracing::warn!(
                            %pipeline, follower = %follower.name,
                            "they follow each other in a circle: it is not run for that"
                        );
                        continue;
                    }
                    if self.store.schedule(&follower.name)?.paused.is_some() {
                        let missed = Missed {
                            pipeline: &follower.name,
                            what: &format!("after {pipeline} {}", run.short()),
                            at: ticket.logical_time,
                            interval: ticket.interval,
                            reason: DropReason::Paused,
                        };
                        self.miss(&mut batch, &missed, now);
                        continue;
                    }
                    let order = Order {
                        pipeline: follower.name.clone(),
                        asked: Asked { interval: ticket.interval, ..Asked::default() },
                        logical_time: Some(ticket.logical_time),
                        priority: follower.schedule.as_ref().map_or(0, |schedule| schedule.priority),
                        trigger: Trigger {
                            kind: TriggerKind::After,
                            detail: format!("{pipeline} {}", run.short()),
                        },
                        not_before: None,
                    };
                    let next = RunId::generate(&*self.clock);
                    waiting.push(enter(&mut batch, next, &follower, &order, now));
                }
            }
            RunStatus::Failed | RunStatus::InDoubt if is_by_itself(ticket) => {
                let mut standing = self.store.schedule(&pipeline)?;
                standing.failures += 1;
                let stop_after = own.and_then(|schedule| schedule.stop_after_failures);
                if stop_after.is_some_and(|most| standing.failures >= most) && standing.paused.is_none() {
                    let why = format!("{} runs failed in a row", standing.failures);
                    tracing::warn!(%pipeline, %why, "its schedule pauses");
                    standing.paused = Some((now, why));
                }
                batch.put_schedule(&pipeline, &standing);
            }
            RunStatus::Failed
            | RunStatus::InDoubt
            | RunStatus::Interrupted
            | RunStatus::Frozen
            | RunStatus::Running => {}
        }
        if let Some(record) = &record {
            self.notify(&mut batch, run, record, ticket, now)?;
            self.lineage_of_end(&mut batch, run, record, ticket, now)?;
        }
        let written = self.write(batch)?;
        // What they commit is durable no sooner than this.
        for waiting in waiting {
            self.has_waiting(waiting);
        }
        // Who decides next need not wait for the disk.
        drop(deciding);
        self.store.sync(written)?;
        self.outbox.send_replace(());
        if let Some(record) = &record {
            self.metrics.ended(record, ticket);
        }
        self.hub.tell(Change::Run { run, pipeline });
        Ok(())
    }
}

/// Returns whether a run stands for its schedule: neither a person nor a program asked for it, and it does not mend what another
/// run left.
fn is_by_itself(ticket: &Ticket) -> bool {
    !matches!(ticket.trigger.kind, TriggerKind::Hand | TriggerKind::Api) && !is_mending(ticket)
}

/// Returns whether a run is for a few dead letters, or for effects that drifted. How it ends says nothing of how the schedule
/// fares, for better or worse; and where it fails, what it is for becomes due again by itself.
fn is_mending(ticket: &Ticket) -> bool {
    matches!(ticket.trigger.kind, TriggerKind::Retry | TriggerKind::Drift)
}

/// Returns whether other pipelines run after a run that succeeded: where it only mends, and found everything as it was, there
/// is nothing new for them.
fn is_followed(ticket: &Ticket, counts: Option<Counts>) -> bool {
    !is_mending(ticket) || counts.is_some_and(|counts| counts.ran > 0)
}

#[cfg(test)]
mod tests {
    use cairn_model::{Digest, Timestamp};
    use cairn_store::RunOptions;

    use super::*;

    #[test]
    fn what_mends_is_no_run_of_the_schedule_and_is_followed_where_something_was_executed() {
        let options =
            RunOptions { jobs: 0, keep_going: false, frozen: false, force: cairn_store::Force::Nothing };
        let ticket = |kind| Ticket {
            pipeline: "p".parse().unwrap(),
            file: "p.toml".to_owned(),
            definition: Digest::from_bytes([0; 32]),
            params: Vec::new(),
            selection: Vec::new(),
            options: options.clone(),
            caller: None,
            logical_time: Timestamp(0),
            interval: None,
            priority: 0,
            trigger: Trigger { kind, detail: String::new() },
            submitted: Timestamp(0),
            not_before: None,
            retries: 0,
            stage: TicketStage::Running,
            error: None,
            cancel: None,
        };
        let (found, ran) = (Counts { fresh: 3, ..Counts::default() }, Counts { ran: 1, ..Counts::default() });
        for kind in TriggerKind::ALL {
            let ticket = ticket(kind);
            let mends = matches!(kind, TriggerKind::Retry | TriggerKind::Drift);
            let asked = matches!(kind, TriggerKind::Hand | TriggerKind::Api);
            assert_eq!((is_mending(&ticket), is_by_itself(&ticket)), (mends, !mends && !asked), "{kind:?}");
            let followed = [None, Some(found), Some(ran)].map(|counts| is_followed(&ticket, counts));
            assert_eq!(followed, [!mends, !mends, true], "{kind:?}");
        }
    }
}
