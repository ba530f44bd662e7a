//! The index: how everything a pipeline reads and makes looked when all of it was found in place.
//!
//! When nothing changed since, a run has nothing to do, and need not parse, hash or open the store to know: the
//! definition has the same bytes, and every file and folder has the same identity, size, times and mode (the digest
//! cache's rule, K6: stamps count only when they were settled, and a random hundredth of the files is read again).
//! The index may be lost at any time; whatever it does not vouch for is looked up in full.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cairn_content::{FileKey, Stamp, durable, hash};
use cairn_dag::{Cache, InputKind, Instance, Pipeline};
use cairn_model::{Digest, Domain, ProjectPath, Timestamp};
use serde::{Deserialize, Serialize};

/// Format of the file; another one is not read.
const FORMAT: u32 = 1;

/// One in so many files is read again.
const REREAD_ONE_IN: u64 = 100;

/// How everything looked.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    format: u32,
    /// Digest of the definition and of all else that decides what the pipeline is.
    key: Digest,
    /// The store's sequence number: one that went back behind it does not have what was found.
    sequence: u64,
    instances: u32,
    saved_ms: u64,
    environment: Vec<(String, Option<String>)>,
    absent: Vec<String>,
    entries: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    path: String,
    device: u64,
    inode: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    mode: u32,
    /// `None` for a folder, whose times tell when names in it come and go.
    digest: Option<Digest>,
}

/// What a run that has nothing to do tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unchanged {
    /// Instances, all of them fresh.
    pub instances: u32,
    /// What their executions took, in milliseconds.
    pub saved_ms: u64,
}

/// Where an index is kept: `name` tells pipelines and their params apart.
pub fn path(state: &Path, name: &Digest) -> PathBuf {
    state.join("cache").join(format!("{}.index", name.short()))
}

/// Returns whether all that an instance depends on shows on disk.
fn is_visible(instance: &Instance) -> bool {
    let commands = instance.inputs.iter().any(|input| matches!(input.kind, InputKind::Command { .. }));
    // Whether an effect still stands, its probe and the store say.
    let apart = instance.effect.is_some() || instance.records.is_some();
    instance.policy.cache == Cache::Always && instance.tools.is_empty() && !commands && !apart
}

/// Collects an index while instances are found fresh.
#[derive(Debug, Default)]
pub struct Collector {
    entries: BTreeMap<String, Entry>,
    absent: Vec<String>,
    environment: BTreeMap<String, Option<String>>,
    globs: BTreeSet<String>,
    instances: u32,
    saved_ms: u64,
    spoilt: bool,
    /// Folders changed after this have not settled: nanoseconds since 1970.
    settled_before_ns: i64,
}

/// A stamp counts when it is at least so old: filesystems tell times in steps of up to 2 s.
const SETTLED_MS: i64 = 2_000;

impl Collector {
    /// Starts with nothing, at the time `now`.
    pub fn new(now: Timestamp) -> Self {
        let settled_before_ns = now.0.saturating_sub(SETTLED_MS).saturating_mul(1_000_000);
        Self { settled_before_ns, ..Self::default() }
    }

    /// Says that something does not show on disk, or has not settled: there will be no index.
    pub fn spoil(&mut self) {
        self.spoilt = true;
    }

    /// Counts a fresh instance.
    pub fn instance(&mut self, instance: &Instance, saved_ms: u64) {
        self.instances += 1;
        self.saved_ms += saved_ms;
        self.spoilt |= !is_visible(instance);
    }

    /// Notes a file.
    pub fn file(&mut self, path: String, key: FileKey, stamp: Stamp, digest: Digest) {
        let FileKey { device, inode } = key;
        let Stamp { size, mtime_ns, ctime_ns, mode } = stamp;
        let entry =
            Entry { path: path.clone(), device, inode, size, mtime_ns, ctime_ns, mode, digest: Some(digest) };
        self.entries.insert(path, entry);
    }

    /// Notes a folder: names that come or go in it change its times.
    pub fn folder(&mut self, folder: &Path, path: &str) {
        let on_disk = if path.is_empty() { folder.to_owned() } else { folder.join(path) };
        match look(rustix::fs::CWD, &on_disk) {
            Some(mut entry)
                if entry.is_folder() && entry.mtime_ns.max(entry.ctime_ns) < self.settled_before_ns =>
            {
                path.clone_into(&mut entry.path);
                self.entries.insert(path.to_owned(), entry);
            }
            _ => self.spoil(),
        }
    }

    /// Returns whether a glob is new here, so that its folders have to be noted.
    pub fn is_new_glob(&mut self, pattern: &str) -> bool {
        self.globs.insert(pattern.to_owned())
    }

