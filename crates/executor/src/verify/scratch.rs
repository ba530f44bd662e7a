//! The folder of a verifier: it is held as long as the verifier lives, so that whoever clears away what killed processes left
//! knows it from one that is left.
//!
//! The kernel's lock on the folder decides, and ends with the process. The processes of a verifier bear the folder's name in
//! their mark: a daemon that begins while one is at work leaves them alone, and no verifier ends what a run has started.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cairn_content::{FileError, durable};
use cairn_model::RunId;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::isolation::strays;

/// What the names of scratch folders, and the marks of processes, begin with.
const PREFIX: &str = "verify-";

/// A folder that all copies are in; removed when it is dropped.
pub(super) struct Scratch {
    state: PathBuf,
    name: String,
    _held: File,
}

impl Scratch {
    /// Makes one in a state folder. `run` is an id of no run.
    pub(super) fn make(state: &Path, run: RunId) -> Result<Self, FileError> {
        let name = format!("{PREFIX}{run}");
        let folder = folder_of(state, &name);
        let make = |cause| FileError { action: "make the folder", path: folder.clone(), cause };
        loop {
            fs::create_dir_all(&folder).map_err(make)?;
            // Who looks holds it for a moment, and may have taken it for one that is left.
            match hold(&folder, FlockOperation::LockExclusive) {
                Ok(Some(held)) => return Ok(Self { state: state.to_owned(), name, _held: held }),
                Ok(None) => {}
                Err(cause) => return Err(make(cause)),
            }
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        folder_of(&self.state, &self.name)
    }

    /// Returns the mark of a process that is started in it.
    pub(super) fn token(&self, attempt: &str) -> String {
        format!("{}.{attempt}", self.name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let folder = self.folder();
        if let Err(error) = durable::remove_tree(&self.state, &folder) {
            tracing::warn!(%error, folder = %folder.display(), "cannot clear a scratch folder away");
        }
    }
}

fn folder_of(state: &Path, name: &str) -> PathBuf {
    state.join("staging").join(name)
}

/// Takes the lock on a folder; `None` where another has it, or the folder has gone meanwhile.
fn hold(folder: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let file = match File::open(folder) {
        Err(error) if is_gone(&error) => return Ok(None),
        file => file?,
    };
    loop {
        match flock(&file, how) {
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => break locked?,
        }
    }
    let held = file.metadata()?;
    match fs::symlink_metadata(folder) {
        Ok(now) if (now.dev(), now.ino()) == (held.dev(), held.ino()) => Ok(Some(file)),
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(None),
    }
}

/// Returns the names of all scratch folders.
fn names(state: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(state.join("staging")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(PREFIX))
}

/// Tells what verifiers that are at work have in a state folder from what is left of others.
///
/// It looks when it is asked: one may begin while things are cleared away. What is nobody's is held from then on, so that no
/// verifier takes it before it is removed.
#[derive(Debug)]
pub(crate) struct AtWork {
    state: PathBuf,
    left: RefCell<HashMap<String, File>>,
}

impl AtWork {
    /// Of a state folder.
    pub(crate) fn in_state(state: &Path) -> Self {
        Self { state: state.to_owned(), left: RefCell::default() }
    }

    /// Returns whether a folder in `staging/`, or the mark of a process, is one of theirs.
    pub(crate) fn is_theirs(&self, name: &str) -> bool {
        if !name.starts_with(PREFIX) {
            return false;
        }
        let name = name.split_once('.').map_or(name, |(folder, _)| folder);
        let mut left = self.left.borrow_mut();
        if left.contains_key(name) {
            return false;
        }
        let folder = folder_of(&self.state, name);
        match hold(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(Some(held)) => {
                left.insert(name.to_owned(), held);
                false
            }
            Ok(None) => folder.symlink_metadata().is_ok(),
            // One that cannot be looked at is left alone.
            Err(_) => true,
        }
    }
}

/// Returns whether a process with this mark was started by a verifier.
pub(crate) fn is_verifiers(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Clears away what verifiers that were killed left: processes, and copies. Returns how many processes cannot be ended.
pub(super) fn clear_left(state: &Path, state_id: &str) -> Result<u32, FileError> {
    for name in names(state) {
        let folder = folder_of(state, &name);
        let Ok(Some(held)) = hold(&folder, FlockOperation::NonBlockingLockExclusive) else { continue };
        let strays = strays::end_strays_if(state_id, &|token| token.starts_with(&name));
        if strays.left > 0 {
            return Ok(strays.left);
        }
        durable::remove_tree(state, &folder)?;
        drop(held);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_work_is_told_from_what_is_left() {
        let top = tempfile::tempdir().unwrap();
        let state = top.path().join(".cairn");
        let (live, left) = (RunId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
        let scratch = Scratch::make(&state, live).unwrap();
        fs::create_dir_all(folder_of(&state, &format!("{PREFIX}{left}")).join("place-1")).unwrap();
        fs::create_dir_all(state.join("staging/attempt")).unwrap();
        let at_work = AtWork::in_state(&state);
        assert!(at_work.is_theirs(&scratch.name) && at_work.is_theirs(&scratch.token("s-1")));
        for other in [format!("{PREFIX}{left}"), format!("{PREFIX}{left}.s-1"), "attempt".to_owned()] {
            assert!(!at_work.is_theirs(&other), "{other}");
        }
        // What it found to be nobody's is its own to remove, until it is done.
        drop(at_work);
        assert_eq!(clear_left(&state, "no such state").unwrap(), 0);
        let staged = || fs::read_dir(state.join("staging")).unwrap().count();
        assert!(scratch.folder().is_dir());
        assert_eq!(staged(), 2);
        let token = scratch.token("s-1");
        drop(scratch);
        assert!(!AtWork::in_state(&state).is_theirs(&token), "it is over");
        assert_eq!(staged(), 1);
    }

    /// As where a daemon and a verifier begin in the same moment.
    #[test]
    fn one_that_begins_while_things_are_cleared_away_keeps_its_copies() {
        let top = tempfile::tempdir().unwrap();
        let state = top.path().join(".cairn");
        let at_work = AtWork::in_state(&state);
        let scratch = Scratch::make(&state, RunId::from_bytes([1; 16])).unwrap();
        assert!(at_work.is_theirs(&scratch.name) && at_work.is_theirs(&scratch.token("s-1")));

        // The other way round it waits, and does not work in a folder that is being removed.
        let late = RunId::from_bytes([2; 16]);
        let folder = folder_of(&state, &format!("{PREFIX}{late}"));
        fs::create_dir(&folder).unwrap();
        assert!(!at_work.is_theirs(&format!("{PREFIX}{late}")), "its verifier has not come to hold it");
        let of = state.clone();
        let making = std::thread::spawn(move || Scratch::make(&of, late).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
        durable::remove_tree(&state, &folder).unwrap();
        drop(at_work);
        let made = making.join().unwrap();
        assert!(made.folder().is_dir() && AtWork::in_state(&state).is_theirs(&made.name));
    }
}
