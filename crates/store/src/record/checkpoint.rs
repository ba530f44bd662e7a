//! A checkpoint: what an execution under an input-hash made.

use cairn_model::{AttemptId, Level, Manifest, Name, Timestamp};

/// The result of an execution, stored under its input-hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The bytes whose digest is the input-hash: a hit compares them whole.
    pub preimage: Vec<u8>,
    /// The outputs.
    pub manifest: Manifest,
    /// The isolation the attempt really had.
    pub level: Level,
    /// The attempt that made it.
    pub made_by: AttemptId,
    /// The pipeline it belongs to.
    pub pipeline: Name,
    /// When it was finished: what a time-to-live counts from.
    pub finished: Timestamp,
    /// What the command took, in milliseconds.
    pub took_ms: u64,
    /// Where what it printed is kept.
    pub log: LogRef,
    /// How the command ended and what it used.
    pub exit: Exit,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogRef {
    /// Its path, relative to the state folder.
    pub path: String,
    /// Bytes in it.
    pub bytes: u64,
}

/// How a command ended and what it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exit {
    /// Its exit status.
    pub code: i32,
    /// Processor time in user mode, in milliseconds.
    pub user_ms: u64,
    /// Processor time in the kernel, in milliseconds.
    pub sys_ms: u64,
    /// The largest resident set of one of its processes, in bytes.
    pub max_rss_bytes: u64,
}

/// A checkpoint that is no longer to be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demoted {
    /// Why, for example which content is gone.
    pub why: String,
}
