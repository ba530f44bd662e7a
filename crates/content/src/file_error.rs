//! One operation on one path that failed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What was tried with a path, and what the system answered.
///
/// The answer is part of the text and not a source of its own, so that the text is whole wherever it ends up; as an
/// [`io::Error`] it keeps its kind.
#[derive(Debug)]
pub struct FileError {
    /// What was tried, as in "cannot `write`".
    pub action: &'static str,
    /// With what.
    pub path: PathBuf,
    /// The system's answer.
    pub cause: io::Error,
}

impl FileError {
    /// Returns the kind of the system's answer.
    pub fn kind(&self) -> io::ErrorKind {
        self.cause.kind()
    }

    /// Returns whether there was no room left, on the disk or in the user's quota.
    pub fn is_disk_full(&self) -> bool {
        matches!(self.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Says what to do next.
    pub fn help(&self) -> Option<String> {
        let text = match self.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room and run again: what was finished is kept"
            }
            io::ErrorKind::PermissionDenied => "see who owns it and its folder, with `ls -ld`",
            io::ErrorKind::ReadOnlyFilesystem => "mount the filesystem for writing",
            _ => return None,
        };
        Some(text.to_owned())
    }

    fn is(&self, errno: rustix::io::Errno) -> bool {
        self.cause.raw_os_error() == Some(errno.raw_os_error())
    }

    /// Returns whether something is mounted there.
    pub(crate) fn is_mount_point(&self) -> bool {
        self.is(rustix::io::Errno::BUSY)
    }

    /// Returns whether the two paths of a rename lie on two filesystems.
    pub(crate) fn is_other_filesystem(&self) -> bool {
        self.is(rustix::io::Errno::XDEV)
    }

    /// Returns whether the filesystem or the kernel does not know this operation.
    pub(crate) fn is_unsupported(&self) -> bool {
        use rustix::io::Errno;
        [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP].into_iter().any(|errno| self.is(errno))
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { action, path, cause } = self;
        if self.is_disk_full() {
            return write!(f, "the disk is full: cannot {action} `{}`", path.display());
        }
        let cause = cause.to_string();
        let cause = cause.split(" (os error").next().unwrap_or_default();
        let (first, rest) = cause.split_at(cause.chars().next().map_or(0, char::len_utf8));
        write!(f, "cannot {action} `{}`: {}{rest}", path.display(), first.to_lowercase())
    }
}

impl std::error::Error for FileError {}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        Self::new(error.kind(), error)
    }
}

/// Says what was tried with `path`, for `map_err`.
pub(crate) fn cannot<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> FileError {
    move |cause| FileError { action, path: path.to_owned(), cause: cause.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_path_and_cause() {
        let check = |errno: rustix::io::Errno, expect: &str| {
            let error = cannot("write", Path::new("a/b"))(errno);
            assert_eq!(error.to_string(), expect);
            assert_eq!(io::Error::from(error).to_string(), expect);
        };
        check(rustix::io::Errno::ACCESS, "cannot write `a/b`: permission denied");
        check(rustix::io::Errno::NOSPC, "the disk is full: cannot write `a/b`");
        check(rustix::io::Errno::DQUOT, "the disk is full: cannot write `a/b`");
    }
}
