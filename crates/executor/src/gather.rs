//! From an instance to its recipe: every declared input is found, hashed and written down.
//!
//! Outputs of other instances are taken from their manifests, not from disk: what an instance reads is what the
//! instance before it made, whoever touched the file since.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cairn_content::{DigestError, Digests, Found, FoundTree};
use cairn_dag::{Entry, Glob, Input, InputKind, Instance, Made, Pipeline, Unlisted, World};
use cairn_model::{
    Content, Domain, InputHash, InputKey, Manifest, Output, OutputKind, ProjectPath, Recipe, RecipeInput,
    RunId, Timestamp, Tree,
};
use cairn_store::Store;

use crate::answers::Answers;
use crate::environment;
use crate::project::Project;

/// An instance's recipe, and where the bytes of its inputs are.
#[derive(Debug)]
pub struct Gathered {
    /// The recipe's canonical encoding.
    pub preimage: Vec<u8>,
    /// The encoding's digest.
    pub input_hash: InputHash,
    /// The inputs that are files and folders.
    pub files: Vec<InputFile>,
    /// When they were looked at.
    pub at: Instant,
}

/// An input that is a file or a folder.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Where the stage sees it.
    pub path: ProjectPath,
    /// What is in it.
    pub content: Content,
    /// Where its bytes are.
    pub origin: Origin,
}

/// Where the bytes of an input are.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file of the project that no instance makes.
    Source(Found),
    /// A folder of the project.
    SourceTree(FoundTree),
    /// An instance made it: the bytes are in the content store.
    Made,
}

/// Why a recipe cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// A declared input is not there.
    #[error("input `{path}` does not exist")]
    Missing {
        /// The path.
        path: ProjectPath,
    },
    /// A glob matches nothing.
    #[error("no file matches input `{pattern}`")]
    NoMatch {
        /// The glob.
        pattern: String,
    },
    /// The folder of a glob cannot be listed.
    #[error("cannot list the files of input `{pattern}`: {cause}")]
    List {
        /// The glob.
        pattern: String,
        /// What stands in the way.
        cause: Unlisted,
    },
    /// An input is no file or folder that could be read, or it changes while it is read.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// An input is something else than a file or a folder.
    #[error("input `{path}` is {what}")]
    Unusable {
        /// The path.
        path: ProjectPath,
        /// What it is.
        what: String,
    },
    /// A file inside another instance's output folder was declared as input, and is not there.
    #[error("input `{path}` was not made: `{maker}` left no such file in its output folder")]
    NotMade {
        /// The path.
        path: ProjectPath,
        /// The instance that makes the folder.
        maker: String,
    },
    /// An instance that makes an input is not done and takes no part in the run.
    #[error("`{maker}`, which makes an input, is not done")]
    NotDone {
        /// The instance.
        maker: String,
    },
    /// A command whose output is an input failed.
    #[error("the command `{command}`, whose output is an input, {what}")]
    Command {
        /// The command.
        command: String,
        /// What happened.
        what: String,
    },
}

impl GatherError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Missing { path } => {
                Some(format!("make `{path}`, correct its name in `inputs`, or write `optional = true`"))
            }
            Self::NoMatch { .. } => Some("correct the pattern, or write `optional = true`".to_owned()),
            Self::List { cause, .. } => Some(cause.help().to_owned()),
            Self::Digest(error) => error.help(),
            Self::Unusable { .. } => Some("inputs are regular files and folders".to_owned()),
            Self::NotMade { maker, .. } => Some(format!("see what `{maker}` writes into its output folder")),
            Self::NotDone { maker } => Some(format!("run `{maker}` first, or leave `--only` out")),
            Self::Command { .. } => Some("run it by hand in the pipeline's folder".to_owned()),
        }
    }
}

/// Gives the manifest of an instance that is done.
pub type Manifests<'a> = dyn Fn(u32) -> Option<Arc<Manifest>> + 'a;

/// Gathers the inputs of one pipeline's instances within one run.
pub struct Gatherer {
    project: Project,
    pipeline: Arc<Pipeline>,
    world: Arc<dyn World + Send + Sync>,
    digests: Arc<Digests>,
    store: Option<Store>,
    caller_env: BTreeMap<String, String>,
    run: RunId,
    logical_time: Timestamp,
    declared: HashSet<ProjectPath>,
    globs: Mutex<HashMap<String, Arc<Vec<ProjectPath>>>>,
    answers: Answers,
    /// Whether remains of instances that are gone were left out.
    remains: AtomicBool,
}

