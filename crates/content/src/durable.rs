//! Bytes that are still there after a power cut: the only code that renames, syncs, and removes trees.
//!
//! A file appears whole: it is made under another name ([`write_file`], or by the caller), made durable (one by one or
//! many at once by a [`Barrier`]) and renamed. A sync that failed is an error and is not tried again: the kernel has
//! dropped the pages by then, and a second one would report success (fsync(2); "fsyncgate", 2018).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};

use crate::file_error::cannot;
use crate::{FileError, temporary};

mod barrier;
mod remove;

pub use barrier::Barrier;
pub use remove::{Rights, empty_tree, remove_tree};

/// Renames `from` to `to`; a file or an empty folder that is there is replaced. Nothing is synced.
#[expect(clippy::disallowed_methods, reason = "the one place that renames")]
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(cannot("rename to", to))
}

/// Renames `from` to `to`, where nothing may be: else the error's kind is `AlreadyExists`. Nothing is synced.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), FileError> {
    let result = rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE);
    match result.map_err(cannot("rename to", to)) {
        // Where the system cannot do both in one step, a moment between them remains.
        Err(error) if error.is_unsupported() => match fs::symlink_metadata(to) {
            Ok(_) => Err(cannot("rename to", to)(io::Error::from(io::ErrorKind::AlreadyExists))),
            Err(_) => rename(from, to),
        },
        result => result,
    }
}

/// Swaps the names of `left` and `right` in one step, files or folders. Nothing is synced.
pub(crate) fn exchange(left: &Path, right: &Path) -> Result<(), FileError> {
    rustix::fs::renameat_with(CWD, left, CWD, right, RenameFlags::EXCHANGE)
        .map_err(cannot("swap with another", right))
}

/// Writes the file `path` whole and durably: a temporary file beside it, sync, rename, sync of the folder.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let folder = parent(path);
    let temporary = folder.join(temporary::name());
    let written = File::create_new(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(cannot("write", path))
        .and_then(|()| rename(&temporary, path));
    if let Err(error) = written {
        // If it cannot be removed either, its name tells what it is.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync(folder)
}

/// Makes `folder` and what is missing above it, and enters in `barrier` what is new and what it was made in.
pub fn create_folders(folder: &Path, barrier: &mut Barrier) -> Result<(), FileError> {
    let above = parent(folder);
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && above != Path::new(".") => {
            create_folders(above, barrier)?;
            return create_folders(folder, barrier);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        Err(error) => return Err(cannot("make the folder", folder)(error)),
    }
    barrier.folder(folder);
    barrier.folder(above);
    Ok(())
}

/// Makes one file's bytes, or one folder's entries, durable.
fn sync(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(cannot("make durable", path))
}

/// Returns the folder that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("HEAD");
        for bytes in [&b"first"[..], b"", b"second"] {
            write_file(&path, bytes).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("inner")).unwrap();
        let error = write_file(&taken, b"x").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(taken.join("inner").is_dir());
        let missing = folder.path().join("no/such/folder");
        assert_eq!(write_file(&missing, b"x").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_is_replaced_and_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        write_file(&link, b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"kept");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn renaming_to_a_new_name_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        fs::write(&to, "old").unwrap();
        assert_eq!(rename_new(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"old");
        fs::remove_file(&to).unwrap();
        rename_new(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }

    #[test]
    fn folders_are_made_down_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        for _ in 0..2 {
            let mut barrier = Barrier::new();
            create_folders(&deep, &mut barrier).unwrap();
            barrier.sync().unwrap();
            assert!(deep.is_dir());
        }
        fs::write(folder.path().join("file"), "").unwrap();
        let error = create_folders(&folder.path().join("file/below"), &mut Barrier::new()).unwrap_err();
        assert!(error.to_string().contains("file/below"), "{error}");
    }
}
