use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use cairn_model::{Digest, FileContent};

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

/// Looks at the file at `path` without opening it, for to open a FIFO or a device can do something.
pub(super) fn see(path: &Path, links: Links) -> Result<Seen<'_>, DigestError> {
    let (metadata, link) = resolve(path, links)?;
    if metadata.is_dir() {
        return Err(DigestError::Folder { path: path.to_owned() });
    }
    if !metadata.is_file() {
        let kind = word(metadata.file_type());
        return Err(DigestError::Special { path: path.to_owned(), kind });
    }
    Ok(Seen { path, links, key: FileKey::of(&metadata), stamp: Stamp::of(&metadata), link, recalled: None })
}

/// Returns what stands at `path`, or what that leads to and what the link at `path` itself says.
pub(super) fn resolve(path: &Path, links: Links) -> Result<(Metadata, Option<Vec<u8>>), DigestError> {
    let at_path = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            DigestError::Missing { path: path.to_owned() }
        }
        _ if open::is_loop(&error) => DigestError::LinkLoop { path: path.to_owned() },
        _ => cannot("read", path)(error).into(),
    };
    let metadata = fs::symlink_metadata(path).map_err(at_path)?;
    if links == Links::None || !metadata.is_symlink() {
        return Ok((metadata, None));
    }
    let target = fs::read_link(path).map_err(at_path)?;
    match fs::metadata(path).map_err(at_path) {
        Ok(metadata) => Ok((metadata, Some(target.into_os_string().into_vec()))),
        Err(DigestError::Missing { path }) => Err(DigestError::DanglingLink { path, target }),
        Err(error) => Err(error),
    }
}

/// Returns what people call what is neither a file nor a folder.
pub(super) fn word(kind: FileType) -> &'static str {
    match () {
        () if kind.is_fifo() => "FIFO",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() || kind.is_block_device() => "device",
        () if kind.is_symlink() => "link",
        () => "special file",
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
    pub(super) fn digest(&self) -> Result<Option<(Digest, u64)>, DigestError> {
        let opened = match self.links {
            Links::Follow => open::file(self.path),
            Links::None => open::file_itself(self.path),
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
        let after = file.metadata().map_err(cannot("read", self.path))?;
        if (FileKey::of(&after), Stamp::of(&after)) != (self.key, self.stamp) {
            return Ok(None);
        }
        Ok(Some(read.map_err(cannot("read", self.path))?))
    }
}
