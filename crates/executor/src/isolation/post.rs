//! Where a keeper that outlives its callers is found: a socket beside that of the [notes](crate::notes::place), and a lock.
//!
//! Both are named by the version, so that a keeper of an older one can go on with what it runs, while new jobs go to a new
//! keeper. The lock says whether a keeper lives: it is taken before its process is started, and passed on to it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use cairn_content::durable;
use rustix::fs::FlockOperation;

use super::kept;
use crate::notes::place::{candidates, make_folder};

/// What each socket's name begins with.
const NAME: &str = "keeper-";

/// What the name of its lock ends in.
const LOCK: &str = ".lock";

/// The folder of what ended and was not acknowledged.
const ENDED: &str = "ended";

/// Bytes of a name at most, versions with a long suffix included.
const NAME_MAX: usize = 32;

/// The place of one keeper.
#[derive(Debug, Clone)]
pub(super) struct Post {
    folder: PathBuf,
    name: String,
}

impl Post {
    /// Returns the place for keepers of this version, and makes its folder.
    pub(super) fn make(state: &Path, state_id: &str) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::InvalidInput);
        for folder in candidates(state, state_id, NAME_MAX) {
            match make_folder(&folder) {
                Ok(()) => {
                    let ended = folder.join(ENDED);
                    match fs::create_dir(&ended) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => failed = error,
                        _ => {
                            return Ok(Self { folder, name: format!("{NAME}{}", env!("CARGO_PKG_VERSION")) });
                        }
                    }
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Returns the place whose socket is at `path`.
    pub(super) fn at(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let is_name = name.starts_with(NAME) && !name.ends_with(LOCK);
        is_name.then(|| Self {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            name: name.to_owned(),
        })
    }

    /// Returns the places of keepers of other versions.
    pub(super) fn others(&self) -> Vec<Self> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| Self::at(&entry.path())).filter(|post| post.name != self.name).collect()
    }

    /// Returns the socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Returns the folder of what ended and was not acknowledged, that of all versions.
    pub(super) fn ended(&self) -> PathBuf {
        self.folder.join(ENDED)
    }

    fn lock_path(&self) -> PathBuf {
        self.folder.join(format!("{}{LOCK}", self.name))
    }

    /// Takes the lock; `None` while a keeper has it.
    pub(super) fn lock(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            let path = self.lock_path();
            let file = File::options().create(true).truncate(false).write(true).open(&path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                locked => locked?,
            }
            // A keeper that ended meanwhile has removed the file that was opened.
            let held = file.metadata()?;
            if fs::metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino())) {
                return Ok(Some(file.into()));
            }
        }
    }

    /// Listens, in the place of a keeper that was killed. The caller has the lock.
    pub(super) fn listen(&self) -> io::Result<UnixListener> {
        let part = self.folder.join("part");
        let _ = fs::remove_file(&part);
        kept::clear_parts(&self.ended());
        let listener = UnixListener::bind(&part)?;
        fs::set_permissions(&part, Permissions::from_mode(0o600))?;
        durable::rename(&part, &self.socket()).map_err(io::Error::other)?;
        Ok(listener)
    }

    /// Removes what a keeper leaves. The caller has the lock.
    pub(super) fn clear(&self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_file(self.lock_path());
        // These fail while something is in them.
        let _ = fs::remove_dir(self.ended());
        let _ = fs::remove_dir(&self.folder);
    }
}
