//! One record's fields, read in one pass and borrowed from its bytes: no tree of values a record.
//!
//! [`crate::scan`] finds where each value ends and that it is well-formed, else [`serde_json`] does; numbers and nested values stay the text they
//! are, so that no digit of `12345678901234567.89` is lost on its way to a column.

use std::borrow::Cow;
use std::collections::HashMap;

use cairn_model::FieldPath;
use serde::de::IgnoredAny;

use crate::scan;

/// One JSON value, its type known, its text borrowed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    /// An array or object, as it is written.
    Nested(&'a str),
}

impl Value<'_> {
    /// Returns the value as messages show it: short, in backticks.
    pub(crate) fn shown(&self) -> String {
        let text = match self {
            Self::Null => "null",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(text) | Self::Nested(text) => text,
            Self::Text(text) => text.as_ref(),
        };
        match text.char_indices().nth(SHOWN_MAX) {
            Some((end, _)) => format!("`{}…`", &text[..end]),
            None => format!("`{text}`"),
        }
    }

    /// Returns what kind of JSON value this is, as messages say it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Nested(_) => "an array or object",
        }
    }
}

/// Characters of a value that a message shows: enough to find it, too few to fill the screen.
const SHOWN_MAX: usize = 60;

/// Calls `each` with every field of `record`, one JSON object, in its order.
pub(crate) fn fields<'a>(
    record: &'a [u8],
    mut each: impl FnMut(Cow<'a, str>, Value<'a>),
) -> Result<(), String> {
    let text = std::str::from_utf8(record).map_err(|_| "the record is not UTF-8".to_owned())?;
    let mut rest = text.trim_ascii_start().strip_prefix('{').ok_or("the record is not a JSON object")?;
    rest = rest.trim_ascii_start();
    if let Some(after) = rest.strip_prefix('}') {
        return end(after);
    }
    loop {
        let (name, after) = one(rest)?;
        let Value::Text(name) = name else { return Err("a field of the record has no name".to_owned()) };
        let after = after.trim_ascii_start().strip_prefix(':').ok_or("a field of the record has no value")?;
        let (value, after) = one(after)?;
        each(name, value);
        rest = after.trim_ascii_start();
        match rest.as_bytes().first() {
            Some(b',') => rest = rest[1..].trim_ascii_start(),
            Some(b'}') => return end(&rest[1..]),
            _ => return Err("the record is cut off".to_owned()),
        }
    }
}

fn end(rest: &str) -> Result<(), String> {
    if rest.trim_ascii().is_empty() { Ok(()) } else { Err("more than one JSON value in a record".to_owned()) }
}

/// Reads the first value of `text`; returns what comes after it too.
fn one(text: &str) -> Result<(Value<'_>, &str), String> {
    let text = text.trim_ascii_start();
    let (raw, rest) = match scan::value(text.as_bytes(), 0) {
        Some(end) => text.split_at(end),
        None => parse_one(text)?,
    };
    let value = match raw.as_bytes().first() {
        Some(b'"') if !raw.contains('\\') => Value::Text(Cow::Borrowed(&raw[1..raw.len() - 1])),
        Some(b'"') => Value::Text(Cow::Owned(
            serde_json::from_str(raw).map_err(|error| format!("the record is not JSON: {error}"))?,
        )),
        Some(b'{' | b'[') => Value::Nested(raw),
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'n') => Value::Null,
        _ => Value::Number(raw),
    };
    Ok((value, rest))
}

/// Parses the first value of `text`; returns its text, and what comes after it.
fn parse_one(text: &str) -> Result<(&str, &str), String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Ok(text.split_at(values.byte_offset())),
        Some(Err(error)) => Err(format!("the record is not JSON: {error}")),
        None => Err("the record is cut off".to_owned()),
    }
}

/// Returns what stands under `path` in the object `text`; `None` when nothing does.
fn descend<'a>(text: &'a str, path: &[String]) -> Option<Value<'a>> {
    let (name, deeper) = path.split_first()?;
    let mut found = None;
    fields(text.as_bytes(), |field, value| {
        if field == *name {
            found = Some(value);
        }
    })
    .ok()?;
    match found? {
        Value::Nested(inner) if !deeper.is_empty() => descend(inner, deeper),
        value if deeper.is_empty() => Some(value),
        _ => None,
    }
}

