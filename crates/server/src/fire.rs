//! Schedules that come due: which occurrences become runs, and what is written down of those that do not.
//!
//! Making the run under an occurrence's id is the only way a schedule starts anything, and both are in one batch: whatever
//! is killed, whatever the clock does, an occurrence has one run or one reason why it has none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::{Digest, DropReason, Interval, Name, Occurrence, Overlap, RunId, Schedule, Timestamp};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::schedule::Times;
use cairn_store::{Batch, Fate, OccurrenceId, ScheduleState, Trigger, TriggerKind};

use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::{Daemon, StoreError, lock};
use crate::queue::Waiting;
use crate::submit::{Ending, Order, enter};

#[cfg(test)]
pub(crate) mod simulate;

/// How often the wall clock is looked at: it may be set, and the machine may have slept.
const LOOK: Duration = Duration::from_secs(1);
/// Pipelines that are decided about in one batch: it bounds how long the first of those that are due at once waits for the last.
const TOGETHER_MAX: usize = 64;

/// Up to when the times of a list have been told that were over already, under one text of its pipeline: they are not looked up
/// again at each decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The text's digest.
    of: Digest,
    until: Timestamp,
}

/// When each pipeline is to be looked at again.
#[derive(Debug, Default)]
struct Agenda(BTreeSet<(Timestamp, Name)>);

impl Agenda {
    fn take_due(&mut self, now: Timestamp) -> Vec<Name> {
        let later = self.0.split_off(&(now.plus_millis(1), first_name()));
        let due = std::mem::replace(&mut self.0, later);
        due.into_iter().map(|(_, name)| name).collect()
    }

    fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(time, _)| *time)
    }
}

/// The first of all names in their order.
fn first_name() -> Name {
    "0".parse().expect("a name")
}

