//! Texts that say a moment.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Reads an RFC 3339 timestamp, a date (its midnight), or a date with a time of day and no offset; the last two are taken
/// as UTC. `None` for any other text.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    if !looks_like_a_date(text.as_bytes()) {
        return None;
    }
    read(text).or_else(|| read(&to_nanoseconds(text)?))
}

fn read(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let local: DateTime = text.parse().ok()?;
        Offset::UTC.to_timestamp(local).ok()
    })
}

/// Keeps most texts from the parser, and its other forms (`20260131`) from being dates.
fn looks_like_a_date(text: &[u8]) -> bool {
    text.len() >= 10
        && text[..4].iter().all(u8::is_ascii_digit)
        && text[4] == b'-'
        && text[7] == b'-'
        && (text.len() == 10 || matches!(text[10], b'T' | b't' | b' '))
}

/// Cuts the digits after the ninth: a moment with more is still one, not a text that comes after all moments.
fn to_nanoseconds(text: &str) -> Option<Cow<'_, str>> {
    let fraction = text.find('.')? + 1;
    let digits = text.as_bytes()[fraction..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 9).then(|| Cow::Owned(format!("{}{}", &text[..fraction + 9], &text[fraction + digits..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_other_texts() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse(text).map(|moment| moment.to_string()).as_deref(), expect, "{text}");
        };
        check("2026-01-31T10:00:00Z", Some("2026-01-31T10:00:00Z"));
        check("2026-01-31T10:00:00+02:00", Some("2026-01-31T08:00:00Z"));
        check("2026-01-31t10:00:00.5-00:30", Some("2026-01-31T10:30:00.5Z"));
        check("2026-01-31 10:00:00", Some("2026-01-31T10:00:00Z"));
        check("2026-01-31", Some("2026-01-31T00:00:00Z"));
        check("2026-01-31T10:00:00.1234567899Z", Some("2026-01-31T10:00:00.123456789Z"));
        check("2026-02-30", None);
        check("20260131", None);
        check("2026-01-31x", None);
        check("v2026-01-31", None);
        check("", None);
    }
}
