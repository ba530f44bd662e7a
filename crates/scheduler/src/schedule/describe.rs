//! A schedule in English.

use cairn_model::{Cron, Schedule, Trigger};

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// So many times of day are named one by one.
const TIMES_MAX: usize = 6;

/// Says what starts runs, as it follows "runs": `at 06:30 from Monday to Friday (Europe/Berlin)`.
pub fn describe(schedule: &Schedule) -> String {
    let mut parts = Vec::new();
    match &schedule.trigger {
        Some(Trigger::Cron(cron)) => parts.push(format!("{} ({})", cron_in_words(cron), schedule.timezone)),
        Some(Trigger::Every { ms }) => parts.push(format!("every {}", duration(*ms))),
        Some(Trigger::At(times)) => parts.push(match times.len() {
            1 => "once".to_owned(),
            count => format!("at {count} times"),
        }),
        None => {}
    }
    if !schedule.after.is_empty() {
        let names: Vec<String> = schedule.after.iter().map(|name| format!("`{name}`")).collect();
        parts.push(format!("after {}", list(&names, "or")));
    }
    match schedule.sensors.len() {
        0 => {}
        1 => parts.push("when its sensor sees something new".to_owned()),
        count => parts.push(format!("when one of its {count} sensors sees something new")),
    }
    list(&parts, "and")
}

/// Says a duration in its largest whole units.
pub(super) fn duration(ms: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"), (1, "millisecond")];
    let (mut rest, mut parts) = (ms, Vec::new());
    for (unit, name) in UNITS {
        let count = rest / unit;
        rest %= unit;
        match count {
            0 => {}
            1 if ms == unit => return name.to_owned(),
            1 => parts.push(format!("1 {name}")),
            count => parts.push(format!("{count} {name}s")),
        }
    }
    if parts.is_empty() { "0 seconds".to_owned() } else { list(&parts, "and") }
}

