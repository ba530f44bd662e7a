//! Opening a store: who may, whether it is whole, and whether it is the one that was left.

mod error;
mod folder;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use cairn_model::Clock;

use crate::commit::{CommitError, Writer};
use crate::database::{Database, EngineError, Fault};
use crate::head_file::{self, HeadFile, Mark};
use crate::keys::{self, Family};
use crate::lock::{self, Lock};
use crate::migrate;
use crate::read::ReadError;
use crate::record::{self, Format};
use crate::sync::Syncing;
use crate::{Head, filesystem, format};

pub use error::OpenError;
pub(crate) use error::{HELP_DAMAGED, help_for};
pub(crate) use folder::logs;
use folder::{data_files, make_folder, make_state_folder, network_kind, sync_logs};

/// RocksDB's folder in the state folder.
const FOLDER: &str = "store";

/// Tries to read while another process writes: it may take away a file that was just about to be opened.
const READ_TRIES: u32 = 20;
const READ_PAUSE: Duration = Duration::from_millis(10);

/// What opening for writing gives.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) syncing: Syncing,
    pub(crate) lock: Lock,
}

/// Opens the store in `state` for writing, and makes it when there is none.
pub(crate) fn for_writing(state: &Path, clock: &dyn Clock) -> Result<Opened, OpenError> {
    refuse_other_kind(state)?;
    refuse_network(state, network_kind(state)?, std::env::var_os(filesystem::ALLOW_NETWORK).is_some())?;
    make_state_folder(state)?;
    let lock = Lock::take(state, clock)?;
    let mark = read_mark(state)?;
    let folder = state.join(FOLDER);
    if !has_database(state, &folder, mark.as_ref())? {
        make_folder(&folder)?;
    }
    sync_logs(&folder)?;
    let database = Database::open(&folder).map_err(|error| newer_or_damaged(state, &folder, error))?;
    let (found, head) = match check(state, &database, mark.as_ref())? {
        Some((found, head)) => (found, head),
        None => (format::VERSION, record::Head::START),
    };
    if mark.is_none() && head.sequence > 1 {
        tracing::warn!(state = %state.display(), "`HEAD` is gone: the store is taken as it is");
    }

    // The logs are synced, so what the store holds is durable, and `HEAD` may say so.
    let head_path = state.join(head_file::FILE);
    let head_file = HeadFile::open(state, &Mark { format: format::VERSION, head: head.place() })
        .map_err(|source| OpenError::Io { path: head_path.clone(), source })?;
    let is_new = head.sequence == 0;
    let syncing = Syncing::new(Writer::new(head), head_file, head_path);
    if is_new || found < format::VERSION {
        let committed = migrate::bring_up_to_date(&database, &syncing, migrate::steps_from(found));
        committed.map_err(|error| from_commit(state, &folder, error))?;
    }
    Ok(Opened { database, syncing, lock })
}

/// Opens the store in `state` as it stands at this moment.
pub(crate) fn for_reading(state: &Path) -> Result<(Database, Head), OpenError> {
    let mut tries = 1;
    loop {
        match try_for_reading(state) {
            Err(OpenError::Damaged { .. } | OpenError::WentBackwards { .. })
                if tries < READ_TRIES && lock::is_held(state) =>
            {
                tries += 1;
                thread::sleep(READ_PAUSE);
            }
            result => return result,
        }
    }
}

fn try_for_reading(state: &Path) -> Result<(Database, Head), OpenError> {
    refuse_other_kind(state)?;
    let absent = || OpenError::Absent { path: state.to_owned() };
    // Read first: the store is then at least as far.
    let mark = read_mark(state)?;
    let folder = state.join(FOLDER);
    if !has_database(state, &folder, mark.as_ref())? {
        return Err(absent());
    }
    let database = match Database::open_for_reading(&folder) {
        Ok(database) => database,
        Err(_) if mark.is_none() && is_half_made(&folder) => return Err(absent()),
        Err(error) => return Err(newer_or_damaged(state, &folder, error)),
    };
    match check(state, &database, mark.as_ref())? {
        Some((format::VERSION, head)) => Ok((database, head.place())),
        Some((found, _)) => Err(OpenError::Older { path: state.to_owned(), found }),
        None => Err(absent()),
    }
}

/// Refuses what is there and is no folder.
fn refuse_other_kind(state: &Path) -> Result<(), OpenError> {
    match fs::metadata(state) {
        Ok(found) if !found.is_dir() => Err(OpenError::NotAFolder { path: state.to_owned() }),
        // What cannot be looked at is told when it is used.
        _ => Ok(()),
    }
}

/// Refuses a network filesystem of that `kind`, unless it is `allowed`.
fn refuse_network(state: &Path, kind: Option<&'static str>, allowed: bool) -> Result<(), OpenError> {
    match kind {
        Some(kind) if !allowed => Err(OpenError::NetworkFilesystem { path: state.to_owned(), kind }),
        _ => Ok(()),
    }
}

fn read_mark(state: &Path) -> Result<Option<Mark>, OpenError> {
    let mark = head_file::read(state)?;
    refuse_newer(state, mark.map_or(0, |mark| mark.format))?;
    Ok(mark)
}

