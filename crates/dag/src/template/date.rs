//! The filter `date`.

use jiff::civil;
use minijinja::{Error, ErrorKind};

/// Returns a time's date as `2026-01-31`, or as a `strftime` format says: in the zone in which the time is written.
#[expect(clippy::needless_pass_by_value, reason = "a filter's signature is minijinja's")]
pub(super) fn date(time: String, format: Option<String>) -> Result<String, Error> {
    // What stands behind the seconds is their fraction and the offset: neither changes what the clock there shows.
    let shown = time.get(..19).unwrap_or(&time);
    let civil =
        shown.parse::<civil::DateTime>().or_else(|_| shown.parse::<civil::Date>().map(civil::Date::into));
    let fault = |why: String| Error::new(ErrorKind::InvalidOperation, why);
    let civil = civil.map_err(|_| fault(format!("`{time}` is no time")))?;
    let format = format.unwrap_or_else(|| "%Y-%m-%d".to_owned());
    let mut text = String::new();
    let written = jiff::fmt::strtime::BrokenDownTime::from(civil).format(&format, &mut text);
    written.map_err(|error| fault(error.to_string()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_that_of_the_clock_that_is_shown() {
        let of = |time: &str, format: Option<&str>| date(time.to_owned(), format.map(str::to_owned)).unwrap();
        assert_eq!(of("2026-01-01T00:00:00+01:00", None), "2026-01-01");
        assert_eq!(of("2025-12-31T23:00:00Z", None), "2025-12-31");
        assert_eq!(of("2026-03-09", Some("%Y/%m/%d-%H")), "2026/03/09-00");
        assert!(date("yesterday".to_owned(), None).is_err());
        assert!(date("2026-01-01T00:00:00Z".to_owned(), Some("%Q".to_owned())).is_err());
    }
}
