//! Executes a checked pipeline: what `run` and `resume` have in common.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_executor::isolation::Keeper;
use cairn_executor::{Hands, Project, recover};
use cairn_model::{
    Clock, Counts, Event, InstanceName, Interval, Name, RunId, RunStatus, SystemClock, Timestamp,
};
use cairn_scheduler::facts::{Order, expected_ms, setup};
use cairn_scheduler::plan::prime;
use cairn_scheduler::retry::History as Attempts;
use cairn_scheduler::run::{Ended, Run, Signal};
use cairn_scheduler::select::{Force, Node, Request, Selection, Target, select};
use cairn_scheduler::step::Machine;
use cairn_store::{Access, Batch, Durability, ProcessId, RunOptions, RunRecord, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::logical;
use crate::project::claim;
use crate::shown::{Showing, Shown, Teller};
use crate::terminal::Terminal;
use crate::work::{Checked, cpus};

/// What a run was asked to do, beside its pipeline.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Asked {
    /// Which instances, and which of them whatever the checkpoints say.
    pub(crate) request: Request,
    /// `-j`, cpus in all; `None`: those of the machine.
    pub(crate) jobs: Option<u32>,
    /// `-k`.
    pub(crate) keep_going: bool,
    /// `--frozen`.
    pub(crate) frozen: bool,
    /// `--force-effects`.
    pub(crate) force_effects: bool,
    /// `--rollback`.
    pub(crate) rollback: bool,
    /// `-p`.
    pub(crate) params: Vec<(String, String)>,
    /// The stretch of logical time that the run is about.
    pub(crate) interval: Option<Interval>,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// The terminal.
    pub(crate) terminal: Terminal,
    /// `--json`.
    pub(crate) json: bool,
    /// `-q`.
    pub(crate) quiet: bool,
}

/// A run of before that goes on.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// Its record.
    pub(crate) record: RunRecord,
    /// What its earlier processes tried.
    pub(crate) attempts: HashMap<InstanceName, Attempts>,
}

impl Resumed {
    /// Returns the instances that the run has executed.
    fn done(&self) -> HashSet<InstanceName> {
        let done = self.attempts.iter().filter(|(_, attempts)| attempts.is_done());
        done.map(|(name, _)| name.clone()).collect()
    }
}

/// Opens the store of a project for writing.
pub(crate) fn open_for_writing(project: &Project) -> Result<Store, Failure> {
    let state = project.state();
    claim(state, project.root())?;
    Store::open(state, Access::Write, &SystemClock)
        .map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))
}

/// Settles which instances a request is about. `--force-effects` forces what has an effect, unless `--force` says what.
pub(crate) fn selection(
    checked: &Checked,
    request: &Request,
    force_effects: bool,
) -> Result<Selection, Failure> {
    let instances = &checked.pipeline.instances;
    let nodes: Vec<Node<'_>> =
        instances.iter().map(|instance| Node { name: &instance.name, needs: &instance.needs }).collect();
    let mut selection = select(&nodes, request).map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let help = errors.iter().find_map(cairn_scheduler::select::SelectError::help);
        Failure::wrong(texts.join("; ")).maybe_help(help)
    })?;
    if force_effects && request.force == Force::None {
        for ((forced, selected), instance) in
            selection.forced.iter_mut().zip(&selection.selected).zip(instances)
        {
            *forced |= *selected && instance.effect.is_some();
        }
    }
    Ok(selection)
}

