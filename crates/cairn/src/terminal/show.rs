//! A run's progress: a fold over its events, drawn on standard error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cairn_executor::Pause;
use cairn_model::{Event, InstanceEvent, InstanceName, RecordCounts, RunEvent, RunId, Timestamp};

use super::board::Board;
use super::fit::Fit;
use super::line::Lines;
use super::live::{self, Frames};
use super::region::Region;
use super::style::{self, Paint};
use super::summary::summary;
use super::text::append;
use super::{Stream, text};
use cairn_scheduler::history::History;

/// How to show a run.
#[derive(Debug, Clone)]
pub(crate) struct ShowOptions {
    /// Where: standard error.
    pub(crate) stream: Stream,
    /// Whether to show failures only.
    pub(crate) quiet: bool,
    /// How many instances run at once.
    pub(crate) jobs: u32,
    /// The run.
    pub(crate) run: RunId,
    /// The pipeline's name.
    pub(crate) pipeline: String,
    /// Paths are shown relative to this folder, where they are below it.
    pub(crate) folder: PathBuf,
}

/// Shows a run while it goes on: lines that move on a terminal, plain ones elsewhere.
///
/// It starts a thread on a terminal: make it after whatever must come before threads.
#[derive(Debug)]
pub(crate) struct Show {
    scene: Arc<Mutex<Scene>>,
    frames: Option<Frames>,
}

#[derive(Debug)]
struct Scene {
    options: ShowOptions,
    history: History,
    lines: Lines,
    board: Board,
    /// Finished text that the next frame writes above the live lines.
    pending: String,
    region: Region,
}

impl Show {
    /// Starts to show a run of the instances `names`, of which `expected_ms` says what each is expected to take: 0
    /// where nothing is known, and where nothing is to be done.
    pub(crate) fn new(options: ShowOptions, names: &[InstanceName], expected_ms: &[u64]) -> Self {
        let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
        let longest_ms = expected_ms.iter().copied().max().unwrap_or(0);
        let fit = Fit::new(shown.iter().map(String::as_str), longest_ms);
        let (paint, live) = (options.stream.paint, options.stream.live && !options.quiet);
        let lines = Lines::new(fit, paint, options.run, options.folder.clone(), options.quiet, names.len());
        let board = Board::new(names, expected_ms, options.jobs);
        let history = History::default();
        let scene =
            Scene { options, history, lines, board, pending: String::new(), region: Region::default() };
        let scene = Arc::new(Mutex::new(scene));
        let frames = live.then(|| {
            let scene = Arc::clone(&scene);
            Frames::start(move |others| live::lock(&scene).frame(others))
        });
        Self { scene, frames }
    }

    /// Shows an event of the run. `log` is the log of the attempt that the event is about, where there is one.
    pub(crate) fn event(&mut self, event: &Event, log: Option<&Path>) {
        let mut scene = live::lock(&self.scene);
        let text = scene.event(event, log, Instant::now());
        self.put(&mut scene, &text);
    }

    /// Shows how far the records of an instance are: in its live line alone.
    pub(crate) fn records(&mut self, name: &InstanceName, counts: RecordCounts) {
        live::lock(&self.scene).board.records(name, counts);
    }

    /// Shows that the records of an instance wait for a sink, or go on: in its live line alone. `at`: now.
    pub(crate) fn pause(&mut self, name: &InstanceName, pause: Option<&Pause>, at: Timestamp) {
        let now = Instant::now();
        let pause = pause.map(|pause| {
            let left = Duration::from_millis(Timestamp(pause.until_ms).millis_since(at));
            (now + left, format!("{}, the next try in", pause.who()), pause.error.clone())
        });
        live::lock(&self.scene).board.pause(name, pause);
    }

    /// Removes the live lines and shows the summary, where the run has ended.
    pub(crate) fn finish(self) {
        let others = self.frames.map(Frames::stop).unwrap_or_default();
        let mut scene = live::lock(&self.scene);
        let stream = scene.options.stream;
        let (columns, rows) = (stream.columns().unwrap_or(usize::MAX), stream.rows());
        let mut above = others + &std::mem::take(&mut scene.pending);
        if scene.history.ended.is_some() && !scene.options.quiet {
            above.push_str(&summary(&scene.history, scene.options.run, stream.paint, stream.columns()));
        }
        let text = if stream.live { scene.region.draw(&above, &[], columns, rows) } else { above };
        write(&text);
    }

    fn put(&self, scene: &mut Scene, text: &str) {
        match self.frames {
            // The next frame writes it: thousands of events must not mean thousands of redraws.
            Some(_) => scene.pending.push_str(text),
            None if text.is_empty() => {}
            None => write(text),
        }
    }
}

impl Scene {
    /// Folds an event and returns the lines that stay.
    fn event(&mut self, event: &Event, log: Option<&Path>, now: Instant) -> String {
        let folded = self.history.add(event).cloned();
        match (&event.what, folded) {
            (RunEvent::Started { instances, resumed }, _) if !self.options.quiet => {
                header(&self.options, *instances, *resumed)
            }
            (RunEvent::Instance { event: what, .. }, Some(instance)) => {
                let pause = match what {
                    InstanceEvent::AttemptFailed { retry_at, .. } => {
                        Duration::from_millis(retry_at.millis_since(event.at))
                    }
                    _ => Duration::ZERO,
                };
                self.board.add(&instance.name, what, pause, now);
                self.lines.of(what, &instance, log, self.options.stream.columns())
            }
            (RunEvent::Started { .. } | RunEvent::Ended { .. } | RunEvent::Instance { .. }, _) => {
                String::new()
            }
        }
    }

    fn frame(&mut self, others: &str) {
        let stream = self.options.stream;
        let (columns, rows) = (stream.columns().unwrap_or(80), stream.rows());
        let above = format!("{others}{}", std::mem::take(&mut self.pending));
        let lines = if self.history.ended.is_some() {
            Vec::new()
        } else {
            self.board.lines(self.lines.fit, stream.paint, Instant::now(), columns, rows)
        };
        write(&self.region.draw(&above, &lines, columns, rows));
    }
}

fn header(options: &ShowOptions, instances: u32, resumed: bool) -> String {
    let paint: Paint = options.stream.paint;
    let instances = text::count(usize::try_from(instances).unwrap_or(usize::MAX), "instance");
    let resumed = if resumed { ", resumed" } else { "" };
    let line = format!(
        "{} · run {}{resumed} · {instances} · {} at once",
        options.pipeline,
        options.run.short(),
        options.jobs
    );
    let columns = options.stream.columns().unwrap_or(usize::MAX);
    let lines = text::wrap(&line, columns.saturating_sub(2));
    let mut out = String::new();
    for line in lines {
        append!(out, "  {}\n", paint.with(style::DIM, &line));
    }
    out
}

/// Writes in one piece, so that a frame is never seen half drawn. Errors are passed over: a run goes on when nobody
/// looks any more.
fn write(text: &str) {
    if !text.is_empty() {
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests;
