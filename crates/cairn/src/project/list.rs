//! The pipelines of a project.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use cairn_dag::Glob;
use cairn_executor::DiskWorld;
use cairn_model::ProjectPath;

use super::{PIPELINE, PipelineFile, Project, SETTINGS};

/// Bytes of the largest file that is looked into to see whether it is a pipeline.
const PIPELINE_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Project {
    /// Returns the project's pipelines, sorted by path.
    pub(crate) fn pipelines(&self) -> Vec<PipelineFile> {
        self.list(&BTreeSet::new(), begins_stages)
    }

    /// Returns the project's pipelines, and files that were most likely meant to be some: what is wrong with them is to be told.
    pub(crate) fn pipelines_and_misses(&self) -> Vec<PipelineFile> {
        self.pipelines_with_known(&BTreeSet::new())
    }

    /// The same, with those of the files `known` as pipelines' that are still there, whatever is in them now.
    pub(crate) fn pipelines_with_known(&self, known: &BTreeSet<PathBuf>) -> Vec<PipelineFile> {
        self.list(known, |text| begins_stages(text) || is_near_miss(text))
    }

    fn list(&self, known: &BTreeSet<PathBuf>, is_one: fn(&str) -> bool) -> Vec<PipelineFile> {
        let there: Vec<&PathBuf> = known.iter().filter(|path| !is_gone(path)).collect();
        let mut paths = match &self.settings.pipelines {
            Some(named) => named.iter().flat_map(|entry| self.named(entry, &there)).collect(),
            None => self.usual(&there, is_one),
        };
        paths.sort();
        paths.dedup();
        paths.iter().filter_map(|path| self.describe(path).ok()).collect()
    }

    /// Resolves an entry of `pipelines` in `cairn.toml`. What does not exist is kept, so that it is told when used.
    fn named(&self, entry: &str, known: &[&PathBuf]) -> Vec<PathBuf> {
        match Glob::parse(entry) {
            Ok(glob) if Glob::is_glob(entry) => {
                let disk = DiskWorld::new(self.root.clone(), self.root.clone());
                let (found, _) = disk.matches_and_odd(&glob).unwrap_or_default();
                let matches = |file: &PathBuf| {
                    let path = file.strip_prefix(&self.root).ok().and_then(Path::to_str);
                    path.and_then(|path| ProjectPath::parse(path).ok())
                        .is_some_and(|path| glob.is_match(&path))
                };
                let known = known.iter().filter(|file| matches(file)).map(|file| (*file).clone());
                found.iter().map(|path| path.below(&self.root)).chain(known).collect()
            }
            _ => {
                let path = self.root.join(entry);
                vec![if path.is_dir() { path.join(PIPELINE) } else { path }]
            }
        }
    }

    fn usual(&self, known: &[&PathBuf], is_one: fn(&str) -> bool) -> Vec<PathBuf> {
        let mut found = toml_files(&self.root, is_one);
        let pipelines = self.root.join("pipelines");
        found.extend(toml_files(&pipelines, is_one));
        let is_usual = |file: &PathBuf| {
            let folder = file.parent();
            let is_pipeline = file.file_name().is_some_and(|name| name == PIPELINE);
            folder == Some(&self.root)
                || folder == Some(&pipelines)
                || (is_pipeline && folder.and_then(Path::parent) == Some(&pipelines))
        };
        found.extend(known.iter().filter(|file| is_usual(file)).map(|file| (*file).clone()));
        for folder in entries(&pipelines) {
            let file = folder.join(PIPELINE);
            if file.is_file() {
                found.push(file);
            }
        }
        found
    }
}

/// Returns whether a file is no longer there, be it as something that cannot be read.
fn is_gone(path: &Path) -> bool {
    let kind = fs::symlink_metadata(path).err().map(|error| error.kind());
    matches!(kind, Some(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
}

/// Returns the pipeline files in a folder: those whose text is one.
fn toml_files(folder: &Path, is_one: fn(&str) -> bool) -> Vec<PathBuf> {
    let mut files = entries(folder);
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let toml = path.extension().is_some_and(|extension| extension == "toml");
        toml && name != SETTINGS && path.is_file() && (name == PIPELINE || seems(path, is_one))
    });
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Returns whether a file seems to be a pipeline. Seen in the text rather than in parsed TOML, so that a pipeline with a syntax
/// error is still one, and is checked.
fn seems(path: &Path, is_one: fn(&str) -> bool) -> bool {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > PIPELINE_BYTES_MAX) {
        return false;
    }
    fs::read(path).is_ok_and(|bytes| is_one(&String::from_utf8_lossy(&bytes)))
}

/// Returns whether a text was most likely meant to be a pipeline's: it has a table `stage.NAME`, and something is run.
fn is_near_miss(text: &str) -> bool {
    let key = |line: &str| line.trim_start().split(['=', ' ', '\t']).next() == Some("run");
    let header = |line: &str| line.trim_start().trim_start_matches(['[', ' ']).starts_with("stage.");
    text.lines().any(|line| line.trim_start().starts_with('[') && header(line)) && text.lines().any(key)
}

/// Returns whether a line begins a `stages` table.
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
    use super::{begins_stages, is_near_miss};

    #[test]
    fn a_near_miss_is_told_from_other_files() {
        for miss in ["[stage.a]\nrun = 'x'", "[pipeline]\n[ stage.a ]\n  run='x'"] {
            assert!(is_near_miss(miss), "{miss}");
        }
        for other in ["[stage.prod]\nurl = 'x'", "run = 'x'", "[stages.a]\nrun = 'x'", "stage.a = 1\nrun = 2"]
        {
            assert!(!is_near_miss(other), "{other}");
        }
    }

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
