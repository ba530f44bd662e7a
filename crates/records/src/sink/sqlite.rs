//! A table of a SQLite file.
//!
//! One transaction a batch: the fence is looked at, then the ledger (a batch that is there is not applied again), then
//! rows go in in the order of their key, one prepared statement for all. `synchronous = FULL`: what the ledger says
//! survives a power cut, since cairn's own state is committed after it. The file is in WAL mode from then on.
//!
//! | the table | its columns |
//! |---|---|
//! | is not there | the declared ones, else the fields of the first batch with types from its JSON; the key is the primary key |
//! | is there | stay; `upsert` and `insert` need a unique index over the key |
//!
//! A field that a record lacks is NULL; where the column has a default, the row gets that, and an upsert leaves what is
//! there. Arrays and objects are stored as JSON text. A column of a nested key has the path's name, `customer.id`.
//! A batch of nothing but tombstones makes no table. `append` makes no use of versions; deleting from it removes all rows of the key.
//!
//! An upsert writes only rows that differ, and never an older version over a newer one. A second delivery of the same
//! records writes nothing but its ledger row.

mod columns;
mod encode;
mod error;
mod forms;
mod keys;
mod order;
mod statement;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_model::{Digest, SinkMode};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use self::columns::{Column, Table};
use self::encode::{Encoded, EncodedFor, Encoder, encode};
use self::error::{error_text, failed, is_of_the_record};
use self::forms::Forms;
use self::keys::Keys;
use self::statement::{Statements, positions};
use super::fingerprint::Rows;
use super::table::{Kind, LEDGER_KEEPS, Wanted, fault, list, puts, quoted};
use super::{BatchId, Delivered, Delivery, Encode, Sink, SinkError};
use crate::fields::key_json;

/// How long to wait for another process's transaction: longer than any batch takes, short enough to be told of.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait before it is opened again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// Columns that a table may have (`SQLITE_MAX_COLUMN`).
const COLUMNS_MAX: usize = 2000;

/// Memory for pages, in KiB, negative as SQLite wants it: inner pages of the key's index stay in.
const CACHE_KIB: i64 = -32_768;

/// Pages of 4 KiB in the log before they are moved to the file: a page that several batches change is moved once.
const CHECKPOINT_PAGES: i64 = 10_000;

/// The sink.
pub(super) struct Sqlite {
    path: PathBuf,
    wanted: Arc<Wanted>,
    connection: Connection,
    forms: RefCell<Forms>,
}

