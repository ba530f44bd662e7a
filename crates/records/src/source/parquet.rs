//! Rows of a Parquet file as JSON objects, one row group after the other.

mod json;

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cairn_model::ProjectPath;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Row;
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::schema::types::{ColumnDescriptor, SchemaDescPtr, Type};

use super::{BadClass, BadRecord, Position, SourceError};

pub(super) struct Rows {
    file: SerializedFileReader<File>,
    schema: SchemaDescPtr,
    /// Row groups that were begun.
    groups: usize,
    group: Option<ReaderIter>,
    row: Option<Row>,
    /// Rows that were read.
    count: u64,
    json: Vec<u8>,
}

impl Rows {
    pub(super) fn new(path: &ProjectPath, from: File) -> Result<Self, SourceError> {
        let failed =
            |what: String| SourceError::Parquet { path: path.clone(), position: Position::Start, what };
        let file = caught(|| SerializedFileReader::new(from)).map_err(failed)?;
        let no_form = |column: &ColumnDescriptor, values| {
            let column = column.path().string();
            SourceError::ParquetType { path: path.clone(), column, values }
        };
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        if let Some(column) = twice(schema.root_schema()) {
            return Err(SourceError::ParquetTwice { path: path.clone(), column });
        }
        for column in schema.columns() {
            if column.converted_type() == ConvertedType::INTERVAL {
                return Err(no_form(column, "intervals"));
            }
            if matches!(column.logical_type_ref(), Some(LogicalType::Variant(_))) {
                return Err(no_form(column, "variants"));
            }
        }
        Ok(Self { file, schema, groups: 0, group: None, row: None, count: 0, json: Vec::new() })
    }

    /// Goes to the next row; false after the last.
    pub(super) fn advance(&mut self, path: &ProjectPath) -> Result<bool, SourceError> {
        let position = Position::Row(self.count);
        caught(|| self.read_row()).map_err(|what| SourceError::Parquet { path: path.clone(), position, what })
    }

    fn read_row(&mut self) -> Result<bool, ParquetError> {
        loop {
            if let Some(row) = self.group.as_mut().and_then(Iterator::next) {
                self.row = Some(row?);
                self.count += 1;
                return Ok(true);
            }
            if self.groups == self.file.num_row_groups() {
                self.row = None;
                return Ok(false);
            }
            let group = self.file.get_row_group(self.groups)?;
            self.group = Some(TreeBuilder::new().as_iter(self.schema.clone(), &*group)?);
            self.groups += 1;
        }
    }

    /// Returns the current row as a JSON object.
    pub(super) fn body(&mut self) -> Result<&[u8], BadRecord> {
        self.json.clear();
        let row = self.row.as_ref().expect("it was advanced to a row");
        match json::write_row(row, Some(self.schema.root_schema()), &mut self.json) {
            Ok(()) if self.json.len() > BadRecord::LONGEST => Err(BadRecord::too_long(&self.json)),
            Ok(()) => {
                BadRecord::check_text(&self.json)?;
                Ok(&self.json)
            }
            Err(error) => Err(BadRecord::new(BadClass::Value, error, &self.json)),
        }
    }
}

/// Returns what is wrong as a text. The library panics over some damaged files; nothing is read after that, so that no
/// half-changed state of it is ever seen.
fn caught<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::General(text) | ParquetError::EOF(text))) => Err(text),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it is damaged".to_owned()),
    }
}

/// Returns a name that a group has twice, after those of the groups around it.
fn twice(group: &Type) -> Option<String> {
    let mut names = HashSet::new();
    group.get_fields().iter().find_map(|field| {
        if !names.insert(field.name()) {
            return Some(field.name().to_owned());
        }
        let within = if field.is_group() { twice(field) } else { None };
        within.map(|name| format!("{}.{name}", field.name()))
    })
}

/// Returns the type of a group's field by its place.
fn field_type(group: Option<&Type>, index: usize) -> Option<&Type> {
    let group = group.filter(|group| group.is_group())?;
    group.get_fields().get(index).map(AsRef::as_ref)
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("count", &self.count).finish_non_exhaustive()
    }
}
