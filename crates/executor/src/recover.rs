//! What a killed run left: processes, working folders, outputs set aside, temporary files beside outputs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cairn_content::{FileError, Placer, gc};
use cairn_model::ProjectPath;
use cairn_store::{Batch, Durability, Store};

use crate::isolation::strays;
use crate::project::Project;
use crate::staging::put_back;

/// What was found and cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Processes that still ran and were ended.
    pub processes: u32,
    /// Attempts that were cut off.
    pub attempts: u32,
    /// Working folders and temporary files removed.
    pub leftovers: u32,
}

/// Why recovery failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] cairn_store::ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] cairn_store::CommitError),
    /// Processes of a killed run cannot be ended.
    #[error("{count} processes of a killed run cannot be ended")]
    Strays {
        /// How many are left.
        count: u32,
    },
    /// What is left cannot be removed.
    #[error(transparent)]
    Clear(#[from] FileError),
}

/// Ends and clears away all that an earlier process left; the caller holds the store, so no other cairn runs here.
///
/// `folders` are those in which outputs are placed.
pub fn recover(
    project: &Project,
    store: &Store,
    folders: &BTreeSet<PathBuf>,
) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered::default();
    // Attempts first start and are then written down: a run that was cut off may have processes that no record names.
    let ended = strays::end_strays(&project.state_id());
    recovered.processes = ended.ended;
    if ended.left > 0 {
        return Err(RecoverError::Strays { count: ended.left });
    }
    let open = store.attempts_open()?;
    let mut batch = Batch::new();
    for (id, attempt) in &open {
        let before = project.state().join(&attempt.folder).join("before");
        let paths: Vec<ProjectPath> =
            attempt.in_project.iter().filter_map(|path| ProjectPath::parse(path).ok()).collect();
        put_back(project, &before, &paths, Some("recovered"))?;
        // Beside what was set aside, only parts of what is whole elsewhere: it was on its way from or to another disk.
        for aside in paths.iter().map(|path| path.below(&before)) {
            let folder = aside.parent().expect("it lies in `before`");
            recovered.leftovers += Placer::clean_leftovers(folder)?;
        }
        batch.attempt_ended(id);
        recovered.attempts += 1;
    }
    if !batch.is_empty() {
        let _ = store.commit(batch, Durability::Written)?;
    }
    keep_unnamed(project)?;
    recovered.leftovers += gc::clean_staging(project.state(), |_| false)?;
    recovered.leftovers += gc::clean_tmp(project.state())?;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        recovered.leftovers += Placer::clean_leftovers(folder)?;
    }
    Ok(recovered)
}

/// Files that were set aside and that no open attempt names were settled, all but perhaps the last step: none is removed.
fn keep_unnamed(project: &Project) -> Result<(), FileError> {
    let Ok(entries) = std::fs::read_dir(project.state().join("staging")) else { return Ok(()) };
    for entry in entries.flatten() {
        let before = ProjectPath::parse("before").expect("a path");
        if has_files(&entry.path().join("before")) {
            cairn_content::trash::move_to_trash(project.state(), "recovered", &entry.path(), &before)?;
        }
    }
    Ok(())
}

fn has_files(folder: &std::path::Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries
        .flatten()
        .any(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()) || has_files(&entry.path()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cairn_model::{AttemptId, FixedClock, InputHash, InstanceName, RunId, Timestamp};
    use cairn_store::{Access, Attempt, ProcessId};

    use super::*;

    #[test]
    fn what_was_set_aside_is_put_back_and_parts_of_it_fill_no_trash() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        let project = Project::new(top.path().to_owned(), path(".cairn"), top.path().to_owned());
        let store = Store::open(project.state(), Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
        let attempt = Attempt {
            input_hash: InputHash::from_digest(cairn_model::Domain::File.digest(b"")),
            epoch: 0,
            started: Timestamp(0),
            process: ProcessId { boot_id: "b".to_owned(), pid: 1, start_ticks: 1 },
            folder: "staging/x".to_owned(),
            token: "token".to_owned(),
            in_project: vec!["data/out".to_owned()],
        };
        let id = AttemptId {
            run: RunId::from_bytes([1; 16]),
            instance: InstanceName::new("s".parse().unwrap(), None),
            number: 1,
        };
        let mut batch = Batch::new();
        batch.attempt_started(&id, &attempt);
        let _ = store.commit(batch, Durability::Written).unwrap();
        let part = ".cairn/staging/x/before/data/.cairn-0123456789abcdef.tmp";
        fs::create_dir_all(path(part)).unwrap();
        fs::write(path(part).join("a"), "a part").unwrap();
        fs::write(path(".cairn/staging/x/before/data/out"), "mine").unwrap();

        let recovered = recover(&project, &store, &BTreeSet::new()).unwrap();
        assert_eq!((recovered.attempts, recovered.leftovers), (1, 2));
        assert_eq!(fs::read(path("data/out")).unwrap(), b"mine");
        assert!(!path(".cairn/trash").exists() && !path(".cairn/staging/x").exists());
    }
}