impl Sqlite {
    /// Opens the file, making it when there is none. `address` is a path, below `folder` unless absolute, or
    /// `sqlite:///absolute`.
    pub(super) fn open(address: &str, folder: &Path, wanted: Wanted) -> Result<Self, SinkError> {
        let plain = plain(address);
        let path = folder.join(plain);
        let name = name(&wanted.table, &path);
        wanted.check(&name)?;
        if plain.is_empty() || plain.starts_with(':') {
            return Err(SinkError::Refused {
                sink: name,
                error: format!("`{address}` is no file"),
                help: Some("give the path of a file: a table in memory is gone after the run".to_owned()),
            });
        }
        let connect = || -> Result<Connection, rusqlite::Error> {
            if is_read_only(&path) {
                return open_read_only(&path);
            }
            let connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "cache_size", CACHE_KIB)?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
            order::register(&connection)?;
            Ok(connection)
        };
        // The change to WAL mode is refused at once while another connection makes it: it does not wait by itself.
        let until = Instant::now() + BUSY_TIMEOUT;
        loop {
            match connect() {
                Ok(connection) => {
                    return Ok(Self {
                        path,
                        wanted: Arc::new(wanted),
                        connection,
                        forms: RefCell::default(),
                    });
                }
                Err(error) if is_busy(&error) && Instant::now() < until => std::thread::sleep(BUSY_PAUSE),
                Err(error) => return Err(failed(&name, &error)),
            }
        }
    }

    /// Makes an [`SinkError`] of what SQLite says.
    fn failed(&self) -> impl Fn(rusqlite::Error) -> SinkError + use<> {
        let name = self.name();
        move |error| failed(&name, &error)
    }

    fn scope(&self, scope: &str) -> String {
        super::table_scope(scope, &self.wanted.table)
    }

    fn refused(&self, error: String, help: Option<String>) -> SinkError {
        SinkError::Refused { sink: self.name(), error, help }
    }

    /// Returns whether the ledger has the batch. A higher fence, another digest, or a batch from before what the ledger
    /// remembers is refused.
    fn recorded(&self, batch: &BatchId) -> Result<bool, SinkError> {
        let failed = self.failed();
        if !has_table(&self.connection, "cairn_ledger").map_err(&failed)? {
            return Ok(false);
        }
        let digest: Option<String> = self
            .connection
            .prepare_cached("SELECT digest FROM cairn_ledger WHERE scope = ?1 AND batch_seq = ?2")
            .and_then(|mut find| {
                find.query_row((self.scope(&batch.scope), signed(batch.sequence)), |row| row.get(0))
                    .optional()
            })
            .map_err(&failed)?;
        match digest {
            Some(digest) if digest == batch.digest.to_string() => Ok(true),
            Some(digest) => {
                Err(self.refused(super::other_digest(batch, &digest), Some(super::ahead_help(batch))))
            }
            None => {
                let last = self.last(&batch.scope)?;
                if batch.sequence + LEDGER_KEEPS <= last {
                    return Err(self.refused(super::forgotten(batch, last), Some(super::ahead_help(batch))));
                }
                Ok(false)
            }
        }
    }

    fn last(&self, scope: &str) -> Result<u64, SinkError> {
        let last: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(batch_seq) FROM cairn_ledger WHERE scope = ?1")
            .and_then(|mut find| find.query_row([self.scope(scope)], |row| row.get(0)))
            .map_err(self.failed())?;
        Ok(last.and_then(|last| u64::try_from(last).ok()).unwrap_or(0))
    }

    /// Raises the fence to that of `batch`; refuses when it is higher.
    fn fence(&self, batch: &BatchId) -> Result<(), SinkError> {
        let failed = self.failed();
        self.connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS cairn_ledger (scope TEXT NOT NULL, batch_seq INTEGER NOT NULL,
                     fence INTEGER NOT NULL, digest TEXT NOT NULL, puts INTEGER NOT NULL, committed_at TEXT NOT NULL,
                     PRIMARY KEY (scope, batch_seq)) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS cairn_fence (scope TEXT PRIMARY KEY, fence INTEGER NOT NULL) WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS cairn_keys (scope TEXT NOT NULL, stored TEXT NOT NULL, key TEXT NOT NULL,
                     PRIMARY KEY (scope, stored)) WITHOUT ROWID;",
            )
            .map_err(&failed)?;
        let seen: Option<i64> = self
            .connection
            .prepare_cached("SELECT fence FROM cairn_fence WHERE scope = ?1")
            .and_then(|mut find| find.query_row([self.scope(&batch.scope)], |row| row.get(0)).optional())
            .map_err(&failed)?;
        let ours = signed(batch.fence);
        if seen.is_some_and(|seen| seen > ours) {
            let (error, help) = super::fenced_off(batch);
            return Err(self.refused(error, Some(help)));
        }
        if seen != Some(ours) {
            self.connection
                .prepare_cached("INSERT OR REPLACE INTO cairn_fence (scope, fence) VALUES (?1, ?2)")
                .and_then(|mut put| put.execute((self.scope(&batch.scope), ours)))
                .map_err(&failed)?;
        }
        Ok(())
    }

    fn record(&self, batch: &BatchId, puts: i64) -> Result<(), SinkError> {
        let scope = self.scope(&batch.scope);
        let record = || -> Result<(), rusqlite::Error> {
            self.connection
                .prepare_cached(
                    "INSERT INTO cairn_ledger (scope, batch_seq, fence, digest, puts, committed_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, strftime('%Y-%m-%dT%H:%M:%fZ'))",
                )?
                .execute((
                    &scope,
                    signed(batch.sequence),
                    signed(batch.fence),
                    batch.digest.to_string(),
                    puts,
                ))?;
            self.connection
                .prepare_cached("DELETE FROM cairn_ledger WHERE scope = ?1 AND batch_seq <= ?2")?
                .execute((&scope, signed(batch.sequence.saturating_sub(LEDGER_KEEPS))))?;
            Ok(())
        };
        record().map_err(self.failed())
    }

    /// Returns the table's columns, making it first when it is not there and something is put there.
    fn table(&self, records: &[Delivery]) -> Result<Option<Table>, SinkError> {
        let read = || {
            Table::read(&self.connection, &self.wanted.table)
                .map_err(self.failed())?
                .map_err(|error| self.refused(error, Some("name a table".to_owned())))
        };
        let table = if let Some(table) = read()? {
            table
        } else if puts(records) == 0 {
            return Ok(None);
        } else {
            self.connection.execute_batch(&self.create(records)?).map_err(self.failed())?;
            read()?
                .ok_or_else(|| self.refused("the table is not there after it was made".to_owned(), None))?
        };
        let name = &self.wanted.table;
        let key = self.wanted.key_names();
        for path in self.wanted.paths() {
            let path = path.to_string();
            if !table.columns.iter().any(|column| column.name == path) {
                let cased = table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(&path));
                if let Some(Column { name: column, .. }) = cased {
                    return Err(self.refused(
                        format!("the column `{column}` of the table `{name}` and the field `{path}` differ in letter case alone"),
                        Some(format!(
                            "have the worker name it as the column, or rename that: `ALTER TABLE {0} RENAME COLUMN {1} TO {2}`",
                            quoted(name),
                            quoted(column),
                            quoted(&path),
                        )),
                    ));
                }
                let add = format!("ALTER TABLE {} ADD COLUMN {} …", quoted(name), quoted(&path));
                return Err(self.refused(
                    format!("the table `{name}` has no column `{path}`, a field of the key or the version"),
                    Some(format!("add it (`{add}`), or set the sink's `key` to fields that are columns")),
                ));
            }
        }
        let is_folded =
            |(column, _): &&(String, String)| key.iter().any(|name| name.eq_ignore_ascii_case(column));
        if let Some((column, collation)) =
            table.folded.iter().find(is_folded).filter(|_| self.wanted.mode != SinkMode::Append)
        {
            return Err(self.refused(
                format!(
                    "the table `{name}` compares `{column}` by {collation}, so that keys which are two would be one row"
                ),
                Some(format!(
                    "make a table whose column `{column}` has no COLLATE, or have the worker write such keys alike and set `key` to what they are then"
                )),
            ));
        }
        if self.wanted.mode != SinkMode::Append && !table.is_unique(&key) {
            let index = quoted(&format!("{name}_{}_key", key.join("_")));
            return Err(self.refused(
                format!(
                    "the table `{name}` has no unique index over {}",
                    key.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
                ),
                Some(format!("CREATE UNIQUE INDEX {index} ON {} ({})", quoted(name), list("", &key))),
            ));
        }
        Ok(Some(table))
    }

    fn create(&self, records: &[Delivery]) -> Result<String, SinkError> {
        let key = self.wanted.key_names();
        let keyed = self.wanted.mode != SinkMode::Append;
        let can_be = |name: &str, before: &[String]| {
            !name.contains('\0') && !before.iter().any(|other| other.eq_ignore_ascii_case(name))
        };
        let columns = self.wanted.columns_for(records, COLUMNS_MAX, can_be, |kind| match kind {
            Kind::Boolean => "BOOLEAN",
            Kind::Integer => "INTEGER",
            Kind::Real => "REAL",
            Kind::Text | Kind::Nested => "TEXT",
            Kind::Unknown | Kind::Mixed => "",
        });
        for (at, (name, _)) in columns.iter().enumerate() {
            let other = columns[..at].iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            if let Some((other, _)) = other {
                return Err(self.refused(
                    format!(
                        "the fields `{other}` and `{name}` differ in letter case alone, and SQLite does not tell such columns apart"
                    ),
                    Some("have the worker name one of them otherwise".to_owned()),
                ));
            }
        }
        let mut lines: Vec<String> = columns
            .iter()
            .map(|(name, kind)| {
                let not_null = if keyed && key.contains(name) { " NOT NULL" } else { "" };
                format!("{} {kind}{not_null}", quoted(name))
            })
            .collect();
        if keyed {
            lines.push(format!("PRIMARY KEY ({})", list("", &key)));
        }
        Ok(format!("CREATE TABLE {} ({})", quoted(&self.wanted.table), lines.join(", ")))
    }

    /// Writes all records, or says which do not fit. `first`: nothing of the load is in the table yet.
    fn write(
        &self,
        table: &Table,
        batch: &BatchId,
        records: &[Delivery],
        mut encoded: Encoded,
        first: bool,
    ) -> Result<(), SinkError> {
        let mut faults = std::mem::take(&mut encoded.faults);
        let key = positions(&table.columns, &self.wanted.key_names());
        let mut keys = if self.wanted.mode == SinkMode::Append {
            None
        } else {
            let scope = self.scope(&batch.scope);
            Some(Keys::of(&self.connection, scope, &self.wanted, first).map_err(self.failed())?)
        };
        let mut statements = Statements::new(&self.connection, &self.wanted, &table.columns);
        for row in encoded.rows(records) {
            if let Some(keys) = keys.as_mut().filter(|keys| keys.concern(&row)) {
                let known_as = key_json(&records[row.index].record, &self.wanted.key);
                let other = keys.check(&table.columns, &key, &row, &known_as).map_err(self.failed())?;
                if let Some(other) = other {
                    if faults.iter().all(|known| known.index != row.index) {
                        faults.push(fault(row.index, other));
                    }
                    continue;
                }
            }
            match statements.write(&row) {
                Ok(()) => {}
                Err(error) if is_of_the_record(&error) => {
                    faults.push(fault(row.index, error_text(&error)));
                    if self.connection.is_autocommit() {
                        // A trigger or constraint has rolled back all: nothing more may be written outside of it.
                        break;
                    }
                }
                Err(error) => return Err(failed(&self.name(), &error)),
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by_key(|fault| fault.index);
        Err(SinkError::Records(faults))
    }

    fn deliver_one(
        &mut self,
        batch: &BatchId,
        records: &[Delivery],
        ahead: Option<Box<EncodedFor>>,
    ) -> Result<Delivered, SinkError> {
        let delivered = self.try_deliver(batch, records, ahead);
        if delivered.is_err() {
            // What is not written decides nothing: it is read again.
            self.forms.take();
        }
        delivered
    }

    /// Does the work of one transaction. `ahead`: the records, where they were encoded ahead.
    fn try_deliver(
        &self,
        batch: &BatchId,
        records: &[Delivery],
        ahead: Option<Box<EncodedFor>>,
    ) -> Result<Delivered, SinkError> {
        let failed = self.failed();
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate).map_err(&failed)?;
        self.fence(batch)?;
        if self.recorded(batch)? {
            // Dropped: rolled back.
            return Ok(Delivered::default());
        }
        let first = self.last(&batch.scope)? == 0;
        self.record(batch, puts(records))?;
        if let Some(table) = self.table(records)? {
            let scope = self.scope(&batch.scope);
            self.forms.borrow_mut().remembered(|| keys::forms(&self.connection, &scope)).map_err(&failed)?;
            let before = self.forms.borrow().clone();
            let encoded = match ahead {
                Some(ahead) if *ahead.table == table && before.allow(&ahead.encoded.forms) => ahead.encoded,
                _ => encode(&table, &self.wanted, records, before.clone()),
            };
            let mut forms = self.forms.borrow_mut();
            forms.take_in(&encoded.forms);
            self.write(&table, batch, records, encoded, first)?;
            for (column, form) in forms.since(&before) {
                keys::remember_form(&self.connection, &scope, column, form).map_err(&failed)?;
            }
        }
        transaction.commit().map_err(&failed)?;
        Ok(Delivered::default())
    }
}

