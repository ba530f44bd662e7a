//! Records as they are bound, in the order of their key: made ahead, while the batch before is written, where the table is
//! known by then.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use cairn_model::SinkMode;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use super::columns::{Bound, Table};
use super::forms::Forms;
use super::statement::positions;
use crate::fields::key_text;
use crate::sink::apart::one_row;
use crate::sink::record::{Layout, Value};
use crate::sink::table::{NO_KEY, Wanted, fault, unknown_fields};
use crate::sink::{self, Delivery, Encode, Operation, RecordFault};

/// Values of a batch that is encoded ahead at most: there are three at a time, and a table can have many columns that its
/// records lack.
const VALUES_MAX: usize = 1 << 20;

/// Encodes for a table as it was after the last batch.
pub(super) struct Encoder {
    pub(super) table: Arc<Table>,
    pub(super) wanted: Arc<Wanted>,
}

/// Records as they were encoded ahead, for a table.
pub(super) struct EncodedFor {
    pub(super) table: Arc<Table>,
    pub(super) encoded: Encoded,
}

impl Encode for Encoder {
    fn encode(&self, records: &[Delivery]) -> sink::Encoded {
        if records.len() * self.table.columns.len() > VALUES_MAX {
            // Its delivery does that, one at a time.
            return Box::new(());
        }
        let encoded = encode(&self.table, &self.wanted, records, Forms::default());
        Box::new(EncodedFor { table: Arc::clone(&self.table), encoded })
    }
}

/// A batch, ready to be bound.
pub(super) struct Encoded {
    /// In the order of the key.
    rows: Vec<Placed>,
    /// Those of all rows, as many for each as there are columns.
    values: Vec<Held>,
    columns: usize,
    /// What does not fit; the rows are those of the other records.
    pub(super) faults: Vec<RecordFault>,
    /// In which forms keys came.
    pub(super) forms: Forms,
}

/// A set of columns by their numbers, nearly always empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Columns(Vec<u64>);

impl Columns {
    fn add(&mut self, column: usize) {
        let word = column / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (column % 64);
    }

    pub(super) fn has(&self, column: usize) -> bool {
        self.0.get(column / 64).is_some_and(|word| word & (1 << (column % 64)) != 0)
    }
}

/// What is known of a row beside its values.
struct Placed {
    index: usize,
    delete: bool,
    is_plain: bool,
    defaults: Columns,
    /// Where its values begin.
    start: usize,
}

/// A value without its record: of a text that is a part of it, only where it stands.
#[derive(Debug)]
enum Held {
    Null,
    Integer(i64),
    Real(f64),
    Part(Range<u32>),
    Own(Box<str>),
}

impl Held {
    fn of(value: Bound<'_>, record: &[u8]) -> Self {
        match value {
            Bound::Null => Self::Null,
            Bound::Integer(value) => Self::Integer(value),
            Bound::Real(value) => Self::Real(value),
            Bound::Text(text) => match part(&text, record) {
                Some(part) => Self::Part(part),
                None => Self::Own(text.into()),
            },
        }
    }
}

/// Returns where `text` stands in `record`, where it is a part of its very bytes.
fn part(text: &str, record: &[u8]) -> Option<Range<u32>> {
    let start = (text.as_ptr() as usize).checked_sub(record.as_ptr() as usize)?;
    let end = start.checked_add(text.len()).filter(|end| *end <= record.len())?;
    Some(u32::try_from(start).ok()?..u32::try_from(end).ok()?)
}

/// One record, ready to be bound.
#[derive(Clone, Copy)]
pub(super) struct Row<'r> {
    pub(super) index: usize,
    pub(super) delete: bool,
    /// Whether its key is written as it is stored.
    pub(super) is_plain: bool,
    /// The columns that have a default and whose field the record lacks.
    pub(super) defaults: &'r Columns,
    record: &'r [u8],
    values: &'r [Held],
}

impl<'r> Row<'r> {
    /// Returns the value of a column.
    pub(super) fn value(&self, column: usize) -> Sent<'r> {
        Sent(match &self.values[column] {
            Held::Null => ValueRef::Null,
            Held::Integer(value) => ValueRef::Integer(*value),
            Held::Real(value) => ValueRef::Real(*value),
            Held::Part(part) => ValueRef::Text(&self.record[part.start as usize..part.end as usize]),
            Held::Own(text) => ValueRef::Text(text.as_bytes()),
        })
    }
}

/// A value as SQLite gets it.
pub(super) struct Sent<'r>(pub(super) ValueRef<'r>);

impl ToSql for Sent<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.0))
    }
}

impl Encoded {
    /// Returns the rows in their order; `records` are those that were encoded.
    pub(super) fn rows<'r>(&'r self, records: &'r [Delivery]) -> impl Iterator<Item = Row<'r>> {
        self.rows.iter().map(|row| Row {
            index: row.index,
            delete: row.delete,
            is_plain: row.is_plain,
            defaults: &row.defaults,
            record: &records[row.index].record,
            values: &self.values[row.start..row.start + self.columns],
        })
    }
}

