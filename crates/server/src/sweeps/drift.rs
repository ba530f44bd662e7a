//! Effects whose probe answers otherwise than it did (`check_drift`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_dag::graph::Graph;
use cairn_executor::Engine;
use cairn_model::{EffectState, InstanceName, RunId};
use cairn_scheduler::plan::{Prediction, plan};
use cairn_store::{Batch, Effect, TriggerKind};

use super::{Looked, NO_INTERVAL, Stopping, complaint, order, order_of, text};
use crate::catalog::Entry;
use crate::daemon::{Daemon, lock};
use crate::submit::{Order, check, enter, with_interval};

/// How long the probes of one pipeline are asked at a time: those of others wait. One probe alone may take half of it.
const ASKING_MAX: Duration = Duration::from_mins(10);
/// How often those that run are ended once the time is over: one may just be starting.
const STOP_AGAIN: Duration = Duration::from_secs(1);

impl Daemon {
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
        self.outbox.send_replace(());
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
