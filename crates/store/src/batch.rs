//! A batch: changes that become durable together or not at all.

use std::path::Path;

use cairn_model::{
    AttemptId, Digest, Domain, Event, InputHash, InstanceName, Name, RunEvent, RunId, Timestamp,
};

use crate::changes::Changes;
use crate::commit::CommitError;
use crate::keys::{self, Family};
use crate::record::{self, Blob, Duration, History, Record};
use crate::table::checkpoints;
use crate::{
    Attempt, Checkpoint, DeadId, DeadKind, DeadLetter, Effect, FileKey, FileRow, Occurrence, OccurrenceId,
    Placed, RecordsOf, RunRecord, ScheduleState, Submission, Ticket, TicketStage,
};

/// Changes that become durable together or not at all. They take effect in the order in which they are added, so a
/// later one sees an earlier one.
#[derive(Debug, Default)]
#[must_use]
pub struct Batch {
    changes: Vec<Change>,
}

/// One change. What depends on the store as it stands is decided when the batch is committed.
#[derive(Debug)]
enum Change {
    Put { family: Family, key: Vec<u8>, value: Vec<u8> },
    Delete { family: Family, key: Vec<u8> },
    Checkpoint { hash: InputHash, checkpoint: Box<Checkpoint>, existing: checkpoints::Existing },
    Demote { hash: InputHash, why: String },
    Definition { digest: Digest, text: Blob },
    Event { run: RunId, event: Event },
    RequireAttempt { id: AttemptId, epoch: u64 },
    Latest { key: Vec<u8>, hash: InputHash },
    Duration { key: Vec<u8>, took_ms: u64 },
}

fn dead_key(letter: &DeadLetter) -> Vec<u8> {
    keys::dead(&letter.pipeline, &letter.instance, letter.kind, letter.id())
}

impl Batch {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds all of `other` after what is in it.
    pub fn append(&mut self, mut other: Self) {
        self.changes.append(&mut other.changes);
    }

    /// Stores a result under its input-hash. The first one stands; one with other outputs is then kept as evidence
    /// that the stage is not deterministic (K8), and [`Committed::disputed`](crate::Committed::disputed) says so. A
    /// demoted one gives way, and so does one that was made under weaker isolation.
    pub fn put_checkpoint(&mut self, hash: InputHash, checkpoint: &Checkpoint) {
        let existing = checkpoints::Existing::Stands;
        self.changes.push(Change::Checkpoint { hash, checkpoint: Box::new(checkpoint.clone()), existing });
    }

    /// Stores a result in the place of what stands there, which is expected to differ: one that has expired, or was
    /// not to be kept.
    pub fn replace_checkpoint(&mut self, hash: InputHash, checkpoint: &Checkpoint) {
        let existing = checkpoints::Existing::GivesWay;
        self.changes.push(Change::Checkpoint { hash, checkpoint: Box::new(checkpoint.clone()), existing });
    }

    /// Has a checkpoint no longer count, because of `why`. One that is not there needs no demoting.
    pub fn demote(&mut self, hash: InputHash, why: &str) {
        self.changes.push(Change::Demote { hash, why: why.to_owned() });
    }

    /// Stores a run's record in the place of the one before.
    pub fn put_run(&mut self, run: RunId, record: &RunRecord) {
        self.put(Family::Runs, keys::run(run).to_vec(), record);
    }

    /// Stores a definition's text, once for all runs, and returns its digest for [`RunRecord::definition`].
    pub fn put_definition(&mut self, text: &[u8]) -> Digest {
        let digest = Domain::Definition.digest(text);
        self.changes.push(Change::Definition { digest, text: Blob(text.to_vec()) });
        digest
    }

    /// Keeps the text of a small input, so that a later change of it can be told line by line; `digest` is the file's.
    /// [`crate::Store::definition`] gives it back.
    pub fn put_source(&mut self, digest: Digest, text: &[u8]) {
        self.changes.push(Change::Definition { digest, text: Blob(text.to_vec()) });
    }

