//! Brings many records into the order of their keys before they are delivered: a table whose rows come in that order is
//! written from one end to the other, and not all over for each batch (SQLite takes a third of the time).
//!
//! What does not fit into memory goes to sorted runs on disk, which are merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use cairn_model::FieldPath;
use serde::{Deserialize, Serialize, Serializer};

use super::error::EngineError;
use super::item::{Fate, Finished, Item};
use super::join::Prior;
use super::marks::Spot;
use crate::fields::SortKey;
use crate::state::{Place, Short};

/// Bytes of records that are sorted in memory.
const RUN: usize = 40 << 20;

/// What a run holds of a record.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    #[serde(serialize_with = "as_bytes")]
    sort: &'a [u8],
    key: Short,
    digest: Short,
    #[serde(serialize_with = "as_bytes")]
    version: &'a [u8],
    spot: u64,
    file: u32,
    ordinal: u64,
    line: u64,
    tombstone: bool,
    generation: u8,
    #[serde(serialize_with = "as_bytes")]
    record: &'a [u8],
    prior: Option<Prior>,
}

/// Slices are else written byte by byte.
fn as_bytes<S: Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

/// Sorts records.
pub(super) struct Sorter<'s> {
    folder: &'s Path,
    key: SortKey,
    items: Vec<(Vec<u8>, Item)>,
    bytes: usize,
    runs: Vec<PathBuf>,
}

impl<'s> Sorter<'s> {
    /// Sorts by `key`; runs are written to `folder`.
    pub(super) fn new(folder: &'s Path, key: &[FieldPath]) -> Self {
        Self { folder, key: SortKey::new(key), items: Vec::new(), bytes: 0, runs: Vec::new() }
    }

    /// Takes a record, or gives it back: what is not merely to be delivered is not sorted.
    pub(super) fn push(&mut self, finished: Finished) -> Result<Option<Finished>, EngineError> {
        if !matches!(finished.fate, Fate::Results(_)) || finished.item.letter.is_some() {
            return Ok(Some(finished));
        }
        let sort = self.key.of(&finished.item.record);
        self.bytes += finished.item.record.len() + sort.len() + size_of::<(Vec<u8>, Item)>();
        self.items.push((sort, finished.item));
        if self.bytes >= RUN {
            self.write().map_err(EngineError::Spool)?;
        }
        Ok(None)
    }

    /// Returns the places of the records in their order: they themselves are too large to be moved about.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_unstable_by(|left, right| self.items[*left].0.cmp(&self.items[*right].0));
        order
    }

    fn write(&mut self) -> std::io::Result<()> {
        let path = self.folder.join(format!("run-{}", self.runs.len()));
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        for index in self.order() {
            let (sort, item) = &self.items[index];
            let stored = Stored {
                sort,
                key: item.key,
                digest: item.digest,
                version: &item.version,
                spot: item.spot.0,
                file: item.place.file,
                ordinal: item.place.ordinal,
                line: item.line,
                tombstone: item.tombstone,
                generation: item.generation,
                record: &item.record,
                prior: item.prior,
            };
            let bytes = postcard::to_stdvec(&stored).expect("writing to memory cannot fail");
            file.write_all(&u32::try_from(bytes.len()).expect("a record has 16 MiB at most").to_le_bytes())?;
            file.write_all(&bytes)?;
        }
        file.flush()?;
        self.items.clear();
        self.bytes = 0;
        self.runs.push(path);
        Ok(())
    }

    /// Gives all back in their order.
    pub(super) fn finish(
        mut self,
        take: &mut dyn FnMut(Finished) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if self.runs.is_empty() {
            return self.order().into_iter().try_for_each(|index| take(ready(self.items[index].1.clone())));
        }
        self.write().map_err(EngineError::Spool)?;
        let mut runs = Vec::with_capacity(self.runs.len());
        for path in &self.runs {
            runs.push(Run::open(path).map_err(EngineError::Spool)?);
        }
        let mut heap = BinaryHeap::with_capacity(runs.len());
        for (number, run) in runs.iter_mut().enumerate() {
            heap.extend(run.next().map_err(EngineError::Spool)?.map(|sort| Reverse((sort, number))));
        }
        while let Some(mut head) = heap.peek_mut() {
            let run = &mut runs[head.0.1];
            let item = run.item.take().expect("what is in the heap was read");
            match run.next().map_err(EngineError::Spool)? {
                Some(sort) => head.0.0 = sort,
                None => drop(PeekMut::pop(head)),
            }
            take(ready(item))?;
        }
        for path in &self.runs {
            std::fs::remove_file(path).map_err(EngineError::Spool)?;
        }
        Ok(())
    }
}

fn ready(item: Item) -> Finished {
    Finished { fate: Fate::Results(vec![item.record.clone()]), item, attempts: Vec::new() }
}

/// A run that is read.
struct Run {
    file: BufReader<File>,
    bytes: Vec<u8>,
    arena: BytesMut,
    /// The record that was read last.
    item: Option<Item>,
}

impl Run {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = BufReader::with_capacity(256 << 10, File::open(path)?);
        Ok(Self { file, bytes: Vec::new(), arena: BytesMut::new(), item: None })
    }

    /// Reads the next record and returns what it is sorted by.
    fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut length = [0; 4];
        match self.file.read_exact(&mut length) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        self.bytes.resize(u32::from_le_bytes(length) as usize, 0);
        self.file.read_exact(&mut self.bytes)?;
        let stored: Stored<'_> =
            postcard::from_bytes(&self.bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        if self.arena.capacity() < stored.record.len() {
            self.arena.reserve(stored.record.len().max(64 << 10));
        }
        self.arena.extend_from_slice(stored.record);
        let record: Bytes = self.arena.split().freeze();
        let item = Item {
            key: stored.key,
            digest: stored.digest,
            version: stored.version.to_vec(),
            spot: Spot(stored.spot),
            place: Place { file: stored.file, ordinal: stored.ordinal },
            line: stored.line,
            tombstone: stored.tombstone,
            generation: stored.generation,
            record,
            prior: stored.prior,
            letter: None,
        };
        self.item = Some(item);
        Ok(Some(stored.sort.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(number: u64, size: usize) -> Finished {
        let record = format!("{{\"id\":{number},\"pad\":\"{}\"}}", "x".repeat(size));
        let item = Item {
            key: [1; 16],
            digest: [2; 16],
            version: vec![3],
            spot: Spot::new(4, number),
            place: Place { file: 5, ordinal: number },
            line: 6,
            tombstone: number.is_multiple_of(2),
            generation: 7,
            record: record.into(),
            prior: None,
            letter: None,
        };
        ready(item)
    }

    #[test]
    fn records_come_back_whole_and_in_the_order_of_their_keys_whether_they_fit_into_memory_or_not() {
        for (count, size) in [(1000_u64, 10), (300, 1 << 20)] {
            let folder = tempfile::tempdir().unwrap();
            let key = [FieldPath::parse("id").unwrap()];
            let mut sorter = Sorter::new(folder.path(), &key);
            // As numbers: 9 comes before 10.
            for number in (0..count).map(|number| number * 7919 % count) {
                assert!(sorter.push(finished(number, size)).unwrap().is_none());
            }
            assert_eq!(sorter.runs.is_empty(), size == 10);
            let mut expected = 0;
            sorter
                .finish(&mut |got| {
                    let want = finished(expected, size);
                    assert_eq!(got.item.record, want.item.record);
                    assert_eq!(format!("{:?}", got.item), format!("{:?}", want.item));
                    expected += 1;
                    Ok(())
                })
                .unwrap();
            assert_eq!(expected, count);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
