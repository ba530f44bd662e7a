//! What `--json` prints: types of their own, apart from the program's, so that a change inside does not change them.
//!
//! One object a line. Each begins with `"schema": "cairn.NAME/N"`; `N` grows when a key changes its meaning or goes,
//! not when one is added. Times are RFC 3339 in UTC, durations whole milliseconds in keys that end with `_ms`, digests
//! 64 hex digits. Keys without a value are left out. All shapes are in `docs/commands.md`.

mod event;
mod record;
mod schedule;

pub(crate) use event::Events;
pub(crate) use record::{
    Check, Checkpoint, Dead, DeadAttempt, DeadCounts, DeadDrop, DeadRetry, Edit, Finding, Graph, Input,
    Instance, LogPiece, Node, OutputFile, Run, Span, Status,
};
pub(crate) use schedule::{Backfill, Occurrence};

use serde::Serialize;

/// Returns an object as one line, with its line feed.
pub(crate) fn line(object: &impl Serialize) -> String {
    let mut line = serde_json::to_string(object).expect("texts, numbers and lists of them can be written");
    line.push('\n');
    line
}
