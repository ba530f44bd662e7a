//! The content store.
use std::io;
use std::path::{Path, PathBuf};

use cairn_model::{Digest, FileContent};

use crate::FileError;
use crate::durable::Barrier;

/// The content store: bytes by digest, in `.cairn/objects`.
#[derive(Debug, Clone)]
pub struct Objects {}

/// Why bytes did not come in or out.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("the content store has no object `{digest}`")]
    Missing {
        /// Of what.
        digest: Digest,
    },
    /// The object's bytes are not those of its digest; it was moved away.
    #[error("the object `{digest}` was damaged and is now `{}`", moved.display())]
    Damaged {
        /// Of what it should be.
        digest: Digest,
        /// Where it is now.
        moved: PathBuf,
    },
    /// The bytes that came in are not those of the digest.
    #[error("`{}` changed while it was copied", path.display())]
    Changed {
        /// What was copied.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl ObjectError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        None
    }
}

impl Objects {
    /// Opens the content store in the state folder `state`, made if it is not there.
    pub fn open(state: &Path) -> io::Result<Self> {
        let _ = state;
        unimplemented!()
    }
    /// Returns whether there is an object of that digest and size; its bytes are not read.
    pub fn contains(&self, digest: &Digest, size: u64) -> bool {
        let _ = (digest, size);
        unimplemented!()
    }
    /// Returns where the object of `digest` is, if there is one.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let _ = digest;
        unimplemented!()
    }
    /// Makes a staged file ready to be an object (0444, no second name) and enters it in `barrier`.
    pub fn prepare(&self, staged: &Path, content: &FileContent, barrier: &mut Barrier) -> io::Result<()> {
        let _ = (staged, content, barrier);
        unimplemented!()
    }
    /// Renames a durable file into the store and enters the folder in `barrier`.
    pub fn adopt(&self, staged: &Path, digest: &Digest, barrier: &mut Barrier) -> io::Result<()> {
        let _ = (staged, digest, barrier);
        unimplemented!()
    }
    /// Copies `from` to a file that, once `barrier` is synced, is to be adopted; its digest is checked.
    pub fn copy_in(&self, from: &Path, content: &FileContent, barrier: &mut Barrier) -> Result<PathBuf, ObjectError> {
        let _ = (from, content, barrier);
        unimplemented!()
    }
    /// Makes the new file `to` of the object, its digest checked, with mode 0644 or 0755. On error there is no file `to`.
    pub fn copy_out(&self, content: &FileContent, to: &Path) -> Result<(), ObjectError> {
        let _ = (content, to);
        unimplemented!()
    }
}