    /// Notes that nothing is at `path`.
    pub fn absent(&mut self, path: &ProjectPath) {
        self.absent.push(path.to_string());
    }

    /// Notes the value of a variable.
    pub fn variable(&mut self, name: &str, value: Option<&String>) {
        self.environment.insert(name.to_owned(), value.cloned());
    }

    /// Returns the index, if every instance of `pipeline` was fresh and nothing speaks against one.
    pub fn finish(self, pipeline: &Pipeline, key: Digest, sequence: u64) -> Option<Index> {
        let complete = self.instances as usize == pipeline.instances.len() && !pipeline.volatile;
        (complete && !self.spoilt).then(|| Index {
            format: FORMAT,
            key,
            sequence,
            instances: self.instances,
            saved_ms: self.saved_ms,
            environment: self.environment.into_iter().collect(),
            absent: self.absent,
            entries: self.entries.into_values().collect(),
        })
    }
}

impl Index {
    /// Writes the index; a failure only means that the next run looks everything up.
    pub fn write(&self, path: &Path) {
        let Ok(body) = postcard::to_stdvec(self) else { return };
        let mut bytes = Domain::Index.digest(&body).as_bytes().to_vec();
        bytes.extend(body);
        if let Some(folder) = path.parent()
            && let Err(error) = fs::create_dir_all(folder)
        {
            tracing::debug!(%error, folder = %folder.display(), "cannot make the folder of the index");
        }
        if let Err(error) = durable::write_file(path, &bytes) {
            tracing::debug!(%error, "cannot write the index");
        }
    }

    /// Reads the index that was written for `key`, if there is one and it is whole.
    pub fn read(path: &Path, key: &Digest) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (digest, body) = bytes.split_at_checked(Digest::LENGTH)?;
        if Domain::Index.digest(body).as_bytes() != digest {
            return None;
        }
        let index: Self = postcard::from_bytes(body).ok()?;
        (index.format == FORMAT && index.key == *key).then_some(index)
    }

    /// Returns what to tell if everything below `folder` still looks as it did; `seed` chooses the files that are read.
    pub fn check(
        &self,
        folder: &Path,
        store_sequence: u64,
        variable: impl Fn(&str) -> Option<String>,
        seed: u64,
    ) -> Option<Unchanged> {
        if store_sequence < self.sequence
            || self.environment.iter().any(|(name, value)| variable(name) != *value)
        {
            return None;
        }
        let mode = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(folder, mode, rustix::fs::Mode::empty()).ok()?;
        let is_absent =
            |path: &String| rustix::fs::statat(&root, path.as_str(), rustix::fs::AtFlags::empty()).is_err();
        if !self.absent.iter().all(is_absent)
            || !self.all_look_alike(&root)
            || !self.sample_reads_alike(folder, seed)
        {
            return None;
        }
        Some(Unchanged { instances: self.instances, saved_ms: self.saved_ms })
    }

    fn all_look_alike(&self, root: &OwnedFd) -> bool {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let size = self.entries.len().div_ceil(threads).max(512);
        std::thread::scope(|scope| {
            let alike = |entries: &[Entry]| entries.iter().all(|entry| entry.looks_alike(root));
            let mut chunks = self.entries.chunks(size);
            let own = chunks.next().unwrap_or_default();
            let others: Vec<_> = chunks.map(|chunk| scope.spawn(move || alike(chunk))).collect();
            let own = alike(own);
            others.into_iter().all(|other| other.join().unwrap_or(false)) && own
        })
    }

    /// Memory maps can change bytes and leave every stamp as it was: a hundredth of the files, at least one, is read.
    fn sample_reads_alike(&self, folder: &Path, seed: u64) -> bool {
        let files: Vec<&Entry> = self.entries.iter().filter(|entry| entry.digest.is_some()).collect();
        let count = (files.len() as u64).div_ceil(REREAD_ONE_IN);
        let mut state = seed | 1;
        (0..count).all(|_| {
            // Marsaglia's xorshift64 (2003): which files are read need not be unpredictable, only different each time.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state % files.len() as u64).unwrap_or(0);
            files[at].reads_alike(folder)
        })
    }
}

impl Entry {
    fn is_folder(&self) -> bool {
        rustix::fs::FileType::from_raw_mode(self.mode).is_dir()
    }

    fn looks_alike(&self, root: &OwnedFd) -> bool {
        let path = if self.path.is_empty() { "." } else { &self.path };
        look(root, Path::new(path)).is_some_and(|now| {
            // A folder's size and links say nothing that its times do not.
            let same_bytes = self.digest.is_none() || now.size == self.size;
            same_bytes
                && now.inode == self.inode
                && now.mtime_ns == self.mtime_ns
                && now.ctime_ns == self.ctime_ns
                && now.device == self.device
                && now.mode == self.mode
        })
    }

