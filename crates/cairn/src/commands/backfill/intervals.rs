//! The intervals of a backfill.

use cairn_model::{Interval, Schedule, Trigger};
use cairn_scheduler::schedule::Times;

use crate::failure::Failure;
use crate::work::Checked;

/// Intervals of the largest backfill: a year of five minutes.
const INTERVALS_MAX: usize = 110_000;

/// Returns the intervals that lie in a stretch of time: the schedule's, or those of `every`.
pub(super) fn of(
    checked: &Checked,
    stretch: Interval,
    every: Option<&str>,
) -> Result<Vec<Interval>, Failure> {
    let pipeline = &checked.pipeline;
    if stretch.start >= stretch.end {
        return Err(Failure::wrong("`--to` is no later than `--from`")
            .help("`--to` is the first time that is no longer a part: the day after the last day"));
    }
    if !pipeline.volatile {
        return Err(Failure::wrong(format!(
            "`{}` reads no interval: every run of it would be the same",
            pipeline.name
        ))
        .help("write for example `{{ interval.start | date }}` where a stage reads and writes its day"));
    }
    let schedule = match (every, &pipeline.schedule) {
        (Some(text), schedule) => {
            let zone = schedule.as_ref().map_or(Schedule::UTC, |schedule| schedule.timezone.as_str());
            let every = Trigger::Every { ms: duration(text)? };
            Schedule { start: Some(stretch.start), ..Schedule::of(every, zone) }
        }
        (None, Some(schedule)) if schedule.trigger.is_some() => schedule.clone(),
        (None, _) => {
            return Err(Failure::wrong(format!(
                "`{}` has no schedule that says how long an interval is",
                pipeline.name
            ))
            .help("say it: `--every 1d`, or write `[schedule]` with `cron = \"@daily\"`"));
        }
    };
    let times = Times::new(&pipeline.name, &schedule)
        .map_err(|error| Failure::wrong(error.to_string()).help(error.help()))?;
    let found: Vec<Interval> =
        times.within(stretch).map(|occurrence| occurrence.interval).take(INTERVALS_MAX + 1).collect();
    if found.len() > INTERVALS_MAX {
        return Err(Failure::wrong(format!("more than {INTERVALS_MAX} intervals"))
            .help("fill a shorter stretch at a time, or longer intervals: `--every 1d`"));
    }
    if found.is_empty() {
        return Err(Failure::wrong("no interval lies between `--from` and `--to`")
            .help("`cairn schedule next --from TIME` shows the schedule's intervals"));
    }
    Ok(found)
}

/// Reads `1d`, `6h`: fixed lengths, a day has 24 hours.
fn duration(text: &str) -> Result<u64, Failure> {
    let wrong = || {
        Failure::wrong(format!("`--every {text}` is no length of an interval"))
            .help("write for example `1d`, `6h` or `7d`, at least a second")
    };
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    u64::try_from(duration.as_millis()).ok().filter(|ms| *ms >= 1_000).ok_or_else(wrong)
}
