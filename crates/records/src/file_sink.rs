//! Records written to a file that is an output of the stage, as JSON Lines, CSV or Parquet.
//!
//! The bytes are a function of the records, their order and the declared columns: no time, version or random number is
//! among them, so that equal records are an equal output. It neither syncs nor renames: whoever publishes outputs does.

mod behind;
mod columns;
mod csv;
mod parquet;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cairn_model::Format;

use crate::source::BadRecord;
use behind::Behind;
use columns::Kind;

/// Writes records to one file, one after the other.
#[derive(Debug)]
pub struct FileWriter {
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Jsonl(Behind),
    Csv(Box<csv::Rows>),
    Parquet(Box<parquet::Rows>),
}

/// A file or a record that was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The system did not take it. Nothing more can be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A declared type that no column can have.
    #[error("the column `{column}` of `{}` is declared as `{kind}`, which is no type", path.display())]
    UnknownType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// What was declared.
        kind: String,
    },
    /// There are records, and none has a field.
    #[error("no record for `{}` has a field", path.display())]
    NoColumns {
        /// The file.
        path: PathBuf,
    },
    /// The record does not fit. Nothing of it was written, and the next ones can be.
    #[error("{0}")]
    Record(BadRecord),
}

impl WriteError {
    /// Says what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } => help_for(source),
            Self::UnknownType { .. } => Some(format!("types are {}", Kind::WORDS)),
            Self::NoColumns { .. } => Some("declare them: `columns = { id = \"string\" }`".to_owned()),
            Self::Record(bad) => bad.help.clone(),
        }
    }
}

/// Says what to do about a file that the system did not take.
pub(crate) fn help_for(cause: &io::Error) -> Option<String> {
    let is_full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    is_full.then(|| "make room and run again: what was finished is kept".to_owned())
}

/// What a form's writer fails with, before the path is known.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    NoColumns,
    Record(BadRecord),
}

impl FileWriter {
    /// Creates the file, or empties it.
    ///
    /// `columns` are the types of all columns by name, in this order: `string`, `integer`, `float`, `boolean`,
    /// `timestamp`, `json`. When there are none, a CSV file has the fields of the first record, in their order; a Parquet
    /// file has those of the first 10 000, each of the narrowest type that takes all their values. JSON Lines need none. A Parquet file of no records
    /// has no columns but declared ones, and then not every program reads it.
    pub fn create(
        path: &Path,
        format: Format,
        columns: &BTreeMap<String, String>,
    ) -> Result<Self, WriteError> {
        let mut declared = Vec::with_capacity(columns.len());
        for (name, kind) in columns {
            let kind = Kind::parse(kind).ok_or_else(|| WriteError::UnknownType {
                path: path.to_owned(),
                column: name.clone(),
                kind: kind.clone(),
            })?;
            declared.push((name.clone(), kind));
        }
        let failed = |failure| failed(path, failure);
        let file = File::create(path).map_err(|error| failed(Failure::Io(error)))?;
        let form = match format {
            Format::Jsonl => Form::Jsonl(Behind::new(file).map_err(|error| failed(Failure::Io(error)))?),
            Format::Csv => Form::Csv(Box::new(csv::Rows::new(file, declared).map_err(failed)?)),
            Format::Parquet => Form::Parquet(Box::new(parquet::Rows::new(file, declared).map_err(failed)?)),
        };
        Ok(Self { path: path.to_owned(), form })
    }

    /// Writes one record, which is one JSON object in UTF-8.
    pub fn write(&mut self, record: &[u8]) -> Result<(), WriteError> {
        let written = match &mut self.form {
            Form::Jsonl(file) => write_line(file, record).map_err(Failure::Io),
            Form::Csv(rows) => rows.write(record),
            Form::Parquet(rows) => rows.write(record),
        };
        written.map_err(|failure| failed(&self.path, failure))
    }

    /// Writes what is left and gives back the file, which was not synced.
    pub fn finish(self) -> Result<File, WriteError> {
        let finished = match self.form {
            Form::Jsonl(file) => file.finish().map_err(Failure::Io),
            Form::Csv(rows) => rows.finish(),
            Form::Parquet(rows) => rows.finish(),
        };
        finished.map_err(|failure| failed(&self.path, failure))
    }
}

fn failed(path: &Path, failure: Failure) -> WriteError {
    match failure {
        Failure::Io(source) => WriteError::Io { path: path.to_owned(), source },
        Failure::NoColumns => WriteError::NoColumns { path: path.to_owned() },
        Failure::Record(bad) => WriteError::Record(bad),
    }
}

/// Writes the record's bytes and a line end. A line end within can only stand between values, where a blank means the same.
fn write_line(file: &mut impl Write, record: &[u8]) -> io::Result<()> {
    let mut rest = record;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        file.write_all(&rest[..end])?;
        file.write_all(b" ")?;
        rest = &rest[end + 1..];
    }
    file.write_all(rest)?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests;
