//! A SQLite table's columns, and which values each takes.
//!
//! SQLite itself would store `abc` in an INTEGER column. What does not fit is told of here, so that a wrong value is one
//! bad record and not a surprise for who reads the table.

use std::borrow::Cow;
use std::cmp::Ordering;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::forms::{self, Form};
use crate::sink::apart;
use crate::sink::record::Value;
use crate::sink::spelling;

/// A table that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// The columns of each unique index that has no condition and no expression, the primary key among them.
    pub(super) unique: Vec<Vec<String>>,
    /// Columns that a unique index compares otherwise than by their bytes, and how: `NOCASE`.
    pub(super) folded: Vec<(String, String)>,
}

/// One column that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As it was declared.
    declared: String,
    affinity: Affinity,
    strict: bool,
    /// Whether SQLite fills it in when a statement does not name it.
    pub(super) has_default: bool,
}

/// What SQLite makes of values in a column (<https://sqlite.org/datatype3.html>, 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Integer,
    Real,
    Numeric,
    Text,
    /// No conversion.
    Blob,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |word: &str| declared.contains(word);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

impl Table {
    /// Reads what is known of `table`; `None` when there is none, an error text when it is no table.
    pub(super) fn read(
        connection: &Connection,
        table: &str,
    ) -> Result<Result<Option<Self>, String>, rusqlite::Error> {
        let found: Option<(String, bool)> = connection
            .prepare_cached(
                "SELECT type, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE",
            )?
            .query_row([table], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let strict = match found {
            None => return Ok(Ok(None)),
            Some((kind, strict)) if kind == "table" => strict,
            Some((kind, _)) => return Ok(Err(format!("`{table}` is a {kind}, not a table"))),
        };
        let mut columns = Vec::new();
        let mut primary: Vec<(i64, String)> = Vec::new();
        let mut statement = connection.prepare_cached(
            "SELECT name, type, dflt_value IS NOT NULL, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0",
        )?;
        let mut rows = statement.query([table])?;
        while let Some(row) = rows.next()? {
            let (name, declared, position): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(3)?);
            if position > 0 {
                primary.push((position, name.clone()));
            }
            let affinity = if strict && declared.eq_ignore_ascii_case("ANY") {
                Affinity::Blob
            } else {
                Affinity::of(&declared)
            };
            columns.push(Column { name, declared, affinity, strict, has_default: row.get(2)? });
        }
        if let [(_, only)] = primary.as_slice()
            && let Some(column) = columns.iter_mut().find(|column| column.name == *only)
            && column.declared.eq_ignore_ascii_case("INTEGER")
        {
            // The row's own number: SQLite gives one.
            column.has_default = true;
        }
        let mut unique = vec![primary.into_iter().map(|(_, name)| name).collect::<Vec<_>>()];
        let mut statement = connection.prepare_cached(
            "SELECT l.name, i.name, i.coll FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS i
             WHERE l.\"unique\" AND NOT l.partial AND i.key ORDER BY l.seq, i.seqno",
        )?;
        let mut rows = statement.query([table])?;
        let (mut last, mut folded) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            let (index, column): (String, Option<String>) = (row.get(0)?, row.get(1)?);
            if last.as_ref() != Some(&index) {
                unique.push(Vec::new());
                last = Some(index);
            }
            let collation: String = row.get(2)?;
            if let Some(column) = column.as_ref().filter(|_| !collation.eq_ignore_ascii_case("BINARY")) {
                folded.push((column.clone(), collation));
            }
            if let Some(of_index) = unique.last_mut() {
                // An expression has no name: an empty one is the name of no key.
                of_index.push(column.unwrap_or_default());
            }
        }
        Ok(Ok(Some(Self { columns, unique, folded })))
    }

    /// Returns whether no two rows can have the same values in `key`.
    pub(super) fn is_unique(&self, key: &[String]) -> bool {
        self.unique.iter().any(|index| {
            index.len() == key.len()
                && key.iter().all(|name| index.iter().any(|column| column.eq_ignore_ascii_case(name)))
        })
    }
}

/// A value as it is bound, borrowed from its record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