    fn reads_alike(&self, folder: &Path) -> bool {
        let Ok(file) = fs::File::open(folder.join(&self.path)) else { return false };
        hash::file(&file, self.size).is_ok_and(|(digest, _)| Some(digest) == self.digest)
    }
}

/// Stats `path`, links followed.
fn look(root: impl std::os::fd::AsFd, path: &Path) -> Option<Entry> {
    let stat = rustix::fs::statat(root, path, rustix::fs::AtFlags::empty()).ok()?;
    let nanos = |seconds: i64, nanos: u64| {
        seconds.saturating_mul(1_000_000_000).saturating_add(i64::try_from(nanos).unwrap_or(0))
    };
    Some(Entry {
        path: String::new(),
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).ok()?,
        mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
        ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
        digest: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(folder: &Path, files: &[&str], folders: &[&str]) -> Index {
        let mut collector = Collector { settled_before_ns: i64::MAX, ..Collector::default() };
        for path in files {
            let entry = look(rustix::fs::CWD, &folder.join(path)).unwrap();
            let file = fs::File::open(folder.join(path)).unwrap();
            let (digest, size) = hash::file(&file, entry.size).unwrap();
            let key = FileKey { device: entry.device, inode: entry.inode };
            let stamp = Stamp { size, mtime_ns: entry.mtime_ns, ctime_ns: entry.ctime_ns, mode: entry.mode };
            collector.file((*path).to_owned(), key, stamp, digest);
        }
        for path in folders {
            collector.folder(folder, path);
        }
        collector.variable("SET", Some(&"1".to_owned()));
        collector.absent(&ProjectPath::parse("later").unwrap());
        Index {
            format: FORMAT,
            key: Domain::Definition.digest(b"x"),
            sequence: 5,
            instances: 0,
            saved_ms: 0,
            environment: collector.environment.into_iter().collect(),
            absent: collector.absent,
            entries: collector.entries.into_values().collect(),
        }
    }

    fn holds(index: &Index, folder: &Path) -> bool {
        let variable = |name: &str| (name == "SET").then(|| "1".to_owned());
        index.check(folder, 5, variable, 7).is_some()
    }

    #[test]
    fn whatever_changes_is_seen() {
        type Change = fn(&Path);
        let changes: &[(&str, Change)] = &[
            ("bytes", |folder| fs::write(folder.join("a"), "other").unwrap()),
            ("same size", |folder| fs::write(folder.join("a"), "eno").unwrap()),
            ("replaced", |folder| {
                fs::write(folder.join("new"), "one").unwrap();
                durable::rename(&folder.join("new"), &folder.join("a")).unwrap();
            }),
            ("gone", |folder| fs::remove_file(folder.join("a")).unwrap()),
            ("a new name in a folder", |folder| fs::write(folder.join("sub/new"), "").unwrap()),
            ("what was absent", |folder| fs::write(folder.join("later"), "").unwrap()),
            ("mode", |folder| {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(folder.join("a"), mode).unwrap();
            }),
        ];
        for (what, change) in changes {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path();
            fs::create_dir(folder.join("sub")).unwrap();
            fs::write(folder.join("a"), "one").unwrap();
            fs::write(folder.join("sub/b"), "two").unwrap();
            let index = index_of(folder, &["a", "sub/b"], &["sub"]);
            assert!(holds(&index, folder), "nothing changed");
            // Times of files are told in steps of the kernel's tick.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change(folder);
            assert!(!holds(&index, folder), "{what}");
        }
    }

    #[test]
    fn bytes_that_change_under_an_equal_stamp_are_found_by_reading() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("a"), "one").unwrap();
        let mut index = index_of(temporary.path(), &["a"], &[]);
        index.entries[0].digest = Some(Domain::File.digest(b"two"));
        assert!(!holds(&index, temporary.path()));
    }

    #[test]
    fn environment_store_and_key_count_and_a_scribbled_index_is_none() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("a"), "one").unwrap();
        let index = index_of(temporary.path(), &["a"], &[]);
        let folder = temporary.path();
        assert!(index.check(folder, 5, |_| None, 7).is_none(), "unset");
        assert!(index.check(folder, 4, |_| Some("1".to_owned()), 7).is_none(), "the store went back");
        let file = folder.join("cache/x.index");
        index.write(&file);
        assert_eq!(Index::read(&file, &index.key).as_ref(), Some(&index));
        assert!(Index::read(&file, &Domain::Definition.digest(b"y")).is_none(), "another definition");
        let mut bytes = fs::read(&file).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            fs::write(&file, &bytes).unwrap();
            assert!(Index::read(&file, &index.key).is_none(), "byte {at}");
            bytes[at] ^= 1;
        }
    }
}
