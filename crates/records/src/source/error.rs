//! What is wrong with a whole source file.

use std::fmt;
use std::io;

use cairn_model::ProjectPath;

/// A file whose records cannot be read, or not to their end.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing says how to read it.
    #[error("`{path}` has no ending that says how it is read")]
    UnknownFormat {
        /// The file.
        path: ProjectPath,
    },
    /// It is a Parquet file inside of another compression.
    #[error("`{path}` is a Parquet file that was compressed as a whole, which can only be read from its end")]
    PackedParquet {
        /// The file.
        path: ProjectPath,
    },
    /// The system did not give it.
    #[error("cannot read `{path}`{position}: {source}")]
    Io {
        /// The file.
        path: ProjectPath,
        /// How far it was read.
        position: Position,
        /// What the system said.
        source: io::Error,
    },
    /// A compressed file ends too early.
    #[error("`{path}` breaks off{position}: its compressed data has no end")]
    Truncated {
        /// The file.
        path: ProjectPath,
        /// How far it could be unpacked.
        position: Position,
    },
    /// A compressed file holds something else.
    #[error("`{path}` is damaged{position}: {source}")]
    Damaged {
        /// The file.
        path: ProjectPath,
        /// How far it could be unpacked.
        position: Position,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The first line of a CSV file cannot name its columns.
    #[error("the header of `{path}` {what}")]
    Header {
        /// The file.
        path: ProjectPath,
        /// What is wrong with it.
        what: String,
    },
    /// A column of a Parquet file has a type that has no form in JSON.
    #[error("the column `{column}` of `{path}` holds {values}, which have no form in JSON")]
    ParquetType {
        /// The file.
        path: ProjectPath,
        /// The column, names within groups after dots.
        column: String,
        /// What its values are called.
        values: &'static str,
    },
    /// A Parquet file, or a group in it, has two columns of one name.
    #[error("the schema of `{path}` names the column `{column}` twice")]
    ParquetTwice {
        /// The file.
        path: ProjectPath,
        /// The column, names within groups after dots.
        column: String,
    },
    /// It is no Parquet file, or a damaged one.
    #[error("`{path}` cannot be read as Parquet{position}: {what}")]
    Parquet {
        /// The file.
        path: ProjectPath,
        /// How far it was read.
        position: Position,
        /// What is wrong.
        what: String,
    },
}

/// How far a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Nothing of it.
    Start,
    /// Lines and bytes that were read before; in a compressed file those that were unpacked.
    Text {
        /// Whole lines.
        lines: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Rows that were read before.
    Row(u64),
}

impl SourceError {
    /// Returns the file.
    pub fn path(&self) -> &ProjectPath {
        match self {
            Self::UnknownFormat { path }
            | Self::PackedParquet { path }
            | Self::Io { path, .. }
            | Self::Truncated { path, .. }
            | Self::Damaged { path, .. }
            | Self::Header { path, .. }
            | Self::ParquetType { path, .. }
            | Self::ParquetTwice { path, .. }
            | Self::Parquet { path, .. } => path,
        }
    }

    /// Says what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::UnknownFormat { .. } => Some(
                "end its name in `.jsonl`, `.csv` or `.parquet`, or say `format = \"jsonl\"` (or `csv`, `parquet`)"
                    .to_owned(),
            ),
            Self::PackedParquet { .. } => {
                Some("unpack it; Parquet compresses its columns itself".to_owned())
            }
            Self::Io { .. } => None,
            Self::Truncated { path, .. } => {
                Some(format!("fetch or write `{path}` again: the end of it is missing"))
            }
            Self::Damaged { path, .. } => {
                Some(format!("fetch or write `{path}` again, or give it the ending of what it is"))
            }
            Self::Header { .. } => Some("give each column a name of its own in the first line".to_owned()),
            Self::ParquetType { column, .. } => {
                Some(format!("write the file without `{column}`, or with texts in it"))
            }
            Self::ParquetTwice { .. } => Some("write it with a name of its own for each column".to_owned()),
            Self::Parquet { path, what, .. } if what.contains("Disabled feature") => {
                Some(format!("write `{path}` compressed by zstd, snappy or gzip, or not at all"))
            }
            Self::Parquet { path, .. } => {
                Some(format!("fetch or write `{path}` again, or say what it is by `format = \"jsonl\"` or `\"csv\"`"))
            }
        }
    }

    /// Tells what a decompressor meant from what the system said.
    pub(super) fn from_io(path: &ProjectPath, position: Position, source: io::Error) -> Self {
        let path = path.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated { path, position },
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                Self::Damaged { path, position, source }
            }
            _ => Self::Io { path, position, source },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => Ok(()),
            Self::Text { lines, bytes } => write!(f, " after line {lines} (byte {bytes})"),
            Self::Row(row) => write!(f, " after row {row}"),
        }
    }
}