impl Bound<'_> {
    /// Compares as a SQLite index with its default collation does.
    pub(super) fn index_order(&self, other: &Self) -> Ordering {
        #[expect(clippy::cast_precision_loss, reason = "a wrong order costs time, not rows")]
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Integer(a), Self::Real(b)) => (*a as f64).total_cmp(b),
            (Self::Real(a), Self::Integer(b)) => a.total_cmp(&(*b as f64)),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Integer(_) | Self::Real(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

impl Column {
    /// Returns the form of a key's value, where a value of another form may be stored alike.
    pub(super) fn form(&self, value: &Value<'_>) -> Option<Form> {
        match self.affinity {
            Affinity::Text => forms::as_text(value),
            // Texts stay what they are; `true` becomes 1.
            Affinity::Blob if matches!(value, Value::Text(_)) => None,
            _ => forms::as_number(value),
        }
    }

    /// Says why a value cannot be a key here: it is rounded, as others are to the same.
    pub(super) fn altered(&self, value: &Value<'_>, bound: &Bound<'_>) -> Option<String> {
        let number = match value {
            Value::Number(text) => text,
            Value::Text(text) => text.as_ref(),
            Value::Null | Value::Bool(_) | Value::Nested(_) => return None,
        };
        let Bound::Real(stored) = bound else { return None };
        let stored = stored.to_string();
        let is_kept = apart::is_exact(number.trim_ascii().trim_start_matches('+'), &stored);
        (!is_kept).then(|| apart::stored_as(&self.name, value, &stored, "SQLite"))
    }

    /// Returns whether a key's value is written as the column shows it: no other that is has the same row.
    pub(super) fn is_plain(&self, value: &Value<'_>) -> bool {
        match (self.affinity, value) {
            (Affinity::Integer, Value::Text(text)) => spelling::is_plain_integer(text),
            (Affinity::Real, Value::Text(text)) => spelling::is_plain_number(text),
            (Affinity::Numeric, Value::Text(text)) => {
                spelling::is_plain_number(text) || apart::as_float(text).is_none()
            }
            // Texts stay what they are, and of numbers one is one key however it is written.
            _ => true,
        }
    }

    /// Returns the bytes of a key's value as it stands in the row.
    pub(super) fn stands(&self, value: ValueRef<'_>) -> Vec<u8> {
        let number = match value {
            ValueRef::Integer(value) => return value.to_string().into_bytes(),
            ValueRef::Real(value) => value.to_string(),
            ValueRef::Text(text) => {
                let number = str::from_utf8(text).ok().filter(|_| self.affinity == Affinity::Numeric);
                match number.filter(|number| apart::as_float(number).is_some()) {
                    Some(number) => number.trim_ascii().trim_start_matches('+').to_owned(),
                    None => return text.to_vec(),
                }
            }
            ValueRef::Null | ValueRef::Blob(_) => return Vec::new(),
        };
        apart::canonical(&number).unwrap_or(number).into_bytes()
    }

    /// Returns `value` as this column stores it, or what is wrong with it.
    pub(super) fn bind<'a>(&self, value: Value<'a>) -> Result<Bound<'a>, String> {
        let fits = match (self.affinity, &value) {
            (_, Value::Null) => return Ok(Bound::Null),
            (_, Value::Nested(text)) if self.takes_text() => return Ok(Bound::Text(Cow::Borrowed(text))),
            (Affinity::Text, Value::Number(text)) => return Ok(Bound::Text(Cow::Borrowed(text))),
            (Affinity::Text, Value::Bool(value)) => {
                return Ok(Bound::Text(Cow::Borrowed(if *value { "true" } else { "false" })));
            }
            (Affinity::Integer, Value::Number(text)) => integer(text),
            (Affinity::Integer, Value::Text(text)) => integer(text),
            (Affinity::Real, Value::Number(text)) => real(text),
            (Affinity::Real, Value::Text(text)) => real(text),
            (_, Value::Number(text)) => text.parse().ok().map(Bound::Integer).or_else(|| real(text)),
            (_, Value::Bool(value)) => Some(Bound::Integer(i64::from(*value))),
            (_, Value::Nested(_) | Value::Text(_)) => None,
        };
        match (fits, value) {
            (Some(bound), _) if self.takes_numbers() => Ok(bound),
            (None, Value::Text(text)) if self.takes_text() => Ok(Bound::Text(text)),
            (_, value) => Err(format!(
                "column `{}` of type {} does not take {} {}",
                self.name,
                if self.declared.is_empty() { "BLOB" } else { &self.declared },
                value.kind(),
                value.shown(),
            )),
        }
    }

    fn is_blob(&self) -> bool {
        self.strict && self.declared.eq_ignore_ascii_case("BLOB")
    }

    fn takes_text(&self) -> bool {
        !self.is_blob() && !matches!(self.affinity, Affinity::Integer | Affinity::Real)
    }

    fn takes_numbers(&self) -> bool {
        !self.is_blob()
    }
}

