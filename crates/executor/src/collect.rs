//! After the command: are the declared outputs there, is each a file or a folder, and is nothing else there.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use cairn_content::{DigestError, Digests, SMALL_MAX, durable};
use cairn_dag::{Declared, Instance};
use cairn_model::{Content, EntryKind, Manifest, Output, OutputKind, ProjectPath};

use crate::gather::Gathered;
use crate::staging::Staging;

/// What an attempt made, not yet published.
#[derive(Debug)]
pub struct Collected {
    /// The outputs.
    pub manifest: Manifest,
    /// Where each output's bytes lie, in the manifest's order: a file or a folder.
    pub staged: Vec<PathBuf>,
}

impl Collected {
    /// Returns whether publishing it moves files away, before the commit: what is small stays until after it.
    pub(crate) fn moves(&self) -> bool {
        let files = self.manifest.outputs.iter().flat_map(|output| output.content.files());
        files.into_iter().any(|(_, file)| file.size > SMALL_MAX)
    }

    /// Writes it down, for a process that goes on from here.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let staged: Vec<&[u8]> = self.staged.iter().map(|path| path.as_os_str().as_bytes()).collect();
        let bytes = postcard::to_allocvec(&(&self.manifest, staged)).map_err(io::Error::other)?;
        let part = path.with_extension("part");
        fs::write(&part, bytes)?;
        durable::rename(&part, path).map_err(io::Error::other)
    }

    /// Reads what was written down, if it was.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (manifest, staged): (Manifest, Vec<Vec<u8>>) = postcard::from_bytes(&bytes).ok()?;
        let staged = staged.into_iter().map(|path| OsString::from_vec(path).into()).collect();
        Some(Self { manifest, staged })
    }
}

/// Why an attempt's outputs are not what was declared.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A declared output is not there.
    #[error("declared output `{path}` was not made")]
    NotMade {
        /// The output.
        path: ProjectPath,
        /// A file that was made and has a similar name.
        instead: Option<String>,
    },
    /// A file was declared and a folder made, or the other way round.
    #[error("output `{path}` is declared as a {declared} and is {found}")]
    WrongKind {
        /// The output.
        path: ProjectPath,
        /// `file` or `folder`.
        declared: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A link that leads out of the working folder.
    #[error("output `{path}` is a link to `{}`, outside of the stage's folder", target.display())]
    LinkOut {
        /// The output, or the link in it.
        path: String,
        /// What the link says.
        target: PathBuf,
    },
    /// A file that is neither an input nor a declared output.
    #[error("the command wrote `{path}`, which is not a declared output")]
    Undeclared {
        /// The file, relative to the working folder.
        path: String,
    },
    /// An input was written to.
    #[error("the command wrote to its input `{path}`")]
    InputWritten {
        /// The input.
        path: String,
    },
    /// An output cannot be read.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The working folder cannot be read.
    #[error("cannot read `{}`: {cause}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl CollectError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotMade { path, instead: Some(instead) } => {
                format!("the command made `{instead}`; write that in `outputs`, or have it write `{path}`")
            }
            Self::NotMade { path, instead: None } => {
                format!("have the command write `{path}`, relative to the folder it starts in")
            }
            Self::WrongKind { path, declared: "file", found: "a folder" } => {
                format!("a folder is declared with a closing slash: `outputs = [\"{path}/\"]`")
            }
            Self::WrongKind { path, found: "a file", .. } => {
                format!("a file is declared without a closing slash: `{path}`")
            }
            Self::WrongKind { path, declared, .. } => {
                format!("have the command make a {declared} at `{path}`")
            }
            Self::LinkOut { .. } => "copy the file instead of linking to it: `cp -L`".to_owned(),
            Self::Undeclared { path } => {
                format!("add `\"{path}\"` to `outputs`, or write it below `$TMPDIR`, which is thrown away")
            }
            Self::InputWritten { path } => {
                format!("write the changed copy to another path and declare that in `outputs` (not `{path}`)")
            }
            Self::Digest(error) => return error.help(),
            Self::Io { .. } => return None,
        })
    }
}

/// Finds and digests the outputs below `base`: the working folder, or the project's with `sandbox = "off"`.
pub fn collect(
    base: &Path,
    instance: &Instance,
    gathered: &Gathered,
    digests: &Digests,
) -> Result<Collected, CollectError> {
    let mut found: Vec<(Output, PathBuf)> = Vec::with_capacity(instance.outputs.len());
    for declared in &instance.outputs {
        let staged = settle(base, declared, gathered)?;
        let content = match declared.kind {
            OutputKind::File | OutputKind::Stdout => Content::File(digests.file(&staged)?.content),
            OutputKind::Folder => {
                let tree = digests.tree(&staged)?.tree;
                for entry in &tree.entries {
                    if let EntryKind::Link(target) = &entry.kind {
                        check_link(&declared.path, &entry.path, target)?;
                    }
                }
                Content::Folder(tree)
            }
        };
        found.push((Output { path: declared.path.clone(), content }, staged));
    }
    found.sort_by(|(left, _), (right, _)| left.path.cmp(&right.path));
    let (outputs, staged) = found.into_iter().unzip();
    Ok(Collected { manifest: Manifest { outputs }, staged })
}

