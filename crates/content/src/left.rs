//! Notes on what stays beside an output because its removal was refused, so that a later run removes it.
//!
//! A run that was cut off is known by its record, and what lies beside its outputs is looked for. One that succeeded is not:
//! it leaves a note in `staging/`, which is empty otherwise when nothing runs. A note holds a path below the project's root.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::durable::{self, parent, remove_tree};
use crate::file_error::cannot;
use crate::{FileError, temporary};

const PREFIX: &str = "left";

/// Where notes are kept, and what their paths are below.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
}

impl Notes {
    /// Removes something with a temporary name in the project, or notes that it is there.
    pub(crate) fn remove(&self, path: &Path) {
        let Err(error) = remove_tree(parent(path), path) else { return };
        let noted = self.note(path);
        tracing::warn!(%error, noted = noted.is_ok(), "what was replaced stays under a temporary name");
    }

    fn note(&self, path: &Path) -> Result<(), FileError> {
        let name = path.file_name().unwrap_or_default();
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let staging = self.state.join("staging");
        fs::create_dir_all(&staging).map_err(cannot("make the folder", &staging))?;
        let mut noted = OsStr::new(PREFIX).to_owned();
        noted.push(name);
        durable::write_file(&staging.join(noted), below.as_os_str().as_bytes())
    }
}

/// Returns the notes that there are.
fn notes(state: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(state.join("staging")).into_iter().flatten().flatten();
    entries.filter(|entry| is_note(&entry.file_name())).map(|entry| entry.path())
}

/// Returns whether an entry of `staging/` is a note.
pub fn is_note(name: &OsStr) -> bool {
    name.as_bytes().strip_prefix(PREFIX.as_bytes()).is_some_and(temporary::is)
}

/// Returns whether something stays beside an output that a run could not remove.
pub fn any(state: &Path) -> bool {
    notes(state).next().is_some()
}

/// Removes what is noted, and the notes. Returns how much that was. What still cannot be removed keeps its note, and is warned of:
/// nothing depends on it.
pub fn clean(state: &Path, root: &Path) -> u32 {
    let mut removed = 0;
    for note in notes(state).collect::<Vec<_>>() {
        let cleaned = clean_noted(&note, root);
        match cleaned.and_then(|()| fs::remove_file(&note).map_err(cannot("remove", &note))) {
            Ok(()) => removed += 1,
            Err(error) => {
                tracing::warn!(%error, help = "remove it by hand", "what was replaced stays under a temporary name");
            }
        }
    }
    removed
}

fn clean_noted(note: &Path, root: &Path) -> Result<(), FileError> {
    let bytes = fs::read(note).map_err(cannot("read", note))?;
    let below = Path::new(OsStr::from_bytes(&bytes));
    // A note that was tampered with is not followed: only what has a temporary name, and lies in the project, goes.
    let is_below = below.components().all(|part| matches!(part, Component::Normal(_)));
    let is_temporary = below.file_name().is_some_and(|name| temporary::is(name.as_bytes()));
    if !is_below || !is_temporary {
        return Ok(());
    }
    let path = root.join(below);
    // The folder may be gone, with all that was in it; one that is another now, by a link, is not gone into.
    let folder = parent(&path);
    match (folder.canonicalize(), root.canonicalize()) {
        (Ok(real), Ok(root)) if real.starts_with(&root) => remove_tree(folder, &path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_goes_and_nothing_else() {
        let (top, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = top.path().canonicalize().unwrap();
        let state = root.join(".cairn");
        let notes = Notes { root: root.clone(), state: state.clone() };
        assert!(!any(&state) && clean(&state, &root) == 0);
        let left = root.join("out").join(temporary::name());
        fs::create_dir_all(left.join("tree")).unwrap();
        fs::write(left.join("tree/file"), "x").unwrap();
        let elsewhere = outside.path().join(temporary::name());
        fs::write(&elsewhere, "x").unwrap();
        fs::write(root.join("mine"), "x").unwrap();
        notes.note(&left).unwrap();
        notes.note(&elsewhere).unwrap();
        fs::write(state.join("staging").join(format!("left{}", temporary::name())), "mine").unwrap();
        assert!(any(&state));
        assert_eq!(clean(&state, &root), 3);
        assert!(!left.exists() && elsewhere.exists() && root.join("mine").exists());
        assert!(!any(&state) && fs::read_dir(state.join("staging")).unwrap().next().is_none());
        // Its folder went meanwhile.
        notes.note(&root.join("gone").join(temporary::name())).unwrap();
        assert_eq!(clean(&state, &root), 1);
        // One that cannot be followed stays, and is no error.
        fs::create_dir(state.join("staging").join(format!("{PREFIX}{}", temporary::name()))).unwrap();
        assert_eq!(clean(&state, &root), 0);
        assert!(any(&state));
    }

    #[test]
    fn what_is_removed_leaves_no_note() {
        let top = tempfile::tempdir().unwrap();
        let notes = Notes { root: top.path().to_owned(), state: top.path().join(".cairn") };
        let left = top.path().join(temporary::name());
        fs::create_dir(&left).unwrap();
        notes.remove(&left);
        assert!(!left.exists() && !any(&notes.state));
    }
}
