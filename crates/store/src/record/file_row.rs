//! What is remembered of a file, so that it need not be hashed again.

use cairn_model::Digest;

use super::{Damage, Record, from_postcard, to_postcard};

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

pub(super) mod v1 {
    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::Digest;

    #[derive(Serialize, Deserialize)]
    pub(in crate::record) struct Stamp {
        pub(in crate::record) size: u64,
        pub(in crate::record) mtime_ns: i64,
        pub(in crate::record) ctime_ns: i64,
        pub(in crate::record) mode: u32,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct FileRow {
        pub(super) stamp: Stamp,
        pub(super) digest: Digest,
    }
}

impl Record for FileRow {
    const VERSION: u8 = 1;

    fn body(&self) -> Vec<u8> {
        let Self { stamp, digest } = *self;
        to_postcard(&v1::FileRow { stamp: stamp.into(), digest: *digest.as_bytes() })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => {
                let v1::FileRow { stamp, digest } = from_postcard(body)?;
                Ok(Self { stamp: stamp.into(), digest: Digest::from_bytes(digest) })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl From<Stamp> for v1::Stamp {
    fn from(stamp: Stamp) -> Self {
        let Stamp { size, mtime_ns, ctime_ns, mode } = stamp;
        Self { size, mtime_ns, ctime_ns, mode }
    }
}

impl From<v1::Stamp> for Stamp {
    fn from(stored: v1::Stamp) -> Self {
        let v1::Stamp { size, mtime_ns, ctime_ns, mode } = stored;
        Self { size, mtime_ns, ctime_ns, mode }
    }
}
