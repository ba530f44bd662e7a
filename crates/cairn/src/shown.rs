//! Shows a run's events, on a thread of its own: who does not read what is printed holds up what is shown, not the run.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_executor::Pause;
use cairn_model::{Event, InstanceName, RecordCounts, RunEvent, RunId, Timestamp};
use tokio::sync::oneshot;

use crate::execute::Manner;
use crate::json;
use crate::terminal::{Show, ShowOptions, write_above};
use crate::work::Checked;

/// Shows a run's events: lines for people on standard error, or JSON on standard output.
pub(crate) enum Shown {
    /// For people.
    Lines(Box<Show>),
    /// One JSON object a line.
    Json(Box<json::Events>),
}

impl Shown {
    pub(crate) fn new(
        checked: &Checked,
        run: RunId,
        jobs: u32,
        (names, expected_ms): (&[InstanceName], &[u64]),
        manner: Manner,
    ) -> Self {
        let pipeline = checked.pipeline.name.to_string();
        if manner.json {
            return Self::Json(Box::new(json::Events::new(run, pipeline)));
        }
        let options = ShowOptions {
            stream: manner.terminal.stderr,
            quiet: manner.quiet,
            jobs,
            run,
            pipeline,
            folder: checked.project.root().to_owned(),
        };
        Self::Lines(Box::new(Show::new(options, names, expected_ms)))
    }

    fn event(&mut self, event: &Event, log: Option<&Path>) {
        match self {
            Self::Lines(show) => show.event(event, log),
            Self::Json(events) => {
                let line = events.line(event, log);
                print(&line, matches!(event.what, RunEvent::Ended { .. }));
            }
        }
    }

    /// Shows what it is told until the end.
    fn all(mut self, told: &Receiver<Told>) {
        for told in told {
            match told {
                Told::Event(event, log) => self.event(&event, log.as_deref()),
                Told::Records(name, counts, at) => match &mut self {
                    Self::Lines(show) => show.records(&name, counts),
                    Self::Json(events) => print(&events.progress(&name, counts, at), false),
                },
                Told::Pause(name, pause, at) => match (&mut self, pause) {
                    (Self::Lines(show), pause) => show.pause(&name, pause.as_ref(), at),
                    (Self::Json(events), Some(pause)) => print(&events.pause(&name, &pause, at), false),
                    // What comes next tells that it goes on.
                    (Self::Json(_), None) => {}
                },
                Told::Note(lines) => write_above(lines.as_bytes()),
                Told::End => break,
            }
        }
        self.finish();
    }

    fn finish(self) {
        if let Self::Lines(show) = self {
            show.finish();
        }
    }
}

/// Writes a line to standard output.
fn print(line: &str, is_last: bool) {
    let mut out = std::io::stdout().lock();
    // A reader that went away does not stop the run.
    let _ = out.write_all(line.as_bytes());
    if is_last {
        let _ = out.flush();
    }
}

/// The thread that shows a run.
#[derive(Debug)]
pub(crate) struct Showing {
    teller: Teller,
    /// Its other end goes with the thread, which is not joined: it may be left behind.
    ended: oneshot::Receiver<()>,
}

/// Tells the thread what to show; it never waits.
///
/// The queue has no bound: one would bring back the waiting. It holds what a run's events hold, of which the store keeps
/// as much, and how far records are only now and then.
#[derive(Debug, Clone)]
pub(crate) struct Teller {
    told: Sender<Told>,
    /// When it was last told how far the records of an instance are.
    paced: Arc<Mutex<HashMap<InstanceName, Timestamp>>>,
}

/// How often it is told how far the records of an instance are: no more often than this.
const RECORDS_PAUSE_MS: u64 = 200;

#[derive(Debug)]
enum Told {
    Event(Event, Option<PathBuf>),
    Records(InstanceName, RecordCounts, Timestamp),
    Pause(InstanceName, Option<Pause>, Timestamp),
    Note(&'static str),
    End,
}

impl Teller {
    /// Shows an event, with the log of the attempt it is about.
    pub(crate) fn event(&self, event: Event, log: Option<PathBuf>) {
        self.tell(Told::Event(event, log));
    }

    /// Shows how far the records of an instance are, now and then: the first time after a while, since what takes less
    /// than that is over before anyone reads it.
    pub(crate) fn records(&self, name: &InstanceName, counts: RecordCounts, at: Timestamp) {
        // Each change to it is one call, so that a thread that panicked left it whole.
        let mut paced = self.paced.lock().unwrap_or_else(PoisonError::into_inner);
        match paced.get_mut(name) {
            None => drop(paced.insert(name.clone(), at)),
            Some(last) if at.millis_since(*last) >= RECORDS_PAUSE_MS => {
                *last = at;
                self.tell(Told::Records(name.clone(), counts, at));
            }
            Some(_) => {}
        }
    }

    /// Shows that the records of an instance wait for a sink, or go on.
    pub(crate) fn pause(&self, name: &InstanceName, pause: Option<Pause>, at: Timestamp) {
        self.tell(Told::Pause(name.clone(), pause, at));
    }

    /// Writes whole lines to standard error, where they stand above the live lines.
    pub(crate) fn note(&self, lines: &'static str) {
        self.tell(Told::Note(lines));
    }

    fn tell(&self, told: Told) {
        // It fails when the thread panicked, and that ends the process.
        let _ = self.told.send(told);
    }
}

impl Showing {
    /// Starts the thread.
    pub(crate) fn start(shown: Shown) -> std::io::Result<Self> {
        let (teller, told) = channel();
        let (end, ended) = oneshot::channel();
        let show = move || {
            let _end: oneshot::Sender<()> = end;
            shown.all(&told);
        };
        std::thread::Builder::new().name("shown".to_owned()).spawn(show)?;
        Ok(Self { teller: Teller { told: teller, paced: Arc::default() }, ended })
    }

    /// Returns what tells the thread.
    pub(crate) fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// Returns when all is shown, or `given_up` has ended: then the thread is left behind, and ends with the process.
    pub(crate) async fn finish(self, given_up: impl Future<Output = ()>) {
        self.teller.tell(Told::End);
        tokio::select! {
            _ = self.ended => {}
            () = given_up => tracing::debug!("what was not read by now is not shown"),
        }
    }
}