/// Which field of a record goes to which column. A column is named like its field; one of a nested key or version field
/// like its path, `customer.id`.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// Columns that are filled from inside of a field.
    nested: Vec<(usize, FieldPath)>,
    /// The column of the n-th field of the record before: nearly always that of the n-th of the next one too.
    guesses: Vec<usize>,
}

impl Layout {
    /// Lays out columns named `names`; those of `paths` that are nested are filled from inside of their field.
    pub(crate) fn new<'p>(names: Vec<String>, paths: impl Iterator<Item = &'p FieldPath>) -> Self {
        let by_name: HashMap<String, usize> =
            names.iter().enumerate().map(|(index, name)| (name.clone(), index)).collect();
        let nested = paths
            .filter(|path| path.0.len() > 1)
            .filter_map(|path| Some((*by_name.get(&path.to_string())?, path.clone())))
            .collect();
        Self { names, by_name, nested, guesses: Vec::new() }
    }

    /// Returns how many columns there are.
    pub(crate) fn width(&self) -> usize {
        self.names.len()
    }

    /// Fills `row`, a slot a column, `None` where the record has no such field. Returns the fields that are no column.
    pub(crate) fn read<'a>(
        &mut self,
        record: &'a [u8],
        row: &mut [Option<Value<'a>>],
    ) -> Result<Vec<String>, String> {
        let Self { names, by_name, nested, guesses } = self;
        let mut unknown = Vec::new();
        let mut position = 0;
        fields(record, |name, value| {
            for (column, path) in nested.iter() {
                if let Value::Nested(inner) = value
                    && path.0[0] == name
                {
                    row[*column] = descend(inner, &path.0[1..]);
                }
            }
            let guess = guesses.get(position).copied();
            let column =
                guess.filter(|guess| names[*guess] == name).or_else(|| by_name.get(name.as_ref()).copied());
            match column {
                Some(column) => {
                    if guess != Some(column) {
                        guesses.resize(guesses.len().max(position + 1), column);
                        guesses[position] = column;
                    }
                    row[column] = Some(value);
                }
                None => unknown.push(name.into_owned()),
            }
            position += 1;
        })?;
        Ok(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, Value<'_>)>, String> {
        let mut read = Vec::new();
        fields(text.as_bytes(), |name, value| read.push((name.into_owned(), value)))?;
        Ok(read)
    }

    #[test]
    fn values_keep_their_text() {
        let text = r#" { "a" : 1.50 , "b":"x\"y", "c":[1, {"d":null}],"d":{} ,"e":true,"f":null,"g":"é" } "#;
        let expected = [
            ("a", Value::Number("1.50")),
            ("b", Value::Text("x\"y".into())),
            ("c", Value::Nested(r#"[1, {"d":null}]"#)),
            ("d", Value::Nested("{}")),
            ("e", Value::Bool(true)),
            ("f", Value::Null),
            ("g", Value::Text("é".into())),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read("{}"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let bad = [
            "",
            "[]",
            "1",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":1}{"#,
            "{a:1}",
            r#"{"a":01}"#,
            r#"{"a":"\ud800"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":1 "b":2}"#,
            "{1:2}",
        ];
        for text in bad {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(fields(b"{\"a\":\"\xff\"}", |_, _| ()).is_err());
    }

    #[test]
    fn a_layout_puts_fields_under_their_columns_in_any_order() {
        let path = FieldPath(vec!["customer".into(), "id".into()]);
        let names = ["a", "customer.id", "customer"].map(str::to_owned).to_vec();
        let mut layout = Layout::new(names, std::iter::once(&path));
        for text in [r#"{"a":1,"customer":{"id":7}}"#, r#"{"x":0,"customer":{"id":7},"a":1}"#] {
            let mut row = vec![None; layout.width()];
            let unknown = layout.read(text.as_bytes(), &mut row).unwrap();
            assert_eq!(unknown, if text.contains('x') { vec!["x".to_owned()] } else { vec![] });
            let expected = [Value::Number("1"), Value::Number("7"), Value::Nested(r#"{"id":7}"#)];
            assert_eq!(row, expected.map(Some));
        }
        let mut row = vec![None; layout.width()];
        layout.read(br#"{"a":1,"a":2}"#, &mut row).unwrap();
        assert_eq!(row, [Some(Value::Number("2")), None, None], "the last of two fields of one name counts");
    }
}
