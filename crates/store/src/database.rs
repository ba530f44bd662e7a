//! RocksDB, as far as the store uses it: bytes by family and key, and typed records read from them.

mod options;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, Direction, ErrorKind, FlushOptions,
    IteratorMode, ReadOptions, WriteBatch,
};

use crate::keys::{Family, TALLY, hexadecimal};
use crate::read::ReadError;
use crate::record::{self, Damage, Record};
use crate::tally;

/// An open RocksDB with the store's families.
pub(crate) struct Database {
    db: DB,
    folder: PathBuf,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Records that one thread reads at a time: 256 take it about a millisecond, much longer than to wake it.
const CHUNK: usize = 256;

/// A key and a value.
type Row = (Box<[u8]>, Box<[u8]>);

/// What RocksDB says went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(rocksdb::Error);

/// Whose fault an [`EngineError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The system refused: no permission, no space, a failing disk.
    System(io::ErrorKind),
    /// Another program has it open.
    Lock,
    /// The files are not what was written.
    Files,
}

impl EngineError {
    /// RocksDB passes on the system's errors as text. A file that is not there is damage: the store names its files.
    pub(crate) fn fault(&self) -> Fault {
        if self.0.kind() != ErrorKind::IOError {
            return Fault::Files;
        }
        let text = self.0.to_string();
        let system = [
            ("Permission denied", io::ErrorKind::PermissionDenied),
            ("Operation not permitted", io::ErrorKind::PermissionDenied),
            ("No space left", io::ErrorKind::StorageFull),
            ("Disk quota exceeded", io::ErrorKind::QuotaExceeded),
            ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
            ("File too large", io::ErrorKind::FileTooLarge),
            ("Cannot allocate memory", io::ErrorKind::OutOfMemory),
            ("Too many open files", io::ErrorKind::Other),
            ("Input/output error", io::ErrorKind::Other),
        ];
        if let Some((_, kind)) = system.into_iter().find(|(words, _)| text.contains(words)) {
            return Fault::System(kind);
        }
        let locks = ["While lock file", "lock hold by current process"];
        if locks.iter().any(|words| text.contains(words)) { Fault::Lock } else { Fault::Files }
    }
}

impl EngineError {
    pub(crate) fn io_kind(&self) -> io::ErrorKind {
        match self.fault() {
            Fault::System(kind) => kind,
            Fault::Lock => io::ErrorKind::WouldBlock,
            Fault::Files => io::ErrorKind::InvalidData,
        }
    }
}

impl Database {
    /// Opens the database in `folder` for writing, and makes what is missing of it.
    pub(crate) fn open(folder: &Path) -> Result<Self, EngineError> {
        let options = options::Options::new(options::For::Writing);
        let families = options.families();
        let descriptors =
            families.into_iter().map(|(name, options)| ColumnFamilyDescriptor::new(name, options));
        let db = DB::open_cf_descriptors(options.database(), folder, descriptors).map_err(EngineError)?;
        Ok(Self { db, folder: folder.to_owned() })
    }

    /// Opens it as it stands at this moment, for reading.
    pub(crate) fn open_for_reading(folder: &Path) -> Result<Self, EngineError> {
        let options = options::Options::new(options::For::Reading);
        let db = DB::open_cf_with_opts_for_read_only(options.database(), folder, options.families(), false)
            .map_err(EngineError)?;
        Ok(Self { db, folder: folder.to_owned() })
    }

    /// Opens the one family of it that says what format it has: all formats have it.
    pub(crate) fn open_for_format(folder: &Path) -> Result<Self, EngineError> {
        let options = options::Options::new(options::For::Reading);
        let meta = options.families().into_iter().filter(|(name, _)| *name == Family::Meta.name());
        let db = DB::open_cf_with_opts_for_read_only(options.database(), folder, meta, false)
            .map_err(EngineError)?;
        Ok(Self { db, folder: folder.to_owned() })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("every family is opened with the database")
    }

