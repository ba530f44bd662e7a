//! What the daemon looks after by itself, beside schedules and sensors: dead letters that are tried again (`retry_dead`), and
//! effects whose probe answers otherwise than it did (`check_drift`).
//!
//! Both go by times that are stored with what they are about: when a letter died, or was last asked to be tried again; when an
//! effect came to stand, or was last asked after. So a restart neither forgets nor repeats anything.
//!
//! To look takes its time, and holds nobody up: what is found counts only where it is still so once no run of the pipeline can
//! begin, which is when it is written down.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_dag::graph::Graph;
use cairn_executor::Engine;
use cairn_model::{EffectState, InstanceName, Interval, Name, RunId, Schedule, Timestamp};
use cairn_scheduler::launch::{Asked, interval_of};
use cairn_scheduler::plan::{Prediction, plan};
use cairn_scheduler::select::{Force, Request, Target};
use cairn_store::{
    Batch, DeadId, DeadKind, DeadLetter, DeadOf, Effect, ReadError, Retry, Trigger, TriggerKind,
};
use tokio::sync::watch;

use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::{Daemon, lock};
use crate::submit::{Order, SubmitError, check, enter, with_interval};

/// How often it is looked whether anything is due.
const LOOK: Duration = Duration::from_secs(1);
/// Dead letters that are taken in again by one run: it bounds the batch.
const TOGETHER_MAX: usize = 10_000;
/// How long the probes of one pipeline are asked at a time: those of others wait. One probe alone may take half of it.
const ASKING_MAX: Duration = Duration::from_mins(10);
/// How often those that run are ended once the time is over: one may just be starting.
const STOP_AGAIN: Duration = Duration::from_secs(1);

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

    /// Asks the probes of a pipeline's effects that were not asked for long enough. Where one answers otherwise than after
    /// the effect was done, that is written down and told, and a run is asked for that mends it. What cannot be asked was
    /// looked at too: it is not tried anew until the time is there again.
    pub fn check_drift(&self, entry: &Arc<Entry>, stopping: &Stopping) -> Looked {
        let Some(schedule) = &entry.schedule else { return Ok(None) };
        let Some(period) = schedule.check_drift_ms else { return Ok(None) };
        let now = self.clock.now();
        let mut overdue = Vec::new();
        for row in self.store.effects_of(&entry.name) {
            let (key, effect) = row.map_err(text)?;
            let is_asked = effect.state == EffectState::Confirmed && effect.probe.is_some();
            if is_asked && now.millis_since(effect.looked_at()) >= period {
                overdue.push((key, effect));
            }
        }
        if overdue.is_empty() || self.is_left_alone(&entry.name)? {
            return Ok(None);
        }
        let order = order(entry, schedule.priority, TriggerKind::Drift);
        let answers = self.ask_probes(entry, &with_interval(entry, &order, now), &overdue, stopping)?;
        if *stopping.borrow() {
            return Ok(None);
        }
        self.note_answers(entry, order, overdue, &answers)?;
        Ok(Some(answers.complaints))
    }

    /// Writes down what the probes of effects say, where these are still what they were when they were asked after, and no run
    /// of the pipeline is there.
    fn note_answers(
        &self,
        entry: &Arc<Entry>,
        order: Order,
        overdue: Vec<(String, Effect)>,
        answers: &Answers,
    ) -> Result<(), String> {
        let deciding = lock(&self.deciding);
        if self.is_paused(&entry.name)? {
            return Ok(());
        }
        // While it is held, no run begins that would do one of them again.
        let queue = self.queue();
        if queue.has(&entry.name) {
            return Ok(());
        }
        let now = self.clock.now();
        let (mut batch, mut drifted, mut is_news) = (Batch::new(), Vec::new(), false);
        for (key, effect) in overdue {
            if answers.unasked.contains(&effect.instance)
                || self.store.effect(&entry.name, &key).map_err(text)?.as_ref() != Some(&effect)
            {
                continue;
            }
            let asked = Effect { asked: Some(now), ..effect.clone() };
            let asked = match answers.said.get(&key).filter(|(instance, _)| *instance == effect.instance) {
                None => asked,
                Some((_, how)) => {
                    if let Some(how) = how {
                        is_news |= effect.drifted.is_none();
                        tracing::warn!(pipeline = %entry.name, key, how, "an effect has drifted");
                        drifted.push((effect.instance, how.clone()));
                    }
                    Effect { drifted: how.clone(), ..asked }
                }
            };
            batch.put_effect(&entry.name, &key, &asked);
        }
        if batch.is_empty() {
            return Ok(());
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
        let written = self.write(batch).map_err(text)?;
        drop(queue);
        // What it commits is durable no sooner than this.
        if let Some(waiting) = waiting {
            self.has_waiting(waiting);
        }
        drop(deciding);
        self.store.sync(written).map_err(text)?;
        self.outbox.notify_one();
        Ok(())
    }

    /// Asks the probes of effects. One whose inputs are not made is not asked; a probe without an answer says nothing.
    fn ask_probes(
        &self,
        entry: &Entry,
        order: &Order,
        overdue: &[(String, Effect)],
        stopping: &Stopping,
    ) -> Result<Answers, String> {
        let now = self.clock.now();
        let checked = match check(entry, order, now).map_err(|error| complaint(&error)) {
            Ok(checked) if checked.pipeline.reads_interval && order.asked.interval.is_none() => {
                return Ok(Answers::none(NO_INTERVAL.to_owned()));
            }
            Ok(checked) => checked,
            Err(why) => return Ok(Answers::none(why)),
        };
        let asked: HashSet<&InstanceName> = overdue.iter().map(|(_, effect)| &effect.instance).collect();
        let instances = &checked.pipeline.instances;
        let wanted: Vec<u32> =
            (0..).zip(instances).filter(|(_, of)| asked.contains(&of.name)).map(|(at, _)| at).collect();
        if wanted.is_empty() {
            return Ok(Answers::default());
        }
        let mut selected = checked.graph.upstream_closure(&wanted);
        for at in &wanted {
            selected[*at as usize] = true;
        }
        let (run, force) = (RunId::generate(&*self.clock), vec![false; selected.len()]);
        let clock = Arc::clone(&self.clock);
        let engine = checked.engine(Some(self.store.clone()), clock, run, now, HashSet::new(), false);
        let engine = match engine {
            Ok(engine) => Arc::new(engine),
            Err(error) => return Ok(Answers::none(error.to_string())),
        };
        engine.lend(self.keeper.clone());
        let bound = tokio::spawn(end_asking(Arc::clone(&engine), stopping.clone()));
        let predicted = plan(&engine, &checked.graph, &selected, &force);
        bound.abort();
        engine.clear();
        Ok(Answers::of(&engine, &checked.graph, &wanted, &predicted.map_err(text)?))
    }
}