/// Runs `checked` in an open store until it ends.
pub(crate) fn execute(
    checked: &Checked,
    store: &Store,
    run: RunId,
    logical_time: Timestamp,
    asked: &Asked,
    resumed: Option<&Resumed>,
    manner: Manner,
) -> Result<ExitStatus, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Selection { selected, forced, .. } = selection(checked, &asked.request, asked.force_effects)?;
    let jobs = asked.jobs.unwrap_or_else(cpus).max(1);
    let record = record(checked, run, logical_time, asked, jobs, resumed);
    let mut batch = Batch::new();
    let definition = batch.put_definition(&checked.definition.bytes);
    let record = RunRecord { definition, ..record };
    batch.put_run(run, &record);
    let was_cut_off = is_cut_off(store, &checked.pipeline.name, checked.project.state())?;
    let _ = store
        .commit(batch, Durability::Synced)
        .map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    let done_before = resumed.as_ref().map(|resumed| resumed.done()).unwrap_or_default();
    let engine = Arc::new(checked.engine(
        Some(store.clone()),
        Arc::clone(&clock),
        run,
        logical_time,
        done_before,
        asked.force_effects,
    )?);
    if was_cut_off {
        let recovered = recover::recover(&checked.project, store, &engine.output_folders())
            .map_err(|error| Failure::of(ExitStatus::Store, &error))?;
        tracing::info!(?recovered, "cleared away what an earlier run left");
    }
    prime(&engine, &checked.graph, &selected);
    let durations = checked.durations(Some(store));
    let (names, expected) = expectations(checked, &selected, &durations);
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
    let machine = Machine::new(setup(&checked.pipeline, &checked.graph, &durations, order));
    let cannot_start = |error| Failure::new(ExitStatus::Store, format!("cannot start a thread: {error}"));
    let shown = Shown::new(checked, run, jobs, (&names, &expected), manner);
    let showing = Showing::start(shown).map_err(cannot_start)?;
    let passing = checked.pipeline.instances.iter().filter(|instance| instance.records.is_some()).count();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Look-ups and collecting read and hash: more threads than cores only wait for each other.
        // A stage that passes records on keeps one for as long as it runs.
        .max_blocking_threads(cpus() as usize + 1 + (jobs as usize).min(passing))
        .build()
        .map_err(|error| Failure::new(ExitStatus::Store, format!("cannot start a runtime: {error}")))?;
    let ended = runtime.block_on(async {
        let teller = showing.teller();
        let tell = teller.clone();
        engine.on_records(Box::new(move |name, counts| tell.records(name, *counts)));
        let (signals, pressed) = signals(&teller);
        let driven = async {
            let keeper = start_keeper()?;
            let committer = engine.committer().map_err(cannot_start)?;
            let process = ProcessId::current();
            let hands = Arc::new(Hands {
                keeper,
                committer,
                process,
                stopped: Arc::default(),
                killed: Arc::default(),
            });
            let mut observe = |event: Event, log: Option<PathBuf>| teller.event(event, log);
            let loop_ = Run {
                id: run,
                record,
                resumed: resumed.is_some(),
                engine: Arc::clone(&engine),
                hands: Arc::clone(&hands),
                rollback: asked.rollback,
                clock,
                signals,
                observe: &mut observe,
            };
            // Without it the run goes on; what calls from a stage is told that nobody listens.
            let listening = engine
                .listen(&hands)
                .inspect_err(|error| tracing::warn!(%error, "cannot listen to what stages have remembered"));
            let span = tracing::info_span!("run", id = %run, pipeline = %checked.pipeline.name);
            let driven = tracing::Instrument::instrument(loop_.drive(machine), span).await;
            drop(listening);
            driven.map_err(|error| Failure::new(ExitStatus::Store, error.error).maybe_help(error.help))
        }
        .await;
        if let Ok(ended) = &driven {
            write_index(checked, &engine, store, asked, *ended);
        }
        showing.finish(given_up(pressed)).await;
        driven
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    Ok(status(ended?.status))
}

/// Starts the process that starts the commands: this binary once more.
pub(crate) fn start_keeper() -> Result<Keeper, Failure> {
    let program = std::env::current_exe().map_err(|error| {
        Failure::new(ExitStatus::Store, format!("cannot find the running program: {error}"))
    })?;
    Keeper::start(&program).map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))
}

