//! Records as rows of RFC 4180, with a header line and `\n` at the ends of lines.
//!
//! Null and a field that is missing are empty, numbers and booleans as they are written, arrays and objects JSON text.

use std::fs::File;
use std::io;

use super::Failure;
use super::columns::{Columns, Kind, not_an_object, text};
use crate::object::each_field;
use crate::source::{BadClass, BadRecord};

#[derive(Debug)]
pub(super) struct Rows {
    file: ::csv::Writer<File>,
    /// `None` until the first record named them.
    columns: Option<Columns>,
    row: ::csv::ByteRecord,
}

impl Rows {
    pub(super) fn new(file: File, declared: Vec<(String, Kind)>) -> Result<Self, Failure> {
        let file = ::csv::WriterBuilder::new().buffer_capacity(1 << 18).from_writer(file);
        let mut rows = Self { file, columns: None, row: ::csv::ByteRecord::new() };
        if !declared.is_empty() {
            let names = declared.into_iter().map(|(name, _)| name).collect();
            rows.begin(Columns::new(names, true))?;
        }
        Ok(rows)
    }

    fn begin(&mut self, columns: Columns) -> Result<(), Failure> {
        self.file.write_record(columns.names()).map_err(io_failure)?;
        self.columns = Some(columns);
        Ok(())
    }

    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        let Some(columns) = &self.columns else {
            return self.write_first(record);
        };
        fill(&mut self.row, columns, record).map_err(Failure::Record)?;
        self.file.write_byte_record(&self.row).map_err(io_failure)
    }

    /// Takes the columns from the record, unless it does not fit itself.
    fn write_first(&mut self, record: &[u8]) -> Result<(), Failure> {
        let mut names: Vec<String> = Vec::new();
        let walked = each_field(record, |name, _| {
            if !names.iter().any(|known| *known == name) {
                names.push(name.into_owned());
            }
        });
        walked.map_err(|error| Failure::Record(not_an_object(&error, record)))?;
        if names.is_empty() {
            let bad =
                BadRecord::new(BadClass::Value, "the first record has no fields to name columns by", record);
            return Err(Failure::Record(bad.help("declare them: `columns = { id = \"string\" }`")));
        }
        let columns = Columns::new(names, false);
        fill(&mut self.row, &columns, record).map_err(Failure::Record)?;
        self.begin(columns)?;
        self.file.write_byte_record(&self.row).map_err(io_failure)
    }

    pub(super) fn finish(self) -> Result<File, Failure> {
        self.file.into_inner().map_err(|error| Failure::Io(error.into_error()))
    }
}

fn fill(row: &mut ::csv::ByteRecord, columns: &Columns, record: &[u8]) -> Result<(), BadRecord> {
    row.clear();
    for (name, value) in columns.names().iter().zip(columns.values(record)?) {
        match value.unwrap_or("null") {
            "null" => row.push_field(b""),
            value if value.starts_with('"') => {
                let bad =
                    |what: &str| BadRecord::new(BadClass::Value, format!("field `{name}` {what}"), record);
                let text = text(value).ok_or_else(|| bad("holds an escape that stands for no character"))?;
                if text.contains('\0') {
                    return Err(bad("holds a NUL, which a CSV file cannot"));
                }
                row.push_field(text.as_bytes());
            }
            value => row.push_field(value.as_bytes()),
        }
    }
    Ok(())
}

fn io_failure(error: ::csv::Error) -> Failure {
    Failure::Io(match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })
}
