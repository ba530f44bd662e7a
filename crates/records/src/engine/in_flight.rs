//! Finds out what became of a batch that was being delivered when the last run was cut off, and ends it.

use super::deliver::{Deliverer, Going};
use super::deltas::{self, Head, Written};
use super::error::EngineError;
use super::item::{Fate, Finished, Item};
use super::marks::Spot;
use crate::ledger::Changes;
use crate::sink::BatchId;
use crate::state::{Rows, State};

impl Deliverer<'_> {
    /// Settles what was cut off: afterwards each delta counts.
    pub(super) fn settle_in_flight(&mut self) -> Result<(), EngineError> {
        for (number, head) in deltas::heads(self.ledger)? {
            if head.sequence <= self.scope.confirmed {
                continue;
            }
            tracing::info!(batch = head.sequence, "a delivery was cut off");
            let Head { sequence, digest, records, revived } = head;
            if let Some(records) = records {
                let going = self.again(number, records)?;
                self.decided += going.len() as u64;
                self.carry_on(sequence, number, going, None, true)?;
                continue;
            }
            let (scope, fence) = (self.scope.token.clone(), self.hands.fence);
            let id = BatchId { scope, sequence, digest, fence };
            // How it was begun, not what the stage says by now: several without their records are in two phases.
            let decided = self.scope.decided >= sequence;
            for sink in &mut self.sinks {
                if sink.prepared(&id.scope)?.contains(&sequence) {
                    sink.settle(&id, decided)?;
                }
            }
            let is_there = match self.sinks.as_mut_slice() {
                [sink] => sink.applied(&id)?.unwrap_or(false),
                _ => decided,
            };
            let mut changes = Changes { durable: true, ..Changes::default() };
            if is_there {
                self.scope.confirmed = sequence;
                changes.revived = revived;
            } else {
                changes.merged = deltas::numbers_of(number).collect();
            }
            changes.scope = Some(self.scope.clone());
            self.ledger.apply(changes)?;
        }
        Ok(())
    }

    /// Puts a batch together again as it was written down.
    fn again(&self, number: u64, records: Vec<Written>) -> Result<Vec<Going>, EngineError> {
        let mut going = Vec::with_capacity(records.len());
        let rows = deltas::rows_of(self.ledger, number)?;
        for written in records {
            let Written { key, line, tombstone, record, results, letter } = written;
            let state = state_of(&rows, &key)?;
            let results: Vec<bytes::Bytes> = results.into_iter().map(Into::into).collect();
            let record = record.map_or_else(|| results.first().cloned().unwrap_or_default(), Into::into);
            let item = Item {
                key,
                digest: state.digest,
                version: state.version.to_vec(),
                // It is of no run's source; no file is made of it before it is met there.
                spot: Spot(u64::MAX),
                place: state.place,
                line,
                tombstone,
                generation: state.tries,
                record,
                prior: None,
                letter,
                known_as: None,
            };
            let (made, kept) = (state.made, state.kept);
            let finished = Finished { item, fate: Fate::Dropped, attempts: Vec::new() };
            going.push(Going { finished, results, made, kept });
        }
        Ok(going)
    }
}

/// Finds a row among those of one delta.
fn state_of<'a>(rows: &'a [Vec<u8>], key: &[u8; 16]) -> Result<State<'a>, EngineError> {
    let part = rows.iter().find(|rows| rows.first().is_some_and(|first| first >> 2 == key[0] >> 2));
    let mut reader = Rows::new(part.map_or(&[], Vec::as_slice));
    while let Some((state, _)) = reader.next_row()? {
        if state.key == *key {
            return Ok(state);
        }
    }
    Err(crate::state::RowError.into())
}