impl Daemon {
    /// Has pipelines run by their schedules, for ever.
    pub async fn keep_schedules(self: &Arc<Self>) {
        let mut agenda = Agenda::default();
        let mut all = true;
        loop {
            let daemon = Arc::clone(self);
            let due = if std::mem::take(&mut all) { None } else { Some(agenda.take_due(daemon.clock.now())) };
            if due.as_ref().is_none_or(|due| !due.is_empty()) {
                if due.is_none() {
                    agenda = Agenda::default();
                }
                match blocking(move || daemon.decide(due.as_deref())).await {
                    Ok(next) => agenda.0.extend(next),
                    Err(error) => {
                        tracing::error!(%error, "schedules cannot be decided about; it is tried again");
                        all = true;
                    }
                }
            }
            let pause = agenda
                .next()
                .map_or(LOOK, |time| Duration::from_millis(time.millis_since(self.clock.now())).min(LOOK));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.schedules.notified() => all = true,
            }
        }
    }

    /// Decides about all that is due of these pipelines, or of all. Returns when each is to be looked at again.
    pub fn decide(&self, names: Option<&[Name]>) -> Result<Vec<(Timestamp, Name)>, StoreError> {
        let entries: Vec<Arc<Entry>> = {
            let catalog = self.catalog();
            if let Some(names) = names {
                names.iter().filter_map(|name| catalog.get(name).cloned()).collect()
            } else {
                lock(&self.listed).retain(|name, _| catalog.get(name).is_some());
                catalog.entries().cloned().collect()
            }
        };
        let mut next = Vec::new();
        for entries in entries.chunks(TOGETHER_MAX) {
            // Runs that were just put into the queue begin meanwhile.
            std::thread::yield_now();
            let _deciding = lock(&self.deciding);
            if !self.may_begin() {
                return Ok(Vec::new());
            }
            let mut decided = Decided::default();
            for entry in entries {
                let Some(schedule) = entry.schedule.as_ref().filter(|schedule| schedule.trigger.is_some())
                else {
                    continue;
                };
                let times = match Times::new(&entry.name, schedule) {
                    Ok(times) => times,
                    Err(error) => {
                        tracing::error!(pipeline = %entry.name, %error, "its schedule starts nothing");
                        continue;
                    }
                };
                next.extend(self.decide_one(entry, schedule, &times, &mut decided)?);
            }
            let Decided { batch, waiting, cancel, listed } = decided;
            if !batch.is_empty() {
                self.commit(batch)?;
            }
            lock(&self.listed).extend(listed);
            for run in cancel {
                // It may just have ended.
                let _ = self.cancel_decided(run, Ending::Gently, "its schedule's next time has come");
            }
            for waiting in waiting {
                self.has_waiting(waiting);
            }
        }
        Ok(next)
    }

    /// Decides about one pipeline. Returns when it is to be looked at again; never while it is paused.
    fn decide_one(
        &self,
        entry: &Arc<Entry>,
        schedule: &Schedule,
        times: &Times<'_>,
        decided: &mut Decided,
    ) -> Result<Option<(Timestamp, Name)>, StoreError> {
        let now = self.clock.now();
        let standing = self.store.schedule(&entry.name)?;
        if standing.paused.is_some() {
            return Ok(None);
        }
        let due = times.due(standing.decided_until, now);
        // From now on it is watched, whether or not anything is due.
        let watched = standing.decided_until.unwrap_or(Timestamp(schedule.start.unwrap_or(now).0 - 1));
        let until = due.decided.unwrap_or(watched);
        if let Some(over) = times.over_until(standing.decided_until, now) {
            let told = lock(&self.listed).get(&entry.name).filter(|told| told.of == entry.digest).copied();
            for occurrence in times.listed(told.map(|told| told.until), over) {
                self.drop_occurrence(entry, &occurrence, DropReason::Over, now, decided)?;
            }
            // A clock that went back makes none of them new.
            let until = told.map_or(over, |told| told.until.max(over));
            decided.listed.push((entry.name.clone(), Listed { of: entry.digest, until }));
        }
        for (occurrence, reason) in &due.dropped {
            self.drop_occurrence(entry, occurrence, *reason, now, decided)?;
        }
        if let Some(unlisted) = due.unlisted {
            tracing::warn!(
                pipeline = %entry.name, from = unlisted.start.0, to = unlisted.end.0,
                "more times were dropped than are listed"
            );
        }
        let mut busy = self.queue().has(&entry.name);
        for occurrence in &due.fire {
            // What is caught up waits for its turn; only a time that comes while the one before goes on overlaps it.
            let caught_up = due.fire.len() > 1;
            match schedule.overlap {
                Overlap::Skip if busy && !caught_up => {
                    self.drop_occurrence(entry, occurrence, DropReason::Overlap, now, decided)?;
                    continue;
                }
                Overlap::Cancel if busy && !caught_up => {
                    decided.cancel.extend(self.queue().runs_of(&entry.name));
                }
                Overlap::Skip | Overlap::Cancel | Overlap::Queue => {}
            }
            busy |= self.fire(entry, schedule, occurrence, now, decided)?;
        }
        if standing.decided_until != Some(until) {
            let state = ScheduleState { decided_until: Some(until), ..standing };
            decided.batch.put_schedule(&entry.name, &state);
        }
        let next = if due.more { Some(now) } else { times.next_after(until).map(|next| next.fires_at) };
        Ok(next.map(|next| (next, entry.name.clone())))
    }

    /// Makes a run for an occurrence, unless it was decided about before.
    fn fire(
        &self,
        entry: &Arc<Entry>,
        schedule: &Schedule,
        occurrence: &Occurrence,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<bool, StoreError> {
        let id = key(occurrence);
        if self.store.occurrence(&entry.name, occurrence.nominal, id)?.is_some() {
            return Ok(false);
        }
        let run = RunId::generate(&*self.clock);
        let order = Order {
            pipeline: entry.name.clone(),
            asked: Asked { interval: Some(occurrence.interval), ..Asked::default() },
            logical_time: Some(occurrence.nominal),
            priority: schedule.priority,
            trigger: Trigger { kind: TriggerKind::Schedule, detail: crate::api::rfc3339(occurrence.nominal) },
            not_before: None,
        };
        decided.waiting.push(enter(&mut decided.batch, run, entry, &order, now));
        let stored =
            cairn_store::Occurrence { decided: now, interval: occurrence.interval, fate: Fate::Run(run) };
        decided.batch.put_occurrence((&entry.name, occurrence.nominal, id), &stored);
        self.metrics.fired(now.millis_since(occurrence.fires_at));
        Ok(true)
    }

    fn drop_occurrence(
        &self,
        entry: &Entry,
        occurrence: &Occurrence,
        reason: DropReason,
        now: Timestamp,
        decided: &mut Decided,
    ) -> Result<(), StoreError> {
        let id = key(occurrence);
        if self.store.occurrence(&entry.name, occurrence.nominal, id)?.is_some() {
            return Ok(());
        }
        tracing::info!(pipeline = %entry.name, time = occurrence.nominal.0, %reason, "a time is dropped");
        self.metrics.dropped(&entry.name, reason);
        let fate = Fate::Dropped(reason.to_string());
        let stored = cairn_store::Occurrence { decided: now, interval: occurrence.interval, fate };
        decided.batch.put_occurrence((&entry.name, occurrence.nominal, id), &stored);
        Ok(())
    }
}

