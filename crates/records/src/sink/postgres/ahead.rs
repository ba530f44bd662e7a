//! Batches that are encoded while the one before is delivered.

use std::sync::Arc;

use super::batch::{self, Encoded};
use super::columns::Table;
use crate::sink::table::Wanted;
use crate::sink::{self, BatchId, Delivery, Encode};

/// Encodes for a table as it was in the last transaction that was committed.
pub(super) struct Encoder {
    pub(super) table: Arc<Table>,
    pub(super) wanted: Arc<Wanted>,
}

/// Records as they are encoded for a table.
pub(super) struct EncodedFor {
    table: Arc<Table>,
    encoded: Encoded,
}

impl Encode for Encoder {
    fn encode(&self, records: &[Delivery]) -> sink::Encoded {
        let encoded = batch::encode(&self.table, &self.wanted, records);
        Box::new(EncodedFor { table: Arc::clone(&self.table), encoded })
    }
}

/// A batch that is delivered.
pub(super) struct Load<'l> {
    pub(super) batch: &'l BatchId,
    pub(super) records: &'l [Delivery],
    /// The records, where they were encoded ahead.
    pub(super) encoded: Option<Box<EncodedFor>>,
}

impl Load<'_> {
    /// Returns the records encoded for `table`: as they are, where that is the one they were encoded for.
    pub(super) fn encoded_for(&mut self, table: &Arc<Table>, wanted: &Wanted) -> Encoded {
        match self.encoded.take() {
            Some(ahead) if Arc::ptr_eq(&ahead.table, table) => ahead.encoded,
            _ => batch::encode(table, wanted, self.records),
        }
    }
}
