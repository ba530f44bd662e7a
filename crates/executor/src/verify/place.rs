//! A place in which an instance is executed to be verified: a copy of what it reads, or of the whole project, in which
//! nothing leads back to the files that were copied.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use cairn_content::{FileError, ObjectError, Stamp, copy, durable};
use cairn_dag::Instance;
use cairn_model::{Content, Digest, EntryKind, FileContent, Level, Manifest, OutputKind, ProjectPath};
use cairn_records::database;

use super::surroundings::{Surroundings, walk, walk_with_folders};
use crate::Engine;
use crate::environment::EPOCH_SECONDS;
use crate::gather::{Gathered, Origin};

/// Whether an execution finds the outputs of the time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// As cairn starts it: there are none.
    Nothing,
    /// They stand where they belong.
    Standing,
}

/// Why there is no place to execute an instance in.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// An output is no longer in the content store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An input is no longer what was hashed.
    #[error("`{}` changed while it was being copied", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// What records are loaded into, or the memory of a load, cannot be made or read.
    #[error("{0}")]
    Memory(String),
}

impl PlaceError {
    /// Returns whether there was no room left.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::File(error) | Self::Object(ObjectError::Io(error)) => error.is_disk_full(),
            Self::Object(_) | Self::Changed { .. } | Self::Memory(_) => false,
        }
    }

    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::File(error) => error.help(),
            Self::Object(error) => error.help(),
            Self::Memory(_) => None,
            Self::Changed { .. } => Some("verify again when nobody writes to it".to_owned()),
        }
    }
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> PlaceError + 'a {
    move |cause| FileError { action, path: path.to_owned(), cause }.into()
}

/// The folders of one place; [`Place::remove`] removes them, and whoever owns the scratch folder does in the end.
pub(super) struct Place {
    folder: PathBuf,
    state: PathBuf,
    /// The folder that is looked at: the copy of the project, or the working folder.
    pub(super) top: PathBuf,
    /// The folder that the command starts in.
    pub(super) base: PathBuf,
    /// What stands in `top` that is not an output of the instance.
    pub(super) before: Surroundings,
    /// Copies of the databases among that: their paths in `top` and where the copies are.
    pub(super) databases: BTreeMap<PathBuf, PathBuf>,
    copies: u32,
}

/// What a place is made for.
pub(super) struct Wanted<'a> {
    pub(super) engine: &'a Engine,
    pub(super) instance: &'a Instance,
    pub(super) gathered: &'a Gathered,
    pub(super) recorded: &'a Manifest,
    pub(super) level: Level,
    pub(super) start: Start,
    pub(super) large: &'a Large,
}

impl Place {
    /// Makes one in the new folder `folder`.
    pub(super) fn make(folder: PathBuf, wanted: &Wanted<'_>) -> Result<Self, PlaceError> {
        let project = &wanted.engine.project;
        let top = folder.join("work");
        folders(&top)?;
        let base = if wanted.level == Level::Off {
            copy_project(project.root(), project.state(), &top)?;
            match project.folder().strip_prefix(project.root()) {
                Ok(below) => top.join(below),
                Err(_) => top.clone(),
            }
        } else {
            top.clone()
        };
        let state = project.state().to_owned();
        let mut place = Self {
            folder,
            state,
            top,
            base,
            before: Surroundings::default(),
            databases: BTreeMap::new(),
            copies: 0,
        };
        place.fill(wanted)?;
        let own = place.own(wanted.instance);
        place.before = Surroundings::look(&place.top, None, &own).map_err(at("read", &place.top))?;
        for path in place.before.databases(&place.top) {
            let copied = place.copy_database(&path)?;
            place.databases.insert(path, copied);
        }
        Ok(place)
    }

