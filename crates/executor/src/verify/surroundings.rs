//! All files of a folder as they are at one moment, and what became of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cairn_content::{FileKey, Stamp, hash};
use cairn_model::Digest;
use cairn_records::database;

/// Files below this size are read again whatever their times say: these are only as fine as the kernel's clock ticks.
const READ_AGAIN_MAX: u64 = 1024 * 1024;

/// The name of a state folder: never part of what is looked at.
const STATE: &str = ".cairn";

/// What one path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    File { digest: Digest, executable: bool },
    Link(Vec<u8>),
}

/// The files below a folder, by their paths in it.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    files: BTreeMap<PathBuf, (FileKey, Stamp, Held)>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Became {
    Changed,
    Missing,
    New,
}

impl Surroundings {
    /// Looks at all files below `top` but those that `own` tells of; `before` spares reading what is untouched.
    pub(super) fn look(top: &Path, before: Option<&Self>, own: &dyn Fn(&Path) -> bool) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        walk(top, &mut |below, metadata| {
            if own(below) {
                return Ok(());
            }
            let (key, stamp) = (FileKey::of(metadata), Stamp::of(metadata));
            let known = before.and_then(|before| before.files.get(below));
            let untouched = known.filter(|(known_key, known_stamp, _)| {
                (*known_key, *known_stamp) == (key, stamp) && metadata.len() > READ_AGAIN_MAX
            });
            let held = match untouched {
                Some((_, _, held)) => held.clone(),
                None if metadata.is_symlink() => {
                    Held::Link(fs::read_link(top.join(below))?.into_os_string().as_bytes().to_vec())
                }
                None => {
                    let file = File::open(top.join(below))?;
                    let (digest, _) = hash::file(&file, metadata.len())?;
                    Held::File { digest, executable: stamp.mode & 0o100 != 0 }
                }
            };
            files.insert(below.to_owned(), (key, stamp, held));
            Ok(())
        })?;
        Ok(Self { files })
    }

    /// Returns the files that are SQLite databases.
    pub(super) fn databases(&self, top: &Path) -> Vec<PathBuf> {
        let is_database = |below: &&PathBuf| database::is_database(&top.join(below)).unwrap_or(false);
        self.files.keys().filter(is_database).cloned().collect()
    }

    /// Returns what is otherwise in `after`, by path. What a database has beside it counts as the database.
    pub(super) fn became(&self, after: &Self, databases: &dyn Fn(&Path) -> bool) -> Vec<(PathBuf, Became)> {
        let mut found = BTreeMap::new();
        for path in self.files.keys().chain(after.files.keys()) {
            let became = match (self.files.get(path), after.files.get(path)) {
                (Some((.., before)), Some((.., after))) if before == after => continue,
                (Some(_), Some(_)) => Became::Changed,
                (Some(_), None) => Became::Missing,
                (None, _) => Became::New,
            };
            match owner(path).filter(|owner| databases(owner)) {
                // A database of which only the journal changed is looked into all the same.
                Some(owner) => found.entry(owner).or_insert(Became::Changed),
                None => found.entry(path.clone()).or_insert(became),
            };
        }
        found.into_iter().collect()
    }

    /// Takes over the files of `other` that are not known here.
    pub(super) fn extend(&mut self, other: Self) {
        for (path, held) in other.files {
            self.files.entry(path).or_insert(held);
        }
    }
}

/// Returns the database that a file may belong to by its name.
fn owner(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let owner = database::COMPANIONS.iter().find_map(|ending| name.strip_suffix(ending))?;
    Some(path.with_file_name(owner))
}

/// How all files of a folder look, without being read: whether anyone touches them meanwhile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Looks(BTreeMap<PathBuf, (FileKey, Stamp)>);

impl Looks {
    /// Looks at all files below `top` but the folder `except`.
    pub(super) fn of(top: &Path, except: &Path) -> io::Result<Self> {
        let mut looks = BTreeMap::new();
        walk(top, &mut |below, metadata| {
            if !top.join(below).starts_with(except) {
                looks.insert(below.to_owned(), (FileKey::of(metadata), Stamp::of(metadata)));
            }
            Ok(())
        })?;
        Ok(Self(looks))
    }

    /// Returns a file that looks otherwise in `after`.
    pub(super) fn first_touched(&self, after: &Self) -> Option<PathBuf> {
        let paths = self.0.keys().chain(after.0.keys());
        paths.into_iter().find(|path| self.0.get(*path) != after.0.get(*path)).cloned()
    }
}

/// Calls `each` with every file and link below `top`: its path there. State folders are left out, and so are pipes,
/// sockets and devices.
pub(super) fn walk(
    top: &Path,
    each: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    walk_with_folders(top, &mut |below, metadata| {
        if metadata.is_dir() { Ok(()) } else { each(below, metadata) }
    })
}

/// Does the same, and calls `each` with folders too, before what is in them.
pub(super) fn walk_with_folders(
    top: &Path,
    each: &mut dyn FnMut(&Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder))? {
            let entry = entry?;
            let below = folder.join(entry.file_name());
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // It went away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if metadata.is_dir() {
                if entry.file_name() != STATE {
                    each(&below, &metadata)?;
                    folders.push(below);
                }
            } else if metadata.is_file() || metadata.is_symlink() {
                each(&below, &metadata)?;
            }
        }
    }
    Ok(())
}
