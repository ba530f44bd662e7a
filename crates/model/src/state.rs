//! An instance's state within one run, and the events that change it.

use serde::{Deserialize, Serialize};

use crate::{InputHash, RecordCounts, Timestamp};

/// Where an instance stands in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Not decided yet: something before it is not done, or there is no room.
    Waiting,
    /// An attempt runs.
    Running {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The input-hash it runs under.
        input_hash: InputHash,
    },
    /// The last attempt failed and another one will be made.
    Retrying {
        /// Number of the attempt that failed.
        attempt: u32,
        /// When the next may start.
        until: Timestamp,
    },
    /// There was a checkpoint and every output was in place.
    Fresh,
    /// There was a checkpoint and outputs were put back from the content store.
    Restored,
    /// It was executed and committed.
    Ran {
        /// Number of the attempt that succeeded.
        attempt: u32,
    },
    /// It failed for good.
    Failed {
        /// Attempts made, 0 when it failed before the first.
        attempts: u32,
    },
    /// Something before it failed, or the run was stopped before its turn.
    Blocked,
    /// It has an effect of which nobody can say whether it took place.
    InDoubt {
        /// Attempts made in the run.
        attempts: u32,
    },
}

/// What happens to an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InstanceEvent {
    /// Its input-hash has a checkpoint whose outputs are in place, or were put in place.
    CheckpointFound {
        /// The input-hash.
        input_hash: InputHash,
        /// Paths that were put back from the content store; none: [`Outcome::Fresh`].
        restored: Vec<String>,
        /// Files that stood in their places, were not cairn's, and were moved to the trash: their paths there.
        trashed: Vec<String>,
        /// What the execution that made the checkpoint took: the time saved.
        saved_ms: u64,
    },
    /// Its effect took place under its key, so that it is not executed, though it has no checkpoint under its input-hash or
    /// is forced.
    EffectStands {
        /// The input-hash.
        input_hash: InputHash,
        /// The effect's key.
        key: String,
        /// Paths that were put back from the content store; none: [`Outcome::Fresh`].
        restored: Vec<String>,
        /// Files that stood in their places, were not cairn's, and were moved to the trash: their paths there.
        trashed: Vec<String>,
        /// What the execution took that did it: the time saved.
        saved_ms: u64,
    },
    /// An attempt starts.
    AttemptStarted {
        /// Its number, from 1.
        attempt: u32,
        /// The input-hash it runs under.
        input_hash: InputHash,
        /// Why there is anything to run.
        reason: Reason,
    },
    /// An attempt failed and another one will be made.
    AttemptFailed {
        /// Its number.
        attempt: u32,
        /// What went wrong.
        error: String,
        /// When the next may start: persisted, so that a resumed run waits no longer and no shorter.
        retry_at: Timestamp,
    },
    /// The attempt's result is durable.
    Committed {
        /// Its number.
        attempt: u32,
        /// The input-hash of the checkpoint.
        input_hash: InputHash,
        /// What the command took.
        took_ms: u64,
    },
    /// What became of the records of a stage that passes them on; its commit follows.
    Records {
        /// The attempt's number.
        attempt: u32,
        /// Records by what became of them.
        counts: RecordCounts,
    },
    /// After its commit, outputs took the places of files that were not cairn's.
    Trashed {
        /// The attempt's number.
        attempt: u32,
        /// Where these files were moved to, in the trash.
        paths: Vec<String>,
    },
    /// After its commit, its outputs could not be put in their places: the next run does that, without executing it.
    NotPlaced {
        /// The attempt's number.
        attempt: u32,
        /// What went wrong.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// It failed for good.
    Failed {
        /// Attempts made.
        attempts: u32,
        /// What went wrong.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// It will not run in this run.
    Blocked {
        /// Why.
        by: Blocker,
    },
    /// Of its effect nobody can say whether it took place: a person is to settle it.
    InDoubt {
        /// Attempts made in the run.
        attempts: u32,
        /// Why.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// Its effect was to be undone, because the run failed.
    Undone {
        /// The effect's key.
        key: String,
        /// Why it was not undone; `None`: it was.
        error: Option<String>,
    },
}

/// What keeps an instance from running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blocker {
    /// An instance before it failed: its name.
    Failed(String),
    /// The run ends early because another instance failed: its name.
    Stopping(String),
    /// The run was interrupted.
    Interrupted,
    /// `--frozen`: it would have to run, for this reason.
    Frozen(Reason),
    /// `--frozen`: an instance before it would have to run, its name. Whether this one would too shows only after that.
    BehindFrozen(String),
    /// The effect of an instance before it is in doubt: the instance's name.
    InDoubt(String),
}

/// Why an instance is executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// No checkpoint of this instance exists.
    First,
    /// A checkpoint exists, under another input-hash: what changed, in a few words each.
    Changed(Vec<String>),
    /// `--force`.
    Forced,
    /// `cache = false`.
    CacheOff,
    /// The checkpoint is older than the time-to-live: its age and the limit.
    Expired {
        /// Age in milliseconds.
        age_ms: u64,
        /// Time-to-live in milliseconds.
        ttl_ms: u64,
    },
    /// The checkpoint's bytes are gone or damaged in the content store: the output they belong to.
    ContentLost(String),
    /// The checkpoint was made with weaker isolation than is asked for now.
    WeakerIsolation(String),
    /// An earlier attempt of this run failed or was cut off.
    Again(String),
    /// No checkpoint of this instance exists, and it failed in an earlier run: what went wrong the last time, in a line.
    Failed(String),
    /// The system outside is no longer as its effect left it: what its `probe` says.
    Drifted(String),
    /// Its effect is to be done, or asked after, whatever checkpoint there is: why.
    Effect(String),
}

