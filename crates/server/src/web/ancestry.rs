//! Lineage by content: who made the very bytes that an instance read, in whatever run and pipeline that was, and who read
//! the very bytes that it made.
//!
//! It is read from the last results of the pipelines as they are now: what their instances last read and made. That reads
//! many of them, so it is done only where a person asks for it, once for both ways, and no further than a bound.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_dag::Pipeline;
use cairn_model::{InstanceName, Name};
use cairn_scheduler::recorded::Recipe;
use cairn_store::{Checkpoint, ReadError};

use super::picture::in_force;
use super::run::{Seen, instance_href};
use super::words;
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

/// Both ways from an instance, as far as they are known.
#[derive(Default)]
pub(super) struct Ancestry {
    /// Who made the files that were read; files that nobody made are listed as well: they are where it all begins.
    pub(super) upstream: Vec<Source>,
    /// Who read the files that were made, as they were made.
    pub(super) downstream: Vec<Reader>,
    /// What is left out; empty where nothing is.
    pub(super) cut: Vec<String>,
}

/// A file as it was: its path from the root, and the digest of what was in it.
type File = (PathBuf, String);

/// Pipelines beside its own, and instances in all, that are looked through.
const OTHERS_MAX: usize = 40;
const INSTANCES_MAX: usize = 2_000;
/// Lines of each part.
const LINES_MAX: usize = 100;

/// Goes through the last results of the pipelines, this one's first. Returns what was left out.
fn each_result(
    daemon: &Daemon,
    seen: &Seen,
    mut visit: impl FnMut(&Path, &Checkpoint),
) -> Result<Vec<String>, ReadError> {
    let now = daemon.clock.now();
    let own = seen.name();
    let entries: Vec<Arc<Entry>> = daemon.catalog().entries().cloned().collect();
    let (mine, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.name.as_str() == own);
    let mut asked: HashSet<(Name, InstanceName)> = HashSet::new();
    let mut passed_over = 0_usize;
    let mut add = |pipeline: &Pipeline, folder: &Path| -> Result<(), ReadError> {
        for instance in &pipeline.instances {
            let key = (pipeline.name.clone(), instance.name.clone());
            if asked.contains(&key) {
                continue;
            }
            if asked.len() >= INSTANCES_MAX {
                passed_over += 1;
                continue;
            }
            asked.insert(key);
            for hash in daemon.store().latest(&pipeline.name, &instance.name)? {
                if let Some((checkpoint, _)) = daemon.store().recorded(&hash)? {
                    visit(folder, &checkpoint);
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
    let mut cut = Vec::new();
    if passed_over > 0 {
        cut.push(format!("{} of the pipelines looked through", words::count(passed_over, "instance")));
    }
    if others.len() > OTHERS_MAX {
        cut.push(words::count(others.len() - OTHERS_MAX, "other pipeline"));
    }
    Ok(cut)
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
fn made(folder: &Path, checkpoint: &Checkpoint) -> Vec<File> {
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

/// Finds both ways from an instance: by what it read, as its recipe says, and by what it made.
pub(super) fn read(
    daemon: &Daemon,
    seen: &Seen,
    recipe: Option<&Recipe>,
    checkpoint: Option<&Checkpoint>,
) -> Result<Ancestry, ReadError> {
    let Some(folder) = folder_of(daemon, seen) else { return Ok(Ancestry::default()) };
    let files = recipe.map_or_else(Vec::new, |recipe| files_of(recipe).collect());
    let is_read: HashSet<File> =
        files.iter().map(|(path, digest)| (folder.join(path), (*digest).to_owned())).collect();
    let is_made: HashSet<File> =
        checkpoint.map_or_else(HashSet::new, |checkpoint| made(&folder, checkpoint).into_iter().collect());
    let mut makers: HashMap<File, (String, String, String)> = HashMap::new();
    let mut downstream = Vec::new();
    let mut more_readers = 0_usize;
    let mut cut = each_result(daemon, seen, |of, other| {
        if !is_read.is_empty() {
            for file in made(of, other).into_iter().filter(|file| is_read.contains(file)) {
                makers.entry(file).or_insert_with(|| told(other));
            }
        }
        if is_made.is_empty() {
            return;
        }
        let Ok(recipe) = Recipe::read(&other.preimage) else { return };
        let paths: Vec<&str> = files_of(&recipe)
            .filter(|(path, digest)| is_made.contains(&(of.join(path), (*digest).to_owned())))
            .map(|(path, _)| path)
            .collect();
        if paths.is_empty() {
            return;
        }
        if downstream.len() == LINES_MAX {
            more_readers += 1;
            return;
        }
        let (name, href, run) = told(other);
        downstream.push(Reader { name, href, run, paths: paths.join(", ") });
    })?;
    if files.len() > LINES_MAX {
        cut.push(format!("{} that it read", words::count(files.len() - LINES_MAX, "file")));
    }
    if more_readers > 0 {
        cut.push(words::count(more_readers, "reader"));
    }
    let source = |(path, digest): &(&str, &str)| Source {
        path: (*path).to_owned(),
        maker: makers.get(&(folder.join(path), (*digest).to_owned())).cloned(),
    };
    Ok(Ancestry { upstream: files.iter().take(LINES_MAX).map(source).collect(), downstream, cut })
}
