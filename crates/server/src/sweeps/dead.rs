//! Dead letters that are tried again (`retry_dead`).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cairn_model::{InstanceName, Interval, Name, RunId, Timestamp};
use cairn_scheduler::launch::{Asked, interval_of};
use cairn_store::{Batch, DeadId, DeadKind, DeadLetter, DeadOf, ReadError, Retry, TriggerKind};

use super::{Looked, NO_INTERVAL, complaint, order, order_of, text};
use crate::catalog::Entry;
use crate::daemon::{Daemon, lock};
use crate::submit::{Order, check, enter, with_interval};

/// Dead letters that are taken in again by one run: it bounds the batch.
const TOGETHER_MAX: usize = 10_000;

impl Daemon {
    /// Has the dead letters of a pipeline tried again that have been dead for long enough: they are marked, and a run is asked
    /// for that takes them in, and that executes the instances. Those that died in runs of other params, of another interval
    /// or at another logical time wait until that run is over: what is marked, the next run takes in, whatever it is about.
    pub fn retry_dead(&self, entry: &Arc<Entry>) -> Looked {
        let Some(schedule) = &entry.schedule else { return Ok(None) };
        let Some(period) = schedule.retry_dead_ms else { return Ok(None) };
        let now = self.clock.now();
        if !self.store.has_dead(&entry.name).map_err(text)? || self.is_left_alone(&entry.name)? {
            return Ok(None);
        }
        let due = Due { period, most: schedule.retry_dead_max, now };
        let mut origins = self.origins(&entry.name, due).map_err(text)?;
        if origins.overdue.is_empty() {
            return Ok(None);
        }
        let mut complaints = Vec::new();
        let mut overdue = std::mem::take(&mut origins.overdue).into_iter().collect::<Vec<_>>();
        overdue.sort_by_key(|(_, waiting)| waiting.since);
        for (origin, waiting) in overdue {
            let asked =
                Asked { params: origin.params.clone(), interval: origin.interval, ..Asked::default() };
            let order = order(entry, schedule.priority, TriggerKind::Retry);
            let order = Order { asked, logical_time: origin.logical_time, ..order };
            let order = with_interval(entry, &order, now);
            let known: HashSet<InstanceName> = match instances(entry, &order, now) {
                Ok(known) => waiting.instances.intersection(&known).cloned().collect(),
                Err(why) => {
                    complaints.push(why);
                    continue;
                }
            };
            let chosen = self.chosen(entry, due, (&origin, &known), &mut origins.of_runs).map_err(text)?;
            // What is of an instance that is no more stays dead.
            if !chosen.is_empty() && self.try_again(entry, due, order, &chosen)? {
                break;
            }
        }
        Ok(Some(complaints))
    }

    /// Returns where the due letters of a pipeline come from, where one of them is overdue.
    fn origins(&self, pipeline: &Name, due: Due) -> Result<Origins, ReadError> {
        let mut origins = Origins::default();
        for letter in self.store.dead(DeadOf { pipeline: Some(pipeline), instance: None }) {
            let letter = letter?;
            if !due.comes_along(&letter) {
                continue;
            }
            let origin = self.origin(&letter, &mut origins.of_runs)?;
            let since = since(&letter);
            let waiting = origins.overdue.entry(origin).or_insert_with(|| Waits::new(since));
            waiting.since = waiting.since.min(since);
            waiting.instances.insert(letter.instance);
        }
        origins.overdue.retain(|_, waiting| due.now.millis_since(waiting.since) >= due.period);
        Ok(origins)
    }

    /// Returns how the run was asked for in which a letter died; runs that were read before are in `known`.
    fn origin(
        &self,
        letter: &DeadLetter,
        known: &mut HashMap<RunId, Arc<Origin>>,
    ) -> Result<Arc<Origin>, ReadError> {
        if let Some(origin) = known.get(&letter.run) {
            return Ok(Arc::clone(origin));
        }
        let record = self.store.run(letter.run)?.filter(|record| record.pipeline == letter.pipeline);
        let origin = record.map_or_else(Origin::default, |record| Origin {
            interval: interval_of(&record.selection),
            logical_time: Some(record.logical_time),
            params: record.params,
        });
        let origin = Arc::new(origin);
        known.insert(letter.run, Arc::clone(&origin));
        Ok(origin)
    }

    /// Chooses the letters of an origin that are tried again together.
    fn chosen(
        &self,
        entry: &Entry,
        due: Due,
        (origin, instances): (&Arc<Origin>, &HashSet<InstanceName>),
        of_runs: &mut HashMap<RunId, Arc<Origin>>,
    ) -> Result<Vec<Chosen>, ReadError> {
        let mut chosen = Vec::new();
        if instances.is_empty() {
            return Ok(chosen);
        }
        for letter in self.store.dead(DeadOf { pipeline: Some(&entry.name), instance: None }) {
            let letter = letter?;
            let fits = instances.contains(&letter.instance) && due.comes_along(&letter);
            if fits && self.origin(&letter, of_runs)? == *origin {
                let (id, since) = (letter.id(), since(&letter));
                chosen.push(Chosen {
                    instance: letter.instance,
                    kind: letter.kind,
                    id,
                    run: letter.run,
                    since,
                });
                if chosen.len() == TOGETHER_MAX {
                    break;
                }
            }
        }
        Ok(chosen)
    }

