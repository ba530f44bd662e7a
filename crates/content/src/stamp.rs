//! What the system says of a file without its bytes being read.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use rustix::fs::Stat;

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// Number of the filesystem.
    pub device: u64,
    /// Number of the file in it.
    pub inode: u64,
}

/// What changes when the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Bytes in the file.
    pub size: u64,
    /// When the bytes were last written: nanoseconds since 1970. Programs can set it.
    pub mtime_ns: i64,
    /// When anything about the file last changed: nanoseconds since 1970. Only the system sets it.
    pub ctime_ns: i64,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
}

impl FileKey {
    /// Reads it from metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Reads it from what the system says.
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl Stamp {
    /// Reads it from metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            mtime_ns: nanos(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanos(metadata.ctime(), metadata.ctime_nsec()),
            mode: metadata.mode(),
        }
    }

    /// Reads it from what the system says.
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime_ns: nanos(stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            ctime_ns: nanos(stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            mode: stat.st_mode,
        }
    }

    /// Returns the later of the two times.
    pub fn newest_ns(&self) -> i64 {
        self.mtime_ns.max(self.ctime_ns)
    }

    /// Returns whether the owner may execute the file.
    pub fn executable(&self) -> bool {
        self.mode & 0o100 != 0
    }
}

/// Joins seconds and nanoseconds; what lies beyond the years 1677 to 2262 becomes the nearest time within.
fn nanos(seconds: i64, nanos: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
