//! Occurrences of schedules, and how each schedule stands.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cairn_model::{Digest, Interval, Name, Timestamp};

use crate::keys::{self, Family};
use crate::record::{Blob, Damage};
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
        rows.map(|row| self.read_occurrence(row?)).collect()
    }

    /// Returns at most `limit` of those whose times lie in `[stretch.start, stretch.end)`, the latest first.
    pub fn occurrences_within(
        &self,
        pipeline: &Name,
        stretch: Interval,
        limit: usize,
    ) -> Result<Vec<(Timestamp, OccurrenceId, Occurrence)>, ReadError> {
        // No id is below this one.
        let end = keys::occurrence(pipeline, stretch.end, [0; 16]);
        let rows = self.inner.database.scan_back_below(Family::Occurrences, &keys::pipeline(pipeline), &end);
        let read = rows.map(|row| self.read_occurrence(row?));
        let is_inside = |row: &Result<(Timestamp, OccurrenceId, Occurrence), ReadError>| {
            row.as_ref().map_or(true, |(nominal, ..)| *nominal >= stretch.start)
        };
        read.take_while(is_inside).take(limit).collect()
    }

    fn read_occurrence(
        &self,
        (key, occurrence): (Box<[u8]>, Occurrence),
    ) -> Result<(Timestamp, OccurrenceId, Occurrence), ReadError> {
        let damaged = || self.inner.database.damaged(Family::Occurrences, &key, &Damage::Key);
        let (_, nominal, id) = keys::read_occurrence(&key).ok_or_else(damaged)?;
        Ok((nominal, id, occurrence))
    }

    /// Returns which text of each pipeline file was in force last, by the file's path relative to the project;
    /// [`definition`](Self::definition) gives the text.
    pub fn in_force(&self) -> Result<BTreeMap<PathBuf, Digest>, ReadError> {
        let database = &self.inner.database;
        let rows = database.scan::<Blob>(Family::Schedules, keys::IN_FORCE).map(|row| {
            let (key, Blob(digest)) = row?;
            let read = || Some((keys::read_in_force(&key)?, Digest::from_bytes(digest.try_into().ok()?)));
            read().ok_or_else(|| database.damaged(Family::Schedules, &key, &Damage::Key))
        });
        rows.collect()
    }

    /// Returns how a pipeline's schedule stands.
    pub fn schedule(&self, pipeline: &Name) -> Result<ScheduleState, ReadError> {
        let state = self.inner.database.get(Family::Schedules, &keys::pipeline(pipeline))?;
        Ok(state.unwrap_or_default())
    }
}
