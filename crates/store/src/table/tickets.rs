//! Runs that the daemon was asked for, and those of them that are not over.

use cairn_model::{Digest, RunId};

use crate::keys::{self, Family};
use crate::record::Damage;
use crate::{ReadError, Store, Submission, Ticket};

impl Store {
    /// Returns what was asked for under a run's id; `None` for one in the foreground.
    pub fn ticket(&self, run: RunId) -> Result<Option<Ticket>, ReadError> {
        self.inner.database.get(Family::Tickets, &keys::run(run))
    }

    /// Returns all that were asked for and are not over, the oldest first.
    pub fn open_tickets(&self) -> Result<Vec<(RunId, Ticket)>, ReadError> {
        let database = &self.inner.database;
        let mut open = Vec::new();
        for row in database.scan::<crate::record::Blob>(Family::Queue, &[]) {
            let (key, _) = row?;
            let run =
                keys::read_run(&key).ok_or_else(|| database.damaged(Family::Queue, &key, &Damage::Key))?;
            // Both are written in one batch.
            if let Some(ticket) = self.ticket(run)? {
                open.push((run, ticket));
            }
        }
        Ok(open)
    }

    /// Returns what came of the submission with this idempotency key, whose digest it goes by.
    pub fn submission(&self, key: &Digest) -> Result<Option<Submission>, ReadError> {
        self.inner.database.get(Family::Submissions, key.as_bytes())
    }
}
