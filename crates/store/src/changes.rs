//! What a batch comes to: the rows that it leaves, with the store as it stands before it in view.

use std::collections::{BTreeMap, HashMap};

use cairn_model::{Digest, Domain, InputHash, RunId};
use rocksdb::WriteBatch;

use crate::database::Database;
use crate::keys::{self, Family};
use crate::read::ReadError;
use crate::record::{self, Record};

/// Rows by family and key, in order; `None` where a row goes.
type Rows = BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>;

/// Bytes of rows that are hashed at once.
const CHAIN_BYTES: usize = 64 << 10;

/// The changes of one batch.
pub(crate) struct Changes<'a> {
    pub(crate) database: &'a Database,
    /// The batch's number.
    pub(crate) sequence: u64,
    rows: Rows,
    /// The last event's number, of runs that were written to before.
    events_before: &'a HashMap<RunId, u64>,
    /// The same, of runs that this batch writes to.
    pub(crate) events: HashMap<RunId, u64>,
    /// Runs that this batch says have ended.
    pub(crate) ended: Vec<RunId>,
    pub(crate) disputed: Vec<InputHash>,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(database: &'a Database, sequence: u64, events_before: &'a HashMap<RunId, u64>) -> Self {
        let (rows, events, ended, disputed) = Default::default();
        Self { database, sequence, rows, events_before, events, ended, disputed }
    }

    /// Returns the record under `key` as this batch has it so far.
    pub(crate) fn get<R: Record>(&self, family: Family, key: &[u8]) -> Result<Option<R>, ReadError> {
        match self.rows.get(&(family, key.to_vec())) {
            None => self.database.get(family, key),
            Some(None) => Ok(None),
            Some(Some(value)) => {
                let record = record::open(family, key, value).expect("it was sealed in this batch");
                Ok(Some(record))
            }
        }
    }

    /// Returns whether there is a row under `key`.
    pub(crate) fn contains(&self, family: Family, key: &[u8]) -> Result<bool, ReadError> {
        match self.rows.get(&(family, key.to_vec())) {
            None => self.database.contains(family, key),
            Some(row) => Ok(row.is_some()),
        }
    }

    pub(crate) fn put<R: Record>(&mut self, family: Family, key: &[u8], record: &R) {
        self.put_sealed(family, key.to_vec(), record::seal(family, key, record));
    }

    pub(crate) fn put_sealed(&mut self, family: Family, key: Vec<u8>, value: Vec<u8>) {
        self.rows.insert((family, key), Some(value));
    }

    pub(crate) fn delete(&mut self, family: Family, key: Vec<u8>) {
        self.rows.insert((family, key), None);
    }

    /// Returns the number of the next event of `run`.
    pub(crate) fn next_event(&mut self, run: RunId) -> Result<u64, ReadError> {
        let last = match self.events.get(&run).or_else(|| self.events_before.get(&run)) {
            Some(last) => *last,
            None => self.database.last_event(run)?,
        };
        self.events.insert(run, last + 1);
        Ok(last + 1)
    }

    /// Returns the chain's next link: a digest over the one before, the batch's number, and its rows.
    pub(crate) fn chain(&self, before: &Digest) -> Digest {
        let mut hasher = Domain::EventChain.hasher();
        // Many small pieces are hashed far slower than the same bytes in a large one.
        let mut bytes = Vec::with_capacity(2 * CHAIN_BYTES);
        bytes.extend_from_slice(before.as_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        for ((family, key), value) in &self.rows {
            bytes.push(family.number());
            bytes.extend_from_slice(&(key.len() as u64).to_be_bytes());
            bytes.extend_from_slice(key);
            match value {
                None => bytes.push(0),
                Some(value) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
                    bytes.extend_from_slice(value);
                }
            }
            if bytes.len() >= CHAIN_BYTES {
                hasher.update(&bytes);
                bytes.clear();
            }
        }
        hasher.update(&bytes);
        hasher.finalize().into()
    }

    /// Puts the rows into `batch`, counts them in the families' tallies, and does the same to `tallies`.
    pub(crate) fn write(&self, batch: &mut WriteBatch, tallies: &mut [u64; Family::ALL.len()]) {
        let mut last = None;
        for ((family, key), value) in &self.rows {
            match value {
                Some(value) => self.database.put(batch, *family, key, value),
                None => self.database.delete(batch, *family, key),
            }
            if last.replace(*family) != Some(*family) && *family != Family::Meta {
                self.database.count(batch, *family);
                tallies[usize::from(family.number())] += 1;
            }
        }
    }
}

impl Database {
    /// Returns the number of the last event of `run`, 0 when it has none.
    fn last_event(&self, run: RunId) -> Result<u64, ReadError> {
        let key = self.last_key(Family::Events, &keys::run(run))?;
        let number = key.map(|key| match keys::read_event(&key) {
            Some((_, number)) => Ok(number),
            None => Err(self.damaged(Family::Events, &key, &record::Damage::Key)),
        });
        Ok(number.transpose()?.unwrap_or(0))
    }
}
