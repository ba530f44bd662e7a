//! An attempt's working folder: its declared inputs at their places, and nothing else of the project.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cairn_content::durable::{self, Barrier, Rights};
use cairn_content::{DigestError, Digests, FileError, ObjectError, Objects, relocate};
use cairn_dag::Instance;
use cairn_model::{Content, EntryKind, FileContent, OutputKind, ProjectPath};

use crate::environment::EPOCH_SECONDS;
use crate::gather::{Gathered, InputFile, Origin};
use crate::project::Project;

/// Inputs below this size are copied, larger ones linked to by a symbolic link. A script must be a copy: run through a
/// link it would find its undeclared neighbours (Python puts the real file's folder first on its path). Copying is
/// cheap up to here; 4 GiB are not copied only to be read.
const COPY_MAX: u64 = 1024 * 1024;

/// The folders that each attempt has.
const FOLDERS: [&str; 3] = [WORK, "home", "tmp"];
const WORK: &str = "work";

/// The name of [`Staging::told`].
pub(crate) const TOLD: &str = "told";

/// The folders of one attempt.
#[derive(Debug, Clone)]
pub struct Staging {
    folder: PathBuf,
    /// How it was made, and all folders in it.
    rights: Rights,
    /// The folders in it, relative to it.
    folders: BTreeSet<PathBuf>,
    inputs: BTreeSet<PathBuf>,
}

/// Why a working folder cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The bytes of an input made by another instance are not in the content store.
    #[error("cannot take input `{path}` from the content store: {cause}")]
    Object {
        /// The input.
        path: ProjectPath,
        /// Why not.
        #[source]
        cause: ObjectError,
    },
    /// An input cannot be looked at again.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// An input is no longer what was hashed.
    #[error("input `{path}` changed while it was being staged")]
    Changed {
        /// The input.
        path: ProjectPath,
    },
}

impl StageError {
    /// Says what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::File(error) => error.help(),
            Self::Object { cause, .. } => cause.help(),
            Self::Digest(error) => error.help(),
            Self::Changed { .. } => {
                Some("see to it that nothing writes it while the pipeline runs, and run again".to_owned())
            }
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> StageError + '_ {
    |cause| StageError::File(FileError { action: "prepare", path: path.to_owned(), cause })
}

impl Staging {
    /// Makes the folders of an attempt below `folder`, empty.
    pub fn new(folder: PathBuf) -> Result<Self, StageError> {
        for part in std::iter::once(folder.clone()).chain(FOLDERS.map(|name| folder.join(name))) {
            fs::create_dir(&part).map_err(at(&part))?;
        }
        let folders = FOLDERS.map(PathBuf::from).into();
        Ok(Self { rights: Rights::of(&folder)?, folder, folders, inputs: BTreeSet::new() })
    }

    /// Makes the folders of an ended attempt ready for another: all that was in them is removed, and they are as they were
    /// made.
    pub fn empty(&mut self, state: &Path) -> Result<(), FileError> {
        self.inputs.clear();
        durable::empty_tree(state, &self.folder, &self.folders, self.rights)
    }

    /// Renames folders that were [emptied](Self::empty) to be those of the attempt below `folder`.
    pub fn renamed(self, folder: PathBuf) -> Result<Self, FileError> {
        durable::rename_new(&self.folder, &folder)?;
        Ok(Self { folder, ..self })
    }

    /// Returns the folder that all the others are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns how many folders there are in it.
    pub fn folders_count(&self) -> usize {
        self.folders.len()
    }

    /// Returns the working folder.
    pub fn work(&self) -> PathBuf {
        self.folder.join(WORK)
    }

    /// Returns the private `HOME`.
    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Returns the private `TMPDIR`.
    pub fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// Returns where outputs that stood in the project are kept while a command with `sandbox = "off"` runs.
    pub fn before(&self) -> PathBuf {
        self.folder.join("before")
    }