impl Sink for Sqlite {
    fn name(&self) -> String {
        name(&self.wanted.table, &self.path)
    }

    fn is_transactional(&self) -> bool {
        true
    }

    fn last_applied(&mut self, scope: &str) -> Result<Option<u64>, SinkError> {
        let has = |name: &str| has_table(&self.connection, name).map_err(self.failed());
        if !has("cairn_ledger")? {
            return Ok(Some(0));
        }
        // A table that was dropped has nothing, whatever the ledger says.
        let was_made = || -> Result<bool, rusqlite::Error> {
            let any = "SELECT 1 FROM cairn_ledger WHERE scope = ?1 AND puts > 0";
            self.connection.prepare_cached(any)?.exists([self.scope(scope)])
        };
        if !has(&self.wanted.table)? && was_made().map_err(self.failed())? {
            return Ok(Some(0));
        }
        self.last(scope).map(Some)
    }

    fn applied(&mut self, batch: &BatchId) -> Result<Option<bool>, SinkError> {
        self.recorded(batch).map(Some)
    }

    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError> {
        self.deliver_one(batch, records, None)
    }

    fn encoder(&mut self) -> Option<Arc<dyn Encode>> {
        // What is in the way, the delivery tells.
        let table = Table::read(&self.connection, &self.wanted.table).ok()?.ok()??;
        Some(Arc::new(Encoder { table: Arc::new(table), wanted: Arc::clone(&self.wanted) }))
    }

