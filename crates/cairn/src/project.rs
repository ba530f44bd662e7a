//! Where things are: the project, its settings, its pipelines, its state folder.
//!
//! The project is the nearest folder, from the current one upwards, that holds a `cairn.toml`; without one, each
//! pipeline file's folder is a project of its own. Its pipelines are those that `pipelines` in `cairn.toml` names, else
//! `pipeline.toml`, `*.toml` with a `[stages]` table, `pipelines/*.toml` with one and `pipelines/*/pipeline.toml`. State
//! lives in `.cairn` in the project, or where `--state` says.

mod claim;
mod list;
mod settle;

pub(crate) use claim::claim;
pub(crate) use settle::{Settled, name};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cairn_dag::Source;

use crate::args::Globals;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::terminal::{Terminal, text};
use crate::work::Definition;

/// Name of the settings file, by which a project is known.
pub(crate) const SETTINGS: &str = "cairn.toml";
/// Name of the state folder.
pub(crate) const STATE: &str = ".cairn";
/// Name of a folder's pipeline file.
pub(crate) const PIPELINE: &str = "pipeline.toml";

/// The folder that a command works in.
#[derive(Debug)]
pub(crate) struct Project {
    /// The project's folder, absolute and without links.
    pub(crate) root: PathBuf,
    /// What `cairn.toml` says; the defaults where there is none.
    pub(crate) settings: Settings,
    /// Whether there is a `cairn.toml`, or `--project` was given: then all pipelines share the folder's state.
    shared: bool,
    /// The current folder, absolute.
    cwd: PathBuf,
    /// `--state`, absolute.
    state: Option<PathBuf>,
}

/// A pipeline file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PipelineFile {
    /// The file, absolute.
    pub(crate) path: PathBuf,
    /// The file as people are shown it: relative to the current folder where that is shorter.
    pub(crate) shown: String,
    /// The folder that holds it, absolute and without links.
    pub(crate) folder: PathBuf,
    /// Its project, absolute and without links; `folder` lies in it.
    pub(crate) root: PathBuf,
    /// Its state folder.
    pub(crate) state: PathBuf,
    /// Its name where it does not say: the folder's for `pipeline.toml`, else the file's.
    pub(crate) default_name: String,
}

impl PipelineFile {
    /// Reads the file.
    pub(crate) fn read(&self) -> Result<Definition, Failure> {
        let bytes = read_bounded(&self.path).map_err(|error| unreadable(&self.shown, &error))?;
        Ok(Definition {
            root: self.root.clone(),
            state: self.state.clone(),
            file: self.path.clone(),
            shown: self.shown.clone(),
            default_name: self.default_name.clone(),
            bytes,
        })
    }
}

impl Project {
    /// Finds the project of the current folder.
    pub(crate) fn find(globals: &Globals, terminal: &Terminal) -> Result<Self, Failure> {
        let cwd = std::env::current_dir().map_err(|error| {
            Failure::of(ExitStatus::Wrong, &error)
                .help("the current folder was removed; change to another one")
        })?;
        let cwd = real(&cwd)?;
        let start = match &globals.project {
            Some(folder) => real(&cwd.join(folder))?,
            None => cwd.clone(),
        };
        Self::at(&start, globals, cwd, terminal)
    }

    /// Finds the project that `start` belongs to.
    fn at(start: &Path, globals: &Globals, cwd: PathBuf, terminal: &Terminal) -> Result<Self, Failure> {
        let state = globals.state.as_ref().map(|state| absolute(&cwd, state));
        let nearest = |name: &str| start.ancestors().find(|folder| folder.join(name).exists());
        let (root, shared) = if globals.project.is_some() {
            (start, true)
        } else if let Some(root) = nearest(SETTINGS) {
            (root, true)
        } else {
            // In a subfolder of a project without settings.
            let root = start
                .ancestors()
                .find(|folder| folder.join(PIPELINE).exists() || folder.join(STATE).exists());
            (root.unwrap_or(start), false)
        };
        let settings = read_settings(root, &cwd, terminal)?;
        Ok(Self { root: root.to_owned(), settings, shared, cwd, state })
    }

