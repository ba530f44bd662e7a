//! Runs' events.

use cairn_model::{Event, RunId};

use crate::keys::{self, Family};
use crate::record::Damage;
use crate::{ReadError, Store};

impl Store {
    /// Returns the events of a run with their numbers, which count from 1 without a gap.
    pub fn events(&self, run: RunId) -> Result<Vec<(u64, Event)>, ReadError> {
        self.events_after(run, 0)
    }

    /// Returns the events of a run whose numbers are above `after`.
    pub fn events_after(&self, run: RunId, after: u64) -> Result<Vec<(u64, Event)>, ReadError> {
        let database = &self.inner.database;
        let first = keys::event(run, after.saturating_add(1));
        let rows = database.scan_from(Family::Events, &keys::run(run), &first);
        let events = rows.zip(after.saturating_add(1)..).map(|(row, expected)| {
            let (key, event) = row?;
            match keys::read_event(&key) {
                Some((_, number)) if number == expected => Ok((number, event)),
                Some(_) => {
                    let what = "the event before it is missing";
                    Err(database.damaged(Family::Events, &key, &Damage::Body { what }))
                }
                None => Err(database.damaged(Family::Events, &key, &Damage::Key)),
            }
        });
        events.collect()
    }
}
