//! The digests of a project's files, remembered so that a file that did not change is not read.
//!
//! What is remembered is a [`Row`]: a file ([`FileKey`]) looked like this ([`Stamp`]) when it had that digest. A row
//! stands for reading the file while all of this holds:
//!
//! 1. The stamp is still the same: size, both times to the nanosecond, mode.
//! 2. The file was *settled* when it was read: its newest time lay 2 s before the filesystem's clock. A change after
//!    that gets a later time; one in the same tick of the clock as the last would not ("racy git").
//! 3. The filesystem is one whose stamps are known to hold: ext2 to ext4, xfs, btrfs, tmpfs, overlayfs, apfs.
//!
//! A store through a memory map can reach a file before its times do. So of the rows that stand for reading, one in a
//! hundred, and at least one a run, is checked by reading after all, and one that is wrong is an error.
//!
//! A file counts as read when its stamp was the same before and after, which is tried three times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_model::{Digest, FileContent};
use rayon::prelude::*;

use crate::{FileKey, PlacedFile, Stamp, filesystem};

mod error;
mod seen;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

pub use error::DigestError;
pub(crate) use seen::Links;
use seen::{Seen, see};
pub use tree::FoundTree;
pub(crate) use walk::{Entry, EntryKind, walk};

/// How old a file's times must be for it to be settled: 2 s, which is more than the coarsest grain of times (FAT).
pub(crate) const SETTLED_NS: i64 = 2_000_000_000;

/// Bytes in the largest file that is read only because a run must check at least one row. Larger ones have their one
/// chance in a hundred: a run that has nothing to do does not read 100 GB.
const CERTAIN_CHECK_MAX: u64 = 64 << 20;

/// Pauses before the tries to read a file that changes.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100)];

/// Files in a batch below which handing them to other threads costs more than it gains.
const SEQUENTIAL_MAX: usize = 8;

/// What is remembered of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// How the file looked when it was read.
    pub stamp: Stamp,
    /// What was in it.
    pub digest: Digest,
}

/// The rows of earlier runs.
pub trait Rows: Send + Sync {
    /// Returns the row of each key, in the order of `keys`, which are sorted and distinct.
    fn get(&self, keys: &[FileKey]) -> Vec<Option<Row>>;
}

/// A file and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is in it.
    pub content: FileContent,
    /// Which file it is; for a link, the file it leads to.
    pub key: FileKey,
    /// How it looked when it was read.
    pub stamp: Stamp,
    /// Whether any later change must change the stamp.
    pub settled: bool,
    /// Whether a row was checked by reading the file.
    pub reread: bool,
    /// What the link says, if the path is a link.
    pub link: Option<Vec<u8>>,
}

/// The digests of files: from rows where they stand for reading, see the module, else read.
pub struct Digests {
    rows: Box<dyn Rows>,
    seed: u64,
    /// The filesystem's clock; another in tests.
    now_ns: fn() -> i64,
    checked_one: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// What this run read, learned, or had from earlier rows.
    rows: HashMap<FileKey, Row>,
    /// Those of them that no earlier run had and nobody took yet.
    new: BTreeMap<FileKey, Row>,
    /// Whether the stamps of a filesystem hold, by its device.
    stamps_hold: HashMap<u64, bool>,
}

/// A row, and whether it is to be checked by reading the file.
#[derive(Clone, Copy)]
struct Remembered {
    row: Row,
    check: bool,
}

impl Digests {
    /// Puts memory before `rows`. `seed` decides which rows are checked by reading the file: another one each run.
    pub fn new(rows: Box<dyn Rows>, seed: u64) -> Self {
        Self {
            rows,
            seed,
            now_ns: filesystem::now_ns,
            checked_one: AtomicBool::new(false),
            memory: Mutex::default(),
        }
    }

    /// Returns what is in the file at `path`; a link is followed.
    pub fn file(&self, path: &Path) -> Result<Found, DigestError> {
        let mut found = self.look(&[path], Links::Follow);
        found.pop().expect("as many are found as were looked for")
    }

