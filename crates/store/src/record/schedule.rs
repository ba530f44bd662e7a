//! What the daemon has decided about schedules: the occurrences, and how each schedule stands.

use std::collections::BTreeMap;

use cairn_model::{Digest, Interval, RunId, Timestamp};

use super::{Damage, Record, from_postcard, to_postcard};

/// What became of a time at which a pipeline was due. It is written once: nothing starts twice for one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// When it was decided.
    pub decided: Timestamp,
    /// The stretch of time that belongs to it.
    pub interval: Interval,
    /// What was decided.
    pub fate: Fate,
}

/// What became of an occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A run was made for it.
    Run(RunId),
    /// There is no run for it, for this reason.
    Dropped(String),
}

/// How a pipeline's schedule stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleState {
    /// Since when it starts nothing by itself, and why; `None` while it does.
    pub paused: Option<(Timestamp, String)>,
    /// Failed runs in a row.
    pub failures: u32,
    /// The last time that was decided about: later ones are yet to come.
    pub decided_until: Option<Timestamp>,
    /// What each sensor saw last, by its name.
    pub seen: BTreeMap<String, Digest>,
}

/// A submission that came with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Digest of what was asked for.
    pub fingerprint: Digest,
    /// The run that came of it.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
}

mod v1 {
    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{Digest, RunId, Timestamp};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Occurrence {
        pub(super) decided: Timestamp,
        pub(super) interval: (Timestamp, Timestamp),
        pub(super) fate: Fate,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Fate {
        Run(RunId),
        Dropped(String),
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct ScheduleState {
        pub(super) paused: Option<(Timestamp, String)>,
        pub(super) failures: u32,
        pub(super) decided_until: Option<Timestamp>,
        pub(super) seen: Vec<(String, Digest)>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Submission {
        pub(super) fingerprint: Digest,
        pub(super) run: RunId,
        pub(super) at: Timestamp,
    }
}

impl Record for Occurrence {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        to_postcard(&v1::Occurrence {
            decided: self.decided.0,
            interval: (self.interval.start.0, self.interval.end.0),
            fate: match &self.fate {
                Fate::Run(run) => v1::Fate::Run(*run.as_bytes()),
                Fate::Dropped(why) => v1::Fate::Dropped(why.clone()),
            },
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        if version != 1 {
            return Err(Damage::Version { version });
        }
        let stored: v1::Occurrence = from_postcard(body)?;
        Ok(Self {
            decided: Timestamp(stored.decided),
            interval: Interval { start: Timestamp(stored.interval.0), end: Timestamp(stored.interval.1) },
            fate: match stored.fate {
                v1::Fate::Run(run) => Fate::Run(RunId::from_bytes(run)),
                v1::Fate::Dropped(why) => Fate::Dropped(why),
            },
        })
    }
}

impl Record for ScheduleState {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        to_postcard(&v1::ScheduleState {
            paused: self.paused.as_ref().map(|(at, why)| (at.0, why.clone())),
            failures: self.failures,
            decided_until: self.decided_until.map(|time| time.0),
            seen: self.seen.iter().map(|(name, digest)| (name.clone(), *digest.as_bytes())).collect(),
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        if version != 1 {
            return Err(Damage::Version { version });
        }
        let stored: v1::ScheduleState = from_postcard(body)?;
        Ok(Self {
            paused: stored.paused.map(|(at, why)| (Timestamp(at), why)),
            failures: stored.failures,
            decided_until: stored.decided_until.map(Timestamp),
            seen: stored.seen.into_iter().map(|(name, digest)| (name, Digest::from_bytes(digest))).collect(),
        })
    }
}

impl Record for Submission {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        to_postcard(&v1::Submission {
            fingerprint: *self.fingerprint.as_bytes(),
            run: *self.run.as_bytes(),
            at: self.at.0,
        })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        if version != 1 {
            return Err(Damage::Version { version });
        }
        let stored: v1::Submission = from_postcard(body)?;
        Ok(Self {
            fingerprint: Digest::from_bytes(stored.fingerprint),
            run: RunId::from_bytes(stored.run),
            at: Timestamp(stored.at),
        })
    }
}
