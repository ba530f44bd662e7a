//! The canonical encoding: what input-hashes and tree digests are taken of.
//!
//! A value is a sequence of parts. A part is
//!
//! ```text
//! tag length, u16 big-endian · tag · kind, u8 · payload length, u64 big-endian · payload
//! ```
//!
//! Lengths stand before all that varies, so no two values share an encoding, and [`decode`] reads a stored one back
//! without a schema. Lists and maps are parts whose payload is parts; a map's tags are sorted by their bytes.
//! Absent, empty, `0` and `false` are four different things.

use std::fmt;

use crate::Digest;

/// What a part's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Absent = 0,
    Boolean = 1,
    Integer = 2,
    Text = 3,
    Bytes = 4,
    Digest = 5,
    Group = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Absent, Self::Boolean, Self::Integer, Self::Text, Self::Bytes, Self::Digest, Self::Group]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// Writes a canonical encoding.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the encoding.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn part(&mut self, tag: &str, kind: Kind, payload: &[u8]) -> &mut Self {
        let start = self.open(tag, kind);
        self.bytes.extend_from_slice(payload);
        self.close(start);
        self
    }

    /// Writes a part's head and returns where its payload starts.
    fn open(&mut self, tag: &str, kind: Kind) -> usize {
        let length = u16::try_from(tag.len()).expect("tags are names and paths, at most 4096 bytes each");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(tag.as_bytes());
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.len()
    }

    fn close(&mut self, start: usize) {
        let length = (self.bytes.len() - start) as u64;
        self.bytes[start - 8..start].copy_from_slice(&length.to_be_bytes());
    }

    /// Says that `tag` has no value, which is not the same as an empty one.
    pub fn absent(&mut self, tag: &str) -> &mut Self {
        self.part(tag, Kind::Absent, &[])
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, tag: &str, value: bool) -> &mut Self {
        self.part(tag, Kind::Boolean, &[u8::from(value)])
    }

    /// Writes an integer.
    pub fn integer(&mut self, tag: &str, value: i64) -> &mut Self {
        self.part(tag, Kind::Integer, &value.to_be_bytes())
    }

    /// Writes a text.
    pub fn text(&mut self, tag: &str, value: &str) -> &mut Self {
        self.part(tag, Kind::Text, value.as_bytes())
    }

    /// Writes a text or says that there is none.
    pub fn text_or_absent(&mut self, tag: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(tag, value),
            None => self.absent(tag),
        }
    }

    /// Writes bytes.
    pub fn bytes(&mut self, tag: &str, value: &[u8]) -> &mut Self {
        self.part(tag, Kind::Bytes, value)
    }

    /// Writes a digest.
    pub fn digest(&mut self, tag: &str, value: &Digest) -> &mut Self {
        self.part(tag, Kind::Digest, value.as_bytes())
    }

    /// Writes a part that holds what `inner` writes.
    pub fn group(&mut self, tag: &str, inner: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(tag, Kind::Group);
        inner(self);
        self.close(start);
        self
    }
}

/// One value read back from an encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Absent,
    /// A boolean.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A digest.
    Digest(Digest),
    /// An empty list or map; one that is not empty shows as its parts.
    Empty,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("(unset)"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::Bytes(value) => write!(f, "{:?}", String::from_utf8_lossy(value)),
            Self::Digest(value) => f.write_str(&value.short()),
            Self::Empty => f.write_str("(empty)"),
        }
    }
}

/// A value with the tags that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Tags from the outermost in.
    pub tags: Vec<String>,
    /// The value.
    pub value: Value,
}

/// Bytes that are no canonical encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no canonical encoding at byte {offset}")]
pub struct DecodeError {
    /// Where reading stopped.
    pub offset: usize,
}

/// Groups within groups that [`decode`] follows; recipes have 3.
const DEPTH_MAX: usize = 16;

/// Reads an encoding back as a flat list, in its order.
pub fn decode(bytes: &[u8]) -> Result<Vec<Part>, DecodeError> {
    let mut parts = Vec::new();
    decode_into(bytes, 0, &mut Vec::new(), &mut parts)?;
    Ok(parts)
}

