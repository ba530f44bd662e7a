//! The checkpoint store on RocksDB: what cairn remembers, and the one place that names RocksDB.
//!
//! - [`Store`] is opened, for reading or by one process for writing, on the state folder; [`Store::commit`] is the one
//!   way to change it, by a [`Batch`] that becomes durable whole or not at all
//! - what is kept: a [`Checkpoint`] for each input-hash; each run as a [`RunRecord`] with its events; each [`Attempt`]
//!   that has not ended; a [`FileRow`] for each file that was hashed; what was [`Placed`] in the project; each
//!   [`Effect`] in a system outside and each [`DeadLetter`]; notes of scripts, [`Once`] and [`Mark`]; for the
//!   daemon each [`Ticket`], [`Occurrence`], [`ScheduleState`], [`Submission`] and [`Message`]
//! - `keys` tells families and keys, `record` the values, `format` the versions, `head_file` and `tally` how a loss is
//!   noticed: between them they are the format on disk
//!
//! What is damaged is an error that says so ([`OpenError`], [`ReadError`], [`CommitError`]), never less than what was
//! stored. What it does not do: keep output bytes, decide what counts as a hit, wait for a lock, gather commits of
//! several threads into one.

#![allow(clippy::doc_markdown, reason = "RocksDB is a name, not an item")]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that fails says where")
)]

mod batch;
mod changes;
mod commit;
mod database;
mod filesystem;
mod format;
mod head_file;
mod keys;
mod lock;
mod migrate;
mod open;
mod process;
mod read;
mod record;
mod store;
mod sync;
mod table;
mod tally;

pub use batch::Batch;
pub use commit::{CommitError, Committed, Durability};
pub use database::EngineError;
pub use lock::Holder;
pub use open::OpenError;
pub use process::ProcessId;
pub use read::ReadError;
pub use record::{
    Attempt, Checkpoint, DeadId, DeadIdError, DeadKind, DeadLetter, Demoted, Effect, Exit, Fate, FileKey,
    FileRow, Force, Generation, LogRef, Mark, Message, MessageId, NoteScope, Occurrence, Once, Placed,
    Recipient, Retry, RunOptions, RunRecord, ScheduleState, Stamp, Submission, Ticket, TicketStage, Trigger,
    TriggerKind,
};
/// The id of an occurrence: the beginning of a digest of its pipeline, its schedule and its time.
pub type OccurrenceId = [u8; 16];
pub use store::{Access, Head, Store};
pub use table::{DeadCounts, DeadOf, FindDeadError, FindRunError, NoteKey, RecordsOf};