/// Encodes `records` for a table; `forms` are those in which keys came before.
pub(super) fn encode(table: &Table, wanted: &Wanted, records: &[Delivery], forms: Forms) -> Encoded {
    let mut encoding = Encoding::new(table, wanted, forms);
    let (mut rows, mut faults) = (Vec::with_capacity(records.len()), Vec::new());
    // Values of the key stay as they are until rows are in its order.
    let (mut keys, mut values, mut slots) = (Vec::<Bound<'_>>::new(), Vec::new(), Vec::new());
    for (index, delivery) in records.iter().enumerate() {
        slots.clear();
        slots.resize(encoding.layout.width(), None);
        let (start, key) = (values.len(), keys.len());
        match encoding.row(index, delivery, &mut slots, (&mut keys, &mut values)) {
            Ok(row) => rows.push((row, key)),
            Err(error) => {
                keys.truncate(key);
                values.truncate(start);
                faults.push(fault(index, error));
            }
        }
    }
    if encoding.keyed {
        let order = |one: &(Placed, usize), other: &(Placed, usize)| {
            let values = |column: &usize| (&keys[one.1 + column], &keys[other.1 + column]);
            let pairs = encoding.key_order.iter().map(values);
            pairs.map(|(one, other)| one.index_order(other)).fold(Ordering::Equal, Ordering::then)
        };
        rows.sort_by(order);
        for pair in rows.windows(2).filter(|pair| order(&pair[0], &pair[1]).is_eq()) {
            let [one, other] =
                [&pair[0], &pair[1]].map(|(row, _)| key_text(&records[row.index].record, &wanted.key));
            // A worker may make two records of one key.
            if one != other {
                faults.push(fault(pair[1].0.index, one_row(&one, &other)));
            }
        }
    }
    let rows = rows.into_iter().map(|(row, _)| row).collect();
    Encoded { rows, values, columns: table.columns.len(), faults, forms: encoding.forms }
}

/// What encoding one record after the other needs.
struct Encoding<'e> {
    table: &'e Table,
    wanted: &'e Wanted,
    /// Where the columns of the key and the version stand.
    key: Vec<usize>,
    guard: Vec<usize>,
    /// Which of the key's columns, in the order of the table, is the first of the key, the second, …
    key_order: Vec<usize>,
    /// Whether no two rows may have one key.
    keyed: bool,
    layout: Layout,
    forms: Forms,
}

impl<'e> Encoding<'e> {
    fn new(table: &'e Table, wanted: &'e Wanted, forms: Forms) -> Self {
        let columns = &table.columns;
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let key = positions(columns, &wanted.key_names());
        Self {
            table,
            wanted,
            key_order: key.iter().map(|one| key.iter().filter(|other| *other < one).count()).collect(),
            key,
            guard: wanted.version.iter().flat_map(|path| positions(columns, &[path.to_string()])).collect(),
            keyed: wanted.mode != SinkMode::Append,
            layout: Layout::new(names, wanted.paths()),
            forms,
        }
    }

    /// Appends the values of one record, those of its key apart as well, in the order of the columns; or says what is wrong with
    /// it. `slots` has room for each column.
    fn row<'a>(
        &mut self,
        index: usize,
        delivery: &'a Delivery,
        slots: &mut [Option<Value<'a>>],
        (keys, values): (&mut Vec<Bound<'a>>, &mut Vec<Held>),
    ) -> Result<Placed, String> {
        let unknown = self.layout.read(&delivery.record, slots)?;
        let delete = delivery.operation == Operation::Delete;
        if delete && self.key.is_empty() {
            return Err(NO_KEY.to_owned());
        }
        if !delete && !unknown.is_empty() {
            return Err(self.unknown(&unknown));
        }
        let mut row =
            Placed { index, delete, is_plain: true, defaults: Columns::default(), start: values.len() };
        for (position, (column, slot)) in self.table.columns.iter().zip(slots).enumerate() {
            let is_key = self.key.contains(&position);
            let keyed = is_key && self.keyed;
            if let Some(value) = slot.as_ref().filter(|_| keyed) {
                row.is_plain &= column.is_plain(value);
                if let Some(form) = column.form(value)
                    && let Some(other) = self.forms.other(&column.name, form)
                {
                    return Err(other);
                }
            }
            let original = slot.as_ref().filter(|_| keyed).cloned();
            let value = match slot.take() {
                // Of a tombstone only key and version count.
                Some(_) if delete && !is_key && !self.guard.contains(&position) => Bound::Null,
                Some(value) => column.bind(value)?,
                None => {
                    if column.has_default && !delete {
                        row.defaults.add(position);
                    }
                    Bound::Null
                }
            };
            if value == Bound::Null && keyed {
                return Err(format!("the key field `{}` is missing or null", column.name));
            }
            if let Some(altered) = original.and_then(|original| column.altered(&original, &value)) {
                return Err(altered);
            }
            if keyed {
                keys.push(value.clone());
            }
            values.push(Held::of(value, &delivery.record));
        }
        Ok(row)
    }

    /// Says that fields are no columns.
    fn unknown(&self, fields: &[String]) -> String {
        let columns = &self.table.columns;
        let cased = fields.iter().find_map(|name| {
            Some((name, columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))?))
        });
        match cased {
            Some((field, column)) => format!(
                "the field `{field}` and the column `{}` differ in letter case alone, which SQLite does not tell apart: have \
                 the worker name it as the column",
                column.name
            ),
            None => unknown_fields(fields, &self.wanted.table, "TEXT"),
        }
    }
}
