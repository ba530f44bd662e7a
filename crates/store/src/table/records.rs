//! What is kept for records stages: one scope for each instance, and rows of states in pages and deltas, whose bytes are
//! the engine's own affair.

use cairn_model::{InstanceName, Name};

use crate::ReadError;
use crate::Store;
use crate::batch::Batch;
use crate::keys::{self, Family};
use crate::record::{Blob, Damage};

/// Whose records.
#[derive(Debug, Clone, Copy)]
pub struct RecordsOf<'a> {
    /// The pipeline.
    pub pipeline: &'a Name,
    /// The instance.
    pub instance: &'a InstanceName,
}

impl RecordsOf<'_> {
    fn page(&self, prefix: u16) -> Vec<u8> {
        keys::record_page(self.pipeline, self.instance, prefix)
    }

    fn delta(&self, sequence: u64) -> Vec<u8> {
        keys::record_delta(self.pipeline, self.instance, sequence)
    }
}

impl Batch {
    /// Stores what is known of an instance's records as a whole.
    pub fn put_record_scope(&mut self, of: RecordsOf<'_>, bytes: Vec<u8>) {
        self.put(Family::RecordScopes, keys::instance(of.pipeline, of.instance), &Blob(bytes));
    }

    /// Stores the states of the keys that begin with `prefix`; an empty page is removed.
    pub fn put_record_page(&mut self, of: RecordsOf<'_>, prefix: u16, bytes: Vec<u8>) {
        if bytes.is_empty() {
            self.delete(Family::RecordStates, of.page(prefix));
        } else {
            self.put(Family::RecordStates, of.page(prefix), &Blob(bytes));
        }
    }

    /// Stores the states that a delivery leads to.
    pub fn put_record_delta(&mut self, of: RecordsOf<'_>, sequence: u64, bytes: Vec<u8>) {
        self.put(Family::RecordStates, of.delta(sequence), &Blob(bytes));
    }

    /// Removes a delta, one that is not there too.
    pub fn remove_record_delta(&mut self, of: RecordsOf<'_>, sequence: u64) {
        self.delete(Family::RecordStates, of.delta(sequence));
    }
}

impl Store {
    /// Returns what is known of an instance's records as a whole.
    pub fn record_scope(&self, of: RecordsOf<'_>) -> Result<Option<Vec<u8>>, ReadError> {
        let key = keys::instance(of.pipeline, of.instance);
        Ok(self.inner.database.get::<Blob>(Family::RecordScopes, &key)?.map(|blob| blob.0))
    }

    /// Returns the states of the keys that begin with `prefix`, empty when there are none.
    pub fn record_page(&self, of: RecordsOf<'_>, prefix: u16) -> Result<Vec<u8>, ReadError> {
        let page = self.inner.database.get::<Blob>(Family::RecordStates, &of.page(prefix))?;
        Ok(page.map(|blob| blob.0).unwrap_or_default())
    }

    /// Returns all pages in the order of their prefixes.
    pub fn record_pages(
        &self,
        of: RecordsOf<'_>,
    ) -> impl Iterator<Item = Result<(u16, Vec<u8>), ReadError>> + use<'_> {
        let database = &self.inner.database;
        let prefix = keys::record_pages(of.pipeline, of.instance);
        database.scan::<Blob>(Family::RecordStates, &prefix).map(move |row| {
            let (key, blob) = row?;
            let damaged = || database.damaged(Family::RecordStates, &key, &Damage::Key);
            Ok((keys::read_record_page(&key).ok_or_else(damaged)?, blob.0))
        })
    }

    /// Returns a delta, empty when there is none.
    pub fn record_delta(&self, of: RecordsOf<'_>, sequence: u64) -> Result<Vec<u8>, ReadError> {
        let delta = self.inner.database.get::<Blob>(Family::RecordStates, &of.delta(sequence))?;
        Ok(delta.map(|blob| blob.0).unwrap_or_default())
    }

    /// Returns the numbers of all deltas, ascending.
    pub fn record_deltas(&self, of: RecordsOf<'_>) -> Result<Vec<u64>, ReadError> {
        let database = &self.inner.database;
        let prefix = keys::record_deltas(of.pipeline, of.instance);
        let found = database.keys(Family::RecordStates, &prefix).map(|key| {
            let key = key?;
            let damaged = || database.damaged(Family::RecordStates, &key, &Damage::Key);
            keys::read_record_delta(&key).ok_or_else(damaged)
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{FixedClock, Timestamp};

    use super::*;
    use crate::{Access, Durability};

    #[test]
    fn pages_and_deltas_come_back_in_order_and_apart_from_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let clock = FixedClock::new(Timestamp(0));
        let store = Store::open(&folder.path().join(".cairn"), Access::Write, &clock).unwrap();
        let pipeline: Name = "p".parse().unwrap();
        // One instance's name is the beginning of the other's.
        let one = InstanceName::new("a".parse().unwrap(), None);
        let other = InstanceName::new("a".parse().unwrap(), Some("x=1".to_owned()));
        let of = RecordsOf { pipeline: &pipeline, instance: &one };
        let of_other = RecordsOf { pipeline: &pipeline, instance: &other };
        let mut batch = Batch::new();
        batch.put_record_scope(of, b"scope".to_vec());
        for prefix in [256, 1, u16::MAX] {
            batch.put_record_page(of, prefix, prefix.to_string().into_bytes());
        }
        batch.put_record_page(of_other, 7, b"other".to_vec());
        for sequence in [300, 2] {
            batch.put_record_delta(of, sequence, sequence.to_string().into_bytes());
        }
        let _ = store.commit(batch, Durability::Written).unwrap();

        assert_eq!(store.record_scope(of).unwrap().as_deref(), Some(b"scope".as_slice()));
        assert_eq!(store.record_scope(of_other).unwrap(), None);
        let pages: Vec<u16> = store.record_pages(of).map(|page| page.unwrap().0).collect();
        assert_eq!(pages, [1, 256, u16::MAX]);
        assert_eq!(store.record_page(of, 256).unwrap(), b"256");
        assert_eq!(store.record_page(of_other, 256).unwrap(), b"");
        assert_eq!(store.record_deltas(of).unwrap(), [2, 300]);
        assert_eq!(store.record_delta(of, 300).unwrap(), b"300");

        let mut batch = Batch::new();
        batch.put_record_page(of, 256, Vec::new());
        batch.remove_record_delta(of, 2);
        let _ = store.commit(batch, Durability::Written).unwrap();
        assert_eq!(store.record_pages(of).count(), 2);
        assert_eq!(store.record_deltas(of).unwrap().len(), 1);
        assert_eq!(store.record_pages(of_other).count(), 1);
    }
}