    /// Returns whether a path in `top` belongs to the instance's outputs.
    pub(super) fn own(&self, instance: &Instance) -> impl Fn(&Path) -> bool + use<> {
        let prefix = self.base.strip_prefix(&self.top).unwrap_or(Path::new("")).to_owned();
        let outputs: Vec<PathBuf> =
            instance.outputs.iter().map(|output| output.path.below(&prefix)).collect();
        move |below: &Path| {
            outputs.iter().any(|output| {
                // What a database has beside it is the database's.
                let is_beside = || {
                    let name = below.file_name().and_then(std::ffi::OsStr::to_str);
                    let beside = database::COMPANIONS.iter().find_map(|ending| name?.strip_suffix(ending));
                    beside.is_some_and(|owner| below.with_file_name(owner) == *output)
                };
                below.starts_with(output) || is_beside()
            })
        }
    }

    /// Puts inputs and outputs in place. The last are put first: the order in which a folder lists its files may follow
    /// from that, and is to be another than that of a run.
    fn fill(&mut self, wanted: &Wanted<'_>) -> Result<(), PlaceError> {
        let project = &wanted.engine.project;
        let is_copied = wanted.level == Level::Off;
        for input in wanted.gathered.files.iter().rev() {
            let to = input.path.below(&self.base);
            let made = matches!(input.origin, Origin::Made);
            if is_copied && !made {
                continue;
            }
            self.clear(&to)?;
            let source = (!made).then(|| project.on_disk(&input.path));
            let large = (!is_copied).then_some(wanted.large);
            let put = Put { engine: wanted.engine, path: &input.path, source, large, is_input: true };
            put.content(&input.content, &to)?;
        }
        for declared in &wanted.instance.outputs {
            let to = declared.path.below(&self.base);
            self.clear(&to)?;
            let folder = if declared.kind == OutputKind::Folder { Some(to.as_path()) } else { to.parent() };
            folders(folder.unwrap_or(&self.base))?;
        }
        if wanted.start == Start::Standing {
            for output in &wanted.recorded.outputs {
                let to = output.path.below(&self.base);
                self.clear(&to)?;
                let (engine, path) = (wanted.engine, &output.path);
                let put = Put { engine, path, source: None, large: None, is_input: false };
                put.content(&output.content, &to)?;
            }
        }
        Ok(())
    }

    fn clear(&self, path: &Path) -> Result<(), PlaceError> {
        Ok(durable::remove_tree(&self.state, path)?)
    }

    /// Makes a new folder of the place.
    pub(super) fn folder(&mut self, name: &str) -> Result<PathBuf, PlaceError> {
        self.copies += 1;
        let folder = self.folder.join(format!("{name}-{}", self.copies));
        folders(&folder)?;
        Ok(folder)
    }

    /// Copies the database at a path in `top`, with what it has beside it.
    pub(super) fn copy_database(&mut self, below: &Path) -> Result<PathBuf, PlaceError> {
        let folder = self.folder("database")?;
        let copied = folder.join("database");
        copy_database(&self.top.join(below), &copied)?;
        Ok(copied)
    }

    /// Removes it.
    pub(super) fn remove(self) -> Result<(), PlaceError> {
        Ok(durable::remove_tree(&self.state, &self.folder)?)
    }
}

/// Copies a database with what stands beside it, if nobody writes to it meanwhile. It is not opened: that would write to it.
pub(super) fn copy_database(from: &Path, to: &Path) -> Result<(), PlaceError> {
    // What stands beside it stands beside the file itself, wherever a link to it is. One that is not there has no copy.
    let from = &fs::canonicalize(from).unwrap_or_else(|_| from.to_owned());
    let parts: Vec<(PathBuf, PathBuf)> = std::iter::once("")
        .chain(database::COMPANIONS.into_iter().filter(|ending| *ending != "-shm"))
        .map(|ending| (with_ending(from, ending), with_ending(to, ending)))
        .collect();
    let looks = || -> Vec<Option<Stamp>> {
        parts.iter().map(|(from, _)| fs::metadata(from).ok().map(|data| Stamp::of(&data))).collect()
    };
    let before = looks();
    for ((from, to), there) in parts.iter().zip(&before) {
        if there.is_some() {
            copy::file(from, to)?;
        }
    }
    if looks() == before { Ok(()) } else { Err(PlaceError::Changed { path: from.clone() }) }
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn folders(folder: &Path) -> Result<(), PlaceError> {
    fs::create_dir_all(folder).map_err(at("make the folder", folder))
}

/// Where the bytes of what is put in place come from, and how.
struct Put<'a> {
    engine: &'a Engine,
    path: &'a ProjectPath,
    /// The file or folder of the project; without one they come from the content store.
    source: Option<PathBuf>,
    /// For inputs that are linked to when they are large.
    large: Option<&'a Large>,
    /// Whether its time is that of all staged inputs, and not now.
    is_input: bool,
}

