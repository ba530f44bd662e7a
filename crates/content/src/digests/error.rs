use std::path::{Path, PathBuf};

use crate::FileError;

/// Why there is no digest of a file or a folder.
#[derive(Debug, thiserror::Error)]
pub enum DigestError {
    /// Nothing is there.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// What was looked for.
        path: PathBuf,
    },
    /// It is a link to nothing.
    #[error("`{}` is a link to `{}`, which does not exist", path.display(), target.display())]
    DanglingLink {
        /// The link.
        path: PathBuf,
        /// What it says.
        target: PathBuf,
    },
    /// Links lead in a circle.
    #[error("`{}` is a link that leads in a circle", path.display())]
    LinkLoop {
        /// The link.
        path: PathBuf,
    },
    /// It is a folder where a file should be.
    #[error("`{}` is a folder, not a file", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// It is no folder, where one should be.
    #[error("`{}` is not a folder", path.display())]
    NotFolder {
        /// What is there.
        path: PathBuf,
    },
    /// It is neither file nor folder nor link: it has no bytes of its own.
    #[error("`{}` is a {kind}, not a file", path.display())]
    Special {
        /// What is there.
        path: PathBuf,
        /// What it is called.
        kind: &'static str,
    },
    /// It changed each time it was read.
    #[error("`{}` is being written", path.display())]
    Unstable {
        /// The file or folder.
        path: PathBuf,
    },
    /// Its bytes are others than when it had this size, these times and this mode before.
    #[error("the bytes of `{}` changed, but its size and times did not", path.display())]
    StampLied {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Unreadable(#[from] FileError),
}

impl DigestError {
    /// Returns the path it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing { path }
            | Self::DanglingLink { path, target: _ }
            | Self::LinkLoop { path }
            | Self::Folder { path }
            | Self::NotFolder { path }
            | Self::Special { path, kind: _ }
            | Self::Unstable { path }
            | Self::StampLied { path }
            | Self::Unreadable(FileError { path, .. }) => path,
        }
    }

    /// Says what to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Missing { .. } | Self::Folder { .. } | Self::NotFolder { .. } => None,
            Self::DanglingLink { .. } | Self::LinkLoop { .. } => {
                Some("let the link lead to a file or a folder".to_owned())
            }
            Self::Special { kind, .. } => {
                Some(format!("a {kind} has no bytes that could be compared; write to a file, or remove it"))
            }
            Self::Unstable { .. } => Some("wait until it is written, and run again".to_owned()),
            Self::StampLied { path } => Some(format!(
                "something writes it through a memory map, or sets its times back, or the disk is failing; see to \
                 it that the file is right, run `touch {}`, and run again",
                path.display()
            )),
            Self::Unreadable(error) => error.help(),
        }
    }

    /// Returns whether what stands there is no file or folder with a digest at all.
    pub(crate) fn is_another_kind(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::DanglingLink { .. }
            | Self::LinkLoop { .. }
            | Self::Folder { .. }
            | Self::NotFolder { .. }
            | Self::Special { .. } => true,
            Self::Unstable { .. } | Self::StampLied { .. } | Self::Unreadable(_) => false,
        }
    }
}
