//! One Parquet row as JSON, its fields in the file's order.
//!
//! | type | JSON |
//! | --- | --- |
//! | integers, floats, booleans | as they are; a float that is no number is null |
//! | strings, enums, JSON | a text |
//! | decimals | a text with all digits (`"12.30"`) |
//! | dates, times, timestamps | a text: `2026-01-31`, `10:00:00.000001`, RFC 3339; with `Z` where the type says UTC |
//! | UUIDs | a text: `0198c2a5-…` |
//! | other binary | a text in Base64 |
//! | groups, lists, maps | objects, arrays, objects |

use std::fmt;
use std::io::Write;

use jiff::civil::Time;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use parquet::basic::{LogicalType, TimeUnit};
use parquet::record::{Field, Row};
use parquet::schema::types::Type;

use super::field_type;

/// Appends `row` as an object; an error says which value has no form in JSON.
pub(super) fn write_row(row: &Row, group: Option<&Type>, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    for (index, (name, field)) in row.get_column_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, name);
        out.push(b':');
        write_field(field, field_type(group, index), out)
            .map_err(|error| if error.starts_with('`') { error } else { format!("`{name}` {error}") })?;
    }
    out.push(b'}');
    Ok(())
}

fn write_field(field: &Field, of: Option<&Type>, out: &mut Vec<u8>) -> Result<(), String> {
    match field {
        Field::Null => out.extend_from_slice(b"null"),
        Field::Bool(value) => write(out, value),
        Field::Byte(value) => write(out, value),
        Field::Short(value) => write(out, value),
        Field::Int(value) => write(out, value),
        Field::Long(value) => write_long(*value, of, out)?,
        Field::UByte(value) => write(out, value),
        Field::UShort(value) => write(out, value),
        Field::UInt(value) => write(out, value),
        Field::ULong(value) => write(out, value),
        Field::Float16(value) => write(out, &f32::from(*value)),
        // A float keeps its own shortest digits: 0.1, not 0.10000000149.
        Field::Float(value) => write(out, value),
        Field::Double(value) => write(out, value),
        Field::Str(value) => write(out, value),
        Field::Bytes(bytes) if bytes.len() == 16 && logical_type(of) == Some(&LogicalType::Uuid) => {
            write(out, &uuid(bytes.data()));
        }
        Field::Decimal(_) | Field::Bytes(_) => write(out, &field.to_json_value()),
        Field::Date(days) => write(out, &date(*days)?),
        Field::TimeMillis(value) => write(out, &time(i64::from(*value) * 1_000_000)?),
        Field::TimeMicros(value) => write(out, &time(value.saturating_mul(1_000))?),
        Field::TimestampMillis(value) => {
            write_timestamp(SignedDuration::from_millis(*value), is_utc(of), out)?;
        }
        Field::TimestampMicros(value) => {
            write_timestamp(SignedDuration::from_micros(*value), is_utc(of), out)?;
        }
        Field::Group(row) => write_row(row, of, out)?,
        Field::ListInternal(list) => {
            let element = element_type(of);
            out.push(b'[');
            for (index, value) in list.elements().iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_field(value, element, out)?;
            }
            out.push(b']');
        }
        Field::MapInternal(map) => {
            let pair = field_type(of, 0);
            out.push(b'{');
            for (index, (key, value)) in map.entries().iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_key(key, field_type(pair, 0), out)?;
                out.push(b':');
                write_field(value, field_type(pair, 1), out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// Appends a map's key: the text, or what JSON makes of the value as a text.
fn write_key(key: &Field, of: Option<&Type>, out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    write_field(key, of, out)?;
    if out.get(start) != Some(&b'"') {
        let text = String::from_utf8_lossy(&out[start..]).into_owned();
        out.truncate(start);
        write(out, &text);
    }
    Ok(())
}

/// The library gives units that its converted types have no name for as plain integers.
fn write_long(value: i64, of: Option<&Type>, out: &mut Vec<u8>) -> Result<(), String> {
    match logical_type(of) {
        Some(LogicalType::Timestamp(kind)) => {
            let since = match kind.unit {
                TimeUnit::MILLIS => SignedDuration::from_millis(value),
                TimeUnit::MICROS => SignedDuration::from_micros(value),
                TimeUnit::NANOS => SignedDuration::from_nanos(value),
            };
            write_timestamp(since, kind.is_adjusted_to_u_t_c, out)
        }
        Some(LogicalType::Time(kind)) => {
            let scale = match kind.unit {
                TimeUnit::MILLIS => 1_000_000,
                TimeUnit::MICROS => 1_000,
                TimeUnit::NANOS => 1,
            };
            write(out, &time(value.saturating_mul(scale))?);
            Ok(())
        }
        _ => {
            write(out, &value);
            Ok(())
        }
    }
}

fn logical_type(of: Option<&Type>) -> Option<&LogicalType> {
    of?.get_basic_info().logical_type_ref()
}

/// Returns 16 bytes in hex, in the groups of RFC 9562.
fn uuid(bytes: &[u8]) -> String {
    let hex = bytes.iter().fold(String::with_capacity(32), |mut hex, byte| {
        let _ = fmt::Write::write_fmt(&mut hex, format_args!("{byte:02x}"));
        hex
    });
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// Returns whether a timestamp is an instant; without a word on it, it is (as the old types say).
fn is_utc(of: Option<&Type>) -> bool {
    match logical_type(of) {
        Some(LogicalType::Timestamp(kind)) => kind.is_adjusted_to_u_t_c,
        _ => true,
    }
}

fn write_timestamp(since: SignedDuration, utc: bool, out: &mut Vec<u8>) -> Result<(), String> {
    let moment =
        Timestamp::from_duration(since).map_err(|_| "holds a moment outside of the years -9999 to 9999")?;
    if utc {
        let _ = write!(out, "\"{moment}\"");
    } else {
        let _ = write!(out, "\"{}\"", Offset::UTC.to_datetime(moment));
    }
    Ok(())
}

fn date(days: i32) -> Result<String, String> {
    let midnight = Timestamp::from_second(i64::from(days) * 86_400);
    let date = midnight.map(|moment| Offset::UTC.to_datetime(moment).date());
    date.map(|date| date.to_string())
        .map_err(|_| "holds a date outside of the years -9999 to 9999".to_owned())
}

fn time(nanoseconds: i64) -> Result<String, String> {
    let in_a_day = (0..86_400_000_000_000).contains(&nanoseconds);
    let time = in_a_day.then(|| Time::midnight().wrapping_add(SignedDuration::from_nanos(nanoseconds)));
    time.map(|time| time.to_string()).ok_or_else(|| "holds a time outside of a day".to_owned())
}

/// Returns the type of a list's elements, in the three-level form and in the older two-level one.
fn element_type(list: Option<&Type>) -> Option<&Type> {
    let repeated = match list {
        Some(list) if list.is_group() => field_type(Some(list), 0),
        other => other,
    }?;
    if repeated.is_group() && repeated.get_fields().len() == 1 {
        field_type(Some(repeated), 0)
    } else {
        Some(repeated)
    }
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("scalars and texts are JSON");
}