fn decode_into(
    bytes: &[u8],
    base: usize,
    tags: &mut Vec<String>,
    parts: &mut Vec<Part>,
) -> Result<(), DecodeError> {
    let mut at = 0;
    let error = |at: usize| DecodeError { offset: base + at };
    if tags.len() > DEPTH_MAX {
        return Err(error(0));
    }
    while at < bytes.len() {
        let start = at;
        let mut take = |length: usize| {
            let end = at.checked_add(length).filter(|end| *end <= bytes.len()).ok_or(error(start))?;
            let taken = &bytes[at..end];
            at = end;
            Ok(taken)
        };
        let tag_length = take(2)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let tag = std::str::from_utf8(take(tag_length)?).map_err(|_| error(start))?.to_owned();
        let kind = Kind::from_byte(take(1)?[0]).ok_or(error(start))?;
        let length: [u8; 8] = take(8)?.try_into().map_err(|_| error(start))?;
        let length = usize::try_from(u64::from_be_bytes(length)).map_err(|_| error(start))?;
        let payload = take(length)?;
        tags.push(tag);
        let value = match kind {
            Kind::Absent if payload.is_empty() => Some(Value::Absent),
            Kind::Boolean if matches!(payload, [0 | 1]) => Some(Value::Boolean(payload == [1])),
            Kind::Integer => {
                let bytes = payload.try_into().map_err(|_| error(start))?;
                Some(Value::Integer(i64::from_be_bytes(bytes)))
            }
            Kind::Text => {
                let text = std::str::from_utf8(payload).map_err(|_| error(start))?;
                Some(Value::Text(text.to_owned()))
            }
            Kind::Bytes => Some(Value::Bytes(payload.to_vec())),
            Kind::Digest => {
                let bytes = payload.try_into().map_err(|_| error(start))?;
                Some(Value::Digest(Digest::from_bytes(bytes)))
            }
            Kind::Group if payload.is_empty() => Some(Value::Empty),
            Kind::Group => {
                let payload_base = base + at - payload.len();
                decode_into(payload, payload_base, tags, parts)?;
                None
            }
            Kind::Absent | Kind::Boolean => return Err(error(start)),
        };
        if let Some(value) = value {
            parts.push(Part { tags: tags.clone(), value });
        }
        tags.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_gives_back_what_was_written() {
        let mut encoder = Encoder::new();
        encoder.absent("a").boolean("b", true).integer("c", -7).text("d", "").bytes("e", &[0, 255]);
        encoder.group("f", |inner| {
            inner.text("x", "1").group("empty", |_| {});
        });
        let parts = decode(&encoder.finish()).unwrap();
        let shown: Vec<String> =
            parts.iter().map(|p| format!("{} = {}", p.tags.join("."), p.value)).collect();
        assert_eq!(
            shown,
            [
                "a = (unset)",
                "b = true",
                "c = -7",
                "d = \"\"",
                "e = \"\\0�\"",
                "f.x = \"1\"",
                "f.empty = (empty)"
            ]
        );
    }

    #[test]
    fn neighbours_cannot_run_into_each_other() {
        let encode = |a: &str, b: &str| {
            let mut encoder = Encoder::new();
            encoder.text("x", a).text("y", b);
            encoder.finish()
        };
        assert_ne!(encode("ab", "c"), encode("a", "bc"));
        assert_ne!(encode("", "abc"), encode("abc", ""));
    }

    #[test]
    fn cut_and_scribbled_bytes_are_refused_not_trusted() {
        let mut encoder = Encoder::new();
        encoder.group("g", |inner| {
            inner.text("t", "value").integer("i", 5);
        });
        let bytes = encoder.finish();
        for cut in 1..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut deep = Vec::new();
        for _ in 0..100 {
            let mut encoder = Encoder::new();
            encoder.part("g", Kind::Group, &deep);
            deep = encoder.finish();
        }
        assert!(decode(&deep).is_err());
    }
}
