//! A record on its way to the sinks.

use std::sync::LazyLock;

use blake3::hazmat::{self, ContextKey, HasherExt};
use bytes::Bytes;
use cairn_model::Digest;

use super::join::Prior;
use super::marks::Spot;
use crate::ledger::Letter;
use crate::state::{Kept, Made, Place, Short, State, Status};

static DELIVERY: LazyLock<ContextKey> =
    LazyLock::new(|| hazmat::hash_derive_key_context("cairn v1 record-delivery"));
static RESULT: LazyLock<ContextKey> =
    LazyLock::new(|| hazmat::hash_derive_key_context("cairn v1 record-result"));

/// A record that is to be delivered.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) key: Short,
    pub(crate) digest: Short,
    pub(crate) version: Vec<u8>,
    pub(super) spot: Spot,
    pub(crate) place: Place,
    pub(crate) line: u64,
    pub(crate) tombstone: bool,
    /// How often its key was delivered before, modulo 256: a key that goes back to what it was, or of which another worker
    /// makes something else, is another delivery than the first one.
    pub(super) generation: u8,
    pub(crate) record: Bytes,
    pub(super) prior: Option<Prior>,
    /// The dead letter that it was, when a person wants it tried again.
    pub(crate) letter: Option<Letter>,
    /// The key under which its first result is delivered, where it was made ahead of that.
    pub(super) known_as: Option<Digest>,
}

/// What became of a record in the worker.
#[derive(Debug, Clone)]
pub(crate) enum Fate {
    /// What is to be delivered of it; without a worker the record itself.
    Results(Vec<Bytes>),
    /// It leads to nothing.
    Dropped,
    /// It failed for good.
    Failed {
        /// In a word: where.
        class: &'static str,
        /// What happened.
        error: String,
    },
    /// It failed and is tried again then, in milliseconds since 1970.
    Retry {
        /// When.
        at: i64,
    },
}

/// A record with what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) item: Item,
    pub(crate) fate: Fate,
    /// Each try that failed: when, in milliseconds since 1970, and how.
    pub(crate) attempts: Vec<(i64, String)>,
}

impl Item {
    /// Returns whether its key was delivered before.
    pub(super) fn was_delivered(&self) -> bool {
        self.prior.is_some_and(|prior| prior.delivered)
    }

    /// Returns when it was to be tried again, in milliseconds since 1970.
    pub(super) fn retry_at(&self) -> Option<i64> {
        self.prior.and_then(|prior| prior.retry_at)
    }

    /// Returns the tries that it has behind it.
    pub(crate) fn tries(&self) -> u8 {
        self.prior.map_or(0, |prior| prior.tries)
    }

    pub(super) fn state(&self, status: Status, made: Option<Made>, kept: Option<Kept>) -> State<'_> {
        State {
            key: self.key,
            status,
            // Of what was delivered the row counts deliveries.
            tries: if status == Status::Delivered { self.generation } else { 0 },
            digest: self.digest,
            place: self.place,
            version: &self.version,
            made,
            kept,
            retry_at: None,
            before: (status != Status::Delivered && (self.generation != 0 || self.was_delivered()))
                .then(|| self.generation.wrapping_sub(1)),
        }
    }

    /// Returns the key under which its delivery number `index` is known to sinks: the same in each try. What a person or
    /// another worker has made of it since is another `result`, and so another delivery.
    pub(crate) fn idempotency_key(&self, scope: &str, index: usize, result: &[u8]) -> Digest {
        let mut hasher = blake3::Hasher::new_from_context_key(&DELIVERY);
        hasher.update(&(scope.len() as u64).to_le_bytes());
        hasher.update(scope.as_bytes());
        hasher.update(&self.key);
        hasher.update(&self.digest);
        hasher.update(&[self.generation]);
        hasher.update(&(index as u64).to_le_bytes());
        hasher.update(result);
        hasher.finalize().into()
    }
}

impl Finished {
    /// Returns whether it was told of before in this run, as one to be tried again.
    pub(super) fn was_retrying(&self) -> bool {
        let now = matches!(self.fate, Fate::Failed { class: "worker", .. } | Fate::Retry { .. });
        self.attempts.len() > usize::from(now)
    }

    /// Makes the key ahead under which the first result is delivered.
    pub(super) fn make_known(&mut self, scope: &str) {
        if let Fate::Results(results) = &self.fate
            && let Some(result) = results.first()
        {
            self.item.known_as = Some(self.item.idempotency_key(scope, 0, result));
        }
    }
}

/// Returns the digest of what a worker made of a record.
pub(super) fn result_digest(results: &[Bytes]) -> Short {
    let mut hasher = blake3::Hasher::new_from_context_key(&RESULT);
    for result in results {
        hasher.update(&(result.len() as u64).to_le_bytes());
        hasher.update(result);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes")
}
