//! Opening what should be a file and may be anything by now.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens the file at `path`, or that to which a link leads, for reading.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    open(path, OFlags::empty())
}

/// Opens the file at `path` for reading; for a link the error [is a loop](is_loop).
pub(crate) fn file_itself(path: &Path) -> io::Result<File> {
    open(path, OFlags::NOFOLLOW)
}

/// Returns whether a link was in the way: one too many, or one where none may be.
pub(crate) fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

fn open(path: &Path, more: OFlags) -> io::Result<File> {
    // A FIFO is not waited for, and a terminal does not become this process's own.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | more).bits();
    let flags = i32::try_from(flags).expect("open takes its flags as an int");
    File::options().read(true).custom_flags(flags).open(path)
}
