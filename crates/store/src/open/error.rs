//! Why a store was not opened.

use std::io;
use std::path::PathBuf;

use crate::{Head, Holder, filesystem, head_file};

pub(crate) const HELP_DAMAGED: &str = "put a copy of the state folder back, or remove `store` and `HEAD` in it: \
    outputs stay where they are, and everything runs once more";

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none to read.
    #[error("there is no store in `{}`", path.display())]
    Absent {
        /// The state folder.
        path: PathBuf,
    },
    /// Another process has it open for writing.
    #[error("the store in `{}` is open in {}", path.display(), holder_text(holder.as_ref()))]
    Locked {
        /// The state folder.
        path: PathBuf,
        /// Which process; `None` when that does not show.
        holder: Option<Holder>,
    },
    /// A newer cairn wrote it.
    #[error(
        "the store in `{}` has format {found}, written by a newer cairn; this one knows formats up to {known}",
        path.display()
    )]
    Newer {
        /// The state folder.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version that this cairn knows.
        known: u32,
    },
    /// An older cairn wrote it, and it was to be read as it is.
    #[error("the store in `{}` has format {found}, written by an older cairn", path.display())]
    Older {
        /// The state folder.
        path: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// It holds less than was committed to it, or something else.
    #[error("the store in `{}` went backwards: {}", path.display(), backwards_text(expected, found))]
    WentBackwards {
        /// The state folder.
        path: PathBuf,
        /// How far it reached, by `HEAD`.
        expected: Head,
        /// How far it reaches.
        found: Head,
    },
    /// Its files are not what was written.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The damaged file, or the store's folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The state folder lies on a filesystem whose locks and syncs cannot be relied on.
    #[error("the state folder `{}` lies on a network filesystem ({kind})", path.display())]
    NetworkFilesystem {
        /// The state folder.
        path: PathBuf,
        /// The kind of filesystem.
        kind: &'static str,
    },
    /// Something else is where the state folder should be.
    #[error("the state folder `{}` is not a folder", path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder could not be made, read or written.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn holder_text(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { process, command, .. }) => format!("process {} (`{command}`)", process.pid),
        None => "another process".to_owned(),
    }
}

fn backwards_text(expected: &Head, found: &Head) -> String {
    let Head { sequence, .. } = expected;
    if found.sequence < *sequence {
        format!("it ends with batch {}, and batch {sequence} was committed", found.sequence)
    } else {
        format!("batch {sequence} in it is not the one that was committed")
    }
}

impl OpenError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Absent { .. } => Some("it is made by the first run".to_owned()),
            Self::Locked { holder, .. } => Some(match holder {
                Some(holder) => format!("wait for it to end, or stop it: `kill {}`", holder.process.pid),
                None => "wait for it to end, or stop it".to_owned(),
            }),
            Self::Newer { .. } => Some("use the newer cairn".to_owned()),
            Self::Older { .. } => Some("any run brings it up to date".to_owned()),
            Self::WentBackwards { path, .. } => Some(format!(
                "put the missing files back; or, to accept the store as it is and do again what it does not know of, \
                 move `{}` away",
                path.join(head_file::FILE).display()
            )),
            Self::Damaged { .. } => Some(HELP_DAMAGED.to_owned()),
            Self::NetworkFilesystem { .. } => Some(format!(
                "name a folder on a local disk with `--state` or `CAIRN_STATE`; or, if only one machine uses this one \
                 and it keeps what was synced, set `{}=1`",
                filesystem::ALLOW_NETWORK
            )),
            Self::NotAFolder { .. } => {
                Some("move it away, or name another folder with `--state` or `CAIRN_STATE`".to_owned())
            }
            Self::Io { source, .. } => help_for(source.kind()).map(str::to_owned),
        }
    }
}

/// Says what to do about an error of the system.
pub(crate) fn help_for(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space, then run the same command again")
        }
        io::ErrorKind::PermissionDenied => {
            Some("make the state folder yours to write, or name another one with `--state` or `CAIRN_STATE`")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            Some("name another state folder with `--state` or `CAIRN_STATE`")
        }
        io::ErrorKind::NotFound => Some("make the folder above it first"),
        _ => None,
    }
}
