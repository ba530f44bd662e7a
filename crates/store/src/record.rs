//! What is stored, a kind of value a file: the type that callers see, the type whose bytes are stored, and the way
//! from one to the other. The stored types are in modules named for their version and are never changed: a new
//! version is a new module, and the old one is still read.
//!
//! A value is
//!
//! ```text
//! version, 1 byte · the stored type, as postcard writes it · checksum, 8 bytes
//! ```
//!
//! The checksum is the beginning of a BLAKE3 digest over the family's number, the key's length and bytes, the version
//! and the body: a value that was damaged, or that stands under a key that is not its own, is an error, never another
//! value. In postcard the order of fields, and of an enum's variants, is the format.

mod attempt;
mod blob;
mod checkpoint;
mod dead;
mod duration;
mod effect;
mod event;
mod file_row;
mod head;
mod history;
mod manifest;
mod message;
mod names;
mod note;
mod placed;
mod process;
mod run;
mod schedule;
mod ticket;
mod trace;

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::keys::Family;

pub use attempt::Attempt;
pub(crate) use blob::Blob;
pub(crate) use checkpoint::Recorded;
pub use checkpoint::{Checkpoint, Demoted, Exit, LogRef};
pub use dead::{DeadId, DeadIdError, DeadKind, DeadLetter, Retry};
pub(crate) use duration::Duration;
pub use effect::Effect;
pub use file_row::{FileKey, FileRow, Stamp};
pub(crate) use head::{Format, Head};
pub(crate) use history::History;
pub use message::{Message, MessageId, Recipient};
pub use note::{Generation, Mark, NoteScope, Once};
pub(crate) use note::{Seen, Settled};
pub use placed::Placed;
pub use run::{Force, RunOptions, RunRecord};
pub use schedule::{Fate, Occurrence, ScheduleState, Submission};
pub use ticket::{Ticket, TicketStage, Trigger, TriggerKind};

/// A kind of value.
pub(crate) trait Record: Sized {
    /// The version that is written.
    const VERSION: u8;

    /// Returns the stored type's bytes.
    fn body(&self) -> Vec<u8>;

    /// Reads a stored type's bytes.
    fn read(version: u8, body: &[u8]) -> Result<Self, Damage>;
}

/// Why a value is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Damage {
    /// Too short for a version and a checksum.
    #[error("the value is cut short at {length} bytes")]
    Short { length: usize },
    /// It is not what was written.
    #[error("the value does not match its checksum")]
    Checksum,
    /// No version of this kind.
    #[error("the value has version {version}, which this cairn does not know")]
    Version { version: u8 },
    /// The body is not one of its version: what is wrong with it.
    #[error("the value cannot be read: {what}")]
    Body { what: &'static str },
    /// The key is not one of its family.
    #[error("the key cannot be read")]
    Key,
}

const CHECKSUM_LENGTH: usize = 8;

/// Returns the stored value of `record` under `key`.
pub(crate) fn seal<R: Record>(family: Family, key: &[u8], record: &R) -> Vec<u8> {
    seal_body(family, key, R::VERSION, &record.body())
}

fn seal_body(family: Family, key: &[u8], version: u8, body: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + body.len() + CHECKSUM_LENGTH);
    value.push(version);
    value.extend_from_slice(body);
    let checksum = checksum(family, key, &value);
    value.extend_from_slice(&checksum);
    value
}

/// Reads the stored value that stands under `key`.
pub(crate) fn open<R: Record>(family: Family, key: &[u8], value: &[u8]) -> Result<R, Damage> {
    let short = Damage::Short { length: value.len() };
    let (sealed, stored) = value.split_last_chunk::<CHECKSUM_LENGTH>().ok_or_else(|| short.clone())?;
    let (version, body) = sealed.split_first().ok_or(short)?;
    if checksum(family, key, sealed) != *stored {
        return Err(Damage::Checksum);
    }
    R::read(*version, body)
}

fn checksum(family: Family, key: &[u8], sealed: &[u8]) -> [u8; CHECKSUM_LENGTH] {
    static HASHER: LazyLock<blake3::Hasher> =
        LazyLock::new(|| blake3::Hasher::new_derive_key("cairn v1 store-value"));
    let mut hasher = HASHER.clone();
    hasher.update(&[family.number()]);
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(sealed);
    let digest = hasher.finalize();
    *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
}

fn to_postcard(stored: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(stored).expect("writing a derived type to memory cannot fail")
}

/// Reads a stored type and nothing after it.
fn from_postcard<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Damage> {
    match postcard::take_from_bytes(body) {
        Ok((stored, [])) => Ok(stored),
        Ok(_) => Err(Damage::Body { what: "bytes are left over" }),
        Err(_) => Err(Damage::Body { what: "it is not of the stored type" }),
    }
}

#[cfg(test)]
mod tests;
