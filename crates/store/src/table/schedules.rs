//! Occurrences of schedules, and how each schedule stands.

use cairn_model::{Name, Timestamp};

use crate::keys::{self, Family};
use crate::record::Damage;
use crate::{Occurrence, OccurrenceId, ReadError, ScheduleState, Store};

impl Store {
    /// Returns what was decided about an occurrence.
    pub fn occurrence(
        &self,
        pipeline: &Name,
        nominal: Timestamp,
        id: OccurrenceId,
    ) -> Result<Option<Occurrence>, ReadError> {
        self.inner.database.get(Family::Occurrences, &keys::occurrence(pipeline, nominal, id))
    }

    /// Returns at most `limit` of a pipeline's occurrences with their times, the latest first.
    pub fn occurrences(
        &self,
        pipeline: &Name,
        limit: usize,
    ) -> Result<Vec<(Timestamp, OccurrenceId, Occurrence)>, ReadError> {
        let database = &self.inner.database;
        let rows = database.scan_back(Family::Occurrences, &keys::pipeline(pipeline)).take(limit);
        let occurrences = rows.map(|row| {
            let (key, occurrence) = row?;
            let (_, nominal, id) = keys::read_occurrence(&key)
                .ok_or_else(|| database.damaged(Family::Occurrences, &key, &Damage::Key))?;
            Ok((nominal, id, occurrence))
        });
        occurrences.collect()
    }

    /// Returns how a pipeline's schedule stands.
    pub fn schedule(&self, pipeline: &Name) -> Result<ScheduleState, ReadError> {
        let state = self.inner.database.get(Family::Schedules, &keys::pipeline(pipeline))?;
        Ok(state.unwrap_or_default())
    }
}
