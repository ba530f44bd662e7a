//! What the two SQL sinks share: what is asked of a table, names in statements, types of columns not yet there.

use std::collections::{BTreeMap, HashMap};

use cairn_model::{FieldPath, SinkMode};

use super::record::{Value, fields};
use super::{Delivery, Operation, RecordFault, SinkError};

/// Tables that cairn keeps beside the one it fills.
pub(crate) const OWN_TABLES: [&str; 3] = ["cairn_ledger", "cairn_fence", super::spelling::TABLE];

/// How many batches of a scope the ledger remembers: a repeated delivery is of the last one, or of a few.
pub(crate) const LEDGER_KEEPS: u64 = 100;

/// Names that an error has.
const SHOWN: usize = 5;

/// What is wrong with a tombstone where no field says what it is of.
pub(crate) const NO_KEY: &str = "a tombstone, but the sink has no `key` by which rows could be deleted";

/// Returns how many records of a batch are to stand in the table. Where there are none, no table is made: tombstones do
/// not tell its columns.
pub(crate) fn puts(records: &[Delivery]) -> i64 {
    let puts = records.iter().filter(|delivery| delivery.operation == Operation::Put).count();
    i64::try_from(puts).unwrap_or(i64::MAX)
}

/// What is asked of a table.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// As it stands in the pipeline file.
    pub(crate) table: String,
    pub(crate) mode: SinkMode,
    pub(crate) key: Vec<FieldPath>,
    pub(crate) version: Option<FieldPath>,
    /// Declared types by column, in the sink's words.
    pub(crate) columns: BTreeMap<String, String>,
}

impl Wanted {
    /// Returns the names of the key's columns.
    pub(crate) fn key_names(&self) -> Vec<String> {
        self.key.iter().map(ToString::to_string).collect()
    }

    /// Returns the key's and the version's paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &FieldPath> {
        self.key.iter().chain(&self.version)
    }

    /// Says what is wrong with the request itself, before any table is looked at.
    pub(crate) fn check(&self, sink: &str) -> Result<(), SinkError> {
        let refused = |error: String, help: &str| {
            Err(SinkError::Refused { sink: sink.to_owned(), error, help: Some(help.to_owned()) })
        };
        if OWN_TABLES.contains(&self.table.rsplit('.').next().unwrap_or(&self.table)) {
            return refused(format!("the table `{}` is cairn's own", self.table), "name another table");
        }
        if self.mode != SinkMode::Append && self.key.is_empty() {
            return refused(
                format!("mode `{}` needs a key", self.mode.as_str()),
                "say which fields are unique (`key = [\"…\"]`), or set `mode = \"append\"`",
            );
        }
        if !self.columns.is_empty()
            && let Some(missing) = self.key_names().iter().find(|name| !self.columns.contains_key(*name))
        {
            return refused(
                format!("the key field `{missing}` is not among the declared columns"),
                "declare its type in `columns` too",
            );
        }
        Ok(())
    }

    /// Returns columns and types for a table that is not there: the declared ones, else what the batch's records hold,
    /// those of the key first. What cannot be the name of a column beside those before it, and what is more than `most`, is
    /// left out: their records do not fit then.
    pub(crate) fn columns_for(
        &self,
        records: &[Delivery],
        most: usize,
        can_be: impl Fn(&str, &[String]) -> bool,
        type_of: impl Fn(Kind) -> &'static str,
    ) -> Vec<(String, String)> {
        let key = self.key_names();
        if !self.columns.is_empty() {
            let others = self.columns.keys().filter(|name| !key.contains(name));
            return key
                .iter()
                .chain(others)
                .map(|name| (name.clone(), self.columns.get(name).cloned().unwrap_or_default()))
                .collect();
        }
        let mut names: Vec<String> = Vec::new();
        let mut kinds: HashMap<String, Kind> = HashMap::new();
        let mut see = |name: &str, value: Option<&Value<'_>>| {
            if !kinds.contains_key(name) {
                if names.len() >= most || !can_be(name, &names) && !key.iter().any(|key| key == name) {
                    return;
                }
                names.push(name.to_owned());
            }
            let kind = kinds.entry(name.to_owned()).or_insert(Kind::Unknown);
            *kind = value.map_or(*kind, |value| kind.with(value));
        };
        for name in &key {
            see(name, None);
        }
        for path in self.paths().filter(|path| path.0.len() > 1) {
            see(&path.to_string(), None);
            let mut inner = super::record::Layout::new(vec![path.to_string()], std::iter::once(path));
            for delivery in records {
                let mut row = [None];
                if inner.read(&delivery.record, &mut row).is_ok() {
                    see(&path.to_string(), row[0].as_ref());
                }
            }
        }
        for delivery in records.iter().filter(|delivery| delivery.operation == Operation::Put) {
            // A record that cannot be read is told of when it is its turn.
            let _ = fields(&delivery.record, |name, value| see(&name, Some(&value)));
        }
        names
            .into_iter()
            .map(|name| {
                let kind = kinds.get(&name).copied().unwrap_or(Kind::Unknown);
                (name, type_of(kind).to_owned())
            })
            .collect()
    }
}

