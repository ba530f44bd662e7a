//! Durations and sizes.

use jiff::SpanRelativeTo;
use toml::de::DeValue;

use super::names::show;
use super::reader::{Reader, Value, Wanted};
use crate::code;
use crate::diagnostic::Diagnostic;

impl<'a> Reader<'a> {
    /// Reads a duration such as `"10m"`, `"1h30m"` or `"PT1H30M"`, of at least `least` milliseconds; a day has 24 hours.
    pub(super) fn duration(&mut self, what: &str, least: u64, value: &Value<'a>) -> Option<u64> {
        let span = value.span();
        let error = |message: String| Diagnostic::error(code::BAD_DURATION, message);
        let (text, is_number) = match value.get_ref() {
            DeValue::String(text) => (text.trim(), text.trim().parse::<f64>().is_ok()),
            DeValue::Integer(_) | DeValue::Float(_) => {
                (self.source.get(span.clone()).unwrap_or_default(), true)
            }
            _ => {
                self.wrong_type(what, "a duration such as `\"10m\"`", Wanted::Other, value);
                return None;
            }
        };
        // A mere number is refused all the same; what it would be in seconds decides what is proposed.
        let with_unit = if is_number { format!("{text}s") } else { text.to_owned() };
        let diagnostic = match milliseconds(&with_unit) {
            Ok(milliseconds) if milliseconds < least => error(format!("{what} is too short"))
                .at(span, "too short")
                .help(format!("write at least `\"{least}ms\"`")),
            Ok(_) if is_number => error(format!("{what} is {} of what?", show(text)))
                .at(span.clone(), "a duration needs a unit")
                .help(format!("write `\"{with_unit}\"` for seconds"))
                .patch(span, format!("\"{with_unit}\"")),
            Ok(milliseconds) => return Some(milliseconds),
            Err(why) => error(format!("{what} is no duration: `{}`", show(text)))
                .at(span, why)
                .help("write for example `\"30s\"`, `\"10m\"`, `\"1h30m\"`, `\"2d\"` or `\"PT1H30M\"`"),
        };
        self.report(diagnostic);
        None
    }

    /// Reads a size of memory such as `"1GiB"`.
    pub(super) fn size(&mut self, what: &str, value: &Value<'a>) -> Option<u64> {
        let span = value.span();
        let text = match value.get_ref() {
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            _ => {
                self.wrong_type(what, "a size such as `\"1GiB\"`", Wanted::Other, value);
                return None;
            }
        };
        let (message, label, help, patch) = match bytes(text.trim()) {
            Ok(bytes) => return Some(bytes),
            Err(SizeError::NoUnit) if bytes(&format!("{}MiB", text.trim())).is_ok() => (
                format!("{what} is {} of what?", show(&text)),
                "a size needs a unit",
                format!("write `\"{0}MiB\"` for mebibytes", show(&text)),
                Some(format!("\"{}MiB\"", text.trim())),
            ),
            Err(SizeError::Ambiguous(unit)) => (
                format!("{what} has the unit `{unit}`, which means two things"),
                "1000 or 1024?",
                format!("write `{unit}B` for powers of 1000, `{}iB` for powers of 1024", unit.to_uppercase()),
                None,
            ),
            Err(SizeError::NoUnit | SizeError::Other) => (
                format!("{what} is no size: `{}`", show(&text)),
                "no size",
                "write a number and one of `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`, `GiB`, `TiB`".to_owned(),
                None,
            ),
        };
        let mut diagnostic = Diagnostic::error(code::BAD_SIZE, message).at(span.clone(), label).help(help);
        if let Some(patch) = patch {
            diagnostic = diagnostic.patch(span, patch);
        }
        self.report(diagnostic);
        None
    }
}

fn milliseconds(text: &str) -> Result<u64, &'static str> {
    let span: jiff::Span = text.parse().map_err(|_| "cannot be read as a duration")?;
    if span.is_negative() {
        return Err("it is negative");
    }
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years differ in length: use days")?;
    u64::try_from(duration.as_millis()).map_err(|_| "it is too long")
}

#[derive(Debug, PartialEq, Eq)]
enum SizeError {
    NoUnit,
    Ambiguous(String),
    Other,
}

fn bytes(text: &str) -> Result<u64, SizeError> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..unit_at], text[unit_at..].trim());
    let factor: u64 = match unit {
        "" if number.parse::<f64>().is_ok() => return Err(SizeError::NoUnit),
        "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "k" | "K" | "M" | "G" | "T" | "m" | "g" | "t" if number.parse::<f64>().is_ok() => {
            return Err(SizeError::Ambiguous(unit.to_owned()));
        }
        _ => return Err(SizeError::Other),
    };
    // Whole and fraction apart, so that no float rounds a large number.
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || number.ends_with('.') || fraction.contains('.') {
        return Err(SizeError::Other);
    }
    let whole: u64 = whole.parse().map_err(|_| SizeError::Other)?;
    let parts: u64 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| SizeError::Other)? };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| SizeError::Other)?);
    let part = u128::from(parts) * u128::from(factor) / scale;
    let total = u128::from(whole) * u128::from(factor) + part;
    u64::try_from(total).ok().filter(|bytes| *bytes > 0).ok_or(SizeError::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(milliseconds(text).ok(), expect, "{text}");
        check("10m", Some(600_000));
        check("1h30m", Some(5_400_000));
        check("PT1H30M", Some(5_400_000));
        check("250ms", Some(250));
        check("1.5s", Some(1500));
        check("2d", Some(172_800_000));
        check("1 week", Some(7 * 86_400_000));
        check("0s", Some(0));
        check("1y", None);
        check("-5s", None);
        check("ten minutes", None);
        check("", None);
    }

    #[test]
    fn sizes() {
        let check = |text: &str, expect: Result<u64, SizeError>| assert_eq!(bytes(text), expect, "{text}");
        check("1GiB", Ok(1 << 30));
        check("512MB", Ok(512_000_000));
        check("1.5 GiB", Ok(3 << 29));
        check("64B", Ok(64));
        check("512", Err(SizeError::NoUnit));
        check("1G", Err(SizeError::Ambiguous("G".to_owned())));
        for bad in ["", "GiB", "1..5GiB", ".5GiB", "1.GiB", "0MB", "-1GB", "99999999999TiB", "1GiBs"] {
            check(bad, Err(SizeError::Other));
        }
    }
}
