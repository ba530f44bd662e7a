//! How what was written becomes durable: by syncs that those who wait for one share.

use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};

use crate::changes::Changes;
use crate::commit::{CommitError, Committed, Durability, Writer};
use crate::database::Database;
use crate::format;
use crate::head_file::{HeadFile, Mark};

/// The writer, and how much of what it wrote is durable.
///
/// A batch is written under the writer's lock, and synced outside of it: while the disk works, others write. One of those
/// who wait then syncs for all that was written meanwhile, and the others find theirs done. So the number of syncs does not grow
/// with the number of those who commit at the same time.
#[derive(Debug)]
pub(crate) struct Syncing {
    writer: Mutex<Writer>,
    /// Held for moments only: whose batch is durable does not wait for the sync of later ones.
    synced: Mutex<Synced>,
    /// Is told when a sync has ended.
    sync_ended: Condvar,
    /// Says beside the store what is durable.
    head_file: Mutex<HeadFile>,
    head_path: PathBuf,
}

/// What is durable.
#[derive(Debug)]
struct Synced {
    /// The number of the last batch that is.
    sequence: u64,
    /// Whether somebody syncs.
    is_under_way: bool,
    #[cfg(test)]
    syncs: u64,
    /// Has the next sync fail.
    #[cfg(test)]
    fails: bool,
}

impl Syncing {
    /// Starts with a writer all of whose batches are durable.
    pub(crate) fn new(writer: Writer, head_file: HeadFile, head_path: PathBuf) -> Self {
        let synced = Synced {
            sequence: writer.head.sequence,
            is_under_way: false,
            #[cfg(test)]
            syncs: 0,
            #[cfg(test)]
            fails: false,
        };
        Self {
            writer: Mutex::new(writer),
            synced: Mutex::new(synced),
            sync_ended: Condvar::new(),
            head_file: Mutex::new(head_file),
            head_path,
        }
    }

    /// Returns the writer, once nobody else writes.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("a commit that panics ends the process")
    }

    /// Commits what `fill` puts into the changes.
    pub(crate) fn commit(
        &self,
        database: &Database,
        durability: Durability,
        fill: impl FnOnce(&mut Changes<'_>) -> Result<(), CommitError>,
    ) -> Result<Committed, CommitError> {
        let committed = self.writer().write(database, fill)?;
        if durability == Durability::Synced {
            self.reach(database, committed.sequence)?;
        }
        Ok(committed)
    }

    /// Makes all that was written durable, `HEAD` too.
    pub(crate) fn all(&self, database: &Database) -> Result<(), CommitError> {
        let sequence = self.writer().head.sequence;
        self.reach(database, sequence)?;
        let done = self.head_file().sync();
        done.map_err(|error| self.writer().fail(&self.head_path, error))
    }

    /// Makes the batch number `sequence`, and all before it, durable.
    pub(crate) fn reach(&self, database: &Database, sequence: u64) -> Result<(), CommitError> {
        let mut synced = self.synced();
        while synced.sequence < sequence {
            if synced.is_under_way {
                synced = self.sync_ended.wait(synced).expect("a commit that panics ends the process");
            } else {
                synced.is_under_way = true;
                drop(synced);
                let _turn = Turn(self);
                self.sync(database)?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes all that was written durable, in one's turn.
    fn sync(&self, database: &Database) -> Result<(), CommitError> {
        let head = {
            let writer = self.writer();
            if let Some(source) = writer.failure() {
                // It was written; whether the disk has it is not known.
                return Err(CommitError::Failed { path: database.folder().to_owned(), source });
            }
            writer.head.place()
        };
        let failed = |path, error: io::Error| self.writer().fail(path, error);
        #[cfg(test)]
        if self.synced().fails {
            return Err(failed(database.folder(), io::Error::other("the disk is gone")));
        }
        database.sync().map_err(|error| failed(database.folder(), error.into()))?;
        // `HEAD` says where the store stands only once that is durable.
        let marked = self.head_file().write(&Mark { format: format::VERSION, head });
        marked.map_err(|error| failed(&self.head_path, error))?;
        let mut synced = self.synced();
        synced.sequence = head.sequence;
        #[cfg(test)]
        {
            synced.syncs += 1;
        }
        Ok(())
    }

    fn synced(&self) -> MutexGuard<'_, Synced> {
        self.synced.lock().expect("a commit that panics ends the process")
    }

    fn head_file(&self) -> MutexGuard<'_, HeadFile> {
        self.head_file.lock().expect("a commit that panics ends the process")
    }
}

/// The turn to sync, which others wait to have.
struct Turn<'a>(&'a Syncing);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.synced().is_under_way = false;
        self.0.sync_ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cairn_model::{FixedClock, Timestamp};

    use super::*;
    use crate::open::{self, Opened};
    use crate::{Batch, Store};

    #[test]
    fn those_who_commit_while_a_sync_goes_on_share_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".cairn");
        let opened = open::for_writing(&state, &FixedClock::new(Timestamp(0))).unwrap();
        let Opened { database, syncing, lock: _lock } = opened;
        let commit = |durability| {
            syncing.commit(&database, durability, |changes| Batch::new().apply(changes)).unwrap().sequence
        };
        let before = syncing.writer().head.sequence;
        std::thread::scope(|scope| {
            // As if the disk were at work.
            syncing.synced().is_under_way = true;
            let going_on = Turn(&syncing);
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let sequence = commit(Durability::Synced);
                        (sequence, Store::sequence_on_disk(&state))
                    })
                })
                .collect();
            while syncing.writer().head.sequence < before + 8 {
                std::thread::sleep(Duration::from_millis(1));
            }
            let durable = syncing.synced().sequence;
            syncing.reach(&database, durable).unwrap();
            assert_eq!(Store::sequence_on_disk(&state), Some(durable), "nothing more is durable");
            drop(going_on);
            for thread in threads {
                let (sequence, on_disk) = thread.join().unwrap();
                assert!(on_disk.is_some_and(|on_disk| on_disk >= sequence), "{on_disk:?} < {sequence}");
            }
        });
        assert_eq!(syncing.synced().syncs, 1 + 1, "one made the store, one is of all eight");
        let written = commit(Durability::Written);
        assert!(Store::sequence_on_disk(&state) < Some(written));
        syncing.all(&database).unwrap();
        assert_eq!(Store::sequence_on_disk(&state), Some(written));
    }

    #[test]
    fn a_sync_that_fails_fails_for_all_who_wait_for_it_and_nothing_is_written_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".cairn");
        let opened = open::for_writing(&state, &FixedClock::new(Timestamp(0))).unwrap();
        let Opened { database, syncing, lock: _lock } = opened;
        let commit =
            |durability| syncing.commit(&database, durability, |changes| Batch::new().apply(changes));
        let before = syncing.writer().head.sequence;
        std::thread::scope(|scope| {
            syncing.synced().is_under_way = true;
            let going_on = Turn(&syncing);
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| commit(Durability::Synced))).collect();
            while syncing.writer().head.sequence < before + 8 {
                std::thread::sleep(Duration::from_millis(1));
            }
            syncing.synced().fails = true;
            drop(going_on);
            for thread in threads {
                let failed = thread.join().unwrap();
                assert!(matches!(failed, Err(CommitError::Failed { .. })), "{failed:?}");
            }
        });
        for durability in [Durability::Written, Durability::Synced] {
            assert!(matches!(commit(durability), Err(CommitError::Refused { .. })));
        }
        assert!(matches!(syncing.all(&database), Err(CommitError::Failed { .. })));
        assert_eq!(Store::sequence_on_disk(&state), Some(before));
    }
}
