//! From one place to another, on one filesystem or from one to another.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::digests::{DigestError, EntryKind, walk};
use crate::durable::{Barrier, parent, remove_tree, rename_new};
use crate::file_error::cannot;
use crate::{FileError, copy, temporary};

/// Moves the file, link or folder `from` to `to`, where nothing may be: else the error's kind is `AlreadyExists`. A link
/// is moved as a link.
///
/// Within a filesystem it is renamed, and nothing is synced. To another one it is copied under a temporary name beside
/// `to`, renamed, made durable together with what is in `barrier`, and only then removed: `to` is whole as soon as it is
/// there, and `from` is until then.
pub fn relocate(from: &Path, to: &Path, barrier: &mut Barrier) -> Result<(), FileError> {
    match rename_new(from, to) {
        Err(error) if error.is_other_filesystem() => {}
        result => return result,
    }
    let copied = parent(to).join(temporary::name());
    if let Err(error) = copy_tree(from, &copied).and_then(|()| rename_new(&copied, to)) {
        // If it cannot be removed either, its name tells what it is.
        let _ = remove_tree(parent(&copied), &copied);
        return Err(error);
    }
    barrier.folder(parent(to));
    std::mem::take(barrier).sync()?;
    remove_tree(parent(from), from)
}

/// Copies a file, a link, or a folder with all in it, durably.
fn copy_tree(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut barrier = Barrier::new();
    let metadata = fs::symlink_metadata(from).map_err(cannot("read", from))?;
    let kind = match () {
        () if metadata.is_dir() => EntryKind::Folder,
        () if metadata.is_symlink() => {
            let target = fs::read_link(from).map_err(cannot("read", from))?;
            EntryKind::Link(target.into_os_string().into_vec())
        }
        () if metadata.is_file() => EntryKind::File,
        () => {
            return Err(cannot("move to another filesystem", from)(io::Error::other("it is a special file")));
        }
    };
    copy_entry(&kind, from, to, &mut barrier)?;
    if kind == EntryKind::Folder {
        let entries = walk(from).map_err(|error| match error {
            DigestError::Unreadable(error) => error,
            error => cannot("move to another filesystem", from)(io::Error::other(error)),
        })?;
        for entry in entries {
            copy_entry(&entry.kind, &entry.below(from), &entry.below(to), &mut barrier)?;
        }
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
}
