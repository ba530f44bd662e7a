//! What the daemon looks after by itself, beside schedules and sensors: dead letters that are tried again (`retry_dead`), and
//! effects whose probe answers otherwise than it did (`check_drift`).
//!
//! Both go by times that are stored with what they are about: when a letter died, when an effect was last known to stand. So
//! a restart neither forgets nor repeats anything.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_model::{EffectState, InstanceName, Name, RunId, Schedule, Timestamp};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::letters;
use cairn_scheduler::plan::{Prediction, plan};
use cairn_scheduler::select::{Force, Request, Target};
use cairn_store::{Batch, DeadKind, DeadLetter, DeadOf, Effect, Trigger, TriggerKind};

use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::{Daemon, lock};
use crate::submit::{Order, check, enter, with_interval};

/// How often it is looked whether anything is due.
const LOOK: Duration = Duration::from_secs(1);
/// Dead letters that are taken in again by one run: it bounds the batch.
const TOGETHER_MAX: usize = 10_000;

/// When each pipeline is to be looked at again.
#[derive(Debug, Default)]
struct Looks(HashMap<Name, Timestamp>);

impl Looks {
    /// Returns whether it is time to look. Reading everything once a second would cost more than it is worth.
    fn is_time(&mut self, pipeline: &Name, period_ms: u64, now: Timestamp) -> bool {
        let next = now.plus_millis((period_ms / 4).clamp(1_000, 60_000));
        match self.0.get_mut(pipeline) {
            // The clock may have been set back.
            Some(at) if *at > now && *at <= next => false,
            Some(at) => {
                *at = next;
                true
            }
            None => {
                self.0.insert(pipeline.clone(), next);
                true
            }
        }
    }
}

impl Daemon {
    /// Has dead letters tried again, for ever.
    pub async fn keep_dead_letters(self: &Arc<Self>) {
        self.sweep("dead letters cannot be tried again", |schedule| schedule.retry_dead_ms, Self::retry_dead)
            .await;
    }

    /// Asks the probes of effects, for ever; one pipeline after the other.
    pub async fn keep_effects(self: &Arc<Self>) {
        self.sweep("effects cannot be asked after", |schedule| schedule.check_drift_ms, Self::check_drift)
            .await;
    }

