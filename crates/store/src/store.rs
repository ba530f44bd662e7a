//! Skeleton.
use std::collections::HashMap;
use std::path::Path;
use cairn_model::*;
use crate::*;
/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing, by one process at a time; made when there is none.
    Write,
    /// Reading, as it stands at this moment, also while another process writes.
    Read,
}
/// Where a store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last batch, 0 before the first.
    pub sequence: u64,
    /// Digest over all batches up to it.
    pub chain: Digest,
}
/// An open store: a handle that is cheap to clone and can be shared by threads. All calls block.
#[derive(Debug, Clone)]
pub struct Store {}
#[expect(unused_variables, reason = "skeleton")]
impl Store {
    /// Opens the store in the state folder `state`.
    pub fn open(state: &Path, access: Access, clock: &dyn Clock) -> Result<Self, OpenError> { unimplemented!() }
    /// Accepts the store as it stands although `HEAD` says that more was committed.
    pub fn accept_head(state: &Path) -> Result<(), OpenError> { unimplemented!() }
    /// Writes a batch, whole or not at all.
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed, CommitError> { unimplemented!() }
    /// Returns where the store stands.
    pub fn head(&self) -> Head { unimplemented!() }
    /// Returns the checkpoint that counts under `hash`: never a demoted one.
    pub fn checkpoint(&self, hash: &InputHash) -> Result<Option<Checkpoint>, ReadError> { unimplemented!() }
    /// Returns [`Store::checkpoint`] of each, in one call.
    pub fn checkpoints(&self, hashes: &[InputHash]) -> Result<Vec<Option<Checkpoint>>, ReadError> { unimplemented!() }
    /// Returns what is recorded under `hash`, also when it was demoted: for explanations, not for hits.
    pub fn recorded(&self, hash: &InputHash) -> Result<Option<(Checkpoint, Option<Demoted>)>, ReadError> { unimplemented!() }
    /// Returns other results that were made under `hash`: evidence that the stage is not deterministic (K8).
    pub fn second_results(&self, hash: &InputHash) -> Result<Vec<Checkpoint>, ReadError> { unimplemented!() }
    /// Returns the input-hashes that an instance had, newest first, at most 8.
    pub fn latest(&self, pipeline: &Name, instance: &InstanceName) -> Result<Vec<InputHash>, ReadError> { unimplemented!() }
    /// Returns a run's head.
    pub fn run(&self, run: RunId) -> Result<Option<RunRecord>, ReadError> { unimplemented!() }
    /// Returns runs, newest first, at most `limit`.
    pub fn runs(&self, limit: usize) -> Result<Vec<(RunId, RunRecord)>, ReadError> { unimplemented!() }
    /// Returns the run whose id begins or ends with `text`.
    pub fn find_run(&self, text: &str) -> Result<RunId, FindRunError> { unimplemented!() }
    /// Returns a definition's text.
    pub fn definition(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError> { unimplemented!() }
    /// Returns a run's events with their numbers, from 1.
    pub fn events(&self, run: RunId) -> Result<Vec<(u64, Event)>, ReadError> { unimplemented!() }
    /// Returns a run's events with numbers above `after`.
    pub fn events_after(&self, run: RunId, after: u64) -> Result<Vec<(u64, Event)>, ReadError> { unimplemented!() }
    /// Returns what is remembered of files.
    pub fn file_rows(&self, keys: &[FileKey]) -> Result<Vec<Option<FileRow>>, ReadError> { unimplemented!() }
    /// Returns what was put at a path.
    pub fn placed(&self, path: &str) -> Result<Option<Placed>, ReadError> { unimplemented!() }
    /// Returns [`Store::placed`] of each, in one call.
    pub fn placed_many(&self, paths: &[&str]) -> Result<Vec<Option<Placed>>, ReadError> { unimplemented!() }
    /// Returns an attempt that has not ended.
    pub fn attempt(&self, id: &AttemptId) -> Result<Option<Attempt>, ReadError> { unimplemented!() }
    /// Returns the attempts that have not ended.
    pub fn attempts_open(&self) -> Result<Vec<(AttemptId, Attempt)>, ReadError> { unimplemented!() }
    /// Returns what a pipeline's instances take, in milliseconds.
    pub fn durations(&self, pipeline: &Name) -> Result<HashMap<InstanceName, u64>, ReadError> { unimplemented!() }
    /// Makes all that was written durable and closes the store once the last clone of this handle is gone.
    pub fn close(self) -> Result<(), CommitError> { unimplemented!() }
}
