//! Transactions that are prepared, and settled later, by whichever process.

use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;

use super::Session;
use super::error::Failure;
use crate::sink::BatchId;

/// How long a transaction of a process that is gone may take to end.
const UNDECIDED: Duration = Duration::from_mins(1);

impl Session {
    pub(super) async fn settle(&mut self, batch: &BatchId, commit: bool) -> Result<(), Failure> {
        let verb = if commit { "COMMIT" } else { "ROLLBACK" };
        let statement = format!("{verb} PREPARED {}", literal(&self.gid(batch).await?));
        if !commit {
            // It may have made the table.
            self.table = None;
        }
        let start = Instant::now();
        loop {
            match self.client().await?.batch_execute(&statement).await {
                Err(error) if error.code() == Some(&SqlState::UNDEFINED_OBJECT) => {}
                done => return Ok(done?),
            }
            // A transaction of a process that is gone may still be about to be prepared: it holds its fence until then.
            if commit || !self.find_ledger().await? {
                return Ok(());
            }
            let lock = format!("SELECT fence FROM {} WHERE scope = $1 FOR UPDATE NOWAIT", self.fence);
            let scope = self.scope(&batch.scope);
            match self.client().await?.query_opt(&lock, &[&scope]).await {
                Err(error)
                    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && start.elapsed() < UNDECIDED =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                done => return Ok(done.map(drop)?),
            }
        }
    }

    pub(super) async fn prepared(&mut self, scope: &str) -> Result<Vec<u64>, Failure> {
        let prefix = self.gid_prefix(scope).await?;
        let query =
            "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, $1)";
        let rows = self.client().await?.query(query, &[&prefix]).await?;
        let number = |gid: String| gid.strip_prefix(&prefix)?.parse().ok();
        let mut numbers: Vec<u64> = rows.iter().filter_map(|row| number(row.get(0))).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) async fn is_prepared(&mut self, batch: &BatchId) -> Result<bool, Failure> {
        let gid = self.gid(batch).await?;
        let query =
            "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database() AND gid = $1)";
        Ok(self.client().await?.query_one(query, &[&gid]).await?.get(0))
    }

    /// The name of a batch's prepared transaction.
    pub(super) async fn gid(&mut self, batch: &BatchId) -> Result<String, Failure> {
        Ok(format!("{}{}", self.gid_prefix(&batch.scope).await?, batch.sequence))
    }

    async fn gid_prefix(&mut self, scope: &str) -> Result<String, Failure> {
        self.client().await?;
        let scope = format!("{}@{}", self.scope(scope), self.database);
        Ok(if scope.len() <= GID_SCOPE_MAX {
            format!("cairn:{scope}:")
        } else {
            format!("cairn:{}:", blake3::hash(scope.as_bytes()).to_hex())
        })
    }
}

/// Bytes of a scope that a transaction's name of at most 199 bytes has room for, beside `cairn:`, `:` and 20 digits.
const GID_SCOPE_MAX: usize = 170;

/// Returns a name for the staging table of a prepared transaction, short enough not to be cut.
pub(super) fn staging_name(gid: &str) -> String {
    format!("cairn_batch_{}", &blake3::hash(gid.as_bytes()).to_hex()[..32])
}

/// Returns `text` as a string literal; with `standard_conforming_strings`, only quotes are special.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
