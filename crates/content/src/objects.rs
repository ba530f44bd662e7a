//! The content store: `objects/ab/cdef…` in the state folder, each file the bytes of that digest, mode 0444.
//!
//! Objects of at most [`SMALL_MAX`] bytes are not files: their bytes go into the store in the batch that refers to them
//! ([`Objects::take_in`]) and are found there through [`SmallObjects`]. A file of its own costs such an object some
//! syncs and a block; in the batch it is durable with what refers to it.
//!
//! Of files nothing is ever written in place: bytes come in by rename once they are durable ([`Objects::prepare`] or
//! [`Objects::copy_in`], a [`Barrier`], [`Objects::adopt`]) and go out as copies whose digest was checked while they
//! were made. Copies share blocks where the filesystem can, and are never hard links: one edited in place would
//! change the object.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cairn_model::{Digest, Domain, FileContent};

use crate::copy::Copied;
use crate::durable::{Barrier, create_folders, parent, rename};
use crate::file_error::cannot;
use crate::{FileError, copy, hash, open, temporary, trash};

#[cfg(test)]
mod tests;

/// Objects are for reading, by anyone.
const OBJECT_MODE: u32 = 0o444;

/// Bytes in the largest object that is no file: a block of most filesystems.
pub const SMALL_MAX: u64 = 4096;

/// Where small objects are kept.
pub trait SmallObjects: Send + Sync {
    /// Returns the bytes of an object, if they can be read.
    fn get(&self, digest: &Digest) -> Option<Vec<u8>>;
}

/// A store without any.
#[cfg(test)]
pub(crate) struct NoSmall;

#[cfg(test)]
impl SmallObjects for NoSmall {
    fn get(&self, _: &Digest) -> Option<Vec<u8>> {
        None
    }
}

/// The content store of a state folder.
#[derive(Clone)]
pub struct Objects {
    state: PathBuf,
    small: Arc<dyn SmallObjects>,
    /// Small objects that were taken in and are not yet in the store.
    taken: Arc<Mutex<HashMap<Digest, Vec<u8>>>>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Objects").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Why bytes did not come in or go out.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("the content store has no object `{digest}`")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// The object's bytes are not those of its digest. It was moved to the trash, so that it is missing now.
    #[error("the object `{digest}` of the content store is damaged; it is now `{}`", moved.display())]
    Damaged {
        /// What it should have been.
        digest: Digest,
        /// Where it is now.
        moved: PathBuf,
    },
    /// What was to become an object has not the bytes that were said.
    #[error("`{}` changed after it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error(transparent)]
    Io(#[from] FileError),
}

impl ObjectError {
    /// Says what to do next.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("run again: the stage that makes it is executed".to_owned()),
            Self::Damaged { .. } => {
                Some("run again: the stage that makes it is executed; check the disk".to_owned())
            }
            Self::Changed { .. } => {
                Some("something still writes it; see to it that the stage's command waits for it".to_owned())
            }
            Self::Io(error) => error.help(),
        }
    }
}

/// Returns where a state folder has the object of `digest` if there is one: for reading.
pub fn object_path(state: &Path, digest: &Digest) -> PathBuf {
    let text = digest.to_string();
    let (folder, name) = text.split_at(2);
    state.join("objects").join(folder).join(name)
}

impl Objects {
    /// Opens the content store in the state folder `state`, and makes it if it is not there.
    pub fn open(state: &Path, small: Arc<dyn SmallObjects>) -> Result<Self, FileError> {
        let mut barrier = Barrier::new();
        create_folders(&state.join("objects"), &mut barrier)?;
        create_folders(&state.join("tmp"), &mut barrier)?;
        barrier.sync()?;
        Ok(Self { state: state.to_owned(), small, taken: Arc::default() })
    }

