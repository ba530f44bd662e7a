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
use std::thread::JoinHandle;

use bytes::{Bytes, BytesMut};
use cairn_model::FieldPath;
use serde::{Deserialize, Serialize, Serializer};

use super::error::EngineError;
use super::item::{Fate, Finished, Item};
use super::join::Prior;
use super::marks::Spot;
use crate::fields::SortKey;
use crate::state::{Place, Short};

/// Bytes of records that are sorted in memory: as many are gathered as are being written.
const RUN: usize = 16 << 20;

/// Bytes that all runs together read ahead, and the most and the least of one.
const AHEAD: usize = 16 << 20;
const AHEAD_MOST: usize = 256 << 10;
const AHEAD_LEAST: usize = 16 << 10;

/// Runs that are merged at once: a process has some thousand descriptors at most. More are merged into fewer first.
const MERGED: usize = 256;

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
    items: Items,
    bytes: usize,
    /// In the order in which their records came.
    runs: Vec<PathBuf>,
    /// Runs that were begun so far, for their names.
    begun: usize,
    /// Runs that are merged at once.
    merged: usize,
    /// Sorts the last run and writes it.
    writing: Option<JoinHandle<std::io::Result<()>>>,
}

/// Records, each with what it is sorted by.
type Items = Vec<(Vec<u8>, Item)>;

impl<'s> Sorter<'s> {
    /// Sorts by `key`; runs are written to `folder`.
    pub(super) fn new(folder: &'s Path, key: &[FieldPath]) -> Self {
        let key = SortKey::new(key);
        Self {
            folder,
            key,
            items: Vec::new(),
            bytes: 0,
            runs: Vec::new(),
            begun: 0,
            merged: MERGED,
            writing: None,
        }
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

    /// Has what was gathered written, by another thread.
    fn write(&mut self) -> std::io::Result<()> {
        self.written()?;
        let path = self.next_path();
        let room = Vec::with_capacity(self.items.len());
        let items = std::mem::replace(&mut self.items, room);
        self.bytes = 0;
        self.runs.push(path.clone());
        self.writing = Some(std::thread::Builder::new().spawn(move || write_run(&path, &items))?);
        Ok(())
    }

    fn next_path(&mut self) -> PathBuf {
        let path = self.folder.join(format!("run-{}", self.begun));
        self.begun += 1;
        path
    }

    /// Waits until the last run is written.
    fn written(&mut self) -> std::io::Result<()> {
        self.writing.take().map_or(Ok(()), |writing| writing.join().expect("writing a run does not panic"))
    }

    /// Gives all back in their order.
    pub(super) fn finish(
        mut self,
        take: &mut dyn FnMut(Finished) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if self.runs.is_empty() {
            let in_order = order(&self.items).into_iter();
            return in_order.map(|index| ready(self.items[index].1.clone())).try_for_each(take);
        }
        self.write().and_then(|()| self.written()).map_err(EngineError::Spool)?;
        // Neighbours stay neighbours, so that equal keys come back as they came.
        while self.runs.len() > self.merged {
            let mut fewer = Vec::new();
            for some in std::mem::take(&mut self.runs).chunks(self.merged) {
                let path = self.next_path();
                let mut to = Writing::create(&path).map_err(EngineError::Spool)?;
                merge(some, &mut |sort, item| to.put(sort, &item).map_err(EngineError::Spool))?;
                to.finish().map_err(EngineError::Spool)?;
                fewer.push(path);
            }
            self.runs = fewer;
        }
        merge(&self.runs, &mut |_, item| take(ready(item)))
    }
}

/// Takes records in their order, each with what it is sorted by.
type Take<'t> = dyn FnMut(&[u8], Item) -> Result<(), EngineError> + 't;

/// Gives the records of sorted runs in their order, those of equal keys in the order of the runs, and removes the runs.
fn merge(paths: &[PathBuf], take: &mut Take<'_>) -> Result<(), EngineError> {
    let ahead = (AHEAD / paths.len().max(1)).clamp(AHEAD_LEAST, AHEAD_MOST);
    let mut runs = Vec::with_capacity(paths.len());
    for path in paths {
        runs.push(Run::open(path, ahead).map_err(EngineError::Spool)?);
    }
    let mut heap = BinaryHeap::with_capacity(runs.len());
    for (number, run) in runs.iter_mut().enumerate() {
        heap.extend(run.next().map_err(EngineError::Spool)?.map(|sort| Reverse((sort, number))));
    }
    while let Some(mut head) = heap.peek_mut() {
        let run = &mut runs[head.0.1];
        let item = run.item.take().expect("what is in the heap was read");
        let sort = match run.next().map_err(EngineError::Spool)? {
            Some(next) => std::mem::replace(&mut head.0.0, next),
            None => PeekMut::pop(head).0.0,
        };
        take(&sort, item)?;
    }
    for path in paths {
        std::fs::remove_file(path).map_err(EngineError::Spool)?;
    }
    Ok(())
}

impl Drop for Sorter<'_> {
    fn drop(&mut self) {
        // Who gives up removes the folder.
        let _ = self.written();
    }
}