fn status(status: RunStatus) -> ExitStatus {
    match status {
        RunStatus::Succeeded => ExitStatus::Done,
        RunStatus::Failed | RunStatus::Running => ExitStatus::StageFailed,
        RunStatus::Interrupted => ExitStatus::Interrupted,
        RunStatus::Frozen => ExitStatus::WouldRun,
        RunStatus::InDoubt => ExitStatus::InDoubt,
    }
}

/// Runs among which the last of a pipeline is looked for.
const RECENT_RUNS: usize = 64;

/// Returns whether an earlier run did not end by itself, so that there may be something to clear away.
fn is_cut_off(store: &Store, pipeline: &Name, state: &Path) -> Result<bool, Failure> {
    let read =
        |error: cairn_store::ReadError| Failure::of(ExitStatus::Store, &error).maybe_help(error.help());
    let runs = store.runs(RECENT_RUNS).map_err(read)?;
    // The last of all, and the last of this pipeline: only who knows its outputs clears away what lies beside them.
    let own = runs.iter().find(|(_, record)| record.pipeline == *pipeline);
    let cut_off = runs.first().into_iter().chain(own).any(|(_, record)| record.status == RunStatus::Running);
    let staged = std::fs::read_dir(state.join("staging")).is_ok_and(|mut entries| entries.next().is_some());
    Ok(cut_off || staged || !store.attempts_open().map_err(read)?.is_empty())
}

fn record(
    checked: &Checked,
    run: RunId,
    logical_time: Timestamp,
    asked: &Asked,
    jobs: u32,
    resumed: Option<&Resumed>,
) -> RunRecord {
    let mut selection = words_of(&asked.request);
    let flags = [(asked.force_effects, FORCE_EFFECTS), (asked.rollback, ROLLBACK)];
    selection.extend(flags.into_iter().filter(|(asked, _)| *asked).map(|(_, word)| word.to_owned()));
    selection.extend(asked.interval.map(|interval| format!("{INTERVAL}{}", logical::words(interval))));
    let force = match &asked.request.force {
        Force::None => cairn_store::Force::Nothing,
        Force::All => cairn_store::Force::Everything,
        Force::Named(names) => cairn_store::Force::Stages(names.clone()),
    };
    RunRecord {
        pipeline: checked.pipeline.name.clone(),
        file: checked.definition.relative(),
        definition: checked.definition.index_name(&[]),
        params: asked.params.clone(),
        logical_time,
        started: resumed.map_or(run.started(), |resumed| resumed.record.started),
        ended: None,
        status: RunStatus::Running,
        counts: Counts::default(),
        selection,
        options: RunOptions { jobs, keep_going: asked.keep_going, frozen: asked.frozen, force },
        command_line: std::env::args().collect(),
        process: ProcessId::current(),
        cairn_version: env!("CARGO_PKG_VERSION").to_owned(),
        saved_ms: 0,
    }
}

/// Words of a run's selection that say how it was asked to treat effects.
pub(crate) const FORCE_EFFECTS: &str = "--force-effects";
pub(crate) const ROLLBACK: &str = "--rollback";

/// The word of a run's selection that says which interval it is about.
const INTERVAL: &str = "--interval=";

/// Returns the stretch of logical time that a run is about.
pub(crate) fn interval_of(record: &RunRecord) -> Option<Interval> {
    let text = record.selection.iter().find_map(|word| word.strip_prefix(INTERVAL))?;
    logical::interval(text, &jiff::tz::TimeZone::UTC)
}

/// Returns the words of a run's selection beside its interval.
pub(crate) fn asked_words(record: &RunRecord) -> Vec<String> {
    record.selection.iter().filter(|word| !word.starts_with(INTERVAL)).cloned().collect()
}

/// Returns whether a run was asked for with such a word.
pub(crate) fn has_word(record: &RunRecord, word: &str) -> bool {
    record.selection.iter().any(|selected| selected == word)
}

