//! Leftovers of runs that were cut off, in the state folder.
//!
//! What a cut-off placing left in the project is [`Placer::clean_leftovers`](crate::Placer::clean_leftovers)'s.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use crate::durable::remove_tree;
use crate::file_error::cannot;
use crate::{FileError, left, temporary};

/// Removes all in `staging/` but the attempts whose folders' names are `live`, and notes on what [is left](crate::left). Returns how
/// many were removed.
///
/// # Errors
/// The first that could not be removed; the rest were tried all the same.
pub fn clean_staging(state: &Path, live: impl Fn(&OsStr) -> bool) -> Result<u32, FileError> {
    clean(state, &state.join("staging"), |name| !live(name) && !left::is_note(name))
}

/// Removes all in `tmp/`, and half-written files of the state folder itself. Returns how many were removed.
///
/// # Errors
/// As [`clean_staging`].
pub fn clean_tmp(state: &Path) -> Result<u32, FileError> {
    let files = clean(state, state, |name| temporary::is(name.as_encoded_bytes()))?;
    Ok(files + clean(state, &state.join("tmp"), |_| true)?)
}

/// Removes the entries of `folder`, which is `below` or in it, whose names are `unwanted`.
pub(crate) fn clean(
    below: &Path,
    folder: &Path,
    unwanted: impl Fn(&OsStr) -> bool,
) -> Result<u32, FileError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(0);
        }
        Err(error) => return Err(cannot("read the folder", folder)(error)),
    };
    let (mut removed, mut first_error) = (0, Ok(()));
    for entry in entries {
        let name = entry.map_err(cannot("read the folder", folder))?.file_name();
        if !unwanted(&name) {
            continue;
        }
        match remove_tree(below, &folder.join(name)) {
            Ok(()) => removed += 1,
            Err(error) => first_error = first_error.and(Err(error)),
        }
    }
    first_error.map(|()| removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounted::Mounted;

    #[test]
    fn only_what_lives_stays() {
        let state = tempfile::tempdir().unwrap();
        let path = |name: &str| state.path().join(name);
        assert_eq!(clean_staging(state.path(), |_| true).unwrap(), 0);
        assert_eq!(clean_tmp(state.path()).unwrap(), 0);
        for folder in ["staging/live/in", "staging/dead/in", "tmp/folder", "store"] {
            fs::create_dir_all(path(folder)).unwrap();
            fs::write(path(folder).join("file"), "x").unwrap();
        }
        let half = temporary::name();
        for file in ["tmp/file", "staging/stray", "HEAD", &half] {
            fs::write(path(file), "x").unwrap();
        }
        assert_eq!(clean_staging(state.path(), |name| name == "live").unwrap(), 2);
        assert_eq!(clean_tmp(state.path()).unwrap(), 3);
        assert!(
            path("staging/live/in/file").exists() && path("store/file").exists() && path("HEAD").exists()
        );
        assert!(!path("staging/dead").exists() && !path(&half).exists() && path("tmp").is_dir());
    }

    #[test]
    fn one_that_cannot_go_is_an_error_and_does_not_keep_the_rest() {
        let (state, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let staging = state.path().join("staging");
        for attempt in ["a", "b", "c"] {
            fs::create_dir_all(staging.join(attempt).join("in")).unwrap();
        }
        let Some(_mounted) = Mounted::bind(outside.path(), &staging.join("b/in")) else { return };
        let error = clean_staging(state.path(), |_| false).unwrap_err();
        assert!(error.path.ends_with("staging/b"), "{error}");
        assert_eq!(fs::read_dir(&staging).unwrap().count(), 1);
    }
}
