//! What a fresh instance depends on, as it looks on disk: the makings of the [`crate::index`].

use std::path::Path;

use cairn_content::{Found, FoundTree};
use cairn_dag::{Glob, InputKind};
use cairn_model::{Content, Digest, EntryKind};
use cairn_store::Checkpoint;

use crate::engine::Engine;
use crate::gather::{Gathered, Origin, below};
use crate::index::{Collector, Index};

/// Folders below a glob's base that are noted at the most: beyond that the index costs more than it saves.
const GLOB_FOLDERS_MAX: usize = 20_000;

impl Engine {
    /// Notes all that the freshness of `instance` rests on.
    pub(crate) fn note_fresh(&self, instance: u32, gathered: &Gathered, checkpoint: &Checkpoint) {
        let declared = self.instance(instance);
        let folder = self.project.folder();
        let mut collector = self.collector.lock().expect("no panic while it is held");
        collector.instance(declared, checkpoint.took_ms);
        if self.gatherer.left_out_remains() || self.gatherer.depends_on_run(declared) {
            collector.spoil();
        }
        for (name, value) in &self.gatherer.passed(declared) {
            collector.variable(name, value.as_ref());
        }
        for input in &declared.inputs {
            match &input.kind {
                InputKind::Environment { variable } => {
                    collector.variable(variable, self.gatherer.variable(variable));
                }
                InputKind::Path { path, holds, .. } => {
                    if input.optional
                        && holds.is_empty()
                        && !gathered.files.iter().any(|file| file.path == *path)
                    {
                        collector.absent(path);
                    }
                    if !holds.is_empty() {
                        note_glob(&mut collector, folder, &below(path));
                    }
                }
                InputKind::Glob { pattern, .. } => note_glob(&mut collector, folder, pattern),
                InputKind::Command { .. } | InputKind::Stage { .. } => {}
            }
        }
        for input in &gathered.files {
            match &input.origin {
                Origin::Source(found) => note_file(&mut collector, input.path.to_string(), found),
                Origin::SourceTree(found) => note_tree(&mut collector, folder, input.path.as_str(), found),
                Origin::Made => {}
            }
        }
        for output in &checkpoint.manifest.outputs {
            let on_disk = self.project.on_disk(&output.path);
            match &output.content {
                Content::File(_) => match self.digests.file(&on_disk) {
                    Ok(found) => note_file(&mut collector, output.path.to_string(), &found),
                    Err(_) => collector.spoil(),
                },
                Content::Folder(_) => match self.digests.tree(&on_disk) {
                    Ok(found) => note_tree(&mut collector, folder, output.path.as_str(), &found),
                    Err(_) => collector.spoil(),
                },
            }
        }
    }

    /// Returns the index of this run, if every instance was fresh.
    pub fn take_index(&self, key: Digest, sequence: u64) -> Option<Index> {
        let collector = std::mem::take(&mut *self.collector.lock().expect("no panic while it is held"));
        collector.finish(&self.pipeline, key, sequence)
    }
}

fn note_file(collector: &mut Collector, path: String, found: &Found) {
    if found.settled {
        collector.file(path, found.key, found.stamp, found.content.digest);
        if found.link.is_some() {
            // A link can be turned elsewhere without a change of what it led to.
            collector.spoil();
        }
    } else {
        collector.spoil();
    }
}

fn note_tree(collector: &mut Collector, folder: &Path, path: &str, found: &FoundTree) {
    if found.link.is_some() {
        collector.spoil();
    }
    collector.folder(folder, path);
    for entry in &found.tree.entries {
        match (&entry.kind, std::str::from_utf8(&entry.path)) {
            (EntryKind::Folder, Ok(below)) => collector.folder(folder, &format!("{path}/{below}")),
            (EntryKind::File(_), Ok(_)) => {}
            (EntryKind::Link(_), _) | (_, Err(_)) => collector.spoil(),
        }
    }
    for (below, found) in &found.files {
        match std::str::from_utf8(below) {
            Ok(below) => note_file(collector, format!("{path}/{below}"), found),
            Err(_) => collector.spoil(),
        }
    }
}

/// A file that begins to match appears in one of the folders below the glob's base, and changes its times.
fn note_glob(collector: &mut Collector, folder: &Path, pattern: &str) {
    if !collector.is_new_glob(pattern) {
        return;
    }
    let base = Glob::parse(pattern).ok().and_then(|glob| glob.base());
    let mut pending = vec![base.map_or_else(String::new, |base| base.to_string())];
    let mut count = 0;
    while let Some(path) = pending.pop() {
        count += 1;
        if count > GLOB_FOLDERS_MAX {
            return collector.spoil();
        }
        collector.folder(folder, &path);
        let Ok(entries) = std::fs::read_dir(folder.join(&path)) else { return collector.spoil() };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if path.is_empty() && name == ".cairn" {
                continue;
            }
            let kind = entry.file_type();
            // What a link leads to can come, go and change without a trace in this folder.
            if !kind.as_ref().is_ok_and(|kind| !kind.is_symlink()) {
                return collector.spoil();
            }
            if kind.is_ok_and(|kind| kind.is_dir()) {
                match name.to_str() {
                    Some(name) if path.is_empty() => pending.push(name.to_owned()),
                    Some(name) => pending.push(format!("{path}/{name}")),
                    None => return collector.spoil(),
                }
            }
        }
    }
}
