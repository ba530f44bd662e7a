//! Times as people write and read them.

use cairn_model::Timestamp;
use jiff::tz::TimeZone;

/// Reads RFC 3339, or a date or date and time of the zone's clock; midnight where there is only a date.
pub fn instant(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let found = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // A text with an offset is one of the above or none.
        let bare = text.len() >= 10 && !text[10..].contains(['Z', 'z', '+', '-', '[']);
        let civil = text.parse::<jiff::civil::DateTime>().ok().filter(|_| bare)?;
        zone.to_timestamp(civil).ok()
    });
    found.map(|time| Timestamp(time.as_millisecond()))
}

/// Returns a time as RFC 3339 by the clock of a zone, to the second: `2026-01-31T06:00:00+01:00`, `Z` in UTC.
pub fn rfc3339_in(time: Timestamp, zone: &TimeZone) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(time.0) else { return time.0.to_string() };
    let format = if *zone == TimeZone::UTC { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    instant.to_zoned(zone.clone()).strftime(format).to_string()
}

/// Returns the name of the time zone that was most likely meant; a city alone names its zone.
pub fn nearest_zone(name: &str) -> Option<String> {
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let city = name.replace(' ', "_");
    let is_city =
        |zone: &&String| zone.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(&city));
    let by_city = known.iter().find(is_city).map(String::as_str);
    by_city.or_else(|| crate::syntax::nearest(name, known.iter().map(String::as_str))).map(str::to_owned)
}

/// Returns whether this machine has no time zone database.
pub(crate) fn knows_no_zone() -> bool {
    jiff::tz::db().available().next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_by_the_clock_of_the_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let shown = |text: &str| instant(text, &berlin).map(|time| rfc3339_in(time, &berlin));
        assert_eq!(shown("2026-01-31").as_deref(), Some("2026-01-31T00:00:00+01:00"));
        assert_eq!(shown("2026-07-01T06:00").as_deref(), Some("2026-07-01T06:00:00+02:00"));
        assert_eq!(shown("2026-01-31T06:00:00Z").as_deref(), Some("2026-01-31T07:00:00+01:00"));
        // In a gap the clock is set forward; of two the first is meant.
        assert_eq!(shown("2026-03-29T02:30:00").as_deref(), Some("2026-03-29T03:30:00+02:00"));
        assert_eq!(shown("2026-10-25T02:30:00").as_deref(), Some("2026-10-25T02:30:00+02:00"));
        for bad in [
            "",
            "today",
            "2026-02-30",
            "2026-13-01",
            "12:00",
            "2026-01-31T06:00:00+99:00",
            "2026-01-31T06:00Q",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
        assert_eq!(rfc3339_in(Timestamp(0), &TimeZone::UTC), "1970-01-01T00:00:00Z");
    }
}
