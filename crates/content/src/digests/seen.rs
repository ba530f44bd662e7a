use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use cairn_model::{Digest, FileContent};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{DigestError, Found, Recalled};
use crate::file_error::cannot;
use crate::{FileKey, Stamp, hash, open};

/// What to do about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Look at what it leads to.
    Follow,
    /// It is none: the caller saw something else there.
    None,
}

/// A file that was looked at and not read.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) path: &'a Path,
    pub(super) links: Links,
    pub(super) key: FileKey,
    pub(super) stamp: Stamp,
    pub(super) link: Option<Vec<u8>>,
    pub(super) recalled: Option<Recalled>,
}

/// A folder, held open so that its files are found by their names alone: a path is walked in full each time.
#[derive(Debug)]
pub(super) struct Neighbours(Option<OwnedFd>);

impl Neighbours {
    /// Files in one folder beyond which it is worth to hold it.
    const WORTH: usize = 4;

    /// For `count` files beside the file at `path`.
    pub(super) fn of(path: &Path, count: usize) -> Self {
        let held = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path.parent()?, flags, Mode::empty()).ok()
        };
        Self(if count > Self::WORTH { held() } else { None })
    }

    /// Returns a folder and a path relative to it that lead to the same as `path`.
    fn relative<'a>(&'a self, path: &'a Path) -> (BorrowedFd<'a>, &'a Path) {
        match (&self.0, path.file_name()) {
            (Some(folder), Some(name)) => (folder.as_fd(), Path::new(name)),
            _ => (CWD, path),
        }
    }
}

/// Looks at the file at `path` without opening it, for to open a FIFO or a device can do something.
pub(super) fn see<'a>(
    neighbours: &Neighbours,
    path: &'a Path,
    links: Links,
) -> Result<Seen<'a>, DigestError> {
    let (stat, link) = resolve(neighbours, path, links)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(DigestError::Folder { path: path.to_owned() }),
        kind => return Err(DigestError::Special { path: path.to_owned(), kind: word(kind) }),
    }
    let (key, stamp) = (FileKey::of_stat(&stat), Stamp::of_stat(&stat));
    Ok(Seen { path, links, key, stamp, link, recalled: None })
}

/// Returns what stands at `path`, or what that leads to and what the link at `path` itself says.
pub(super) fn resolve(
    neighbours: &Neighbours,
    path: &Path,
    links: Links,
) -> Result<(Stat, Option<Vec<u8>>), DigestError> {
    let at_path = |errno: Errno| match errno {
        Errno::NOENT | Errno::NOTDIR => DigestError::Missing { path: path.to_owned() },
        Errno::LOOP => DigestError::LinkLoop { path: path.to_owned() },
        _ => cannot("read", path)(errno).into(),
    };
    let (folder, name) = neighbours.relative(path);
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at_path)?;
    if links == Links::None || !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok((stat, None));
    }
    let target = rustix::fs::readlinkat(folder, name, Vec::new()).map_err(at_path)?.into_bytes();
    match rustix::fs::statat(folder, name, AtFlags::empty()).map_err(at_path) {
        Ok(stat) => Ok((stat, Some(target))),
        Err(DigestError::Missing { path }) => {
            let target = PathBuf::from(OsString::from_vec(target));
            Err(DigestError::DanglingLink { path, target })
        }
        Err(error) => Err(error),
    }
}

/// Returns what people call what is neither a file nor a folder.
pub(super) fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        FileType::Symlink => "link",
        _ => "special file",
    }
}

impl Seen<'_> {
    pub(super) fn found(self, digest: Digest, size: u64) -> Found {
        let Self { key, stamp, link, .. } = self;
        let content = FileContent { digest, size, executable: stamp.executable() };
        Found { content, key, stamp, settled: false, reread: false, link }
    }

    /// Reads the file and returns its digest and how many bytes it has; `None` if it is not, or not all the time, what
    /// was seen.
    pub(super) fn digest(&self, neighbours: &Neighbours) -> Result<Option<(Digest, u64)>, DigestError> {
        let (folder, name) = neighbours.relative(self.path);
        let opened = match self.links {
            Links::Follow => open::file_in(folder, name),
            Links::None => open::file_itself_in(folder, name),
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound || open::is_loop(&error) => {
                return Ok(None);
            }
            Err(error) => return Err(cannot("read", self.path)(error).into()),
        };
        let read = hash::file(&file, self.stamp.size);
        // What was seen was a path, and what is asked now is the open file: if they agree, both are the same file.
        let after = rustix::fs::fstat(&file).map_err(cannot("read", self.path))?;
        if (FileKey::of_stat(&after), Stamp::of_stat(&after)) != (self.key, self.stamp) {
            return Ok(None);
        }
        Ok(Some(read.map_err(cannot("read", self.path))?))
    }
}
