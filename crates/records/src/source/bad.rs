//! What is wrong with one record.

use std::fmt;

/// A record that cannot be used, with enough of it to find it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct BadRecord {
    /// The kind of fault.
    pub class: BadClass,
    /// What is wrong, with the field where there is one.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The record's first bytes, at most [`BadRecord::EXCERPT`].
    pub excerpt: Vec<u8>,
}

/// The kinds of faults that a record can have before anything is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BadClass {
    /// It is longer than [`BadRecord::LONGEST`].
    TooLong,
    /// It is not UTF-8, or holds a NUL byte.
    Encoding,
    /// It is not one JSON object.
    Json,
    /// It has another number of fields than its header, or a quote that is not closed.
    Row,
    /// A field of the key is missing, null, or holds others.
    Key,
    /// The version is missing, or has no place in an order.
    Version,
    /// A value that has no form in JSON or in the file it goes to.
    Value,
}

impl BadRecord {
    /// The most bytes of a record: 16 MiB.
    pub const LONGEST: usize = 16 << 20;

    /// The most bytes of an excerpt: 4 KiB.
    pub const EXCERPT: usize = 4 << 10;

    pub(crate) fn new(class: BadClass, error: impl Into<String>, record: &[u8]) -> Self {
        let excerpt = record[..record.len().min(Self::EXCERPT)].to_vec();
        Self { class, error: error.into(), help: None, excerpt }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn too_long(start: &[u8]) -> Self {
        let error = format!("the record is longer than {} MiB", Self::LONGEST >> 20);
        Self::new(BadClass::TooLong, error, start)
            .help("put its large values into files of their own and name them in the record")
    }

    /// Checks what every record must be, whatever its file: UTF-8 without a NUL.
    pub(super) fn check_text(record: &[u8]) -> Result<(), Self> {
        if let Err(error) = std::str::from_utf8(record) {
            let error = format!("byte {} of the record is not UTF-8", error.valid_up_to() + 1);
            return Err(Self::new(BadClass::Encoding, error, record)
                .help("convert the file, for example by `iconv -f latin1 -t utf-8`"));
        }
        if let Some(at) = memchr::memchr(0, record) {
            let error = format!("byte {} of the record is a NUL", at + 1);
            return Err(Self::new(BadClass::Encoding, error, record)
                .help("NULs come from files that are no text or were not written to their end; `tr -d '\\0'` takes them out"));
        }
        Ok(())
    }
}

impl BadClass {
    /// Returns the word under which such faults are counted and found.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::Encoding => "encoding",
            Self::Json => "json",
            Self::Row => "row",
            Self::Key => "key",
            Self::Version => "version",
            Self::Value => "value",
        }
    }
}

impl fmt::Display for BadClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
