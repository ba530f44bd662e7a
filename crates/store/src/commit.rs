//! Skeleton.
use cairn_model::{AttemptId, InputHash};
/// How durable a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power cut, with all commits before it.
    Synced,
    /// It survives the end of the process.
    Written,
}
/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Committed {
    /// The batch's number, contiguous from 1.
    pub sequence: u64,
    /// Checkpoints whose input-hash had another result already: that one stands, the new one is kept as evidence.
    pub disputed: Vec<InputHash>,
}
/// Why a batch was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// An attempt that the batch requires is not the one that the store knows.
    #[error("stale")]
    StaleAttempt { /// Which.
        attempt: AttemptId },
    /// Writing failed.
    #[error("failed")]
    Failed { /// The store's folder.
        path: std::path::PathBuf, /// Why.
        cause: String },
    /// An earlier commit failed: nothing more is written.
    #[error("refused")]
    Refused { /// The store's folder.
        path: std::path::PathBuf, /// Why the earlier one failed.
        cause: String },
    /// It was opened for reading.
    #[error("read only")]
    ReadOnly { /// The store's folder.
        path: std::path::PathBuf },
    /// What the batch builds on could not be read.
    #[error(transparent)]
    Read(#[from] crate::ReadError),
}
impl CommitError { /// Says what to do.
    pub fn help(&self) -> Option<String> { None } }
