//! `HEAD`: where the store stood after the last synced commit, kept beside it.
//!
//! RocksDB does not notice when its newest log is deleted, nor when an old copy of its folder is put back. So this
//! file says how far the store must reach, and one that falls short is refused. It is written after the store's own
//! sync has returned, so it may lag behind the store but never run ahead.
//!
//! Two slots, a sector of 512 bytes each, are written in turn, in place: a write that is cut off leaves the other. A
//! slot is
//!
//! ```text
//! "cairnHED" · format version, u32 · number of the batch, u64 · chain, 32 bytes · checksum, 8 bytes
//! ```
//!
//! with integers big-endian; the checksum is the beginning of the BLAKE3 digest of all before it. Writing it costs some
//! 2 µs: it is not synced, because what a power cut takes from it only makes it lag.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use cairn_model::Digest;

use crate::{Head, OpenError};

/// Its name in the state folder.
pub(crate) const FILE: &str = "HEAD";

const SLOT_DISTANCE: usize = 512;
const SLOT_LENGTH: usize = 60;
const MAGIC: &[u8; 8] = b"cairnHED";

/// What the file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Format version of the store.
    pub(crate) format: u32,
    /// Where the store stood.
    pub(crate) head: Head,
}

/// Reads the file in `state`; `None` when there is none, or it was made and never written.
pub(crate) fn read(state: &Path) -> Result<Option<Mark>, OpenError> {
    let path = state.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    match newest(&bytes) {
        Some((_, mark)) => Ok(Some(mark)),
        None if bytes.is_empty() => Ok(None),
        None => Err(OpenError::Damaged { path, what: "neither of its two entries can be read".to_owned() }),
    }
}

/// Returns the newest entry that is whole, with the number of its slot.
fn newest(bytes: &[u8]) -> Option<(usize, Mark)> {
    let slots = bytes.chunks(SLOT_DISTANCE).take(2).enumerate();
    slots.filter_map(|(slot, bytes)| Some((slot, decode(bytes)?))).max_by_key(|(_, mark)| mark.head.sequence)
}

fn encode(mark: &Mark) -> [u8; SLOT_LENGTH] {
    let mut bytes = [0; SLOT_LENGTH];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&mark.format.to_be_bytes());
    bytes[12..20].copy_from_slice(&mark.head.sequence.to_be_bytes());
    bytes[20..52].copy_from_slice(mark.head.chain.as_bytes());
    let checksum = checksum(&bytes[..52]);
    bytes[52..].copy_from_slice(&checksum);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Mark> {
    let (magic, rest) = bytes.get(..SLOT_LENGTH)?.split_first_chunk::<8>()?;
    let (format, rest) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (chain, stored) = rest.split_first_chunk::<32>()?;
    if magic != MAGIC || stored != checksum(&bytes[..52]) {
        return None;
    }
    let head = Head { sequence: u64::from_be_bytes(*sequence), chain: Digest::from_bytes(*chain) };
    Some(Mark { format: u32::from_be_bytes(*format), head })
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    *blake3::hash(bytes).as_bytes().first_chunk().expect("a digest has 32 bytes")
}

/// The file, open for writing.
#[derive(Debug)]
pub(crate) struct HeadFile {
    file: File,
    next_slot: usize,
}

impl HeadFile {
    /// Opens the file in `state`, or makes it, and has it say `mark`, durably.
    pub(crate) fn open(state: &Path, mark: &Mark) -> io::Result<Self> {
        let path = state.join(FILE);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut bytes = vec![0; 2 * SLOT_DISTANCE];
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(bytes.len());
        file.read_exact_at(&mut bytes[..length], 0)?;
        let newest = newest(&bytes[..length]);
        let mut this = Self { file, next_slot: newest.map_or(0, |(slot, _)| 1 - slot) };
        if newest.is_none_or(|(_, newest)| newest != *mark) {
            this.write(mark)?;
            this.sync()?;
            File::open(state)?.sync_all()?;
        }
        Ok(this)
    }

    /// Writes `mark` over the older entry.
    pub(crate) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        self.file.write_all_at(&encode(mark), (self.next_slot * SLOT_DISTANCE) as u64)?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: u64) -> Mark {
        Mark { format: 1, head: Head { sequence, chain: Digest::from_bytes([7; 32]) } }
    }

    #[test]
    fn the_newest_entry_is_read_and_the_older_one_overwritten() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()).unwrap(), None);
        let mut file = HeadFile::open(state.path(), &mark(1)).unwrap();
        for sequence in 2..6 {
            file.write(&mark(sequence)).unwrap();
            assert_eq!(read(state.path()).unwrap(), Some(mark(sequence)));
        }
        drop(file);
        let mut file = HeadFile::open(state.path(), &mark(5)).unwrap();
        file.write(&mark(6)).unwrap();
        let bytes = fs::read(state.path().join(FILE)).unwrap();
        let entries: Vec<u64> =
            bytes.chunks(SLOT_DISTANCE).map(|slot| decode(slot).unwrap().head.sequence).collect();
        assert_eq!(entries, [5, 6], "the newest but one stays whole");
    }

    #[test]
    fn damage_is_an_older_entry_or_an_error_and_never_a_newer_one() {
        let state = tempfile::tempdir().unwrap();
        let mut file = HeadFile::open(state.path(), &mark(1)).unwrap();
        file.write(&mark(2)).unwrap();
        let path = state.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            fs::write(&path, &bytes).unwrap();
            let read = read(state.path()).unwrap().unwrap();
            assert!([mark(1), mark(2)].contains(&read), "byte {at}: {read:?}");
        }
        let mut both = whole;
        both[15] ^= 1;
        both[SLOT_DISTANCE + 15] ^= 1;
        fs::write(&path, &both).unwrap();
        assert!(matches!(read(state.path()), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn golden() {
        let bytes = encode(&mark(258));
        assert_eq!(&bytes[..20], b"cairnHED\0\0\0\x01\0\0\0\0\0\0\x01\x02");
        assert_eq!(bytes[20..52], [7; 32]);
        assert_eq!(bytes[52..], [0x18, 0xc5, 0xa8, 0x79, 0x23, 0x72, 0xd3, 0xc0]);
    }
}
