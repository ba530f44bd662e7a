//! What is remembered of each key: rows, sorted by key, in pages of one key prefix each.
//!
//! ```text
//! key, 16 · kind, 1 · tries, 1 · digest, 16 · file, 4 · ordinal, 6 · length, 1 · version
//!   [result, 16 · code, 8] [offset, 8 · length, 4] [retry at, 8] [before, 1]
//! ```
//!
//! Integers are little-endian. The low two bits of `kind` are the status; 4, 8, 16 and 32 say which of the parts in brackets
//! are there. These bytes are kept in the store: a new form needs a new kind.

use std::cmp::Ordering;

/// Digest of a record's key, or of a record.
pub type Short = [u8; 16];

/// What became of the newest record of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The sinks have it.
    Delivered,
    /// The worker said that it leads to nothing.
    Dropped,
    /// It failed for good.
    Dead,
    /// It failed and is to be tried again.
    Retrying,
}

/// Where a record was read: the number of its file in the scope, and how many records come before it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Number of the file.
    pub file: u32,
    /// Records before it, below 2⁴⁸.
    pub ordinal: u64,
}

/// What a worker made of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Digest of the result.
    pub result: Short,
    /// Which worker code made it.
    pub code: u64,
}

/// Where a result is kept in the file of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
}

/// What is remembered of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State<'a> {
    /// Digest of the key.
    pub key: Short,
    /// What became of it.
    pub status: Status,
    /// Tries of a record that failed; how often the key was delivered before, modulo 256, of one that did not.
    pub tries: u8,
    /// Digest of the record.
    pub digest: Short,
    /// Where it was read.
    pub place: Place,
    /// Its version in order bytes; empty without a version field.
    pub version: &'a [u8],
    /// What a worker made of it.
    pub made: Option<Made>,
    /// Where the result is kept, for sinks that are files.
    pub kept: Option<Kept>,
    /// When it is tried again, in milliseconds since 1970.
    pub retry_at: Option<i64>,
    /// Of one that is not delivered, when an earlier record of its key was: how often the key was delivered before that,
    /// modulo 256.
    pub before: Option<u8>,
}

const MADE: u8 = 4;
const KEPT: u8 = 8;
const RETRY: u8 = 16;
const BEFORE: u8 = 32;
const FIXED: usize = 16 + 1 + 1 + 16 + 4 + 6 + 1;

/// Rows that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row of record states cannot be read")]
pub struct RowError;

impl State<'_> {
    /// Returns how often the key was delivered before its last delivery, modulo 256; `None` when it never was.
    pub fn generation(&self) -> Option<u8> {
        if self.status == Status::Delivered { Some(self.tries) } else { self.before }
    }

    /// Adds the row's bytes.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let mut kind = match self.status {
            Status::Delivered => 0,
            Status::Dropped => 1,
            Status::Dead => 2,
            Status::Retrying => 3,
        };
        let parts = [
            (self.made.is_some(), MADE),
            (self.kept.is_some(), KEPT),
            (self.retry_at.is_some(), RETRY),
            (self.before.is_some(), BEFORE),
        ];
        for (there, flag) in parts {
            kind |= if there { flag } else { 0 };
        }
        to.extend_from_slice(&self.key);
        to.extend_from_slice(&[kind, self.tries]);
        to.extend_from_slice(&self.digest);
        to.extend_from_slice(&self.place.file.to_le_bytes());
        to.extend_from_slice(&self.place.ordinal.to_le_bytes()[..6]);
        to.push(u8::try_from(self.version.len()).expect("order bytes are at most 255"));
        to.extend_from_slice(self.version);
        if let Some(Made { result, code }) = self.made {
            to.extend_from_slice(&result);
            to.extend_from_slice(&code.to_le_bytes());
        }
        if let Some(Kept { offset, length }) = self.kept {
            to.extend_from_slice(&offset.to_le_bytes());
            to.extend_from_slice(&length.to_le_bytes());
        }
        if let Some(at) = self.retry_at {
            to.extend_from_slice(&at.to_le_bytes());
        }
        to.extend(self.before);
    }
}

