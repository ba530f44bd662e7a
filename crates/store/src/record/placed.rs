//! What cairn put in the project, so that a file that it did not put there is never overwritten (I11).

use cairn_model::{Digest, InputHash, InstanceName, Name};

use crate::{FileKey, Stamp};

/// An output that was put in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Digest of the file or of the folder's tree.
    pub content_digest: Digest,
    /// The file as it stood afterwards; `None` for a folder.
    pub file: Option<PlacedFile>,
    /// The pipeline whose output it is.
    pub pipeline: Name,
    /// The instance whose output it is.
    pub instance: InstanceName,
    /// The input-hash of the result it belongs to.
    pub input_hash: InputHash,
}

/// A placed file's identity and stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PlacedFile {
    /// Which file.
    pub key: FileKey,
    /// What `stat` said.
    pub stamp: Stamp,
}
