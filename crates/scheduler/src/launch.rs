//! From a checked pipeline to a run that only has to be driven: its record, its engine, its machine.
//!
//! What is done here is the same for a run in the foreground and for one under the daemon. What they do not share stays
//! with them: who listens to signals, who shows the events, whose keeper starts the processes, and when what an earlier
//! process left is cleared away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use cairn_executor::recover::{self, RecoverError};
use cairn_executor::{Engine, FileError, HeldAttempt};
use cairn_model::{
    Clock, Counts, InstanceEvent, InstanceName, Interval, Name, RunEvent, RunId, RunStatus, Timestamp,
    TraceParent,
};
use cairn_store::{Batch, CommitError, Durability, ProcessId, ReadError, RunOptions, RunRecord, Store};

use crate::definition::{Checked, cpus};
use crate::facts::{Order, expected_ms, setup};
use crate::plan::prime;
use crate::retry::History as Attempts;
use crate::run::Ended;
use crate::select::{Force, Node, Request, SelectError, Selection, Target, select};
use crate::step::Machine;

/// What a run is asked to do, beside its pipeline.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Asked {
    /// Which instances, and which of them whatever the checkpoints say.
    pub request: Request,
    /// `-j`, cpus in all; `None`: those of the machine.
    pub jobs: Option<u32>,
    /// `-k`.
    pub keep_going: bool,
    /// `--frozen`.
    pub frozen: bool,
    /// `--force-effects`.
    pub force_effects: bool,
    /// `--rollback`.
    pub rollback: bool,
    /// `-p`.
    pub params: Vec<(String, String)>,
    /// The stretch of logical time that it is about.
    pub interval: Option<Interval>,
    /// The span that it is asked for in, of another program's trace.
    pub caller: Option<TraceParent>,
}

/// A run of before that goes on.
#[derive(Debug)]
pub struct Resumed {
    /// Its record.
    pub record: RunRecord,
    /// What its earlier processes tried.
    pub attempts: HashMap<InstanceName, Attempts>,
    /// What failed for good and is not tried again, with errors and helps.
    pub failed: HashMap<InstanceName, (String, Option<String>)>,
    /// Attempts of it that a keeper holds, as [`recover::take_over`] found them: they go on.
    pub held: Vec<HeldAttempt>,
}

/// A run, ready to be driven.
pub struct Launched {
    /// Its record, as it stands in the store.
    pub record: RunRecord,
    /// Everything its instances need.
    pub engine: Arc<Engine>,
    /// What decides.
    pub machine: Machine,
    /// The instances that take part.
    pub names: Vec<InstanceName>,
    /// What each of them is expected to take, in milliseconds: 0 where its stage never ran, so that no time is made up.
    pub expected_ms: Vec<u64>,
    /// Cpus in all.
    pub jobs: u32,
    /// Held attempts that the run cannot go on with: who has the keeper [gives them up](recover::give_up).
    pub not_held: Vec<HeldAttempt>,
}

impl Launched {
    /// Returns whether there is one command to be executed, and hardly anything to be done beside it: it declares neither inputs
    /// nor outputs, and asks nothing.
    pub fn is_slight(&self) -> bool {
        let [name] = self.names.as_slice() else { return false };
        let pipeline = self.engine.pipeline();
        let Some(instance) = pipeline.instances.iter().find(|instance| instance.name == *name) else {
            return false;
        };
        let asks = instance.effect.is_some() || !instance.tools.is_empty();
        let has_files = !instance.inputs.is_empty() || !instance.outputs.is_empty();
        !asks && !has_files && instance.records.is_none()
    }
}

/// When what an earlier process left is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// Before this run, when an earlier one was cut off: nothing else runs in this state folder.
    Look,
    /// Not now: who runs many at once did so when it started.
    Leave,
}

/// Why a run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// What was asked for is not in the pipeline.
    #[error("{}", texts(.0))]
    Select(Vec<SelectError>),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The state folder cannot be used.
    #[error("cannot use the state folder `{state}`: {source}")]
    State {
        /// The folder.
        state: String,
        /// Why.
        source: FileError,
    },
    /// What an earlier run left cannot be cleared away.
    #[error(transparent)]
    Recover(#[from] RecoverError),
}

impl LaunchError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Select(errors) => errors.iter().find_map(SelectError::help),
            Self::Read(error) => error.help(),
            Self::Commit(error) => error.help(),
            Self::State { source, .. } => source.help(),
            Self::Recover(_) => None,
        }
    }
}

