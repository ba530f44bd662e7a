//! Sinks outside of cairn's own files: what each must be able to do so that every record reaches it once.

mod apart;
mod fingerprint;
mod http;
mod postgres;
mod record;
mod spelling;
mod sqlite;
mod table;

use std::any::Any;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_model::{Clock, Digest, FieldPath, SinkMode, SinkPlace};

use self::table::Wanted;

/// One delivery's identity. A sink with transactions writes it in the same transaction as the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchId {
    /// Whose records: unique for each stage of each project, and for each new beginning of it. All sinks of a stage may
    /// be given the same: a sink's ledger tells its tables apart.
    pub scope: String,
    /// Number within the scope, from 1, contiguous.
    pub sequence: u64,
    /// Digest of the batch's content: a repeated delivery must have the same.
    pub digest: Digest,
    /// Grows with each process that writes for this scope: a lower one than the sink has seen is refused.
    pub fence: u64,
}

/// What is to be done with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The record stands under its key afterwards.
    Put,
    /// Nothing stands under the key afterwards.
    Delete,
}

/// One record of a batch. No two of a batch have the same key unless the mode is `append`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is to be done.
    pub operation: Operation,
    /// One JSON object in UTF-8.
    pub record: Bytes,
    /// Of the key, its version and what is delivered of it: the same in each try.
    pub idempotency_key: Digest,
    /// Whether cairn never delivered anything under its key: a sink may expect that nothing stands there, and has to do what
    /// is right if something does.
    pub fresh: bool,
}

/// What a delivery led to, where records can fail one by one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Records of the batch that the sink did not take, by index; all others it has.
    pub refused: Vec<RecordFault>,
    /// What the sink answered, by index, where it answers anything worth keeping; an answer to several records stands at
    /// the first of them.
    pub receipts: Vec<(usize, String)>,
    /// Requests in which records went together and of which nobody knows what they did, by index: the same ones are to be sent
    /// again, as they were.
    pub open: Vec<Range<usize>>,
}

/// What is wrong with one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordFault {
    /// Its index in the batch.
    pub index: usize,
    /// What is wrong, with the column and the value where there is one.
    pub error: String,
    /// Whether another try may succeed.
    pub retry: bool,
    /// Whether nothing is wrong with the record: the sink was not there for it, or it was not sent at all.
    pub of_sink: bool,
    /// The least pause before it, in milliseconds, when the sink named one.
    pub retry_after_ms: Option<u64>,
}

/// A delivery that did not take place.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink cannot be reached, or broke off: nothing is wrong with the records, another try may succeed. Whether the
    /// batch was applied, [`Sink::applied`] tells.
    #[error("{sink} is not available: {error}")]
    Unavailable {
        /// Which sink, without a password.
        sink: String,
        /// What happened.
        error: String,
        /// The least pause before another try, in milliseconds, when the sink named one.
        retry_after_ms: Option<u64>,
    },
    /// The sink cannot take any such batch until a person does something.
    #[error("{sink}: {error}")]
    Refused {
        /// Which sink, without a password.
        sink: String,
        /// What is wrong.
        error: String,
        /// What to do about it, for example the DDL that is missing.
        help: Option<String>,
    },
    /// Some records do not fit. Nothing was applied; without them the batch may be.
    #[error("{} records do not fit", .0.len())]
    Records(Vec<RecordFault>),
}

/// Brings records into the form in which a sink takes them, while the sink itself is at work on those before.
pub trait Encode: Send + Sync {
    /// Encodes records. What does not fit, their delivery tells.
    fn encode(&self, records: &[Delivery]) -> Encoded;
}

/// What an [`Encode`] made of records, for the sink that it is of.
pub type Encoded = Box<dyn Any + Send>;

/// A sink, used by one thread at a time. All calls block.
///
/// `deliver` of one batch is whole or not at all where [`Sink::is_transactional`]; a batch whose [`BatchId`] the sink has
/// recorded before is not applied again and counts as delivered.
pub trait Sink: Send {
    /// Returns what people call it, without a password: `postgres table orders at localhost`.
    fn name(&self) -> String;

    /// Returns whether records and ledger are written in one transaction.
    fn is_transactional(&self) -> bool;

    /// Returns how many records it is given at most at once: between two deliveries a run can be stopped.
    fn most(&self) -> usize {
        usize::MAX
    }

    /// Returns the number of the last batch of `scope` that was applied, 0 for none; `None` when it cannot tell.
    fn last_applied(&mut self, scope: &str) -> Result<Option<u64>, SinkError>;

    /// Returns whether this very batch was applied; `None` when it cannot tell. One of another digest under the same
    /// number is [`SinkError::Refused`].
    fn applied(&mut self, batch: &BatchId) -> Result<Option<bool>, SinkError>;

    /// Delivers a batch.
    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError>;

    /// Returns what encodes records ahead of their delivery, as the sink wants them by now; `None` when that would gain
    /// nothing.
    fn encoder(&mut self) -> Option<Arc<dyn Encode>> {
        None
    }

    /// Delivers a batch of which `encoded` was made ahead. Where the sink wants it otherwise meanwhile, it is of no use.
    fn deliver_encoded(
        &mut self,
        batch: &BatchId,
        records: &[Delivery],
        _encoded: Encoded,
    ) -> Result<Delivered, SinkError> {
        self.deliver(batch, records)
    }

    /// Returns a digest of all that the table holds, whatever the order of its rows; `None` when it cannot be read.
    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError>;