/// Appends `value` so that no two rows have the same bytes.
pub(super) fn encode(value: ValueRef<'_>, to: &mut Vec<u8>) {
    let mut sized = |tag: u8, bytes: &[u8]| {
        to.push(tag);
        to.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        to.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Null => to.push(0),
        ValueRef::Integer(value) => sized(1, &value.to_le_bytes()),
        ValueRef::Real(value) => sized(2, &value.to_bits().to_le_bytes()),
        ValueRef::Text(text) => sized(3, text),
        ValueRef::Blob(bytes) => sized(4, bytes),
    }
}

/// Reads an integer; `3.0` and `3e2` are some, as SQLite holds too.
fn integer(text: &str) -> Option<Bound<'static>> {
    /// Whole numbers below this are all different as `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(value) = text.parse() {
        return Some(Bound::Integer(value));
    }
    let value: f64 = text.parse().ok().filter(|value: &f64| value.fract() == 0.0 && value.abs() < EXACT)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and checked against the bounds above")]
    Some(Bound::Integer(value as i64))
}

fn real(text: &str) -> Option<Bound<'static>> {
    // `inf` and `nan` are words for Rust, not numbers.
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Bound::Real)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(declared: &str, strict: bool) -> Column {
        let any = strict && declared == "ANY";
        let affinity = if any { Affinity::Blob } else { Affinity::of(declared) };
        Column { name: "c".into(), declared: declared.into(), affinity, strict, has_default: false }
    }

    #[test]
    fn values_fit_their_affinity_or_are_told_of() {
        let (number, text) = (Value::Number, |text: &'static str| Value::Text(text.into()));
        let bound = |text: &'static str| Bound::Text(text.into());
        let cases = [
            ("INTEGER", false, number("12"), Some(Bound::Integer(12))),
            ("INTEGER", false, text("12"), Some(Bound::Integer(12))),
            ("INTEGER", false, number("12.0"), Some(Bound::Integer(12))),
            ("INTEGER", false, number("12.5"), None),
            ("INTEGER", false, number("9223372036854775808"), None),
            ("INTEGER", false, text("abc"), None),
            ("INTEGER", false, text(""), None),
            ("INTEGER", false, Value::Nested("[]"), None),
            ("INTEGER", false, Value::Bool(true), Some(Bound::Integer(1))),
            ("REAL", false, number("1e2"), Some(Bound::Real(100.0))),
            ("REAL", false, number("1e999"), None),
            ("REAL", false, text("inf"), None),
            ("DATE", false, text("2024-01-01"), Some(bound("2024-01-01"))),
            ("DECIMAL(10,2)", false, number("1.5"), Some(Bound::Real(1.5))),
            ("VARCHAR(3)", false, number("1.50"), Some(bound("1.50"))),
            ("TEXT", false, Value::Bool(false), Some(bound("false"))),
            ("TEXT", true, Value::Nested("{}"), Some(bound("{}"))),
            ("", false, Value::Nested("{}"), Some(bound("{}"))),
            ("", false, number("1"), Some(Bound::Integer(1))),
            ("ANY", true, text("1"), Some(bound("1"))),
            ("BLOB", true, text("1"), None),
            ("BLOB", true, number("1"), None),
            ("INT", true, Value::Null, Some(Bound::Null)),
        ];
        for (declared, strict, value, expected) in cases {
            assert_eq!(column(declared, strict).bind(value.clone()).ok(), expected, "{declared} {value:?}");
        }
        assert_eq!(
            column("INTEGER", false).bind(text("abc")),
            Err("column `c` of type INTEGER does not take a string `abc`".to_owned())
        );
    }
}
