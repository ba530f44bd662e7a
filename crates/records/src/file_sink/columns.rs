//! The columns of a file that has columns: their types, and the fields of a record put in their places.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::object::each_field;
use crate::source::{BadClass, BadRecord};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Integer,
    Float,
    Boolean,
    Timestamp,
    /// Any value, as JSON text.
    Json,
}

impl Kind {
    pub(super) const WORDS: &str = "`string`, `integer`, `float`, `boolean`, `timestamp` and `json`";

    pub(super) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "string" => Self::String,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            "timestamp" => Self::Timestamp,
            "json" => Self::Json,
            _ => return None,
        })
    }

    /// Returns what its values are called.
    pub(super) const fn value(self) -> &'static str {
        match self {
            Self::String => "texts",
            Self::Integer => "integers of 64 bits",
            Self::Float => "numbers",
            Self::Boolean => "true and false",
            Self::Timestamp => "timestamps of whole microseconds",
            Self::Json => "any value",
        }
    }
}

/// The names of the columns, and which has which place.
#[derive(Debug)]
pub(super) struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
    declared: bool,
}

impl Columns {
    pub(super) fn new(names: Vec<String>, declared: bool) -> Self {
        let places = names.iter().cloned().enumerate().map(|(place, name)| (name, place)).collect();
        Self { names, places, declared }
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the value of each column as the record has it; of a field that it has twice, the last.
    pub(super) fn values<'a>(&self, record: &'a [u8]) -> Result<Vec<Option<&'a str>>, BadRecord> {
        let mut values = vec![None; self.names.len()];
        let mut unknown = None;
        // Most records have their fields in the same order.
        let mut next = 0;
        let walked = each_field(record, |name, value| {
            let place = match self.names.get(next) {
                Some(expected) if *expected == name => Some(next),
                _ => self.places.get(name.as_ref()).copied(),
            };
            match place {
                Some(place) => {
                    values[place] = Some(value);
                    next = place + 1;
                }
                None => {
                    unknown.get_or_insert_with(|| name.into_owned());
                }
            }
        });
        walked.map_err(|error| not_an_object(&error, record))?;
        match unknown {
            None => Ok(values),
            Some(name) => {
                let quoted = toml_key(&name);
                let error = format!("field `{name}` is no column of the file");
                Err(BadRecord::new(BadClass::Value, error, record).help(if self.declared {
                    format!("add it to the columns: `columns = {{ …, {quoted} = \"string\" }}`")
                } else {
                    let first = self.names.first().map_or(String::new(), |name| toml_key(name));
                    format!(
                        "the columns are the fields of the first records; declare them all: \
                         `columns = {{ {first} = \"string\", …, {quoted} = \"string\" }}`"
                    )
                }))
            }
        }
    }
}

pub(super) fn not_an_object(error: &serde_json::Error, record: &[u8]) -> BadRecord {
    BadRecord::new(BadClass::Json, format!("the record is not one JSON object: {error}"), record)
}

/// Returns the text of a JSON text, `None` when an escape in it stands for no character.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    if value.contains('\\') {
        return serde_json::from_str(value).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(&value[1..value.len() - 1]))
}

/// Returns a name as a key of TOML.
pub(super) fn toml_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(bare) {
        return name.to_owned();
    }
    // TOML's basic strings have all escapes of JSON's.
    serde_json::to_string(name).expect("a text is JSON")
}
