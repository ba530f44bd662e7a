//! Records as rows of Parquet: every column optional, compressed by Zstandard, in row groups of bounded size.

mod guess;
mod table;

use std::fs::File;
use std::io;

use ::parquet::errors::ParquetError;

use super::Failure;
use super::columns::Kind;
use guess::Guesses;
use table::Table;

/// Records whose values decide the columns, when none are declared …
const GATHERED_RECORDS: usize = 10_000;

/// … or as many as have this many bytes.
const GATHERED_BYTES: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Rows {
    /// Taken when the table begins.
    file: Option<File>,
    gathered: Gathered,
    table: Option<Table>,
}

/// Records that wait for their columns.
#[derive(Debug, Default)]
struct Gathered {
    guesses: Guesses,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    pub(super) fn new(file: File, declared: Vec<(String, Kind)>) -> Result<Self, Failure> {
        let mut rows = Self { file: Some(file), gathered: Gathered::default(), table: None };
        if !declared.is_empty() {
            rows.begin(declared, true)?;
        }
        Ok(rows)
    }

    fn begin(&mut self, columns: Vec<(String, Kind)>, declared: bool) -> Result<(), Failure> {
        let file = self.file.take().expect("a table begins once");
        self.table = Some(Table::new(file, columns, declared)?);
        Ok(())
    }

    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        if let Some(table) = &mut self.table {
            return table.write(record);
        }
        self.gathered.guesses.add(record).map_err(Failure::Record)?;
        self.gathered.bytes.extend_from_slice(record);
        self.gathered.ends.push(self.gathered.bytes.len());
        if self.gathered.ends.len() >= GATHERED_RECORDS || self.gathered.bytes.len() >= GATHERED_BYTES {
            self.settle()?;
        }
        Ok(())
    }

    /// Decides the columns by what was gathered, and writes that.
    fn settle(&mut self) -> Result<(), Failure> {
        let Gathered { guesses, bytes, ends } = std::mem::take(&mut self.gathered);
        let columns = guesses.into_columns();
        if columns.is_empty() && !ends.is_empty() {
            return Err(Failure::NoColumns);
        }
        self.begin(columns, false)?;
        let table = self.table.as_mut().expect("it has just begun");
        let mut start = 0;
        for end in ends {
            table.write(&bytes[start..end])?;
            start = end;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<File, Failure> {
        if self.table.is_none() {
            self.settle()?;
        }
        self.table.expect("it was declared, or settled now").finish()
    }
}

fn io_failure(error: ParquetError) -> Failure {
    Failure::Io(match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        other => io::Error::other(other),
    })
}
