//! Executes a checked pipeline: what `run` and `resume` have in common.

mod remote;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_executor::Hands;
use cairn_executor::isolation::Keeper;
use cairn_model::{Clock, Event, Interval, RunId, RunStatus, RunTrace, SystemClock, Timestamp};
use cairn_scheduler::launch::{
    self, Asked, Launched, Leftovers, Resumed, alone, blocking_threads, launch, write_index,
};
use cairn_scheduler::run::{Run, Signal};
use cairn_scheduler::spans::{Export, Spans};
use cairn_store::{Durability, ProcessId, RunRecord, Store};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

pub(crate) use remote::{Otherwise, execute_remotely, resume_remotely};

use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::past::damaged;
use crate::shown::{Showing, Shown, Teller};
use crate::telemetry;
use crate::terminal::Terminal;
use crate::work::Checked;

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
    let of = (run, logical_time);
    let Launched { record, engine, machine, names, expected_ms, jobs, .. } =
        launch(checked, store, of, asked, resumed, (Leftovers::Look, alone(store)), Arc::clone(&clock))?;
    let cannot_start = |error| Failure::new(ExitStatus::Store, format!("cannot start a thread: {error}"));
    let telemetry = telemetry::of_process();
    let spans = telemetry.as_ref().map(|to| {
        let to = Arc::clone(to) as Arc<dyn Export>;
        // One that goes on is in the trace in which it began.
        Spans::begin(to, RunTrace::new(run, asked.caller), (run, &record), "hand", &engine)
    });
    let mut spans = spans.transpose().map_err(damaged)?;
    let shown = Shown::new(checked, run, jobs, (&names, &expected_ms), manner);
    let showing = Showing::start(shown).map_err(cannot_start)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking_threads(checked, jobs))
        .build()
        .map_err(|error| Failure::new(ExitStatus::Store, format!("cannot start a runtime: {error}")))?;
    let ended = runtime.block_on(async {
        let teller = showing.teller();
        let tell = teller.clone();
        let now = Arc::clone(&clock);
        engine.on_records(Box::new(move |name, counts| tell.records(name, *counts, now.now())));
        let (tell, now) = (teller.clone(), Arc::clone(&clock));
        engine.on_pause(Box::new(move |name, pause| tell.pause(name, pause.cloned(), now.now())));
        let (signals, pressed) = signals(&teller);
        let driven = async {
            let keeper = start_keeper()?;
            let committer = engine.committer(false).map_err(|error| {
                Failure::new(ExitStatus::Store, format!("cannot make the folders of a run: {error}"))
            })?;
            let process = ProcessId::current();
            let hands = Arc::new(Hands {
                keeper,
                committer,
                process,
                stopped: Arc::default(),
                killed: Arc::default(),
                own_thread: false,
            });
            let mut observe = |event: Event, log: Option<PathBuf>| {
                if let Some(spans) = &mut spans {
                    spans.note(&event);
                }
                teller.event(event, log);
            };
            let loop_ = Run {
                id: run,
                record,
                resumed: resumed.is_some(),
                engine: Arc::clone(&engine),
                hands: Arc::clone(&hands),
                leases: None,
                end: Durability::Synced,
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
    drop(spans);
    if let Some(telemetry) = telemetry {
        telemetry.flush();
    }
    Ok(status(ended?.status))
}

/// Returns the stretch of logical time that a run is about.
pub(crate) fn interval_of(record: &RunRecord) -> Option<Interval> {
    launch::interval_of(&record.selection)
}

/// Returns the words that say what a run is to make.
pub(crate) fn asked_words(record: &RunRecord) -> Vec<String> {
    launch::words_that_select(&record.selection)
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
