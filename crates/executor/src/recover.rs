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
