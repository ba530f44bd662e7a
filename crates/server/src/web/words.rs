//! Times, durations, sizes and schedules in words.

use cairn_model::{Schedule, Timestamp};
use jiff::tz::TimeZone;

use super::markup::Markup;

fn instant(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default()
}

/// Returns a time as programs read it.
pub(super) fn rfc3339(at: Timestamp) -> String {
    instant(at).to_string()
}

/// Returns a time by the clock of this machine: `2026-01-31 06:00:00 +01:00`.
pub(super) fn clock(at: Timestamp) -> String {
    instant(at).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

/// Returns the day and the minute by the clock of this machine: `31 Jan 06:00`.
pub(super) fn day_minute(at: Timestamp) -> String {
    instant(at).to_zoned(TimeZone::system()).strftime("%-d %b %H:%M").to_string()
}

/// Returns the time of day with milliseconds by the clock of this machine.
pub(super) fn time_of_day(at: Timestamp) -> String {
    instant(at).to_zoned(TimeZone::system()).strftime("%H:%M:%S%.3f").to_string()
}

/// Returns how far a time is from now: `3 min ago`, `in 2 h`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (ms, future) = if at > now { (at.millis_since(now), true) } else { (now.millis_since(at), false) };
    let seconds = ms / 1000;
    let far = match seconds {
        0..10 => return if future { "in a moment".to_owned() } else { "just now".to_owned() },
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    };
    if future { format!("in {far}") } else { format!("{far} ago") }
}

/// Marks a time up: far from now in words, the clock's time when it is pointed at. The script keeps it true.
pub(super) fn when(at: Timestamp, now: Timestamp) -> Markup {
    let mut markup = Markup::default();
    markup.html("<time data-relative").attribute("datetime", rfc3339(at)).attribute("title", clock(at));
    markup.html(">").text(relative(at, now)).html("</time>");
    markup
}

/// Marks a time up by its day and minute, as the clock of this machine shows it: `Thu 26 Nov 11:28`.
pub(super) fn at_minute(at: Timestamp) -> Markup {
    let mut markup = Markup::default();
    let text = instant(at).to_zoned(TimeZone::system()).strftime("%a %-d %b %H:%M").to_string();
    markup
        .html("<time")
        .attribute("datetime", rfc3339(at))
        .attribute("title", clock(at))
        .html(">")
        .text(text);
    markup.html("</time>");
    markup
}

/// Marks a time up as the clock shows it.
pub(super) fn at_clock(at: Timestamp) -> Markup {
    at_clock_in(at, &TimeZone::system())
}

/// The same by the clock of a zone.
pub(super) fn at_clock_in(at: Timestamp, zone: &TimeZone) -> Markup {
    let mut markup = Markup::default();
    let text = instant(at).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
    markup.html("<time data-clock").attribute("datetime", rfc3339(at)).html(">").text(text).html("</time>");
    markup
}

/// Returns a duration with two units at most: `840 ms`, `3.2 s`, `4 min 10 s`, `2 h 5 min`.
pub(super) fn took(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600_000..172_800_000 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// Returns a size: `312 B`, `4.2 KiB`.
#[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
pub(super) fn bytes(count: u64) -> String {
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, "KiB");
    for next in ["MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}")
}

/// Returns `1 run`, `2 runs`.
pub(super) fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

/// Says when a pipeline is run by itself.
pub(super) fn schedule(schedule: &Schedule) -> String {
    cairn_scheduler::schedule::describe(schedule).replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_distances() {
        assert_eq!(
            [took(0), took(3250), took(61_000), took(7_500_000)],
            ["0 ms", "3.2 s", "1 min 1 s", "2 h 5 min"]
        );
        assert_eq!([bytes(12), bytes(1536), bytes(5 << 20)], ["12 B", "1.5 KiB", "5.0 MiB"]);
        let now = Timestamp(1_000_000_000);
        let far = |ms: i64| relative(Timestamp(now.0 + ms), now);
        assert_eq!([far(-3000), far(-70_000), far(7_200_000)], ["just now", "1 min ago", "in 2 h"]);
    }
}
