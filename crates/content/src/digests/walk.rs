use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::seen::word;
use super::{DigestError, in_parallel};
use crate::file_error::cannot;

/// One entry below a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path below the folder: raw bytes, `/` between the parts.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: EntryKind,
}

/// What an entry is, its bytes not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Folder,
    /// A link, not followed: what it says.
    Link(Vec<u8>),
}

impl Entry {
    /// Returns the entry's path with the folder's.
    pub(crate) fn below(&self, top: &Path) -> PathBuf {
        below(top, &self.path)
    }
}

/// Returns all entries below the folder `top`, sorted by the bytes of their paths; a link at `top` itself is followed.
///
/// # Errors
/// `Unstable` when a folder went away or became something else meanwhile; `Special`, `Unreadable`.
pub(crate) fn walk(top: &Path) -> Result<Vec<Entry>, DigestError> {
    let mut entries = Vec::new();
    // One level after the other and not a recursion: a tree can be deeper than the stack.
    let mut level = vec![Vec::new()];
    while !level.is_empty() {
        let listed = in_parallel(level, |folder| list(top, &folder));
        level = Vec::new();
        for listed in listed {
            let listed = listed?;
            let folders = listed.iter().filter(|entry| entry.kind == EntryKind::Folder);
            level.extend(folders.map(|entry| entry.path.clone()));
            entries.extend(listed);
        }
    }
    entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
    Ok(entries)
}

fn list(top: &Path, folder: &[u8]) -> Result<Vec<Entry>, DigestError> {
    let path = below(top, folder);
    let at_path = |errno: Errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => DigestError::Unstable { path: path.clone() },
        errno => cannot("read the folder", &path)(errno).into(),
    };
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !folder.is_empty());
    let handle = rustix::fs::openat(CWD, &path, flags, Mode::empty()).map_err(at_path)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&handle).map_err(at_path)? {
        let entry = entry.map_err(at_path)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let metadata = rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at_path)?;
            kind = FileType::from_raw_mode(metadata.st_mode);
        }
        let kind = match kind {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&handle, name, Vec::new()).map_err(at_path)?;
                EntryKind::Link(target.into_bytes())
            }
            _ => {
                let path = path.join(OsStr::from_bytes(name.to_bytes()));
                return Err(DigestError::Special { path, kind: word(kind) });
            }
        };
        let mut path = folder.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        entries.push(Entry { path, kind });
    }
    Ok(entries)
}

/// Returns the path of what is at `path` below the folder `top`; without a path, of the folder itself.
pub(crate) fn below(top: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { top.to_owned() } else { top.join(OsStr::from_bytes(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_folder_that_became_a_link_since_it_was_listed_is_not_walked() {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("real")).unwrap();
        fs::write(top.path().join("real/secret"), "x").unwrap();
        std::os::unix::fs::symlink("real", top.path().join("link")).unwrap();
        for gone in [&b"link"[..], b"missing", b"real/secret"] {
            let error = list(top.path(), gone).unwrap_err();
            assert!(matches!(error, DigestError::Unstable { .. }), "{error}");
        }
        // The top itself may be a link: the caller says so.
        assert_eq!(walk(&top.path().join("link")).unwrap().len(), 1);
    }
}
