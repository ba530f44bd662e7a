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

use std::collections::{BTreeMap, HashMap};
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
use seen::{Neighbours, Seen, see};
pub use tree::FoundTree;
pub(crate) use walk::{Entry, EntryKind, below, walk};

/// How old a file's times must be for it to be settled: 2 s, which is more than the coarsest grain of times (FAT).
pub(crate) const SETTLED_NS: i64 = 2_000_000_000;

/// Bytes in the largest file that is read only because a run must check at least one row. Larger ones have their one
/// chance in a hundred: a run that has nothing to do does not read 100 GB.
const CERTAIN_CHECK_MAX: u64 = 64 << 20;

/// Pauses before the tries to read a file that changes.
const TRIES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(100)];

/// Files in a batch below which handing them to other threads costs more than it gains.
const SEQUENTIAL_MAX: usize = 8;

/// Files in one folder that one thread takes at a time.
const TOGETHER_MAX: usize = 64;

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
    rows: HashMap<FileKey, Known>,
    /// Those of them that no earlier run had and nobody took yet.
    new: BTreeMap<FileKey, Row>,
    /// Whether the stamps of a filesystem hold, by its device.
    stamps_hold: HashMap<u64, bool>,
}

/// A row in memory.
struct Known {
    row: Row,
    /// Whether this run read the file, or used or checked the row.
    used: bool,
}

/// A row that stands for reading a file.
#[derive(Debug, Clone, Copy)]
struct Recalled {
    row: Row,
    /// Whether it is to be checked by reading the file; before lots are drawn, whether it may be.
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

    /// Returns what is in each of the files `paths`, in their order: in parallel, with one call for the rows. It is best
    /// to give them sorted, so that neighbours in a folder are looked up one after the other.
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
        let seen = see(&Neighbours::of(&placed.path, 1), &placed.path, Links::None).ok()?;
        let (stamp, content) = (seen.stamp, placed.content);
        if (seen.key, stamp.mtime_ns) != (placed.key, placed.mtime_ns)
            || (stamp.size, stamp.executable()) != (content.size, content.executable)
        {
            return None;
        }
        let settled =
            stamp.ctime_ns.saturating_sub(stamp.mtime_ns) >= SETTLED_NS && self.memory().stamps_hold(&seen);
        let found = Found { settled, ..seen.found(content.digest, content.size) };
        self.memory().remember(&found);
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
        let mut seen = see_all(paths, links);
        self.recall(&mut seen);
        by_folder(seen, path_seen, |neighbours, seen| self.read(neighbours, seen?))
    }

    /// Notes with each file that was seen the row that stands for reading it.
    fn recall(&self, seen: &mut [Result<Seen<'_>, DigestError>]) {
        self.fetch(seen);
        let mut memory = self.memory();
        for seen in seen.iter_mut().flatten() {
            seen.recalled = memory.recall(seen);
        }
        drop(memory);
        self.draw(seen);
    }

    /// Takes the rows of earlier runs into memory.
    fn fetch(&self, seen: &[Result<Seen<'_>, DigestError>]) {
        let mut keys: Vec<FileKey> = {
            let memory = self.memory();
            seen.iter().flatten().map(|seen| seen.key).filter(|key| !memory.rows.contains_key(key)).collect()
        };
        if keys.is_empty() {
            return;
        }
        keys.sort_unstable();
        keys.dedup();
        let rows = self.rows.get(&keys);
        let fetched = keys.into_iter().zip(rows);
        self.memory()
            .rows
            .extend(fetched.filter_map(|(key, row)| Some((key, Known { row: row?, used: false }))));
    }

    /// Of the rows that were never used in this run, leaves one in a hundred to be checked, and one for certain if no
    /// other was before.
    fn draw(&self, seen: &mut [Result<Seen<'_>, DigestError>]) {
        let mut checks_any = false;
        let mut certain: Option<(u64, &mut Recalled)> = None;
        for seen in seen.iter_mut().flatten() {
            let (key, size) = (seen.key, seen.stamp.size);
            let Some(recalled) = seen.recalled.as_mut().filter(|recalled| recalled.check) else { continue };
            let chance = self.chance(key);
            recalled.check = chance.is_multiple_of(100);
            checks_any |= recalled.check;
            if size <= CERTAIN_CHECK_MAX && certain.as_ref().is_none_or(|(least, _)| chance < *least) {
                certain = Some((chance, recalled));
            }
        }
        if checks_any {
            self.checked_one.store(true, Ordering::Relaxed);
        } else if let Some((_, recalled)) = certain {
            recalled.check = !self.checked_one.swap(true, Ordering::Relaxed);
        }
    }

    /// Draws a number for a file: the same in one run, another in the next.
    fn chance(&self, key: FileKey) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, key).hash(&mut hasher);
        hasher.finish()
    }

    fn read(&self, neighbours: &Neighbours, mut seen: Seen<'_>) -> Result<Found, DigestError> {
        let recalled = seen.recalled;
        if let Some(Recalled { row, check: false }) = recalled {
            let size = seen.stamp.size;
            return Ok(Found { settled: true, ..seen.found(row.digest, size) });
        }
        let path = seen.path;
        for (tries, pause) in TRIES.into_iter().enumerate() {
            if tries > 0 {
                std::thread::sleep(pause);
                seen = see(neighbours, path, seen.links)?;
            }
            // Taken before the first byte is read: what is written while it is read is not settled.
            let now_ns = (self.now_ns)();
            let Some((digest, size)) = seen.digest(neighbours)? else { continue };
            let checked = recalled.map(|recalled| recalled.row).filter(|row| row.stamp == seen.stamp);
            let old = now_ns.saturating_sub(seen.stamp.newest_ns()) >= SETTLED_NS;
            let settled = checked.is_some() || (old && self.memory().stamps_hold(&seen));
            let found = Found { settled, reread: checked.is_some(), ..seen.found(digest, size) };
            self.memory().remember(&found);
            return match checked {
                // What was read replaces the row, so that the next run does not trust it again.
                Some(row) if row.digest != digest => Err(DigestError::StampLied { path: path.to_owned() }),
                _ => Ok(found),
            };
        }
        Err(DigestError::Unstable { path: path.to_owned() })
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Each change to it is one call, so that a thread that panicked left it whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn recall(&mut self, seen: &Seen<'_>) -> Option<Recalled> {
        let known = self.rows.get_mut(&seen.key).filter(|known| known.row.stamp == seen.stamp)?;
        let recalled = Recalled { row: known.row, check: !known.used };
        known.used = true;
        self.stamps_hold(seen).then_some(recalled)
    }

    fn remember(&mut self, found: &Found) {
        if !found.settled {
            return;
        }
        let row = Row { stamp: found.stamp, digest: found.content.digest };
        let before = self.rows.insert(found.key, Known { row, used: true });
        if before.is_none_or(|before| before.row != row) {
            self.new.insert(found.key, row);
        }
    }

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

fn path_seen<'a>(seen: &Result<Seen<'a>, DigestError>) -> Option<&'a Path> {
    seen.as_ref().ok().map(|seen| seen.path)
}

