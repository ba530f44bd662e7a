//! What people decide about dead letters and effects, while the daemon holds the store.

use cairn_model::EffectState;
use cairn_scheduler::letters::{self, Retried};
use cairn_scheduler::outside::{self, FindEffectError};
use cairn_store::{Batch, DeadLetter, Effect, FindDeadError, ReadError};

use crate::daemon::{Daemon, StoreError, lock};

/// Why a dead letter is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    /// An id names none.
    #[error(transparent)]
    Find(#[from] FindDeadError),
    /// It is an instance, or was rejected by a script: nothing of it can be edited here.
    #[error("{id} is no record that is taken in again, so that it cannot be edited")]
    NotEdited {
        /// Its id, short.
        id: String,
    },
    /// The store does not do what it is for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an effect is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The key names none.
    #[error(transparent)]
    Find(#[from] FindEffectError),
    /// A run of its pipeline goes on, and may be doing it.
    #[error("a run of `{pipeline}` goes on")]
    Busy {
        /// The pipeline.
        pipeline: String,
    },
    /// It is known how it stands, or it was not asked of a person.
    #[error("the effect `{key}` is {state}")]
    Known {
        /// The effect's key.
        key: String,
        /// How it stands.
        state: EffectState,
    },
    /// The store does not do what it is for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which effects are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settles {
    /// Those that wait for a person: whoever pressed a button on a page of before meant no other.
    Waiting,
    /// All of them: one that was settled wrongly is settled anew.
    Any,
}

impl Settles {
    /// Returns whether an effect in this state is settled.
    pub fn takes(self, state: EffectState) -> bool {
        match self {
            // Of one whose undo was cut off, or failed, nobody knows either; while it goes on nothing of it is settled.
            Self::Waiting => {
                matches!(state, EffectState::InDoubt | EffectState::Held | EffectState::Undoing)
            }
            Self::Any => true,
        }
    }
}

impl From<ReadError> for LetterError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

impl Daemon {
    /// Has dead letters tried again, all or none. `edited` is the record as it is to be taken in, of one letter.
    pub fn retry_letters(
        &self,
        ids: &[String],
        edited: Option<&[u8]>,
    ) -> Result<Vec<(DeadLetter, Retried)>, LetterError> {
        let _deciding = lock(&self.deciding);
        let now = self.clock.now();
        let mut batch = Batch::new();
        let mut all = Vec::new();
        for letter in letters::named(&self.store, ids)? {
            let retried = letters::retry(&self.store, &mut batch, &letter, edited.map(<[u8]>::to_vec), now)?;
            if edited.is_some() && !matches!(retried, Retried::TakenIn { .. }) {
                return Err(LetterError::NotEdited { id: letter.id().short() });
            }
            all.push((letter, retried));
        }
        if !batch.is_empty() {
            self.commit(batch)?;
        }
        Ok(all)
    }

    /// Forgets dead letters, all or none.
    pub fn drop_letters(&self, ids: &[String]) -> Result<Vec<DeadLetter>, LetterError> {
        let _deciding = lock(&self.deciding);
        let letters = letters::named(&self.store, ids)?;
        let mut batch = Batch::new();
        for letter in &letters {
            batch.remove_dead(letter);
        }
        if !batch.is_empty() {
            self.commit(batch)?;
        }
        Ok(letters)
    }

    /// Writes down what a person found out about an effect.
    pub fn settle_effect(
        &self,
        key: &str,
        pipeline: Option<&str>,
        happened: bool,
        settles: Settles,
    ) -> Result<(cairn_model::Name, Effect), SettleError> {
        let _deciding = lock(&self.deciding);
        let (pipeline, _) = outside::find(&self.store, key, pipeline)?;
        // While it is held, no run begins that would do it; and who asks for it waits, so it is found before, and only read.
        let queue = self.queue();
        if queue.is_busy(&pipeline) {
            return Err(SettleError::Busy { pipeline: pipeline.to_string() });
        }
        let (pipeline, known) = outside::find(&self.store, key, Some(pipeline.as_str()))?;
        if !settles.takes(known.state) {
            return Err(SettleError::Known { key: key.to_owned(), state: known.state });
        }
        let mut batch = Batch::new();
        let settled = outside::settle(&mut batch, (&pipeline, key), known, happened, self.clock.now());
        self.commit(batch)?;
        Ok((pipeline, settled))
    }
}
