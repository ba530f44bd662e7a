//! Outputs from the content store into the project.
//!
//! Placing has two steps, so that many outputs share two syncs:
//!
//! 1. [`Placer::stage`] makes the output under a temporary name beside its destination. The caller's [`Barrier`] makes
//!    it durable.
//! 2. [`Placer::swap`] renames it in. The caller's next [`Barrier`] makes the name durable.
//!
//! What stands at the destination and is not cairn's, or was edited since, is moved to the trash first (I11). A link
//! there is replaced like a file, never written through. After a crash between the steps what is left beside the
//! destination is told by its name, see [`Placer::clean_leftovers`]. It is cairn's own: what stood there is given such a
//! name only after it was found to be, and is looked at once more before it is removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cairn_model::{Content, FileContent, Output, ProjectPath};

use crate::digests::Links;
use crate::durable::{self, Barrier, create_folders, parent, rename_new};
use crate::file_error::cannot;
use crate::left::Notes;
use crate::{DigestError, Digests, FileError, FileKey, ObjectError, Objects, Stamp, gc, temporary, trash};

mod make;
#[cfg(test)]
mod tests;

/// How often a destination is cleared that something else fills again at the same time.
const TRIES: usize = 5;

/// What stands where an output belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The output: its bytes and executable bit, or its whole tree and nothing else.
    InPlace,
    /// Nothing.
    Absent,
    /// Something else.
    Different,
}

/// Why an output was not placed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A folder above the destination is a link, and leads out of the project or into the state folder.
    #[error("`{}` would be written to `{}`, which is not in the project", path.display(), leads_to.display())]
    LeavesProject {
        /// The destination.
        path: PathBuf,
        /// Where its folder leads.
        leads_to: PathBuf,
    },
    /// Something is mounted at the destination.
    #[error("`{}` is a mount point and cannot be replaced", path.display())]
    MountPoint {
        /// The destination.
        path: PathBuf,
    },
    /// The tree holds an entry that would lie elsewhere than below its folder.
    #[error("the entry `{entry}` does not belong below `{}`", path.display())]
    BadTree {
        /// The destination.
        path: PathBuf,
        /// The entry's path.
        entry: String,
    },
    /// The bytes did not come out of the content store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl PlaceError {
    /// Says what to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::LeavesProject { .. } => {
                Some("replace the link by a folder, or declare another path".to_owned())
            }
            Self::MountPoint { .. } => {
                Some("declare a path below it as the output, or unmount it".to_owned())
            }
            Self::BadTree { .. } => Some("run the stage again, with `--force`".to_owned()),
            Self::Object(error) => error.help(),
            Self::Io(error) => error.help(),
        }
    }
}

/// Puts the outputs of one run in their place.
#[derive(Debug, Clone)]
pub struct Placer {
    root: PathBuf,
    state: PathBuf,
    objects: Objects,
    run: String,
}

/// What came of placing an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The files that are in place now: the output itself, or all in the folder. For [`Digests::learn`].
    pub files: Vec<PlacedFile>,
    /// Where things are now that were in the way.
    pub trashed: Vec<PathBuf>,
}

/// One file that was put in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFile {
    /// Where it is, links in the path resolved.
    pub path: PathBuf,
    /// What is in it.
    pub content: FileContent,
    /// Which file it is, so that one that took its place since is not taken for it.
    pub(crate) key: FileKey,
    /// The time that was given to its bytes.
    pub(crate) mtime_ns: i64,
}

/// An output that stands ready beside its destination. Dropped instead of swapped, it is removed.
#[derive(Debug)]
#[must_use = "it is not in place until it is swapped in"]
pub struct Placement {
    path: ProjectPath,
    destination: PathBuf,
    temporary: PathBuf,
    files: Vec<PlacedFile>,
    trashed: Vec<PathBuf>,
    placed: bool,
    notes: Notes,
}

impl Placement {
    /// Returns where it belongs, links in the path resolved.
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// Has an error name what was to be made, not the temporary name.
    fn name_destination(&self, error: PlaceError) -> PlaceError {
        let renamed = |error: FileError| match error.path.strip_prefix(&self.temporary) {
            Ok(below) if below.as_os_str().is_empty() => {
                FileError { path: self.destination.clone(), ..error }
            }
            Ok(below) => FileError { path: self.destination.join(below), ..error },
            Err(_) => error,
        };
        match error {
            PlaceError::Object(ObjectError::Io(error)) => PlaceError::Object(ObjectError::Io(renamed(error))),
            PlaceError::Io(error) => PlaceError::Io(renamed(error)),
            other => other,
        }
    }
}

