//! What the engine needs to have kept: its caller keeps it in the store.

use cairn_model::{Digest, RecordCounts};
use serde::{Deserialize, Serialize};

/// Why something cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct LedgerError {
    /// What happened.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What an instance's records come to as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// What sinks know it by: unique, and new when everything is to be delivered again.
    pub token: String,
    /// Digest of what decides where records go and under which key: another one is another scope.
    pub setup: Digest,
    /// Number of the last batch that all sinks have.
    pub confirmed: u64,
    /// Number of the last batch that was decided on in two phases.
    pub decided: u64,
    /// Number of the last delta.
    pub last_delta: u64,
    /// All files ever read, by their numbers.
    pub files: Vec<String>,
    /// Bytes of the file of results that count.
    pub results_bytes: u64,
    /// What the last run that went to its end counted.
    pub counts: Option<RecordCounts>,
}

impl Scope {
    /// Returns the scope's bytes: a version, and what postcard writes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![Self::VERSION];
        bytes.extend(postcard::to_stdvec(self).expect("writing to memory cannot fail"));
        bytes
    }

    /// Reads a scope's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let known = bytes.split_first().filter(|(version, _)| **version == Self::VERSION);
        known.and_then(|(_, body)| postcard::from_bytes(body).ok()).ok_or_else(|| LedgerError {
            error: "what is remembered of the records cannot be read by this cairn".to_owned(),
            help: Some("use the version that wrote it".to_owned()),
        })
    }

    const VERSION: u8 = 1;
}

/// A record that failed for good, with what is needed to step into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Its key as people write it, empty when it has none.
    pub key: String,
    /// Its bytes, the first of them when it is too long.
    pub payload: Vec<u8>,
    /// The file it was read from.
    pub file: String,
    /// The line there, 0 where there are no lines.
    pub line: u64,
    /// What kind of fault, in a word.
    pub class: String,
    /// What happened, the last time.
    pub error: String,
    /// Each try: when, in milliseconds since 1970, and how it ended.
    pub attempts: Vec<(i64, String)>,
    /// The key under which it was sent.
    pub idempotency_key: Digest,
}

/// By which a dead letter of this instance is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The record's key as people write it, empty when it has none.
    pub key: String,
    /// The record as it died.
    pub payload: Vec<u8>,
}

/// A dead letter that a person wants tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its key as people write it, empty when it has none.
    pub key: String,
    /// The record as it died.
    pub payload: Vec<u8>,
    /// The record as it is to be tried, where a person edited it.
    pub edited: Option<Vec<u8>>,
    /// The file it was read from.
    pub file: String,
    /// The line there.
    pub line: u64,
}

/// A dead letter that nobody has dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buried<'a> {
    /// Its key as people write it, empty when it has none.
    pub key: &'a str,
    /// The record as it died.
    pub payload: &'a [u8],
    /// The file it was read from.
    pub file: &'a str,
    /// The line there.
    pub line: u64,
}

/// Changes that become durable together or not at all.
#[derive(Debug, Default)]
pub struct Changes {
    /// The scope as it is from now on.
    pub scope: Option<Scope>,
    /// Pages as they are from now on, by prefix; empty ones go.
    pub pages: Vec<(u16, Vec<u8>)>,
    /// Deltas that are new.
    pub deltas: Vec<(u64, Vec<u8>)>,
    /// Deltas that go.
    pub merged: Vec<u64>,
    /// New dead letters.
    pub dead: Vec<Dead>,
    /// Dead letters that go, because their records are now delivered.
    pub revived: Vec<Letter>,
    /// Whether all this, and all before it, is durable on return.
    pub durable: bool,
}

/// Pages of rows by prefix.
pub type Pages<'a> = Box<dyn Iterator<Item = Result<(u16, Vec<u8>), LedgerError>> + 'a>;

/// Where it is kept.
pub trait Ledger: Sync {
    /// Returns the scope, `None` before the first run.
    fn scope(&self) -> Result<Option<Scope>, LedgerError>;

    /// Returns all pages in the order of their prefixes.
    fn pages(&self) -> Pages<'_>;

    /// Returns a page, empty when there is none.
    fn page(&self, prefix: u16) -> Result<Vec<u8>, LedgerError>;

    /// Returns the numbers of all deltas, ascending.
    fn deltas(&self) -> Result<Vec<u64>, LedgerError>;

    /// Returns a delta, empty when there is none.
    fn delta(&self, number: u64) -> Result<Vec<u8>, LedgerError>;

    /// Returns dead letters that are to be tried again.
    fn asked(&self) -> Result<Vec<Asked>, LedgerError>;

    /// Calls `each` with every dead letter of the instance's records.
    fn letters(&self, each: &mut dyn FnMut(Buried<'_>)) -> Result<(), LedgerError>;

    /// Makes changes.
    fn apply(&self, changes: Changes) -> Result<(), LedgerError>;
}
