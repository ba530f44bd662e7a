//! The state folder and the files in it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::{OpenError, filesystem};

/// Returns the kind of the network filesystem that the state folder lies on, or will lie on once it is made.
pub(super) fn network_kind(state: &Path) -> Result<Option<&'static str>, OpenError> {
    let path = if state.exists() { state } else { above(state) };
    filesystem::network_kind(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

/// Makes the state folder, for its owner alone and ignored by git, when there is none.
pub(super) fn make_state_folder(state: &Path) -> Result<(), OpenError> {
    make_folder(state)?;
    let path = state.join(".gitignore");
    if !path.exists() {
        fs::write(&path, "*\n").map_err(|source| OpenError::Io { path, source })?;
    }
    Ok(())
}

/// Makes a folder for its owner alone, durably, when there is none.
pub(super) fn make_folder(path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => File::open(above(path)).and_then(|above| above.sync_all()).map_err(io),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// A file in RocksDB's folder.
pub(super) struct DataFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl DataFile {
    pub(super) fn is_table(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "sst")
    }

    pub(super) fn is_log(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == "log")
    }
}

/// Returns the files in a folder; none when there is no folder.
pub(super) fn data_files(folder: &Path) -> Result<Vec<DataFile>, OpenError> {
    let io = |source| OpenError::Io { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        match entry.metadata() {
            Ok(metadata) => files.push(DataFile { path: entry.path(), bytes: metadata.len() }),
            // Its writer has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io(error)),
        }
    }
    Ok(files)
}

/// Returns the number and the bytes of RocksDB's logs.
pub(crate) fn logs(folder: &Path) -> Result<(usize, u64), OpenError> {
    let files = data_files(folder)?;
    let logs = files.iter().filter(|file| file.is_log());
    Ok(logs.fold((0, 0), |(count, bytes), log| (count + 1, bytes + log.bytes)))
}

/// Makes durable what a process that was killed had written but not synced. RocksDB reads it and builds on it, and a
/// power cut must not take it from under that.
pub(super) fn sync_logs(folder: &Path) -> Result<(), OpenError> {
    for DataFile { path, .. } in data_files(folder)?.into_iter().filter(DataFile::is_log) {
        let synced = File::open(&path).and_then(|file| file.sync_data());
        synced.map_err(|source| OpenError::Io { path, source })?;
    }
    Ok(())
}

/// Returns the folder that holds `path`.
fn above(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