impl Drop for Placement {
    fn drop(&mut self) {
        if !self.placed {
            self.notes.remove(&self.temporary);
        }
    }
}

impl Placer {
    /// Places in the project `root`, for the run with the id `run`. `state` is the state folder.
    pub fn new(root: &Path, state: &Path, objects: Objects, run: &str) -> Result<Self, FileError> {
        let real = |path: &Path| path.canonicalize().map_err(cannot("find the folder", path));
        Ok(Self { root: real(root)?, state: real(state)?, objects, run: run.to_owned() })
    }

    /// Says what stands where `output` belongs below `folder`.
    pub fn check(&self, folder: &Path, output: &Output, digests: &Digests) -> Result<Standing, DigestError> {
        let mut standings = self.check_all(folder, &[output], digests);
        standings.pop().expect("one is told of each")
    }

    /// Says what stands where each of `outputs` belongs below `folder`, in their order. Files are looked at together.
    pub fn check_all(
        &self,
        folder: &Path,
        outputs: &[&Output],
        digests: &Digests,
    ) -> Vec<Result<Standing, DigestError>> {
        let is_file = |output: &&&Output| matches!(output.content, Content::File(_));
        let files: Vec<PathBuf> =
            outputs.iter().filter(is_file).map(|output| output.path.below(folder)).collect();
        let mut files = digests.look(&files, Links::None).into_iter();
        let told = outputs.iter().map(|output| match &output.content {
            Content::File(content) => {
                let found = files.next().expect("as many are found as were looked for");
                standing(found.map(|found| found.content == *content))
            }
            Content::Folder(tree) => {
                let path = output.path.below(folder);
                if path.is_symlink() {
                    return Ok(Standing::Different);
                }
                standing(digests.tree(&path).map(|found| found.tree == *tree))
            }
        });
        told.collect()
    }

    /// Makes `output` under a temporary name beside its destination below `folder`, and enters it in `barrier`. Folders
    /// that are missing above it are made; a file in the place of one goes to the trash.
    pub fn stage(
        &self,
        folder: &Path,
        output: &Output,
        barrier: &mut Barrier,
    ) -> Result<Placement, PlaceError> {
        let mut trashed = Vec::new();
        let parent = self.make_parent(folder, &output.path, barrier, &mut trashed)?;
        let name = output.path.as_str().rsplit('/').next().expect("there is a last part");
        let mut placement = Placement {
            path: output.path.clone(),
            destination: parent.join(name),
            temporary: parent.join(temporary::name()),
            files: Vec::new(),
            trashed,
            placed: false,
            notes: Notes { root: self.root.clone(), state: self.state.clone() },
        };
        let made = match &output.content {
            Content::File(content) => {
                make::file(&self.objects, content, &placement, barrier).map(|file| vec![file])
            }
            Content::Folder(tree) => make::tree(&self.objects, tree, &placement, barrier),
        };
        placement.files = made.map_err(|error| placement.name_destination(error))?;
        Ok(placement)
    }

    /// Swaps in what was staged and enters its folder in `barrier`. `ours` is asked whether what stands there is
    /// cairn's and unedited, so that it may go; else it is moved to the trash, and so is what is edited while `ours` is
    /// asked, where the filesystem can exchange two names. Of a folder it is asked twice.
    pub fn swap(
        &self,
        mut placement: Placement,
        ours: impl Fn(&Path) -> bool,
        barrier: &mut Barrier,
    ) -> Result<Placed, PlaceError> {
        let mut tries = 0;
        while !placement.placed {
            tries += 1;
            self.try_swap(&mut placement, &ours, tries).map_err(|error| {
                if error.is_mount_point() {
                    PlaceError::MountPoint { path: placement.destination.clone() }
                } else {
                    error.into()
                }
            })?;
        }
        barrier.folder(parent(&placement.destination));
        let (files, trashed) = (&mut placement.files, &mut placement.trashed);
        Ok(Placed { files: std::mem::take(files), trashed: std::mem::take(trashed) })
    }

    /// Removes what a crash between stage and swap left in `folder`, not below it. Returns how much that was.
    pub fn clean_leftovers(folder: &Path) -> Result<u32, FileError> {
        gc::clean(folder, folder, |name| temporary::is(name.as_encoded_bytes()))
    }