    /// Prepares the batch's transaction without committing it (`commit = "two-phase"`).
    fn prepare(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<(), SinkError>;

    /// Commits (or with `commit` false, rolls back) a prepared transaction; one that is not there any more is no error.
    fn settle(&mut self, batch: &BatchId, commit: bool) -> Result<(), SinkError>;

    /// Returns numbers of batches of `scope` that are prepared and not settled.
    fn prepared(&mut self, scope: &str) -> Result<Vec<u64>, SinkError>;
}

/// What opening a sink needs to know of its surroundings.
#[derive(Clone, Copy)]
pub struct OpenContext<'a> {
    /// The pipeline's folder: SQLite files are below it unless their path is absolute.
    pub folder: &'a Path,
    /// Looks up what stands for `${NAME}` in an address.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Against which a server's `Retry-After` is read when it gives a date and does not tell its own time.
    pub clock: &'a Arc<dyn Clock>,
}

/// Returns the file that a sink is, when it is not there. Opening the sink makes it: who only looks asks this first.
pub fn missing_file(sink: &cairn_model::Sink, context: &OpenContext<'_>) -> Option<PathBuf> {
    file_of(sink, context).filter(|path| !path.exists())
}

/// Returns the file that a sink is; `None` where it is none, or a variable in its address is not set.
pub fn file_of(sink: &cairn_model::Sink, context: &OpenContext<'_>) -> Option<PathBuf> {
    let SinkPlace::Sqlite { path, .. } = &sink.place else { return None };
    Some(sqlite::file(&path.fill(context.variable).ok()?, context.folder))
}

/// Opens a sink: connects (HTTP excepted), so that a wrong address or password is told of before any work is done.
///
/// `key` is the stage's, for sinks without one of their own; `version` keeps an older record from taking the place of a
/// newer one in mode `upsert`. File sinks are none of these: they are outputs, and are refused here.
pub fn open(
    sink: &cairn_model::Sink,
    key: &[FieldPath],
    version: Option<&FieldPath>,
    context: &OpenContext<'_>,
) -> Result<Box<dyn Sink>, SinkError> {
    let fill = |address: &cairn_model::Address| {
        address.fill(context.variable).map_err(|variable| SinkError::Refused {
            sink: sink.place.kind().to_owned(),
            error: format!("the environment variable `{variable}` in its address is not set"),
            help: Some(format!("set it: `export {variable}=…`")),
        })
    };
    let wanted = |table: &str| Wanted {
        table: table.to_owned(),
        mode: sink.mode,
        key: if sink.key.is_empty() { key.to_vec() } else { sink.key.clone() },
        version: version.filter(|_| sink.mode == SinkMode::Upsert).cloned(),
        columns: sink.columns.clone(),
    };
    match &sink.place {
        SinkPlace::Sqlite { path, table } => {
            Ok(Box::new(sqlite::Sqlite::open(&fill(path)?, context.folder, wanted(table))?))
        }
        SinkPlace::Postgres { url, table } => {
            Ok(Box::new(postgres::Postgres::open(&fill(url)?, wanted(table))?))
        }
        SinkPlace::Http { url, method, batched, headers } => {
            let endpoint = http::Endpoint {
                url: fill(url)?,
                method: method.clone(),
                batched: *batched,
                headers: headers
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), fill(value)?)))
                    .collect::<Result<_, SinkError>>()?,
            };
            Ok(Box::new(http::Http::open(&endpoint, Arc::clone(context.clock))?))
        }
        SinkPlace::File { path, .. } => Err(SinkError::Refused {
            sink: sink.place.kind().to_owned(),
            error: format!("`{path}` is an output of the stage, not a sink outside of it"),
            help: None,
        }),
    }
}

/// The scope as ledger and fence have it: two sinks of a stage may be tables of one database.
fn table_scope(scope: &str, table: &str) -> String {
    format!("{scope}/{table}")
}

/// What is wrong when a number of the ledger stands for another batch.
fn other_digest(batch: &BatchId, found: &str) -> String {
    format!(
        "batch {} of `{}` was applied with other content (digest {found}, now {})",
        batch.sequence, batch.scope, batch.digest
    )
}

/// What is wrong with a batch from before what the ledger remembers.
fn forgotten(batch: &BatchId, last: u64) -> String {
    format!(
        "batch {} of `{}` comes after batch {last}: the ledger does not tell any more whether it was applied",
        batch.sequence, batch.scope
    )
}

/// What to do when a ledger is ahead of what cairn remembers.
fn ahead_help(batch: &BatchId) -> String {
    format!(
        "the table is newer than what `.cairn` remembers of it, as when a backup was put back: put back the table of the same time, or have everything delivered anew (in `append` as rows more) by `DELETE FROM cairn_ledger WHERE scope LIKE '{}/%'`",
        batch.scope.replace('\'', "''")
    )
}

/// What is wrong when the sink has seen a higher fence, and what to do.
fn fenced_off(batch: &BatchId) -> (String, String) {
    (
        format!("another cairn writes here: it has taken over `{}`", batch.scope),
        format!(
            "let the other run end; if there is none, run again: a new run takes over. A fence that was raised by hand is lowered by `UPDATE cairn_fence SET fence = 0 WHERE scope LIKE '{}/%'`",
            batch.scope.replace('\'', "''")
        ),
    )
}

fn no_two_phase(sink: String) -> SinkError {
    SinkError::Refused {
        sink,
        error: "it cannot prepare a transaction and commit it later".to_owned(),
        help: Some("use `commit = \"two-phase\"` with PostgreSQL sinks only".to_owned()),
    }
}