    /// Keeps the bytes of a small object, whatever is kept under its `digest`: that may be damaged.
    /// [`crate::Store::definition`] gives it back.
    pub fn put_object(&mut self, digest: Digest, bytes: &[u8]) {
        self.put(Family::Definitions, keys::definition(&digest).to_vec(), &Blob(bytes.to_vec()));
    }

    /// Appends an event to a run's log.
    pub fn event(&mut self, run: RunId, event: &Event) {
        self.changes.push(Change::Event { run, event: event.clone() });
    }

    /// Says that an attempt starts.
    pub fn attempt_started(&mut self, id: &AttemptId, attempt: &Attempt) {
        self.put(Family::Attempts, keys::attempt(id), attempt);
    }

    /// Says that an attempt has ended, however it did.
    pub fn attempt_ended(&mut self, id: &AttemptId) {
        self.changes.push(Change::Delete { family: Family::Attempts, key: keys::attempt(id) });
    }

    /// Has the whole batch refused unless at this point of it the attempt is open with this epoch: one that was given
    /// up meanwhile can finish, never publish.
    pub fn require_attempt(&mut self, id: &AttemptId, epoch: u64) {
        self.changes.push(Change::RequireAttempt { id: id.clone(), epoch });
    }

    /// Keeps what a run that was asked for is to do, and how far it has come.
    pub fn put_ticket(&mut self, run: RunId, ticket: &Ticket) {
        self.put(Family::Tickets, keys::run(run).to_vec(), ticket);
        if ticket.stage == TicketStage::Ended {
            self.changes.push(Change::Delete { family: Family::Queue, key: keys::run(run).to_vec() });
        } else {
            self.put(Family::Queue, keys::run(run).to_vec(), &Blob(Vec::new()));
        }
    }

    /// Keeps what came of a submission, by the digest of its idempotency key.
    pub fn put_submission(&mut self, key: &Digest, submission: &Submission) {
        self.put(Family::Submissions, key.as_bytes().to_vec(), submission);
    }

    /// Forgets a submission, by the digest of its idempotency key.
    pub fn remove_submission(&mut self, key: &Digest) {
        self.delete(Family::Submissions, key.as_bytes().to_vec());
    }

    /// Keeps what was decided about an occurrence.
    pub fn put_occurrence(
        &mut self,
        (pipeline, nominal, id): (&Name, Timestamp, OccurrenceId),
        occurrence: &Occurrence,
    ) {
        self.put(Family::Occurrences, keys::occurrence(pipeline, nominal, id), occurrence);
    }

    /// Keeps how a pipeline's schedule stands.
    pub fn put_schedule(&mut self, pipeline: &Name, state: &ScheduleState) {
        self.put(Family::Schedules, keys::pipeline(pipeline), state);
    }

    /// Keeps which text of a pipeline file is in force, and the text: what the file holds later may have errors. `file` is the
    /// file's path, relative to the project.
    pub fn put_in_force(&mut self, file: &Path, text: &[u8]) -> Digest {
        let digest = self.put_definition(text);
        self.put(Family::Schedules, keys::in_force(file), &Blob(digest.as_bytes().to_vec()));
        digest
    }

    /// Forgets which text of a pipeline file is in force: there is no such file any more.
    pub fn remove_in_force(&mut self, file: &Path) {
        self.delete(Family::Schedules, keys::in_force(file));
    }

    /// Stores what is known of the effect with this key in a pipeline, in the place of what was known before.
    pub fn put_effect(&mut self, pipeline: &Name, key: &str, effect: &Effect) {
        self.put(Family::Effects, keys::effect(pipeline, key), effect);
    }

    /// Remembers a file's digest.
    pub fn file_row(&mut self, key: FileKey, row: &FileRow) {
        self.put(Family::FileRows, keys::file_row(key).to_vec(), row);
    }

    /// Remembers what was put at `path`, relative to the project.
    pub fn placed(&mut self, path: &str, placed: &Placed) {
        self.put(Family::Placed, keys::placed(path).to_vec(), placed);
    }