impl Put<'_> {
    fn content(&self, content: &Content, to: &Path) -> Result<(), PlaceError> {
        let tree = match content {
            Content::File(file) => return self.file(Path::new(""), file, to),
            Content::Folder(tree) => tree,
        };
        folders(to)?;
        for entry in tree.entries.iter().rev() {
            let below = Path::new(OsStr::from_bytes(&entry.path));
            let to = to.join(below);
            match &entry.kind {
                EntryKind::Folder => folders(&to)?,
                EntryKind::Link(target) => {
                    folders(to.parent().expect("it lies in a folder"))?;
                    symlink(OsStr::from_bytes(target), &to).map_err(at("make the link", &to))?;
                }
                EntryKind::File(file) => self.file(below, file, &to)?,
            }
        }
        Ok(())
    }

    fn file(&self, below: &Path, content: &FileContent, to: &Path) -> Result<(), PlaceError> {
        folders(to.parent().expect("it lies in a folder"))?;
        let joined = |folder: PathBuf| if below.as_os_str().is_empty() { folder } else { folder.join(below) };
        let source = self.source.clone().map(joined);
        match self.large.filter(|_| content.size >= LARGE_MIN && !content.executable) {
            None => {
                let placed = joined(self.engine.project.on_disk(self.path));
                let file = copy_file(self.engine, &placed, content, source.as_deref(), to)?;
                if self.is_input {
                    let epoch = UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS.unsigned_abs());
                    file.set_times(FileTimes::new().set_modified(epoch))
                        .map_err(at("set the time of", to))?;
                }
                Ok(())
            }
            Some(large) => {
                let copied =
                    large.copy(content, || Put { source: source.clone(), large: None, ..*self }, below)?;
                symlink(&copied, to).map_err(at("make the link", to))
            }
        }
    }
}

/// Makes the new file `to` with the bytes of `content`. `placed` is where it stands in the project, for the case that the
/// content store lost it.
pub(super) fn copy_file(
    engine: &Engine,
    placed: &Path,
    content: &FileContent,
    source: Option<&Path>,
    to: &Path,
) -> Result<File, PlaceError> {
    let objects = &engine.kept().objects;
    let lost = source.is_none() && !objects.contains(&content.digest, content.size);
    let file = match source.or(lost.then_some(placed)) {
        None => objects.copy_out(content, to)?,
        Some(source) => {
            let copied = copy::file(source, to)?;
            if copied.digest != content.digest {
                return Err(PlaceError::Changed { path: source.to_owned() });
            }
            copied.file
        }
    };
    let mode = if content.executable { 0o755 } else { 0o644 };
    file.set_permissions(fs::Permissions::from_mode(mode)).map_err(at("set the mode of", to))?;
    Ok(file)
}

/// Inputs from this size on are linked to, as in a run.
const LARGE_MIN: u64 = 1024 * 1024;

/// The large inputs of an instance: copied once, and linked to from each of its places.
pub(super) struct Large {
    folder: PathBuf,
    copied: Mutex<BTreeMap<Digest, (String, PathBuf, Stamp)>>,
}

