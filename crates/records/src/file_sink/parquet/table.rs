//! Columns of values that become a row group when they are enough.

use std::fmt;
use std::fs::File;
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use ::parquet::schema::types::{Type, TypePtr};

use super::super::Failure;
use super::super::columns::{Columns, Kind, text, toml_key};
use super::io_failure;
use crate::order::decimal::Decimal;
use crate::order::instant;
use crate::source::{BadClass, BadRecord};

/// Rows of a row group at most …
const GROUP_ROWS: usize = 1 << 17;

/// … or as many as have this many bytes.
const GROUP_BYTES: usize = 32 << 20;

pub(super) struct Table {
    file: SerializedFileWriter<File>,
    names: Columns,
    columns: Vec<Column>,
    rows: usize,
    bytes: usize,
}

struct Column {
    kind: Kind,
    /// By row: 1 where there is a value, 0 where there is none.
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Boolean(Vec<bool>),
    Integer(Vec<i64>),
    Float(Vec<f64>),
    Bytes(Vec<ByteArray>),
}

enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Bytes(Vec<u8>),
}

impl Table {
    pub(super) fn new(file: File, columns: Vec<(String, Kind)>, declared: bool) -> Result<Self, Failure> {
        let fields: Result<Vec<TypePtr>, ParquetError> =
            columns.iter().map(|(name, kind)| Ok(Arc::new(field(name, *kind)?))).collect();
        let schema = fields.and_then(|fields| Type::group_type_builder("record").with_fields(fields).build());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // The library's own version would change the bytes with each update of it.
            .set_created_by("cairn".to_owned())
            .build();
        let file =
            SerializedFileWriter::new(file, Arc::new(schema.map_err(io_failure)?), Arc::new(properties))
                .map_err(io_failure)?;
        let (names, kinds): (Vec<String>, Vec<Kind>) = columns.into_iter().unzip();
        Ok(Self {
            file,
            names: Columns::new(names, declared),
            columns: kinds.into_iter().map(Column::new).collect(),
            rows: 0,
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        let values = self.names.values(record).map_err(Failure::Record)?;
        // All cells before the first is put down: a record that does not fit leaves nothing behind.
        let mut cells = Vec::with_capacity(values.len());
        for ((column, name), value) in self.columns.iter().zip(self.names.names()).zip(values) {
            let cell = cell(column.kind, value.unwrap_or("null"));
            cells.push(cell.ok_or_else(|| Failure::Record(does_not_fit(column.kind, name, record)))?);
        }
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            self.bytes += column.push(cell);
        }
        self.rows += 1;
        if self.rows >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.write_group().map_err(io_failure)?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for column in &mut self.columns {
            column.write(&mut group)?;
        }
        group.close()?;
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<File, Failure> {
        if self.rows > 0 {
            self.write_group().map_err(io_failure)?;
        }
        self.file.finish().map_err(io_failure)?;
        // The library's own way to its file writes a second end and hides what the system says.
        self.file.inner().try_clone().map_err(Failure::Io)
    }
}

impl Column {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Integer | Kind::Timestamp => Values::Integer(Vec::new()),
            Kind::Float => Values::Float(Vec::new()),
            Kind::String | Kind::Json => Values::Bytes(Vec::new()),
        };
        Self { kind, levels: Vec::new(), values }
    }

    /// Puts a cell down and returns how many bytes it takes.
    fn push(&mut self, cell: Cell) -> usize {
        let bytes = match (&mut self.values, cell) {
            (_, Cell::Null) => {
                self.levels.push(0);
                return size_of::<i16>();
            }
            (Values::Boolean(values), Cell::Boolean(value)) => {
                values.push(value);
                1
            }
            (Values::Integer(values), Cell::Integer(value)) => {
                values.push(value);
                size_of::<i64>()
            }
            (Values::Float(values), Cell::Float(value)) => {
                values.push(value);
                size_of::<f64>()
            }
            (Values::Bytes(values), Cell::Bytes(value)) => {
                let length = value.len() + size_of::<ByteArray>();
                values.push(value.into());
                length
            }
            _ => unreachable!("a cell is made for its column's type"),
        };
        self.levels.push(1);
        bytes + size_of::<i16>()
    }

    fn write(&mut self, group: &mut SerializedRowGroupWriter<'_, File>) -> Result<(), ParquetError> {
        match &mut self.values {
            Values::Boolean(values) => write_values::<BoolType>(group, values, &self.levels),
            Values::Integer(values) => write_values::<Int64Type>(group, values, &self.levels),
            Values::Float(values) => write_values::<DoubleType>(group, values, &self.levels),
            Values::Bytes(values) => write_values::<ByteArrayType>(group, values, &self.levels),
        }?;
        self.levels.clear();
        Ok(())
    }
}

fn write_values<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &mut Vec<T::T>,
    levels: &[i16],
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has as many columns");
    column.typed::<T>().write_batch(values, Some(levels), None)?;
    values.clear();
    column.close()
}

fn field(name: &str, kind: Kind) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind {
        Kind::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Timestamp => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
    };
    Type::primitive_type_builder(name, physical)
        .with_logical_type(logical)
        .with_repetition(Repetition::OPTIONAL)
        .build()
}

/// Returns a JSON value as a cell of a column, `None` when it is none of its type.
fn cell(kind: Kind, value: &str) -> Option<Cell> {
    if value == "null" {
        return Some(Cell::Null);
    }
    let is_text = value.starts_with('"');
    let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match kind {
        Kind::Json => Some(Cell::Bytes(value.as_bytes().to_vec())),
        Kind::String if is_text => Some(Cell::Bytes(text(value)?.into_owned().into_bytes())),
        Kind::Boolean => value.parse().ok().map(Cell::Boolean),
        Kind::Integer if is_number => Decimal::parse(value.as_bytes())?.to_i64().map(Cell::Integer),
        Kind::Float if is_number => {
            value.parse().ok().filter(|number: &f64| number.is_finite()).map(Cell::Float)
        }
        Kind::Timestamp if is_text => {
            let nanoseconds = instant::parse(&text(value)?)?.as_nanosecond();
            let whole = nanoseconds.rem_euclid(1_000) == 0;
            i64::try_from(nanoseconds / 1_000).ok().filter(|_| whole).map(Cell::Integer)
        }
        Kind::String | Kind::Integer | Kind::Float | Kind::Timestamp => None,
    }
}

fn does_not_fit(kind: Kind, name: &str, record: &[u8]) -> BadRecord {
    let error = format!("field `{name}` does not fit its column, which holds {}", kind.value());
    BadRecord::new(BadClass::Value, error, record).help(format!(
        "declare a type that takes all values, with all other columns: `columns = {{ {} = \"json\", … }}`",
        toml_key(name)
    ))
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("names", &self.names).field("rows", &self.rows).finish_non_exhaustive()
    }
}