/// Ends what asks once the daemon is to end, or it was asked for too long.
async fn end_asking(engine: Arc<Engine>, mut stopping: Stopping) {
    let ends = async {
        while !*stopping.borrow_and_update() {
            if stopping.changed().await.is_err() {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(ASKING_MAX, ends).await;
    loop {
        engine.stop_asides(true);
        tokio::time::sleep(STOP_AGAIN).await;
    }
}

const NO_INTERVAL: &str = "the pipeline reads its interval, and nothing says which";

/// What the probes of a pipeline's effects say.
#[derive(Debug, Default)]
struct Answers {
    /// By the keys of the effects: whose they are, and how they drifted, or that they stand.
    said: HashMap<String, (InstanceName, Option<String>)>,
    /// Those that were not come to.
    unasked: HashSet<InstanceName>,
    /// What was in the way.
    complaints: Vec<String>,
}

impl Answers {
    fn none(complaint: String) -> Self {
        Self { complaints: vec![complaint], ..Self::default() }
    }

    fn of(engine: &Engine, graph: &Graph, wanted: &[u32], predicted: &[Prediction]) -> Self {
        let mut answers = Self::default();
        let mut was_stopped = false;
        let wanted: HashSet<u32> = wanted.iter().copied().collect();
        for &at in graph.order() {
            let prediction = &predicted[at as usize];
            let name = &engine.pipeline().instances[at as usize].name;
            let (input_hash, drifted) = match prediction {
                Prediction::Drifted { input_hash, reason } => (input_hash, Some(reason.text())),
                Prediction::Fresh { input_hash, .. } | Prediction::Restore { input_hash, .. } => {
                    (input_hash, None)
                }
                Prediction::Broken { error, stopped, .. } => {
                    // The first one is what took so long, and is not asked before others are.
                    if *stopped && std::mem::replace(&mut was_stopped, true) {
                        answers.unasked.insert(name.clone());
                    } else if *stopped {
                        answers
                            .complaints
                            .push(format!("{name}: its probe, or those before it, take too long"));
                    } else if wanted.contains(&at) {
                        answers.complaints.push(format!("{name}: {error}"));
                    }
                    continue;
                }
                Prediction::Run { .. }
                | Prediction::After { .. }
                | Prediction::InDoubt { .. }
                | Prediction::Blocked(_)
                | Prediction::NotSelected => continue,
            };
            if let Some(key) = engine.effect_key(at, input_hash).filter(|_| wanted.contains(&at)) {
                answers.said.insert(key, (name.clone(), drifted));
            }
        }
        answers
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