    /// Notes the newest input-hash of an instance.
    pub fn latest(&mut self, pipeline: &Name, instance: &InstanceName, hash: InputHash) {
        self.changes.push(Change::Latest { key: keys::instance(pipeline, instance), hash });
    }

    /// Notes what an execution of an instance took, in milliseconds.
    pub fn duration(&mut self, pipeline: &Name, instance: &InstanceName, took_ms: u64) {
        self.changes.push(Change::Duration { key: keys::instance(pipeline, instance), took_ms });
    }

    /// Stores a dead letter in the place of the one with its id.
    pub fn put_dead(&mut self, letter: &DeadLetter) {
        self.put(Family::Dead, dead_key(letter), letter);
    }

    /// Removes a dead letter, one that is not there too.
    pub fn remove_dead(&mut self, letter: &DeadLetter) {
        self.delete(Family::Dead, dead_key(letter));
    }

    /// Removes the dead letter of an instance, one that is not there too.
    pub fn remove_dead_instance(&mut self, pipeline: &Name, instance: &InstanceName) {
        let id = DeadId::of_instance(pipeline, instance);
        let key = keys::dead(pipeline, instance, DeadKind::Instance, id);
        self.delete(Family::Dead, key);
    }

    /// Removes the dead letter of a record of a records stage, one that is not there too. It is known by its `key` as people
    /// write it, or where it has none by its bytes.
    pub fn remove_dead_record(&mut self, of: RecordsOf<'_>, key: &str, payload: &[u8]) {
        let RecordsOf { pipeline, instance } = of;
        let id =
            DeadId::of_record(DeadKind::Record, pipeline, instance, key, &DeadLetter::digest_of(payload));
        self.delete(Family::Dead, keys::dead(pipeline, instance, DeadKind::Record, id));
    }

    pub(crate) fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.changes.push(Change::Delete { family, key });
    }

    pub(crate) fn put<R: Record>(&mut self, family: Family, key: Vec<u8>, record: &R) {
        let value = record::seal(family, &key, record);
        self.changes.push(Change::Put { family, key, value });
    }

    /// Makes the changes.
    pub(crate) fn apply(self, to: &mut Changes<'_>) -> Result<(), CommitError> {
        for change in self.changes {
            match change {
                Change::Put { family, key, value } => to.put_sealed(family, key, value),
                Change::Delete { family, key } => to.delete(family, key),
                Change::Checkpoint { hash, checkpoint, existing } => {
                    checkpoints::put(to, hash, *checkpoint, existing)?;
                }
                Change::Demote { hash, why } => checkpoints::demote(to, hash, why)?,
                Change::Definition { digest, text } => {
                    let key = keys::definition(&digest);
                    if !to.contains(Family::Definitions, &key)? {
                        to.put(Family::Definitions, &key, &text);
                    }
                }
                Change::Event { run, event } => {
                    let number = to.next_event(run)?;
                    to.put(Family::Events, &keys::event(run, number), &event);
                    if matches!(event.what, RunEvent::Ended { .. }) {
                        to.ended.push(run);
                    }
                }
                Change::RequireAttempt { id, epoch } => {
                    let attempt: Option<Attempt> = to.get(Family::Attempts, &keys::attempt(&id))?;
                    if attempt.is_none_or(|attempt| attempt.epoch != epoch) {
                        return Err(CommitError::StaleAttempt { attempt: Box::new(id), epoch });
                    }
                }
                Change::Latest { key, hash } => {
                    let mut history: History = to.get(Family::Latest, &key)?.unwrap_or_default();
                    history.push(hash);
                    to.put(Family::Latest, &key, &history);
                }
                Change::Duration { key, took_ms } => {
                    let before = to.get(Family::Durations, &key)?;
                    to.put(Family::Durations, &key, &Duration::after(before, took_ms));
                }
            }
        }
        Ok(())
    }
}
