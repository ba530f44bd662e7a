//! The order of versions as an SQL function, since SQLite compares texts by their bytes: there `2024-05-01T10:00:00+02:00`
//! would be later than `2024-05-01T09:00:00Z`.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

use crate::order::OrderBytes;

/// Makes `cairn_not_older(new, old)` known: whether a record of version `new` may take the place of one of version `old`.
/// All may take the place of one without a version; one without may not take that of one with.
///
/// What a column holds does not tell whether `9` was a number or a text, nor whether its source knows the difference:
/// where either reading lets the record pass, it does, since the engine has decided already. This is for what others
/// wrote.
pub(super) fn register(connection: &Connection) -> Result<(), rusqlite::Error> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("cairn_not_older", 2, flags, |call| {
        let (new, old) = (call.get_raw(0), call.get_raw(1));
        Ok(match (new, old) {
            (_, ValueRef::Null) => true,
            (ValueRef::Null, _) => false,
            (ValueRef::Integer(new), ValueRef::Integer(old)) => new >= old,
            // Nearly always so where it is not an integer.
            _ if new == old => true,
            _ => {
                let (texts, numbers) =
                    ([order(new, false), order(old, false)], [order(new, true), order(old, true)]);
                texts[0] >= texts[1] || numbers[0] >= numbers[1]
            }
        })
    })
}

/// Returns the engine's order of a value; `None`, which comes first, when it has none.
fn order(value: ValueRef<'_>, untyped: bool) -> Option<OrderBytes> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => OrderBytes::of_number(value.to_string().as_bytes()).ok(),
        ValueRef::Real(value) => OrderBytes::of_number(format!("{value:e}").as_bytes()).ok(),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            let text = std::str::from_utf8(text).ok()?;
            // One with an exponent is a number in JSON alone.
            let is_number =
                text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'));
            if untyped && is_number && !text.starts_with('+') && text.parse::<f64>().is_ok() {
                return OrderBytes::of_number(text.as_bytes()).ok();
            }
            OrderBytes::of_text(text, untyped).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_what_they_say() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        for (new, old, expected) in [
            ("2", "1", true),
            ("1", "1", true),
            ("1", "2", false),
            ("10", "9.5", true),
            ("'b'", "'a'", true),
            ("'10'", "'9'", true),
            ("'9'", "'10'", true),
            ("'8.5'", "'9'", false),
            ("1e300", "9", true),
            ("'1000000'", "'3e5'", true),
            ("'1e-6'", "'1e-7'", true),
            ("'2e5'", "'3e5'", false),
            ("'2024-05-01'", "'9'", true),
            ("'2024-05-01T10:00:00+02:00'", "'2024-05-01T09:00:00Z'", false),
            ("'2024-05-01T10:00:00+02:00'", "'2024-05-01T08:00:00Z'", true),
            ("'2024-05-01'", "'2024-04-30T23:59:59Z'", true),
            ("1", "NULL", true),
            ("NULL", "NULL", true),
            ("NULL", "1", false),
        ] {
            let sql = format!("SELECT cairn_not_older({new}, {old})");
            let answer: bool = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!(answer, expected, "{sql}");
        }
    }
}