fn cron_in_words(cron: &Cron) -> String {
    let time = time_of_day(cron);
    let days = days(cron);
    // "At 06:30" alone might be once.
    let days = if days.is_empty() && time.starts_with("at ") { "every day".to_owned() } else { days };
    let months = months(cron);
    [time, days, months].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn time_of_day(cron: &Cron) -> String {
    let [minute_text, hour_text, ..] = cron.fields();
    let minutes: Vec<u8> = (0..60).filter(|minute| cron.has_minute(*minute)).collect();
    let hours: Vec<u8> = (0..24).filter(|hour| cron.has_hour(*hour)).collect();
    if hours.len() < 24 && minutes.len() * hours.len() <= TIMES_MAX {
        let times: Vec<String> = hours
            .iter()
            .flat_map(|hour| minutes.iter().map(move |minute| format!("{hour:02}:{minute:02}")))
            .collect();
        return format!("at {}", list(&times, "and"));
    }
    let step = |text: &str| text.strip_prefix("*/").and_then(|step| step.parse::<usize>().ok());
    let minute = match (minutes.as_slice(), step(minute_text)) {
        (minutes, _) if minutes.len() == 60 => "every minute".to_owned(),
        (_, Some(step)) if 60 % step == 0 => format!("every {step} minutes"),
        ([0], _) => String::new(),
        (minutes, _) => format!("at {} past the hour", counted("minute", &numbers(minutes))),
    };
    let hour = match (hours.len(), step(hour_text)) {
        (24, _) if minute.starts_with("every") => return minute,
        (24, _) => "every hour".to_owned(),
        (_, Some(step)) if 24 % step == 0 => format!("every {step} hours"),
        _ if minute.is_empty() => format!("at the full hours {}", list(&numbers(&hours), "and")),
        _ => format!("of {}", counted("hour", &numbers(&hours))),
    };
    match minute.as_str() {
        "" => hour,
        minute if hour.starts_with("of ") => format!("{minute} {hour}"),
        minute if minute.starts_with("every") => format!("{minute} of the first of {hour}"),
        minute => format!("{hour}, {minute}"),
    }
}

fn counted(what: &str, numbers: &[String]) -> String {
    let plural = if numbers.len() == 1 && !numbers[0].contains(' ') { "" } else { "s" };
    format!("{what}{plural} {}", list(numbers, "and"))
}

/// Returns numbers as texts, three and more in a row as `1 to 5`.
fn numbers(of: &[u8]) -> Vec<String> {
    let text = |number: u8| number.to_string();
    runs(of, &text, "to")
}

fn runs(of: &[u8], text: &dyn Fn(u8) -> String, to: &str) -> Vec<String> {
    let (mut texts, mut at) = (Vec::new(), 0);
    while at < of.len() {
        let length = (at..of.len()).take_while(|next| usize::from(of[*next] - of[at]) == next - at).count();
        if length > 2 {
            texts.push(format!("{} {to} {}", text(of[at]), text(of[at + length - 1])));
            at += length;
        } else {
            texts.push(text(of[at]));
            at += 1;
        }
    }
    texts
}

fn days(cron: &Cron) -> String {
    let [_, _, day_text, _, weekday_text] = cron.fields();
    let weekday = (weekday_text != "*").then(|| weekdays(weekday_text));
    let day = (day_text != "*").then(|| days_of_month(day_text));
    match (day, weekday) {
        (None, None) => String::new(),
        (Some(one), None) | (None, Some(one)) => one,
        // One is enough, unless one of them begins with a star.
        (Some(day), Some(weekday)) if day_text.starts_with('*') || weekday_text.starts_with('*') => {
            format!("{weekday} that is {day}")
        }
        (Some(day), Some(weekday)) => format!("{day} or {weekday}"),
    }
}

fn days_of_month(text: &str) -> String {
    let names = text.split(',').map(|day| {
        if day.eq_ignore_ascii_case("L") {
            return "the last day".to_owned();
        }
        match (day.split_once('/'), day.split_once('-')) {
            (Some(("*", step)), _) => format!("every {} day from the first", ordinal(step)),
            (Some((range, step)), _) => format!("every {} day of {range}", ordinal(step)),
            (None, Some((first, last))) => format!("days {first} to {last}"),
            (None, None) => format!("day {day}"),
        }
    });
    format!("on {} of the month", list(&names.collect::<Vec<_>>(), "and"))
}

fn weekdays(text: &str) -> String {
    let name = |day: &str| -> String {
        let number = day.parse::<usize>().ok().map(|number| number % 7);
        let lower = day.to_ascii_lowercase();
        let named = || WEEKDAYS.iter().position(|name| name.to_ascii_lowercase().starts_with(&lower));
        number.or_else(named).map_or(day, |at| WEEKDAYS[at]).to_owned()
    };
    let names = text.split(',').map(|item| {
        if let Some((day, nth)) = item.split_once('#') {
            return format!("the {} {} of the month", ordinal(nth), name(day));
        }
        if let Some((range, step)) = item.split_once('/') {
            let of = if range == "*" { String::new() } else { format!(" of {range}") };
            return format!("every {} day of the week{of}", ordinal(step));
        }
        if let Some((first, last)) = item.split_once('-') {
            return format!("{} to {}", name(first), name(last));
        }
        match item.strip_suffix(['L', 'l']).filter(|day| !day.is_empty()) {
            Some(day) => format!("the last {} of the month", name(day)),
            None => name(item),
        }
    });
    format!("on {}", list(&names.collect::<Vec<_>>(), "and"))
}

fn months(cron: &Cron) -> String {
    let months: Vec<u8> = (1..=12).filter(|month| cron.has_month(*month)).collect();
    if months.len() == 12 {
        return String::new();
    }
    let name = |month: u8| MONTHS[usize::from(month) - 1].to_owned();
    format!("in {}", list(&runs(&months, &name, "to"), "and"))
}

fn ordinal(number: &str) -> String {
    let end = match number {
        "1" | "21" | "31" => "st",
        "2" | "22" => "nd",
        "3" | "23" => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

fn list(items: &[String], word: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_reads_as_they_would_say_it() {
        let check = |cron: &str, expect: &str| {
            assert_eq!(cron_in_words(&cron.parse().unwrap()), expect, "{cron}");
        };
        check("30 6 * * *", "at 06:30 every day");
        check("30 6 * * MON-FRI", "at 06:30 on Monday to Friday");
        check("0 6,18 * * *", "at 06:00 and 18:00 every day");
        check("* * * * *", "every minute");
        check("*/15 * * * *", "every 15 minutes");
        check("*/15 8-18 * * 1-5", "every 15 minutes of hours 8 to 18 on Monday to Friday");
        check("@hourly", "every hour");
        check("5 * * * *", "every hour, at minute 5 past the hour");
        check("0 */2 * * *", "every 2 hours");
        check("5 */2 * * *", "every 2 hours, at minute 5 past the hour");
        check("0 0 1 * *", "at 00:00 on day 1 of the month");
        check("0 0 L * *", "at 00:00 on the last day of the month");
        check("0 0 13 * FRI", "at 00:00 on day 13 of the month or on Friday");
        check("0 0 */2 * FRI", "at 00:00 on Friday that is on every 2nd day from the first of the month");
        check(
            "0 12 * * FRI#2,MONL",
            "at 12:00 on the 2nd Friday of the month and the last Monday of the month",
        );
        check("0 12 * 1-3,12 *", "at 12:00 every day in January to March and December");
        check("0 8-18 * * *", "at the full hours 8 to 18 every day");
        check("0-4,30 * * * *", "every hour, at minutes 0 to 4 and 30 past the hour");
    }

    #[test]
    fn durations_are_said_in_whole_units() {
        assert_eq!(duration(86_400_000), "day");
        assert_eq!(duration(90_000), "1 minute and 30 seconds");
        assert_eq!(duration(7_200_000), "2 hours");
    }
}
