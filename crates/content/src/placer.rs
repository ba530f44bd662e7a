//! Outputs from the content store into the project.
use std::io;
use std::path::{Path, PathBuf};

use cairn_model::Output;

use crate::durable::Barrier;
use crate::{DigestError, Digests, FileError, ObjectError, Objects};

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
    /// A folder above the destination is a link out of the project.
    #[error("`{}` would be written outside the project, to `{}`", path.display(), leads_to.display())]
    LeavesProject {
        /// The destination.
        path: PathBuf,
        /// Where its folder really is.
        leads_to: PathBuf,
    },
    /// The destination is a mount point.
    #[error("`{}` is a mount point", path.display())]
    MountPoint {
        /// The destination.
        path: PathBuf,
    },
    /// A manifest's tree has an entry that would be written elsewhere.
    #[error("the manifest of `{}` holds the entry `{entry}`, which no folder can", path.display())]
    BadTree {
        /// The destination.
        path: PathBuf,
        /// The entry.
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
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        None
    }
}

/// An output that stands ready beside its destination; dropped, it is removed.
#[derive(Debug)]
pub struct Placement {}

impl Placement {
    /// Returns where it belongs.
    pub fn destination(&self) -> &Path {
        unimplemented!()
    }
}

/// Puts outputs in their place.
#[derive(Debug)]
pub struct Placer {}

impl Placer {
    /// Places for the run with the id `run` in the project `root` with the state folder `state`.
    pub fn new(root: &Path, state: &Path, objects: Objects, run: &str) -> Self {
        let _ = (root, state, objects, run);
        unimplemented!()
    }
    /// Says what stands where `output` belongs below `folder`.
    pub fn check(&self, folder: &Path, output: &Output, digests: &Digests) -> Result<Standing, DigestError> {
        let _ = (folder, output, digests);
        unimplemented!()
    }
    /// Says the same of many outputs, in their order and in parallel.
    pub fn check_all(&self, folder: &Path, outputs: &[&Output], digests: &Digests) -> Vec<Result<Standing, DigestError>> {
        let _ = (folder, outputs, digests);
        unimplemented!()
    }
    /// Makes `output` beside its destination below `folder` and enters it in `barrier`, to be synced before the swap.
    pub fn stage(&self, folder: &Path, output: &Output, barrier: &mut Barrier) -> Result<Placement, PlaceError> {
        let _ = (folder, output, barrier);
        unimplemented!()
    }
    /// Swaps it in. What stood there and is not `ours` goes to the trash and is returned.
    pub fn swap(
        &self,
        placement: Placement,
        ours: impl FnOnce(&Path) -> bool,
        barrier: &mut Barrier,
    ) -> Result<Vec<PathBuf>, PlaceError> {
        let _ = (placement, ours(Path::new("")), barrier);
        unimplemented!()
    }
    /// Removes what a crash left in `folder` (not below it) between stage and swap; returns how much.
    pub fn clean_leftovers(&self, folder: &Path) -> io::Result<u32> {
        let _ = folder;
        unimplemented!()
    }
}
