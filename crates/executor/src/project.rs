//! Where things are: the project, its state folder, the folder a pipeline's paths are relative to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cairn_dag::Pipeline;
use cairn_model::{AttemptId, Domain, ProjectPath, RunId};

/// The folders of one pipeline.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    state: PathBuf,
    folder: PathBuf,
    prefix: String,
}

impl Project {
    /// `root` holds the project, `state` is its `.cairn`, `folder` is what the pipeline's paths are relative to and lies
    /// in `root`; all absolute.
    pub fn new(root: PathBuf, state: PathBuf, folder: PathBuf) -> Self {
        let prefix = folder.strip_prefix(&root).unwrap_or(Path::new("")).to_string_lossy().into_owned();
        Self { root, state, folder, prefix }
    }

    /// Returns the project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Returns the folder that the pipeline's paths are relative to.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns `path` on disk.
    pub fn on_disk(&self, path: &ProjectPath) -> PathBuf {
        path.below(&self.folder)
    }

    /// Returns `path` relative to the project: the key under which the store knows what it placed, the same for all
    /// pipelines of the project.
    pub fn store_key(&self, path: &ProjectPath) -> String {
        if self.prefix.is_empty() { path.to_string() } else { format!("{}/{path}", self.prefix) }
    }

    /// Returns the folders in which a pipeline's outputs are placed, where a crash may have left temporary files.
    pub fn output_folders(&self, pipeline: &Pipeline) -> BTreeSet<PathBuf> {
        let outputs = pipeline.instances.iter().flat_map(|instance| &instance.outputs);
        outputs.filter_map(|output| self.on_disk(&output.path).parent().map(Path::to_owned)).collect()
    }

    /// Returns a text that marks processes started for this state folder, in their environment.
    pub fn state_id(&self) -> String {
        Domain::Index.digest(self.state.as_os_str().as_encoded_bytes()).short()
    }

    /// Returns the folder of an attempt's working files.
    pub fn staging(&self, attempt: &AttemptId) -> PathBuf {
        self.state.join("staging").join(attempt.slug())
    }

    /// Returns where an attempt's output is kept, relative to the state folder.
    pub fn log_path(attempt: &AttemptId) -> PathBuf {
        let file = format!("{}.{}.log", attempt.instance.slug(), attempt.number);
        Self::log_folder(attempt.run).join(file)
    }

    /// Returns the folder of a run's logs, relative to the state folder.
    pub fn log_folder(run: RunId) -> PathBuf {
        Path::new("logs").join(run.to_string())
    }
}
