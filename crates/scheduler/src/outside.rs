//! Effects in outside systems, found by their keys and settled by a person: what the command line and the daemon have in
//! common.

use cairn_model::{EffectState, Name, Timestamp};
use cairn_store::{Batch, Effect, ReadError, Store};

/// Why a key names no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindEffectError {
    /// No pipeline has one with this key.
    #[error("there is no effect `{key}`")]
    Unknown {
        /// What was asked for.
        key: String,
    },
    /// Several pipelines have one.
    #[error("the pipelines {} have an effect `{key}`", quoted(pipelines))]
    Ambiguous {
        /// What was asked for.
        key: String,
        /// Which pipelines.
        pipelines: Vec<Name>,
    },
    /// They cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

fn quoted(names: &[Name]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl FindEffectError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("`cairn effects list` shows those there are".to_owned()),
            Self::Ambiguous { .. } => Some("say which: `--pipeline NAME`".to_owned()),
            Self::Read(error) => error.help(),
        }
    }
}

/// Finds an effect by its key, which one pipeline alone may have unless it is named.
pub fn find(store: &Store, key: &str, pipeline: Option<&str>) -> Result<(Name, Effect), FindEffectError> {
    let unknown = || FindEffectError::Unknown { key: key.to_owned() };
    if let Some(pipeline) = pipeline {
        // What is no name has no effects.
        let pipeline: Name = pipeline.parse().map_err(|_| unknown())?;
        let effect = store.effect(&pipeline, key)?.ok_or_else(unknown)?;
        return Ok((pipeline, effect));
    }
    let mut found = store.effects()?;
    found.retain(|(_, name, _)| name == key);
    match found.len() {
        0 => Err(unknown()),
        1 => {
            let (pipeline, _, effect) = found.remove(0);
            Ok((pipeline, effect))
        }
        _ => {
            let pipelines = found.into_iter().map(|(of, ..)| of).collect();
            Err(FindEffectError::Ambiguous { key: key.to_owned(), pipelines })
        }
    }
}

/// Enters in a batch what a person found out about an effect: whether it stands. Returns the effect as it is then.
pub fn settle(
    batch: &mut Batch,
    (pipeline, key): (&Name, &str),
    known: Effect,
    happened: bool,
    now: Timestamp,
) -> Effect {
    let state = match (happened, known.state) {
        (true, _) => EffectState::Confirmed,
        (false, EffectState::Confirmed | EffectState::Undoing | EffectState::Undone) => EffectState::Undone,
        (false, EffectState::Intent | EffectState::InDoubt | EffectState::Held | EffectState::Rejected) => {
            EffectState::Rejected
        }
    };
    let settled = Effect { state, settled: Some(now), error: None, drifted: None, ..known };
    batch.put_effect(pipeline, key, &settled);
    settled
}
