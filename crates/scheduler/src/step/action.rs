//! What a run asks to be done.

use cairn_model::{Counts, InstanceEvent, RunStatus, Timestamp};

/// One thing to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Compute the input-hash and look for a checkpoint; answered by [`super::Input::LookedUp`].
    LookUp {
        /// Of which instance.
        instance: u32,
        /// Whether a checkpoint is to be passed by.
        force: bool,
    },
    /// Start an attempt, under the input-hash of the [`InstanceEvent::AttemptStarted`] recorded just before; answered by
    /// [`super::Input::Exited`] and [`super::Input::Finished`].
    Attempt {
        /// Of which instance.
        instance: u32,
        /// Its number.
        attempt: u32,
    },
    /// Take over the held attempt, under the input-hash of the [`InstanceEvent::AttemptStarted`] recorded just before; answered
    /// as [`Self::Attempt`] is.
    Adopt {
        /// Of which instance.
        instance: u32,
        /// Its number.
        attempt: u32,
    },
    /// End the held attempt, if it has not ended: it is not wanted. Not answered.
    GiveUp {
        /// Of which instance.
        instance: u32,
    },
    /// End the running command; answered by [`super::Input::Finished`] as ever.
    Terminate {
        /// Of which instance.
        instance: u32,
        /// Whether to kill it rather than to ask.
        now: bool,
    },
    /// Store an event.
    Record {
        /// Of which instance.
        instance: u32,
        /// The event.
        event: InstanceEvent,
    },
    /// Give [`super::Input::Tick`] at this time; replaces any such request before.
    WakeAt(Timestamp),
    /// The run is over: always the last action.
    End {
        /// How it ended.
        status: RunStatus,
        /// The selected instances by outcome.
        counts: Counts,
    },
}
