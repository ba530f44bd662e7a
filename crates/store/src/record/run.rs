//! A run: what was asked for and how it stands.

use cairn_model::{Counts, Digest, Name, RunStatus, Timestamp};

use crate::ProcessId;

/// A run's head; what happened in it are its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The pipeline.
    pub pipeline: Name,
    /// Its file, relative to the project.
    pub file: String,
    /// Digest of the definition's text, which [`crate::Store::definition`] gives back.
    pub definition: Digest,
    /// `-p`: names and values as they were given.
    pub params: Vec<(String, String)>,
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended, `None` while it has not.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub status: RunStatus,
    /// Instances by outcome.
    pub counts: Counts,
    /// The stages asked for; none: all.
    pub selection: Vec<String>,
    /// How it was asked to run.
    pub options: RunOptions,
    /// The command line, program first.
    pub command_line: Vec<String>,
    /// The process that runs it, or ran it last.
    pub process: ProcessId,
    /// The version of cairn that ran it last.
    pub cairn_version: String,
    /// Time that checkpoints saved, in milliseconds.
    pub saved_ms: u64,
}

/// How a run was asked to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOptions {
    /// `-j`: attempts at once.
    pub jobs: u32,
    /// `-k`: goes on after a failure.
    pub keep_going: bool,
    /// `--frozen`: fails when anything would be executed.
    pub frozen: bool,
    /// `--force`.
    pub force: Force,
}

/// What is executed although it has a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Force {
    /// Nothing.
    #[default]
    Nothing,
    /// Everything that is selected.
    Everything,
    /// These stages.
    Stages(Vec<String>),
}
