//! One time of a schedule.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Digest, Domain, Interval, Name, Timestamp};

/// What makes an occurrence the one it is: creating a run under it is the only way in which a schedule starts anything, so
/// that none is started twice, whatever clocks, restarts and other daemons do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OccurrenceId(Digest);

impl OccurrenceId {
    /// Returns the id of a pipeline's time by a trigger, whose text is [`crate::Schedule::trigger_text`].
    pub fn of(pipeline: &Name, trigger: &str, nominal: Timestamp) -> Self {
        let mut hasher = Domain::Occurrence.hasher();
        for part in [pipeline.as_str(), trigger] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&nominal.0.to_be_bytes());
        Self(hasher.finalize().into())
    }

    /// Returns the digest that it is.
    pub const fn digest(&self) -> &Digest {
        &self.0
    }

    /// Returns a number below `below` that is always the same for this id, 0 where `below` is 0.
    pub fn number_below(&self, below: u64) -> u64 {
        let (first, _) = self.0.as_bytes().split_at(8);
        let number = first.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        number.checked_rem(below).unwrap_or(0)
    }
}

impl fmt::Display for OccurrenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// What it is: of pipeline, trigger and nominal time alone.
    pub id: OccurrenceId,
    /// The time that the trigger names: the run's logical time.
    pub nominal: Timestamp,
    /// When its run begins: the nominal time and its jitter, before the next nominal time.
    pub fires_at: Timestamp,
    /// What its run is about: from the time before to the nominal time.
    pub interval: Interval,
}

/// Why an occurrence has no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DropReason {
    /// Nothing watched when it came, and the schedule catches nothing up.
    Missed,
    /// Nothing watched when it came, and the schedule catches only the latest up.
    Superseded,
    /// It came longer ago than the schedule looks back.
    TooOld,
    /// The run before had not ended.
    Overlap,
    /// The schedule was paused.
    Paused,
    /// It was over when the schedule, or this time in its list, was first seen.
    Over,
}

impl DropReason {
    /// Returns the reason in words, as they follow "dropped: ".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed, and catchup is none",
            Self::Superseded => "missed, and catchup is latest: a later one ran",
            Self::TooOld => "older than the catchup window",
            Self::Overlap => "the run before had not ended",
            Self::Paused => "the schedule was paused",
            Self::Over => "it was over when it was first seen in the file",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
