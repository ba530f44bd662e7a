use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use cairn_model::{EntryKind, FileContent, Tree};
use rayon::prelude::*;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};

use super::{PlaceError, PlacedFile, Placement};
use crate::digests::SETTLED_NS;
use crate::durable::Barrier;
use crate::file_error::cannot;
use crate::{FileError, FileKey, Objects, Stamp, filesystem};

/// Makes the file of the placement.
pub(super) fn file(
    objects: &Objects,
    content: &FileContent,
    placement: &Placement,
    barrier: &mut Barrier,
) -> Result<PlacedFile, PlaceError> {
    let Placement { temporary, destination, .. } = placement;
    let file = dated_file(objects, content, temporary, destination.clone())?;
    barrier.file(temporary);
    Ok(file)
}

/// Makes the folder of the placement with all that is in `tree`.
pub(super) fn tree(
    objects: &Objects,
    tree: &Tree,
    placement: &Placement,
    barrier: &mut Barrier,
) -> Result<Vec<PlacedFile>, PlaceError> {
    let Placement { temporary, destination, .. } = placement;
    check(tree, destination)?;
    let make_folder = |path: &Path, barrier: &mut Barrier| {
        fs::create_dir(path).map_err(cannot("make the folder", path))?;
        barrier.folder(path);
        Ok::<_, FileError>(())
    };
    make_folder(temporary, barrier)?;
    let mut files: Vec<(&OsStr, &FileContent)> = Vec::new();
    for entry in &tree.entries {
        let below = OsStr::from_bytes(&entry.path);
        let path = temporary.join(below);
        match &entry.kind {
            EntryKind::Folder => make_folder(&path, barrier)?,
            EntryKind::Link(target) => {
                symlink(OsStr::from_bytes(target), &path).map_err(cannot("make the link", &path))?;
            }
            EntryKind::File(content) => {
                barrier.file(&path);
                files.push((below, content));
            }
        }
    }
    let made = files.par_iter().map(|(below, content)| {
        dated_file(objects, content, &temporary.join(below), destination.join(below))
    });
    made.collect()
}

/// Makes the new file `temporary`, which becomes `path`, and dates its bytes so much before its name that it is
/// settled at once, see [`Digests::learn`](crate::Digests::learn).
fn dated_file(
    objects: &Objects,
    content: &FileContent,
    temporary: &Path,
    path: PathBuf,
) -> Result<PlacedFile, PlaceError> {
    let file = objects.copy_out(content, temporary)?;
    let mtime_ns = filesystem::now_ns() - SETTLED_NS;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
        },
    };
    rustix::fs::futimens(&file, &times).map_err(cannot("set the times of", temporary))?;
    let metadata = file.metadata().map_err(cannot("read", temporary))?;
    // The filesystem may keep times in coarser steps.
    let mtime_ns = Stamp::of(&metadata).mtime_ns;
    Ok(PlacedFile { path, content: *content, key: FileKey::of(&metadata), mtime_ns })
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
