//! What a job wrote: its bytes in one file, and in a second one when, and to which stream, they were written.
//!
//! `x.log` holds the bytes of both streams as they were read, unchanged: `less`, `grep` and `tail` serve. Beside it
//! `x.log.idx` holds a record of 16 bytes for each piece, in the order of the log; all numbers are big-endian:
//!
//! | bytes  | what                                                                        |
//! |--------|-----------------------------------------------------------------------------|
//! | 0..8   | milliseconds since 1970-01-01T00:00:00Z at which the piece was read, `i64`  |
//! | 8..12  | stream: 1 standard output, 2 standard error, 3 cairn's own mark             |
//! | 12..16 | bytes of the piece in the log                                               |
//!
//! A record is written before its bytes. So a log that grows never has bytes without a record, and one that was cut off may
//! lack bytes of its last record. Both files are made at the first byte: no output, no files. The two streams are two pipes,
//! read as soon as they have bytes; what a job writes to both within some 50 µs may change places.
//!
//! What it does not do: search, colour, rotate.

mod reader;
mod writer;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cairn_model::Timestamp;

pub use reader::{Chunk, Reader};
pub(super) use writer::Writer;

/// Where bytes of a log come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The job's standard output.
    Stdout,
    /// The job's standard error.
    Stderr,
    /// cairn: the mark that says what is missing.
    Mark,
    /// Unknown: the record is lost.
    Unknown,
}

/// Returns the path of the index that belongs to `log`.
pub fn index_path(log: &Path) -> PathBuf {
    let mut path = OsString::from(log);
    path.push(".idx");
    path.into()
}

/// Bytes of a record.
const RECORD: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    time: Timestamp,
    stream: Stream,
    length: u32,
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD] {
        let stream: u32 = match self.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
            Stream::Mark => 3,
            Stream::Unknown => 0,
        };
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.time.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&stream.to_be_bytes());
        bytes[12..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; RECORD]) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, t7, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        let stream = match u32::from_be_bytes([s0, s1, s2, s3]) {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            3 => Stream::Mark,
            _ => Stream::Unknown,
        };
        Self {
            time: Timestamp(i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7])),
            stream,
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }
}

#[cfg(test)]
mod tests;