/// Looks at the files at `paths`, in their order.
fn see_all<P: AsRef<Path> + Sync>(paths: &[P], links: Links) -> Vec<Result<Seen<'_>, DigestError>> {
    let paths: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    by_folder(paths, |path| Some(*path), |neighbours, path| see(neighbours, path, links))
}

/// Maps in order, on all threads when it is worth it, those in one folder that follow each other with that folder held.
fn by_folder<'a, T: Send, R: Send>(
    items: Vec<T>,
    path: impl Fn(&T) -> Option<&'a Path>,
    map: impl Fn(&Neighbours, T) -> R + Sync + Send,
) -> Vec<R> {
    let mut groups: Vec<(Option<&Path>, Vec<T>)> = Vec::new();
    let mut parent = None;
    for item in items {
        let path = path(&item);
        let parent_now = path.and_then(Path::parent);
        match groups.last_mut() {
            Some((_, group)) if parent_now == parent && group.len() < TOGETHER_MAX => group.push(item),
            _ => groups.push((path, vec![item])),
        }
        parent = parent_now;
    }
    let mapped = in_parallel(groups, |(path, group)| {
        let neighbours = Neighbours::of(path.unwrap_or(Path::new("")), group.len());
        group.into_iter().map(|item| map(&neighbours, item)).collect::<Vec<_>>()
    });
    mapped.into_iter().flatten().collect()
}

/// Maps in order, on all threads when it is worth it.
fn in_parallel<T: Send, R: Send>(items: Vec<T>, map: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if items.len() <= SEQUENTIAL_MAX {
        return items.into_iter().map(map).collect();
    }
    items.into_par_iter().with_min_len(SEQUENTIAL_MAX).map(map).collect()
}
