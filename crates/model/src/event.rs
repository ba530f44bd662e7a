//! A run's events: the log from which its state is folded.

use serde::{Deserialize, Serialize};

use crate::{InstanceEvent, InstanceName, Outcome, RunId, Timestamp};

/// One event of a run. Every change is stored as an event before it is shown; the terminal, `--json` and
/// `cairn show` are folds over the same events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was recorded; for people only, the order is the log's.
    pub at: Timestamp,
    /// What happened.
    pub what: RunEvent,
}

/// What happens in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEvent {
    /// The run starts, or goes on in a new process.
    Started {
        /// Instances that take part in it: those selected.
        instances: u32,
        /// Whether this goes on with a run that was cut off or failed.
        resumed: bool,
    },
    /// Something happens to an instance.
    Instance {
        /// Which.
        instance: InstanceName,
        /// What.
        event: InstanceEvent,
    },
    /// The run ends.
    Ended {
        /// How.
        status: RunStatus,
    },
}

/// How a run stands or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RunStatus {
    /// It runs, or the process that ran it was cut off: the lock tells which.
    Running,
    /// Everything asked for is done.
    Succeeded,
    /// An instance failed for good.
    Failed,
    /// A person stopped it.
    Interrupted,
    /// `--frozen`, and something would have had to run.
    Frozen,
    /// Of an effect nobody can say whether it took place.
    InDoubt,
}

impl RunStatus {
    /// Returns the word people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Frozen => "frozen",
            Self::InDoubt => "in doubt",
        }
    }
}

impl std::fmt::Display for RunStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Instances by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// [`Outcome::Ran`].
    pub ran: u32,
    /// [`Outcome::Restored`].
    pub restored: u32,
    /// [`Outcome::Fresh`].
    pub fresh: u32,
    /// [`Outcome::Failed`].
    pub failed: u32,
    /// [`Outcome::Blocked`].
    pub blocked: u32,
    /// [`Outcome::InDoubt`].
    pub in_doubt: u32,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Ran => &mut self.ran,
            Outcome::Restored => &mut self.restored,
            Outcome::Fresh => &mut self.fresh,
            Outcome::Failed => &mut self.failed,
            Outcome::Blocked => &mut self.blocked,
            Outcome::InDoubt => &mut self.in_doubt,
        } += 1;
    }

    /// Returns how many ended as `outcome`.
    pub const fn of(&self, outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Ran => self.ran,
            Outcome::Restored => self.restored,
            Outcome::Fresh => self.fresh,
            Outcome::Failed => self.failed,
            Outcome::Blocked => self.blocked,
            Outcome::InDoubt => self.in_doubt,
        }
    }

    /// Returns how many have ended.
    pub const fn total(&self) -> u32 {
        self.ran + self.restored + self.fresh + self.failed + self.blocked + self.in_doubt
    }
}

/// An attempt's identity: unique for all time, so that a stale one can be told.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The run.
    pub run: RunId,
    /// The instance.
    pub instance: InstanceName,
    /// Its number within the run, from 1.
    pub number: u32,
}

impl AttemptId {
    /// Returns a text that is safe as a folder's name.
    pub fn slug(&self) -> String {
        format!("{}-{}.{}", self.run.short(), self.instance.slug(), self.number)
    }
}