impl Reason {
    /// Says it in one line.
    pub fn text(&self) -> String {
        match self {
            Self::First => "never ran before".to_owned(),
            Self::Changed(parts) => match parts.as_slice() {
                [] => "inputs changed".to_owned(),
                [one] => one.clone(),
                [one, two] => format!("{one}, {two}"),
                [one, two, rest @ ..] => format!("{one}, {two}, and {} more", rest.len()),
            },
            Self::Forced => "forced".to_owned(),
            Self::CacheOff => "`cache = false`".to_owned(),
            Self::Expired { age_ms, ttl_ms } => {
                format!("older than its ttl ({} s > {} s)", age_ms / 1000, ttl_ms / 1000)
            }
            Self::ContentLost(path) => format!("the stored bytes of `{path}` are gone or damaged"),
            Self::WeakerIsolation(had) => {
                format!("was made with sandbox `{had}`, which is weaker than asked for")
            }
            Self::Again(why) | Self::Effect(why) => why.clone(),
            Self::Failed(error) => format!("failed before: {error}"),
            Self::Drifted(how) => format!("drifted: {how}"),
        }
    }
}

/// An event that cannot happen in a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an instance that is {state:?} cannot take {event:?}")]
pub struct IllegalEvent {
    /// The state.
    pub state: State,
    /// The event.
    pub event: InstanceEvent,
}

impl State {
    /// Returns the state after `event`: the only way to change an instance's state, live and in replay.
    pub fn after(self, event: &InstanceEvent) -> Result<Self, Box<IllegalEvent>> {
        use InstanceEvent as E;
        match (self, event) {
            // A retrying one finds a checkpoint when another run made it meanwhile.
            (
                Self::Waiting | Self::Retrying { .. },
                E::CheckpointFound { restored, .. } | E::EffectStands { restored, .. },
            ) => Ok(if restored.is_empty() { Self::Fresh } else { Self::Restored }),
            (Self::Waiting, E::AttemptStarted { attempt, input_hash, .. }) => {
                Ok(Self::Running { attempt: *attempt, input_hash: *input_hash })
            }
            (Self::Retrying { attempt: last, .. }, E::AttemptStarted { attempt, input_hash, .. })
                if *attempt > last =>
            {
                Ok(Self::Running { attempt: *attempt, input_hash: *input_hash })
            }
            (Self::Running { attempt: running, .. }, E::AttemptFailed { attempt, retry_at, .. })
                if *attempt == running =>
            {
                Ok(Self::Retrying { attempt: *attempt, until: *retry_at })
            }
            (Self::Running { attempt: running, .. }, E::Committed { attempt, .. }) if *attempt == running => {
                Ok(Self::Ran { attempt: *attempt })
            }
            (Self::Running { attempt: running, input_hash }, E::Records { attempt, .. })
                if *attempt == running =>
            {
                Ok(Self::Running { attempt: running, input_hash })
            }
            // In replay its commit comes first: that is written with its checkpoint.
            (Self::Ran { attempt: ran }, E::Records { attempt, .. }) if *attempt == ran => {
                Ok(Self::Ran { attempt: *attempt })
            }
            (Self::Ran { attempt: ran }, E::Trashed { attempt, .. }) if *attempt == ran => {
                Ok(Self::Ran { attempt: *attempt })
            }
            // In replay its commit comes first: that is written with its checkpoint, before anything is placed.
            (
                Self::Running { attempt: last, .. } | Self::Ran { attempt: last },
                E::NotPlaced { attempt, .. },
            ) if *attempt == last => Ok(Self::Failed { attempts: *attempt }),
            (Self::Waiting | Self::Running { .. } | Self::Retrying { .. }, E::Failed { attempts, .. }) => {
                Ok(Self::Failed { attempts: *attempts })
            }
            (Self::Waiting | Self::Running { .. } | Self::Retrying { .. }, E::Blocked { .. }) => {
                Ok(Self::Blocked)
            }
            (Self::Waiting | Self::Running { .. } | Self::Retrying { .. }, E::InDoubt { attempts, .. }) => {
                Ok(Self::InDoubt { attempts: *attempts })
            }
            // What was done stays done, whatever became of the instance after a resume; that it was undone later is a fact of
            // its own.
            (state, E::Undone { .. }) if state.outcome().is_some() || state == Self::Waiting => Ok(state),
            (state, event) => Err(Box::new(IllegalEvent { state, event: event.clone() })),
        }
    }

