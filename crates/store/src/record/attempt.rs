//! An attempt that was started and has not ended.

use cairn_model::{InputHash, Timestamp};

use crate::ProcessId;

/// An attempt that runs, or was cut off: what recovery needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The input-hash it runs under.
    pub input_hash: InputHash,
    /// Told apart from an attempt of another process: a commit that names another epoch is refused.
    pub epoch: u64,
    /// When it was started; for people.
    pub started: Timestamp,
    /// The cairn process that started it.
    pub process: ProcessId,
    /// Its staging folder, relative to the state folder.
    pub folder: String,
    /// The value of `CAIRN_ATTEMPT_TOKEN` in its environment, by which its processes are found.
    pub token: String,
    /// Outputs that it writes in the project itself (sandbox `off`): project paths.
    pub in_project: Vec<String>,
}
