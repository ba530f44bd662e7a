//! Skeleton.
use std::io;
use std::path::PathBuf;
use cairn_model::{RunId, Timestamp};
use crate::Head;

/// The process that has the store open for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// When it opened the store.
    pub opened: Timestamp,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none, and it was to be read.
    #[error("there is no store in `{}`", path.display())]
    Absent { /// The state folder.
        path: PathBuf },
    /// Another process has it open for writing.
    #[error("the store `{}` is open elsewhere", path.display())]
    Locked { /// The state folder.
        path: PathBuf, /// Who; `None` when that is not known.
        holder: Option<Holder> },
    /// A newer cairn wrote it.
    #[error("newer")]
    Newer { /// The state folder.
        path: PathBuf, /// Its format.
        found: u32, /// The newest known.
        known: u32 },
    /// It holds less than was committed.
    #[error("went backwards")]
    WentBackwards { /// The state folder.
        path: PathBuf, /// What HEAD says.
        expected: Head, /// What the store says.
        found: Head },
    /// It is damaged.
    #[error("damaged")]
    Damaged { /// The file or folder.
        path: PathBuf, /// What is wrong.
        what: String },
    /// It lies on a network filesystem.
    #[error("network")]
    NetworkFilesystem { /// The state folder.
        path: PathBuf, /// Its kind.
        kind: &'static str },
    /// A file or folder could not be made, read or written.
    #[error("cannot use `{}`", path.display())]
    Io { /// Which.
        path: PathBuf, #[source] /// Why.
        source: io::Error },
}
impl OpenError { /// Says what to do.
    pub fn help(&self) -> Option<String> { None } }

/// Why something was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// What is stored is damaged.
    #[error("damaged")]
    Damaged { /// The store's folder.
        path: PathBuf, /// The family.
        family: &'static str, /// The key, in hexadecimal.
        key: String, /// What is wrong.
        what: String },
}
impl ReadError { /// Says what to do.
    pub fn help(&self) -> Option<String> { None } }

/// Why a text names no run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FindRunError {
    /// No run's id begins or ends so.
    #[error("no run `{text}`")]
    Unknown { /// What was asked for.
        text: String },
    /// Several do.
    #[error("`{text}` names several runs")]
    Ambiguous { /// What was asked for.
        text: String, /// Which, newest first.
        candidates: Vec<RunId> },
    /// The runs could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
impl FindRunError { /// Says what to do.
    pub fn help(&self) -> Option<String> { None } }
