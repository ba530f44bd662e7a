//! The order of versions as an SQL function, since SQLite compares texts by their bytes: there `2024-05-01T10:00:00+02:00`
//! would be later than `2024-05-01T09:00:00Z`.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

/// Makes `cairn_not_older(new, old)` known: whether a record of version `new` may take the place of one of version `old`.
/// All may take the place of one without a version; one without may not take that of one with.
pub(super) fn register(connection: &Connection) -> Result<(), rusqlite::Error> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("cairn_not_older", 2, flags, |call| {
        let (new, old) = (call.get_raw(0), call.get_raw(1));
        // Nearly always so: the same text, or whole numbers.
        if let (ValueRef::Integer(new), ValueRef::Integer(old)) = (new, old) {
            return Ok(new >= old);
        }
        Ok(new == old || Version::of(new).compare(&Version::of(old)).is_ge())
    })
}

#[derive(Debug, Clone, Copy)]
enum Version<'a> {
    None,
    Number(f64),
    Instant(Timestamp),
    Text(&'a [u8]),
}

impl<'a> Version<'a> {
    #[expect(clippy::cast_precision_loss, reason = "two integers are compared as such before")]
    fn of(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Self::None,
            ValueRef::Integer(value) => Self::Number(value as f64),
            ValueRef::Real(value) => Self::Number(value),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                std::str::from_utf8(bytes).ok().and_then(instant).map_or(Self::Text(bytes), Self::Instant)
            }
        }
    }

    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Instant(a), Self::Instant(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Number(_) => 1,
            Self::Instant(_) => 2,
            Self::Text(_) => 3,
        }
    }
}

/// Reads a time with an offset, or a date or time without one, which counts as UTC.
fn instant(text: &str) -> Option<Timestamp> {
    if !text.as_bytes().first()?.is_ascii_digit() || text.len() < "2024-01-01".len() {
        return None;
    }
    text.parse().ok().or_else(|| {
        text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
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
            ("'10'", "'9'", false),
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
