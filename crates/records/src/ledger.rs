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
    /// What was decided of the load that is under way, by runs that did not go to its end.
    pub weighed: Weighed,
    /// The circuit breakers of the sinks, by their numbers; one that is not there is as new.
    pub breakers: Vec<Breaker>,
    /// How far a sink came with the batch that it was given last, where it is to be tried again.
    pub trying: Option<Trying>,
}

/// A moment until which something waits, over runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wait {
    /// In milliseconds since 1970.
    pub until_ms: i64,
    /// How long it was to be: a clock that went back makes no more of it.
    pub pause_ms: u64,
}

impl Wait {
    /// Returns the milliseconds that are left of it.
    pub fn left_ms(&self, now_ms: i64) -> u64 {
        u64::try_from(self.until_ms.saturating_sub(now_ms)).unwrap_or(0).min(self.pause_ms)
    }
}

/// A circuit breaker: what is known of a sink that is to be tried again. Each run leaves it alone until its time, and one that
/// comes after a run which gave up tries it once (half-open; Nygard, "Release It!").
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    /// Tries in a row in which it dealt with no record, over runs: pauses grow with them.
    pub failures: u32,
    /// Those of them that count against the tries that a run has.
    pub spent: u32,
    /// When it may be tried again.
    pub wait: Wait,
    /// Whether it asked for that pause itself.
    pub asked: bool,
    /// How the last try ended.
    pub error: String,
}

/// How far a sink came with a batch: it has the records that stand nowhere here, and those before it have them all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trying {
    /// The sink's number.
    pub sink: u32,
    /// Number of the batch.
    pub sequence: u64,
    /// Digest of the batch.
    pub batch: Digest,
    /// Deliveries that are to go to it again, by index: the first of each row of them, and how many.
    pub again: Vec<(u32, u32)>,
    /// Those of them that had tries of their own, which failed.
    pub tried: Vec<Tried>,
    /// Those that it has refused for good.
    pub refused: Vec<Tried>,
    /// Those that are to be given to it together and first, as they were before: rows of each, as in `again`.
    pub together: Vec<Vec<(u32, u32)>>,
}

/// A delivery that failed: its index, and each try, when, in milliseconds since 1970, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its index in the batch.
    pub index: u32,
    /// Each try.
    pub attempts: Vec<(i64, String)>,
}

/// How many records of a load have had their fate decided for good: by these an outage is told from single faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Weighed {
    /// All of them.
    pub decided: u64,
    /// Those that failed.
    pub failed: u64,
}

impl Weighed {
    /// Adds records whose fate is decided, of which some failed.
    pub fn add(&mut self, decided: u64, failed: u64) {
        self.decided += decided;
        self.failed += failed;
    }
}

impl Scope {
    /// Begins a scope of which nothing is known yet.
    pub fn new(token: String, setup: Digest) -> Self {
        Self {
            token,
            setup,
            confirmed: 0,
            decided: 0,
            last_delta: 0,
            files: Vec::new(),
            results_bytes: 0,
            counts: None,
            weighed: Weighed::default(),
            breakers: Vec::new(),
            trying: None,
        }
    }

    /// Returns the scope's bytes: a version, and what postcard writes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![Self::VERSION];
        bytes.extend(postcard::to_stdvec(self).expect("writing to memory cannot fail"));
        bytes
    }

    /// Reads a scope's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let scope = match bytes.split_first() {
            Some((&Self::VERSION, body)) => postcard::from_bytes(body).ok(),
            // The first version ended before `weighed`, which is two numbers, the second one before `breakers` and `trying`,
            // the third one before what is in `trying` together, where there is one.
            Some((1, body)) => postcard::from_bytes(&[body, &[0, 0, 0, 0]].concat()).ok(),
            Some((2, body)) => postcard::from_bytes(&[body, &[0, 0]].concat()).ok(),
            Some((3, body)) => postcard::from_bytes(&[body, &[0]].concat()).ok(),
            _ => None,
        };
        scope.ok_or_else(|| LedgerError {
            error: "what is remembered of the records cannot be read by this cairn".to_owned(),
            help: Some("use the version that wrote it".to_owned()),
        })
    }

    const VERSION: u8 = 4;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_earlier_versions_are_read() {
        let scope = Scope {
            confirmed: 1,
            decided: 2,
            last_delta: 3,
            files: vec!["a.jsonl".to_owned()],
            results_bytes: 4,
            counts: Some(RecordCounts { read: 5, ..RecordCounts::default() }),
            ..Scope::new("token".to_owned(), Digest::from_bytes([7; 32]))
        };
        let now = scope.encode();
        assert_eq!(Scope::decode(&now).unwrap(), scope);
        let (_, body) = now.split_first().unwrap();
        for (version, lacks) in [(1, 4), (2, 2)] {
            let before = [&[version], &body[..body.len() - lacks]].concat();
            assert_eq!(Scope::decode(&before).unwrap(), scope, "version {version}");
        }
        assert_eq!(Scope::decode(&[&[3], body].concat()).unwrap(), scope);
        let tried = vec![Tried { index: 1, attempts: vec![(2, "no".to_owned())] }];
        let (again, batch) = (vec![(0, 5)], Digest::from_bytes([8; 32]));
        let trying =
            Trying { sink: 1, sequence: 9, batch, again, tried, refused: Vec::new(), together: Vec::new() };
        let scope = Scope { trying: Some(trying), ..scope };
        let now = scope.encode();
        assert_eq!(Scope::decode(&now).unwrap(), scope);
        let body = &now[1..];
        assert_eq!(Scope::decode(&[&[3], &body[..body.len() - 1]].concat()).unwrap(), scope);
        let newer = [&[Scope::VERSION + 1], body].concat();
        assert!(Scope::decode(&newer).unwrap_err().help.unwrap().contains("version"));
    }
}
