//! Workers: long-lived processes that transform records, by JSON Lines on their standard input and output.

mod answer;
mod pool;

use std::io::{Read, Write};
use std::sync::mpsc::Receiver;

use cairn_model::Records;

use super::Hands;
use super::error::EngineError;
use super::item::Finished;

/// Starts workers.
pub trait Spawn: Sync {
    /// Starts worker number `number`, from 0; it may have been started before and have ended.
    fn spawn(&self, number: usize) -> Result<Process, SpawnError>;
}

/// Why a worker cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SpawnError {
    /// What happened.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A worker's process.
pub struct Process {
    /// Takes requests; closed when there are no more.
    pub stdin: Box<dyn Write + Send>,
    /// Gives answers; ends with the process.
    pub stdout: Box<dyn Read + Send>,
    /// Waits for its end and says how it ended, `None` for a good end.
    pub wait: Box<dyn FnOnce() -> Option<String> + Send>,
    /// Ends it.
    pub kill: Box<dyn Fn() + Send>,
}

/// Has workers work on the records that come from `work`, and sends on what became of them, at most `most` at a time.
pub(super) fn work(
    work: Receiver<Vec<Finished>>,
    spawn: &dyn Spawn,
    records: &Records,
    hands: &Hands<'_>,
    most: usize,
    send: &mut dyn FnMut(Vec<Finished>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    pool::Pool::new(spawn, records, hands, most.min(1000), send).run(work)
}