    fn value(&self, family: Family, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, ReadError> {
        let value = self.db.get_pinned_cf(self.family(family), key);
        value.map_err(|error| self.unread(family, key, EngineError(error)))
    }

    /// Returns the record under `key`.
    pub(crate) fn get<R: Record>(&self, family: Family, key: &[u8]) -> Result<Option<R>, ReadError> {
        self.value(family, key)?.map(|value| self.decode(family, key, &value)).transpose()
    }

    /// Returns whether there is a value under `key`, without reading it as a record.
    pub(crate) fn contains(&self, family: Family, key: &[u8]) -> Result<bool, ReadError> {
        Ok(self.value(family, key)?.is_some())
    }

    /// Returns the record under each of `keys`. RocksDB's own call for many keys is slower, and uses one thread.
    pub(crate) fn get_many<R: Record + Send>(
        &self,
        family: Family,
        keys: &[impl AsRef<[u8]> + Sync],
    ) -> Result<Vec<Option<R>>, ReadError> {
        // Neighbours lie in one block, which is then unpacked once.
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_unstable_by_key(|place| keys[*place].as_ref());
        let read = |places: &[usize]| -> Result<Vec<(usize, Option<R>)>, ReadError> {
            places.iter().map(|place| Ok((*place, self.get(family, keys[*place].as_ref())?))).collect()
        };
        let found = if order.len() <= CHUNK {
            vec![read(&order)?]
        } else {
            order.par_chunks(CHUNK).map(read).collect::<Result<_, _>>()?
        };
        let mut records: Vec<Option<R>> = keys.iter().map(|_| None).collect();
        for (place, record) in found.into_iter().flatten() {
            records[place] = record;
        }
        Ok(records)
    }

    /// Returns the number of batches that changed `family`, by its own count.
    pub(crate) fn tally(&self, family: Family) -> Result<u64, ReadError> {
        let value = self.value(family, TALLY)?;
        let tally = value.map_or(Some(0), |value| tally::decode(&value));
        tally.ok_or_else(|| self.damaged(family, TALLY, &Damage::Body { what: "it is not a number" }))
    }

    /// Returns the records whose keys begin with `prefix`, in the order of their keys.
    pub(crate) fn scan<'a, R: Record>(
        &'a self,
        family: Family,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Box<[u8]>, R), ReadError>> + use<'a, R> {
        self.scan_from(family, prefix, prefix)
    }

    /// Returns the records from the key `from` on whose keys begin with `prefix`.
    pub(crate) fn scan_from<'a, R: Record>(
        &'a self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
    ) -> impl Iterator<Item = Result<(Box<[u8]>, R), ReadError>> + use<'a, R> {
        let rows = self.rows(family, prefix, IteratorMode::From(from, Direction::Forward));
        self.decoded(family, rows)
    }

    /// Returns the records whose keys begin with `prefix`, the last key first.
    pub(crate) fn scan_back<'a, R: Record>(
        &'a self,
        family: Family,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(Box<[u8]>, R), ReadError>> + use<'a, R> {
        let rows = self.rows(family, prefix, IteratorMode::End);
        self.decoded(family, rows)
    }

    /// Returns the records whose keys begin with `prefix` and are below `end`, the last key first.
    pub(crate) fn scan_back_below<'a, R: Record>(
        &'a self,
        family: Family,
        prefix: &[u8],
        end: &[u8],
    ) -> impl Iterator<Item = Result<(Box<[u8]>, R), ReadError>> + use<'a, R> {
        let end: Box<[u8]> = end.into();
        let rows = self.rows(family, prefix, IteratorMode::From(&end, Direction::Reverse));
        // The iterator may stand on the end itself.
        let below = rows.filter(move |row| row.as_ref().map_or(true, |(key, _)| *key < end));
        self.decoded(family, below)
    }

    /// Returns the keys of a family that begin with `prefix`, in order.
    pub(crate) fn keys(
        &self,
        family: Family,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<Box<[u8]>, ReadError>> + use<'_> {
        self.rows(family, prefix, IteratorMode::From(prefix, Direction::Forward)).map(|row| Ok(row?.0))
    }

    /// Returns the keys of a family, the last first.
    pub(crate) fn keys_back(&self, family: Family) -> impl Iterator<Item = Result<Box<[u8]>, ReadError>> {
        self.rows(family, &[], IteratorMode::End).map(|row| Ok(row?.0))
    }

    /// Returns the last key that begins with `prefix`.
    pub(crate) fn last_key(&self, family: Family, prefix: &[u8]) -> Result<Option<Box<[u8]>>, ReadError> {
        let row = self.rows(family, prefix, IteratorMode::End).next().transpose()?;
        Ok(row.map(|(key, _)| key))
    }

    fn rows<'a>(
        &'a self,
        family: Family,
        prefix: &[u8],
        mode: IteratorMode<'_>,
    ) -> impl Iterator<Item = Result<Row, ReadError>> + use<'a> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let rows = self.db.iterator_cf_opt(self.family(family), options, mode);
        rows.map(move |row| row.map_err(|error| self.unread(family, &[], EngineError(error))))
            .filter(|row| row.as_ref().map_or(true, |(key, _)| **key != *TALLY))
    }

    fn decoded<R: Record>(
        &self,
        family: Family,
        rows: impl Iterator<Item = Result<Row, ReadError>>,
    ) -> impl Iterator<Item = Result<(Box<[u8]>, R), ReadError>> {
        rows.map(move |row| {
            let (key, value) = row?;
            let record = self.decode(family, &key, &value)?;
            Ok((key, record))
        })
    }

    fn decode<R: Record>(&self, family: Family, key: &[u8], value: &[u8]) -> Result<R, ReadError> {
        record::open(family, key, value).map_err(|damage| self.damaged(family, key, &damage))
    }

    /// Says that what stands under `key` is damaged.
    pub(crate) fn damaged(&self, family: Family, key: &[u8], damage: &Damage) -> ReadError {
        ReadError::Damaged {
            path: self.folder.clone(),
            family: family.name(),
            key: hexadecimal(key),
            what: damage.to_string(),
        }
    }

    fn unread(&self, family: Family, key: &[u8], source: EngineError) -> ReadError {
        let (path, family, key) = (self.folder.clone(), family.name(), hexadecimal(key));
        match source.fault() {
            Fault::Files => ReadError::Damaged { path, family, key, what: source.to_string() },
            Fault::System(_) | Fault::Lock => ReadError::Unreadable { path, family, source },
        }
    }

    /// Writes a batch, which survives the end of the process.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        self.db.write(batch).map_err(EngineError)
    }

    pub(crate) fn put(&self, batch: &mut WriteBatch, family: Family, key: &[u8], value: &[u8]) {
        batch.put_cf(self.family(family), key, value);
    }

    pub(crate) fn delete(&self, batch: &mut WriteBatch, family: Family, key: &[u8]) {
        batch.delete_cf(self.family(family), key);
    }

    pub(crate) fn count(&self, batch: &mut WriteBatch, family: Family) {
        batch.merge_cf(self.family(family), TALLY, tally::ONE);
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        self.db.flush_wal(true).map_err(EngineError)
    }

    /// Moves what the log holds into tables, so that the next open need not read it again.
    pub(crate) fn flush(&self) -> Result<(), EngineError> {
        let families = Family::ALL.map(|family| self.family(family));
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cfs_opt(&families, &options).map_err(EngineError)
    }
}

#[cfg(test)]
impl Database {
    /// Adds a family, as a later format may.
    pub(crate) fn add_family(&mut self, name: &str) {
        self.db.create_cf(name, &rocksdb::Options::default()).unwrap();
    }
}
