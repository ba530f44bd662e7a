//! From one place to another, on one filesystem or from one to another.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::digests::{DigestError, EntryKind, below, walk};
use crate::durable::{Barrier, parent, remove_tree, rename_new};
use crate::file_error::cannot;
use crate::{FileError, FileKey, Stamp, copy, temporary};

/// How often what is written while it is copied to another filesystem is copied.
const TRIES: usize = 5;

/// Moves the file, link or folder `from` to `to`, where nothing may be: else the error's kind is `AlreadyExists`. A link
/// is moved as a link.
///
/// Within a filesystem it is renamed, and nothing is synced. To another one it is copied under a temporary name beside
/// `to`, renamed, made durable together with what is in `barrier`, and only then removed: `to` is whole as soon as it is
/// there, and `from` is until then and gone at once. What is written in `from` before that is in `to`: it is copied anew.
pub fn relocate(from: &Path, to: &Path, barrier: &mut Barrier) -> Result<(), FileError> {
    match rename_new(from, to) {
        Err(error) if error.is_other_filesystem() => copy_over(from, to, barrier, |_| {}),
        result => result,
    }
}

/// Moves `from` to another filesystem. `copied` is called with the number of the try when the copy is in place.
fn copy_over(
    from: &Path,
    to: &Path,
    barrier: &mut Barrier,
    mut copied: impl FnMut(usize),
) -> Result<(), FileError> {
    for number in 0..TRIES {
        let before = survey(from)?;
        let temporary = parent(to).join(temporary::name());
        if let Err(error) = copy_tree(&before, from, &temporary).and_then(|()| rename_new(&temporary, to)) {
            // If it cannot be removed either, its name tells what it is.
            let _ = remove_tree(parent(&temporary), &temporary);
            return Err(error);
        }
        barrier.folder(parent(to));
        std::mem::take(barrier).sync()?;
        copied(number);
        let unwritten = survey(from).is_ok_and(|now| now == before);
        let removed = if unwritten { remove_at_once(from) } else { Ok(()) };
        if unwritten && removed.is_ok() {
            return Ok(());
        }
        remove_at_once(to).and(removed)?;
    }
    Err(cannot("move to another filesystem", from)(io::Error::other("it is written all the time")))
}

/// Removes what is at `path` so that a crash leaves no part of it there.
fn remove_at_once(path: &Path) -> Result<(), FileError> {
    let temporary = parent(path).join(temporary::name());
    rename_new(path, &temporary).map_err(|error| cannot("remove", path)(error.cause))?;
    remove_tree(parent(&temporary), &temporary).or_else(|error| {
        tracing::warn!(%error, "what was copied to another filesystem stays under a temporary name");
        Ok(())
    })
}

/// An entry of what is moved, by its path below the top, and how it looks.
type Surveyed = (Vec<u8>, EntryKind, FileKey, Stamp);

/// Returns the file, link or folder at `top` itself, which has no path below it, and all that is in it.
fn survey(top: &Path) -> Result<Vec<Surveyed>, FileError> {
    let looked = |path: Vec<u8>, kind: EntryKind| {
        let at = below(top, &path);
        let metadata = fs::symlink_metadata(&at).map_err(cannot("read", &at))?;
        Ok((path, kind, FileKey::of(&metadata), Stamp::of(&metadata)))
    };
    let metadata = fs::symlink_metadata(top).map_err(cannot("read", top))?;
    let kind = match () {
        () if metadata.is_dir() => EntryKind::Folder,
        () if metadata.is_symlink() => {
            let target = fs::read_link(top).map_err(cannot("read", top))?;
            EntryKind::Link(target.into_os_string().into_vec())
        }
        () if metadata.is_file() => EntryKind::File,
        () => {
            return Err(cannot("move to another filesystem", top)(io::Error::other("it is a special file")));
        }
    };
    let entries = match kind {
        EntryKind::Folder => walk(top).map_err(|error| match error {
            DigestError::Unreadable(error) => error,
            error => cannot("move to another filesystem", top)(io::Error::other(error)),
        })?,
        EntryKind::File | EntryKind::Link(_) => Vec::new(),
    };
    let top = std::iter::once((Vec::new(), kind));
    top.chain(entries.into_iter().map(|entry| (entry.path, entry.kind)))
        .map(|(path, kind)| looked(path, kind))
        .collect()
}

/// Copies what was surveyed at `from`, durably.
fn copy_tree(surveyed: &[Surveyed], from: &Path, to: &Path) -> Result<(), FileError> {
    let mut barrier = Barrier::new();
    for (path, kind, ..) in surveyed {
        copy_entry(kind, &below(from, path), &below(to, path), &mut barrier)?;
    }
    barrier.sync()
}