    /// Returns where it is written down what was collected, before anything of it is moved.
    pub fn collected(&self) -> PathBuf {
        self.folder.join("collected")
    }

    /// Returns the file that says that the command told of records what only the process knew that was told.
    pub fn told(&self) -> PathBuf {
        self.folder.join(TOLD)
    }

    /// Returns the folders below `folder` that another process had made and filled.
    pub fn found(folder: PathBuf, gathered: &Gathered) -> Result<Self, FileError> {
        let mut inputs = BTreeSet::new();
        for input in &gathered.files {
            let below = input.path.below(Path::new(""));
            match &input.content {
                Content::File(_) => drop(inputs.insert(below)),
                Content::Folder(tree) => {
                    let files = tree.entries.iter().filter(|entry| !matches!(entry.kind, EntryKind::Folder));
                    inputs.extend(files.map(|entry| below.join(as_path(&entry.path))));
                }
            }
        }
        let folders = FOLDERS.map(PathBuf::from).into();
        Ok(Self { rights: Rights::of(&folder)?, folder, folders, inputs })
    }

    /// Returns the paths, below the working folder, of all that was put there.
    pub fn inputs(&self) -> &BTreeSet<PathBuf> {
        &self.inputs
    }

    /// Puts the inputs in place and makes the folders of the outputs.
    pub fn fill(
        &mut self,
        project: &Project,
        instance: &Instance,
        gathered: &Gathered,
        objects: &Objects,
        digests: &Digests,
    ) -> Result<(), StageError> {
        let mut folders = Folders::new(self.work());
        self.keep_wanted(instance, gathered, &mut folders)?;
        for input in &gathered.files {
            self.put(input, project, objects, digests, &mut folders)?;
        }
        folders.make_for_outputs(instance)?;
        let relative = |folder: &PathBuf| folder.strip_prefix(&self.folder).ok().map(Path::to_owned);
        self.folders.extend(folders.made.iter().filter_map(relative));
        Ok(())
    }

    /// Removes the folders of an earlier attempt that this one does not have, and enters the others in `folders`.
    fn keep_wanted(
        &mut self,
        instance: &Instance,
        gathered: &Gathered,
        folders: &mut Folders,
    ) -> Result<(), StageError> {
        if self.folders.len() == FOLDERS.len() {
            return Ok(());
        }
        let outputs = instance.outputs.iter().map(|output| &output.path);
        let paths = gathered.files.iter().map(|input| &input.path).chain(outputs);
        let wanted: BTreeSet<PathBuf> = paths
            .flat_map(|path| {
                path.below(Path::new(WORK)).ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>()
            })
            .collect();
        let is_wanted = |folder: &PathBuf| folder.components().count() == 1 || wanted.contains(folder);
        let (kept, unwanted) = std::mem::take(&mut self.folders).into_iter().partition(is_wanted);
        self.folders = kept;
        // From the deepest up.
        for folder in unwanted.iter().rev() {
            let folder = self.folder.join(folder);
            fs::remove_dir(&folder).map_err(at(&folder))?;
        }
        folders.made.extend(self.folders.iter().map(|folder| self.folder.join(folder)));
        Ok(())
    }

