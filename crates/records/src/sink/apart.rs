//! Keys that are two for cairn and would be one row of a table.
//!
//! A column makes one value of several: of `7`, `"7"` and `"07"`, of whole numbers that a float has no room for, of the
//! letter cases of a UUID. A value that is rounded is refused by itself, with what would stand there; two that a batch holds
//! are told of with both. For SQLite a number and the string that reads like it are two *forms*, of which a load may use one.

use super::record::Value;
use crate::order::decimal::Decimal;

/// The words for how a key's value came.
pub(super) type Form = &'static str;

pub(super) const NUMBER: Form = "a number";
pub(super) const BOOLEAN: Form = "a boolean";
pub(super) const TEXT: Form = "a string";

/// In which form the first value of each key column came.
#[derive(Debug, Default)]
pub(super) struct Forms(Vec<(String, Form)>);

impl Forms {
    /// Says why a value of `form` cannot be a key of `column` beside those before it, in `database`.
    pub(super) fn other(&mut self, column: &str, form: Form, database: &str) -> Option<String> {
        let known = self.0.iter().find(|(name, _)| name == column);
        let first = known.map_or(form, |(_, first)| *first);
        if known.is_none() {
            self.0.push((column.to_owned(), form));
        }
        (first != form).then(|| {
            format!(
                "the key field `{column}` is {form} here and {first} elsewhere: {database} would make one row of both; \
                 have the worker write it in one way"
            )
        })
    }
}

/// Returns the form of a key's value in a column of texts: one that reads like a number or a boolean would be one with it.
pub(super) fn form_as_text(value: &Value<'_>) -> Option<Form> {
    match value {
        Value::Number(_) => Some(NUMBER),
        Value::Bool(_) => Some(BOOLEAN),
        Value::Text(text) => {
            let is_alike = matches!(text.as_ref(), "true" | "false") || as_float(text).is_some();
            is_alike.then_some(TEXT)
        }
        Value::Null | Value::Nested(_) => None,
    }
}

/// Returns the form of a key's value in a column of numbers.
pub(super) fn form_as_number(value: &Value<'_>) -> Option<Form> {
    match value {
        Value::Number(_) => Some(NUMBER),
        Value::Bool(_) => Some(BOOLEAN),
        Value::Text(text) => as_float(text).map(|_| TEXT),
        Value::Null | Value::Nested(_) => None,
    }
}

/// Returns what `text` is as a number, infinite when it is too large. Words are none.
pub(super) fn as_float(text: &str) -> Option<f64> {
    // Nearly all keys that are no number show it by their first byte.
    let first = text.trim_ascii_start().bytes().next()?;
    if !matches!(first, b'0'..=b'9' | b'-' | b'+' | b'.') {
        return None;
    }
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    text.parse().ok().filter(|_| text.bytes().any(|byte| byte.is_ascii_digit()))
}

/// Returns whether the number `sent`, as it stands in a record, is exactly the one that is `stored`.
pub(super) fn is_exact(sent: &str, stored: &str) -> bool {
    canonical(sent).is_some_and(|sent| canonical(stored) == Some(sent))
}

/// Returns the one text of a number in JSON's grammar.
pub(super) fn canonical(number: &str) -> Option<String> {
    let mut out = Vec::new();
    Decimal::parse(number.as_bytes())?.write_json(&mut out);
    String::from_utf8(out).ok()
}

/// Says that a key would stand in its column as another one.
pub(super) fn stored_as(column: &str, sent: &Value<'_>, stored: &str, database: &str) -> String {
    format!(
        "the key field `{column}` is {} {}, which {database} stores as `{stored}`, the row of that key: declare the column \
         as text, or have the worker write it so",
        sent.kind(),
        sent.shown(),
    )
}

/// Says that two keys would be one row.
pub(super) fn one_row(one: &str, other: &str) -> String {
    format!("the keys `{one}` and `{other}` would be one row: have the worker write them alike")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_where_it_is_not_rounded() {
        for (sent, stored, expected) in [
            ("9007199254740993", "9007199254740992", false),
            ("9007199254740992", "9007199254740992", true),
            ("0.1", "0.1", true),
            ("0.10", "0.1", true),
            ("0.1000000000000000055", "0.1", false),
            ("1e2", "100", true),
        ] {
            assert_eq!(is_exact(sent, stored), expected, "{sent} {stored}");
        }
    }

    #[test]
    fn what_reads_like_a_number_is_known_at_sight() {
        for text in ["7", "-7", "+7", ".5", " 7 ", "1e999", "07"] {
            assert!(as_float(text).is_some(), "{text}");
        }
        for text in ["", "-", "A-7", "infinity", "-inf", "nan", "7a", "2024-01-01"] {
            assert!(as_float(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_load_writes_a_key_in_one_form() {
        let mut forms = Forms::default();
        assert_eq!(forms.other("id", NUMBER, "PostgreSQL"), None);
        assert_eq!(forms.other("of", TEXT, "PostgreSQL"), None, "each column has its own");
        assert!(
            forms
                .other("id", TEXT, "PostgreSQL")
                .is_some_and(|told| told.contains("a string here and a number"))
        );
        assert_eq!(forms.other("id", NUMBER, "PostgreSQL"), None, "the first stays");
    }
}