    fn try_swap(
        &self,
        placement: &mut Placement,
        ours: impl Fn(&Path) -> bool,
        tries: usize,
    ) -> Result<(), FileError> {
        let (temporary, destination) = (placement.temporary.as_path(), placement.destination.as_path());
        let Ok(there) = fs::symlink_metadata(destination) else {
            return match rename_new(temporary, destination) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < TRIES => Ok(()),
                renamed => renamed.map(|()| placement.placed = true),
            };
        };
        if ours(destination) {
            match durable::exchange(temporary, destination) {
                Ok(()) => return self.clear_exchanged(placement, &there, ours),
                Err(error) if error.is_unsupported() || error.is_other_filesystem() => {}
                // It went by itself.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => return Ok(()),
                Err(error) => return Err(error),
            }
            if !there.is_dir() && !temporary.is_dir() {
                durable::rename(temporary, destination)?;
                placement.placed = true;
                return Ok(());
            }
        }
        match trash::put(&self.state, &self.run, destination, Path::new(placement.path.as_str())) {
            Ok(moved) => placement.trashed.push(moved),
            // It went by itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Removes what was exchanged for the output, or moves it to the trash if it was written since `ours` was asked of it:
    /// that may have taken long.
    fn clear_exchanged(
        &self,
        placement: &mut Placement,
        there: &fs::Metadata,
        ours: impl Fn(&Path) -> bool,
    ) -> Result<(), FileError> {
        let (temporary, destination) = (placement.temporary.as_path(), placement.destination.as_path());
        // The exchange itself changed the ctime of a file, so that asking again would be reading it again.
        let unwritten = |now: &fs::Metadata| {
            let looks = |of| (FileKey::of(of), Stamp { ctime_ns: 0, ..Stamp::of(of) });
            looks(now) == looks(there)
        };
        let still_ours = if there.is_dir() {
            ours(temporary)
        } else {
            fs::symlink_metadata(temporary).is_ok_and(|now| unwritten(&now))
        };
        if still_ours {
            placement.placed = true;
            placement.notes.remove(temporary);
            return Ok(());
        }
        let name = Path::new(placement.path.as_str());
        match trash::put(&self.state, &self.run, temporary, name) {
            Ok(moved) => placement.trashed.push(moved),
            Err(error) => {
                // Where it does not go back either, it is not to be removed.
                placement.placed = durable::exchange(temporary, destination).is_err();
                return Err(error);
            }
        }
        placement.placed = true;
        Ok(())
    }

    /// Makes the folders above `path` and returns the last, links resolved.
    fn make_parent(
        &self,
        folder: &Path,
        path: &ProjectPath,
        barrier: &mut Barrier,
        trashed: &mut Vec<PathBuf>,
    ) -> Result<PathBuf, PlaceError> {
        let shown = path.below(folder);
        let mut reached = self.inside(folder, &shown)?;
        let text = path.as_str();
        for (end, _) in text.match_indices('/') {
            let above = &text[..end];
            let name = above.rsplit('/').next().expect("there is a last part");
            let mut next = reached.join(name);
            let mut there = fs::symlink_metadata(&next);
            if there.as_ref().is_ok_and(fs::Metadata::is_symlink) {
                next = self.inside(&next, &shown)?;
                there = fs::symlink_metadata(&next);
            }
            match there {
                Ok(there) if there.is_dir() => {}
                Ok(_) => {
                    trashed.push(trash::put(&self.state, &self.run, &reached.join(name), Path::new(above))?);
                    next = reached.join(name);
                    create_folders(&next, barrier)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => create_folders(&next, barrier)?,
                Err(error) => return Err(cannot("read", &next)(error).into()),
            }
            reached = next;
        }
        Ok(reached)
    }

    /// Resolves the links in `path`, which must lead to something in the project that is not in the state folder.
    fn inside(&self, path: &Path, shown: &Path) -> Result<PathBuf, PlaceError> {
        let leaves = |leads_to| PlaceError::LeavesProject { path: shown.to_owned(), leads_to };
        match path.canonicalize() {
            Ok(real) if real.starts_with(&self.root) && !real.starts_with(&self.state) => Ok(real),
            Ok(real) => Err(leaves(real)),
            // A link to a disk that is not mounted now, perhaps.
            Err(error) if path.is_symlink() => {
                Err(leaves(fs::read_link(path).map_err(|_| cannot("read", path)(error))?))
            }
            Err(error) => Err(cannot("find the folder", path)(error).into()),
        }
    }
}

fn standing(is_output: Result<bool, DigestError>) -> Result<Standing, DigestError> {
    match is_output {
        Ok(true) => Ok(Standing::InPlace),
        Ok(false) => Ok(Standing::Different),
        Err(DigestError::Missing { .. }) => Ok(Standing::Absent),
        Err(error) if error.is_another_kind() => Ok(Standing::Different),
        Err(error) => Err(error),
    }
}
