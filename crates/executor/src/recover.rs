//! What a killed run left: processes, working folders, outputs set aside, temporary files beside outputs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cairn_content::{Placer, gc};
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
    /// A file cannot be moved or removed.
    #[error("cannot clear away what a killed run left at `{}`: {cause}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Ends and clears away all that an earlier process left; the caller holds the store, so no other cairn runs here.
///
/// `folders` are those in which outputs are placed.
pub fn recover(
    project: &Project,
    store: &Store,
    placer: &Placer,
    folders: &HashSet<PathBuf>,
) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered::default();
    let io = |path: &Path| {
        let path = path.to_owned();
        move |cause| RecoverError::Io { path, cause }
    };
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
        put_back(project, &before, &paths).map_err(io(&before))?;
        batch.attempt_ended(id);
        recovered.attempts += 1;
    }
    if !batch.is_empty() {
        let _ = store.commit(batch, Durability::Written)?;
    }
    recovered.leftovers += gc::clean_staging(project.state(), |_| false).map_err(io(project.state()))?;
    recovered.leftovers += gc::clean_tmp(project.state()).map_err(io(project.state()))?;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        recovered.leftovers += placer.clean_leftovers(folder).map_err(io(folder))?;
    }
    Ok(recovered)
}
