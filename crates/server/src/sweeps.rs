//! What the daemon looks after by itself, beside schedules and sensors: dead letters that are tried again (`retry_dead`), and
//! effects whose probe answers otherwise than it did (`check_drift`).
//!
//! Beside them: idempotency keys that count no more are removed (`keys.rs`).
//!
//! Both go by times that are stored with what they are about: when a letter died, or was last asked to be tried again; when an
//! effect came to stand, or was last asked after. So a restart neither forgets nor repeats anything.
//!
//! To look takes its time, and holds nobody up: what is found counts only where it is still so once no run of the pipeline can
//! begin, which is when it is written down.

mod dead;
mod drift;
mod keys;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use cairn_model::{Name, Schedule, Timestamp};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::select::{Force, Request, Target};
use cairn_store::{Trigger, TriggerKind};
use tokio::sync::watch;

use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::Daemon;
use crate::submit::{Order, SubmitError};

/// How often it is looked whether anything is due.
const LOOK: Duration = Duration::from_secs(1);
/// Whether the daemon is to end.
pub type Stopping = watch::Receiver<bool>;

/// What a look led to: what was in its way, or `None` where nothing was due. An error is the store's.
pub type Looked = Result<Option<Vec<String>>, String>;

/// When each pipeline is to be looked at again, and what was in the way the last time.
#[derive(Debug, Default)]
struct Looks {
    next: HashMap<Name, Timestamp>,
    told: HashMap<Name, BTreeSet<String>>,
}

impl Looks {
    /// Returns whether it is time to look. Reading everything once a second would cost more than it is worth.
    fn is_time(&mut self, pipeline: &Name, period_ms: u64, now: Timestamp) -> bool {
        let next = now.plus_millis((period_ms / 4).clamp(1_000, 60_000));
        match self.next.get_mut(pipeline) {
            // The clock may have been set back.
            Some(at) if *at > now && *at <= next => false,
            Some(at) => {
                *at = next;
                true
            }
            None => {
                self.next.insert(pipeline.clone(), next);
                true
            }
        }
    }

    /// Returns what is to be told: each cause once, until it was out of the way. A time or a count in it makes no other.
    fn news(&mut self, pipeline: &Name, complaints: Vec<String>) -> Vec<String> {
        let cause = |why: &String| why.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        let told = self.told.remove(pipeline).unwrap_or_default();
        let causes: BTreeSet<String> = complaints.iter().map(cause).collect();
        let mut news = complaints;
        news.retain(|why| !told.contains(&cause(why)));
        if !causes.is_empty() {
            self.told.insert(pipeline.clone(), causes);
        }
        news
    }
}

impl Daemon {
    /// Has dead letters tried again, until the daemon is to end.
    pub async fn keep_dead_letters(self: &Arc<Self>, stopping: Stopping) {
        let period = |schedule: &Schedule| schedule.retry_dead_ms;
        let look = |daemon: &Self, entry: &Arc<Entry>, _: &Stopping| daemon.retry_dead(entry);
        self.sweep("a dead letter cannot be tried again", period, look, stopping).await;
    }

    /// Asks the probes of effects, until the daemon is to end; one pipeline after the other.
    pub async fn keep_effects(self: &Arc<Self>, stopping: Stopping) {
        let period = |schedule: &Schedule| schedule.check_drift_ms;
        self.sweep("an effect cannot be asked after", period, Self::check_drift, stopping).await;
    }

    async fn sweep(
        self: &Arc<Self>,
        failed: &'static str,
        period: fn(&Schedule) -> Option<u64>,
        look: fn(&Self, &Arc<Entry>, &Stopping) -> Looked,
        mut stopping: Stopping,
    ) {
        let mut looks = Looks::default();
        loop {
            let ends = tokio::select! {
                () = tokio::time::sleep(LOOK) => *stopping.borrow(),
                changed = stopping.changed() => changed.is_err() || *stopping.borrow(),
            };
            if ends {
                return;
            }
            let now = self.clock.now();
            let is_due = |entry: &&Arc<Entry>| {
                let period = entry.schedule.as_ref().and_then(period);
                period.is_some_and(|period| looks.is_time(&entry.name, period, now))
            };
            let due: Vec<Arc<Entry>> = self.catalog().entries().filter(is_due).cloned().collect();
            for entry in due {
                if *stopping.borrow() {
                    return;
                }
                let (daemon, ending) = (Arc::clone(self), stopping.clone());
                let pipeline = entry.name.clone();
                let complaints = match blocking(move || look(&daemon, &entry, &ending)).await {
                    Ok(None) => continue,
                    Ok(Some(complaints)) => complaints,
                    Err(why) => vec![why],
                };
                for why in looks.news(&pipeline, complaints) {
                    tracing::warn!(%pipeline, %why, "{failed}");
                }
            }
        }
    }

    fn is_paused(&self, pipeline: &Name) -> Result<bool, String> {
        Ok(self.store.schedule(pipeline).map_err(text)?.paused.is_some())
    }

    /// Returns whether nothing is to be begun for a pipeline by itself, now: a run that goes on, or waits, may be what settles
    /// it.
    fn is_left_alone(&self, pipeline: &Name) -> Result<bool, String> {
        Ok(self.queue().has(pipeline) || self.is_paused(pipeline)?)
    }
}

const NO_INTERVAL: &str = "the pipeline reads its interval, and nothing says which";

/// Says in a line why a run cannot be asked for.
fn complaint(error: &SubmitError) -> String {
    match error {
        SubmitError::Wrong { report } => format!("{error}: {}", report.trim()),
        _ => error.to_string(),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// A run that the daemon asks for by itself.
fn order(entry: &Entry, priority: i64, kind: TriggerKind) -> Order {
    Order {
        pipeline: entry.name.clone(),
        asked: Asked::default(),
        logical_time: None,
        priority,
        trigger: Trigger { kind, detail: String::new() },
        not_before: None,
    }
}

/// The same of these instances and what they need.
fn order_of(order: Order, names: BTreeSet<String>, why: String) -> Order {
    let target = Target::Named(names.into_iter().collect());
    let request = Request { target, from: Vec::new(), force: Force::None };
    Order {
        asked: Asked { request, ..order.asked },
        trigger: Trigger { detail: why, ..order.trigger },
        ..order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_a_few_times_a_period_and_after_the_clock_was_set_back() {
        let mut looks = Looks::default();
        let name: Name = "p".parse().unwrap();
        let mut times = |period, at: &[i64]| -> Vec<bool> {
            at.iter().map(|at| looks.is_time(&name, period, Timestamp(*at))).collect()
        };
        assert_eq!(times(40_000, &[0, 5_000, 10_000, 10_500, 21_000]), [true, false, true, false, true]);
        assert_eq!(times(40_000, &[-900_000, -899_000]), [true, false]);
    }

    #[test]
    fn each_cause_is_told_once_until_it_was_out_of_the_way() {
        let mut looks = Looks::default();
        let (p, q): (Name, Name) = ("p".parse().unwrap(), "q".parse().unwrap());
        let mut news = |name: &Name, why: &[&str]| {
            looks.news(name, why.iter().map(|why| (*why).to_owned()).collect()).len()
        };
        assert_eq!(news(&p, &["timed out after 5001 ms", "no"]), 2);
        assert_eq!(news(&p, &["timed out after 5012 ms", "no", "other"]), 1);
        assert_eq!(news(&q, &["no"]), 1, "of another pipeline");
        assert_eq!((news(&p, &[]), news(&p, &["no"])), (0, 1));
    }
}
