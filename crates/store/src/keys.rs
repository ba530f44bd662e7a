//! The families of the store, and the keys in them: the only place that makes or reads a key.
//!
//! | family           | key                                   | bytes      | value                  | read by                      |
//! | ---------------- | ------------------------------------- | ---------- | ---------------------- | ---------------------------- |
//! | `default`        | `format`, `head`                      | 4–6        | `record::Format`, `record::Head` | point              |
//! | `runs-v1`        | run id                                | 16         | [`RunRecord`]          | point; whole, newest first   |
//! | `events-v1`      | run id · number, u64                  | 16 + 8     | [`Event`]              | prefix run, forward          |
//! | `definitions-v1` | digest of the text                    | 32         | `record::Blob`         | point                        |
//! | `checkpoints-v1` | input-hash                            | 32         | `record::Recorded`     | point, many points           |
//! | `disputes-v1`    | input-hash · batch that found it, u64 | 32 + 8     | `record::Recorded`     | prefix input-hash, forward   |
//! | `latest-v1`      | pipeline · instance                   | variable   | `record::History`      | point                        |
//! | `attempts-v1`    | run id · number, u32 · instance       | 16 + 4 + … | [`Attempt`]            | point; whole                 |
//! | `file-rows-v1`   | device, u64 · inode, u64              | 8 + 8      | [`FileRow`]            | many points                  |
//! | `placed-v1`      | path                                  | variable   | [`Placed`]             | point, many points           |
//! | `durations-v1`   | pipeline · instance                   | variable   | `record::Duration`     | point; prefix pipeline       |
//! | `effects-v1`     | pipeline · key of the effect, text  | variable   | [`Effect`]             | point; whole                 |
//! | `notes-v1`       | scope · kind · key                    | variable   | [`Once`], [`Mark`], `record::Seen`, `record::Settled` by kind | point, many points; prefix scope and kind |
//! | `dead-v1`        | pipeline · instance · kind · id       | … + 1 + 16 | [`DeadLetter`]         | point; prefix pipeline or instance |
//! | `record-scopes-v1` | pipeline · instance                 | variable   | `record::Blob`         | point                        |
//! | `record-states-v1` | length, u16 · pipeline · instance · `p` · prefix, u16, or `d` · sequence, u64 | variable | `record::Blob` | point; prefix instance |
//! | `tickets-v1`     | run id                                | 16         | [`Ticket`]             | point                        |
//! | `queue-v1`       | run id                                | 16         | `record::Blob`, empty  | whole, oldest first          |
//! | `occurrences-v1` | pipeline · time, i64 · id             | … + 8 + 16 | [`Occurrence`]         | point; prefix pipeline, newest first |
//! | `schedules-v1`   | pipeline; `0` · path of a pipeline file | variable | [`ScheduleState`]; `record::Blob`, the digest of its text in force | point; prefix `0` |
//! | `submissions-v1` | digest of an idempotency key          | 32         | [`Submission`]         | point, forward               |
//! | `outbox-v1`      | time, i64 · digest, its beginning     | 8 + 8      | [`Message`]            | whole, oldest first          |
//!
//! A time is its number with the sign bit flipped, so that byte order is the order of time. `queue-v1` holds the ids of
//! those tickets that are not over.
//!
//! `definitions-v1` holds pipeline files under their digest as a definition, and small inputs and outputs under theirs as a
//! file.
//!
//! Integers are big-endian, so that byte order is number order. A pipeline's and a stage's name stand behind their
//! length, one byte. An instance is its stage's name, then `0`, or `1` and its coordinates, which end the key, as a path
//! does: so no key is the beginning of another's parts, and all of a pipeline's instances share a prefix.
//!
//! Each family also holds a row under the one byte `ff`, which begins no other key: its tally, see [`crate::tally`].
//!
//! A note's scope is `0`, pipeline and stage; or `1` and a name; or `2` and an input-hash. No scope is the beginning of
//! another.
//!
//! A family's name carries the version of its keys. A kind of key that is given up keeps its name and its number,
//! with a note here; neither is used again.
//!
//! [`DeadLetter`]: crate::DeadLetter
//! [`Mark`]: crate::Mark
//! [`Message`]: crate::Message
//! [`Once`]: crate::Once
//! [`RunRecord`]: crate::RunRecord
//! [`Event`]: cairn_model::Event
//! [`Attempt`]: crate::Attempt
//! [`FileRow`]: crate::FileRow
//! [`Effect`]: crate::Effect
//! [`Occurrence`]: crate::Occurrence
//! [`Placed`]: crate::Placed
//! [`ScheduleState`]: crate::ScheduleState
//! [`Submission`]: crate::Submission
//! [`Ticket`]: crate::Ticket

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use cairn_model::{AttemptId, Digest, InputHash, InstanceName, Name, RunId, Timestamp};