    /// Takes in the small object whose bytes are in the file `from`, and returns them to be kept durably. Until
    /// [`forget_taken`](Self::forget_taken) copies of it can be made.
    ///
    /// # Errors
    /// `Changed` when `from` has not the bytes of `content`.
    pub fn take_in(&self, from: &Path, content: &FileContent) -> Result<Vec<u8>, ObjectError> {
        let mut bytes = Vec::new();
        let file = open::file_itself(from).map_err(cannot("read", from))?;
        file.take(SMALL_MAX + 1).read_to_end(&mut bytes).map_err(cannot("read", from))?;
        if Domain::File.digest(&bytes) != content.digest {
            return Err(ObjectError::Changed { path: from.to_owned() });
        }
        self.taken().insert(content.digest, bytes.clone());
        Ok(bytes)
    }

    /// Forgets the small objects that were taken in: they are in the store by now, or will never be.
    pub fn forget_taken(&self) {
        self.taken().clear();
    }

    /// Returns the bytes of a small object of the store.
    pub fn small(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.small.get(digest).filter(|bytes| Domain::File.digest(bytes) == *digest)
    }

    fn taken_or_small(&self, digest: &Digest) -> Option<Vec<u8>> {
        let taken = self.taken().get(digest).cloned();
        taken.or_else(|| self.small(digest))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Digest, Vec<u8>>> {
        // Each change to it is one call, so that a thread that panicked left it whole.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns where the object of `digest` is if there is one: for reading.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        object_path(&self.state, digest)
    }

    /// Returns whether there is an object of that digest and size. The bytes of a file are not read.
    pub fn contains(&self, digest: &Digest, size: u64) -> bool {
        let is_small =
            size <= SMALL_MAX && self.small(digest).is_some_and(|bytes| bytes.len() as u64 == size);
        is_small
            || fs::symlink_metadata(self.path(digest)).is_ok_and(|data| data.is_file() && data.len() == size)
    }

    /// Makes the file `staged` ready to be an object: mode 0444, no second name by which it could be written. Enters
    /// it in `barrier`; once that is synced it can be [adopted](Self::adopt).
    ///
    /// # Errors
    /// `Changed` when it is no file of that size.
    pub fn prepare(
        &self,
        staged: &Path,
        content: &FileContent,
        barrier: &mut Barrier,
    ) -> Result<(), ObjectError> {
        let changed = || ObjectError::Changed { path: staged.to_owned() };
        let file = open::file_itself(staged).map_err(cannot("read", staged))?;
        let metadata = file.metadata().map_err(cannot("read", staged))?;
        if !metadata.is_file() || metadata.len() != content.size {
            return Err(changed());
        }
        if metadata.nlink() > 1 {
            let copied = parent(staged).join(temporary::name());
            copy_checked(staged, content, &copied)?;
            rename(&copied, staged)?;
        } else {
            file.set_permissions(Permissions::from_mode(OBJECT_MODE))
                .map_err(cannot("set the mode of", staged))?;
        }
        barrier.file(staged);
        Ok(())
    }

    /// Copies `from` to a file in the state folder, mode 0444, and enters it in `barrier`; once that is synced it can
    /// be [adopted](Self::adopt).
    ///
    /// # Errors
    /// `Changed` when `from` has not the bytes of `content`.
    pub fn copy_in(
        &self,
        from: &Path,
        content: &FileContent,
        barrier: &mut Barrier,
    ) -> Result<PathBuf, ObjectError> {
        let copied = self.state.join("tmp").join(temporary::name());
        copy_checked(from, content, &copied)?;
        barrier.file(&copied);
        Ok(copied)
    }

    /// Renames `staged`, whose bytes are durable, into the store and enters the folder in `barrier`. An object of that
    /// digest that is there already is replaced: it might be damaged.
    pub fn adopt(&self, staged: &Path, digest: &Digest, barrier: &mut Barrier) -> Result<(), FileError> {
        let object = self.path(digest);
        match rename(staged, &object) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_folders(parent(&object), barrier)?;
                rename(staged, &object)?;
            }
            renamed => renamed?,
        }
        barrier.folder(parent(&object));
        Ok(())
    }

    /// Makes the new file `to` with the bytes of `content`, mode 0644 or 0755, not yet durable, and returns it open.
    ///
    /// # Errors
    /// `Io` of kind `AlreadyExists` when `to` was there. After any other error there is no file `to`.
    pub fn copy_out(&self, content: &FileContent, to: &Path) -> Result<File, ObjectError> {
        if content.size <= SMALL_MAX
            && let Some(bytes) = self.taken_or_small(&content.digest)
        {
            return write_out(&bytes, content, to);
        }
        let object = self.open_object(content)?;
        match copy::open_file_past_cache(&object, to) {
            Ok(Copied { file, digest, .. }) if digest == content.digest => {
                set_mode(&file, to, if content.executable { 0o755 } else { 0o644 })?;
                Ok(file)
            }
            Ok(_) => {
                let _ = fs::remove_file(to);
                Err(self.damaged(content.digest))
            }
            Err(error) => {
                let error = cannot("write", to)(error);
                // A disk that cannot read the object gives the same errors as one that cannot write the copy.
                let doubtful = !error.is_disk_full() && error.kind() != io::ErrorKind::AlreadyExists;
                if doubtful && hash::file(&object, content.size).is_err() {
                    return Err(self.damaged(content.digest));
                }
                Err(error.into())
            }
        }
    }

    fn open_object(&self, content: &FileContent) -> Result<File, ObjectError> {
        let path = self.path(&content.digest);
        let file = match open::file_itself(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ObjectError::Missing { digest: content.digest });
            }
            Err(error) if open::is_loop(&error) => {
                return Err(self.damaged(content.digest));
            }
            Err(error) => return Err(cannot("read", &path)(error).into()),
        };
        let metadata = file.metadata().map_err(cannot("read", &path))?;
        if metadata.is_file() && metadata.len() == content.size {
            Ok(file)
        } else {
            Err(self.damaged(content.digest))
        }
    }

    /// Moves the object out of the store.
    fn damaged(&self, digest: Digest) -> ObjectError {
        match trash::put(&self.state, "damaged", &self.path(&digest), Path::new(&digest.to_string())) {
            Ok(moved) => {
                tracing::warn!(%digest, moved = %moved.display(), "an object of the content store is damaged");
                ObjectError::Damaged { digest, moved }
            }
            // Another thread found the damage too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => ObjectError::Missing { digest },
            Err(error) => error.into(),
        }
    }
}

