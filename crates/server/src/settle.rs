//! What follows from the end of a run: its ticket, how its schedule stands, the pipelines that come after it.

use cairn_model::{RunId, RunStatus};
use cairn_scheduler::launch::Asked;
use cairn_store::{Batch, Ticket, TicketStage, Trigger, TriggerKind};

use crate::daemon::{Daemon, StoreError};
use crate::hub::Change;
use crate::submit::{Order, enter};

impl Daemon {
    /// Settles all that follows from a run's end, in one batch: it happens once, whenever the daemon is killed.
    pub(crate) fn settle(&self, run: RunId, ticket: &Ticket, status: RunStatus) -> Result<(), StoreError> {
        let now = self.clock.now();
        let pipeline = ticket.pipeline.clone();
        let mut batch = Batch::new();
        batch.put_ticket(run, &Ticket { stage: TicketStage::Ended, ..ticket.clone() });
        let mut waiting = Vec::new();
        let entry = self.catalog().get(&pipeline).cloned();
        let own = entry.as_ref().and_then(|entry| entry.schedule.as_ref());
        let by_itself = !matches!(ticket.trigger.kind, TriggerKind::Hand | TriggerKind::Api);
        match status {
            RunStatus::Succeeded => {
                let mut standing = self.store.schedule(&pipeline)?;
                if standing.failures > 0 {
                    standing.failures = 0;
                    batch.put_schedule(&pipeline, &standing);
                }
                let followers: Vec<_> = {
                    let catalog = self.catalog();
                    let follows = |entry: &&std::sync::Arc<crate::catalog::Entry>| {
                        entry.schedule.as_ref().is_some_and(|schedule| schedule.after.contains(&pipeline))
                    };
                    catalog.entries().filter(follows).cloned().collect()
                };
                for follower in followers {
                    if self.store.schedule(&follower.name)?.paused.is_some() {
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
            RunStatus::Failed | RunStatus::InDoubt if by_itself => {
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
        self.commit(batch)?;
        for waiting in waiting {
            self.has_waiting(waiting);
        }
        self.hub.tell(Change::Run { run, pipeline });
        Ok(())
    }
}
