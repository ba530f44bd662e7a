//! The clock by which a pipeline's intervals are written and read: its schedule's.

use cairn_dag::rfc3339_in;
use cairn_model::{Interval, Timestamp};
use cairn_scheduler::schedule::Times;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::catalog::Entry;

/// The clock and the intervals of a pipeline's schedule.
#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) zone: TimeZone,
    pub(crate) zone_name: String,
    /// Whether an interval is shorter than a day, so that dates do not do.
    pub(crate) short: bool,
    /// Whether the schedule has intervals.
    pub(crate) scheduled: bool,
}

/// Below this an interval is no day: the shortest has 23 hours.
const DAY_MS: u64 = 23 * 3_600_000;

impl Clock {
    pub(crate) fn of(entry: &Entry, now: Timestamp) -> Self {
        let times = entry.schedule.as_ref().and_then(|schedule| Times::new(&entry.name, schedule).ok());
        let next = times.as_ref().and_then(|times| times.next_after(now));
        Self {
            zone: times.as_ref().map_or(TimeZone::UTC, |times| times.zone().clone()),
            zone_name: entry
                .schedule
                .as_ref()
                .map_or("UTC", |schedule| schedule.timezone.as_str())
                .to_owned(),
            short: next.is_some_and(|next| next.interval.end.millis_since(next.interval.start) < DAY_MS),
            scheduled: entry.schedule.as_ref().is_some_and(|schedule| schedule.trigger.is_some()),
        }
    }

    pub(crate) fn date(&self, at: Timestamp) -> Date {
        let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        at.to_zoned(self.zone.clone()).date()
    }

    /// Writes a time as a field for times has it.
    pub(crate) fn field(&self, at: Timestamp) -> String {
        let zoned = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().to_zoned(self.zone.clone());
        zoned.strftime(if self.short { "%Y-%m-%dT%H:%M" } else { "%Y-%m-%d" }).to_string()
    }

    /// Writes an interval as people read it: as a day where it is one, as days, or as times.
    pub(crate) fn interval(&self, interval: Interval) -> String {
        let texts = [interval.start, interval.end].map(|at| rfc3339_in(at, &self.zone));
        let dates = texts
            .each_ref()
            .map(|text| text.split_once('T').filter(|(_, time)| time.starts_with("00:00:00")));
        match dates {
            [Some((start, _)), Some(_)] if interval.end.millis_since(interval.start) < DAY_MS + 7_200_001 => {
                start.to_owned()
            }
            [Some((start, _)), Some((end, _))] => format!("{start} – {end}"),
            _ => format!("{} – {}", &texts[0], &texts[1]),
        }
    }
}

impl Default for Clock {
    /// That of a pipeline without a schedule, or of which nothing is known any more.
    fn default() -> Self {
        Self { zone: TimeZone::UTC, zone_name: "UTC".to_owned(), short: false, scheduled: false }
    }
}