    /// Returns the state folders of the project: one, or without settings one for each folder with pipelines.
    ///
    /// Those that exist, and the first place where one would be made when none does.
    pub(crate) fn states(&self) -> Vec<PathBuf> {
        if let Some(state) = &self.state {
            return vec![state.clone()];
        }
        let own = self.root.join(STATE);
        if self.shared || own.exists() {
            return vec![own];
        }
        let mut states: Vec<PathBuf> = self.pipelines().into_iter().map(|pipeline| pipeline.state).collect();
        states.dedup();
        let existing: Vec<PathBuf> = states.iter().filter(|state| state.exists()).cloned().collect();
        match (existing.is_empty(), states.is_empty()) {
            (false, _) => existing,
            (true, false) => states[..1].to_vec(),
            (true, true) => vec![own],
        }
    }

    /// Returns the one state folder that commands on runs look into.
    pub(crate) fn state(&self) -> Result<PathBuf, Failure> {
        let states = self.states();
        match states.as_slice() {
            [state] => Ok(state.clone()),
            several => {
                let folders: Vec<String> =
                    several.iter().filter_map(|state| Some(self.shown(state.parent()?))).collect();
                let help = format!(
                    "choose one with `--project`: {}; or write a `cairn.toml` here, so that they share one",
                    text::list(&folders)
                );
                Err(Failure::wrong("there are several projects below this folder").help(help))
            }
        }
    }

    /// Returns the project that a state folder of [`Project::states`] belongs to: what files in it are relative to.
    pub(crate) fn root_of(&self, state: &Path) -> PathBuf {
        match state.parent() {
            Some(folder) if self.state.is_none() && state.ends_with(STATE) => folder.to_owned(),
            _ => self.root.clone(),
        }
    }

    /// Returns a path as people are shown it: relative to the current folder where it lies below it.
    pub(crate) fn shown(&self, path: &Path) -> String {
        shown(&self.cwd, path)
    }

    /// Returns the current folder, absolute.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// Describes the pipeline file at an absolute path.
    fn describe(&self, path: &Path) -> Result<PipelineFile, Failure> {
        let folder = real(path.parent().unwrap_or(&self.root))?;
        let shared = self.shared && folder.starts_with(&self.root);
        let root = if shared { self.root.clone() } else { folder.clone() };
        let state = self.state.clone().unwrap_or_else(|| root.join(STATE));
        let file = path.file_name().unwrap_or_default();
        let named_by = if file == PIPELINE { folder.file_name() } else { path.file_stem() };
        let default_name = named_by.unwrap_or_default().to_string_lossy().into_owned();
        let shown = self.shown(path);
        Ok(PipelineFile { path: path.to_owned(), shown, folder, root, state, default_name })
    }
}

fn read_settings(root: &Path, cwd: &Path, terminal: &Terminal) -> Result<Settings, Failure> {
    let path = root.join(SETTINGS);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(error) => return Err(unreadable(&shown(cwd, &path), &error)),
    };
    Settings::parse(&bytes).map_err(|report| {
        let name = shown(cwd, &path);
        let source = Source { path: &name, bytes: &bytes };
        Failure::drawn(ExitStatus::Wrong, report.render(&source, terminal.stderr.report_style()))
    })
}

/// A definition longer than this is refused by the language; reading one byte more tells. `/dev/zero` has no end.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Reads a file as far as a definition may be long. A FIFO would wait for a writer, so only regular files are read.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Says that a file cannot be read.
pub(crate) fn unreadable(shown: &str, error: &io::Error) -> Failure {
    Failure::wrong(format!("cannot read `{shown}`")).because_of(Some(error))
}

/// Returns a folder without links in its path.
fn real(folder: &Path) -> Result<PathBuf, Failure> {
    fs::canonicalize(folder).map_err(|error| {
        Failure::wrong(format!("cannot use the folder `{}`", folder.display())).because_of(Some(&error))
    })
}

/// Returns `path` absolute, with its links resolved as far as it exists.
fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    let joined = cwd.join(path);
    fs::canonicalize(&joined).unwrap_or(joined)
}

fn shown(cwd: &Path, path: &Path) -> String {
    match path.strip_prefix(cwd) {
        Ok(below) if below.as_os_str().is_empty() => ".".to_owned(),
        Ok(below) => below.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}
