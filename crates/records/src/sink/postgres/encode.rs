//! JSON values as PostgreSQL's binary format has them.
//!
//! Values are converted here, not by the server, so that one that does not fit is one bad record, told of with its
//! column, and not a failed batch.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;

use crate::sink::record::Value;

mod numeric;

/// How a column's values are sent. Each kind but the last is sent in binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    /// Digits in all and behind the point, where they are limited.
    Numeric(Option<(i64, i64)>),
    /// Characters at most.
    Text(Option<usize>),
    Date,
    /// Places behind the second.
    Timestamp(u32),
    /// The same.
    TimestampTz(u32),
    Json,
    Jsonb,
    Uuid,
    Bytea,
    /// Sent as text and converted by the server.
    Other,
}

impl Kind {
    /// Returns the kind of a type by its name in `pg_type` and its modifier, -1 for none.
    pub(super) fn of(name: &str, modifier: i32) -> Self {
        let places = u32::try_from(modifier).unwrap_or(PLACES_MAX).min(PLACES_MAX);
        let modifier = i64::from(modifier);
        match name {
            "bool" => Self::Bool,
            "int2" => Self::Int2,
            "int4" => Self::Int4,
            "int8" => Self::Int8,
            "float4" => Self::Float4,
            "float8" => Self::Float8,
            // https://www.postgresql.org/docs/15/catalog-pg-attribute.html: precision in the upper half, scale in the
            // lower eleven bits, with sign; 4 is added to all.
            "numeric" => Self::Numeric((modifier >= 4).then(|| {
                let packed = modifier - 4;
                ((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 0x400) - 0x400)
            })),
            "text" => Self::Text(None),
            "varchar" | "bpchar" => Self::Text(usize::try_from(modifier - 4).ok()),
            "date" => Self::Date,
            "timestamp" => Self::Timestamp(places),
            "timestamptz" => Self::TimestampTz(places),
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "uuid" => Self::Uuid,
            "bytea" => Self::Bytea,
            _ => Self::Other,
        }
    }

    /// Returns the type in which values of the column are sent.
    pub(super) const fn staged(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Float4 => "float4",
            Self::Float8 => "float8",
            Self::Date => "date",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(_) => "timestamptz",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Uuid => "uuid",
            Self::Bytea => "bytea",
            // Without its limits: the server rounds as it puts the value.
            Self::Numeric(_) => "numeric",
            Self::Text(_) | Self::Other => "text",
        }
    }

    /// Returns whether what is staged must be converted before it is compared with what stands in the column.
    pub(super) const fn is_cast(self) -> bool {
        matches!(self, Self::Numeric(_) | Self::Other)
    }

    /// Returns whether values are sent as the column has them.
    pub(super) const fn is_sent_as_stored(self) -> bool {
        !matches!(self, Self::Other)
    }

    /// Appends `value` with its length before it; `None` when it does not fit.
    pub(super) fn encode(self, value: &Value<'_>, to: &mut Vec<u8>) -> Option<()> {
        if *value == Value::Null {
            to.extend_from_slice(&(-1_i32).to_be_bytes());
            return Some(());
        }
        let start = to.len();
        to.extend_from_slice(&[0; 4]);
        let fits = self.encode_some(value, to);
        let length = i32::try_from(to.len() - start - 4).ok();
        if let (Some(()), Some(length)) = (fits, length) {
            to[start..start + 4].copy_from_slice(&length.to_be_bytes());
            return Some(());
        }
        to.truncate(start);
        None
    }

    fn encode_some(self, value: &Value<'_>, to: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Bool => to.push(u8::from(boolean(value)?)),
            Self::Int2 => to.extend_from_slice(&i16::try_from(integer(value)?).ok()?.to_be_bytes()),
            Self::Int4 => to.extend_from_slice(&i32::try_from(integer(value)?).ok()?.to_be_bytes()),
            Self::Int8 => to.extend_from_slice(&integer(value)?.to_be_bytes()),
            Self::Float4 => {
                let value = float(value)?;
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "an overflow is looked for on the next line"
                )]
                let narrow = value as f32;
                to.extend_from_slice(
                    &Some(narrow).filter(|n| n.is_finite() == value.is_finite())?.to_be_bytes(),
                );
            }
            Self::Float8 => to.extend_from_slice(&float(value)?.to_be_bytes()),
            Self::Numeric(limits) => numeric::encode(scalar(value)?.trim_ascii(), limits, to)?,
            Self::Text(most) => {
                let text = plain(value);
                let fits = most.is_none_or(|most| text.len() <= most || text.chars().count() <= most);
                (fits && memchr::memchr(0, text.as_bytes()).is_none()).then_some(())?;
                to.extend_from_slice(text.as_bytes());
            }
            Self::Date => to.extend_from_slice(&days(&scalar(value)?)?.to_be_bytes()),
            // A time with an offset in a column without one is UTC's, as all are that this sink writes.
            Self::Timestamp(_) | Self::TimestampTz(_) => {
                to.extend_from_slice(&instant(&scalar(value)?)?.to_be_bytes());
            }
            Self::Json => to.extend_from_slice(json(value).as_bytes()),
            Self::Jsonb => {
                let text = json(value);
                (!names_nul(&text)).then_some(())?;
                to.push(1);
                to.extend_from_slice(text.as_bytes());
            }
            Self::Uuid => to.extend_from_slice(&uuid(&scalar(value)?)?),
            Self::Bytea => hex(scalar(value)?.strip_prefix("\\x")?, to)?,
            Self::Other => {
                let text = plain(value);
                memchr::memchr(0, text.as_bytes()).is_none().then_some(())?;
                to.extend_from_slice(text.as_bytes());
            }
        }
        Some(())
    }
}