/// Reads rows one after the other.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Reads the rows of a page or of a delta.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the next row with its bytes.
    pub fn next_row(&mut self) -> Result<Option<(State<'a>, &'a [u8])>, RowError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let whole = self.rest;
        let mut rest = whole;
        let fixed = take::<FIXED>(&mut rest)?;
        let part = |from: usize, to: usize| &fixed[from..to];
        let kind = fixed[16];
        let status = match kind & 3 {
            0 => Status::Delivered,
            1 => Status::Dropped,
            2 => Status::Dead,
            _ => Status::Retrying,
        };
        if kind & !(3 | MADE | KEPT | RETRY | BEFORE) != 0 {
            return Err(RowError);
        }
        let mut ordinal = [0; 8];
        ordinal[..6].copy_from_slice(part(38, 44));
        let (version, mut rest) = rest.split_at_checked(usize::from(fixed[44])).ok_or(RowError)?;
        let made = if kind & MADE == 0 {
            None
        } else {
            Some(Made { result: *take(&mut rest)?, code: u64::from_le_bytes(*take(&mut rest)?) })
        };
        let kept = if kind & KEPT == 0 {
            None
        } else {
            let offset = u64::from_le_bytes(*take(&mut rest)?);
            Some(Kept { offset, length: u32::from_le_bytes(*take(&mut rest)?) })
        };
        let retry_at = if kind & RETRY == 0 { None } else { Some(i64::from_le_bytes(*take(&mut rest)?)) };
        let before = if kind & BEFORE == 0 { None } else { Some(take::<1>(&mut rest)?[0]) };
        self.rest = rest;
        let state = State {
            key: part(0, 16).try_into().expect("16 bytes"),
            status,
            tries: fixed[17],
            digest: part(18, 34).try_into().expect("16 bytes"),
            place: Place {
                file: u32::from_le_bytes(part(34, 38).try_into().expect("4 bytes")),
                ordinal: u64::from_le_bytes(ordinal),
            },
            version,
            made,
            kept,
            retry_at,
            before,
        };
        Ok(Some((state, &whole[..whole.len() - rest.len()])))
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], RowError> {
    let (part, after) = rest.split_first_chunk::<N>().ok_or(RowError)?;
    *rest = after;
    Ok(part)
}

/// Returns the page that a key's row is in.
pub fn prefix_of(key: &Short) -> u16 {
    u16::from_be_bytes([key[0], key[1]])
}

/// Merges rows over a page: both sorted by key, a row of `over` takes the place of the one of its key.
pub fn merge(page: &[u8], over: &[u8]) -> Result<Vec<u8>, RowError> {
    let mut merged = Vec::with_capacity(page.len() + over.len());
    let (mut pages, mut overs) = (Rows::new(page), Rows::new(over));
    let (mut below, mut above) = (pages.next_row()?, overs.next_row()?);
    loop {
        match (below, above) {
            (Some((old, bytes)), Some((new, _))) if old.key < new.key => {
                merged.extend_from_slice(bytes);
                below = pages.next_row()?;
            }
            (old, Some((new, bytes))) => {
                if old.is_some_and(|(old, _)| old.key == new.key) {
                    below = pages.next_row()?;
                }
                merged.extend_from_slice(bytes);
                above = overs.next_row()?;
            }
            (Some((_, bytes)), None) => {
                merged.extend_from_slice(bytes);
                below = pages.next_row()?;
            }
            (None, None) => return Ok(merged),
        }
    }
}