/// Returns the places of the records in their order: they themselves are too large to be moved about.
fn order(items: &Items) -> Vec<usize> {
    // The first bytes tell nearly all apart, and stand beside each other.
    let mut order: Vec<(u128, usize)> =
        items.iter().enumerate().map(|(index, (sort, _))| (prefix(sort), index)).collect();
    order.sort_unstable_by(|left, right| {
        let keys = || items[left.1].0.cmp(&items[right.1].0);
        // Those of equal keys stay as they came.
        left.0.cmp(&right.0).then_with(keys).then(left.1.cmp(&right.1))
    });
    order.into_iter().map(|(_, index)| index).collect()
}

fn write_run(path: &Path, items: &Items) -> std::io::Result<()> {
    let mut to = Writing::create(path)?;
    for index in order(items) {
        let (sort, item) = &items[index];
        to.put(sort, item)?;
    }
    to.finish()
}

/// A run that is written.
struct Writing {
    file: BufWriter<File>,
    bytes: Vec<u8>,
}

impl Writing {
    fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: BufWriter::with_capacity(1 << 20, File::create(path)?), bytes: Vec::new() })
    }

    /// Appends a record, which comes after those before it.
    fn put(&mut self, sort: &[u8], item: &Item) -> std::io::Result<()> {
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
        self.bytes.clear();
        let bytes = std::mem::take(&mut self.bytes);
        self.bytes = postcard::to_extend(&stored, bytes).expect("writing to memory cannot fail");
        let length = u32::try_from(self.bytes.len()).expect("a record has 16 MiB at most");
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&self.bytes)
    }

    fn finish(mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Returns the first bytes as a number that sorts as they do.
fn prefix(sort: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let length = sort.len().min(16);
    bytes[..length].copy_from_slice(&sort[..length]);
    u128::from_be_bytes(bytes)
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
    fn open(path: &Path, ahead: usize) -> std::io::Result<Self> {
        let file = BufReader::with_capacity(ahead, File::open(path)?);
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
            known_as: None,
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
            known_as: None,
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

    #[test]
    fn many_runs_are_merged_by_and_by_and_equal_keys_come_back_as_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let key = [FieldPath::parse("same").unwrap()];
        let mut sorter = Sorter::new(folder.path(), &key);
        sorter.merged = 3;
        for number in 0..100 {
            assert!(sorter.push(finished(number, 10)).unwrap().is_none());
            if number % 5 == 4 {
                sorter.write().unwrap();
            }
        }
        assert_eq!(sorter.runs.len(), 20);
        let mut got = Vec::new();
        sorter
            .finish(&mut |finished| {
                got.push(finished.item.place.ordinal);
                Ok(())
            })
            .unwrap();
        assert_eq!(got, (0..100).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