/// Returns where a declared output's bytes are, of the right kind; a link to a file within `base` is followed.
fn settle(base: &Path, declared: &Declared, gathered: &Gathered) -> Result<PathBuf, CollectError> {
    let path = declared.path.below(base);
    let io = |cause| CollectError::Io { path: path.clone(), cause };
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(cause) if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            let instead = similar(base, &declared.path, gathered);
            return Err(CollectError::NotMade { path: declared.path.clone(), instead });
        }
        Err(cause) => return Err(io(cause)),
    };
    let (real, metadata) = if metadata.is_symlink() {
        let target = fs::read_link(&path).map_err(io)?;
        let out = || CollectError::LinkOut { path: declared.path.to_string(), target: target.clone() };
        let real = fs::canonicalize(&path).map_err(|_| out())?;
        let base = fs::canonicalize(base).map_err(io)?;
        if !real.starts_with(&base) {
            return Err(out());
        }
        let metadata = fs::symlink_metadata(&real).map_err(io)?;
        (real, metadata)
    } else {
        (path.clone(), metadata)
    };
    let kind = metadata.file_type();
    let wanted = declared.kind;
    let is_right = if wanted == OutputKind::Folder { kind.is_dir() } else { kind.is_file() };
    if is_right {
        return Ok(real);
    }
    let declared_as = if wanted == OutputKind::Folder { "folder" } else { "file" };
    let found = match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_file() => "a file",
        () if kind.is_fifo() => "a named pipe (FIFO)",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(CollectError::WrongKind { path: declared.path.clone(), declared: declared_as, found })
}

/// A link within an output folder may point to its neighbours, never out of the folder.
fn check_link(output: &ProjectPath, below: &[u8], target: &[u8]) -> Result<(), CollectError> {
    let target = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(target));
    let mut depth = below.split(|byte| *byte == b'/').count() - 1;
    let mut leaves = target.is_absolute();
    for component in target.components() {
        match component {
            Component::ParentDir if depth == 0 => leaves = true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    if leaves {
        let path = format!("{output}/{}", String::from_utf8_lossy(below));
        return Err(CollectError::LinkOut { path, target });
    }
    Ok(())
}

/// Returns a file beside where `path` should be that has a similar name and is no input.
fn similar(base: &Path, path: &ProjectPath, gathered: &Gathered) -> Option<String> {
    let wanted = path.as_str().rsplit('/').next().unwrap_or_default();
    let folder = path.parent().map_or_else(|| base.to_owned(), |parent| parent.below(base));
    let names = fs::read_dir(folder).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let beside =
        |name: String| path.parent().map_or_else(|| name.clone(), |parent| format!("{parent}/{name}"));
    let is_input = |found: &str| {
        gathered.files.iter().any(|input| {
            let rest = input.path.as_str().strip_prefix(found);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let near = names.map(|name| (strsim::damerau_levenshtein(&name, wanted), beside(name)));
    let (distance, found) = near.filter(|(_, found)| !is_input(found)).min()?;
    let limit = wanted.len().div_ceil(3).max(2);
    (distance <= limit).then_some(found)
}

/// Checks that the working folder holds nothing but inputs, as they were, and declared outputs (I4).
pub fn check_undeclared(staging: &Staging, instance: &Instance) -> Result<(), CollectError> {
    let work = staging.work();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let on_disk = work.join(&folder);
        let io = |cause| CollectError::Io { path: on_disk.clone(), cause };
        for entry in fs::read_dir(&on_disk).map_err(io)? {
            let entry = entry.map_err(io)?;
            let below = folder.join(entry.file_name());
            let is_output = instance.outputs.iter().any(|output| Path::new(output.path.as_str()) == below);
            if is_output || staging.inputs().contains(&below) {
                continue;
            }
            if entry.file_type().map_err(io)?.is_dir() {
                folders.push(below);
            } else {
                return Err(CollectError::Undeclared { path: below.to_string_lossy().into_owned() });
            }
        }
    }
    let touched = staging.inputs().iter().find(|below| {
        let is_output =
            instance.outputs.iter().any(|output| Path::new(output.path.as_str()) == below.as_path());
        !is_output && !staging.is_untouched(below)
    });
    match touched {
        Some(below) => Err(CollectError::InputWritten { path: below.to_string_lossy().into_owned() }),
        None => Ok(()),
    }
}
