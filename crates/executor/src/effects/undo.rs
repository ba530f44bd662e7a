//! Undoing an effect: an effect of its own, with an intent, a key and doubts.

use cairn_model::{AttemptId, EffectMode, EffectState};
use cairn_store::{Batch, CommitError, Durability, Effect, ReadError};

use super::aside::{Answer, Aside, Fault, TIME_MAX_MS};
use super::how_to_settle;
use crate::engine::Engine;
use crate::gather::GatherError;

/// Why an effect was not undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// There is no effect with this key.
    #[error("there is no effect `{key}`")]
    Unknown {
        /// The key.
        key: String,
    },
    /// It did not take place, or is undone, or nobody knows.
    #[error("the effect `{key}` is {state}")]
    State {
        /// The key.
        key: String,
        /// How far it is known to have happened.
        state: EffectState,
    },
    /// Nothing was said of how to undo it.
    #[error("it has no `undo`")]
    NoUndo,
    /// The stage that did it is no longer there.
    #[error("the pipeline has no instance `{instance}` any more, which did it")]
    NoInstance {
        /// The instance.
        instance: String,
    },
    /// The inputs of its stage are not there: `undo` would not find its files.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The command could not be begun: the effect stands as before.
    #[error("`undo` was not begun: {what}")]
    NotBegun {
        /// Why.
        what: String,
    },
    /// The command failed, and nobody knows what it did.
    #[error("`undo` {what}")]
    Failed {
        /// The key.
        key: String,
        /// What went wrong.
        what: String,
    },
}

impl UndoError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("`cairn effects list` shows those there are".to_owned()),
            Self::State { key, state } if state.is_open() => Some(how_to_settle(key)),
            Self::State { .. } => None,
            Self::NotBegun { .. } => {
                Some("the effect stands as before: mend that, and undo it again".to_owned())
            }
            Self::NoUndo => Some("undo it by hand, then settle it with `--did-not-happen`".to_owned()),
            Self::NoInstance { .. } => {
                Some("undo it by hand, then settle it with `--did-not-happen`".to_owned())
            }
            Self::Gather(error) => error.help(),
            Self::Read(error) => error.help(),
            Self::Commit(error) => error.help(),
            Self::Failed { key, .. } => Some(how_to_settle(key)),
        }
    }
}

/// Returns the key of an undo: it is not the effect's, for the system outside would take the one for the other.
fn key_of_undo(key: &str) -> String {
    format!("undo:{key}")
}

impl Engine {
    /// Undoes an effect by the command it was begun with. Its intent is durable before that starts. One whose undo was cut
    /// off is undone again only in the mode `at-least-once`. To be called from a thread that may wait; `log` is the
    /// attempt in whose log goes what is printed.
    pub fn undo(&self, key: &str, log: Option<&AttemptId>) -> Result<(), UndoError> {
        let store = &self.kept().store;
        let pipeline = &self.pipeline.name;
        let Some(known) = store.effect(pipeline, key)? else {
            return Err(UndoError::Unknown { key: key.to_owned() });
        };
        let again = known.state == EffectState::Undoing && known.mode == EffectMode::AtLeastOnce;
        if known.state != EffectState::Confirmed && !again {
            return Err(UndoError::State { key: key.to_owned(), state: known.state });
        }
        let command = known.undo.as_ref().ok_or(UndoError::NoUndo)?;
        let found = self.pipeline.instances.iter().position(|instance| instance.name == known.instance);
        let instance = found
            .and_then(|at| u32::try_from(at).ok())
            .ok_or_else(|| UndoError::NoInstance { instance: known.instance.to_string() })?;
        let gathered = self.gather(instance)?;
        let put = |record: &Effect| {
            let mut batch = Batch::new();
            batch.put_effect(pipeline, key, record);
            store.commit(batch, Durability::Synced).map(drop)
        };
        let write = |state, error: Option<String>| {
            put(&Effect { state, settled: Some(self.clock.now()), error, ..known.clone() })
        };
        write(EffectState::Undoing, None)?;
        let undo_key = key_of_undo(key);
        let timeout_ms = Some(self.instance(instance).policy.timeout_ms.unwrap_or(TIME_MAX_MS));
        let aside = Aside {
            instance,
            gathered: &gathered,
            command,
            key: &undo_key,
            what: "undo",
            attempt: log,
            timeout_ms,
        };
        let fault = match self.aside(&aside) {
            Ok(Answer { fault, .. }) => fault,
            Err(fault) => Some(fault),
        };
        match fault {
            None => Ok(write(EffectState::Undone, None)?),
            Some(Fault { what, began: false, .. }) => {
                put(&known)?;
                Err(UndoError::NotBegun { what })
            }
            Some(Fault { what, .. }) => {
                write(EffectState::Undoing, Some(format!("`undo` {what}")))?;
                Err(UndoError::Failed { key: key.to_owned(), what })
            }
        }
    }
}