    fn deliver_encoded(
        &mut self,
        batch: &BatchId,
        records: &[Delivery],
        encoded: super::Encoded,
    ) -> Result<Delivered, SinkError> {
        self.deliver_one(batch, records, encoded.downcast().ok())
    }

    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError> {
        let failed = self.failed();
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred).map_err(&failed)?;
        let table = Table::read(&transaction, &self.wanted.table).map_err(&failed)?;
        let Ok(Some(mut table)) = table else { return Ok(None) };
        table.columns.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<String> = table.columns.into_iter().map(|column| column.name).collect();
        let mut digest = Rows::new(&names);
        let mut read = || -> Result<(), rusqlite::Error> {
            let select = format!("SELECT {} FROM {}", list("", &names), quoted(&self.wanted.table));
            let mut statement = transaction.prepare(&select)?;
            let mut rows = statement.query([])?;
            let mut bytes = Vec::new();
            while let Some(row) = rows.next()? {
                bytes.clear();
                for column in 0..names.len() {
                    columns::encode(row.get_ref(column)?, &mut bytes);
                }
                digest.add(&bytes);
            }
            Ok(())
        };
        read().map_err(&failed)?;
        Ok(Some(digest.finish()))
    }

    fn prepare(&mut self, _: &BatchId, _: &[Delivery]) -> Result<(), SinkError> {
        Err(super::no_two_phase(self.name()))
    }

    fn settle(&mut self, _: &BatchId, _: bool) -> Result<(), SinkError> {
        Err(super::no_two_phase(self.name()))
    }

    fn prepared(&mut self, _: &str) -> Result<Vec<u64>, SinkError> {
        Ok(Vec::new())
    }
}