    fn put(
        &mut self,
        input: &InputFile,
        project: &Project,
        objects: &Objects,
        digests: &Digests,
        folders: &mut Folders,
    ) -> Result<(), StageError> {
        let destination = input.path.below(&folders.base);
        folders.make_parent(&destination)?;
        match &input.content {
            Content::File(content) => {
                let source = project.on_disk(&input.path);
                let from = (!matches!(input.origin, Origin::Made)).then_some(source.as_path());
                let made = (project.on_disk(&input.path), digests);
                self.file(&input.path, from, content, &destination, objects, made)?;
            }
            Content::Folder(tree) => {
                folders.make(&destination)?;
                let source = (!matches!(input.origin, Origin::Made)).then(|| project.on_disk(&input.path));
                for entry in &tree.entries {
                    let below = Path::new(as_path(&entry.path));
                    let destination = destination.join(below);
                    match &entry.kind {
                        EntryKind::Folder => folders.make(&destination)?,
                        EntryKind::Link(target) => {
                            symlink(as_path(target), &destination).map_err(at(&destination))?;
                            self.note(&folders.base, &destination);
                        }
                        EntryKind::File(content) => {
                            let source = source.as_ref().map(|source| source.join(below));
                            let made = (project.on_disk(&input.path).join(below), digests);
                            self.file(&input.path, source.as_deref(), content, &destination, objects, made)?;
                        }
                    }
                }
            }
        }
        // What was copied must be what was hashed; a link's target is looked at after the command (K7).
        if is_unchanged(input, project, digests, objects)? {
            Ok(())
        } else {
            Err(StageError::Changed { path: input.path.clone() })
        }
    }

    /// Puts one file in place: from the project, or without `source` from the content store.
    fn file(
        &mut self,
        input: &ProjectPath,
        source: Option<&Path>,
        content: &FileContent,
        destination: &Path,
        objects: &Objects,
        (placed, digests): (PathBuf, &Digests),
    ) -> Result<(), StageError> {
        let work = self.work();
        // Where the content store lost the bytes, the project may still have them.
        let is_lost = source.is_none() && !objects.contains(&content.digest, content.size);
        let placed =
            (is_lost && digests.file(&placed).is_ok_and(|found| found.content == *content)).then_some(placed);
        let source = source.or(placed.as_deref());
        self.note(&work, destination);
        match source {
            Some(source) if content.size < COPY_MAX => {
                fs::copy(source, destination).map_err(at(source))?;
            }
            Some(source) => {
                let real = fs::canonicalize(source).map_err(at(source))?;
                return symlink(real, destination).map_err(at(destination));
            }
            // An object cannot be executed.
            None if content.size < COPY_MAX || content.executable => {
                let object = |cause| StageError::Object { path: input.clone(), cause };
                objects.copy_out(content, destination).map_err(object)?;
            }
            None => {
                return symlink(objects.path(&content.digest), destination).map_err(at(destination));
            }
        }
        let mode = if content.executable { 0o755 } else { 0o644 };
        fs::set_permissions(destination, fs::Permissions::from_mode(mode)).map_err(at(destination))?;
        let file = File::options().write(true).open(destination).map_err(at(destination))?;
        file.set_times(FileTimes::new().set_modified(epoch())).map_err(at(destination))
    }

    fn note(&mut self, work: &Path, destination: &Path) {
        let below = destination.strip_prefix(work).expect("destinations lie in the working folder");
        self.inputs.insert(below.to_owned());
    }

    /// Returns whether the command left the input at `below` as it was put there.
    pub fn is_untouched(&self, below: &Path) -> bool {
        let path = self.work().join(below);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                metadata.mtime() == EPOCH_SECONDS && metadata.mtime_nsec() == 0
            }
            Ok(metadata) => metadata.is_symlink(),
            // Its copy may be taken away: `gunzip` does.
            Err(_) => true,
        }
    }

    /// Moves outputs that stand in the project aside, so that a command with `sandbox = "off"` starts from nothing, as it
    /// would in a folder of its own. `standing` is what [`standing_outputs`] told, and is written down durably by now.
    pub fn set_aside(
        &self,
        project: &Project,
        instance: &Instance,
        standing: &[ProjectPath],
    ) -> Result<(), StageError> {
        for key in standing {
            let aside = key.below(&self.before());
            let parent = aside.parent().expect("it lies in `before`");
            fs::create_dir_all(parent).map_err(at(parent))?;
            relocate(&key.below(project.root()), &aside, &mut Barrier::new())?;
        }
        make_output_folders(project, instance)
    }
}

