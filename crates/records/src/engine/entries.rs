//! What is kept of each record while the newest of each key is looked for: parts by key, on disk when there is much.

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

    pub(super) fn push(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.count += 1;
        let number = usize::from(entry.key[0] >> 2);
        let part = &mut self.parts[number];
        part.bytes.extend_from_slice(&entry.key);
        part.bytes.extend_from_slice(&entry.digest);
        part.bytes.extend_from_slice(&entry.spot.0.to_le_bytes());
        part.bytes.push(entry.flags);
        part.bytes.push(u8::try_from(entry.version.len()).expect("order bytes are at most 255"));
        part.bytes.extend_from_slice(entry.version);
        self.in_memory += FIXED + entry.version.len();
        if self.in_memory > MEMORY && part.bytes.len() >= CHUNK {
            self.in_memory -= part.bytes.len();
            part.write(|| self.folder.join(format!("entries-{number}")))?;
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

/// Reads the entries of a part.
pub(super) fn read(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (fixed, after) = rest.split_at(FIXED);
        let (version, after) = after.split_at(usize::from(fixed[FIXED - 1]));
        rest = after;
        Some(Entry {
            key: fixed[..16].try_into().expect("16 bytes"),
            digest: fixed[16..32].try_into().expect("16 bytes"),
            spot: Spot(u64::from_le_bytes(fixed[32..40].try_into().expect("8 bytes"))),
            flags: fixed[40],
            version,
        })
    })
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
        for number in 0..count {
            let mut key = [0; 16];
            key[0] = if number % 1000 == 0 { 255 } else { (number % 32) as u8 };
            key[8..].copy_from_slice(&number.to_be_bytes());
            let spot = Spot::new(1, number);
            let length = if number % 2 == 0 { 0 } else { 255 };
            let entry = Entry { key, digest: [9; 16], spot, flags: AGAIN, version: &version[..length] };
            entries.push(&entry).unwrap();
        }
        assert!(std::fs::read_dir(folder.path()).unwrap().count() > 0);
        let mut seen = 0;
        for part in 0..PARTS {
            let bytes = entries.take(part).unwrap();
            for entry in read(&bytes) {
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
