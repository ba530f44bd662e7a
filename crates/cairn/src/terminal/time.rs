//! Durations and times as people read them.

use cairn_model::Timestamp;
use jiff::tz::TimeZone;

/// Returns a duration in milliseconds with the digits that matter: `0.04 s`, `12.3 s`, `2 min 05 s`, `3 h 07 min`.
pub(crate) fn took(ms: u64) -> String {
    // Rounded before the unit is chosen, so that 9.999 s is `10.0 s` and not `10.00 s`.
    if ms < 9_995 {
        return format!("{}.{:02} s", (ms + 5) / 1000, (ms + 5) % 1000 / 10);
    }
    if ms < 59_950 {
        return format!("{}.{} s", (ms + 50) / 1000, (ms + 50) % 1000 / 100);
    }
    let seconds = ms.saturating_add(500) / 1000;
    match seconds {
        0..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Returns a duration that grows while one looks, with digits that can be followed: `1.5 s`, `2 min 05 s`.
pub(crate) fn ticking(ms: u64) -> String {
    if ms < 59_900 { format!("{}.{} s", ms / 1000, ms % 1000 / 100) } else { took(ms) }
}

/// Returns a guess of a duration, or a pause, in whole units from a second on: `0.25 s`, `4 s`, `2 min`, `1 h 10 min`.
pub(crate) fn about(ms: u64) -> String {
    if ms < 1000 {
        return took(ms);
    }
    let seconds = ms.div_ceil(1000);
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// Returns how long ago something was, in one unit: `5 s`, `12 min`, `30 h`, `10 d`.
pub(crate) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Returns the time of RFC 3339 in UTC with milliseconds: `2026-11-25T16:51:08.123Z`.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => format!("{at:.3}"),
        // Outside the years -9999 to 9999 there is no such text.
        Err(_) => format!("@{}", at.0),
    }
}

/// Returns date and time in `zone`, to the second: `2026-11-25 16:51:08`.
pub(crate) fn date_time(at: Timestamp, zone: &TimeZone) -> String {
    format_in(at, zone, "%Y-%m-%d %H:%M:%S")
}

/// Returns date, time and offset in `zone`: `2026-11-25 16:51:08 +01:00`.
pub(crate) fn date_time_offset(at: Timestamp, zone: &TimeZone) -> String {
    format_in(at, zone, "%Y-%m-%d %H:%M:%S %:z")
}

/// Returns the time of day in `zone`: `16:51:08`.
pub(crate) fn time_of_day(at: Timestamp, zone: &TimeZone) -> String {
    format_in(at, zone, "%H:%M:%S")
}

/// Returns the time of day in `zone`, to the millisecond: `16:51:08.123`.
pub(crate) fn time_of_day_ms(at: Timestamp, zone: &TimeZone) -> String {
    format_in(at, zone, "%H:%M:%S%.3f")
}

/// Returns the zone of the person who looks: `TZ`, else the system's, else UTC.
pub(crate) fn zone() -> TimeZone {
    TimeZone::system()
}

fn format_in(at: Timestamp, zone: &TimeZone, format: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => at.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => format!("@{}", at.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_keep_the_digits_that_matter() {
        let check = |ms: u64, expect: &str| assert_eq!(took(ms), expect, "{ms}");
        check(0, "0.00 s");
        check(4, "0.00 s");
        check(5, "0.01 s");
        check(419, "0.42 s");
        check(9_994, "9.99 s");
        check(9_995, "10.0 s");
        check(12_349, "12.3 s");
        check(59_949, "59.9 s");
        check(59_950, "1 min 00 s");
        check(125_000, "2 min 05 s");
        check(3_599_400, "59 min 59 s");
        check(3_599_500, "1 h 00 min");
        check(3_600_000, "1 h 00 min");
        check(90_000_000, "1 d 01 h");
    }

    #[test]
    fn ages_have_one_unit() {
        let check = |seconds: u64, expect: &str| assert_eq!(age(seconds * 1000 + 999), expect, "{seconds}");
        check(0, "0 s");
        check(119, "119 s");
        check(120, "2 min");
        check(7_199, "119 min");
        check(7_200, "2 h");
        check(172_799, "47 h");
        check(864_000, "10 d");
    }

    #[test]
    fn guesses_are_whole() {
        let check = |ms: u64, expect: &str| assert_eq!(about(ms), expect, "{ms}");
        check(1, "0.00 s");
        check(250, "0.25 s");
        check(1001, "2 s");
        check(89_000, "89 s");
        check(90_000, "2 min");
        check(5_400_000, "1 h 30 min");
    }

    #[test]
    fn times_are_told_in_the_readers_zone_and_to_programs_in_utc() {
        let at = Timestamp(1_700_000_000_123);
        assert_eq!(rfc3339(at), "2023-11-14T22:13:20.123Z");
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        assert_eq!(date_time(at, &zone), "2023-11-14 23:13:20");
        assert_eq!(date_time_offset(at, &zone), "2023-11-14 23:13:20 +01:00");
        assert_eq!(time_of_day(at, &zone), "23:13:20");
        assert_eq!(time_of_day_ms(at, &zone), "23:13:20.123");
        assert_eq!(rfc3339(Timestamp(i64::MAX)), format!("@{}", i64::MAX));
    }
}
