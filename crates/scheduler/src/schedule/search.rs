//! The next and the last minute of the calendar that a cron expression matches: dates and hours of no zone.

use cairn_model::Cron;
use jiff::civil::{Date, DateTime};

/// Dates are looked for in so many years. The rarest come every 40 years: a 29 February of one weekday about the year 2100.
const YEARS_MAX: i16 = 50;

/// Returns the first matching minute that is not before `from`.
pub(super) fn first_from(cron: &Cron, from: DateTime) -> Option<DateTime> {
    let whole = from.second() == 0 && from.subsec_nanosecond() == 0;
    let minute = from.date().at(from.hour(), from.minute(), 0, 0);
    let from = if whole { minute } else { minute.checked_add(jiff::Span::new().minutes(1)).ok()? };
    let mut date = from.date();
    let (mut hour, mut minute) = (from.hour(), from.minute());
    let last_year = date.year().saturating_add(YEARS_MAX);
    while date.year() <= last_year {
        if !cron.has_month(number(date.month())) {
            date = date.last_of_month().tomorrow().ok()?;
            (hour, minute) = (0, 0);
            continue;
        }
        if has_date(cron, date) {
            for at in hour..24 {
                let from = if at == hour { minute } else { 0 };
                if cron.has_hour(number(at))
                    && let Some(minute) = (from..60).find(|minute| cron.has_minute(number(*minute)))
                {
                    return Some(date.at(at, minute, 0, 0));
                }
            }
        }
        date = date.tomorrow().ok()?;
        (hour, minute) = (0, 0);
    }
    None
}

/// Returns the last matching minute that begins before `until`.
pub(super) fn last_before(cron: &Cron, until: DateTime) -> Option<DateTime> {
    let until = until.checked_sub(jiff::Span::new().nanoseconds(1)).ok()?;
    let mut date = until.date();
    let (mut hour, mut minute) = (until.hour(), until.minute());
    let first_year = date.year().saturating_sub(YEARS_MAX);
    while date.year() >= first_year {
        if !cron.has_month(number(date.month())) {
            date = date.first_of_month().yesterday().ok()?;
            (hour, minute) = (23, 59);
            continue;
        }
        if has_date(cron, date) {
            for at in (0..=hour).rev() {
                let to = if at == hour { minute } else { 59 };
                if cron.has_hour(number(at))
                    && let Some(minute) = (0..=to).rev().find(|minute| cron.has_minute(number(*minute)))
                {
                    return Some(date.at(at, minute, 0, 0));
                }
            }
        }
        date = date.yesterday().ok()?;
        (hour, minute) = (23, 59);
    }
    None
}

fn has_date(cron: &Cron, date: Date) -> bool {
    let weekday = date.weekday().to_sunday_zero_offset();
    cron.has_day(number(date.day()), number(date.days_in_month()), number(weekday))
}

/// Parts of dates and times are small and not negative.
fn number(part: i8) -> u8 {
    part.unsigned_abs()
}