    async fn sweep(
        self: &Arc<Self>,
        failed: &'static str,
        period: fn(&Schedule) -> Option<u64>,
        look: fn(&Self, &Arc<Entry>) -> Result<(), String>,
    ) {
        let mut looks = Looks::default();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = self.clock.now();
            let is_due = |entry: &&Arc<Entry>| {
                let period = entry.schedule.as_ref().and_then(period);
                period.is_some_and(|period| looks.is_time(&entry.name, period, now))
            };
            let due: Vec<Arc<Entry>> = self.catalog().entries().filter(is_due).cloned().collect();
            for entry in due {
                let daemon = Arc::clone(self);
                let pipeline = entry.name.clone();
                if let Err(why) = blocking(move || look(&daemon, &entry)).await {
                    tracing::warn!(%pipeline, %why, "{failed}");
                }
            }
        }
    }

    /// Returns whether nothing is to be begun for a pipeline by itself, now.
    fn is_left_alone(&self, pipeline: &Name) -> Result<bool, String> {
        // A run that goes on, or waits, may be what settles it.
        Ok(self.queue().has(pipeline) || self.store.schedule(pipeline).map_err(text)?.paused.is_some())
    }

    /// Has the dead letters of a pipeline tried again that have been dead for long enough: records are marked, and a run is
    /// asked for that takes them in, and that executes the instances.
    pub fn retry_dead(&self, entry: &Arc<Entry>) -> Result<(), String> {
        let Some(schedule) = &entry.schedule else { return Ok(()) };
        let Some(period) = schedule.retry_dead_ms else { return Ok(()) };
        let _deciding = lock(&self.deciding);
        if !self.store.has_dead(&entry.name).map_err(text)? || self.is_left_alone(&entry.name)? {
            return Ok(());
        }
        let now = self.clock.now();
        let mut due = Vec::new();
        let of = DeadOf { pipeline: Some(&entry.name), instance: None };
        for letter in self.store.dead(of) {
            let letter = letter.map_err(text)?;
            // Those that died somewhat later come along: not each has a run of its own.
            let is_due = now.millis_since(letter.died) >= period / 2;
            if is_due && may_be_retried(&letter, schedule.retry_dead_max) {
                due.push(letter);
                if due.len() == TOGETHER_MAX {
                    break;
                }
            }
        }
        if !due.iter().any(|letter| now.millis_since(letter.died) >= period) {
            return Ok(());
        }
        let order = order(entry, schedule.priority, BTreeSet::new(), (TriggerKind::Retry, String::new()));
        let checked =
            check(entry, &with_interval(entry, &order, now), now).map_err(|error| error.to_string())?;
        let known: HashSet<&InstanceName> =
            checked.pipeline.instances.iter().map(|instance| &instance.name).collect();
        due.retain(|letter| known.contains(&letter.instance));
        if due.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        let (mut records, mut instances) = (0_usize, 0_usize);
        for letter in &due {
            let letter = DeadLetter { retries: letter.retries + 1, ..letter.clone() };
            if letter.kind == DeadKind::Record {
                records += 1;
                letters::retry(&self.store, &mut batch, &letter, None, now).map_err(text)?;
            } else {
                instances += 1;
                batch.put_dead(&letter);
            }
        }
        let names = due.iter().map(|letter| letter.instance.to_string()).collect();
        let why = format!("{records} records, {instances} instances");
        tracing::info!(pipeline = %entry.name, records, instances, "dead letters are tried again");
        let order = order_of(order, names, why);
        let waiting = enter(&mut batch, RunId::generate(&*self.clock), entry, &order, now);
        self.commit(batch).map_err(text)?;
        self.has_waiting(waiting);
        Ok(())
    }

    /// Asks the probes of a pipeline's effects that were not asked for long enough. Where one answers otherwise than after
    /// the effect was done, that is written down and told, and a run is asked for that mends it.
    pub fn check_drift(&self, entry: &Arc<Entry>) -> Result<(), String> {
        let Some(schedule) = &entry.schedule else { return Ok(()) };
        let Some(period) = schedule.check_drift_ms else { return Ok(()) };
        let now = self.clock.now();
        let mut known = Vec::new();
        for effect in self.store.each_effect() {
            let (pipeline, key, effect) = effect.map_err(text)?;
            if pipeline == entry.name && effect.state == EffectState::Confirmed && effect.probe.is_some() {
                known.push((key, effect));
            }
        }
        let age = |effect: &Effect| now.millis_since(effect.settled.unwrap_or(effect.intended));
        if !known.iter().any(|(_, effect)| age(effect) >= period) || self.is_left_alone(&entry.name)? {
            return Ok(());
        }
        let order = order(entry, schedule.priority, BTreeSet::new(), (TriggerKind::Drift, String::new()));
        let found = self.ask_probes(entry, &with_interval(entry, &order, now), &known)?;

        let _deciding = lock(&self.deciding);
        // While they were asked, a run may have begun to do one again.
        if self.is_left_alone(&entry.name)? {
            return Ok(());
        }
        let now = self.clock.now();
        let (mut batch, mut drifted, mut is_news) = (Batch::new(), Vec::new(), false);
        for (key, effect) in known {
            let Some(found) = found.get(&effect.instance) else { continue };
            if self.store.effect(&entry.name, &key).map_err(text)?.as_ref() != Some(&effect) {
                continue;
            }
            if let Some(how) = found {
                is_news |= effect.drifted.is_none();
                tracing::warn!(pipeline = %entry.name, key, how, "an effect has drifted");
                drifted.push((effect.instance.clone(), how.clone()));
            }
            batch.put_effect(
                &entry.name,
                &key,
                &Effect { settled: Some(now), drifted: found.clone(), ..effect },
            );
        }
        let mut waiting = None;
        if !drifted.is_empty() {
            let run = RunId::generate(&*self.clock);
            let names: BTreeSet<String> = drifted.iter().map(|(name, _)| name.to_string()).collect();
            let why = names.iter().cloned().collect::<Vec<_>>().join(", ");
            waiting = Some(enter(&mut batch, run, entry, &order_of(order, names, why), now));
            if is_news {
                self.notify_drift(&mut batch, run, &entry.name, &drifted, now);
            }
        }
        if !batch.is_empty() {
            self.commit(batch).map_err(text)?;
        }
        self.outbox.notify_one();
        if let Some(waiting) = waiting {
            self.has_waiting(waiting);
        }
        Ok(())
    }

    /// Returns what the probes of these effects say, by their instances: how they drifted, or that they stand. One whose
    /// inputs are not made is not asked; a probe without an answer says nothing.
    fn ask_probes(
        &self,
        entry: &Entry,
        order: &Order,
        known: &[(String, Effect)],
    ) -> Result<HashMap<InstanceName, Option<String>>, String> {
        let now = self.clock.now();
        let checked = check(entry, order, now).map_err(|error| error.to_string())?;
        if checked.pipeline.reads_interval && order.asked.interval.is_none() {
            return Err("the pipeline reads its interval, and nothing says which".to_owned());
        }
        let asked: HashSet<&InstanceName> = known.iter().map(|(_, effect)| &effect.instance).collect();
        let instances = &checked.pipeline.instances;
        let wanted: Vec<u32> =
            (0..).zip(instances).filter(|(_, of)| asked.contains(&of.name)).map(|(at, _)| at).collect();
        let mut selected = checked.graph.upstream_closure(&wanted);
        for at in &wanted {
            selected[*at as usize] = true;
        }
        let (run, force) = (RunId::generate(&*self.clock), vec![false; selected.len()]);
        let clock = Arc::clone(&self.clock);
        let engine = checked.engine(Some(self.store.clone()), clock, run, now, HashSet::new(), false);
        let engine = engine.map_err(|error| error.to_string())?;
        engine.lend(self.keeper.clone());
        let predicted = plan(&engine, &checked.graph, &selected, &force);
        engine.clear();
        let predicted = predicted.map_err(|error| error.to_string())?;
        let told = |(at, prediction): (u32, Prediction)| {
            let name = instances[at as usize].name.clone();
            match prediction {
                Prediction::Drifted { reason, .. } => Some((name, Some(reason.text()))),
                Prediction::Fresh { .. } | Prediction::Restore(_) => Some((name, None)),
                Prediction::Run { .. }
                | Prediction::After { .. }
                | Prediction::InDoubt { .. }
                | Prediction::Blocked(_)
                | Prediction::NotSelected => None,
                Prediction::Broken { error, .. } => {
                    tracing::warn!(pipeline = %entry.name, instance = %name, %error, "an effect cannot be asked after");
                    None
                }
            }
        };
        let asked = |(at, _): &(u32, Prediction)| wanted.contains(at);
        Ok((0..).zip(predicted).filter(asked).filter_map(told).collect())
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Returns whether trying a dead letter again may lead to anything, and was not done too often. What a script rejected, and a
/// record that cannot be read, is poison: it stays what it is until somebody mends it.
fn may_be_retried(letter: &DeadLetter, most: u32) -> bool {
    let is_poison = match letter.kind {
        DeadKind::Instance => false,
        DeadKind::Rejected => true,
        DeadKind::Record => !matches!(letter.class.as_str(), "worker" | "sink"),
    };
    !is_poison && letter.retry.is_none() && letter.retries < most
}

/// A run that the daemon asks for by itself, of these instances and what they need; of all, where there are none.
fn order(entry: &Entry, priority: i64, names: BTreeSet<String>, (kind, why): (TriggerKind, String)) -> Order {
    let order = Order {
        pipeline: entry.name.clone(),
        asked: Asked::default(),
        logical_time: None,
        priority,
        trigger: Trigger { kind, detail: String::new() },
        not_before: None,
    };
    order_of(order, names, why)
}

fn order_of(order: Order, names: BTreeSet<String>, why: String) -> Order {
    let target = if names.is_empty() { Target::All } else { Target::Named(names.into_iter().collect()) };
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
}
