//! Rows under keys that are new to cairn are copied right into the table, which spares the server the staging table and a look
//! for what stands under each key.
//!
//! Only the server knows whether the keys are new to the table too. Where one is not, the copy fails at its unique index and
//! leaves nothing, and the batch, like all after it of this session, is put by statements that expect rows.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use tokio_postgres::Transaction;
use tokio_postgres::error::{DbError, SqlState};

use super::batch::{Encoded, HEAD, Target};
use super::columns::shape;
use super::error::of_records;
use crate::sink::table::list;
use crate::sink::{Delivery, Operation};

/// How a copy into the table ended.
pub(super) enum Copied {
    /// All rows are there.
    All,
    /// None is there: something else is wrong with one of them, or the table is another than it was.
    Nothing,
    /// None is there: under one of the keys there was a row.
    Met,
}

impl Target<'_> {
    /// Returns whether the rows can be copied into the table as they are: all are new, each has the same columns, in the
    /// types in which they were encoded, and nothing is remembered, or to be, of how keys are written.
    pub(super) fn takes_copy(&self, encoded: &Encoded, records: &[Delivery]) -> bool {
        self.table.takes_copy
            // And any: a row of nothing but defaults has no column.
            && matches!(encoded.groups.as_slice(), [left_out] if left_out.contains(&false))
            && encoded.not_plain.is_empty()
            && self.keys.as_ref().is_none_or(|keys| !keys.known.any)
            && self.table.columns.iter().all(|column| column.kind.is_sent_as_stored())
            && records.iter().all(|record| record.fresh && record.operation == Operation::Put)
    }

    /// Copies all rows into the table.
    pub(super) async fn copy(
        &self,
        transaction: &mut Transaction<'_>,
        encoded: &Encoded,
    ) -> Result<Copied, tokio_postgres::Error> {
        let savepoint = transaction.savepoint("cairn_copy").await?;
        let copied = match self.copy_rows(&savepoint, encoded).await {
            Ok(true) => return savepoint.commit().await.map(|()| Copied::All),
            Ok(false) => Copied::Nothing,
            Err(error) => match of_records(&error).map(DbError::code) {
                Some(code) if *code == SqlState::UNIQUE_VIOLATION => Copied::Met,
                Some(_) => Copied::Nothing,
                None => return Err(error),
            },
        };
        savepoint.rollback().await?;
        Ok(copied)
    }

    /// Returns whether the rows were read as what they are.
    async fn copy_rows(
        &self,
        transaction: &Transaction<'_>,
        encoded: &Encoded,
    ) -> Result<bool, tokio_postgres::Error> {
        // It waits for whoever alters the table, and until the end of the transaction the table stays as it is then: bytes of
        // a number are a time to a column that has become one. A copy that cannot begin would cost the connection.
        let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", self.quoted);
        match transaction.batch_execute(&lock).await {
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => return Ok(false),
            locked => locked?,
        }
        if !self.is_as_known(transaction).await? {
            return Ok(false);
        }
        let left_out = &encoded.groups[0];
        let columns = self.table.columns.iter().zip(left_out).filter(|(_, left_out)| !**left_out);
        let names: Vec<String> = columns.map(|(column, _)| column.name.clone()).collect();
        let statement = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", self.quoted, list("", &names));
        copy_in(transaction, &statement, encoded.rows(), |row, to| put_columns(row, left_out, to)).await?;
        transaction.batch_execute("SET CONSTRAINTS ALL IMMEDIATE").await?;
        Ok(true)
    }

    async fn is_as_known(&self, transaction: &Transaction<'_>) -> Result<bool, tokio_postgres::Error> {
        let now = shape(transaction, self.quoted).await?;
        Ok(now.is_some_and(|(takes_copy, shape)| takes_copy && shape == self.table.shape))
    }
}

/// Bytes of a message: large enough that the message costs nothing, small enough to stay in the cache.
const CHUNK: usize = 256 * 1024;

/// Sends rows as `statement` takes them; `put` appends one.
pub(super) async fn copy_in<'r>(
    transaction: &Transaction<'_>,
    statement: &str,
    rows: impl Iterator<Item = &'r [u8]>,
    mut put: impl FnMut(&[u8], &mut BytesMut),
) -> Result<(), tokio_postgres::Error> {
    let copy = transaction.copy_in::<_, Bytes>(statement).await?;
    let mut copy = std::pin::pin!(copy);
    let mut chunk = BytesMut::with_capacity(CHUNK + CHUNK / 4);
    chunk.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    for row in rows {
        put(row, &mut chunk);
        if chunk.len() >= CHUNK {
            copy.send(chunk.split().freeze()).await?;
        }
    }
    chunk.put_i16(-1);
    copy.send(chunk.freeze()).await?;
    copy.finish().await.map(drop)
}

/// Appends a row without its group and the columns that are left out.
fn put_columns(row: &[u8], left_out: &[bool], to: &mut BytesMut) {
    let mut fields = &row[HEAD..];
    let kept = left_out.iter().filter(|left_out| !**left_out).count();
    to.put_i16(i16::try_from(kept).expect("a table has at most 1600 columns"));
    if kept == left_out.len() {
        return to.put_slice(fields);
    }
    for left_out in left_out {
        let length = i32::from_be_bytes(*fields.first_chunk().expect("each column has its length"));
        // NULL has the length -1, and nothing behind it.
        let (field, rest) = fields.split_at(4 + usize::try_from(length).unwrap_or(0));
        if !left_out {
            to.put_slice(field);
        }
        fields = rest;
    }
}
