//! What a delivery leads to, written before it is made: a head, and rows in chunks by key.
//!
//! Number `n · 256` holds the head of delta `n`, number `n · 256 + 1 + part` the rows of a part of the keys: so many deltas
//! are later merged part by part, in little memory.

use cairn_model::Digest;
use serde::{Deserialize, Serialize};

use super::entries::PARTS;
use super::walk::WalkError;
use crate::ledger::{Changes, Ledger, LedgerError, Letter, Scope};
use crate::state::{RowError, Rows, Short, merge, prefix_of, sort};

/// What a delta belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The batch whose delivery makes it count; 0: it counts from the start.
    pub sequence: u64,
    /// Digest of that batch.
    pub digest: Digest,
    /// The records of the batch, where a sink cannot tell whether it has them.
    pub records: Option<Vec<Written>>,
    /// Dead letters that go when the batch is delivered.
    pub revived: Vec<Letter>,
}

/// A record of a batch as it is written down, so that the very same batch can be delivered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    /// Digest of its key, by which its row is found.
    pub key: Short,
    /// The line it was read from.
    pub line: u64,
    /// Whether it is deleted.
    pub tombstone: bool,
    /// Its bytes, where they are not the one result.
    pub record: Option<Vec<u8>>,
    /// What the sinks get.
    pub results: Vec<Vec<u8>>,
    /// The dead letter that goes with its delivery.
    pub letter: Option<Letter>,
}

/// Returns the deltas' entries for `rows`, which need not be sorted.
pub(super) fn entries(number: u64, head: &Head, rows: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, RowError> {
    let encoded = postcard::to_stdvec(head).expect("writing to memory cannot fail");
    let mut entries = vec![(number << 8, encoded)];
    entries.extend(chunks(number, rows)?);
    Ok(entries)
}

/// Returns the entries for rows of a delta whose head is there, or needs none.
pub(super) fn chunks(number: u64, rows: &[u8]) -> Result<Vec<(u64, Vec<u8>)>, RowError> {
    let sorted = sort(rows)?;
    let mut parts: Vec<Vec<u8>> = vec![Vec::new(); PARTS];
    let mut reader = Rows::new(&sorted);
    while let Some((state, bytes)) = reader.next_row()? {
        parts[usize::from(state.key[0] >> 2)].extend_from_slice(bytes);
    }
    let filled = parts.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty());
    Ok(filled.map(|(part, rows)| (number << 8 | (1 + part as u64), rows)).collect())
}

/// Returns all entries of delta `number`, to be removed.
pub(super) fn numbers_of(number: u64) -> impl Iterator<Item = u64> {
    (0..=PARTS as u64).map(move |part| number << 8 | part)
}

/// Returns the rows of delta `number`, part by part.
pub(super) fn rows_of(ledger: &dyn Ledger, number: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
    numbers_of(number).skip(1).map(|entry| ledger.delta(entry)).collect()
}

/// Returns the heads of all deltas, the oldest first.
pub(super) fn heads(ledger: &dyn Ledger) -> Result<Vec<(u64, Head)>, LedgerError> {
    let numbers = ledger.deltas()?.into_iter().filter(|number| number.trailing_zeros() >= 8);
    numbers
        .map(|number| {
            let damaged = |_| LedgerError {
                error: format!("delta {} of the record states cannot be read", number >> 8),
                help: None,
            };
            Ok((number >> 8, postcard::from_bytes(&ledger.delta(number)?).map_err(damaged)?))
        })
        .collect()
}

/// Merges all deltas into pages. None may be of a batch whose delivery is in doubt.
pub(super) fn merge_all(ledger: &dyn Ledger, scope: &Scope) -> Result<(), WalkError> {
    let numbers = ledger.deltas()?;
    if numbers.is_empty() {
        return Ok(());
    }
    for part in 0..PARTS as u64 {
        let mut rows = Vec::new();
        for number in numbers.iter().filter(|number| *number & 0xff == part + 1) {
            rows.extend(ledger.delta(*number)?);
        }
        let sorted = sort(&rows)?;
        drop(rows);
        merge_part(ledger, &sorted)?;
    }
    // Merged twice they would be the same: only now do they go.
    ledger.apply(Changes { merged: numbers, scope: Some(scope.clone()), ..Changes::default() })?;
    Ok(())
}

fn merge_part(ledger: &dyn Ledger, sorted: &[u8]) -> Result<(), WalkError> {
    let mut changes = Changes::default();
    let (mut reader, mut bytes_in) = (Rows::new(sorted), 0);
    let mut current: Option<(u16, Vec<u8>)> = None;
    loop {
        let row = reader.next_row()?;
        let prefix = row.map(|(state, _)| prefix_of(&state.key));
        if let Some((number, over)) = current.take_if(|(number, _)| Some(*number) != prefix) {
            let merged = merge(&ledger.page(number)?, &over)?;
            bytes_in += merged.len();
            changes.pages.push((number, merged));
            if bytes_in > 4 << 20 {
                bytes_in = 0;
                ledger.apply(std::mem::take(&mut changes))?;
            }
        }
        let Some((state, bytes)) = row else { break };
        let (_, over) = current.get_or_insert_with(|| (prefix_of(&state.key), Vec::new()));
        over.extend_from_slice(bytes);
    }
    if !changes.pages.is_empty() {
        ledger.apply(changes)?;
    }
    Ok(())
}