/// Sorts rows by key; of several of one key the last stays.
pub fn sort(rows: &[u8]) -> Result<Vec<u8>, RowError> {
    let mut all: Vec<(Short, &[u8])> = Vec::new();
    let mut reader = Rows::new(rows);
    while let Some((state, bytes)) = reader.next_row()? {
        all.push((state.key, bytes));
    }
    all.sort_by_key(|(key, _)| *key);
    let mut sorted = Vec::with_capacity(rows.len());
    for (index, (key, bytes)) in all.iter().enumerate() {
        if all.get(index + 1).is_none_or(|(next, _)| next.cmp(key) != Ordering::Equal) {
            sorted.extend_from_slice(bytes);
        }
    }
    Ok(sorted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn states() -> impl Strategy<Value = State<'static>> {
        let made = proptest::option::of((any::<Short>(), any::<u64>()));
        let kept = proptest::option::of((any::<u64>(), any::<u32>()));
        (
            any::<Short>(),
            0..4_u8,
            any::<u8>(),
            any::<Short>(),
            any::<u32>(),
            0..1_u64 << 48,
            0..3_usize,
            made,
            kept,
        )
            .prop_map(|(key, status, tries, digest, file, ordinal, version, made, kept)| State {
                key,
                status: [Status::Delivered, Status::Dropped, Status::Dead, Status::Retrying]
                    [usize::from(status)],
                tries,
                digest,
                place: Place { file, ordinal },
                version: [b"".as_slice(), b"\x30a", &[0x10; 255]][version],
                made: made.map(|(result, code)| Made { result, code }),
                kept: kept.map(|(offset, length)| Kept { offset, length }),
                retry_at: (status == 3).then_some(-5),
                before: (status > 1).then_some(tries),
            })
    }

    fn encoded(states: &[State<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for state in states {
            state.encode(&mut bytes);
        }
        bytes
    }

    fn decoded(bytes: &[u8]) -> Vec<State<'_>> {
        let (mut rows, mut states) = (Rows::new(bytes), Vec::new());
        while let Some((state, _)) = rows.next_row().unwrap() {
            states.push(state);
        }
        states
    }

    proptest! {
        #[test]
        fn rows_come_back(states in proptest::collection::vec(states(), 0..8)) {
            let bytes = encoded(&states);
            prop_assert_eq!(decoded(&bytes), states);
        }

        #[test]
        fn rows_that_are_cut_short_are_an_error(state in states(), cut in 1..40_usize) {
            let bytes = encoded(&[state]);
            prop_assert_eq!(Rows::new(&bytes[..bytes.len() - cut]).next_row(), Err(RowError));
        }

        #[test]
        fn merged_rows_are_those_of_a_map(
            page in proptest::collection::vec(states(), 0..8),
            mut over in proptest::collection::vec(states(), 0..8),
        ) {
            // Some keys in both.
            for (new, old) in over.iter_mut().step_by(2).zip(&page) {
                new.key = old.key;
            }
            let page = sort(&encoded(&page)).unwrap();
            let rows = sort(&encoded(&over)).unwrap();
            let mut expected: std::collections::BTreeMap<Short, State<'_>> =
                decoded(&page).into_iter().map(|state| (state.key, state)).collect();
            expected.extend(over.iter().map(|state| (state.key, *state)));
            let merged = merge(&page, &rows).unwrap();
            prop_assert_eq!(decoded(&merged), expected.into_values().collect::<Vec<_>>());
        }
    }

    /// The form is kept in stores: this one is version 1.
    #[test]
    fn golden_row() {
        let state = State {
            key: [1; 16],
            status: Status::Retrying,
            tries: 2,
            digest: [3; 16],
            place: Place { file: 4, ordinal: 5 },
            version: b"\x30v",
            made: Some(Made { result: [6; 16], code: 7 }),
            kept: Some(Kept { offset: 8, length: 9 }),
            retry_at: Some(10),
            before: Some(11),
        };
        let mut expected = vec![1; 16];
        expected.extend([3 | 4 | 8 | 16 | 32, 2]);
        expected.extend([3; 16]);
        expected.extend([4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0x30, b'v']);
        expected.extend([6; 16]);
        expected.extend([
            7, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 11,
        ]);
        assert_eq!(encoded(&[state]), expected);
    }
}