    /// Marks letters, and asks for the run that takes them in, where they are still what they were when they were chosen and no
    /// run of the pipeline is there. Returns whether there is such a run then.
    fn try_again(
        &self,
        entry: &Arc<Entry>,
        due: Due,
        order: Order,
        chosen: &[Chosen],
    ) -> Result<bool, String> {
        let deciding = lock(&self.deciding);
        if self.is_paused(&entry.name)? {
            return Ok(true);
        }
        // While it is held, no run begins that would bury one of them anew.
        let queue = self.queue();
        if queue.has(&entry.name) {
            return Ok(true);
        }
        let mut batch = Batch::new();
        let (mut records, mut instances) = (0_usize, 0_usize);
        let mut names = BTreeSet::new();
        for Chosen { instance, kind, id, run, since: was } in chosen {
            let letter = self.store.dead_letter(&entry.name, instance, *kind, *id).map_err(text)?;
            let is_same = |letter: &DeadLetter| letter.run == *run && since(letter) == *was;
            let Some(letter) = letter.filter(|letter| is_same(letter) && due.comes_along(letter)) else {
                continue;
            };
            if letter.kind == DeadKind::Record {
                records += 1;
            } else {
                instances += 1;
            }
            names.insert(letter.instance.to_string());
            batch.put_dead(&asked_again(letter, due.now));
        }
        if names.is_empty() {
            return Ok(false);
        }
        let why = format!("{records} records, {instances} instances");
        tracing::info!(pipeline = %entry.name, records, instances, "dead letters are tried again");
        let order = order_of(order, names, why);
        let waiting = enter(&mut batch, RunId::generate(&*self.clock), entry, &order, due.now);
        let written = self.write(batch).map_err(text)?;
        drop(queue);
        // What it commits is durable no sooner than this.
        self.has_waiting(waiting);
        drop(deciding);
        self.store.sync(written).map_err(text)?;
        Ok(true)
    }
}

/// How the run was asked for in which something died.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Origin {
    params: Vec<(String, String)>,
    interval: Option<Interval>,
    logical_time: Option<Timestamp>,
}

/// Where due letters come from.
#[derive(Debug, Default)]
struct Origins {
    overdue: BTreeMap<Arc<Origin>, Waits>,
    of_runs: HashMap<RunId, Arc<Origin>>,
}

/// The due letters of an origin.
#[derive(Debug)]
struct Waits {
    /// Since when the first of them waits.
    since: Timestamp,
    instances: HashSet<InstanceName>,
}

impl Waits {
    fn new(since: Timestamp) -> Self {
        Self { since, instances: HashSet::new() }
    }
}

/// A letter that is to be tried again.
#[derive(Debug)]
struct Chosen {
    instance: InstanceName,
    kind: DeadKind,
    id: DeadId,
    run: RunId,
    since: Timestamp,
}

/// Which letters are due.
#[derive(Debug, Clone, Copy)]
struct Due {
    period: u64,
    most: u32,
    now: Timestamp,
}

impl Due {
    /// Returns whether a letter is tried again once any is overdue: those that died somewhat later come along, for not each
    /// has a run of its own.
    fn comes_along(self, letter: &DeadLetter) -> bool {
        let enough = if letter.retry.is_some() { self.period } else { self.period / 2 };
        self.now.millis_since(since(letter)) >= enough && may_be_retried(letter, self.most)
    }
}

/// Returns since when a letter waits to be tried again: when it died, or somebody asked for that, whichever was last.
fn since(letter: &DeadLetter) -> Timestamp {
    letter.retry.as_ref().map_or(letter.died, |retry| retry.asked.max(letter.died))
}

/// Returns whether trying a dead letter again may lead to anything, and was not done too often. What a script rejected, and a
/// record that cannot be read, is poison: it stays what it is until somebody mends it. A record that was asked to be taken in,
/// by whomever, still is to be: only a run is missing.
fn may_be_retried(letter: &DeadLetter, most: u32) -> bool {
    match letter.kind {
        DeadKind::Instance => letter.retries < most,
        DeadKind::Rejected => false,
        DeadKind::Record if letter.retry.is_some() => true,
        DeadKind::Record => matches!(letter.class.as_str(), "worker" | "sink") && letter.retries < most,
    }
}

/// Marks a letter to be tried again by the run that is asked for. To ask for a run once more is no other try of a record; of an
/// instance it is, for nothing tells whether the run came to it.
fn asked_again(letter: DeadLetter, now: Timestamp) -> DeadLetter {
    let counts = letter.kind == DeadKind::Instance || letter.retry.is_none();
    let payload = letter.mended().map(<[u8]>::to_vec);
    let retries = letter.retries + u32::from(counts);
    DeadLetter { retries, retry: Some(Retry { payload, asked: now }), ..letter }
}

/// Returns the instances that there are when a run is asked for like this, or why there is no such run.
fn instances(entry: &Entry, order: &Order, now: Timestamp) -> Result<HashSet<InstanceName>, String> {
    let checked = check(entry, order, now).map_err(|error| complaint(&error))?;
    if checked.pipeline.reads_interval && order.asked.interval.is_none() {
        return Err(NO_INTERVAL.to_owned());
    }
    Ok(checked.pipeline.instances.iter().map(|instance| instance.name.clone()).collect())
}
