//! Which of two records of one key is the newer: version values as bytes that sort as the values do.
//!
//! | value | bytes |
//! | --- | --- |
//! | number | `10`, sign (`00` negative, `01` zero, `02` positive), exponent, digits, `00`; all after the sign inverted when negative |
//! | moment | `20`, seconds since 1970 with the sign bit flipped (8, big-endian), nanoseconds (4, big-endian) |
//! | any other text | `30`, its bytes |
//!
//! Numbers are compared by their exact value, however they are written; moments by the instant in UTC. These bytes are
//! kept in the store: their form is never changed.

pub(crate) mod decimal;
pub(crate) mod instant;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use decimal::Decimal;

/// A version value as bytes, at most [`OrderBytes::MAX`]: `a < b` if and only if the value of `a` comes before that of `b`.
#[derive(Clone)]
pub struct OrderBytes(Stored);

/// Most versions are short: no allocation for them.
#[derive(Clone)]
enum Stored {
    Inline { length: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

const INLINE: usize = 30;
const NUMBER: u8 = 0x10;
const MOMENT: u8 = 0x20;
const TEXT: u8 = 0x30;

/// Why a value has no place in the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is `null`.
    #[error("is null")]
    Null,
    /// It is true, false, an array or an object.
    #[error("is {0}, neither a number nor a text")]
    Kind(&'static str),
    /// It needs more bytes than [`OrderBytes::MAX`].
    #[error("is longer than {} bytes", OrderBytes::MAX - 1)]
    TooLong,
    /// It is a number whose exponent does not fit 32 bits, or a text that is no Unicode.
    #[error("is out of range")]
    OutOfRange,
}

impl OrderBytes {
    /// The most bytes of one.
    pub const MAX: usize = 255;

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Stored::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Stored::Heap(bytes) => bytes,
        }
    }

    /// Takes bytes that [`Self::as_bytes`] gave; `None` when they are more than [`Self::MAX`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX {
            return None;
        }
        let mut inline = [0; INLINE];
        Some(Self(match inline.get_mut(..bytes.len()) {
            Some(start) => {
                start.copy_from_slice(bytes);
                Stored::Inline { length: u8::try_from(bytes.len()).ok()?, bytes: inline }
            }
            None => Stored::Heap(bytes.into()),
        }))
    }

    /// Returns the order of a JSON value. `value` is one value without space around it, checked to be JSON.
    ///
    /// With `untyped`, a text of digits with at most one point (`007`, `12.50`) is the number: a CSV file has no others.
    pub fn of_json(value: &str, untyped: bool) -> Result<Self, OrderError> {
        match value.as_bytes().first() {
            Some(b'"') => {
                let inner = &value[1..value.len() - 1];
                if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
                    Self::of_text(inner, untyped)
                } else {
                    let text: String = serde_json::from_str(value).map_err(|_| OrderError::OutOfRange)?;
                    Self::of_text(&text, untyped)
                }
            }
            Some(b't' | b'f') => Err(OrderError::Kind("a boolean")),
            Some(b'[') => Err(OrderError::Kind("an array")),
            Some(b'{') => Err(OrderError::Kind("an object")),
            Some(b'-' | b'0'..=b'9') => Self::of_number(value.as_bytes()),
            _ => Err(OrderError::Null),
        }
    }

    fn of_text(text: &str, untyped: bool) -> Result<Self, OrderError> {
        if untyped && decimal::is_plain_number(text.as_bytes()) {
            return Self::of_number(text.as_bytes());
        }
        let mut bytes = Builder::new();
        if let Some(moment) = instant::parse(text) {
            // Whole seconds downwards, so that the rest is never negative.
            let nanoseconds = moment.as_nanosecond();
            let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).expect("years have 4 digits");
            let rest = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).expect("below 10⁹");
            bytes.push(MOMENT);
            bytes.extend(&(seconds ^ i64::MIN).to_be_bytes());
            bytes.extend(&rest.to_be_bytes());
        } else {
            bytes.push(TEXT);
            bytes.extend(text.as_bytes());
        }
        bytes.finish()
    }

    fn of_number(text: &[u8]) -> Result<Self, OrderError> {
        let number = Decimal::parse(text).ok_or(OrderError::OutOfRange)?;
        let mut bytes = Builder::new();
        bytes.push(NUMBER);
        if number.is_zero() {
            bytes.push(1);
            return bytes.finish();
        }
        bytes.push(if number.is_negative() { 0 } else { 2 });
        let inverted = if number.is_negative() { 0xff } else { 0 };
        for byte in (number.exponent() ^ i32::MIN).to_be_bytes() {
            bytes.push(byte ^ inverted);
        }
        number.digits().for_each(|digit| bytes.push(digit ^ inverted));
        bytes.push(inverted);
        bytes.finish()
    }
}

/// Collects bytes without an allocation, and counts those that have no place.
struct Builder {
    bytes: [u8; OrderBytes::MAX],
    length: usize,
}

impl Builder {
    fn new() -> Self {
        Self { bytes: [0; OrderBytes::MAX], length: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    fn extend(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
        }
        self.length = end;
    }

    fn finish(&self) -> Result<OrderBytes, OrderError> {
        let bytes = self.bytes.get(..self.length).ok_or(OrderError::TooLong)?;
        OrderBytes::from_bytes(bytes).ok_or(OrderError::TooLong)
    }
}

impl PartialEq for OrderBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for OrderBytes {}

impl PartialOrd for OrderBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for OrderBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for OrderBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderBytes({:02x?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests;