impl Large {
    /// Makes the new folder `folder` for them.
    pub(super) fn new(folder: PathBuf) -> Result<Self, PlaceError> {
        folders(&folder)?;
        Ok(Self { folder, copied: Mutex::default() })
    }

    fn copy<'a>(
        &self,
        content: &FileContent,
        put: impl FnOnce() -> Put<'a>,
        below: &Path,
    ) -> Result<PathBuf, PlaceError> {
        let mut copied = self.copied();
        if let Some((_, path, _)) = copied.get(&content.digest) {
            return Ok(path.clone());
        }
        let (put, path) = (put(), self.folder.join(content.digest.to_string()));
        put.file(below, content, &path)?;
        let stamp = Stamp::of(&fs::metadata(&path).map_err(at("read", &path))?);
        let shown =
            Path::new(put.path.as_str()).join(below).to_string_lossy().trim_end_matches('/').to_owned();
        copied.insert(content.digest, (shown, path.clone(), stamp));
        Ok(path)
    }

    /// Returns one that was written to through its link.
    pub(super) fn first_written(&self) -> Option<String> {
        let is_as_made =
            |path: &Path, stamp: Stamp| fs::metadata(path).is_ok_and(|now| Stamp::of(&now) == stamp);
        let copied = self.copied();
        let written = copied.values().find(|(_, path, stamp)| !is_as_made(path, *stamp));
        written.map(|(shown, ..)| shown.clone())
    }

    fn copied(&self) -> MutexGuard<'_, BTreeMap<Digest, (String, PathBuf, Stamp)>> {
        // Each change to it is one call, so that a thread that panicked left it whole.
        self.copied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Copies all files and folders of the project `root` but its state, with their modes and times.
fn copy_project(root: &Path, state: &Path, to: &Path) -> Result<(), PlaceError> {
    let mut found = Vec::new();
    walk_with_folders(root, &mut |below, metadata| {
        if !root.join(below).starts_with(state) {
            found.push((below.to_owned(), metadata.clone()));
        }
        Ok(())
    })
    .map_err(at("read", root))?;
    for (below, metadata) in found {
        let (from, to) = (root.join(&below), to.join(&below));
        if metadata.is_dir() {
            folders(&to)?;
            continue;
        }
        folders(to.parent().expect("it lies in a folder"))?;
        if metadata.is_symlink() {
            match stays(root, &below).map_err(at("read", &from))? {
                Some(target) => symlink(target, &to).map_err(at("make the link", &to))?,
                // What it leads to is not to be written to.
                None if database::is_database(&from).unwrap_or(false) => copy_database(&from, &to)?,
                None if from.is_file() => drop(copy::file(&from, &to)?),
                None => {}
            }
            continue;
        }
        let file = copy::file(&from, &to)?.file;
        let rights = fs::Permissions::from_mode(metadata.permissions().mode() & 0o777 | 0o600);
        let set = file.set_permissions(rights).and_then(|()| match metadata.modified() {
            Ok(modified) => file.set_times(FileTimes::new().set_modified(modified)),
            Err(_) => Ok(()),
        });
        set.map_err(at("set the mode of", &to))?;
    }
    Ok(())
}

/// Returns what a link in the project says if it is relative and stays in it.
fn stays(root: &Path, below: &Path) -> io::Result<Option<PathBuf>> {
    let target = fs::read_link(root.join(below))?;
    let mut depth = below.components().count() - 1;
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Ok(None),
        }
    }
    Ok(Some(target))
}

/// Returns a folder of the project that lies outside of it, by a link: a copy of the project lacks it.
pub(super) fn folder_outside(root: &Path, state: &Path) -> io::Result<Option<PathBuf>> {
    let mut found = None;
    walk(root, &mut |below, metadata| {
        let path = root.join(below);
        let leads_out = metadata.is_symlink() && !path.starts_with(state) && stays(root, below)?.is_none();
        if found.is_none() && leads_out && path.is_dir() {
            found = Some(below.to_owned());
        }
        Ok(())
    })?;
    Ok(found)
}
