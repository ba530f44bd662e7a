//! `--at` and `--interval`: the logical time of a run by hand.

use cairn_dag::{instant, rfc3339_in};
use cairn_model::{Interval, Timestamp};
use cairn_scheduler::schedule::{Times, last_interval};
use jiff::tz::TimeZone;

use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::work::{self, Checked, Definition, Given};

/// The logical time that a run is asked to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Logical {
    /// The run's logical time, as if it were started then: a date, or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "interval")]
    pub(crate) at: Option<String>,
    /// What the run is about: from the first time up to, without, the second [default: the schedule's last]
    #[arg(long, value_name = "FROM/TO")]
    pub(crate) interval: Option<String>,
}

impl Logical {
    /// Checks a definition for the logical time that is asked for. Dates are read by the clock of the schedule's zone, so
    /// the file is read before them.
    ///
    /// A pipeline that reads its interval has one: that which is asked for, else the last of its schedule.
    pub(crate) fn check(
        &self,
        definition: Definition,
        mut given: Given,
        terminal: Terminal,
    ) -> Result<(Checked, Given), Failure> {
        let style = terminal.stderr.report_style();
        let checked = work::check(definition.clone(), &given, style)?;
        let before = given.clone();
        let zone = zone_of(&checked)?;
        if let Some(text) = &self.at {
            given.logical_time = instant(text, &zone).ok_or_else(|| no_time("--at", text))?;
        }
        if let Some(text) = &self.interval {
            let asked = interval(text, &zone).ok_or_else(|| {
                Failure::wrong(format!("`--interval {text}` is no stretch of time")).help(
                    "write two dates or times, the second later: `--interval 2026-01-31/2026-02-01` is the last day of January",
                )
            })?;
            (given.interval, given.logical_time) = (Some(asked), asked.end);
        } else if checked.pipeline.reads_interval {
            given.interval = Some(last(&checked, given.logical_time)?);
        }
        if given == before {
            return Ok((checked, given));
        }
        Ok((work::check(definition, &given, style)?, given))
    }
}

/// Returns the zone of a pipeline's schedule, UTC where it has none.
pub(crate) fn zone_of(checked: &Checked) -> Result<TimeZone, Failure> {
    let Some(schedule) = &checked.pipeline.schedule else { return Ok(TimeZone::UTC) };
    let times = Times::new(&checked.pipeline.name, schedule);
    times
        .map(|times| times.zone().clone())
        .map_err(|error| Failure::wrong(error.to_string()).help(error.help()))
}

/// Returns the last interval of the pipeline's schedule that has ended.
fn last(checked: &Checked, at: Timestamp) -> Result<Interval, Failure> {
    let pipeline = &checked.pipeline;
    last_interval(&pipeline.name, pipeline.schedule.as_ref(), at).ok_or_else(|| {
        Failure::wrong(format!("`{}` reads its interval, and nothing says which", pipeline.name))
            .help("say it, for example `--interval 2026-01-31/2026-02-01`, or write a `[schedule]` with `cron` or `every`")
    })
}

/// Reads `FROM/TO`, `None` where it is no such thing or ends before it begins.
pub(crate) fn interval(text: &str, zone: &TimeZone) -> Option<Interval> {
    let (start, end) = text.split_once('/')?;
    let interval = Interval { start: instant(start.trim(), zone)?, end: instant(end.trim(), zone)? };
    (interval.start < interval.end).then_some(interval)
}

/// Returns an interval as people read it: as dates where it has the bounds of days, else as times.
pub(crate) fn shown(interval: Interval, zone: &TimeZone) -> String {
    let texts = [interval.start, interval.end].map(|time| rfc3339_in(time, zone));
    let date = |text: &String| {
        text.split_once('T').filter(|(_, time)| time.starts_with("00:00:00")).map(|(date, _)| date.to_owned())
    };
    match (date(&texts[0]), date(&texts[1])) {
        (Some(start), Some(end)) => format!("{start}/{end}"),
        _ => texts.join("/"),
    }
}

/// Says that an option's value is no time.
pub(crate) fn no_time(option: &str, text: &str) -> Failure {
    Failure::wrong(format!("`{option} {text}` is no date or time"))
        .help("write for example `2026-01-31`, `2026-01-31T06:00:00` or `2026-01-31T06:00:00Z`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_as_they_are_written() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let day = interval("2026-03-29/2026-03-30", &berlin).unwrap();
        assert_eq!(day.end.millis_since(day.start), 23 * 3_600_000);
        assert_eq!(shown(day, &berlin), "2026-03-29/2026-03-30");
        assert_eq!(shown(day, &TimeZone::UTC), "2026-03-28T23:00:00Z/2026-03-29T22:00:00Z");
        for bad in ["", "2026-01-01", "2026-01-02/2026-01-01", "2026-01-01/2026-01-01", "a/b"] {
            assert_eq!(interval(bad, &berlin), None, "{bad}");
        }
    }
}
