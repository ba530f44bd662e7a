//! What the system says of a file without its bytes being read.

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
    /// When the bytes were last written: nanoseconds since 1970.
    pub mtime_ns: i64,
    /// When anything about it last changed: nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Type and permissions, as `st_mode`.
    pub mode: u32,
}