/// What a [`Gatherer`] works on.
pub struct Scene {
    /// The folders.
    pub project: Project,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The disk, as the language asks for it.
    pub world: Arc<dyn World + Send + Sync>,
    /// Digests of files.
    pub digests: Arc<Digests>,
    /// The store, where there is one already.
    pub store: Option<Store>,
    /// The caller's environment, for `pass_env` and `{ env = … }`.
    pub caller_env: BTreeMap<String, String>,
    /// The run.
    pub run: RunId,
    /// Its logical time.
    pub logical_time: Timestamp,
}

impl Gatherer {
    /// Makes a gatherer for one run.
    pub fn new(scene: Scene) -> Self {
        let Scene { project, pipeline, world, digests, store, caller_env, run, logical_time } = scene;
        let outputs = pipeline.instances.iter().flat_map(|instance| &instance.outputs);
        let declared = outputs.map(|output| output.path.clone()).collect();
        let (globs, remains) = (Mutex::default(), AtomicBool::new(false));
        let answers = Answers::new(project.folder().to_owned(), project.state_id());
        Self {
            project,
            pipeline,
            world,
            digests,
            store,
            caller_env,
            run,
            logical_time,
            declared,
            globs,
            answers,
            remains,
        }
    }

    /// Returns the values of an instance's `pass_env`.
    pub fn passed(&self, instance: &Instance) -> BTreeMap<String, Option<String>> {
        instance.pass_env.iter().map(|name| (name.clone(), self.caller_env.get(name).cloned())).collect()
    }

    /// Returns a variable of the caller's environment.
    pub fn variable(&self, name: &str) -> Option<&String> {
        self.caller_env.get(name)
    }

    /// Makes the recipe of `instance`; `made` gives the manifests of the instances it needs.
    pub fn gather(&self, instance: &Instance, made: &Manifests<'_>) -> Result<Gathered, GatherError> {
        let mut inputs = BTreeMap::new();
        let mut files: BTreeMap<ProjectPath, InputFile> = BTreeMap::new();
        let mut sources: BTreeMap<ProjectPath, Vec<String>> = BTreeMap::new();
        for input in &instance.inputs {
            self.one(instance, input, made, &mut inputs, &mut files, &mut sources)?;
        }
        self.hash_sources(sources, &mut inputs, &mut files)?;
        let mut tools = BTreeMap::new();
        for tool in &instance.tools {
            let argv = vec![tool.clone(), "--version".to_owned()];
            tools.insert(tool.clone(), self.printed(instance, &argv, tool)?);
        }
        let recipe = Recipe {
            command: instance.command.clone(),
            env: self.recipe_env(instance),
            pass_env: self.passed(instance),
            tools,
            inputs,
            outputs: instance
                .outputs
                .iter()
                .map(|output| (output.path.clone(), (output.name.clone(), output.kind)))
                .collect(),
            salt: instance.salt.clone(),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            effect: instance.effect.as_ref().map(|effect| (effect.mode, effect.key.clone())),
            records: instance.records.clone(),
        };
        let preimage = recipe.encode();
        let input_hash = InputHash::of_preimage(&preimage);
        Ok(Gathered { preimage, input_hash, files: files.into_values().collect(), at: Instant::now() })
    }

    /// The declared variables, and the run's own where the command names them: then they decide its result.
    fn recipe_env(&self, instance: &Instance) -> BTreeMap<String, String> {
        let mut env = instance.env.clone();
        let argv = instance.command.argv();
        let names = |variable: &str| argv.iter().any(|part| part.contains(variable));
        if names(environment::LOGICAL_TIME) {
            env.insert(environment::LOGICAL_TIME.to_owned(), environment::rfc3339(self.logical_time));
        }
        if names("CAIRN_STAGE") {
            env.insert("CAIRN_STAGE".to_owned(), instance.name.to_string());
        }
        if names("CAIRN_RUN_ID") {
            env.insert("CAIRN_RUN_ID".to_owned(), self.run.to_string());
        }
        env
    }