    /// Returns how it ended, `None` while it has not.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Waiting | Self::Running { .. } | Self::Retrying { .. } => None,
            Self::Fresh => Some(Outcome::Fresh),
            Self::Restored => Some(Outcome::Restored),
            Self::Ran { .. } => Some(Outcome::Ran),
            Self::Failed { .. } => Some(Outcome::Failed),
            Self::Blocked => Some(Outcome::Blocked),
            Self::InDoubt { .. } => Some(Outcome::InDoubt),
        }
    }
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Outcome {
    /// Executed, and its outputs are in place.
    Ran,
    /// Not executed: outputs put back from the content store.
    Restored,
    /// Not executed: outputs already in place.
    Fresh,
    /// Executed, or tried, without success.
    Failed,
    /// Not its turn: something before it failed, or the run was stopped.
    Blocked,
    /// Its effect may have taken place or not: a person is to settle it.
    InDoubt,
}

impl Outcome {
    /// All outcomes, in the order of a summary.
    pub const ALL: [Self; 6] =
        [Self::Ran, Self::Restored, Self::Fresh, Self::Failed, Self::Blocked, Self::InDoubt];

    /// Returns the word people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "RAN",
            Self::Restored => "RESTORED",
            Self::Fresh => "FRESH",
            Self::Failed => "FAILED",
            Self::Blocked => "BLOCKED",
            Self::InDoubt => "IN DOUBT",
        }
    }

    /// Returns whether the outputs are in place.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Ran | Self::Restored | Self::Fresh)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, Domain};

    fn hash() -> InputHash {
        InputHash::from_digest(Digest::from_bytes(*Domain::InputHash.digest(b"x").as_bytes()))
    }

    fn started(attempt: u32) -> InstanceEvent {
        InstanceEvent::AttemptStarted { attempt, input_hash: hash(), reason: Reason::First }
    }

    fn committed(attempt: u32) -> InstanceEvent {
        InstanceEvent::Committed { attempt, input_hash: hash(), took_ms: 1 }
    }

    #[test]
    fn an_effect_is_undone_in_whichever_end_its_instance_came_to() {
        let undone = InstanceEvent::Undone { key: "k".into(), error: None };
        for end in [
            State::Fresh,
            State::Restored,
            State::Blocked,
            State::Ran { attempt: 1 },
            State::Failed { attempts: 1 },
            State::InDoubt { attempts: 1 },
        ] {
            assert_eq!(end.clone().after(&undone).unwrap(), end);
        }
        assert!(State::Waiting.after(&started(1)).unwrap().after(&undone).is_err(), "while it runs");
    }

    #[test]
    fn an_attempt_is_retried_and_committed_once() {
        let failed =
            InstanceEvent::AttemptFailed { attempt: 1, error: "exit 1".into(), retry_at: Timestamp(9) };
        let state = State::Waiting.after(&started(1)).unwrap().after(&failed).unwrap();
        assert_eq!(state, State::Retrying { attempt: 1, until: Timestamp(9) });
        let state = state.after(&started(2)).unwrap().after(&committed(2)).unwrap();
        assert_eq!(state.outcome(), Some(Outcome::Ran));
        assert!(state.clone().after(&committed(2)).is_err(), "committed twice");
        assert!(state.after(&started(3)).is_err(), "started after its commit");
    }

    #[test]
    fn what_came_of_placing_follows_the_commit() {
        let ran = State::Waiting.after(&started(2)).unwrap().after(&committed(2)).unwrap();
        let trashed = |attempt| InstanceEvent::Trashed { attempt, paths: vec!["t".into()] };
        let not_placed = |attempt| InstanceEvent::NotPlaced { attempt, error: "e".into(), help: None };
        assert_eq!(ran.clone().after(&trashed(2)).unwrap(), ran);
        assert!(ran.clone().after(&trashed(1)).is_err(), "of another attempt");
        assert_eq!(ran.clone().after(&not_placed(2)).unwrap(), State::Failed { attempts: 2 });
        assert!(ran.after(&not_placed(1)).is_err(), "of another attempt");
        assert!(State::Waiting.after(&trashed(1)).is_err(), "without a commit");
    }

    #[test]
    fn a_stale_attempt_cannot_commit() {
        let state = State::Waiting.after(&started(2)).unwrap();
        assert!(state.after(&committed(1)).is_err());
    }
}
