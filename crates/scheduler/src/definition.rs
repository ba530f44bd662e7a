//! From a located pipeline file to everything a command needs to work on it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, OnceLock};

use cairn_dag::graph::Graph;
use cairn_dag::{Loaded, Options, Pipeline, Report, RunContext, Source};
use cairn_executor::{DiskWorld, Engine, FileError, Project, Setup};
use cairn_model::{Clock, Digest, Domain, InstanceName, Interval, Name, RunId, Timestamp};
use cairn_store::Store;

/// A pipeline file, found and read, not yet parsed.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The project's folder.
    pub root: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// The file as people are shown it.
    pub shown: String,
    /// The pipeline's name where the file has none.
    pub default_name: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A definition with errors.
#[derive(Debug)]
pub struct Wrong {
    /// The definition.
    pub definition: Definition,
    /// What is wrong with it.
    pub report: Report,
}

/// A checked pipeline.
pub struct Checked {
    /// The file.
    pub definition: Definition,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Its graph.
    pub graph: Graph,
    /// What may not be as meant.
    pub warnings: Report,
    /// The folders.
    pub project: Project,
}

/// What a template may refer to beside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// `-p`.
    pub params: Vec<(String, String)>,
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// The stretch of time that the run is about, where it has one.
    pub interval: Option<Interval>,
    /// The run's id, where there is a run.
    pub run: Option<RunId>,
}

impl Definition {
    /// Returns a definition as a run keeps it: what was in `file`, a path relative to the project.
    pub fn of_run(root: &Path, state: &Path, (file, pipeline): (&str, &Name), bytes: Vec<u8>) -> Self {
        Self {
            root: root.to_owned(),
            state: state.to_owned(),
            file: root.join(file),
            shown: file.to_owned(),
            default_name: pipeline.to_string(),
            bytes,
        }
    }

    /// Returns the file's path relative to the project.
    pub fn relative(&self) -> String {
        self.file.strip_prefix(&self.root).unwrap_or(&self.file).to_string_lossy().into_owned()
    }

    fn folder(&self) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("/")).to_owned()
    }

    /// Returns the folder that a pipeline's paths are relative to, as far as the bytes tell without being parsed: where
    /// there is no word `workdir` it is the file's own.
    pub fn plain_folder(&self) -> Option<PathBuf> {
        let word = b"workdir";
        let says = self.bytes.windows(word.len()).any(|window| window == word);
        (!says).then(|| self.folder())
    }

    /// Names the index of this file with these params.
    pub fn index_name(&self, params: &[(String, String)]) -> Digest {
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
    pub fn index_key(&self, params: &[(String, String)]) -> Digest {
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
    pub fn source(&self) -> Source<'_> {
        Source { path: &self.shown, bytes: &self.bytes }
    }

    /// Checks the definition.
    pub fn load(&self, given: &Given) -> Result<Loaded, Report> {
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

    /// Checks the definition, and finds all its errors at once.
    pub fn check(self, given: &Given) -> Result<Checked, Box<Wrong>> {
        let Loaded { pipeline, warnings } = match self.load(given) {
            Ok(loaded) => loaded,
            Err(report) => return Err(Box::new(Wrong { definition: self, report })),
        };
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
    pub fn engine(
        &self,
        store: Option<Store>,
        clock: Arc<dyn Clock>,
        run: RunId,
        logical_time: Timestamp,
        done_before: HashSet<InstanceName>,
        force_effects: bool,
    ) -> Result<Engine, FileError> {
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
        Engine::new(setup)
    }

    /// Returns what the instances took when they last ran.
    pub fn durations(&self, store: Option<&Store>) -> BTreeMap<InstanceName, u64> {
        let durations = store.and_then(|store| store.durations(&self.pipeline.name).ok()).unwrap_or_default();
        durations.into_iter().collect()
    }
}

/// A variable of this process that is nobody else's, since it holds a password.
static KEPT_BACK: OnceLock<String> = OnceLock::new();

/// Keeps a variable from all that pipeline files name, for as long as this process lives; only the first that is named.
pub fn keep_back(variable: &str) {
    let _ = KEPT_BACK.set(variable.to_owned());
}

/// Returns the variable that is kept back.
pub fn kept_back() -> Option<&'static str> {
    KEPT_BACK.get().map(String::as_str)
}

/// The caller's variables without the one that is [kept back](keep_back); those that are not UTF-8 cannot be named in a
/// pipeline file.
pub fn caller_env() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter(|(name, _)| kept_back().is_none_or(|kept| name != kept))
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The shell of a stage that names none: bash that stops at the first error, or where there is no bash the system's.
pub fn default_shell() -> Vec<String> {
    let shell: &[&str] = if Path::new("/bin/bash").exists() || Path::new("/usr/bin/bash").exists() {
        &["bash", "-euo", "pipefail", "-c"]
    } else {
        &["/bin/sh", "-euc"]
    };
    shell.iter().map(|part| (*part).to_owned()).collect()
}

/// The processors this process may use, as they were when it was first asked.
pub fn cpus() -> u32 {
    static CPUS: LazyLock<u32> = LazyLock::new(|| {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        u32::try_from(cpus).unwrap_or(u32::MAX)
    });
    *CPUS
}
