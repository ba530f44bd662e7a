//! What an event looks like once it has happened: the lines that stay.

use std::path::{Path, PathBuf};

use cairn_model::{InstanceEvent, InstanceName, Outcome, RunId};
use jiff::tz::TimeZone;

use super::fit::{Fit, Line};
use super::style::{self, Paint};
use super::{tail, text, time};
use cairn_scheduler::history::InstanceHistory;

/// Draws events as lines.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(crate) fit: Fit,
    pub(crate) paint: Paint,
    pub(crate) zone: TimeZone,
    /// Whose logs to name.
    pub(crate) run: RunId,
    /// Paths are shown relative to this folder, where they are below it.
    pub(crate) folder: PathBuf,
    /// Whether to show failures only.
    pub(crate) quiet: bool,
    /// Whether there are so many instances that those without news are only counted.
    pub(crate) crowded: bool,
    blocked: u32,
}

/// Instances above which FRESH ones are counted, not listed.
const CROWD: usize = 40;
/// BLOCKED lines in a crowd before the rest are counted: enough to see what hangs on the failure.
const BLOCKED_MAX: u32 = 5;
/// Lines of a failed instance's log.
const LOG_LINES: usize = 20;

impl Lines {
    /// Draws lines for a run of `instances`.
    pub(crate) fn new(
        fit: Fit,
        paint: Paint,
        run: RunId,
        folder: PathBuf,
        quiet: bool,
        instances: usize,
    ) -> Self {
        Self { fit, paint, zone: time::zone(), run, folder, quiet, crowded: instances > CROWD, blocked: 0 }
    }

    /// Draws what happened to an instance; empty when it is nothing to tell. `instance` is its history with the event
    /// folded in, `log` the log of the attempt that the event is about.
    pub(crate) fn of(
        &mut self,
        event: &InstanceEvent,
        instance: &InstanceHistory,
        log: Option<&Path>,
        columns: Option<usize>,
    ) -> String {
        let fit = self.fit.within(columns);
        let took = instance.took_ms.map_or_else(String::new, time::took);
        let name = instance.name.to_string();
        let ended = |outcome: Outcome, took: &str, reason: &str| {
            let dim = outcome == Outcome::Fresh;
            let line = Line {
                word: outcome.as_str(),
                style: style::outcome(outcome),
                name: &name,
                took,
                reason,
                dim,
            };
            fit.full(&line, self.paint)
        };
        match event {
            InstanceEvent::AttemptStarted { .. } | InstanceEvent::Records { .. } => String::new(),
            InstanceEvent::Failed { .. }
            | InstanceEvent::NotPlaced { .. }
            | InstanceEvent::InDoubt { .. } => {
                let outcome = instance.state.outcome().unwrap_or(Outcome::Failed);
                let mut out = ended(outcome, &took, &instance.reason);
                if let Some(help) = &instance.help {
                    out.push_str(&fit.below("help: ", help, style::HELP, self.paint));
                }
                if instance.attempts > 0 {
                    out.push_str(&self.log(&instance.name, log, fit));
                }
                out
            }
            InstanceEvent::Undone { key, error: Some(error) } => {
                let reason = format!("the effect `{key}` was not undone: {error}");
                let line = Line {
                    word: "KEPT",
                    style: style::ERROR,
                    name: &name,
                    took: "",
                    reason: &reason,
                    dim: false,
                };
                fit.full(&line, self.paint)
            }
            _ if self.quiet => String::new(),
            InstanceEvent::Undone { key, error: None } => {
                let reason = format!("the effect `{key}` was undone");
                let style = style::WARNING;
                let line = Line { word: "UNDONE", style, name: &name, took: "", reason: &reason, dim: false };
                fit.full(&line, self.paint)
            }
            InstanceEvent::CheckpointFound { restored, .. }
            | InstanceEvent::EffectStands { restored, .. }
                if restored.is_empty() =>
            {
                if self.crowded {
                    String::new()
                } else {
                    ended(Outcome::Fresh, "", &instance.reason)
                }
            }
            InstanceEvent::CheckpointFound { .. } | InstanceEvent::EffectStands { .. } => {
                ended(Outcome::Restored, "", &instance.reason) + &self.trashed(&instance.trashed, fit)
            }
            InstanceEvent::Committed { .. } => ended(Outcome::Ran, &took, &instance.reason),
            InstanceEvent::Trashed { paths, .. } => self.trashed(paths, fit),
            InstanceEvent::AttemptFailed { attempt, error, retry_at } => {
                let pause = retry_at.millis_since(instance.since);
                let reason = format!(
                    "attempt {attempt} failed: {error}; the next in {} (at {})",
                    time::about(pause),
                    time::time_of_day(*retry_at, &self.zone),
                );
                let line = Line {
                    word: "RETRY",
                    style: style::WARNING,
                    name: &name,
                    took: &took,
                    reason: &reason,
                    dim: false,
                };
                fit.full(&line, self.paint)
            }
            InstanceEvent::Blocked { .. } => {
                self.blocked += 1;
                match self.blocked.cmp(&(BLOCKED_MAX + 1)) {
                    std::cmp::Ordering::Less => ended(Outcome::Blocked, "", &instance.reason),
                    _ if !self.crowded => ended(Outcome::Blocked, "", &instance.reason),
                    std::cmp::Ordering::Equal => {
                        fit.below("", "and more that are blocked", style::DIM, self.paint)
                    }
                    std::cmp::Ordering::Greater => String::new(),
                }
            }
        }
    }

    /// The last lines of a log, its path, and the command that shows all of it.
    fn log(&self, instance: &InstanceName, log: Option<&Path>, fit: Fit) -> String {
        let Some(log) = log else { return String::new() };
        let mut out = String::new();
        match tail::tail(log, LOG_LINES) {
            Ok(tail) if tail.lines.is_empty() => {
                // Then there is no file either.
                return fit.below("│ ", "(it printed nothing)", style::DIM, self.paint);
            }
            Ok(tail) => {
                if tail.more {
                    let text = format!("(the last {})", text::count(tail.lines.len(), "line"));
                    out.push_str(&fit.below("│ ", &text, style::DIM, self.paint));
                }
                for line in &tail.lines {
                    out.push_str(&fit.below_cut("│ ", line, self.paint));
                }
            }
            Err(error) => {
                let text = format!("the log cannot be read: {error}");
                out.push_str(&fit.below("│ ", &text, style::DIM, self.paint));
            }
        }
        let shown = log.strip_prefix(&self.folder).unwrap_or(log).display().to_string();
        out.push_str(&fit.below("log: ", &shown, style::DIM, self.paint));
        let command = format!("cairn logs {} {}", self.run.short(), quoted(&instance.to_string()));
        out.push_str(&fit.below("see: ", &command, style::HELP, self.paint));
        out
    }

    fn trashed(&self, trashed: &[String], fit: Fit) -> String {
        trashed.iter().fold(String::new(), |out, path| {
            let text =
                format!("what stood there was not made by cairn, or was edited since: moved to `{path}`");
            out + &fit.below("kept: ", &text, anstyle::Style::new(), self.paint)
        })
    }
}

/// Returns `word` as it is typed in a shell.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