fn texts(errors: &[SelectError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl Resumed {
    /// Takes up a run where its events leave it: what failed is tried again.
    pub fn of(store: &Store, run: RunId, record: RunRecord) -> Result<Self, ReadError> {
        Ok(Self { failed: HashMap::new(), ..Self::unasked(store, run, record)? })
    }

    /// The same for a run that another process could not end, and that nobody asked to be gone on with: what failed in that
    /// part of it stays failed.
    pub fn unasked(store: &Store, run: RunId, record: RunRecord) -> Result<Self, ReadError> {
        let mut attempts: HashMap<InstanceName, Attempts> = HashMap::new();
        let mut failed = HashMap::new();
        for (_, event) in store.events(run)? {
            match event.what {
                RunEvent::Instance { instance, event } => {
                    attempts.entry(instance.clone()).or_default().record(&event);
                    if let InstanceEvent::Failed { error, help, .. } = event {
                        failed.insert(instance, (error, help));
                    } else {
                        failed.remove(&instance);
                    }
                }
                // Who goes on with what has ended asks for it to be tried again.
                RunEvent::Ended { .. } => failed.clear(),
                RunEvent::Started { .. } => {}
            }
        }
        Ok(Self { record, attempts, failed, held: Vec::new() })
    }

    /// Returns the instances that the run has executed.
    fn done(&self) -> HashSet<InstanceName> {
        let done = self.attempts.iter().filter(|(_, attempts)| attempts.is_done());
        done.map(|(name, _)| name.clone()).collect()
    }
}

/// Settles which instances a request is about. `--force-effects` forces what has an effect, unless `--force` says what.
pub fn selection(
    checked: &Checked,
    request: &Request,
    force_effects: bool,
) -> Result<Selection, LaunchError> {
    let instances = &checked.pipeline.instances;
    let nodes: Vec<Node<'_>> =
        instances.iter().map(|instance| Node { name: &instance.name, needs: &instance.needs }).collect();
    let mut selection = select(&nodes, request).map_err(LaunchError::Select)?;
    if force_effects && request.force == Force::None {
        for ((forced, selected), instance) in
            selection.forced.iter_mut().zip(&selection.selected).zip(instances)
        {
            *forced |= *selected && instance.effect.is_some();
        }
    }
    Ok(selection)
}

/// Makes the record durable of a run that is known by nothing else: one in the foreground.
pub fn alone(store: &Store) -> impl FnOnce(Batch) -> Result<(), LaunchError> + '_ {
    |batch| {
        let _ = store.commit(batch, Durability::Synced)?;
        Ok(())
    }
}

/// Enters a run in the store, and makes all it needs to be driven. `enter` writes the batch with its record, and what is to be
/// in one batch with that.
pub fn launch(
    checked: &Checked,
    store: &Store,
    (run, logical_time): (RunId, Timestamp),
    asked: &Asked,
    resumed: Option<&Resumed>,
    (leftovers, enter): (Leftovers, impl FnOnce(Batch) -> Result<(), LaunchError>),
    clock: Arc<dyn Clock>,
) -> Result<Launched, LaunchError> {
    let Selection { selected, forced, .. } = selection(checked, &asked.request, asked.force_effects)?;
    let jobs = asked.jobs.unwrap_or_else(cpus).max(1);
    // One that waited in a queue has its id from before.
    let started = resumed.map_or_else(|| clock.now(), |resumed| resumed.record.started);
    let record = record(checked, (started, logical_time), asked, jobs);
    let mut batch = Batch::new();
    let definition = batch.put_definition(&checked.definition.bytes);
    let record = RunRecord { definition, ..record };
    batch.put_run(run, &record);
    let was_cut_off =
        leftovers == Leftovers::Look && is_cut_off(store, &checked.pipeline.name, checked.project.state())?;
    enter(batch)?;
    let done_before = resumed.map(Resumed::done).unwrap_or_default();
    let engine = checked
        .engine(Some(store.clone()), clock, run, logical_time, done_before, asked.force_effects)
        .map_err(|source| {
            let state = checked.project.state().display().to_string();
            LaunchError::State { state, source }
        })?;
    if let Some(caller) = asked.caller {
        engine.pass_on(caller);
    }
    if was_cut_off {
        let recovered = recover::recover(&checked.project, store, &engine.output_folders())?;
        tracing::info!(?recovered, "cleared away what an earlier run left");
    } else {
        recover::clear_left(&checked.project);
    }
    prime(&engine, &checked.graph, &selected);
    let durations = checked.durations(Some(store));
    let (names, expected_ms) = expectations(checked, &selected, &durations);
    let order = Order {
        selected,
        force: forced,
        jobs,
        memory_bytes: memory_bytes(),
        keep_going: asked.keep_going,
        frozen: asked.frozen,
        seed: u64::from_be_bytes(run.as_bytes()[8..].try_into().expect("8 of 16 bytes")),
        histories: resumed.map(|resumed| resumed.attempts.clone()).unwrap_or_default(),
    };
    let mut setup = setup(&checked.pipeline, &checked.graph, &durations, order);
    let held = resumed.map(|resumed| resumed.held.clone()).unwrap_or_default();
    let (held, not_held) = engine.hold(held, &|instance| setup.instances[instance as usize].selected);
    setup.hold(&held);
    let mut machine = Machine::new(setup);
    if let Some(resumed) = resumed {
        let names = (0..).zip(&checked.pipeline.instances);
        let failed =
            names.filter_map(|(at, instance)| Some((at, resumed.failed.get(&instance.name)?.clone())));
        machine.keep_failed(failed.collect());
    }
    Ok(Launched { record, engine: Arc::new(engine), machine, names, expected_ms, jobs, not_held })
}

/// When all was fresh, the next run need not look further than at how the files look.
pub fn write_index(checked: &Checked, engine: &Engine, store: &Store, asked: &Asked, ended: Ended) {
    let plain = asked.request == Request::default() && ended.status == RunStatus::Succeeded;
    let Some(_) = checked.definition.plain_folder().filter(|_| plain) else { return };
    let key = checked.definition.index_key(&asked.params);
    let Some(index) = engine.take_index(key, store.head().sequence) else { return };
    // What could not be removed is the next run's to remove: it is not to find that there is nothing to do.
    if !recover::left_something(checked.project.state()) {
        let name = checked.definition.index_name(&asked.params);
        index.write(&cairn_executor::index::path(checked.project.state(), &name));
    }
}

/// Returns how many threads may wait for the disk in a run of `checked`.
///
/// Look-ups and collecting read and hash: more threads than cores only wait for each other. The committer keeps one, and so
/// does a stage that passes records on, for as long as it runs.
pub fn blocking_threads(checked: &Checked, jobs: u32) -> usize {
    let passing = checked.pipeline.instances.iter().filter(|instance| instance.records.is_some()).count();
    cpus() as usize + 2 + (jobs as usize).min(passing)
}

/// Runs among which the last of a pipeline is looked for.
const RECENT_RUNS: usize = 64;

/// Returns whether an earlier run did not end by itself, so that there may be something to clear away.
fn is_cut_off(store: &Store, pipeline: &Name, state: &Path) -> Result<bool, ReadError> {
    let runs = store.runs(RECENT_RUNS)?;
    // The last of all, and the last of this pipeline: only who knows its outputs clears away what lies beside them.
    let own = runs.iter().find(|(_, record)| record.pipeline == *pipeline);
    let cut_off = runs.first().into_iter().chain(own).any(|(_, record)| record.status == RunStatus::Running);
    Ok(cut_off || recover::is_anything_staged(state) || !store.attempts_open()?.is_empty())
}

fn record(
    checked: &Checked,
    (started, logical_time): (Timestamp, Timestamp),
    asked: &Asked,
    jobs: u32,
) -> RunRecord {
    RunRecord {
        pipeline: checked.pipeline.name.clone(),
        file: checked.definition.relative(),
        definition: checked.definition.index_name(&[]),
        params: asked.params.clone(),
        logical_time,
        started,
        ended: None,
        status: RunStatus::Running,
        counts: Counts::default(),
        selection: words_of(asked),
        options: RunOptions { jobs, ..options_of(asked) },
        caller: asked.caller,
        command_line: std::env::args().collect(),
        process: ProcessId::current(),
        cairn_version: env!("CARGO_PKG_VERSION").to_owned(),
        saved_ms: 0,
    }
}

/// Words of a run's selection that say how it was asked to treat effects.
const FORCE_EFFECTS: &str = "--force-effects";
const ROLLBACK: &str = "--rollback";

/// The word of a run's selection that says which interval it is about.
const INTERVAL: &str = "--interval=";

fn interval_words(interval: Interval) -> String {
    let exact = |time: Timestamp| jiff::Timestamp::from_millisecond(time.0).unwrap_or_default();
    format!("{}/{}", exact(interval.start), exact(interval.end))
}

/// Returns the stretch of logical time that a run with these words is about.
pub fn interval_of(words: &[String]) -> Option<Interval> {
    let text = words.iter().find_map(|word| word.strip_prefix(INTERVAL))?;
    let (start, end) = text.split_once('/')?;
    let exact = |text: &str| Some(Timestamp(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()));
    Some(Interval { start: exact(start)?, end: exact(end)? })
}

/// Returns the words of a run's selection that say what is selected, without its interval.
pub fn words_that_select(words: &[String]) -> Vec<String> {
    words.iter().filter(|word| !word.starts_with(INTERVAL)).cloned().collect()
}

/// Writes down which instances are asked for, and how their effects are to be treated; stages' names do not begin with a
/// dash.
pub fn words_of(asked: &Asked) -> Vec<String> {
    let mut words = match &asked.request.target {
        Target::All => Vec::new(),
        Target::Named(names) => names.clone(),
        Target::Only(names) => names.iter().map(|name| format!("--only={name}")).collect(),
    };
    words.extend(asked.request.from.iter().map(|name| format!("--from={name}")));
    let flags = [(asked.force_effects, FORCE_EFFECTS), (asked.rollback, ROLLBACK)];
    words.extend(flags.into_iter().filter(|(asked, _)| *asked).map(|(_, word)| word.to_owned()));
    words.extend(asked.interval.map(|interval| format!("{INTERVAL}{}", interval_words(interval))));
    words
}

/// Writes down how a run is asked to run; 0 jobs where it is not said.
pub fn options_of(asked: &Asked) -> RunOptions {
    let force = match &asked.request.force {
        Force::None => cairn_store::Force::Nothing,
        Force::All => cairn_store::Force::Everything,
        Force::Named(names) => cairn_store::Force::Stages(names.clone()),
    };
    RunOptions { jobs: asked.jobs.unwrap_or(0), keep_going: asked.keep_going, frozen: asked.frozen, force }
}

/// Returns what was written down by [`words_of`] and [`options_of`]; the caller's span is kept apart from it.
pub fn asked_for(words: &[String], options: &RunOptions, params: &[(String, String)]) -> Asked {
    let has = |word: &str| words.iter().any(|selected| selected == word);
    Asked {
        request: request_of(words, &options.force),
        jobs: Some(options.jobs).filter(|jobs| *jobs > 0),
        keep_going: options.keep_going,
        frozen: options.frozen,
        force_effects: has(FORCE_EFFECTS),
        rollback: has(ROLLBACK),
        params: params.to_vec(),
        interval: interval_of(words),
        caller: None,
    }
}

/// Returns what the run of a record was asked to do. A run that goes on is never frozen: it was when it was started.
pub fn asked_of(record: &RunRecord) -> Asked {
    let asked = asked_for(&record.selection, &record.options, &record.params);
    Asked { frozen: false, caller: record.caller, ..asked }
}

fn request_of(words: &[String], force: &cairn_store::Force) -> Request {
    let (mut named, mut only, mut from) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        if let Some(name) = word.strip_prefix("--only=") {
            only.push(name.to_owned());
        } else if let Some(name) = word.strip_prefix("--from=") {
            from.push(name.to_owned());
        } else if !word.starts_with("--") {
            named.push(word.clone());
        }
    }
    let target = match (named.is_empty(), only.is_empty()) {
        (true, true) => Target::All,
        (false, _) => Target::Named(named),
        (true, false) => Target::Only(only),
    };
    let force = match force {
        cairn_store::Force::Nothing => Force::None,
        cairn_store::Force::Everything => Force::All,
        cairn_store::Force::Stages(stages) => Force::Named(stages.clone()),
    };
    Request { target, from, force }
}

/// The machine's memory; what instances say they take is packed into it.
pub fn memory_bytes() -> Option<u64> {
    let information = rustix::system::sysinfo();
    information.totalram.checked_mul(u64::from(information.mem_unit))
}

/// Returns the instances that take part, and what each is expected to take, in milliseconds: 0 where its stage never ran.
pub fn expected(
    checked: &Checked,
    selected: &[bool],
    store: Option<&Store>,
) -> (Vec<InstanceName>, Vec<u64>) {
    expectations(checked, selected, &checked.durations(store))
}

/// The selected instances, and what each is expected to take.
fn expectations(
    checked: &Checked,
    selected: &[bool],
    durations: &BTreeMap<InstanceName, u64>,
) -> (Vec<InstanceName>, Vec<u64>) {
    let stages: HashSet<&Name> = durations.keys().map(InstanceName::stage).collect();
    let expected = expected_ms(&checked.pipeline, durations);
    let instances = checked.pipeline.instances.iter().zip(expected).zip(selected);
    instances
        .filter(|(_, selected)| **selected)
        .map(|((instance, expected), _)| {
            let known = stages.contains(instance.name.stage());
            (instance.name.clone(), if known { expected } else { 0 })
        })
        .unzip()
}
