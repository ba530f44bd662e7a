//! Opening what should be a file and may be anything by now.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

#[cfg(target_os = "linux")]
use crate::filesystem;

/// Opens the file at `path`, or that to which a link leads, for reading.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    open(CWD, path, OFlags::empty())
}

/// Opens the file at `path` for reading; for a link the error [is a loop](is_loop).
pub(crate) fn file_itself(path: &Path) -> io::Result<File> {
    open(CWD, path, OFlags::NOFOLLOW)
}

/// As [`file`], with `path` relative to an open folder.
pub(crate) fn file_in(folder: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    open(folder, path, OFlags::empty())
}

/// As [`file_itself`], with `path` relative to an open folder.
pub(crate) fn file_itself_in(folder: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    open(folder, path, OFlags::NOFOLLOW)
}

/// Opens the file at `path` for writing whole pages past the system's cache; `None` where that cannot be done, or where
/// each write would wait for a network.
#[cfg(target_os = "linux")]
pub(crate) fn past_cache(path: &Path) -> Option<File> {
    if filesystem::stamps_hold(path) != Some(true) {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::DIRECT;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn past_cache(_: &Path) -> Option<File> {
    None
}

/// Returns whether a link was in the way: one too many, or one where none may be.
pub(crate) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn open(folder: BorrowedFd<'_>, path: &Path, more: OFlags) -> io::Result<File> {
    // A FIFO is not waited for, and a terminal does not become this process's own.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | more;
    loop {
        match rustix::fs::openat(folder, path, flags, Mode::empty()) {
            Err(Errno::INTR) => {}
            opened => return Ok(File::from(opened?)),
        }
    }
}