fn copy_entry(kind: &EntryKind, from: &Path, to: &Path, barrier: &mut Barrier) -> Result<(), FileError> {
    match kind {
        EntryKind::Folder => {
            fs::create_dir(to).map_err(cannot("make the folder", to))?;
            barrier.folder(to);
        }
        EntryKind::Link(target) => {
            symlink(OsStr::from_bytes(target), to).map_err(cannot("make the link", to))?;
        }
        EntryKind::File => {
            let metadata = fs::symlink_metadata(from).map_err(cannot("read", from))?;
            let file = copy::file(from, to)?.file;
            let dated = metadata.modified().and_then(|modified| file.set_modified(modified));
            let set = dated.and_then(|()| file.set_permissions(metadata.permissions()));
            set.map_err(cannot("set the times and the mode of", to))?;
            barrier.file(to);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::mounted::Mounted;

    #[test]
    fn what_does_not_fit_stays_whole_where_it_was() {
        let top = tempfile::tempdir().unwrap();
        let (small, from) = (top.path().join("small"), top.path().join("from"));
        fs::create_dir(&small).unwrap();
        fs::create_dir(&from).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(from.join(name), vec![7; 500_000]).unwrap();
        }
        let Some(_mounted) = Mounted::memory(1 << 20, &small) else { return };
        let error = relocate(&from, &small.join("to"), &mut Barrier::new()).unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert_eq!(fs::read_dir(&small).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&from).unwrap().count(), 3);

        fs::remove_file(from.join("c")).unwrap();
        relocate(&from, &small.join("to"), &mut Barrier::new()).unwrap();
        assert_eq!(fs::read(small.join("to/b")).unwrap().len(), 500_000);
        assert_eq!(fs::read_dir(&small).unwrap().count(), 1);
        assert!(!from.exists());
    }

    /// A folder with the file `a`, and a filesystem of its own to move it to.
    fn two_filesystems() -> Option<(tempfile::TempDir, PathBuf, PathBuf, Mounted)> {
        let top = tempfile::tempdir().unwrap();
        let (other, from) = (top.path().join("other"), top.path().join("from"));
        fs::create_dir(&other).unwrap();
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a"), "old").unwrap();
        let mounted = Mounted::memory(1 << 20, &other)?;
        Some((top, from, other, mounted))
    }

    #[test]
    fn what_is_written_after_it_was_copied_is_copied_anew() {
        type Edit = fn(&Path);
        let edits: [(Edit, &str, &[u8]); 3] = [
            (|from| fs::write(from.join("a"), "new").unwrap(), "a", b"new"),
            (|from| fs::write(from.join("b"), "more").unwrap(), "b", b"more"),
            (|from| crate::durable::rename(&from.join("a"), &from.join("c")).unwrap(), "c", b"old"),
        ];
        for (edit, name, expect) in edits {
            let Some((_top, from, other, _mounted)) = two_filesystems() else { return };
            let meanwhile = |number| {
                if number == 0 {
                    edit(&from);
                }
            };
            copy_over(&from, &other.join("to"), &mut Barrier::new(), meanwhile).unwrap();
            assert_eq!(fs::read(other.join("to").join(name)).unwrap(), expect);
            assert!(!from.exists());
            assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_cannot_be_removed_stays_and_has_no_copy() {
        let Some((top, _, other, _mounted)) = two_filesystems() else { return };
        let from = top.path().join("mounted");
        fs::create_dir(&from).unwrap();
        let Some(_within) = Mounted::memory(1 << 20, &from) else { return };
        fs::write(from.join("a"), "old").unwrap();
        let error = copy_over(&from, &other.join("to"), &mut Barrier::new(), |_| {}).unwrap_err();
        assert!(error.is_mount_point() && error.to_string().contains("/mounted`"), "{error}");
        assert_eq!(fs::read(from.join("a")).unwrap(), b"old");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }

    #[test]
    fn what_is_written_all_the_time_stays_where_it_is() {
        let Some((_top, from, other, _mounted)) = two_filesystems() else { return };
        let meanwhile = |number| fs::write(from.join("a"), "x".repeat(number)).unwrap();
        let error = copy_over(&from, &other.join("to"), &mut Barrier::new(), meanwhile).unwrap_err();
        assert!(error.to_string().contains("it is written all the time"), "{error}");
        assert_eq!(fs::read(from.join("a")).unwrap(), b"xxxx");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }

    #[test]
    fn a_removal_that_is_cut_short_leaves_no_part_of_the_original_in_its_place() {
        let Some((top, from, other, _mounted)) = two_filesystems() else { return };
        // Nothing removes a mount point: the removal ends halfway, as at a power cut.
        fs::create_dir(from.join("mounted")).unwrap();
        let Some(_within) = Mounted::memory(1 << 20, &from.join("mounted")) else { return };
        relocate(&from, &other.join("to"), &mut Barrier::new()).unwrap();
        assert_eq!(fs::read(other.join("to/a")).unwrap(), b"old");
        assert!(!from.exists());
        let left = fs::read_dir(top.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name != "other").collect();
        assert!(matches!(&left[..], [name] if temporary::is(name.as_encoded_bytes())), "{left:?}");
        // It is unmounted by its path.
        crate::durable::rename(&top.path().join(&left[0]), &from).unwrap();
    }
}
