//! What client and server say to each other: length (four bytes, little-endian), then a postcard message.
//!
//! Both ends are the same binary: what a stage finds as `cairn` is the one that runs the stage. A number in the greeting
//! tells when they are not.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Changes with every change of these types.
pub const PROTOCOL: u32 = 2;

/// The first message of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The attempt that calls, by its token and epoch; `None` outside of any.
    pub attempt: Option<(String, u64)>,
    /// `--scope`.
    pub scope: Option<String>,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// May the command under this key be run?
    Once {
        /// The key.
        key: String,
        /// Not when it is not known what became of it.
        hold: bool,
        /// The keys to pass on of the commands that the client runs within.
        within: Vec<String>,
    },
    /// It was, and ended.
    OnceEnded {
        /// The key.
        key: String,
        /// Whether with success.
        succeeded: bool,
    },
    /// Which of these records pass?
    Seen {
        /// Digests of their keys.
        records: Vec<[u8; 16]>,
    },
    /// Set a mark.
    Mark {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// What is the value of a mark?
    GetMark {
        /// Its name.
        name: String,
    },
    /// These records are refused.
    Reject {
        /// Why.
        reason: String,
        /// The records, each with its line in the input, from 1.
        lines: Vec<(u64, Vec<u8>)>,
    },
    /// All is told: outside of attempts it counts from here on.
    End,
}

impl Request {
    /// Tells whether another process may be asked the same when the one that was asked ended before it answered. What is
    /// passed on of records belongs to one process.
    pub fn is_repeatable(&self) -> bool {
        matches!(self, Self::Once { .. } | Self::OnceEnded { .. } | Self::Mark { .. } | Self::GetMark { .. })
    }
}

/// What a server answers, once to each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Ok,
    /// Run it.
    Run {
        /// The key to pass on.
        once_key: String,
        /// When it was started before without a known end.
        cut_off: Option<CutOff>,
    },
    /// It has succeeded before.
    AlreadyDone,
    /// It was started, what became of it is not known, and the client holds.
    Held(CutOff),
    /// Whether each record passes.
    Passes(Vec<bool>),
    /// The value of a mark.
    Value(Option<String>),
    /// It is not done.
    Refused {
        /// Why.
        error: String,
        /// What to do.
        help: Option<String>,
        /// Whether the store is what failed.
        store: bool,
    },
}

/// That a command was started and its end is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOff {
    /// When it was started, in milliseconds since 1970.
    pub at: i64,
    /// The run, as people are shown it.
    pub run: Option<String>,
    /// How often it was.
    pub starts: u32,
}

/// Bytes of a message at most: a batch of records, one of which may be long.
pub const MESSAGE_MAX: usize = 96 << 20;

/// Writes one message.
pub fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).expect("these types have no unsized parts");
    let length = u32::try_from(bytes.len() - 4).expect("a client bounds what it sends");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&bytes)
}

/// Reads one message; `None` at the end.
pub fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    if from.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..])?;
    let length = u32::from_le_bytes(length) as usize;
    let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
    if length > MESSAGE_MAX {
        return Err(wrong("the message is too long"));
    }
    // Grown as it comes, so that a wrong length costs no memory.
    let mut bytes = Vec::new();
    if from.take(length as u64).read_to_end(&mut bytes)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    postcard::from_bytes(&bytes).map(Some).map_err(|_| wrong("the message is not one of ours"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_sent_and_nothing_else_is() {
        let request = Request::Seen { records: vec![[7; 16]; 3] };
        let mut bytes = Vec::new();
        send(&mut bytes, &request).unwrap();
        assert_eq!(receive(bytes.as_slice()).unwrap(), Some(request));
        assert!(receive::<Request>([].as_slice()).unwrap().is_none());
        for cut in 1..bytes.len() {
            assert!(receive::<Request>(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(receive::<Request>([0xff; 64].as_slice()).is_err());
        assert!(receive::<Request>(b"GET / HTTP/1.1\r\n\r\n".as_slice()).is_err());
    }
}
