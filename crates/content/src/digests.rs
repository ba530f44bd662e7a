//! The digests of files.
use std::path::{Path, PathBuf};

use cairn_model::{Digest, FileContent, Tree};

use crate::{FileError, FileKey, Stamp};

/// What is remembered of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// How the file looked when it was read.
    pub stamp: Stamp,
    /// What was in it.
    pub digest: Digest,
}

/// Rows of earlier runs.
pub trait Rows: Send + Sync {
    /// Returns the row of each key, in the order of `keys`, which are sorted and distinct.
    fn get(&self, keys: &[FileKey]) -> Vec<Option<Row>>;
}

/// A file and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is in it.
    pub content: FileContent,
    /// Which file it is; for a link, the file it leads to.
    pub key: FileKey,
    /// How it looked when it was read.
    pub stamp: Stamp,
    /// Whether any later change must change the stamp.
    pub settled: bool,
    /// Whether a remembered digest was checked by reading the file.
    pub reread: bool,
    /// What the link says, if the path is a link.
    pub link: Option<Vec<u8>>,
}

/// A folder and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTree {
    /// All below the folder.
    pub tree: Tree,
    /// Each file with its path below the folder, in the order of `tree`.
    pub files: Vec<(Vec<u8>, Found)>,
    /// What the link says, if the path is a link.
    pub link: Option<Vec<u8>>,
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// Nothing is there.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// It is a folder.
    #[error("`{}` is a folder, not a file", path.display())]
    Folder {
        /// The path.
        path: PathBuf,
    },
    /// It is a file.
    #[error("`{}` is a file, not a folder", path.display())]
    NotFolder {
        /// The path.
        path: PathBuf,
    },
    /// It is neither file nor folder nor link.
    #[error("`{}` is a {kind}, not a file", path.display())]
    Special {
        /// The path.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Links lead in a circle.
    #[error("`{}` is a link that leads in a circle", path.display())]
    LinkLoop {
        /// The path.
        path: PathBuf,
    },
    /// It changed each time it was read.
    #[error("`{}` is being written", path.display())]
    Unstable {
        /// The path.
        path: PathBuf,
    },
    /// Its bytes changed and its stamp did not.
    #[error("the bytes of `{}` changed, but its size and times did not", path.display())]
    StampLied {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] FileError),
}

impl DigestError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        None
    }
    /// Returns the path it is about.
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
}

/// The digests of files: remembered ones where they can be trusted, else read.
pub struct Digests {}

impl Digests {
    /// Puts memory before `rows`. `seed` decides which remembered digests are checked by reading the file.
    pub fn new(rows: Box<dyn Rows>, seed: u64) -> Self {
        let _ = (rows, seed);
        unimplemented!()
    }
    /// Returns what is in the file at `path`; a link is followed.
    pub fn file(&self, path: &Path) -> Result<Found, DigestError> {
        let _ = path;
        unimplemented!()
    }
    /// Returns the same for each of `paths`, in their order; in parallel, rows fetched in one call.
    pub fn files(&self, paths: &[PathBuf]) -> Vec<Result<Found, DigestError>> {
        let _ = paths;
        unimplemented!()
    }
    /// Returns all below `folder`; if that is a link it is followed, links below are not.
    pub fn tree(&self, folder: &Path) -> Result<FoundTree, DigestError> {
        let _ = folder;
        unimplemented!()
    }
    /// Returns whether the file at `path` is what it was when `found` was.
    pub fn unchanged(&self, path: &Path, found: &Found) -> Result<bool, DigestError> {
        let _ = (path, found);
        unimplemented!()
    }
    /// Returns whether the folder at `path` is what it was when `found` was.
    pub fn tree_unchanged(&self, folder: &Path, found: &FoundTree) -> Result<bool, DigestError> {
        let _ = (folder, found);
        unimplemented!()
    }
    /// Remembers what a [`Placement`](crate::Placement) put at `path`, and returns how it looks there; `None` if it is there no more.
    pub fn learn(&self, path: &Path, content: &FileContent) -> Option<(FileKey, Stamp)> {
        let _ = (path, content);
        unimplemented!()
    }
    /// Returns the rows to be kept for later runs that were not returned before.
    pub fn take_new_rows(&self) -> Vec<(FileKey, Row)> {
        unimplemented!()
    }
}
