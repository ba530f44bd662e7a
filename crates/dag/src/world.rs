//! What the checks need to know of the disk.

use cairn_model::ProjectPath;

use crate::Glob;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A file, perhaps by a link inside the project.
    File,
    /// A folder, perhaps by a link inside the project.
    Folder,
    /// Links that lead to each other.
    LinkLoop,
    /// A link, on the way or at the end, that leads out of the project.
    LeavesProject,
    /// A FIFO, a socket or a device.
    Special,
    /// It could not be looked at; the system's words.
    Unreadable(String),
}

/// Answers questions about the disk; the crate itself touches none.
///
/// Paths in questions and answers are relative to the folder that holds the pipeline file; `workdir` is joined already.
pub trait World {
    /// Returns what stands at `path`, or would be written through, where only a folder above it exists.
    fn entry(&self, path: &ProjectPath) -> Entry;

    /// Returns the regular files that match now, sorted by bytes.
    ///
    /// # Errors
    ///
    /// The system's words, with the path, where a folder cannot be read.
    fn matches(&self, glob: &Glob) -> Result<Vec<ProjectPath>, String>;
}