/// Places behind the second that a moment has at most.
const PLACES_MAX: u32 = 6;

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// The text of a number or string.
pub(super) fn scalar<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::Number(text) => Some(Cow::Borrowed(text)),
        Value::Text(text) => Some(Cow::Borrowed(text)),
        _ => None,
    }
}

/// Any value as text; arrays and objects as JSON.
fn plain<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    Cow::Borrowed(match value {
        Value::Null => "",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(text) | Value::Nested(text) => text,
        Value::Text(text) => text,
    })
}

fn json<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Null => Cow::Borrowed("null"),
        Value::Text(text) => {
            Cow::Owned(serde_json::to_string(text).expect("a string can always be written as JSON"))
        }
        other => plain(other),
    }
}

/// Returns whether a JSON text has `\u0000` in a string, which `jsonb` cannot hold.
fn names_nul(text: &str) -> bool {
    text.match_indices("\\u0000").any(|(at, _)| {
        let backslashes = text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
        backslashes % 2 == 0
    })
}

pub(super) fn boolean(value: &Value<'_>) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number("0") => Some(false),
        Value::Number("1") => Some(true),
        Value::Text(text) => match text.to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Some(true),
            "f" | "false" | "n" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn integer(value: &Value<'_>) -> Option<i64> {
    /// Whole numbers below this are all different as `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Value::Bool(value) = value {
        return Some(i64::from(*value));
    }
    let text = scalar(value)?;
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok().filter(|v: &f64| v.fract() == 0.0 && v.abs() < EXACT)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole, and checked against the bounds above")]
        Some(value as i64)
    })
}

fn float(value: &Value<'_>) -> Option<f64> {
    let text = scalar(value)?;
    let float: f64 = text.parse().ok()?;
    // A number too large would become infinite; a string may say so.
    (float.is_finite() || matches!(value, Value::Text(_)) && !text.contains(|c: char| c.is_ascii_digit()))
        .then_some(float)
}

fn days(text: &str) -> Option<i32> {
    match text {
        "infinity" => return Some(i32::MAX),
        "-infinity" => return Some(i32::MIN),
        _ => {}
    }
    let day: Date = text.parse().ok()?;
    date(2000, 1, 1).until(day).ok().map(|span| span.get_days())
}

