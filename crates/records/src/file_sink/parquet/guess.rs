//! Columns by what the first records hold.

use std::collections::HashMap;

use super::super::columns::{Kind, not_an_object, text};
use crate::object::each_field;
use crate::order::decimal::Decimal;
use crate::source::{BadClass, BadRecord};

/// The narrowest type of each field that takes all values seen, in the order in which the fields first came.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    /// `None`: only nulls so far.
    columns: Vec<(String, Option<Kind>)>,
    places: HashMap<String, usize>,
}

impl Guesses {
    /// Takes a record into account, unless it cannot be written.
    pub(super) fn add(&mut self, record: &[u8]) -> Result<(), BadRecord> {
        let mut fields = Vec::new();
        let mut bad = None;
        let walked = each_field(record, |name, value| match guess(value) {
            Ok(kind) => fields.push((name, kind)),
            Err(what) => {
                bad.get_or_insert_with(|| {
                    BadRecord::new(BadClass::Value, format!("field `{name}` {what}"), record)
                });
            }
        });
        walked.map_err(|error| not_an_object(&error, record))?;
        if let Some(bad) = bad {
            return Err(bad);
        }
        for (name, kind) in fields {
            if let Some(place) = self.places.get(name.as_ref()) {
                let known = &mut self.columns[*place].1;
                *known = both(*known, kind);
            } else {
                self.places.insert(name.clone().into_owned(), self.columns.len());
                self.columns.push((name.into_owned(), kind));
            }
        }
        Ok(())
    }

    /// Returns the columns; one that had only nulls takes any value.
    pub(super) fn into_columns(self) -> Vec<(String, Kind)> {
        self.columns.into_iter().map(|(name, kind)| (name, kind.unwrap_or(Kind::Json))).collect()
    }
}

fn guess(value: &str) -> Result<Option<Kind>, &'static str> {
    Ok(Some(match value.as_bytes().first() {
        Some(b'n') => return Ok(None),
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => {
            text(value).ok_or("holds an escape that stands for no character")?;
            Kind::String
        }
        Some(b'[' | b'{') => Kind::Json,
        _ if value.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => {
            // What is too large for a float keeps its digits as JSON.
            if value.parse::<f64>().is_ok_and(f64::is_finite) { Kind::Float } else { Kind::Json }
        }
        _ if Decimal::parse(value.as_bytes()).and_then(Decimal::to_i64).is_some() => Kind::Integer,
        _ => Kind::Json,
    }))
}

fn both(one: Option<Kind>, other: Option<Kind>) -> Option<Kind> {
    match (one, other) {
        (None, kind) | (kind, None) => kind,
        (Some(one), Some(other)) if one == other => Some(one),
        (Some(Kind::Integer), Some(Kind::Float)) | (Some(Kind::Float), Some(Kind::Integer)) => {
            Some(Kind::Float)
        }
        _ => Some(Kind::Json),
    }
}
