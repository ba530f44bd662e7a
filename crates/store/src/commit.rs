//! The one way into the store: a batch, whole or not at all.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_model::{AttemptId, InputHash, RunId};
use rocksdb::WriteBatch;

use crate::changes::Changes;
use crate::database::{Database, EngineError};
use crate::keys::{self, Family};
use crate::open::help_for;
use crate::read::ReadError;
use crate::record;

/// How durable a commit is when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power cut, and so does every commit before it.
    Synced,
    /// It survives the end of the process.
    Written,
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The batch's number: contiguous, the first one is written when the store is made.
    pub sequence: u64,
    /// Checkpoints in the batch that do not count, because another result stood under their input-hash: that one
    /// stands, and these are kept as evidence. Their outputs are not what a later hit would restore.
    pub disputed: Vec<InputHash>,
}

/// Why a batch was not committed. But for [`Failed`](Self::Failed), nothing of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// An attempt that the batch requires was given up, or is another's.
    #[error("the attempt `{}` with epoch {epoch} is no longer the one that counts", attempt.slug())]
    StaleAttempt {
        /// Which.
        attempt: Box<AttemptId>,
        /// The epoch that the batch names.
        epoch: u64,
    },
    /// What the batch builds on could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing or syncing failed. Whether the batch is in the store shows when it is opened again.
    #[error("cannot write to the store `{}`", path.display())]
    Failed {
        /// The store's folder, or `HEAD`.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// An earlier write failed, and after that nothing is written by this process: what the system still holds of it
    /// is not known.
    #[error("the store `{}` takes no more writes since one failed", path.display())]
    Refused {
        /// The store's folder.
        path: PathBuf,
        /// Why the earlier one failed.
        source: Arc<io::Error>,
    },
    /// The state folder was renamed, removed or replaced while this process held it: what stands at its path now is another
    /// process' to hold.
    #[error(
        "the state folder `{}` is no longer the one that this process holds: it was renamed, removed or replaced",
        path.display()
    )]
    Displaced {
        /// The state folder.
        path: PathBuf,
    },
    /// The store was opened for reading.
    #[error("the store `{}` is open for reading only", path.display())]
    ReadOnly {
        /// The store's folder.
        path: PathBuf,
    },
}

impl CommitError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.help(),
            Self::Failed { source, .. } | Self::Refused { source, .. } => Some(
                help_for(source.kind()).unwrap_or("mend that, then run the same command again").to_owned(),
            ),
            Self::Displaced { .. } => Some(
                "put the folder back if what it knows is to count, or leave what stands there now; then run the same \
                 command again"
                    .to_owned(),
            ),
            Self::StaleAttempt { .. } | Self::ReadOnly { .. } => None,
        }
    }
}

impl From<EngineError> for io::Error {
    fn from(error: EngineError) -> Self {
        Self::new(error.io_kind(), error)
    }
}

/// What only the one who writes needs to know.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) head: record::Head,
    /// The number of the last event of each run that was written to and has not ended: a process that goes on for months
    /// does not remember all that it ever ran.
    events: HashMap<RunId, u64>,
    /// Why a write failed; nothing is written after that.
    failed: Option<Arc<io::Error>>,
}

impl Writer {
    pub(crate) fn new(head: record::Head) -> Self {
        Self { head, events: HashMap::new(), failed: None }
    }

    /// Writes what `fill` puts into the changes. It is durable once the store is synced.
    pub(crate) fn write(
        &mut self,
        database: &Database,
        fill: impl FnOnce(&mut Changes<'_>) -> Result<(), CommitError>,
    ) -> Result<Committed, CommitError> {
        self.refuse_after_failure(database.folder())?;
        let mut changes = Changes::new(database, self.head.sequence + 1, &self.events);
        fill(&mut changes)?;
        let mut head = record::Head {
            sequence: changes.sequence,
            chain: changes.chain(&self.head.chain),
            tallies: self.head.tallies,
        };
        let mut batch = WriteBatch::default();
        changes.write(&mut batch, &mut head.tallies);
        database.put(&mut batch, Family::Meta, keys::HEAD, &record::seal(Family::Meta, keys::HEAD, &head));
        let (events, ended, disputed) = (changes.events, changes.ended, changes.disputed);

        let written = database.write(batch);
        written.map_err(|error| self.fail(database.folder(), error.into()))?;
        self.head = head;
        self.events.extend(events);
        for run in ended {
            self.events.remove(&run);
        }
        Ok(Committed { sequence: self.head.sequence, disputed })
    }

    /// Returns of how many runs the last event's number is remembered.
    #[cfg(test)]
    pub(crate) fn remembered_runs(&self) -> usize {
        self.events.len()
    }

    /// Moves what the log holds into tables.
    pub(crate) fn flush(&mut self, database: &Database) -> Result<(), CommitError> {
        self.refuse_after_failure(database.folder())?;
        database.flush().map_err(|error| self.fail(database.folder(), error.into()))
    }

    /// Returns why nothing is written any more.
    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        self.failed.clone()
    }

    fn refuse_after_failure(&self, folder: &Path) -> Result<(), CommitError> {
        let refused = |source: &Arc<io::Error>| CommitError::Refused {
            path: folder.to_owned(),
            source: source.clone(),
        };
        self.failed.as_ref().map_or(Ok(()), |source| Err(refused(source)))
    }

    /// Has nothing more be written, because of `error` at `path`.
    pub(crate) fn fail(&mut self, path: &Path, error: io::Error) -> CommitError {
        let source = Arc::new(error);
        self.failed = Some(source.clone());
        CommitError::Failed { path: path.to_owned(), source }
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{Event, FixedClock, RunEvent, RunStatus, Timestamp};

    use super::*;
    use crate::{Access, Batch, Store};

    #[test]
    fn nothing_is_remembered_of_a_run_that_ended_and_it_may_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join(".cairn"), Access::Write, &FixedClock::new(Timestamp(0)))
            .unwrap();
        let run = RunId::from_bytes([7; 16]);
        let commit = |whats: &[RunEvent]| {
            let mut batch = Batch::new();
            for what in whats {
                batch.event(run, &Event { at: Timestamp(0), what: what.clone() });
            }
            let _ = store.commit(batch, Durability::Written).unwrap();
            store.remembered_runs()
        };
        let started = |resumed| RunEvent::Started { instances: 1, resumed };
        let ended = RunEvent::Ended { status: RunStatus::Failed };
        assert_eq!(commit(&[started(false)]), 1);
        assert_eq!(commit(std::slice::from_ref(&ended)), 0);
        assert_eq!(commit(&[started(true)]), 1);
        assert_eq!(commit(&[ended.clone(), started(true), ended]), 0);
        let numbers: Vec<u64> = store.events(run).unwrap().iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    }
}