/// What a column must hold, as far as records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only nulls were seen.
    Unknown,
    Boolean,
    /// Numbers that fit 64 bits, without point and exponent.
    Integer,
    Real,
    Text,
    Nested,
    /// More than one of the above.
    Mixed,
}

impl Kind {
    /// Returns what a column must hold that holds `value` too.
    fn with(self, value: &Value<'_>) -> Self {
        let seen = match value {
            Value::Null => return self,
            Value::Bool(_) => Self::Boolean,
            Value::Number(text) if text.parse::<i64>().is_ok() => Self::Integer,
            Value::Number(_) => Self::Real,
            Value::Text(_) => Self::Text,
            Value::Nested(_) => Self::Nested,
        };
        match (self, seen) {
            (Self::Unknown, seen) => seen,
            (old, seen) if old == seen => seen,
            (Self::Integer, Self::Real) | (Self::Real, Self::Integer) => Self::Real,
            _ => Self::Mixed,
        }
    }
}

/// Returns `name` as an identifier of a statement.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns identifiers, separated by commas, each after `prefix`.
pub(crate) fn list<'n>(prefix: &str, names: impl IntoIterator<Item = &'n String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("{prefix}{}", quoted(name))).collect();
    names.join(", ")
}

/// Returns the fault of a record that another try does not mend.
pub(crate) fn fault(index: usize, error: String) -> RecordFault {
    RecordFault { index, error, retry: false, of_sink: false, retry_after_ms: None }
}

/// Returns a name without characters that steer a terminal.
fn printable(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for char in name.chars() {
        if char.is_control() { shown.extend(char.escape_debug()) } else { shown.push(char) }
    }
    shown
}

/// Says that fields are no columns, and what to do.
pub(crate) fn unknown_fields(unknown: &[String], table: &str, type_hint: &str) -> String {
    // Some of what a table cannot have is not for a terminal either; and there may be thousands.
    let mut names: Vec<String> =
        unknown.iter().take(SHOWN).map(|name| format!("`{}`", printable(name))).collect();
    if unknown.len() > SHOWN {
        names.push(format!("{} more", unknown.len() - SHOWN));
    }
    let (noun, verb) =
        if unknown.len() == 1 { ("field", "is no column") } else { ("fields", "are no columns") };
    let first = unknown.first().map(|name| quoted(&printable(name))).unwrap_or_default();
    format!(
        "the {noun} {} {verb} of the table `{table}`: add it (`ALTER TABLE {table} ADD COLUMN {first} {type_hint}`), or \
         have the worker leave it out",
        names.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_widen() {
        let kind = |values: &[Value<'_>]| values.iter().fold(Kind::Unknown, |kind, value| kind.with(value));
        let number = Value::Number;
        for (values, expected) in [
            (vec![Value::Null], Kind::Unknown),
            (vec![Value::Null, number("1")], Kind::Integer),
            (vec![number("1"), number("1.5"), number("2")], Kind::Real),
            (vec![number("9223372036854775808")], Kind::Real),
            (vec![number("1"), Value::Text("a".into())], Kind::Mixed),
            (vec![Value::Bool(true), Value::Null], Kind::Boolean),
            (vec![Value::Nested("[]"), Value::Nested("{}")], Kind::Nested),
        ] {
            assert_eq!(kind(&values), expected, "{values:?}");
        }
    }

    #[test]
    fn a_field_is_named_as_its_column_would_be() {
        let said = unknown_fields(&["it's \"so\" \\ é".to_owned(), "a\0\u{1b}b".to_owned()], "t", "TEXT");
        assert!(said.contains(r#"ADD COLUMN "it's ""so"" \ é" TEXT"#), "{said}");
        assert!(said.contains(r"`a\0\u{1b}b`"), "{said}");
    }

    #[test]
    fn identifiers_are_quoted() {
        assert_eq!(quoted(r#"a"b"#), r#""a""b""#);
        assert_eq!(list("t.", &["a".to_owned(), "B c".to_owned()]), r#"t."a", t."B c""#);
    }
}
