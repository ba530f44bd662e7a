//! Where client and server meet: a folder with a socket and a link to the running binary, or to the brief one beside it,
//! which is put on the stages' `PATH`, so that they find `cairn` whatever is installed.
//!
//! It is `run` in the state folder. A socket's path has a hundred bytes at most, not every filesystem has sockets, and a
//! `PATH` cannot name a folder with a colon: then it is a folder of the user's own in `/tmp`. Both follow from the state
//! folder's path, so that who knows that finds the socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use cairn_content::durable;
use cairn_notes::BRIEF_PROGRAM;

/// Bytes of a socket's path on every system (104 on macOS, 108 on Linux, with the closing zero).
const SOCKET_PATH_MAX: usize = 103;

/// What others than the owner may do.
const OTHERS: u32 = 0o077;

/// The socket's name in the folder.
const SOCKET: &str = "socket";

/// Names of both while they are made; no longer than [`SOCKET`].
const SOCKET_PART: &str = "s.part";
const LINK_PART: &str = "c.part";

/// A folder that holds a socket; removed when dropped.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    stays: bool,
}

impl Place {
    /// Makes the place for a state folder, whose lock the caller holds, and listens there.
    pub fn make(state: &Path, state_id: &str) -> io::Result<(Self, UnixListener)> {
        let mut failed = io::Error::from(io::ErrorKind::InvalidInput);
        for folder in candidates(state, state_id, SOCKET.len()) {
            match Self::make_at(folder) {
                Ok(made) => return Ok(made),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn make_at(folder: PathBuf) -> io::Result<(Self, UnixListener)> {
        make_folder(&folder)?;
        let place = Self { folder, stays: false };
        // Each at once in the place of what a process before left: there may be stages that call just now.
        let (socket, link) = (place.folder.join(SOCKET_PART), place.folder.join(LINK_PART));
        for part in [&socket, &link] {
            // What is not there need not go; what cannot go is told by who makes it anew.
            let _ = fs::remove_file(part);
        }
        symlink(program_for_stages()?, &link)?;
        durable::rename(&link, &place.link()).map_err(io::Error::other)?;
        let listener = UnixListener::bind(&socket)?;
        durable::rename(&socket, &place.socket()).map_err(io::Error::other)?;
        Ok((place, listener))
    }

    /// Leaves it there when this is dropped: stages go on that will call the next process here.
    pub fn stay(&mut self) {
        self.stays = true;
    }

    /// Returns the folder, for the end of a `PATH`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    fn link(&self) -> PathBuf {
        self.folder.join("cairn")
    }

    fn clear(&self) {
        for path in [self.socket(), self.link()] {
            let _ = fs::remove_file(path);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        self.clear();
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Returns what stages find as `cairn`.
fn program_for_stages() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let brief = own.with_file_name(BRIEF_PROGRAM);
    Ok(if is_brief_of(&own, &brief) { brief } else { own })
}

/// Returns whether `brief` starts `own` for what it does not do itself.
fn is_brief_of(own: &Path, brief: &Path) -> bool {
    own.file_name().is_some_and(|name| name == "cairn")
        && brief.is_file()
        && rustix::fs::access(brief, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Connects to the process that holds the store in `state`.
pub fn connect(state: &Path, state_id: &str) -> io::Result<UnixStream> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for folder in candidates(state, state_id, SOCKET.len()) {
        match UnixStream::connect(folder.join(SOCKET)) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Listens at `socket`, in the place of what a process before left. It is made as `part` in a folder that only the owner can
/// enter: nobody else can connect before its mode is set.
pub fn listen(folder: &Path, part: &str, socket: &Path) -> io::Result<UnixListener> {
    make_folder(folder)?;
    let part = folder.join(part);
    // What is not there need not go; what cannot go is told by who makes it anew.
    let _ = fs::remove_file(&part);
    let listener = UnixListener::bind(&part)?;
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600))?;
    durable::rename(&part, socket).map_err(io::Error::other)?;
    Ok(listener)
}

/// Makes a folder that only the owner can enter, or sees that it is one.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        // Left by a process that was killed; or, in `/tmp`, by anybody.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if !is_ours(folder)? {
                return Err(io::Error::other(format!("`{}` is not ours", folder.display())));
            }
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Returns whether a folder is this user's, and nobody else can enter it.
pub fn is_ours(folder: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(folder)?;
    let user = rustix::process::getuid().as_raw();
    Ok(found.is_dir() && found.uid() == user && found.mode() & OTHERS == 0)
}

/// Returns the folders that may hold a socket with a name of so many bytes, the one to be preferred first.
pub fn candidates(state: &Path, state_id: &str, name_bytes: usize) -> Vec<PathBuf> {
    let own = state.join("run");
    let elsewhere = PathBuf::from(format!("/tmp/cairn-{}-{state_id}", rustix::process::getuid().as_raw()));
    let bytes = own.as_os_str().as_encoded_bytes();
    let fits = bytes.len() + "/".len() + name_bytes <= SOCKET_PATH_MAX
        && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(':'));
    own_first(fits, own, elsewhere)
}

fn own_first(fits: bool, own: PathBuf, elsewhere: PathBuf) -> Vec<PathBuf> {
    if fits { vec![own, elsewhere] } else { vec![elsewhere] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_in_the_state_folder_where_that_is_short_and_elsewhere_where_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        for (name, here) in [("s", true), (&*"s".repeat(90), false), ("a:b", false)] {
            let state = folder.path().join(name);
            fs::create_dir(&state).unwrap();
            let id = format!("test-{}-{}", std::process::id(), name.len());
            assert!(connect(&state, &id).is_err());
            let (place, _listener) = Place::make(&state, &id).unwrap();
            assert_eq!(place.folder().starts_with(&state), here, "{name}");
            assert!(connect(&state, &id).is_ok());
            assert_eq!(fs::metadata(place.folder()).unwrap().mode() & 0o777, 0o700);
            assert!(fs::canonicalize(place.link()).unwrap() == std::env::current_exe().unwrap());
            // What a killed process left is no hindrance; one that stays is there for its stages.
            std::mem::forget(place);
            let (mut staying, _listener) = Place::make(&state, &id).unwrap();
            staying.stay();
            let link = staying.link();
            drop(staying);
            assert!(fs::canonicalize(link).is_ok());
            let (place, _listener) = Place::make(&state, &id).unwrap();
            let left = place.folder().to_owned();
            drop(place);
            assert!(!left.exists());
        }
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(Place::make_at(open).is_err());
        let link = folder.path().join("link");
        symlink(folder.path(), &link).unwrap();
        assert!(Place::make_at(link).is_err());
    }
}
