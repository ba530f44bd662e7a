//! An effect: what a stage does to a system outside, and how far it is known to have happened.

use serde::{Deserialize, Serialize};

/// What is done about an effect whose attempt was cut off, so that nobody knows whether it took place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EffectMode {
    /// It is done again, under the same key: the system outside takes the second for the first, or does not mind.
    AtLeastOnce,
    /// It is left to a person.
    AtMostOnce,
    /// A command is asked whether it took place.
    ExactlyOnce,
}

impl EffectMode {
    /// All modes.
    pub const ALL: [Self; 3] = [Self::AtLeastOnce, Self::AtMostOnce, Self::ExactlyOnce];

    /// Returns the word of the language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::AtMostOnce => "at-most-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

impl std::fmt::Display for EffectMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How far an effect is known to have happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EffectState {
    /// It is about to be done, or is being done, or was cut off while it was.
    Intent,
    /// It took place.
    Confirmed,
    /// It did not take place.
    Rejected,
    /// Nobody can say whether it took place: a person is to settle it.
    InDoubt,
    /// `confirm` could not say whether it took place: it is asked again, or a person settles it.
    Held,
    /// It is about to be undone, or is being undone, or that was cut off.
    Undoing,
    /// It took place and was undone.
    Undone,
}

impl EffectState {
    /// All states.
    pub const ALL: [Self; 7] = [
        Self::Intent,
        Self::Confirmed,
        Self::Rejected,
        Self::InDoubt,
        Self::Held,
        Self::Undoing,
        Self::Undone,
    ];

    /// Returns the word people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "INTENT",
            Self::Confirmed => "CONFIRMED",
            Self::Rejected => "REJECTED",
            Self::InDoubt => "IN DOUBT",
            Self::Held => "HELD",
            Self::Undoing => "UNDOING",
            Self::Undone => "UNDONE",
        }
    }

    /// Returns whether it is not known whether the effect stands.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Intent | Self::InDoubt | Self::Held | Self::Undoing)
    }
}

impl std::fmt::Display for EffectState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