fn refuse_newer(state: &Path, found: u32) -> Result<(), OpenError> {
    if found > format::VERSION {
        return Err(OpenError::Newer { path: state.to_owned(), found, known: format::VERSION });
    }
    Ok(())
}

/// Returns whether there is a database in `folder`, which RocksDB would make anew over what is left of a damaged one.
fn has_database(state: &Path, folder: &Path, mark: Option<&Mark>) -> Result<bool, OpenError> {
    if folder.join("CURRENT").exists() {
        return Ok(true);
    }
    let holds_data =
        data_files(folder)?.iter().any(|file| file.is_table() || (file.is_log() && file.bytes > 0));
    if holds_data {
        return Err(OpenError::Damaged {
            path: folder.to_owned(),
            what: "the file `CURRENT` is missing".to_owned(),
        });
    }
    refuse_backwards(state, mark, &record::Head::START)?;
    Ok(false)
}

/// Checks that the database is whole and goes as far as it must, and returns its format and head; `None` for one whose
/// making was cut off.
fn check(
    state: &Path,
    database: &Database,
    mark: Option<&Mark>,
) -> Result<Option<(u32, record::Head)>, OpenError> {
    let read = |error| from_read(state, error);
    let damaged = |what: String| OpenError::Damaged { path: database.folder().to_owned(), what };
    let found: Option<Format> = database.get(Family::Meta, keys::FORMAT).map_err(read)?;
    refuse_newer(state, found.map_or(0, |format| format.version))?;
    let head: Option<record::Head> = database.get(Family::Meta, keys::HEAD).map_err(read)?;
    let counted = head.as_ref().map_or([0; Family::ALL.len()], |head| head.tallies);
    for family in Family::ALL {
        let (tally, counted) = (database.tally(family).map_err(read)?, counted[usize::from(family.number())]);
        if tally != counted {
            let name = family.name();
            return Err(damaged(format!("`{name}` was changed by {counted} batches, and {tally} are there")));
        }
    }
    match (found, head) {
        (None, None) => {
            refuse_backwards(state, mark, &record::Head::START)?;
            Ok(None)
        }
        (Some(Format { version }), Some(head)) if version > 0 => {
            refuse_backwards(state, mark, &head)?;
            Ok(Some((version, head)))
        }
        _ => Err(damaged("it does not say what format it has".to_owned())),
    }
}

fn refuse_backwards(state: &Path, mark: Option<&Mark>, head: &record::Head) -> Result<(), OpenError> {
    let found = head.place();
    match mark {
        Some(Mark { head: expected, .. })
            if found.sequence < expected.sequence
                || (found.sequence == expected.sequence && found.chain != expected.chain) =>
        {
            Err(OpenError::WentBackwards { path: state.to_owned(), expected: *expected, found })
        }
        _ => Ok(()),
    }
}

/// Removes `HEAD`, so that the store is next opened as it is.
pub(crate) fn accept_head(state: &Path, clock: &dyn Clock) -> Result<(), OpenError> {
    let _lock = Lock::take(state, clock)?;
    let path = state.join(head_file::FILE);
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    removed.and_then(|()| File::open(state)?.sync_all()).map_err(|source| OpenError::Io { path, source })
}

/// Returns whether there is a database without a first batch, which a process left that was killed while it made it.
fn is_half_made(folder: &Path) -> bool {
    let Ok(database) = Database::open_for_format(folder) else { return false };
    let is_empty = |key| database.contains(Family::Meta, key).is_ok_and(|found| !found);
    is_empty(keys::FORMAT) && is_empty(keys::HEAD)
}

/// Says why RocksDB does not open the database. One of a newer format may have families that are not known here, one of an
/// older format lacks some: such a one is to be told from a damaged one, which people are advised to remove.
fn newer_or_damaged(state: &Path, folder: &Path, error: EngineError) -> OpenError {
    let format: Option<Format> = match (error.fault(), Database::open_for_format(folder)) {
        (Fault::Files, Ok(database)) => database.get(Family::Meta, keys::FORMAT).ok().flatten(),
        _ => None,
    };
    match format {
        Some(Format { version: found }) if found > 0 && found < format::VERSION => {
            OpenError::Older { path: state.to_owned(), found }
        }
        format => {
            let newer = refuse_newer(state, format.map_or(0, |format| format.version));
            newer.err().unwrap_or_else(|| from_engine(state, folder, error))
        }
    }
}

fn from_engine(state: &Path, folder: &Path, error: EngineError) -> OpenError {
    let path = folder.to_owned();
    match error.fault() {
        Fault::System(_) => OpenError::Io { path, source: error.into() },
        Fault::Lock => OpenError::Locked { path: state.to_owned(), holder: None },
        Fault::Files => OpenError::Damaged { path, what: error.to_string() },
    }
}

fn from_read(state: &Path, error: ReadError) -> OpenError {
    match error {
        ReadError::Damaged { path, family, key, what } => {
            OpenError::Damaged { path, what: format!("in `{family}` at key `{key}`: {what}") }
        }
        ReadError::Unreadable { path, source, .. } => from_engine(state, &path, source),
    }
}

fn from_commit(state: &Path, folder: &Path, error: CommitError) -> OpenError {
    match error {
        CommitError::Read(error) => from_read(state, error),
        error => OpenError::Io { path: folder.to_owned(), source: io::Error::other(error) },
    }
}

#[cfg(test)]
mod tests;
