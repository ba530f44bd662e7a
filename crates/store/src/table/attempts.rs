//! Attempts that have not ended.

use cairn_model::AttemptId;

use crate::keys::{self, Family};
use crate::record::Damage;
use crate::{Attempt, ReadError, Store};

impl Store {
    /// Returns an attempt, `None` once it has ended.
    pub fn attempt(&self, id: &AttemptId) -> Result<Option<Attempt>, ReadError> {
        self.inner.database.get(Family::Attempts, &keys::attempt(id))
    }

    /// Returns the attempts that have not ended: those that run, and those that were cut off.
    pub fn attempts_open(&self) -> Result<Vec<(AttemptId, Attempt)>, ReadError> {
        let database = &self.inner.database;
        let attempts = database.scan(Family::Attempts, &[]).map(|row| {
            let (key, attempt) = row?;
            let id = keys::read_attempt(&key)
                .ok_or_else(|| database.damaged(Family::Attempts, &key, &Damage::Key))?;
            Ok((id, attempt))
        });
        attempts.collect()
    }
}
