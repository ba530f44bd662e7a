//! One operation on one path that failed.

use std::io;
use std::path::PathBuf;

/// What was tried with a path, and what the system answered.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct FileError {
    /// What was tried, as in "cannot `write`".
    pub action: &'static str,
    /// With what.
    pub path: PathBuf,
    /// The system's answer.
    pub source: io::Error,
}
