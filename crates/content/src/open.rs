//! Opening what should be a file and may be anything by now.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

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
