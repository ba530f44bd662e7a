//! What a caller and its keeper say to each other: length (four bytes, little-endian), then a postcard message.
//!
//! Over pipes both ends are the same binary. A keeper that outlives its caller may be of another version than the next one:
//! what is said over its socket begins with [`Hello`] and [`Greeting`], which never change, and goes on with what
//! [`PROTOCOL`] names.

use std::io::{self, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job::{Ended, Job};
use super::start_error::StartError;

/// Changes with every change of what is said over a socket, [`Job`] and [`Ended`] included.
pub(super) const PROTOCOL: u32 = 1;

/// The first message of a caller at a keeper's socket; it stays as it is for ever.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hello {
    magic: [u8; 12],
    pub(super) protocol: u32,
}

impl Hello {
    /// More than its bytes with their length.
    pub(super) const BYTES_MAX: usize = 64;

    const MAGIC: [u8; 12] = *b"cairn keeper";

    pub(super) const fn new() -> Self {
        Self { magic: Self::MAGIC, protocol: PROTOCOL }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.magic == Self::MAGIC
    }
}

/// The answer to it. What follows are so many [`HeldJob`]s, if both speak one protocol. It stays as it is for ever.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) protocol: u32,
    /// The keeper's version of cairn.
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) held: u32,
}

/// A job that the keeper runs, or that ended and was not acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct HeldJob {
    pub(super) job: Job,
    /// `None` while it runs.
    pub(super) ended: Option<Ended>,
}

/// From the caller. The end of file on a pipe means: end everything; on a socket: end what is tied.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Run this job and say how it ended.
    Run { id: u64, job: Job },
    /// End this job, if it still runs.
    Stop { id: u64, urgency: Urgency },
    /// Say under this id how the job of `token` ends, which an earlier caller had started. Only over a socket.
    Claim { id: u64, token: String },
    /// How the job of `token` ended need not be kept any more. Only over a socket.
    Forget { token: String },
}

/// How a job is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Urgency {
    /// SIGTERM, the job's own grace, SIGKILL.
    Gently,
    /// SIGKILL.
    Now,
}

/// To the caller: one for each [`Request::Run`] and [`Request::Claim`].
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    pub(super) id: u64,
    pub(super) result: Result<Ended, StartError>,
}

/// Bytes of the length before a message.
const LENGTH: usize = 4;

/// More than any message can have (arguments and environment have 2 MB on Linux): a length above is no length.
const MESSAGE_MAX: usize = 64 << 20;

/// Returns `message` with its length before it.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut bytes = postcard::to_extend(message, vec![0; LENGTH]).expect("these types have no unsized parts");
    let length = u32::try_from(bytes.len() - LENGTH).expect("a message is far below 4 GiB");
    bytes[..LENGTH].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// Writes one message.
pub(super) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&encode(message))
}

/// Makes messages of bytes as they come in.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes bytes.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the number of bytes that are no message yet.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the next message that is complete.
    ///
    /// # Errors
    ///
    /// The bytes are no message; nothing after them is to be trusted.
    pub(super) fn take<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((length, rest)) = self.bytes.split_first_chunk::<LENGTH>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MESSAGE_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a message of a keeper"));
        }
        let Some(message) = rest.get(..length) else { return Ok(None) };
        let message = postcard::from_bytes(message)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        self.bytes.drain(..LENGTH + length);
        Ok(Some(message))
    }
}

/// Paths as bytes: serde's own way refuses those that are not UTF-8.
pub(super) mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().as_bytes().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Vec::<u8>::deserialize(from).map(|bytes| OsString::from_vec(bytes).into())
    }
}

/// The same for a path that may be absent.
pub(super) mod optional_path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str().as_bytes()).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(from)?;
        Ok(bytes.map(|bytes| OsString::from_vec(bytes).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn job() -> Job {
        let odd = OsString::from_vec(b"/tmp/\xff".to_vec());
        Job {
            token: "t".into(),
            argv: vec!["true".into()],
            env: vec![("A".into(), "x".repeat(300_000))],
            cwd: odd.clone().into(),
            stdin: None,
            stdout: Some(odd.into()),
            log: "/tmp/log".into(),
            log_max: 1,
            timeout_ms: None,
            kill_after_ms: 0,
            tied: false,
        }
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let mut sent = encode(&Request::Run { id: 7, job: job() });
        sent.extend(encode(&Request::Stop { id: 7, urgency: Urgency::Now }));
        for size in [1000, 4096, sent.len()] {
            let mut inbox = Inbox::default();
            let mut received = Vec::new();
            for part in sent.chunks(size) {
                inbox.push(part);
                while let Some(request) = inbox.take::<Request>().unwrap() {
                    received.push(request);
                }
            }
            let [Request::Run { id: 7, job: got }, Request::Stop { id: 7, urgency: Urgency::Now }] =
                received.as_slice()
            else {
                panic!("{received:?}");
            };
            assert_eq!(*got, job());
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in [b"\xff\xff\xff\xffhello".as_slice(), b"\x01\0\0\0\x09"] {
            let mut inbox = Inbox::default();
            inbox.push(bytes);
            assert!(inbox.take::<Request>().is_err(), "{bytes:?}");
        }
    }
}
