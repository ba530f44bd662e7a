//! Lineage by content: who made the very bytes that an instance read, in whatever run and pipeline that was, and who read
//! the very bytes that it made.
//!
//! It is read from the checkpoints of the pipelines as they are now: what their instances last read and made.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_dag::Pipeline;
use cairn_model::{InstanceName, Name};
use cairn_scheduler::recorded::Recipe;
use cairn_store::{Checkpoint, ReadError};

use super::picture::in_force;
use super::run::{Seen, instance_href};
use crate::catalog::Entry;
use crate::daemon::Daemon;

/// Where bytes that were read came from.
pub(super) struct Source {
    pub(super) path: String,
    /// Who made them: the pipeline and the instance, its page, and the run.
    pub(super) maker: Option<(String, String, String)>,
}

/// An instance that read what was made.
pub(super) struct Reader {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) run: String,
    pub(super) paths: String,
}

/// Pipelines beside its own, and instances in all, that are looked through.
const OTHERS_MAX: usize = 40;
const INSTANCES_MAX: usize = 2_000;
/// Lines of each part.
const LINES_MAX: usize = 100;

/// The last results of the pipelines, this one's first.
fn results(daemon: &Daemon, seen: &Seen) -> Result<Vec<(PathBuf, Checkpoint)>, ReadError> {
    let now = daemon.clock.now();
    let own = seen.name();
    let entries: Vec<Arc<Entry>> = daemon.catalog().entries().cloned().collect();
    let (mine, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.name.as_str() == own);
    let mut found = Vec::new();
    let mut asked: HashSet<(Name, InstanceName)> = HashSet::new();
    let mut add = |pipeline: &Pipeline, folder: &Path| -> Result<(), ReadError> {
        for instance in &pipeline.instances {
            let key = (pipeline.name.clone(), instance.name.clone());
            if asked.len() >= INSTANCES_MAX || !asked.insert(key) {
                continue;
            }
            for hash in daemon.store().latest(&pipeline.name, &instance.name)? {
                if let Some((checkpoint, _)) = daemon.store().recorded(&hash)? {
                    found.push((folder.to_owned(), checkpoint));
                }
            }
        }
        Ok(())
    };
    let folder = |entry: &Entry| entry.located.file.parent().unwrap_or(&entry.located.root).to_owned();
    // Of its own pipeline the instances of the run count, of which there may be no more.
    if let (Some(pipeline), Some(file)) = (&seen.pipeline, file_of(daemon, seen)) {
        add(pipeline, file.parent().unwrap_or(&file))?;
    }
    for entry in mine.iter().chain(others.iter().take(OTHERS_MAX)) {
        if let Some(pipeline) = in_force(entry, now) {
            add(&pipeline, &folder(entry))?;
        }
    }
    Ok(found)
}

fn file_of(daemon: &Daemon, seen: &Seen) -> Option<PathBuf> {
    let file = seen.record.as_ref().map(|record| &record.file);
    Some(daemon.root.join(file.or(seen.ticket.as_ref().map(|ticket| &ticket.file))?))
}

fn folder_of(daemon: &Daemon, seen: &Seen) -> Option<PathBuf> {
    file_of(daemon, seen)?.parent().map(Path::to_owned)
}

/// Returns the files that a recipe names, with their digests.
fn files_of(recipe: &Recipe) -> impl Iterator<Item = (&str, &str)> {
    recipe
        .inputs
        .iter()
        .filter_map(|((_, subject), input)| Some((subject.as_str(), input.digest.as_deref()?)))
}

/// Returns the files, and the folders as a whole, that were made, with their digests.
fn made(folder: &Path, checkpoint: &Checkpoint) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for output in &checkpoint.manifest.outputs {
        let path = output.path.below(folder);
        all.push((path.clone(), output.content.digest().to_string()));
        for (below, file) in output.content.files() {
            let below = String::from_utf8_lossy(below);
            if !below.is_empty() {
                all.push((path.join(&*below), file.digest.to_string()));
            }
        }
    }
    all
}

fn told(checkpoint: &Checkpoint) -> (String, String, String) {
    let made = &checkpoint.made_by;
    let name = format!("{} › {}", checkpoint.pipeline, made.instance);
    (name, instance_href(made.run, &made.instance), made.run.short())
}

/// Finds who made the files that were read; files that nobody made are listed as well: they are where it all begins.
pub(super) fn upstream(
    daemon: &Daemon,
    seen: &Seen,
    recipe: Option<&Recipe>,
) -> Result<Vec<Source>, ReadError> {
    let (Some(recipe), Some(folder)) = (recipe, folder_of(daemon, seen)) else { return Ok(Vec::new()) };
    let mut makers: HashMap<(PathBuf, String), (String, String, String)> = HashMap::new();
    for (of, checkpoint) in results(daemon, seen)? {
        for file in made(&of, &checkpoint) {
            makers.entry(file).or_insert_with(|| told(&checkpoint));
        }
    }
    let source = |(path, digest): (&str, &str)| Source {
        path: path.to_owned(),
        maker: makers.get(&(folder.join(path), digest.to_owned())).cloned(),
    };
    Ok(files_of(recipe).take(LINES_MAX).map(source).collect())
}

/// Finds who read the files that were made, as they were made.
pub(super) fn downstream(
    daemon: &Daemon,
    seen: &Seen,
    checkpoint: Option<&Checkpoint>,
) -> Result<Vec<Reader>, ReadError> {
    let (Some(checkpoint), Some(folder)) = (checkpoint, folder_of(daemon, seen)) else {
        return Ok(Vec::new());
    };
    let own: HashSet<(PathBuf, String)> = made(&folder, checkpoint).into_iter().collect();
    let mut readers = Vec::new();
    if own.is_empty() {
        return Ok(readers);
    }
    for (of, other) in results(daemon, seen)? {
        if readers.len() == LINES_MAX {
            break;
        }
        let Ok(recipe) = Recipe::read(&other.preimage) else { continue };
        let paths: Vec<&str> = files_of(&recipe)
            .filter(|(path, digest)| own.contains(&(of.join(path), (*digest).to_owned())))
            .map(|(path, _)| path)
            .collect();
        if !paths.is_empty() {
            let (name, href, run) = told(&other);
            readers.push(Reader { name, href, run, paths: paths.join(", ") });
        }
    }
    Ok(readers)
}