/// Makes the new file `to` with the bytes of a small object.
fn write_out(bytes: &[u8], content: &FileContent, to: &Path) -> Result<File, ObjectError> {
    let mode = if content.executable { 0o755 } else { 0o644 };
    let mut file =
        File::options().read(true).write(true).create_new(true).open(to).map_err(cannot("write", to))?;
    if let Err(error) = file.write_all(bytes) {
        let _ = fs::remove_file(to);
        return Err(cannot("write", to)(error).into());
    }
    set_mode(&file, to, mode)?;
    Ok(file)
}

/// Makes the new file `to` of mode 0444 with the bytes of `from`, which must be those of `content`.
fn copy_checked(from: &Path, content: &FileContent, to: &Path) -> Result<(), ObjectError> {
    let original = open::file_itself(from).map_err(cannot("read", from))?;
    let Copied { file, digest, .. } = copy::open_file(&original, to).map_err(cannot("copy", from))?;
    if digest != content.digest {
        let _ = fs::remove_file(to);
        return Err(ObjectError::Changed { path: from.to_owned() });
    }
    Ok(set_mode(&file, to, OBJECT_MODE)?)
}

/// Gives the new file at `path` its mode; one that cannot have it is removed.
fn set_mode(file: &File, path: &Path, mode: u32) -> Result<(), FileError> {
    file.set_permissions(Permissions::from_mode(mode)).map_err(|error| {
        let _ = fs::remove_file(path);
        cannot("set the mode of", path)(error)
    })
}
