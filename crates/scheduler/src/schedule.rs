//! The times of a schedule, computed without a clock: what comes next, what is due, which intervals lie in a stretch of time.
//!
//! - [`Times`]: a pipeline's schedule as a sequence of [`Occurrence`]s
//! - [`Due`]: what of it is to run now, and what is dropped
//!
//! Intervals are half open, contiguous and without overlap, for every zone: each reaches from one time of the trigger to the
//! next. `start` and `end` choose among the times and change none of them.

use cairn_model::{Interval, Name, Occurrence, OccurrenceId, Schedule, Timestamp, Trigger};
use jiff::tz::TimeZone;

mod clock;
mod describe;
mod due;
mod search;
#[cfg(test)]
mod tests;

pub use describe::describe;
pub use due::{Due, FIRED_MAX, LISTED_MAX};

/// A schedule names a time zone that this machine does not know: it did when the schedule was checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone `{name}` on this machine")]
pub struct UnknownZone {
    /// The zone's name.
    pub name: String,
}

impl UnknownZone {
    /// Says what to do.
    pub fn help(&self) -> String {
        "install the time zone database (`tzdata`), or write another `timezone`".to_owned()
    }
}

/// The times of one pipeline's schedule.
#[derive(Debug, Clone)]
pub struct Times<'s> {
    pipeline: &'s Name,
    schedule: &'s Schedule,
    trigger_text: String,
    zone: TimeZone,
}

impl<'s> Times<'s> {
    /// Looks the zone up.
    pub fn new(pipeline: &'s Name, schedule: &'s Schedule) -> Result<Self, UnknownZone> {
        let name = &schedule.timezone;
        let zone = TimeZone::get(name).map_err(|_| UnknownZone { name: name.clone() })?;
        Ok(Self { pipeline, schedule, trigger_text: schedule.trigger_text(), zone })
    }

    /// Returns the schedule's zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Returns the first occurrence strictly after `time`, `None` where none comes.
    pub fn next_after(&self, time: Timestamp) -> Option<Occurrence> {
        let from = self.schedule.start.map_or(time, |start| time.max(before(start)));
        let nominal =
            self.trigger_after(from).filter(|nominal| self.schedule.end.is_none_or(|end| *nominal < end))?;
        Some(self.occurrence(nominal))
    }

    /// Returns the last occurrence strictly before `time`, `None` where there was none.
    pub fn last_before(&self, time: Timestamp) -> Option<Occurrence> {
        let until = self.schedule.end.map_or(time, |end| time.min(end));
        let nominal = self
            .trigger_before(until)
            .filter(|nominal| self.schedule.start.is_none_or(|start| *nominal >= start))?;
        Some(self.occurrence(nominal))
    }

    /// Returns the occurrences whose interval lies in `[stretch.start, stretch.end)`, in order. The schedule's `start` and
    /// `end` do not count: who asks for a stretch of time means it.
    pub fn within(&self, stretch: Interval) -> impl Iterator<Item = Occurrence> {
        let mut at = stretch.start;
        std::iter::from_fn(move || {
            loop {
                at = self.trigger_after(at).filter(|nominal| *nominal <= stretch.end)?;
                let occurrence = self.occurrence(at);
                if occurrence.interval.start >= stretch.start {
                    return Some(occurrence);
                }
            }
        })
    }

    fn occurrence(&self, nominal: Timestamp) -> Occurrence {
        let id = OccurrenceId::of(self.pipeline, &self.trigger_text, nominal);
        let start = self.trigger_before(nominal).unwrap_or_else(|| {
            match (&self.schedule.trigger, self.schedule.start) {
                // The first of a list has none before it.
                (Some(Trigger::At(_)), Some(start)) => start.min(nominal),
                _ => nominal,
            }
        });
        let jitter = match self.schedule.jitter_ms {
            0 => 0,
            // Shorter than the way to the next, so that runs begin in the order of their times.
            most => {
                let gap = self.trigger_after(nominal).map_or(u64::MAX, |next| next.millis_since(nominal));
                id.number_below(most.saturating_add(1).min(gap))
            }
        };
        let interval = Interval { start, end: nominal };
        Occurrence { id, nominal, fires_at: nominal.plus_millis(jitter), interval }
    }

    /// The trigger's first time strictly after `time`.
    fn trigger_after(&self, time: Timestamp) -> Option<Timestamp> {
        match self.schedule.trigger.as_ref()? {
            Trigger::Cron(cron) => clock::after(cron, &self.zone, time),
            Trigger::Every { ms } => {
                let (anchor, ms) = self.anchored(*ms);
                let steps = time.0.checked_sub(anchor)?.div_euclid(ms);
                Some(Timestamp(steps.checked_add(1)?.checked_mul(ms)?.checked_add(anchor)?))
            }
            Trigger::At(times) => times.iter().copied().find(|at| *at > time),
        }
    }

    /// The trigger's last time strictly before `time`.
    fn trigger_before(&self, time: Timestamp) -> Option<Timestamp> {
        match self.schedule.trigger.as_ref()? {
            Trigger::Cron(cron) => clock::before(cron, &self.zone, time),
            Trigger::Every { ms } => {
                let (anchor, ms) = self.anchored(*ms);
                let steps = time.0.checked_sub(1)?.checked_sub(anchor)?.div_euclid(ms);
                Some(Timestamp(steps.checked_mul(ms)?.checked_add(anchor)?))
            }
            Trigger::At(times) => times.iter().rev().copied().find(|at| *at < time),
        }
    }

    fn anchored(&self, ms: u64) -> (i64, i64) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX).max(1);
        (self.schedule.start.map_or(0, |start| start.0), ms)
    }
}

/// Returns the last interval of a pipeline's schedule that has ended at `at`; `None` where it has no times, or none so
/// early.
pub fn last_interval(pipeline: &Name, schedule: Option<&Schedule>, at: Timestamp) -> Option<Interval> {
    // By the trigger alone: what `start` leaves out is left out of what runs by itself, not of what is asked for.
    let mut open = schedule.filter(|schedule| schedule.trigger.is_some())?.clone();
    if !matches!(open.trigger, Some(Trigger::Every { .. })) {
        (open.start, open.end) = (None, None);
    }
    let times = Times::new(pipeline, &open).ok()?;
    times.last_before(at.plus_millis(1)).map(|last| last.interval)
}

/// The last time before another: times are whole milliseconds.
fn before(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_sub(1))
}
