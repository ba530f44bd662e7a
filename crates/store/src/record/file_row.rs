//! What is remembered of a file, so that it need not be hashed again.

use cairn_model::Digest;

/// Which file: its device and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// Number of the device.
    pub device: u64,
    /// Number of the inode on it.
    pub inode: u64,
}

/// What `stat` says of a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Bytes in it.
    pub size: u64,
    /// Time of the last change of its bytes, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of its inode, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Type and permissions.
    pub mode: u32,
}

/// A file's digest with the stamp it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileRow {
    /// What `stat` said before and after its bytes were read.
    pub stamp: Stamp,
    /// Digest of its bytes.
    pub digest: Digest,
}
