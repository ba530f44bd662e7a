//! Scalars: the values of params and of a matrix.

use toml::de::DeValue;
use toml::value::Datetime;

use super::names::show;
use super::reader::{Reader, Value, Wanted};
use super::text::At;
use crate::ParamValue;

impl<'a> Reader<'a> {
    /// Reads a string, number, boolean, date or time.
    pub(super) fn scalar(&mut self, what: &str, value: &Value<'a>) -> Option<At<ParamValue>> {
        let span = value.span();
        let scalar = match value.get_ref() {
            DeValue::String(_) => ParamValue::String(self.text(what, value)?.text.into_owned()),
            DeValue::Integer(_) => ParamValue::Integer(self.integer(what, i64::MIN, i64::MAX, value)?),
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => ParamValue::Float(number),
                _ => {
                    self.bad_value(
                        format!("{what} is not finite"),
                        "not finite",
                        span,
                        "write a finite number, or a string",
                    );
                    return None;
                }
            },
            DeValue::Boolean(value) => ParamValue::Boolean(*value),
            DeValue::Datetime(time) => date_or_time(time),
            DeValue::Array(_) | DeValue::Table(_) => {
                self.wrong_type(what, "a string, number, boolean, date or time", Wanted::Other, value);
                return None;
            }
        };
        Some(At { value: scalar, span })
    }
}

fn date_or_time(time: &Datetime) -> ParamValue {
    let text = time.to_string();
    match (time.date.is_some(), time.time.is_some(), time.offset.is_some()) {
        (true, true, true) => ParamValue::OffsetDatetime(text),
        (true, true, false) => ParamValue::LocalDatetime(text),
        (true, false, _) => ParamValue::LocalDate(text),
        (false, ..) => ParamValue::LocalTime(text),
    }
}

/// Returns whether two values have one type.
pub(crate) fn same_kind(left: &ParamValue, right: &ParamValue) -> bool {
    std::mem::discriminant(left) == std::mem::discriminant(right)
}

/// Reads a value given on the command line by the type of the param's default, `None` where it is of another.
pub(crate) fn override_param(default: &ParamValue, text: &str) -> Option<ParamValue> {
    let value = match default {
        ParamValue::String(_) => ParamValue::String(text.to_owned()),
        ParamValue::Integer(_) => ParamValue::Integer(text.parse().ok()?),
        ParamValue::Float(_) => {
            ParamValue::Float(text.parse().ok().filter(|number: &f64| number.is_finite())?)
        }
        ParamValue::Boolean(_) => ParamValue::Boolean(text.parse().ok()?),
        ParamValue::OffsetDatetime(_)
        | ParamValue::LocalDatetime(_)
        | ParamValue::LocalDate(_)
        | ParamValue::LocalTime(_) => date_or_time(&text.parse().ok()?),
    };
    same_kind(default, &value).then_some(value)
}

/// Shows a value in a message as it is written in TOML.
pub(super) fn show_value(value: &ParamValue) -> String {
    match value {
        ParamValue::String(text) => format!("\"{}\"", show(text)),
        other => other.to_string(),
    }
}