/// Writes down which instances a request is about; stages' names do not begin with a dash.
fn words_of(request: &Request) -> Vec<String> {
    let mut words = match &request.target {
        Target::All => Vec::new(),
        Target::Named(names) => names.clone(),
        Target::Only(names) => names.iter().map(|name| format!("--only={name}")).collect(),
    };
    words.extend(request.from.iter().map(|name| format!("--from={name}")));
    words
}

/// Returns the request that a run's record was made of.
pub(crate) fn request_of(record: &RunRecord) -> Request {
    let (mut named, mut only, mut from) = (Vec::new(), Vec::new(), Vec::new());
    for word in &record.selection {
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
    let force = match &record.options.force {
        cairn_store::Force::Nothing => Force::None,
        cairn_store::Force::Everything => Force::All,
        cairn_store::Force::Stages(stages) => Force::Named(stages.clone()),
    };
    Request { target, from, force }
}

/// The machine's memory; what instances say they take is packed into it.
fn memory_bytes() -> Option<u64> {
    let information = rustix::system::sysinfo();
    information.totalram.checked_mul(u64::from(information.mem_unit))
}

/// How urgently the run was asked to end: by the first Ctrl-C, and by the second one or a SIGTERM.
const GENTLY: u32 = 1;
const AT_ONCE: u32 = 2;

/// Turns the system's signals into the loop's; also returns how urgent they are, added up.
fn signals(teller: &Teller) -> (UnboundedReceiver<Signal>, watch::Receiver<u32>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = unbounded_channel();
    let (urgency, asked) = watch::channel(0);
    for (kind, meaning, urgent) in [
        (SignalKind::interrupt(), Signal::Interrupt, GENTLY),
        (SignalKind::terminate(), Signal::Stop, AT_ONCE),
        // The terminal was closed.
        (SignalKind::hangup(), Signal::Stop, AT_ONCE),
    ] {
        let (sender, urgency, teller) = (sender.clone(), urgency.clone(), teller.clone());
        match signal(kind) {
            Ok(mut arrivals) => {
                tokio::spawn(async move {
                    let mut first = true;
                    while arrivals.recv().await.is_some() {
                        if std::mem::take(&mut first) && matches!(meaning, Signal::Interrupt) {
                            teller.note(
                                "  stopping: what runs is ended gently; Ctrl-C again ends it at once\n",
                            );
                        }
                        // After the loop's end only the urgency is still looked at.
                        let _ = sender.send(meaning);
                        urgency.send_modify(|sum| *sum += urgent);
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "cannot listen to a signal"),
        }
    }
    (receiver, asked)
}

/// How long a run that is to end at once waits until what it printed is read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Returns when a run that has ended is no longer to wait until what it printed is read: at the next signal, or soon when
/// it was to end at once.
async fn given_up(mut asked: watch::Receiver<u32>) {
    if *asked.borrow_and_update() >= AT_ONCE {
        tokio::time::sleep(LAST_WORDS).await;
    } else if asked.changed().await.is_err() {
        // No signal can be listened to: whatever comes ends the process.
        std::future::pending::<()>().await;
    }
}

/// When all was fresh, the next run need not look further than at how the files look.
fn write_index(
    checked: &Checked,
    engine: &cairn_executor::Engine,
    store: &Store,
    asked: &Asked,
    ended: Ended,
) {
    let plain = asked.request == Request::default() && ended.status == RunStatus::Succeeded;
    let Some(_) = checked.definition.plain_folder().filter(|_| plain) else { return };
    let key = checked.definition.index_key(&asked.params);
    if let Some(index) = engine.take_index(key, store.head().sequence) {
        let name = checked.definition.index_name(&asked.params);
        index.write(&cairn_executor::index::path(checked.project.state(), &name));
    }
}

/// The selected instances, and what each is expected to take: 0 where its stage never ran, so that no time is made up.
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
