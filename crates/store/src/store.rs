//! The handle on an open store.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cairn_model::{Clock, Digest};

use crate::batch::Batch;
use crate::commit::{CommitError, Committed, Durability};
use crate::database::Database;
use crate::lock::{Holder, Lock};
use crate::sync::Syncing;
use crate::{OpenError, format, head_file, lock, open};

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing, by one process at a time. A store that is not there is made.
    Write,
    /// Reading it as it stands at this moment, which takes no lock and makes nothing.
    Read,
}

/// Where a store stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last batch.
    pub sequence: u64,
    /// Digest over all batches up to it.
    pub chain: Digest,
}

/// An open store: a handle that is cheap to clone and can be shared by threads. All calls block.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// The lock comes last, so that it is given back only when the database is closed.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) database: Database,
    role: Role,
    lock: Option<Lock>,
}

#[derive(Debug)]
enum Role {
    Writer(Box<Syncing>),
    Reader(Head),
}

/// With more than this in its logs, a store is tidied when it is closed: every later open, be it for reading, would read
/// all of them again, a megabyte in some 10 ms.
const LOGS_BYTES_MAX: u64 = 256 << 10;
const LOGS_MAX: usize = 8;

impl Store {
    /// Opens the store in the state folder `state`, whose parent exists. `clock` tells when, for those who find it
    /// locked.
    pub fn open(state: &Path, access: Access, clock: &dyn Clock) -> Result<Self, OpenError> {
        let inner = match access {
            Access::Write => {
                let open::Opened { database, syncing, lock } = open::for_writing(state, clock)?;
                Inner { database, role: Role::Writer(Box::new(syncing)), lock: Some(lock) }
            }
            Access::Read => {
                let (database, head) = open::for_reading(state)?;
                Inner { database, role: Role::Reader(head), lock: None }
            }
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Accepts the store in `state` as it is, although `HEAD` says that more was committed to it.
    pub fn accept_head(state: &Path, clock: &dyn Clock) -> Result<(), OpenError> {
        open::accept_head(state, clock)
    }

    /// Returns the number of the last synced batch that the store in `state` tells without being opened; `None` when
    /// there is none, or this version must not read it.
    pub fn sequence_on_disk(state: &Path) -> Option<u64> {
        let mark = head_file::read(state).ok()??;
        (mark.format <= format::VERSION).then_some(mark.head.sequence)
    }

    /// Returns whether a process, be it this one, has the store in `state` open for writing.
    pub fn is_held(state: &Path) -> bool {
        lock::is_held(state)
    }

    /// Returns the process that has the store in `state` open for writing; `None` where none has, or none can be told.
    pub fn holder(state: &Path) -> Option<Holder> {
        lock::holder(state)
    }

    /// Writes a batch, whole or not at all. An empty one counts as well; synced, it makes durable what was written
    /// before. Others see it before it is durable, and what they commit then is durable no sooner. Threads that commit at the
    /// same time share syncs.
    ///
    /// Nothing is written once the state folder is [displaced](Self::in_place).
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<Committed, CommitError> {
        self.in_place()?;
        self.syncing()?.commit(&self.inner.database, durability, |changes| batch.apply(changes))
    }

    /// Makes the batch number `sequence`, and all before it, durable: for one that was committed as
    /// [`Written`](Durability::Written) while others were kept waiting.
    pub fn sync(&self, sequence: u64) -> Result<(), CommitError> {
        self.syncing()?.reach(&self.inner.database, sequence)
    }

    /// Returns whether the state folder at its path is still the one that this process holds. Once it was renamed, removed or
    /// replaced, another process may hold what stands there now: nothing is to be begun any more. It looks at one file.
    pub fn in_place(&self) -> Result<(), CommitError> {
        match &self.inner.lock {
            Some(lock) if !lock.is_in_place() => {
                Err(CommitError::Displaced { path: lock.state().to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Returns why the store takes no more writes of this process: an earlier one failed. It waits for a commit that goes on.
    pub fn write_failure(&self) -> Option<Arc<io::Error>> {
        match &self.inner.role {
            Role::Writer(syncing) => syncing.writer().failure(),
            Role::Reader(_) => None,
        }
    }

    /// Returns where the store stands, or stood when it was opened for reading.
    pub fn head(&self) -> Head {
        match &self.inner.role {
            Role::Writer(syncing) => syncing.writer().head.place(),
            Role::Reader(head) => *head,
        }
    }

    /// Makes durable what was written, and leaves the store so that it opens quickly. It is closed once the last
    /// clone of this handle is dropped; without this call too, but then a power cut may take what was not synced.
    pub fn close(self) -> Result<(), CommitError> {
        let database = &self.inner.database;
        if matches!(self.inner.role, Role::Reader(_)) {
            return Ok(());
        }
        let syncing = self.syncing()?;
        syncing.all(database)?;
        // That the logs cannot be listed is no reason to fail: all is durable.
        let (logs, bytes) = open::logs(database.folder()).unwrap_or_default();
        if bytes > LOGS_BYTES_MAX || logs > LOGS_MAX {
            syncing.writer().flush(database)?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn remembered_runs(&self) -> usize {
        self.syncing().expect("it is open for writing").writer().remembered_runs()
    }

    fn syncing(&self) -> Result<&Syncing, CommitError> {
        match &self.inner.role {
            Role::Writer(syncing) => Ok(syncing),
            Role::Reader(_) => Err(CommitError::ReadOnly { path: self.inner.database.folder().to_owned() }),
        }
    }
}