use crate::{DeadId, DeadKind, FileKey, NoteScope, OccurrenceId};

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    Meta,
    Runs,
    Events,
    Definitions,
    Checkpoints,
    Disputes,
    Latest,
    Attempts,
    FileRows,
    Placed,
    Durations,
    Effects,
    Notes,
    Dead,
    RecordScopes,
    RecordStates,
    Tickets,
    Queue,
    Occurrences,
    Schedules,
    Submissions,
    Outbox,
}

impl Family {
    pub(crate) const ALL: [Self; 22] = [
        Self::Meta,
        Self::Runs,
        Self::Events,
        Self::Definitions,
        Self::Checkpoints,
        Self::Disputes,
        Self::Latest,
        Self::Attempts,
        Self::FileRows,
        Self::Placed,
        Self::Durations,
        Self::Effects,
        Self::Notes,
        Self::Dead,
        Self::RecordScopes,
        Self::RecordStates,
        Self::Tickets,
        Self::Queue,
        Self::Occurrences,
        Self::Schedules,
        Self::Submissions,
        Self::Outbox,
    ];

    /// Returns the name RocksDB knows it by. It always has one that is called `default`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Runs => "runs-v1",
            Self::Events => "events-v1",
            Self::Definitions => "definitions-v1",
            Self::Checkpoints => "checkpoints-v1",
            Self::Disputes => "disputes-v1",
            Self::Latest => "latest-v1",
            Self::Attempts => "attempts-v1",
            Self::FileRows => "file-rows-v1",
            Self::Placed => "placed-v1",
            Self::Durations => "durations-v1",
            Self::Effects => "effects-v1",
            Self::Notes => "notes-v1",
            Self::Dead => "dead-v1",
            Self::RecordScopes => "record-scopes-v1",
            Self::RecordStates => "record-states-v1",
            Self::Tickets => "tickets-v1",
            Self::Queue => "queue-v1",
            Self::Occurrences => "occurrences-v1",
            Self::Schedules => "schedules-v1",
            Self::Submissions => "submissions-v1",
            Self::Outbox => "outbox-v1",
        }
    }

    /// Returns the number that stands for it in checksums and in the chain.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Meta => 0,
            Self::Runs => 1,
            Self::Events => 2,
            Self::Definitions => 3,
            Self::Checkpoints => 4,
            Self::Disputes => 5,
            Self::Latest => 6,
            Self::Attempts => 7,
            Self::FileRows => 8,
            Self::Placed => 9,
            Self::Durations => 10,
            Self::Effects => 11,
            Self::Notes => 12,
            Self::Dead => 13,
            Self::RecordScopes => 14,
            Self::RecordStates => 15,
            Self::Tickets => 16,
            Self::Queue => 17,
            Self::Occurrences => 18,
            Self::Schedules => 19,
            Self::Submissions => 20,
            Self::Outbox => 21,
        }
    }
}

/// Where a family's tally stands. No id or digest is one byte long, no text holds this byte.
pub(crate) const TALLY: &[u8] = &[0xff];

/// Where the format version stands.
pub(crate) const FORMAT: &[u8] = b"format";

/// Where the number and chain of the last batch stand.
pub(crate) const HEAD: &[u8] = b"head";

pub(crate) fn run(run: RunId) -> [u8; 16] {
    *run.as_bytes()
}

pub(crate) fn read_run(key: &[u8]) -> Option<RunId> {
    key.try_into().ok().map(RunId::from_bytes)
}

