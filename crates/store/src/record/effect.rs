//! An effect in a system outside, and how far it is known to have happened.

use cairn_model::{Command, EffectMode, EffectState, InputHash, InstanceName, RunId, Timestamp};

use super::{Damage, Record, from_postcard, names, to_postcard};

/// What is known of an effect. It is found under its pipeline and its key, which hold no run, attempt or time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// How far it is known to have happened.
    pub state: EffectState,
    /// How it was done the last time.
    pub mode: EffectMode,
    /// The instance that did it last.
    pub instance: InstanceName,
    /// How often it was begun.
    pub attempts: u32,
    /// The input-hash of the last attempt; that of its checkpoint, where that attempt made one.
    pub input_hash: InputHash,
    /// The run of the last attempt.
    pub run: RunId,
    /// When the last attempt was about to begin.
    pub intended: Timestamp,
    /// When the state was last known to be what it is.
    pub settled: Option<Timestamp>,
    /// What its `probe` printed when it was confirmed.
    pub probe: Option<String>,
    /// Why nobody knows more, or what went wrong.
    pub error: Option<String>,
    /// The command that undoes it, as it was when it was begun.
    pub undo: Option<Command>,
    /// How its probe answered otherwise than after it was done, where it was asked beside a run; cleared by the run that finds it as
    /// it was, or does it again.
    pub drifted: Option<String>,
    /// When the daemon looked last whether its probe still answers so; `None`: not since it was begun.
    pub asked: Option<Timestamp>,
}

impl Effect {
    /// Returns the word for how it stands.
    pub const fn word(&self) -> &'static str {
        if self.is_drifted() { "DRIFTED" } else { self.state.as_str() }
    }

    /// Returns whether it took place, and the system outside is no longer as it left it.
    pub const fn is_drifted(&self) -> bool {
        matches!(self.state, EffectState::Confirmed) && self.drifted.is_some()
    }

    /// Returns when its probe was last asked, or looked after; where it never was, when it came to stand as it does.
    pub fn looked_at(&self) -> Timestamp {
        let stands = self.settled.unwrap_or(self.intended);
        self.asked.map_or(stands, |asked| asked.max(stands))
    }
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{Digest, InstanceName, RunId, Timestamp};

    #[derive(Serialize, Deserialize)]
    pub(super) struct Effect<'a> {
        pub(super) state: State,
        pub(super) mode: Mode,
        #[serde(borrow)]
        pub(super) instance: InstanceName<'a>,
        pub(super) attempts: u32,
        pub(super) input_hash: Digest,
        pub(super) run: RunId,
        pub(super) intended: Timestamp,
        pub(super) settled: Option<Timestamp>,
        #[serde(borrow)]
        pub(super) probe: Option<Cow<'a, str>>,
        #[serde(borrow)]
        pub(super) error: Option<Cow<'a, str>>,
        pub(super) undo: Option<Command>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum State {
        Intent,
        Confirmed,
        Rejected,
        InDoubt,
        Held,
        Undoing,
        Undone,
    }

    #[derive(Serialize, Deserialize)]
    #[expect(clippy::enum_variant_names, reason = "they are the words of the language")]
    pub(super) enum Mode {
        AtLeastOnce,
        AtMostOnce,
        ExactlyOnce,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Command {
        Shell { shell: Vec<String>, script: String },
        Argv(Vec<String>),
    }
}

mod v2 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use super::v1;
    use crate::record::names::v1::Timestamp;

    /// What was added stands after what there was.
    #[derive(Serialize, Deserialize)]
    pub(super) struct Effect<'a> {
        #[serde(borrow)]
        pub(super) first: v1::Effect<'a>,
        #[serde(borrow)]
        pub(super) drifted: Option<Cow<'a, str>>,
        pub(super) asked: Option<Timestamp>,
    }
}

impl Record for Effect {
    const VERSION: u8 = 2;

    fn body(&self) -> Vec<u8> {
        let Self {
            state,
            mode,
            instance,
            attempts,
            input_hash,
            run,
            intended,
            settled,
            probe,
            error,
            undo,
            drifted,
            asked,
        } = self;
        let first = v1::Effect {
            state: match state {
                EffectState::Intent => v1::State::Intent,
                EffectState::Confirmed => v1::State::Confirmed,
                EffectState::Rejected => v1::State::Rejected,
                EffectState::InDoubt => v1::State::InDoubt,
                EffectState::Held => v1::State::Held,
                EffectState::Undoing => v1::State::Undoing,
                EffectState::Undone => v1::State::Undone,
            },
            mode: match mode {
                EffectMode::AtLeastOnce => v1::Mode::AtLeastOnce,
                EffectMode::AtMostOnce => v1::Mode::AtMostOnce,
                EffectMode::ExactlyOnce => v1::Mode::ExactlyOnce,
            },
            instance: instance.into(),
            attempts: *attempts,
            input_hash: names::stored_input_hash(input_hash),
            run: *run.as_bytes(),
            intended: intended.0,
            settled: settled.map(|settled| settled.0),
            probe: probe.as_deref().map(Into::into),
            error: error.as_deref().map(Into::into),
            undo: undo.as_ref().map(|undo| match undo {
                Command::Shell { shell, script } => {
                    v1::Command::Shell { shell: shell.clone(), script: script.clone() }
                }
                Command::Argv(argv) => v1::Command::Argv(argv.clone()),
            }),
        };
        let drifted = drifted.as_deref().map(Into::into);
        to_postcard(&v2::Effect { first, drifted, asked: asked.map(|asked| asked.0) })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => from_postcard::<v1::Effect<'_>>(body)?.try_into(),
            2 => {
                let v2::Effect { first, drifted, asked } = from_postcard(body)?;
                let (drifted, asked) = (drifted.map(Into::into), asked.map(Timestamp));
                Ok(Self { drifted, asked, ..first.try_into()? })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl TryFrom<v1::Effect<'_>> for Effect {
    type Error = Damage;

    fn try_from(stored: v1::Effect<'_>) -> Result<Self, Damage> {
        Ok(Self {
            state: match stored.state {
                v1::State::Intent => EffectState::Intent,
                v1::State::Confirmed => EffectState::Confirmed,
                v1::State::Rejected => EffectState::Rejected,
                v1::State::InDoubt => EffectState::InDoubt,
                v1::State::Held => EffectState::Held,
                v1::State::Undoing => EffectState::Undoing,
                v1::State::Undone => EffectState::Undone,
            },
            mode: match stored.mode {
                v1::Mode::AtLeastOnce => EffectMode::AtLeastOnce,
                v1::Mode::AtMostOnce => EffectMode::AtMostOnce,
                v1::Mode::ExactlyOnce => EffectMode::ExactlyOnce,
            },
            instance: stored.instance.try_into()?,
            attempts: stored.attempts,
            input_hash: names::input_hash(stored.input_hash),
            run: RunId::from_bytes(stored.run),
            intended: Timestamp(stored.intended),
            settled: stored.settled.map(Timestamp),
            probe: stored.probe.map(Into::into),
            error: stored.error.map(Into::into),
            undo: stored.undo.map(|undo| match undo {
                v1::Command::Shell { shell, script } => Command::Shell { shell, script },
                v1::Command::Argv(argv) => Command::Argv(argv),
            }),
            drifted: None,
            asked: None,
        })
    }
}
