//! Working folders that ended attempts gave back. To rename one costs a filesystem far less than to make it and remove it.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use cairn_content::durable;

use crate::staging::{StageError, Staging};

/// Folders in one beyond which it is removed, not kept.
const FOLDERS_MAX: usize = 64;

/// So many are kept at most: more attempts than that seldom end before others start.
const SPARES_MAX: usize = 32;

/// The spare working folders of a run, or of all runs of a process.
#[derive(Debug)]
pub struct Spares {
    state: PathBuf,
    /// `None` when no more are kept.
    kept: Mutex<Option<Vec<Staging>>>,
    expected: Arc<Expected>,
}

/// Folders that other threads are about to give back or remove.
#[derive(Debug, Default)]
struct Expected {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// One that is expected, until this is dropped.
#[derive(Debug)]
pub(crate) struct Returning(Arc<Expected>);

impl Drop for Returning {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.fewer.notify_all();
    }
}

impl Spares {
    /// Makes a list without any, for the state folder `state`.
    pub fn new(state: PathBuf) -> Self {
        Self { state, kept: Mutex::new(Some(Vec::new())), expected: Arc::default() }
    }

    /// Returns the empty working folder `folder`: a spare one renamed, or a new one.
    pub(crate) fn take(&self, folder: PathBuf) -> Result<Staging, StageError> {
        let spare = self.with(|spares| spares.as_mut()?.pop());
        if let Some(spare) = spare {
            match spare.renamed(folder.clone()) {
                Ok(staging) => return Ok(staging),
                // What it is now, the next run clears away.
                Err(error) => tracing::debug!(%error, "cannot use a working folder again"),
            }
        }
        Staging::new(folder)
    }

    /// Empties the folders of an ended attempt and keeps them; what is not as it was made is removed.
    pub(crate) fn give_back(&self, mut staging: Staging) {
        let is_spare = staging.folders_count() <= FOLDERS_MAX && staging.empty(&self.state).is_ok();
        let refused = self.with(|spares| match spares {
            Some(spares) if is_spare && spares.len() < SPARES_MAX => {
                spares.push(staging);
                None
            }
            _ => Some(staging),
        });
        if let Some(staging) = refused {
            self.remove(&staging);
        }
    }

    /// Has [`Self::clear`] wait for a folder that another thread is to give back or remove.
    pub(crate) fn expect_one(&self) -> Returning {
        *self.expected.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Returning(Arc::clone(&self.expected))
    }

    /// Removes all, those too that are on their way back, and keeps none from now on.
    pub fn clear(&self) {
        let count = self.expected.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.expected.fewer.wait_while(count, |count| *count > 0));
        for spare in self.with(Option::take).into_iter().flatten() {
            self.remove(&spare);
        }
    }

    /// Removes the folders of an attempt.
    pub(crate) fn remove(&self, staging: &Staging) {
        if let Err(error) = durable::remove_tree(&self.state, staging.folder()) {
            let folder = staging.folder().display();
            tracing::warn!(%error, %folder, "cannot clear a working folder away");
        }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut Option<Vec<Staging>>) -> T) -> T {
        // Each change to it is one call, so that a thread that panicked left it whole.
        use_it(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