    fn one(
        &self,
        instance: &Instance,
        input: &Input,
        made: &Manifests<'_>,
        inputs: &mut BTreeMap<InputKey, RecipeInput>,
        files: &mut BTreeMap<ProjectPath, InputFile>,
        sources: &mut BTreeMap<ProjectPath, Vec<String>>,
    ) -> Result<(), GatherError> {
        let mut add_made = |path: &ProjectPath, content: Content| {
            let key = InputKey { name: input.name.clone(), subject: path.to_string() };
            inputs.insert(key, recipe_input(&content, None));
            files.insert(path.clone(), InputFile { path: path.clone(), content, origin: Origin::Made });
        };
        match &input.kind {
            // A folder in which others put their outputs may hold sources as well: its files count one by one.
            InputKind::Path { path, made_by: _, holds } if !holds.is_empty() => {
                self.glob(input, &below(path), holds, made, inputs, files, sources)?;
            }
            InputKind::Path { path, made_by: None, .. } => match self.world.entry(path) {
                Entry::Missing if input.optional => {
                    let key = InputKey { name: input.name.clone(), subject: path.to_string() };
                    inputs.insert(key, RecipeInput::Missing);
                }
                Entry::Missing => return Err(GatherError::Missing { path: path.clone() }),
                _ => sources.entry(path.clone()).or_default().push(input.name.clone()),
            },
            InputKind::Path { path, made_by: Some(maker), .. } => {
                let (output, maker) = self.output(*maker, made)?;
                match content_at(&output, path) {
                    Some(content) => add_made(path, content),
                    None if input.optional => {
                        let key = InputKey { name: input.name.clone(), subject: path.to_string() };
                        inputs.insert(key, RecipeInput::Missing);
                    }
                    None => return Err(GatherError::NotMade { path: path.clone(), maker }),
                }
            }
            InputKind::Glob { pattern, made_by } => {
                self.glob(input, pattern, made_by, made, inputs, files, sources)?;
            }
            InputKind::Environment { variable } => {
                let key = InputKey { name: input.name.clone(), subject: variable.clone() };
                inputs.insert(key, RecipeInput::Environment(self.caller_env.get(variable).cloned()));
            }
            InputKind::Command { command } => {
                let argv: Vec<String> = command.argv().into_iter().map(str::to_owned).collect();
                let shown = command.to_string();
                let printed = self.printed(instance, &argv, &shown)?;
                let key = InputKey { name: input.name.clone(), subject: subject_of(shown) };
                inputs.insert(key, RecipeInput::Printed(printed));
            }
            InputKind::Stage { outputs } => {
                for maker in outputs {
                    let (output, _) = self.output(*maker, made)?;
                    add_made(&output.path, output.content);
                }
            }
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the three collections are one gathering in the making")]
    fn glob(
        &self,
        input: &Input,
        pattern: &str,
        made_by: &[Made],
        made: &Manifests<'_>,
        inputs: &mut BTreeMap<InputKey, RecipeInput>,
        files: &mut BTreeMap<ProjectPath, InputFile>,
        sources: &mut BTreeMap<ProjectPath, Vec<String>>,
    ) -> Result<(), GatherError> {
        let glob = Glob::parse(pattern).expect("checked when the pipeline was loaded");
        let mut any = false;
        for maker in made_by {
            for (path, content) in files_of(&self.output(*maker, made)?.0) {
                if glob.is_match(&path) {
                    any = true;
                    let key = InputKey { name: input.name.clone(), subject: path.to_string() };
                    inputs.insert(key, recipe_input(&content, None));
                    files.insert(path.clone(), InputFile { path, content, origin: Origin::Made });
                }
            }
        }
        for path in self.matches(pattern, &glob)?.iter() {
            any = true;
            sources.entry(path.clone()).or_default().push(input.name.clone());
        }
        if !any && !input.optional {
            return Err(GatherError::NoMatch { pattern: pattern.to_owned() });
        }
        Ok(())
    }

    /// Hashes the files and folders that no instance makes, all of them at once.
    fn hash_sources(
        &self,
        sources: BTreeMap<ProjectPath, Vec<String>>,
        inputs: &mut BTreeMap<InputKey, RecipeInput>,
        files: &mut BTreeMap<ProjectPath, InputFile>,
    ) -> Result<(), GatherError> {
        let mut single = Vec::new();
        for (path, names) in sources {
            let on_disk = self.project.on_disk(&path);
            match self.world.entry(&path) {
                Entry::File => single.push((path, names, on_disk)),
                Entry::Folder => {
                    let found = self.digests.tree(&on_disk)?;
                    let content = Content::Folder(found.tree.clone());
                    let recipe = recipe_input(&content, found.link.clone());
                    for name in names {
                        inputs.insert(InputKey { name, subject: path.to_string() }, recipe.clone());
                    }
                    files
                        .insert(path.clone(), InputFile { path, content, origin: Origin::SourceTree(found) });
                }
                Entry::Missing => return Err(GatherError::Missing { path }),
                other => return Err(GatherError::Unusable { path, what: describe(&other) }),
            }
        }
        let on_disk: Vec<PathBuf> = single.iter().map(|(.., on_disk)| on_disk.clone()).collect();
        for ((path, names, _), found) in single.into_iter().zip(self.digests.files(&on_disk)) {
            let found = found?;
            let content = Content::File(found.content);
            let recipe = recipe_input(&content, found.link.clone());
            for name in names {
                inputs.insert(InputKey { name, subject: path.to_string() }, recipe.clone());
            }
            files.insert(path.clone(), InputFile { path, content, origin: Origin::Source(found) });
        }
        Ok(())
    }

    /// Returns an output as its instance made it, with the instance's name.
    fn output(
        &self,
        Made { instance, output }: Made,
        made: &Manifests<'_>,
    ) -> Result<(Output, String), GatherError> {
        let maker = &self.pipeline.instances[instance as usize];
        let declared = &maker.outputs[output as usize];
        let not_done = || GatherError::NotDone { maker: maker.name.to_string() };
        let manifest = made(instance).ok_or_else(not_done)?;
        let output = manifest.outputs.iter().find(|output| output.path == declared.path);
        let output = output.expect("a manifest holds every declared output").clone();
        Ok((output, maker.name.to_string()))
    }

    /// Returns the files on disk that match and that no instance makes or made.
    fn matches(&self, pattern: &str, glob: &Glob) -> Result<Arc<Vec<ProjectPath>>, GatherError> {
        if let Some(known) = self.globs.lock().expect("no panic while it is held").get(pattern) {
            return Ok(Arc::clone(known));
        }
        let found = self.world.matches(glob);
        let mut found = found.map_err(|cause| GatherError::List { pattern: pattern.to_owned(), cause })?;
        found.retain(|path| !self.is_declared(path));
        found = self.without_remains(found)?;
        let found = Arc::new(found);
        self.globs.lock().expect("no panic while it is held").insert(pattern.to_owned(), Arc::clone(&found));
        Ok(found)
    }

    fn is_declared(&self, path: &ProjectPath) -> bool {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if self.declared.contains(&path) {
                return true;
            }
            at = path.parent();
        }
        false
    }

    /// Leaves out what an instance of this pipeline that is there no more left behind: what cairn placed and nobody edited
    /// since, be it the file itself or an output folder around it.
    fn without_remains(&self, found: Vec<ProjectPath>) -> Result<Vec<ProjectPath>, GatherError> {
        let Some(store) = &self.store else { return Ok(found) };
        let mut kept = Vec::with_capacity(found.len());
        let mut folders: HashMap<ProjectPath, bool> = HashMap::new();
        let keys: Vec<String> = found.iter().map(|path| self.project.store_key(path)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        // Where the store does not tell, a file counts as a source: that can only run a stage more often.
        let placed = store.placed_many(&keys).unwrap_or_else(|_| vec![None; found.len()]);
        for (path, placed) in found.into_iter().zip(placed) {
            let own = placed.filter(|placed| placed.pipeline == self.pipeline.name);
            let is_remains = match own {
                Some(placed) => {
                    self.digests.file(&self.project.on_disk(&path))?.content.digest == placed.content_digest
                }
                None => self.is_in_remains(store, &path, &mut folders)?,
            };
            if is_remains {
                self.remains.store(true, Ordering::Relaxed);
            } else {
                kept.push(path);
            }
        }
        Ok(kept)
    }

    fn is_in_remains(
        &self,
        store: &Store,
        path: &ProjectPath,
        known: &mut HashMap<ProjectPath, bool>,
    ) -> Result<bool, GatherError> {
        let Some(folder) = path.parent() else { return Ok(false) };
        if let Some(known) = known.get(&folder) {
            return Ok(*known);
        }
        let placed = store.placed(&self.project.store_key(&folder)).ok().flatten();
        let is_remains = match placed.filter(|placed| placed.pipeline == self.pipeline.name) {
            Some(placed) => {
                self.digests.tree(&self.project.on_disk(&folder))?.tree.digest() == placed.content_digest
            }
            None => self.is_in_remains(store, &folder, known)?,
        };
        known.insert(folder, is_remains);
        Ok(is_remains)
    }

    /// Returns whether remains were left out: then how the folders look does not tell all.
    pub fn left_out_remains(&self) -> bool {
        self.remains.load(Ordering::Relaxed)
    }

    /// Returns whether a command's result depends on which run executes it.
    pub fn depends_on_run(&self, instance: &Instance) -> bool {
        self.recipe_env(instance) != instance.env
    }

    /// Returns what a command prints; it is asked once a run.
    fn printed(&self, instance: &Instance, argv: &[String], shown: &str) -> Result<Vec<u8>, GatherError> {
        // The environment that the stage's own command gets, as far as the definition decides it.
        let mut env = environment::fixed();
        for (name, value) in self.passed(instance) {
            match value {
                Some(value) => env.insert(name, value),
                None => env.remove(&name),
            };
        }
        env.extend(instance.env.clone());
        let answer = self.answers.of(argv.to_vec(), env);
        answer.map_err(|what| GatherError::Command { command: shown.to_owned(), what })
    }
}

/// Returns the pattern of all files in a folder.
pub(crate) fn below(folder: &ProjectPath) -> String {
    format!("{}/**", Glob::escape(folder.as_str()))
}

/// A command as the key of its output; a long one by its digest.
fn subject_of(command: String) -> String {
    if command.len() <= SUBJECT_BYTES_MAX {
        return command;
    }
    Domain::Definition.digest(command.as_bytes()).to_string()
}

/// Keys are short, so that any explanation of them is.
const SUBJECT_BYTES_MAX: usize = 4096;

fn describe(entry: &Entry) -> String {
    match entry {
        Entry::Missing => "not there".to_owned(),
        Entry::File => "a file".to_owned(),
        Entry::Folder => "a folder".to_owned(),
        Entry::LinkLoop => "a link that leads back to itself".to_owned(),
        Entry::LeavesProject => "a link that leads out of the project".to_owned(),
        Entry::Special => "a named pipe, a socket or a device".to_owned(),
        Entry::Unreadable(cause) => format!("unreadable: {cause}"),
    }
}

fn recipe_input(content: &Content, link: Option<Vec<u8>>) -> RecipeInput {
    match content {
        Content::File(file) => RecipeInput::File { digest: file.digest, executable: file.executable, link },
        Content::Folder(tree) => RecipeInput::Folder { digest: tree.digest(), link },
    }
}

/// Returns what `output` holds at `path`: itself, or a file or folder in it.
fn content_at(output: &Output, path: &ProjectPath) -> Option<Content> {
    if output.path == *path {
        return Some(output.content.clone());
    }
    let Content::Folder(tree) = &output.content else { return None };
    let below = path.as_str().strip_prefix(output.path.as_str())?.strip_prefix('/')?.as_bytes();
    let entry = tree.entries.iter().find(|entry| entry.path == below)?;
    match &entry.kind {
        cairn_model::EntryKind::File(file) => Some(Content::File(*file)),
        cairn_model::EntryKind::Link(_) => None,
        cairn_model::EntryKind::Folder => {
            let inner = tree.entries.iter().filter_map(|entry| {
                let path = entry.path.strip_prefix(below)?.strip_prefix(b"/")?.to_vec();
                Some(cairn_model::TreeEntry { path, kind: entry.kind.clone() })
            });
            Some(Content::Folder(Tree::new(inner.collect())))
        }
    }
}

/// Returns the files of an output with their paths, those with names that are not UTF-8 left out: no glob matches them.
fn files_of(output: &Output) -> Vec<(ProjectPath, Content)> {
    let at = |below: &[u8]| {
        if below.is_empty() {
            return Some(output.path.clone());
        }
        output.path.join(std::str::from_utf8(below).ok()?).ok()
    };
    let files = output.content.files();
    files.filter_map(|(below, file)| Some((at(below)?, Content::File(*file)))).collect()
}

/// Returns whether standard output is a declared output: its path.
pub(crate) fn stdout_path(instance: &Instance) -> Option<&ProjectPath> {
    instance.outputs.iter().find(|output| output.kind == OutputKind::Stdout).map(|output| &output.path)
}
