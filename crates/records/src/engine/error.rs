//! Why a records stage does not go to its end.

use std::io;
use std::path::{Path, PathBuf};

use super::walk::WalkError;
use crate::file_sink::help_for;
use crate::ledger::LedgerError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::state::RowError;

/// Why a records stage does not go to its end. What was delivered before is remembered; the rest stays pending.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A source file cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was kept cannot be read, or nothing can be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A row of what was kept is damaged.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A sink does not take any batch.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A sink was tried as often as it may be in a run, and dealt with no record.
    #[error("{sink} is not available: {error}")]
    GivenUp {
        /// Which sink, without a password.
        sink: String,
        /// What happened the last time.
        error: String,
        /// Tries in a row, over runs.
        tries: u32,
        /// How long it is left alone, in milliseconds.
        pause_ms: u64,
    },
    /// Nothing can be written to the working folder.
    #[error("cannot write to the working folder: {0}")]
    Spool(#[source] io::Error),
    /// The same, with what it is.
    #[error("cannot read or write `{path}`: {cause}", path = path.display())]
    Kept {
        /// The working folder, or a file in which something is kept.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A file of records cannot be written.
    #[error("{error}")]
    File {
        /// What happened.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// More than a tenth fail: that is no fault of single records.
    #[error(
        "{failed} of {of} records failed, which looks like an outage: {}. The first: {first}",
        spared(*failed, *died)
    )]
    Outage {
        /// Records that failed.
        failed: u64,
        /// Of how many.
        of: u64,
        /// How many of them are dead letters: they failed before it looked like one.
        died: u64,
        /// What the first one died of.
        first: String,
        /// What to do about that.
        help: Option<String>,
    },
    /// A worker does not keep to the protocol, or does not stay alive.
    #[error("{error}")]
    Worker {
        /// What happened.
        error: String,
        /// What to do about it.
        help: Option<String>,
    },
    /// A limit of the engine.
    #[error("{0}")]
    TooMuch(String),
    /// The run is being stopped.
    #[error("stopped")]
    Stopped,
    /// Records were lost or counted twice: a bug.
    #[error("the records do not add up: {0}")]
    NotConserved(String),
}

fn spared(failed: u64, died: u64) -> String {
    match died {
        0 => "none of them became a dead letter".to_owned(),
        _ => format!("{} of them became no dead letters, {died} failed before and did", failed - died),
    }
}

impl EngineError {
    /// Returns the error for a file in which something is kept.
    pub(super) fn kept(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |cause| Self::Kept { path: path.to_owned(), cause }
    }

    /// The same error with the working folder named.
    pub(super) fn in_folder(self, spool: &Path) -> Self {
        match self {
            Self::Spool(cause) => Self::Kept { path: spool.to_owned(), cause },
            error => error,
        }
    }

    /// Returns what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.help(),
            Self::Ledger(error) => error.help.clone(),
            Self::Sink(SinkError::Unavailable { .. }) => {
                Some("run again once it is there: what was delivered is not delivered again".to_owned())
            }
            Self::GivenUp { tries, pause_ms, .. } => {
                let times = if *tries == 1 { "once".to_owned() } else { format!("{tries} times in a row") };
                let seconds = pause_ms.div_ceil(1000);
                let wait = if *pause_ms == 0 {
                    String::new()
                } else {
                    format!(", {seconds} s from now at the soonest")
                };
                Some(format!(
                    "run again once it is there: what was delivered is not delivered again. It has failed {times}; the next run tries it once{wait}"
                ))
            }
            Self::File { help, .. }
            | Self::Worker { help, .. }
            | Self::Sink(SinkError::Refused { help, .. }) => help.clone(),
            Self::Outage { help, .. } => Some(help.clone().unwrap_or_else(|| {
                "mend the cause and run again: the records are tried again as if for the first time"
                    .to_owned()
            })),
            Self::Row(_) => Some("the store is damaged: put it back from a backup".to_owned()),
            Self::NotConserved(_) => {
                Some("this is a fault of cairn: please report it with the run's log".to_owned())
            }
            Self::Kept { cause, .. } | Self::Spool(cause) => help_for(cause),
            Self::TooMuch(_) | Self::Stopped | Self::Sink(SinkError::Records(_)) => None,
        }
    }

    /// Tells whether another attempt would fail in the same way.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::Sink(SinkError::Refused { .. })
                | Self::Outage { .. }
                | Self::TooMuch(_)
                | Self::File { .. }
        )
    }
}

impl From<WalkError> for EngineError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Ledger(error) => error.into(),
            WalkError::Row(error) => error.into(),
            WalkError::Spool(error) => Self::Spool(error),
            WalkError::Cut => Self::Stopped,
        }
    }
}
