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

/// Why the files that match a pattern cannot be told. Paths are as in [`World`], and may be no good ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// Links that lead to each other.
    #[error("`{path}` is reached by links that lead to each other")]
    LinkLoop {
        /// The match, or the folder that the pattern begins with.
        path: String,
    },
    /// A link that leads out of the project.
    #[error("`{path}` is reached by a link that leaves the project")]
    LeavesProject {
        /// The match, or the folder that the pattern begins with.
        path: String,
    },
    /// A file or folder could not be looked at.
    #[error("cannot read `{path}`: {why}")]
    Unreadable {
        /// The file or folder.
        path: String,
        /// The system's words.
        why: String,
    },
    /// A name that no path in a definition has.
    #[error("the name of `{path}` {why}")]
    Name {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Unlisted {
    /// Says what to do.
    pub fn help(&self) -> &'static str {
        match self {
            Self::LinkLoop { .. } => "remove the link, or write a pattern that does not reach it",
            Self::LeavesProject { .. } => {
                "replace the link by a copy of what it leads to, or write a pattern that does not reach it"
            }
            Self::Unreadable { .. } => "give yourself the right to read it",
            Self::Name { .. } => "rename the file",
        }
    }
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
    /// What stands in the way: a folder that cannot be read, or a match that cannot be an input.
    fn matches(&self, glob: &Glob) -> Result<Vec<ProjectPath>, Unlisted>;
}