/// Returns the file of an address.
pub(super) fn file(address: &str, folder: &Path) -> PathBuf {
    folder.join(plain(address))
}

/// Returns the path in an address.
fn plain(address: &str) -> &str {
    let path = address.strip_prefix("sqlite://").or_else(|| address.strip_prefix("sqlite:"));
    path.unwrap_or(address)
}

fn name(table: &str, path: &Path) -> String {
    format!("sqlite table `{table}` in `{}`", path.display())
}

/// Returns whether the file is there, and this user may not write it.
fn is_read_only(path: &Path) -> bool {
    path.exists() && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err()
}

/// Opens a file that is only to be asked what it has. SQLite would make a `-wal` and a `-shm` beside one in WAL mode, and could
/// not remove them afterwards: unless there is a log to be read, it is told that nobody writes to the file.
fn open_read_only(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let has_log = std::fs::metadata(&name).is_ok_and(|log| log.len() > 0);
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut uri = b"file://".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => uri.push(*byte),
            other => uri.extend_from_slice(format!("%{other:02x}").as_bytes()),
        }
    }
    uri.extend_from_slice(if has_log { b"" } else { b"?immutable=1" });
    let connection = Connection::open_with_flags(OsStr::from_bytes(&uri), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    order::register(&connection)?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy)
}

fn has_table(connection: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
    connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE")?
        .exists([name])
}

/// SQLite's integers are signed; no sequence number comes near.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