/// Something other than a time that would have started a run of a pipeline.
pub(crate) struct Missed<'a> {
    pub(crate) pipeline: &'a Name,
    /// What it was: for ever the same for the same.
    pub(crate) what: &'a str,
    /// The logical time that its run would have had.
    pub(crate) at: Timestamp,
    /// The interval that its run would have had.
    pub(crate) interval: Option<Interval>,
    /// Why there is no run.
    pub(crate) reason: DropReason,
}

impl Missed<'_> {
    /// Returns what is written down of it.
    pub(crate) fn fate(&self) -> Fate {
        Fate::Dropped(format!("{}: {}", self.what, self.reason))
    }

    fn id(&self) -> OccurrenceId {
        let id = cairn_model::OccurrenceId::of(self.pipeline, self.what, self.at);
        id.digest().as_bytes()[..16].try_into().expect("16 of 32 bytes")
    }
}

impl Daemon {
    /// Writes down that something started nothing, as it is of times.
    pub(crate) fn miss(&self, batch: &mut Batch, missed: &Missed<'_>, now: Timestamp) {
        let Missed { pipeline, what, at, interval, reason } = *missed;
        tracing::info!(%pipeline, what, %reason, "it starts nothing");
        self.metrics.dropped(pipeline, reason);
        let interval = interval.unwrap_or(Interval { start: at, end: at });
        let stored = cairn_store::Occurrence { decided: now, interval, fate: missed.fate() };
        batch.put_occurrence((pipeline, at, missed.id()), &stored);
    }
}

/// What was decided, before it is durable.
#[derive(Debug, Default)]
struct Decided {
    batch: Batch,
    waiting: Vec<Waiting>,
    cancel: Vec<RunId>,
    listed: Vec<(Name, Listed)>,
}

/// The part of an occurrence's id that it is stored under.
pub(crate) fn key(occurrence: &Occurrence) -> OccurrenceId {
    let bytes = occurrence.id.digest().as_bytes();
    bytes[..16].try_into().expect("16 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use cairn_model::FixedClock;

    use super::simulate::idle_daemon;
    use super::*;

    #[test]
    fn a_time_of_a_list_that_was_over_when_it_was_first_seen_has_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let write = |at: &str| {
            let text = format!("[schedule]\nat = [{at}]\n[stages.a]\nrun = 'true'\noutputs = []\n");
            std::fs::write(folder.path().join("p.toml"), text).unwrap();
        };
        let hour = |hour: i64| Timestamp(hour * 3_600_000);
        write("'1970-01-01T01:00:00Z', '1970-01-01T02:00:00Z', '1970-01-01T05:00:00Z'");
        let clock = Arc::new(FixedClock::new(hour(3)));
        let daemon = idle_daemon(folder.path(), Arc::clone(&clock));
        let pipeline: Name = "p".parse().unwrap();
        let fates = || {
            daemon.decide(None).unwrap();
            let known = daemon.store.occurrences(&pipeline, 100).unwrap();
            let is_over = |fate: &Fate| *fate == Fate::Dropped(DropReason::Over.to_string());
            known.iter().map(|(time, _, known)| (*time, is_over(&known.fate))).collect::<Vec<_>>()
        };
        assert_eq!(fates(), [(hour(2), true), (hour(1), true)]);
        clock.advance(3 * 3_600_000);
        assert_eq!(fates(), [(hour(5), false), (hour(2), true), (hour(1), true)], "what ran has run");
        write("'1970-01-01T04:00:00Z', '1970-01-01T05:00:00Z'");
        daemon.read_again(&daemon.root.join("p.toml"));
        assert_eq!(
            fates(),
            [(hour(5), false), (hour(4), true), (hour(2), true), (hour(1), true)],
            "one that was added when it was over"
        );
    }
}
