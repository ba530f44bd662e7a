//! Skeleton.
use cairn_model::{AttemptId, Digest, Event, InputHash, InstanceName, Name, RunId};
use crate::{Attempt, Checkpoint, FileKey, FileRow, Placed, RunRecord};
/// Changes that become durable together or not at all.
#[derive(Debug, Default)]
pub struct Batch {}
#[expect(unused_variables, reason = "skeleton")]
impl Batch {
    /// Starts with nothing.
    pub fn new() -> Self { Self::default() }
    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool { unimplemented!() }
    /// Adds all of `other`, after what is in it.
    pub fn append(&mut self, other: Self) { unimplemented!() }
    /// Stores a result. The first one under a hash stands.
    pub fn put_checkpoint(&mut self, hash: InputHash, checkpoint: &Checkpoint) { unimplemented!() }
    /// Stores a result in the place of what stands there: an expired or forced one.
    pub fn replace_checkpoint(&mut self, hash: InputHash, checkpoint: &Checkpoint) { unimplemented!() }
    /// Makes the checkpoint no longer count.
    pub fn demote(&mut self, hash: InputHash, why: &str) { unimplemented!() }
    /// Stores a run's head.
    pub fn put_run(&mut self, run: RunId, record: &RunRecord) { unimplemented!() }
    /// Stores a definition's text and returns its digest, for [`RunRecord::definition`].
    pub fn put_definition(&mut self, text: &[u8]) -> Digest { unimplemented!() }
    /// Appends an event to a run's log.
    pub fn event(&mut self, run: RunId, event: &Event) { unimplemented!() }
    /// Says that an attempt starts.
    pub fn attempt_started(&mut self, id: &AttemptId, attempt: &Attempt) { unimplemented!() }
    /// Says that an attempt has ended, however it did.
    pub fn attempt_ended(&mut self, id: &AttemptId) { unimplemented!() }
    /// Has the commit refused unless this attempt is open with this epoch.
    pub fn require_attempt(&mut self, id: &AttemptId, epoch: u64) { unimplemented!() }
    /// Remembers a file's digest.
    pub fn file_row(&mut self, key: FileKey, row: &FileRow) { unimplemented!() }
    /// Remembers what was put in the project.
    pub fn placed(&mut self, path: &str, placed: &Placed) { unimplemented!() }
    /// Forgets what was put there.
    pub fn unplaced(&mut self, path: &str) { unimplemented!() }
    /// Notes the newest input-hash of an instance.
    pub fn latest(&mut self, pipeline: &Name, instance: &InstanceName, hash: InputHash) { unimplemented!() }
    /// Notes what an instance took.
    pub fn duration(&mut self, pipeline: &Name, instance: &InstanceName, took_ms: u64) { unimplemented!() }
}
