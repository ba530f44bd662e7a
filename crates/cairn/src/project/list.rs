//! The pipelines of a project.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_dag::{Glob, World as _};
use cairn_executor::DiskWorld;

use super::{PIPELINE, PipelineFile, Project, SETTINGS};

/// Bytes of the largest file that is looked into to see whether it is a pipeline.
const PIPELINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Project {
    /// Returns the project's pipelines, sorted by path.
    pub(crate) fn pipelines(&self) -> Vec<PipelineFile> {
        let mut paths = match &self.settings.pipelines {
            Some(named) => named.iter().flat_map(|entry| self.named(entry)).collect(),
            None => self.usual(),
        };
        paths.sort();
        paths.dedup();
        paths.iter().filter_map(|path| self.describe(path).ok()).collect()
    }

    /// Resolves an entry of `pipelines` in `cairn.toml`. What does not exist is kept, so that it is told when used.
    fn named(&self, entry: &str) -> Vec<PathBuf> {
        match Glob::parse(entry) {
            Ok(glob) if Glob::is_glob(entry) => {
                let disk = DiskWorld::new(self.root.clone(), self.root.clone());
                let found = disk.matches(&glob).unwrap_or_default();
                found.iter().map(|path| path.below(&self.root)).collect()
            }
            _ => {
                let path = self.root.join(entry);
                vec![if path.is_dir() { path.join(PIPELINE) } else { path }]
            }
        }
    }

    fn usual(&self) -> Vec<PathBuf> {
        let mut found = toml_files(&self.root);
        let pipelines = self.root.join("pipelines");
        found.extend(toml_files(&pipelines));
        for folder in entries(&pipelines) {
            let file = folder.join(PIPELINE);
            if file.is_file() {
                found.push(file);
            }
        }
        found
    }
}

/// Returns the pipeline files in a folder.
fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = entries(folder);
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let toml = path.extension().is_some_and(|extension| extension == "toml");
        toml && name != SETTINGS && path.is_file() && (name == PIPELINE || has_stages(path))
    });
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Returns whether a file seems to be a pipeline: whether a line begins a `stages` table. Seen in the text rather than
/// in parsed TOML, so that a pipeline with a syntax error is still one, and is checked.
fn has_stages(path: &Path) -> bool {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > PIPELINE_BYTES_MAX) {
        return false;
    }
    fs::read(path).is_ok_and(|bytes| begins_stages(&String::from_utf8_lossy(&bytes)))
}

fn begins_stages(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let key = line.strip_prefix('[').map_or(line, |header| header.trim_start_matches(['[', ' ', '\t']));
        let Some(rest) = key.strip_prefix("stages") else { return false };
        match rest.trim_start().chars().next() {
            Some('.') => true,
            Some(']') => line.starts_with('['),
            Some('=') => !line.starts_with('['),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::begins_stages;

    #[test]
    fn a_pipeline_is_known_by_its_stages() {
        for pipeline in [
            "[stages]",
            "[stages.a]\n",
            "x = 1\n  [ stages . a ]",
            "stages.a.run = 'x'",
            "stages = {}",
            "]\n[stages.a",
        ] {
            assert!(begins_stages(pipeline), "{pipeline}");
        }
        for other in
            ["", "[package]\nname = 'stages'", "[stagesx]", "# [stages.a]", "stages_of = 1", "x = 'stages.a'"]
        {
            assert!(!begins_stages(other), "{other}");
        }
    }
}