/// Reads an instant; a date or time without an offset counts as UTC.
fn instant(text: &str) -> Option<i64> {
    match text {
        "infinity" => return Some(i64::MAX),
        "-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let instant: Timestamp = match text.parse() {
        Ok(instant) => instant,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    let micros = (instant.as_nanosecond() + 500).div_euclid(1000);
    Some(i64::try_from(micros).ok()? - EPOCH_MICROS)
}

/// Returns an instant as a column of so many places holds it, where `text` names one between two.
pub(super) fn rounded(text: &str, places: u32) -> Option<String> {
    let instant: Timestamp = match text.parse() {
        Ok(instant) => instant,
        Err(_) => text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp(),
    };
    let unit = 10_i128.pow(9 - places.min(PLACES_MAX));
    if instant.as_nanosecond() % unit == 0 {
        return None;
    }
    let stored = (instant.as_nanosecond() + unit / 2).div_euclid(unit) * unit;
    Timestamp::from_nanosecond(stored).ok().map(|instant| instant.to_string())
}

fn uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let mut bytes = Vec::with_capacity(16);
    hex(&digits, &mut bytes)?;
    bytes.try_into().ok()
}

fn hex(digits: &str, to: &mut Vec<u8>) -> Option<()> {
    let digits = digits.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    for pair in digits.chunks_exact(2) {
        to.push(value(pair[0])? << 4 | value(pair[1])?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(kind: Kind, value: &Value<'_>) -> bool {
        kind.encode(value, &mut Vec::new()).is_some()
    }

    #[test]
    fn limits_are_read_from_the_modifier() {
        assert_eq!(Kind::of("numeric", ((5 << 16) | 2) + 4), Kind::Numeric(Some((5, 2))));
        assert_eq!(Kind::of("varchar", 7), Kind::Text(Some(3)));
        assert_eq!(Kind::of("varchar", -1), Kind::Text(None));
    }

    #[test]
    fn what_does_not_fit_is_not_sent() {
        let (number, text) = (Value::Number, |text: &'static str| Value::Text(text.into()));
        for (kind, value, expected) in [
            (Kind::Int2, number("32767"), true),
            (Kind::Int2, number("32768"), false),
            (Kind::Int4, number("2147483648"), false),
            (Kind::Int8, number("9223372036854775807"), true),
            (Kind::Int8, number("9223372036854775808"), false),
            (Kind::Int8, text("12"), true),
            (Kind::Int8, text(""), false),
            (Kind::Int8, number("1.5"), false),
            (Kind::Float4, number("1e39"), false),
            (Kind::Float4, text("Infinity"), true),
            (Kind::Float8, number("1e999"), false),
            (Kind::Numeric(None), text(" 7\n"), true),
            // No blank to the server, nor to who compares keys.
            (Kind::Numeric(None), text("\u{a0}7"), false),
            (Kind::Numeric(None), text("\u{b}7"), false),
            (Kind::Text(Some(2)), text("éé"), true),
            (Kind::Text(Some(2)), text("ééé"), false),
            (Kind::Text(None), text("a\0b"), false),
            (Kind::Text(None), Value::Nested("[1]"), true),
            (Kind::Date, text("2024-02-29"), true),
            (Kind::Date, text("2023-02-29"), false),
            (Kind::TimestampTz(6), text("2024-05-01 10:00:00+02"), true),
            (Kind::TimestampTz(6), number("1714550400"), false),
            (Kind::Jsonb, Value::Nested(r#"["\u0000"]"#), false),
            (Kind::Jsonb, Value::Nested(r#"["\\u0000"]"#), true),
            (Kind::Uuid, text("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}"), true),
            (Kind::Uuid, text("a0eebc99"), false),
            (Kind::Bytea, text("\\xDEad"), true),
            (Kind::Bytea, text("dead"), false),
            (Kind::Bool, text("yes"), true),
            (Kind::Bool, number("2"), false),
            (Kind::Int4, Value::Null, true),
        ] {
            assert_eq!(fits(kind, &value), expected, "{kind:?} {value:?}");
        }
        let mut kept = vec![7];
        assert_eq!(Kind::Int2.encode(&text("x"), &mut kept), None);
        assert_eq!(kept, [7], "nothing of it stays");
    }
}
