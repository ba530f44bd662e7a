//! BLAKE3 digests, one domain for each class of object.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A BLAKE3-256 digest: 32 bytes, shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; Digest::LENGTH]);

impl Digest {
    /// Bytes in a digest.
    pub const LENGTH: usize = 32;

    /// Wraps 32 bytes that a hasher or a decoder produced.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Returns the first 12 hex digits: what people are shown.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

/// A text that is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest of 64 hex digits")]
pub struct DigestError {
    /// What was read.
    pub text: String,
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hash = blake3::Hash::from_hex(text).map_err(|_| DigestError { text: text.to_owned() })?;
        Ok(hash.into())
    }
}

/// What a digest is of. Each domain hashes in BLAKE3's derive-key mode under a context of its own, so that equal
/// bytes of two classes never share a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Domain {
    /// The bytes of one file.
    File,
    /// The canonical encoding of a folder's entries.
    Tree,
    /// The preimage of an input-hash.
    InputHash,
    /// One link of the store's chain of batches.
    EventChain,
    /// The text of a pipeline file with all that decides how it is read.
    Definition,
    /// A file that cairn keeps beside the store and may lose.
    Index,
    /// The bytes of one record as they came.
    Record,
    /// What makes a dead letter the one it is.
    DeadLetter,
    /// The key of what is to happen once: a command, the passing of a record, a submission.
    NoteKey,
    /// What makes a time of a schedule the one it is.
    Occurrence,
    /// What makes a span of a trace the one it is.
    Span,
}

impl Domain {
    /// All domains.
    pub const ALL: [Self; 11] = [
        Self::File,
        Self::Tree,
        Self::InputHash,
        Self::EventChain,
        Self::Definition,
        Self::Index,
        Self::Record,
        Self::DeadLetter,
        Self::NoteKey,
        Self::Occurrence,
        Self::Span,
    ];

    /// Returns BLAKE3's context string. Never changed: stored digests depend on it.
    pub const fn context(self) -> &'static str {
        match self {
            Self::File => "cairn v1 file",
            Self::Tree => "cairn v1 tree",
            Self::InputHash => "cairn v1 input-hash",
            Self::EventChain => "cairn v1 event-chain",
            Self::Definition => "cairn v1 definition",
            Self::Index => "cairn v1 index",
            Self::Record => "cairn v1 record",
            Self::DeadLetter => "cairn v1 dead-letter",
            Self::NoteKey => "cairn v1 note-key",
            Self::Occurrence => "cairn v1 occurrence",
            Self::Span => "cairn v1 span",
        }
    }

    /// Returns a hasher for this domain.
    pub fn hasher(self) -> blake3::Hasher {
        blake3::Hasher::new_derive_key(self.context())
    }

    /// Returns the digest of `bytes` in this domain.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        self.hasher().update(bytes).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let digest = Domain::File.digest(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!("12".parse::<Digest>().is_err());
        assert_eq!(digest.short(), digest.to_string()[..12]);
    }

    #[test]
    fn no_two_domains_share_a_digest() {
        let mut digests: Vec<_> = Domain::ALL.iter().map(|domain| domain.digest(b"")).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), Domain::ALL.len());
    }
}
