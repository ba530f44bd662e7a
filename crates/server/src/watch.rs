//! Watches the folders that pipeline files are in.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::carry_out::blocking;
use crate::daemon::Daemon;

/// An editor writes a file in several steps: how long it is waited after the last of them.
const SETTLE: Duration = Duration::from_millis(200);
/// How often the files are looked at although nothing was heard: network filesystems tell nothing.
const LOOK: Duration = Duration::from_mins(1);

impl Daemon {
    /// Reads pipelines again when their files change, for ever.
    pub async fn keep_pipelines(self: &Arc<Self>) {
        let changed = Arc::new(Notify::new());
        let heard = Arc::clone(&changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                heard.notify_one();
            }
        });
        let mut watcher = watcher
            .inspect_err(
                |error| tracing::warn!(%error, "folders cannot be watched; they are looked at now and then"),
            )
            .ok();
        let mut folders_watched = BTreeSet::new();
        loop {
            if let Some(watcher) = &mut watcher {
                let folders = self.folders();
                for folder in folders.difference(&folders_watched) {
                    // One that cannot be watched is looked at now and then.
                    let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
                }
                for folder in folders_watched.difference(&folders) {
                    let _ = watcher.unwatch(folder);
                }
                let more = !folders.is_subset(&folders_watched);
                folders_watched = folders;
                if more {
                    // What changed before they were watched is not heard.
                    let daemon = Arc::clone(self);
                    blocking(move || daemon.reload()).await;
                }
            }
            tokio::select! {
                () = changed.notified() => {
                    // What is heard meanwhile is of the same edit.
                    tokio::time::sleep(SETTLE).await;
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            let daemon = Arc::clone(self);
            blocking(move || daemon.reload()).await;
        }
    }

    /// Returns the folders in which a pipeline file may appear or change.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let mut folders: BTreeSet<PathBuf> = [self.root.clone()].into();
        let pipelines = self.root.join("pipelines");
        if pipelines.is_dir() {
            folders.insert(pipelines);
        }
        let catalog = self.catalog();
        let files = catalog.entries().map(|entry| &entry.located.file);
        let files = files.chain(catalog.broken().map(|broken| &broken.located.file));
        folders.extend(files.filter_map(|file| Some(file.parent()?.to_owned())));
        folders
    }
}
