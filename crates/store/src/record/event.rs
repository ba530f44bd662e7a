//! An event of a run.

pub(super) mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{Digest, InstanceName, Timestamp};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Event<'a> {
        pub(super) at: Timestamp,
        #[serde(borrow)]
        pub(super) what: RunEvent<'a>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum RunEvent<'a> {
        Started {
            instances: u32,
            resumed: bool,
        },
        Instance {
            #[serde(borrow)]
            instance: InstanceName<'a>,
            #[serde(borrow)]
            event: InstanceEvent<'a>,
        },
        Ended {
            status: RunStatus,
        },
    }

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) enum RunStatus {
        Running,
        Succeeded,
        Failed,
        Interrupted,
        Frozen,
        InDoubt,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum InstanceEvent<'a> {
        CheckpointFound {
            input_hash: Digest,
            restored: Vec<String>,
            trashed: Vec<String>,
            saved_ms: u64,
        },
        AttemptStarted {
            attempt: u32,
            input_hash: Digest,
            #[serde(borrow)]
            reason: Reason<'a>,
        },
        AttemptFailed {
            attempt: u32,
            #[serde(borrow)]
            error: Cow<'a, str>,
            retry_at: Timestamp,
        },
        Committed {
            attempt: u32,
            input_hash: Digest,
            took_ms: u64,
            /// Always empty: what was moved to the trash is [`Self::Trashed`].
            trashed: Vec<String>,
        },
        Failed {
            attempts: u32,
            #[serde(borrow)]
            error: Cow<'a, str>,
            #[serde(borrow)]
            help: Option<Cow<'a, str>>,
        },
        Blocked {
            #[serde(borrow)]
            by: Blocker<'a>,
        },
        Trashed {
            attempt: u32,
            paths: Vec<String>,
        },
        NotPlaced {
            attempt: u32,
            #[serde(borrow)]
            error: Cow<'a, str>,
            #[serde(borrow)]
            help: Option<Cow<'a, str>>,
        },
        InDoubt {
            attempts: u32,
            #[serde(borrow)]
            error: Cow<'a, str>,
            #[serde(borrow)]
            help: Option<Cow<'a, str>>,
        },
        Undone {
            #[serde(borrow)]
            key: Cow<'a, str>,
            #[serde(borrow)]
            error: Option<Cow<'a, str>>,
        },
        EffectStands {
            input_hash: Digest,
            #[serde(borrow)]
            key: Cow<'a, str>,
            restored: Vec<String>,
            trashed: Vec<String>,
            saved_ms: u64,
        },
        Records {
            attempt: u32,
            /// Read, new, changed, same, late, dropped, retrying, dead.
            counts: [u64; 8],
        },
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Blocker<'a> {
        #[serde(borrow)]
        Failed(Cow<'a, str>),
        #[serde(borrow)]
        Stopping(Cow<'a, str>),
        Interrupted,
        #[serde(borrow)]
        Frozen(Reason<'a>),
        #[serde(borrow)]
        BehindFrozen(Cow<'a, str>),
        #[serde(borrow)]
        InDoubt(Cow<'a, str>),
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Reason<'a> {
        First,
        Changed(Vec<String>),
        Forced,
        CacheOff,
        Expired {
            age_ms: u64,
            ttl_ms: u64,
        },
        #[serde(borrow)]
        ContentLost(Cow<'a, str>),
        #[serde(borrow)]
        WeakerIsolation(Cow<'a, str>),
        #[serde(borrow)]
        Again(Cow<'a, str>),
        #[serde(borrow)]
        Failed(Cow<'a, str>),
        #[serde(borrow)]
        Drifted(Cow<'a, str>),
        #[serde(borrow)]
        Effect(Cow<'a, str>),
    }
}

use cairn_model::{Blocker, Event, InstanceEvent, Reason, RecordCounts, RunEvent, RunStatus, Timestamp};

use super::{Damage, Record, from_postcard, names, to_postcard};

impl Record for Event {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { at, what } = self;
        to_postcard(&v1::Event { at: at.0, what: what.into() })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::Event { at, what } = from_postcard(body)?;
                Ok(Self { at: Timestamp(at), what: what.try_into()? })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl<'a> From<&'a RunEvent> for v1::RunEvent<'a> {
    fn from(event: &'a RunEvent) -> Self {
        match event {
            RunEvent::Started { instances, resumed } => {
                Self::Started { instances: *instances, resumed: *resumed }
            }
            RunEvent::Instance { instance, event } => {
                Self::Instance { instance: instance.into(), event: event.into() }
            }
            RunEvent::Ended { status } => Self::Ended { status: stored_status(*status) },
        }
    }
}

impl TryFrom<v1::RunEvent<'_>> for RunEvent {
    type Error = Damage;

    fn try_from(stored: v1::RunEvent<'_>) -> Result<Self, Damage> {
        Ok(match stored {
            v1::RunEvent::Started { instances, resumed } => Self::Started { instances, resumed },
            v1::RunEvent::Instance { instance, event } => {
                Self::Instance { instance: instance.try_into()?, event: event.into() }
            }
            v1::RunEvent::Ended { status } => Self::Ended { status: self::status(&status) },
        })
    }
}

pub(super) fn stored_status(status: RunStatus) -> v1::RunStatus {
    match status {
        RunStatus::Running => v1::RunStatus::Running,
        RunStatus::Succeeded => v1::RunStatus::Succeeded,
        RunStatus::Failed => v1::RunStatus::Failed,
        RunStatus::Interrupted => v1::RunStatus::Interrupted,
        RunStatus::Frozen => v1::RunStatus::Frozen,
        RunStatus::InDoubt => v1::RunStatus::InDoubt,
    }
}

pub(super) fn status(stored: &v1::RunStatus) -> RunStatus {
    match stored {
        v1::RunStatus::Running => RunStatus::Running,
        v1::RunStatus::Succeeded => RunStatus::Succeeded,
        v1::RunStatus::Failed => RunStatus::Failed,
        v1::RunStatus::Interrupted => RunStatus::Interrupted,
        v1::RunStatus::Frozen => RunStatus::Frozen,
        v1::RunStatus::InDoubt => RunStatus::InDoubt,
    }
}

impl<'a> From<&'a InstanceEvent> for v1::InstanceEvent<'a> {
    fn from(event: &'a InstanceEvent) -> Self {
        match event {
            InstanceEvent::CheckpointFound { input_hash, restored, trashed, saved_ms } => {
                Self::CheckpointFound {
                    input_hash: names::stored_input_hash(input_hash),
                    restored: restored.clone(),
                    trashed: trashed.clone(),
                    saved_ms: *saved_ms,
                }
            }
            InstanceEvent::EffectStands { input_hash, key, restored, trashed, saved_ms } => {
                Self::EffectStands {
                    input_hash: names::stored_input_hash(input_hash),
                    key: key.into(),
                    restored: restored.clone(),
                    trashed: trashed.clone(),
                    saved_ms: *saved_ms,
                }
            }
            InstanceEvent::AttemptStarted { attempt, input_hash, reason } => Self::AttemptStarted {
                attempt: *attempt,
                input_hash: names::stored_input_hash(input_hash),
                reason: reason.into(),
            },
            InstanceEvent::AttemptFailed { attempt, error, retry_at } => {
                Self::AttemptFailed { attempt: *attempt, error: error.into(), retry_at: retry_at.0 }
            }
            InstanceEvent::Committed { attempt, input_hash, took_ms } => Self::Committed {
                attempt: *attempt,
                input_hash: names::stored_input_hash(input_hash),
                took_ms: *took_ms,
                trashed: Vec::new(),
            },
            InstanceEvent::Records { attempt, counts } => {
                let RecordCounts { read, new, changed, same, late, dropped, retrying, dead } = *counts;
                let counts = [read, new, changed, same, late, dropped, retrying, dead];
                Self::Records { attempt: *attempt, counts }
            }
            InstanceEvent::Trashed { attempt, paths } => {
                Self::Trashed { attempt: *attempt, paths: paths.clone() }
            }
            InstanceEvent::NotPlaced { attempt, error, help } => Self::NotPlaced {
                attempt: *attempt,
                error: error.into(),
                help: help.as_ref().map(Into::into),
            },
            InstanceEvent::Failed { attempts, error, help } => {
                Self::Failed { attempts: *attempts, error: error.into(), help: help.as_ref().map(Into::into) }
            }
            InstanceEvent::Blocked { by } => Self::Blocked { by: by.into() },
            InstanceEvent::InDoubt { attempts, error, help } => Self::InDoubt {
                attempts: *attempts,
                error: error.into(),
                help: help.as_ref().map(Into::into),
            },
            InstanceEvent::Undone { key, error } => {
                Self::Undone { key: key.into(), error: error.as_ref().map(Into::into) }
            }
        }
    }
}

impl From<v1::InstanceEvent<'_>> for InstanceEvent {
    fn from(stored: v1::InstanceEvent<'_>) -> Self {
        match stored {
            v1::InstanceEvent::CheckpointFound { input_hash, restored, trashed, saved_ms } => {
                Self::CheckpointFound {
                    input_hash: names::input_hash(input_hash),
                    restored,
                    trashed,
                    saved_ms,
                }
            }
            v1::InstanceEvent::EffectStands { input_hash, key, restored, trashed, saved_ms } => {
                Self::EffectStands {
                    input_hash: names::input_hash(input_hash),
                    key: key.into_owned(),
                    restored,
                    trashed,
                    saved_ms,
                }
            }
            v1::InstanceEvent::AttemptStarted { attempt, input_hash, reason } => Self::AttemptStarted {
                attempt,
                input_hash: names::input_hash(input_hash),
                reason: reason.into(),
            },
            v1::InstanceEvent::AttemptFailed { attempt, error, retry_at } => {
                Self::AttemptFailed { attempt, error: error.into_owned(), retry_at: Timestamp(retry_at) }
            }
            v1::InstanceEvent::Committed { attempt, input_hash, took_ms, trashed: _ } => {
                Self::Committed { attempt, input_hash: names::input_hash(input_hash), took_ms }
            }
            v1::InstanceEvent::Records { attempt, counts } => {
                let [read, new, changed, same, late, dropped, retrying, dead] = counts;
                let counts = RecordCounts { read, new, changed, same, late, dropped, retrying, dead };
                Self::Records { attempt, counts }
            }
            v1::InstanceEvent::Trashed { attempt, paths } => Self::Trashed { attempt, paths },
            v1::InstanceEvent::NotPlaced { attempt, error, help } => {
                Self::NotPlaced { attempt, error: error.into_owned(), help: help.map(Into::into) }
            }
            v1::InstanceEvent::Failed { attempts, error, help } => {
                Self::Failed { attempts, error: error.into_owned(), help: help.map(Into::into) }
            }
            v1::InstanceEvent::Blocked { by } => Self::Blocked { by: by.into() },
            v1::InstanceEvent::InDoubt { attempts, error, help } => {
                Self::InDoubt { attempts, error: error.into_owned(), help: help.map(Into::into) }
            }
            v1::InstanceEvent::Undone { key, error } => {
                Self::Undone { key: key.into_owned(), error: error.map(Into::into) }
            }
        }
    }
}

impl<'a> From<&'a Blocker> for v1::Blocker<'a> {
    fn from(blocker: &'a Blocker) -> Self {
        match blocker {
            Blocker::Failed(instance) => Self::Failed(instance.into()),
            Blocker::Stopping(instance) => Self::Stopping(instance.into()),
            Blocker::Interrupted => Self::Interrupted,
            Blocker::Frozen(reason) => Self::Frozen(reason.into()),
            Blocker::BehindFrozen(instance) => Self::BehindFrozen(instance.into()),
            Blocker::InDoubt(instance) => Self::InDoubt(instance.into()),
        }
    }
}

impl From<v1::Blocker<'_>> for Blocker {
    fn from(stored: v1::Blocker<'_>) -> Self {
        match stored {
            v1::Blocker::Failed(instance) => Self::Failed(instance.into_owned()),
            v1::Blocker::Stopping(instance) => Self::Stopping(instance.into_owned()),
            v1::Blocker::Interrupted => Self::Interrupted,
            v1::Blocker::Frozen(reason) => Self::Frozen(reason.into()),
            v1::Blocker::BehindFrozen(instance) => Self::BehindFrozen(instance.into_owned()),
            v1::Blocker::InDoubt(instance) => Self::InDoubt(instance.into_owned()),
        }
    }
}

impl<'a> From<&'a Reason> for v1::Reason<'a> {
    fn from(reason: &'a Reason) -> Self {
        match reason {
            Reason::First => Self::First,
            Reason::Changed(parts) => Self::Changed(parts.clone()),
            Reason::Forced => Self::Forced,
            Reason::CacheOff => Self::CacheOff,
            Reason::Expired { age_ms, ttl_ms } => Self::Expired { age_ms: *age_ms, ttl_ms: *ttl_ms },
            Reason::ContentLost(path) => Self::ContentLost(path.into()),
            Reason::WeakerIsolation(level) => Self::WeakerIsolation(level.into()),
            Reason::Again(why) => Self::Again(why.into()),
            Reason::Failed(error) => Self::Failed(error.into()),
            Reason::Drifted(how) => Self::Drifted(how.into()),
            Reason::Effect(why) => Self::Effect(why.into()),
        }
    }
}

impl From<v1::Reason<'_>> for Reason {
    fn from(stored: v1::Reason<'_>) -> Self {
        match stored {
            v1::Reason::First => Self::First,
            v1::Reason::Changed(parts) => Self::Changed(parts),
            v1::Reason::Forced => Self::Forced,
            v1::Reason::CacheOff => Self::CacheOff,
            v1::Reason::Expired { age_ms, ttl_ms } => Self::Expired { age_ms, ttl_ms },
            v1::Reason::ContentLost(path) => Self::ContentLost(path.into_owned()),
            v1::Reason::WeakerIsolation(level) => Self::WeakerIsolation(level.into_owned()),
            v1::Reason::Again(why) => Self::Again(why.into_owned()),
            v1::Reason::Failed(error) => Self::Failed(error.into_owned()),
            v1::Reason::Drifted(how) => Self::Drifted(how.into_owned()),
            v1::Reason::Effect(why) => Self::Effect(why.into_owned()),
        }
    }
}