pub(crate) fn event(run: RunId, number: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(run.as_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn read_event(key: &[u8]) -> Option<(RunId, u64)> {
    let (run, number) = key.split_first_chunk::<16>()?;
    Some((RunId::from_bytes(*run), u64::from_be_bytes(number.try_into().ok()?)))
}

pub(crate) fn definition(digest: &Digest) -> [u8; 32] {
    *digest.as_bytes()
}

pub(crate) fn checkpoint(hash: &InputHash) -> [u8; 32] {
    *hash.digest().as_bytes()
}

pub(crate) fn read_checkpoint(key: &[u8]) -> Option<InputHash> {
    key.try_into().ok().map(|bytes| InputHash::from_digest(Digest::from_bytes(bytes)))
}

pub(crate) fn dispute(hash: &InputHash, sequence: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(hash.digest().as_bytes());
    key[32..].copy_from_slice(&sequence.to_be_bytes());
    key
}

pub(crate) fn read_dispute(key: &[u8]) -> Option<(InputHash, u64)> {
    let (hash, sequence) = key.split_first_chunk::<32>()?;
    Some((read_checkpoint(hash)?, u64::from_be_bytes(sequence.try_into().ok()?)))
}

/// Returns what the keys of all instances of `pipeline` begin with.
pub(crate) fn pipeline(pipeline: &Name) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    push_name(&mut key, pipeline);
    key
}

/// What the keys of texts in force begin with: the length of a name that no pipeline has.
pub(crate) const IN_FORCE: &[u8] = &[0];

pub(crate) fn in_force(file: &Path) -> Vec<u8> {
    [IN_FORCE, file.as_os_str().as_bytes()].concat()
}

pub(crate) fn read_in_force(key: &[u8]) -> Option<PathBuf> {
    key.strip_prefix(IN_FORCE).map(|path| PathBuf::from(OsStr::from_bytes(path)))
}

pub(crate) fn instance(pipeline: &Name, instance: &InstanceName) -> Vec<u8> {
    let mut key = self::pipeline(pipeline);
    push_instance(&mut key, instance);
    key
}

pub(crate) fn read_instance(mut key: &[u8]) -> Option<(Name, InstanceName)> {
    let pipeline = take_name(&mut key)?;
    Some((pipeline, take_instance(key)?))
}

pub(crate) fn attempt(id: &AttemptId) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.extend_from_slice(id.run.as_bytes());
    key.extend_from_slice(&id.number.to_be_bytes());
    push_instance(&mut key, &id.instance);
    key
}

pub(crate) fn read_attempt(key: &[u8]) -> Option<AttemptId> {
    let (run, key) = key.split_first_chunk::<16>()?;
    let (number, key) = key.split_first_chunk::<4>()?;
    let number = u32::from_be_bytes(*number);
    Some(AttemptId { run: RunId::from_bytes(*run), instance: take_instance(key)?, number })
}

pub(crate) fn file_row(file: FileKey) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&file.device.to_be_bytes());
    key[8..].copy_from_slice(&file.inode.to_be_bytes());
    key
}

/// Returns what the keys of an instance's pages of record states begin with.
pub(crate) fn record_pages(pipeline: &Name, instance: &InstanceName) -> Vec<u8> {
    record_states(pipeline, instance, b'p')
}

/// Returns what the keys of an instance's deltas of record states begin with.
pub(crate) fn record_deltas(pipeline: &Name, instance: &InstanceName) -> Vec<u8> {
    record_states(pipeline, instance, b'd')
}

pub(crate) fn record_page(pipeline: &Name, instance: &InstanceName, prefix: u16) -> Vec<u8> {
    let mut key = record_pages(pipeline, instance);
    key.extend_from_slice(&prefix.to_be_bytes());
    key
}

