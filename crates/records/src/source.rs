//! Where records come from: JSON Lines, CSV and Parquet, one at a time and in bounded memory.
//!
//! What is wrong with one record is a [`BadRecord`] in its place, and reading goes on with the next; what is wrong with
//! the file is a [`SourceError`], and nothing after it can be read.
//!
//! | ending | read as |
//! | --- | --- |
//! | `.jsonl`, `.ndjson`, `.json` | JSON Lines: one object a line; empty lines are passed over |
//! | `.csv` | RFC 4180 with a header line; every value is a text |
//! | `.parquet` | Parquet: each row an object |
//! | `.gz`, `.zst` after one of the first two | unpacked on the way, several members or frames too |
//!
//! It does not look into records beyond that they can be handed on: [`crate::fields`] does.

mod bad;
mod csv;
mod error;
mod lines;
mod opened;
mod parquet;

use std::path::PathBuf;

use cairn_model::{Format, ProjectPath};

pub use bad::{BadClass, BadRecord};
pub use error::{Position, SourceError};
pub(crate) use opened::is_untyped;

/// A file of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// What people call it.
    pub path: ProjectPath,
    /// Where it is read.
    pub disk: PathBuf,
}

/// One record as it stands in its file.
#[derive(Debug)]
pub struct Raw<'a> {
    /// How many records of this file come before it, bad ones included.
    pub ordinal: u64,
    /// The line it begins on, from 1; 0 in a Parquet file.
    pub line: u64,
    /// Bytes that should be one JSON object, in UTF-8 and without a NUL: [`crate::fields`] checks that they are. They
    /// are valid until the next call.
    pub body: Result<&'a [u8], BadRecord>,
}

/// Reads the records of one file in their order.
#[derive(Debug)]
pub struct Reader {
    path: ProjectPath,
    /// How many records were read or passed over.
    ordinal: u64,
    /// What a file gives after an error would be a record cut in two.
    failed: bool,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Jsonl(lines::Lines),
    Csv(Box<csv::Rows>),
    Parquet(Box<parquet::Rows>),
}

impl Reader {
    /// Opens `file`. `format` stands above its ending; what it is compressed by, only the ending says.
    pub fn open(file: &SourceFile, format: Option<Format>) -> Result<Self, SourceError> {
        let path = file.path.clone();
        let form = match opened::open(file, format)? {
            opened::Opened::Jsonl(from) => Form::Jsonl(lines::Lines::new(from)),
            opened::Opened::Csv(from) => Form::Csv(Box::new(csv::Rows::new(&path, from)?)),
            opened::Opened::Parquet(from) => Form::Parquet(Box::new(parquet::Rows::new(&path, from)?)),
        };
        Ok(Self { path, ordinal: 0, failed: false, form })
    }

    /// Returns whether the file has no types, so that a text of digits may well be a number: CSV.
    pub fn is_untyped(&self) -> bool {
        matches!(self.form, Form::Csv(_))
    }

    /// Returns the next record, `None` after the last and after an error.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend its buffer")]
    pub fn next(&mut self) -> Result<Option<Raw<'_>>, SourceError> {
        self.next_if(|_| true)
    }

    /// Returns the next record whose ordinal `wanted` says true to. The others are neither checked nor put into JSON.
    pub fn next_if(&mut self, mut wanted: impl FnMut(u64) -> bool) -> Result<Option<Raw<'_>>, SourceError> {
        while self.advance()? {
            let ordinal = self.ordinal;
            self.ordinal += 1;
            if wanted(ordinal) {
                let (line, body) = match &mut self.form {
                    Form::Jsonl(lines) => (lines.line(), lines.body()),
                    Form::Csv(rows) => (rows.line(), rows.body()),
                    Form::Parquet(rows) => (0, rows.body()),
                };
                return Ok(Some(Raw { ordinal, line, body }));
            }
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<bool, SourceError> {
        if self.failed {
            return Ok(false);
        }
        let advanced = match &mut self.form {
            Form::Jsonl(lines) => lines.advance().map_err(|error| lines.error(&self.path, error)),
            Form::Csv(rows) => rows.advance(&self.path),
            Form::Parquet(rows) => rows.advance(&self.path),
        };
        self.failed = advanced.is_err();
        advanced
    }
}

#[cfg(test)]
mod tests;
