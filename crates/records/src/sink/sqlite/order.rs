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
                let reads = |as_one: fn(ValueRef<'_>) -> Option<OrderBytes>| [as_one(new), as_one(old)];
                let [texts, plain, numbers] = [reads(text), reads(untyped), reads(number)];
                texts[0] >= texts[1]
                    || plain[0] >= plain[1]
                    || numbers.iter().all(Option::is_some) && numbers[0] >= numbers[1]
            }
        })
    })
}

/// Returns the engine's order of a value, a text as JSON has it; `None`, which comes first, when it has none.
fn text(value: ValueRef<'_>) -> Option<OrderBytes> {
    order(value, false)
}

/// The same, a text as CSV has it.
fn untyped(value: ValueRef<'_>) -> Option<OrderBytes> {
    order(value, true)
}

/// The same of what JSON wrote as a number, with an exponent perhaps.
fn number(value: ValueRef<'_>) -> Option<OrderBytes> {
    let (ValueRef::Text(text) | ValueRef::Blob(text)) = value else { return order(value, false) };
    let is_number = text.first().is_some_and(|first| matches!(first, b'0'..=b'9' | b'-'))
        && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'+' | b'-' | b'e' | b'E'))
        && std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok());
    if is_number { OrderBytes::of_number(text).ok() } else { None }
}

fn order(value: ValueRef<'_>, untyped: bool) -> Option<OrderBytes> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => OrderBytes::of_number(value.to_string().as_bytes()).ok(),
        ValueRef::Real(value) => OrderBytes::of_number(format!("{value:e}").as_bytes()).ok(),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            OrderBytes::of_text(std::str::from_utf8(text).ok()?, untyped).ok()
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
            // CSV has it as a text, which comes after numbers.
            ("'1e2'", "'500'", true),
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