    /// Returns what is in each of the files `paths`, in their order: in parallel, with one call for the rows.
    pub fn files(&self, paths: &[PathBuf]) -> Vec<Result<Found, DigestError>> {
        self.look(paths, Links::Follow)
    }

    /// Returns whether the file at `path` is still the one that was `found`, and was not written meanwhile.
    ///
    /// A file that was written and has its old bytes again did change: who read it in between saw others. One whose
    /// ctime alone changed, as by a new hard link, did not, if its bytes are the same.
    pub fn unchanged(&self, path: &Path, found: &Found) -> Result<bool, DigestError> {
        match self.file(path) {
            Ok(now) => Ok(now.is_unwritten_since(found)),
            Err(error) if error.is_another_kind() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Remembers a file that a [`Placer`](crate::Placer) put in place, and returns it as it stands there now; `None` if
    /// it was replaced or written since.
    ///
    /// Such a file is settled at once: its bytes are dated 2 s before it got its name, nobody else could reach it before
    /// that, and so any write moves its mtime.
    pub fn learn(&self, placed: &PlacedFile) -> Option<Found> {
        let seen = see(&placed.path, Links::None).ok()?;
        let (stamp, content) = (seen.stamp, placed.content);
        if (seen.key, stamp.mtime_ns) != (placed.key, placed.mtime_ns)
            || (stamp.size, stamp.executable()) != (content.size, content.executable)
        {
            return None;
        }
        let settled =
            stamp.ctime_ns.saturating_sub(stamp.mtime_ns) >= SETTLED_NS && self.memory().stamps_hold(&seen);
        let found = Found { settled, ..seen.found(content.digest, content.size) };
        self.remember([&found]);
        Some(found)
    }

    /// Returns the rows to keep for later runs that were not returned before.
    pub fn take_new_rows(&self) -> Vec<(FileKey, Row)> {
        std::mem::take(&mut self.memory().new).into_iter().collect()
    }

    /// Returns what is in each of the files `paths`, in their order.
    pub(crate) fn look<P: AsRef<Path> + Sync>(
        &self,
        paths: &[P],
        links: Links,
    ) -> Vec<Result<Found, DigestError>> {
        // Neighbours in a folder are looked up one after the other.
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.sort_by_key(|at| paths[*at].as_ref().as_os_str());

        let seen = in_parallel(order.clone(), |at| see(paths[at].as_ref(), links));
        let remembered = self.remembered(&seen);
        let read = seen.into_iter().zip(remembered).collect();
        let found = in_parallel(read, |(seen, remembered)| self.read(seen?, remembered));
        self.remember(found.iter().flatten());

        let mut in_order: Vec<_> = paths.iter().map(|_| None).collect();
        for (at, found) in order.into_iter().zip(found) {
            in_order[at] = Some(found);
        }
        in_order.into_iter().map(|found| found.expect("each place occurs once in the order")).collect()
    }

    /// Returns, for each file that was seen, the row that stands for reading it.
    fn remembered(&self, seen: &[Result<Seen<'_>, DigestError>]) -> Vec<Option<Remembered>> {
        let fetched = self.fetch(seen);
        let mut memory = self.memory();
        let mut row = |seen: &Seen<'_>| {
            let row = *memory.rows.get(&seen.key)?;
            (row.stamp == seen.stamp && memory.stamps_hold(seen)).then_some(Remembered { row, check: false })
        };
        let mut remembered: Vec<_> = seen.iter().map(|seen| row(seen.as_ref().ok()?)).collect();
        drop(memory);
        let unchecked = seen.iter().zip(&mut remembered).filter_map(|(seen, remembered)| {
            let seen = seen.as_ref().ok().filter(|seen| fetched.contains(&seen.key))?;
            Some((seen, remembered.as_mut()?))
        });
        self.draw(unchecked);
        remembered
    }

    /// Takes the rows of earlier runs into memory and returns whose they are.
    fn fetch(&self, seen: &[Result<Seen<'_>, DigestError>]) -> HashSet<FileKey> {
        let mut keys: Vec<FileKey> = {
            let memory = self.memory();
            seen.iter().flatten().map(|seen| seen.key).filter(|key| !memory.rows.contains_key(key)).collect()
        };
        if keys.is_empty() {
            return HashSet::new();
        }
        keys.sort_unstable();
        keys.dedup();
        let rows = self.rows.get(&keys);
        let fetched: Vec<_> = keys.into_iter().zip(rows).filter_map(|(key, row)| Some((key, row?))).collect();
        self.memory().rows.extend(fetched.iter().copied());
        fetched.into_iter().map(|(key, _)| key).collect()
    }

    /// Decides which rows are checked: one in a hundred, and one for certain if no other was in this run.
    fn draw<'a>(&self, unchecked: impl Iterator<Item = (&'a Seen<'a>, &'a mut Remembered)>) {
        let mut certain: Option<(u64, &mut Remembered)> = None;
        for (seen, remembered) in unchecked {
            let chance = self.chance(seen.key);
            if chance.is_multiple_of(100) {
                remembered.check = true;
                self.checked_one.store(true, Ordering::Relaxed);
            } else if seen.stamp.size <= CERTAIN_CHECK_MAX
                && certain.as_ref().is_none_or(|(least, _)| chance < *least)
            {
                certain = Some((chance, remembered));
            }
        }
        if let Some((_, remembered)) = certain
            && !self.checked_one.swap(true, Ordering::Relaxed)
        {
            remembered.check = true;
        }
    }

    /// Draws a number for a file: the same in one run, another in the next.
    fn chance(&self, key: FileKey) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, key).hash(&mut hasher);
        hasher.finish()
    }

    fn read(&self, mut seen: Seen<'_>, remembered: Option<Remembered>) -> Result<Found, DigestError> {
        if let Some(Remembered { row, check: false }) = remembered {
            let size = seen.stamp.size;
            return Ok(Found { settled: true, ..seen.found(row.digest, size) });
        }
        let path = seen.path;
        for (tries, pause) in TRIES.into_iter().enumerate() {
            if tries > 0 {
                std::thread::sleep(pause);
                seen = see(path, seen.links)?;
            }
            // Taken before the first byte is read: what is written while it is read is not settled.
            let now_ns = (self.now_ns)();
            let Some((digest, size)) = seen.digest()? else { continue };
            let settled = now_ns.saturating_sub(seen.stamp.newest_ns()) >= SETTLED_NS
                && self.memory().stamps_hold(&seen);
            let checked = remembered.map(|remembered| remembered.row).filter(|row| row.stamp == seen.stamp);
            let found = Found { settled, reread: checked.is_some(), ..seen.found(digest, size) };
            if checked.is_some_and(|row| row.digest != digest) {
                // What was read replaces the row, so that the next run does not trust it again.
                self.remember([&Found { settled: true, ..found }]);
                return Err(DigestError::StampLied { path: path.to_owned() });
            }
            return Ok(found);
        }
        Err(DigestError::Unstable { path: path.to_owned() })
    }

    fn remember<'a>(&self, found: impl IntoIterator<Item = &'a Found>) {
        let mut memory = self.memory();
        for found in found.into_iter().filter(|found| found.settled) {
            let row = Row { stamp: found.stamp, digest: found.content.digest };
            if memory.rows.insert(found.key, row) != Some(row) {
                memory.new.insert(found.key, row);
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change to it is one call, so that a thread that panicked left it whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn stamps_hold(&mut self, seen: &Seen<'_>) -> bool {
        let device = seen.key.device;
        if let Some(known) = self.stamps_hold.get(&device) {
            return *known;
        }
        let told = filesystem::stamps_hold(seen.path);
        if let Some(told) = told {
            self.stamps_hold.insert(device, told);
        }
        told.unwrap_or(false)
    }
}

impl Found {
    fn is_unwritten_since(&self, earlier: &Self) -> bool {
        let whole = |found: &Self| (found.content, found.key, found.stamp.mtime_ns, found.link.clone());
        whole(self) == whole(earlier)
    }
}

/// Maps in order, on all threads when it is worth it.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, map: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if items.len() <= SEQUENTIAL_MAX {
        return items.into_iter().map(map).collect();
    }
    items.into_par_iter().with_min_len(SEQUENTIAL_MAX).map(map).collect()
}
