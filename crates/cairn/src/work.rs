//! From a located pipeline file to everything a command needs to work on it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_dag::graph::Graph;
use cairn_dag::{Loaded, Options, Pipeline, Report, RunContext, Source};
use cairn_executor::{Engine, Project, Setup};
use cairn_model::{Clock, Digest, Domain, InstanceName, Interval, RunId, Timestamp};
use cairn_store::Store;

use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::world::DiskWorld;

/// A pipeline file, found and read, not yet parsed.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// The project's folder.
    pub(crate) root: PathBuf,
    /// The state folder.
    pub(crate) state: PathBuf,
    /// The file.
    pub(crate) file: PathBuf,
    /// The file as people are shown it.
    pub(crate) shown: String,
    /// The pipeline's name where the file has none.
    pub(crate) default_name: String,
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
}

/// A checked pipeline.
pub(crate) struct Checked {
    /// The file.
    pub(crate) definition: Definition,
    /// The pipeline.
    pub(crate) pipeline: Arc<Pipeline>,
    /// Its graph.
    pub(crate) graph: Graph,
    /// What may not be as meant.
    pub(crate) warnings: Report,
    /// The folders.
    pub(crate) project: Project,
}

/// What a template may refer to beside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// `-p`.
    pub(crate) params: Vec<(String, String)>,
    /// The run's logical time.
    pub(crate) logical_time: Timestamp,
    /// The stretch of logical time that it is about, where one is given.
    pub(crate) interval: Option<Interval>,
    /// The run's id, where there is a run.
    pub(crate) run: Option<RunId>,
}

impl Definition {
    /// Returns the file's path relative to the project.
    pub(crate) fn relative(&self) -> String {
        self.file.strip_prefix(&self.root).unwrap_or(&self.file).to_string_lossy().into_owned()
    }

    fn folder(&self) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("/")).to_owned()
    }

    /// Returns the folder that a pipeline's paths are relative to, as far as the bytes tell without being parsed: where
    /// there is no word `workdir` it is the file's own.
    pub(crate) fn plain_folder(&self) -> Option<PathBuf> {
        let word = b"workdir";
        let says = self.bytes.windows(word.len()).any(|window| window == word);
        (!says).then(|| self.folder())
    }

    /// Names the index of this file with these params.
    pub(crate) fn index_name(&self, params: &[(String, String)]) -> Digest {
        let mut hasher = Domain::Definition.hasher();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
        };
        part(self.relative().as_bytes());
        for (name, value) in params {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        hasher.finalize().into()
    }

    /// Returns a digest of all that decides what the pipeline is.
    pub(crate) fn index_key(&self, params: &[(String, String)]) -> Digest {
        let mut hasher = Domain::Definition.hasher();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
        };
        part(self.index_name(params).as_bytes());
        part(env!("CARGO_PKG_VERSION").as_bytes());
        part(default_shell().concat().as_bytes());
        part(&self.bytes);
        hasher.finalize().into()
    }

    /// Returns the text with its name, as findings are drawn on it.
    pub(crate) fn source(&self) -> Source<'_> {
        Source { path: &self.shown, bytes: &self.bytes }
    }

    /// Checks the definition.
    pub(crate) fn load(&self, given: &Given) -> Result<Loaded, Report> {
        let options = Options {
            default_name: self.default_name.clone(),
            params: given.params.clone(),
            run: RunContext { logical_time: given.logical_time, interval: given.interval, run_id: given.run },
            default_shell: default_shell(),
            platform_cpus: cpus(),
        };
        let world = DiskWorld::new(self.folder(), self.root.clone());
        cairn_dag::load(self.source(), &options, &world)
    }

    /// Checks the definition; all errors are drawn at once.
    pub(crate) fn check(self, given: &Given, style: cairn_dag::Style) -> Result<Checked, Failure> {
        let Loaded { pipeline, warnings } = self
            .load(given)
            .map_err(|report| Failure::drawn(ExitStatus::Wrong, report.render(&self.source(), style)))?;
        let folder = match &pipeline.workdir {
            Some(workdir) => workdir.below(&self.folder()),
            None => self.folder(),
        };
        let project = Project::new(self.root.clone(), self.state.clone(), folder);
        let graph = Graph::new(&pipeline);
        Ok(Checked { definition: self, pipeline: Arc::new(pipeline), graph, warnings, project })
    }
}

impl Checked {
    /// Makes the engine of a run, or of a look at what a run would do.
    pub(crate) fn engine(
        &self,
        store: Option<Store>,
        clock: Arc<dyn Clock>,
        run: RunId,
        logical_time: Timestamp,
        done_before: HashSet<InstanceName>,
        force_effects: bool,
    ) -> Result<Engine, Failure> {
        let world = DiskWorld::new(self.project.folder().to_owned(), self.project.root().to_owned());
        let seed = u64::from_be_bytes(run.as_bytes()[8..].try_into().expect("8 of 16 bytes"));
        let setup = Setup {
            project: self.project.clone(),
            pipeline: Arc::clone(&self.pipeline),
            world: Arc::new(world),
            store,
            clock,
            caller_env: caller_env(),
            run,
            logical_time,
            seed,
            done_before,
            force_effects,
        };
        Engine::new(setup).map_err(|error| {
            Failure::new(
                ExitStatus::Store,
                format!("cannot use the state folder `{}`: {error}", self.project.state().display()),
            )
        })
    }

    /// Returns what the instances took when they last ran.
    pub(crate) fn durations(&self, store: Option<&Store>) -> BTreeMap<InstanceName, u64> {
        let durations = store.and_then(|store| store.durations(&self.pipeline.name).ok()).unwrap_or_default();
        durations.into_iter().collect()
    }
}

/// The caller's variables; those that are not UTF-8 cannot be named in a pipeline file.
pub(crate) fn caller_env() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The shell of a stage that names none: bash that stops at the first error, or where there is no bash the system's.
pub(crate) fn default_shell() -> Vec<String> {
    let shell: &[&str] = if Path::new("/bin/bash").exists() || Path::new("/usr/bin/bash").exists() {
        &["bash", "-euo", "pipefail", "-c"]
    } else {
        &["/bin/sh", "-euc"]
    };
    shell.iter().map(|part| (*part).to_owned()).collect()
}

/// The processors this process may use.
pub(crate) fn cpus() -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cpus).unwrap_or(u32::MAX)
}
