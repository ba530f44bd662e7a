//! Keys that are two for cairn and would be one row of a table.
//!
//! A column makes one value of several: of `7`, `"7"` and `"07"`, of whole numbers that a float has no room for, of the
//! letter cases of a UUID. A value that is rounded is refused by itself, with what would stand there; two that a batch holds
//! are told of with both.

use super::record::Value;
use crate::order::decimal::Decimal;

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
}