pub(crate) fn read_record_page(key: &[u8]) -> Option<u16> {
    key.last_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

pub(crate) fn record_delta(pipeline: &Name, instance: &InstanceName, sequence: u64) -> Vec<u8> {
    let mut key = record_deltas(pipeline, instance);
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

pub(crate) fn read_record_delta(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// The length comes first, so that no instance's keys begin with another's.
fn record_states(pipeline: &Name, instance: &InstanceName, kind: u8) -> Vec<u8> {
    let of = self::instance(pipeline, instance);
    let length = u16::try_from(of.len()).unwrap_or(u16::MAX);
    let mut key = length.to_be_bytes().to_vec();
    key.extend_from_slice(&of);
    key.push(kind);
    key
}

pub(crate) fn placed(path: &str) -> &[u8] {
    path.as_bytes()
}

/// An effect's key holds no instance, so that a stage that was renamed is not taken for one that did nothing.
pub(crate) fn effect(pipeline: &Name, key: &str) -> Vec<u8> {
    let mut bytes = self::pipeline(pipeline);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

pub(crate) fn read_effect(mut key: &[u8]) -> Option<(Name, String)> {
    let pipeline = take_name(&mut key)?;
    Some((pipeline, std::str::from_utf8(key).ok()?.to_owned()))
}

/// Bytes of a dead letter's key behind its instance: kind and id.
pub(crate) const DEAD_REST: usize = 17;

pub(crate) fn dead(pipeline: &Name, instance: &InstanceName, kind: DeadKind, id: DeadId) -> Vec<u8> {
    let mut key = self::instance(pipeline, instance);
    key.push(kind.number());
    key.extend_from_slice(id.as_bytes());
    key
}

/// Returns what the keys of dead letters of a pipeline, or of an instance of it, begin with.
pub(crate) fn dead_prefix(pipeline: Option<&Name>, instance: Option<&InstanceName>) -> Vec<u8> {
    match (pipeline, instance) {
        (None, _) => Vec::new(),
        (Some(pipeline), None) => self::pipeline(pipeline),
        (Some(pipeline), Some(instance)) => self::instance(pipeline, instance),
    }
}

pub(crate) fn read_dead(key: &[u8]) -> Option<(Name, InstanceName, DeadKind, DeadId)> {
    let (key, id) = key.split_last_chunk::<16>()?;
    let (kind, key) = key.split_last()?;
    let (pipeline, instance) = read_instance(key)?;
    Some((pipeline, instance, DeadKind::from_number(*kind)?, DeadId::from_bytes(*id)))
}

pub(crate) fn occurrence(pipeline: &Name, nominal: Timestamp, id: OccurrenceId) -> Vec<u8> {
    let mut key = self::pipeline(pipeline);
    key.extend_from_slice(&(nominal.0 ^ i64::MIN).to_be_bytes());
    key.extend_from_slice(&id);
    key
}

pub(crate) fn read_occurrence(mut key: &[u8]) -> Option<(Name, Timestamp, OccurrenceId)> {
    let pipeline = take_name(&mut key)?;
    let (nominal, id) = key.split_first_chunk::<8>()?;
    Some((pipeline, Timestamp(i64::from_be_bytes(*nominal) ^ i64::MIN), id.try_into().ok()?))
}

/// What a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoteKind {
    Once,
    Seen,
    Generation,
    Mark,
}

impl NoteKind {
    const fn number(self) -> u8 {
        match self {
            Self::Once => 0,
            Self::Seen => 1,
            Self::Generation => 2,
            Self::Mark => 3,
        }
    }
}

pub(crate) fn note(scope: &NoteScope, kind: NoteKind, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    match scope {
        NoteScope::Stage { pipeline, stage } => {
            key.push(0);
            push_name(&mut key, pipeline);
            push_name(&mut key, stage);
        }
        NoteScope::Named(name) => {
            key.push(1);
            push_name(&mut key, name);
        }
        NoteScope::Inputs(hash) => {
            key.push(2);
            key.extend_from_slice(hash.digest().as_bytes());
        }
    }
    key.push(kind.number());
    key.extend_from_slice(rest);
    key
}

fn push_name(key: &mut Vec<u8>, name: &Name) {
    let name = name.as_str().as_bytes();
    key.push(u8::try_from(name.len()).expect("a name has at most 64 characters"));
    key.extend_from_slice(name);
}

fn take_name(key: &mut &[u8]) -> Option<Name> {
    let (length, rest) = key.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    *key = rest;
    std::str::from_utf8(name).ok()?.parse().ok()
}

fn push_instance(key: &mut Vec<u8>, instance: &InstanceName) {
    push_name(key, instance.stage());
    key.push(u8::from(instance.coordinates().is_some()));
    key.extend_from_slice(instance.coordinates().unwrap_or_default().as_bytes());
}

fn take_instance(mut key: &[u8]) -> Option<InstanceName> {
    let stage = take_name(&mut key)?;
    let coordinates = match key.split_first()? {
        (0, []) => None,
        (1, coordinates) => Some(String::from_utf8(coordinates.to_vec()).ok()?),
        _ => return None,
    };
    Some(InstanceName::new(stage, coordinates))
}

/// Returns a key as people are shown it.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests;
