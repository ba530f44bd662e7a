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

    /// Returns submissions in the order of their keys, from after a key on or from the first; at most `limit`.
    pub fn submissions_after(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<(Digest, Submission)>, ReadError> {
        let database = &self.inner.database;
        let from = after.map_or(&[][..], |after| after.as_bytes());
        let rows = database.scan_from::<Submission>(Family::Submissions, &[], from);
        let read = rows.map(|row| {
            let (key, submission) = row?;
            let digest = <[u8; 32]>::try_from(&key[..]).map(Digest::from_bytes);
            let digest = digest.map_err(|_| database.damaged(Family::Submissions, &key, &Damage::Key))?;
            Ok((digest, submission))
        });
        let is_later = |row: &Result<(Digest, Submission), ReadError>| {
            row.as_ref().map_or(true, |(key, _)| Some(key) != after)
        };
        read.filter(is_later).take(limit).collect()
    }

    /// Returns what came of the submission with this idempotency key, whose digest it goes by.
    pub fn submission(&self, key: &Digest) -> Result<Option<Submission>, ReadError> {
        self.inner.database.get(Family::Submissions, key.as_bytes())
    }
}
