//! The effect of an instance on a system outside, as its definition says.

use cairn_model::{Command, EffectMode};
use serde::{Deserialize, Serialize};

/// What an instance does to a system outside, and what is known about finding out and undoing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// What is done after an attempt that was cut off.
    pub mode: EffectMode,
    /// What identifies the effect, `None` for the input-hash.
    pub key: Option<String>,
    /// Asked whether the effect took place: exit status 0 it did, 1 it did not, else unknown. There in the mode
    /// `exactly-once`, and only there.
    pub confirm: Option<Command>,
    /// Prints the effect's state.
    pub probe: Option<Command>,
    /// Undoes the effect.
    pub undo: Option<Command>,
    /// What is done when `confirm` cannot tell.
    pub on_uncertain: OnUncertain,
}

/// What is done about an effect when `confirm` cannot tell whether it took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnUncertain {
    /// It is left to a person.
    Hold,
    /// It is done again under the same key.
    Retry,
}
