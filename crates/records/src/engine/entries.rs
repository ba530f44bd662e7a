//! What is kept of each record while the newest of each key is looked for: parts by key, on disk when there is much.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use super::marks::Spot;
use crate::state::Short;

/// Parts that keys are spread over by their first bits.
pub(super) const PARTS: usize = 64;

/// Bytes of a part that are gathered before they are written to its file.
const CHUNK: usize = 256 << 10;

/// Bytes that all parts together keep in memory before any is written.
const MEMORY: usize = 24 << 20;

/// A record that a person edited comes again, whatever became of it.
pub(super) const AGAIN: u8 = 1;
/// It died without a key.
pub(super) const UNNAMED: u8 = 4;
/// Nothing can be done with the record: it becomes a dead letter.
pub(super) const BAD: u8 = 2;

/// What is kept of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub key: Short,
    pub digest: Short,
    pub spot: Spot,
    pub flags: u8,
    pub version: &'a [u8],
}

const FIXED: usize = 16 + 16 + 8 + 1 + 1;

impl<'a> Entry<'a> {
    /// Adds its bytes.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.key);
        to.extend_from_slice(&self.digest);
        to.extend_from_slice(&self.spot.0.to_le_bytes());
        to.push(self.flags);
        to.push(u8::try_from(self.version.len()).expect("order bytes are at most 255"));
        to.extend_from_slice(self.version);
    }

    /// Which of two records of one key is the newer. Of equal versions, a dead letter that is tried again comes last: its
    /// spot is behind all files.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.version.cmp(other.version).then(self.spot.cmp(&other.spot))
    }

    /// Reads the entry that `bytes` begin with.
    fn decode(bytes: &'a [u8]) -> Self {
        let (fixed, after) = bytes.split_at(FIXED);
        Self {
            key: fixed[..16].try_into().expect("16 bytes"),
            digest: fixed[16..32].try_into().expect("16 bytes"),
            spot: Spot(u64::from_le_bytes(fixed[32..40].try_into().expect("8 bytes"))),
            flags: fixed[40],
            version: &after[..usize::from(fixed[FIXED - 1])],
        }
    }
}

/// Splits the first entry off.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let version = *bytes.get(FIXED - 1)?;
    Some(bytes.split_at(FIXED + usize::from(version)))
}

/// Entries in parts.
#[derive(Debug)]
pub(super) struct Entries {
    folder: PathBuf,
    parts: Vec<Part>,
    in_memory: usize,
    count: u64,
}

#[derive(Debug, Default)]
struct Part {
    bytes: Vec<u8>,
    file: Option<File>,
}

impl Entries {
    /// Starts with none; files are made in `folder`, which exists, and go with it.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, parts: (0..PARTS).map(|_| Part::default()).collect(), in_memory: 0, count: 0 }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Adds entries as [`Entry::encode`] wrote them.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while let Some((entry, after)) = split(rest) {
            rest = after;
            self.count += 1;
            let number = usize::from(entry[0] >> 2);
            let part = &mut self.parts[number];
            part.bytes.extend_from_slice(entry);
            self.in_memory += entry.len();
            if self.in_memory > MEMORY && part.bytes.len() >= CHUNK {
                self.in_memory -= part.bytes.len();
                part.write(|| self.folder.join(format!("entries-{number}")))?;
            }
        }
        Ok(())
    }

    /// Gives up a part and returns its entries' bytes.
    pub(super) fn take(&mut self, number: usize) -> io::Result<Vec<u8>> {
        let part = std::mem::take(&mut self.parts[number]);
        let Some(file) = part.file else { return Ok(part.bytes) };
        let path = self.folder.join(format!("entries-{number}"));
        drop(file);
        let mut bytes = Vec::new();
        BufReader::new(File::open(&path)?).read_to_end(&mut bytes)?;
        bytes.extend_from_slice(&part.bytes);
        std::fs::remove_file(path)?;
        Ok(bytes)
    }
}

impl Part {
    fn write(&mut self, path: impl FnOnce() -> PathBuf) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create(path())?),
        };
        file.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// The entries of a part in their order: by key, the newest of each last.
pub(super) struct Sorted {
    bytes: Vec<u8>,
    /// The first bytes of each one's key, which tell nearly all keys apart, and where it begins.
    order: Vec<(u64, usize)>,
}

impl Sorted {
    /// Sorts what [`Entries::take`] gave.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let mut order = Vec::with_capacity(bytes.len() / (FIXED + 8));
        let mut rest = bytes.as_slice();
        while let Some((entry, after)) = split(rest) {
            let prefix = u64::from_be_bytes(*entry.first_chunk().expect("a key has 16 bytes"));
            order.push((prefix, bytes.len() - rest.len()));
            rest = after;
        }
        let at = |at: usize| Entry::decode(&bytes[at..]);
        order.sort_unstable_by(|left, right| {
            left.0.cmp(&right.0).then_with(|| {
                let (left, right) = (at(left.1), at(right.1));
                left.key.cmp(&right.key).then_with(|| left.order(&right))
            })
        });
        Self { bytes, order }
    }

    /// Returns the entries in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.order.iter().map(|(_, at)| Entry::decode(&self.bytes[*at..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_from_memory_and_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let mut entries = Entries::new(folder.path().to_owned());
        let version = [7; 255];
        // More than is kept in memory, and little of it in the last parts.
        let count = 200_000_u64;
        let mut encoded = Vec::new();
        for number in 0..count {
            let mut key = [0; 16];
            key[0] = if number % 1000 == 0 { 255 } else { (number % 32) as u8 };
            key[8..].copy_from_slice(&number.to_be_bytes());
            let spot = Spot::new(1, number);
            let length = if number % 2 == 0 { 0 } else { 255 };
            let entry = Entry { key, digest: [9; 16], spot, flags: AGAIN, version: &version[..length] };
            entry.encode(&mut encoded);
            if encoded.len() > 1 << 20 {
                entries.extend(&encoded).unwrap();
                encoded.clear();
            }
        }
        entries.extend(&encoded).unwrap();
        assert!(std::fs::read_dir(folder.path()).unwrap().count() > 0);
        let mut seen = 0;
        for part in 0..PARTS {
            let sorted = Sorted::new(entries.take(part).unwrap());
            assert!(sorted.iter().is_sorted_by_key(|entry| (entry.key, entry.version.len())));
            for entry in sorted.iter() {
                assert_eq!(usize::from(entry.key[0] >> 2), part);
                let number = entry.spot.ordinal();
                assert_eq!(entry.version.len(), if number % 2 == 0 { 0 } else { 255 });
                assert_eq!((entry.digest, entry.flags), ([9; 16], AGAIN));
                seen += 1;
            }
        }
        assert_eq!((seen, entries.count()), (count, count));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
