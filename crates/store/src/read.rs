//! Why something could not be read.

use std::path::PathBuf;

use crate::EngineError;
use crate::open::HELP_DAMAGED;

/// Why something was not read. None of these means that there is nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// What is stored is not what was written.
    #[error("the store `{}` is damaged in `{family}` at key `{key}`: {what}", path.display())]
    Damaged {
        /// The store's folder.
        path: PathBuf,
        /// The family.
        family: &'static str,
        /// The key in hexadecimal digits; empty when a whole range was read.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The system could not read the store's files.
    #[error("cannot read `{family}` in the store `{}`", path.display())]
    Unreadable {
        /// The store's folder.
        path: PathBuf,
        /// The family.
        family: &'static str,
        /// What the system says.
        source: EngineError,
    },
}

impl ReadError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some(HELP_DAMAGED.to_owned()),
            Self::Unreadable { .. } => None,
        }
    }
}
