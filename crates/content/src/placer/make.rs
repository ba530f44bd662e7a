use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use cairn_model::{EntryKind, FileContent, Tree};
use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

use super::{PlaceError, Placement};
use crate::digests::SETTLED_NS;
use crate::durable::Barrier;
use crate::file_error::cannot;
use crate::{FileError, Objects, filesystem};

/// Makes the new file `to`.
pub(super) fn file(
    objects: &Objects,
    content: &FileContent,
    to: &Path,
    barrier: &mut Barrier,
) -> Result<(), PlaceError> {
    dated_file(objects, content, to)?;
    barrier.file(to);
    Ok(())
}

/// Makes the new folder of the placement with all that is in `tree`.
pub(super) fn tree(
    objects: &Objects,
    tree: &Tree,
    placement: &Placement,
    barrier: &mut Barrier,
) -> Result<(), PlaceError> {
    check(tree, &placement.destination)?;
    let top = placement.temporary.as_path();
    let make_folder = |path: &Path, barrier: &mut Barrier| {
        fs::create_dir(path).map_err(cannot("make the folder", path))?;
        barrier.folder(path);
        Ok::<_, FileError>(())
    };
    make_folder(top, barrier)?;
    let mut files: Vec<(PathBuf, &FileContent)> = Vec::new();
    for entry in &tree.entries {
        let path = top.join(OsStr::from_bytes(&entry.path));
        match &entry.kind {
            EntryKind::Folder => make_folder(&path, barrier)?,
            EntryKind::Link(target) => {
                symlink(OsStr::from_bytes(target), &path).map_err(cannot("make the link", &path))?;
            }
            EntryKind::File(content) => files.push((path, content)),
        }
    }
    files.par_iter().try_for_each(|(path, content)| dated_file(objects, content, path))?;
    for (path, _) in &files {
        barrier.file(path);
    }
    Ok(())
}

/// Makes the new file `to`, its bytes dated so much before its name that it is settled at once, see
/// [`Digests::learn`](crate::Digests::learn).
fn dated_file(objects: &Objects, content: &FileContent, to: &Path) -> Result<(), PlaceError> {
    objects.copy_out(content, to)?;
    let mtime_ns = filesystem::now_ns() - SETTLED_NS;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    };
    rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(cannot("set the times of", to))?;
    Ok(())
}

/// Sees to it that every entry lies below the folder, in folders of the tree itself: none is reached through `..`, nor
/// through a link that the tree holds as well.
fn check(tree: &Tree, destination: &Path) -> Result<(), PlaceError> {
    let mut folders: HashSet<&[u8]> = HashSet::from([&[][..]]);
    for entry in &tree.entries {
        let path = entry.path.as_slice();
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&[][..], path),
        };
        let is_name = !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        // A path that begins with `/` has the top as its folder and would be taken for a name in it.
        if !is_name || !folders.contains(above) || path.starts_with(b"/") {
            let entry = String::from_utf8_lossy(path).into_owned();
            return Err(PlaceError::BadTree { path: destination.to_owned(), entry });
        }
        if entry.kind == EntryKind::Folder {
            folders.insert(path);
        }
    }
    Ok(())
}