/// Makes the folders of an instance's outputs in the project, where a command with `sandbox = "off"` starts.
pub fn make_output_folders(project: &Project, instance: &Instance) -> Result<(), StageError> {
    Folders::new(project.folder().to_owned()).make_for_outputs(instance)
}

/// Returns the outputs of an instance that stand in the project, relative to it.
pub fn standing_outputs(project: &Project, instance: &Instance) -> Result<Vec<ProjectPath>, StageError> {
    let stands = |path: &&ProjectPath| fs::symlink_metadata(project.on_disk(path)).is_ok();
    let paths = instance.outputs.iter().map(|output| &output.path).filter(stands);
    paths
        .map(|path| {
            let on_disk = project.on_disk(path);
            let invalid = |error| at(&on_disk)(io::Error::new(io::ErrorKind::InvalidInput, error));
            ProjectPath::parse(&project.store_key(path)).map_err(invalid)
        })
        .collect()
}

/// Returns whether an input is still what was hashed. Made inputs of some size are linked to in the content store, which
/// root can write to; small ones were copied with their digest checked.
pub fn is_unchanged(
    input: &InputFile,
    project: &Project,
    digests: &Digests,
    objects: &Objects,
) -> Result<bool, DigestError> {
    match &input.origin {
        Origin::Source(found) => digests.unchanged(&project.on_disk(&input.path), found),
        Origin::SourceTree(found) => digests.tree_unchanged(&project.on_disk(&input.path), found),
        Origin::Made => {
            for (_, file) in input.content.files().filter(|(_, file)| file.size >= COPY_MAX) {
                let object = objects.path(&file.digest);
                if object.exists() && digests.file(&object)?.content.digest != file.digest {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

/// Puts back what [`Staging::set_aside`] moved. What the cut-off command left in its place goes to the trash with
/// `trash` as its name there, or without one is removed.
pub fn put_back(
    project: &Project,
    before: &Path,
    paths: &[ProjectPath],
    trash: Option<&str>,
) -> Result<(), FileError> {
    for path in paths {
        let (aside, place) = (path.below(before), path.below(project.root()));
        if fs::symlink_metadata(&aside).is_err() {
            continue;
        }
        let parent = place.parent().expect("it lies below the project's folder");
        match (fs::symlink_metadata(&place), trash) {
            (Err(_), _) => {}
            (Ok(_), Some(name)) => {
                cairn_content::trash::move_to_trash(project.state(), name, project.root(), path)?;
            }
            (Ok(_), None) => durable::remove_tree(parent, &place)?,
        }
        fs::create_dir_all(parent).map_err(|cause| FileError {
            action: "make the folder",
            path: parent.to_owned(),
            cause,
        })?;
        relocate(&aside, &place, &mut Barrier::new())?;
    }
    Ok(())
}

fn epoch() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS.unsigned_abs())
}

fn as_path(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Makes folders below a base, each once.
struct Folders {
    base: PathBuf,
    made: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(base: PathBuf) -> Self {
        let made = BTreeSet::from([base.clone()]);
        Self { base, made }
    }

    fn make(&mut self, folder: &Path) -> Result<(), StageError> {
        if !self.made.contains(folder) {
            fs::create_dir_all(folder).map_err(at(folder))?;
            let made = folder.ancestors().take_while(|above| *above != self.base);
            self.made.extend(made.map(Path::to_owned));
        }
        Ok(())
    }

    /// The folder of a declared output is there when the command starts.
    fn make_for_outputs(&mut self, instance: &Instance) -> Result<(), StageError> {
        for output in &instance.outputs {
            let path = output.path.below(&self.base);
            match output.kind {
                OutputKind::Folder => self.make(&path)?,
                OutputKind::File | OutputKind::Stdout => self.make_parent(&path)?,
            }
        }
        Ok(())
    }

    fn make_parent(&mut self, path: &Path) -> Result<(), StageError> {
        self.make(path.parent().expect("it lies below the base"))
    }
}
