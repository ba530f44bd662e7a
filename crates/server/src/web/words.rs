//! Times, durations, sizes and schedules in words.

use std::fmt::Write as _;

use cairn_model::{Schedule, SensorKind, Timestamp, Trigger};
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

/// Marks a time up as the clock shows it.
pub(super) fn at_clock(at: Timestamp) -> Markup {
    let mut markup = Markup::default();
    markup
        .html("<time data-clock")
        .attribute("datetime", rfc3339(at))
        .html(">")
        .text(clock(at))
        .html("</time>");
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
    let mut out = match &schedule.trigger {
        None => String::new(),
        Some(Trigger::Cron(cron)) => {
            let fields = cron.fields();
            cron_words(&fields).unwrap_or_else(|| format!("cron {}", fields.join(" ")))
        }
        Some(Trigger::Every { ms }) => format!("every {}", every(*ms)),
        Some(Trigger::At(times)) => match times.as_slice() {
            [one] => format!("once, {}", clock(*one)),
            times => format!("at {} times", times.len()),
        },
    };
    if !out.is_empty() && matches!(schedule.trigger, Some(Trigger::Cron(_))) {
        let _ = write!(out, " ({})", schedule.timezone);
    }
    let mut add = |what: String| {
        out.push_str(if out.is_empty() { "" } else { "; " });
        out.push_str(&what);
    };
    if !schedule.after.is_empty() {
        let names: Vec<&str> = schedule.after.iter().map(cairn_model::Name::as_str).collect();
        add(format!("after {}", names.join(", ")));
    }
    for sensor in &schedule.sensors {
        add(match &sensor.kind {
            SensorKind::Files { pattern, .. } => format!("when {pattern} changes"),
            SensorKind::Command { .. } => "when a command prints something new".to_owned(),
            SensorKind::Http { url } => format!("when {url} changes"),
            SensorKind::Webhook { name } => format!("when the webhook {name} is called"),
        });
    }
    out
}

fn every(ms: u64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")] {
        if ms.is_multiple_of(unit) {
            return format!("{} {name}", ms / unit);
        }
    }
    took(ms)
}

/// Says the plainest cron expressions in words; `None` for all others.
fn cron_words(fields: &[&str; 5]) -> Option<String> {
    let [minute, hour, day, month, weekday] = *fields;
    let number = |text: &str| text.parse::<u8>().ok();
    if month != "*" || day != "*" {
        return None;
    }
    let days = match weekday {
        "*" => "every day",
        "1-5" | "MON-FRI" => "on weekdays",
        "0" | "7" | "SUN" => "every Sunday",
        "1" | "MON" => "every Monday",
        "2" | "TUE" => "every Tuesday",
        "3" | "WED" => "every Wednesday",
        "4" | "THU" => "every Thursday",
        "5" | "FRI" => "every Friday",
        "6" | "SAT" => "every Saturday",
        _ => return None,
    };
    match (number(minute), number(hour), minute.strip_prefix("*/")) {
        (Some(minute), Some(hour), _) => Some(format!("{days} at {hour:02}:{minute:02}")),
        (Some(minute), None, _) if hour == "*" && weekday == "*" => {
            Some(if minute == 0 { "every hour".to_owned() } else { format!("every hour at :{minute:02}") })
        }
        (None, None, Some(step)) if hour == "*" && weekday == "*" => Some(format!("every {step} min")),
        (None, None, None) if minute == "*" && hour == "*" && weekday == "*" => {
            Some("every minute".to_owned())
        }
        _ => None,
    }
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

    #[test]
    fn schedules_in_words() {
        let words = |text: &str| cron_words(&text.split(' ').collect::<Vec<_>>().try_into().unwrap());
        assert_eq!(words("0 6 * * *").as_deref(), Some("every day at 06:00"));
        assert_eq!(words("30 7 * * 1-5").as_deref(), Some("on weekdays at 07:30"));
        assert_eq!(words("*/15 * * * *").as_deref(), Some("every 15 min"));
        assert_eq!(words("5 * * * *").as_deref(), Some("every hour at :05"));
        assert_eq!(words("0 0 1 * *"), None);
    }
}
