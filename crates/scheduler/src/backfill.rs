//! Backfills: the intervals of a stretch of time, and which of them would give another result today.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use cairn_dag::Pipeline;
use cairn_model::{Interval, Name, RunId, RunStatus, Schedule, Trigger};
use cairn_store::{ReadError, Store};

use crate::launch::interval_of;
use crate::plan::Prediction;
use crate::schedule::{Times, UnknownZone};

/// Intervals of the largest backfill: a year of five minutes.
pub const INTERVALS_MAX: usize = 110_000;

/// Which intervals of a stretch of time are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reprocess {
    /// Those whose result would be another today.
    #[default]
    Stale,
    /// Those that never ran.
    Missing,
    /// Those that never ran, or whose last run did not succeed.
    Failed,
    /// All, executed anew.
    All,
}

impl Reprocess {
    /// All there are, in the order in which people are asked.
    pub const ALL: [Self; 4] = [Self::Stale, Self::Missing, Self::Failed, Self::All];

    /// Returns its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Reprocess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reprocess {
    type Err = BackfillError;

    fn from_str(text: &str) -> Result<Self, BackfillError> {
        let known = Self::ALL.into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| BackfillError::NoWord { text: text.to_owned() })
    }
}

/// Why there is nothing to fill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// It ends before it begins.
    #[error("`to` is no later than `from`")]
    NoStretch,
    /// Which intervals is none of the four words.
    #[error("`{text}` does not say which intervals are made")]
    NoWord {
        /// What was given.
        text: String,
    },
    /// Runs of the pipeline do not differ.
    #[error("`{name}` reads no interval: every run of it would be the same")]
    ReadsNone {
        /// The pipeline.
        name: Name,
    },
    /// Nothing says how long an interval is.
    #[error("`{name}` has no schedule that says how long an interval is")]
    NoSchedule {
        /// The pipeline.
        name: Name,
    },
    /// It is no duration, or less than a second.
    #[error("`{text}` is no length of an interval")]
    NoDuration {
        /// What was given.
        text: String,
    },
    /// The schedule's zone is not known.
    #[error(transparent)]
    Zone(#[from] UnknownZone),
    /// There are more than [`INTERVALS_MAX`].
    #[error("more than {INTERVALS_MAX} intervals")]
    TooMany,
    /// None of the schedule's intervals lies in the stretch.
    #[error("no interval lies between `from` and `to`")]
    Empty,
}

impl BackfillError {
    /// Says what to do.
    pub fn help(&self) -> String {
        let help = match self {
            Self::NoStretch => "`to` is the first time that is no longer a part: the day after the last day",
            Self::NoWord { .. } => "say `stale`, `missing`, `failed` or `all`",
            Self::ReadsNone { .. } => {
                "write for example `{{ interval.start | date }}` where a stage reads and writes its day"
            }
            Self::NoSchedule { .. } => {
                "say it by `every`, for example `1d`, or write `[schedule]` with `cron = \"@daily\"`"
            }
            Self::NoDuration { .. } => "write for example `1d`, `6h` or `7d`, at least a second",
            Self::Zone(error) => return error.help(),
            Self::TooMany => "fill a shorter stretch at a time, or by longer intervals",
            Self::Empty => "`cairn schedule next --from TIME` shows the schedule's intervals",
        };
        help.to_owned()
    }
}

/// Returns the intervals of a pipeline that lie in a stretch of time: the schedule's, or those of `every`, in order.
pub fn intervals(
    pipeline: &Pipeline,
    stretch: Interval,
    every: Option<&str>,
) -> Result<Vec<Interval>, BackfillError> {
    let name = || pipeline.name.clone();
    if stretch.start >= stretch.end {
        return Err(BackfillError::NoStretch);
    }
    if !pipeline.volatile {
        return Err(BackfillError::ReadsNone { name: name() });
    }
    let schedule = match (every, &pipeline.schedule) {
        (Some(text), schedule) => {
            let zone = schedule.as_ref().map_or(Schedule::UTC, |schedule| schedule.timezone.as_str());
            let every = Trigger::Every { ms: duration(text)? };
            Schedule { start: Some(stretch.start), ..Schedule::of(every, zone) }
        }
        (None, Some(schedule)) if schedule.trigger.is_some() => schedule.clone(),
        (None, _) => return Err(BackfillError::NoSchedule { name: name() }),
    };
    let times = Times::new(&pipeline.name, &schedule)?;
    let all = times.within(stretch).map(|occurrence| occurrence.interval);
    let found: Vec<Interval> = all.take(INTERVALS_MAX + 1).collect();
    match found.len() {
        0 => Err(BackfillError::Empty),
        count if count > INTERVALS_MAX => Err(BackfillError::TooMany),
        _ => Ok(found),
    }
}

/// Reads `1d`, `6h`: fixed lengths, a day has 24 hours.
fn duration(text: &str) -> Result<u64, BackfillError> {
    let wrong = || BackfillError::NoDuration { text: text.to_owned() };
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    u64::try_from(duration.as_millis()).ok().filter(|ms| *ms >= 1_000).ok_or_else(wrong)
}

/// What a run of an interval would do today, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Would {
    /// Something would be executed.
    Run,
    /// Outputs would be put back.
    Restore,
    /// Nothing: its result is that of its inputs as they are.
    Fresh,
    /// It cannot go well.
    Fail,
}

impl Would {
    /// Sums up what would become of the instances of a run.
    pub fn of(predictions: &[Prediction]) -> Self {
        let any = |of: fn(&Prediction) -> bool| predictions.iter().any(of);
        let fails = |prediction: &Prediction| {
            matches!(
                prediction,
                Prediction::Broken { .. } | Prediction::Blocked(_) | Prediction::InDoubt { .. }
            )
        };
        if any(fails) {
            Self::Fail
        } else if any(is_run) {
            Self::Run
        } else if any(|prediction| matches!(prediction, Prediction::Restore { .. })) {
            Self::Restore
        } else {
            Self::Fresh
        }
    }

    /// Returns its word as plans have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "RUN",
            Self::Restore => "RESTORE",
            Self::Fresh => "FRESH",
            Self::Fail => "FAIL",
        }
    }
}

/// Returns whether a run would execute an instance.
pub fn is_run(prediction: &Prediction) -> bool {
    matches!(prediction, Prediction::Run { .. } | Prediction::After { .. } | Prediction::Drifted { .. })
}

/// Returns whether an interval is made: what a run of it would do, and how its last run ended, decide.
pub fn is_asked(reprocess: Reprocess, would: Would, last: Option<RunStatus>) -> bool {
    match reprocess {
        Reprocess::All => true,
        Reprocess::Missing => last.is_none(),
        Reprocess::Failed => last != Some(RunStatus::Succeeded),
        Reprocess::Stale => would != Would::Fresh,
    }
}

/// Returns the last run of each interval that a pipeline file was run for.
///
/// # Errors
///
/// The store cannot be read.
pub fn last_runs(store: &Store, file: &str) -> Result<HashMap<Interval, (RunId, RunStatus)>, ReadError> {
    let mut last = HashMap::new();
    // The newest come first.
    for row in store.runs_before(None) {
        let (run, record) = row?;
        if record.file == file
            && let Some(interval) = interval_of(&record.selection)
        {
            last.entry(interval).or_insert((run, record.status));
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read() {
        assert_eq!(duration("1d"), Ok(86_400_000));
        assert_eq!(duration("90s"), Ok(90_000));
        for wrong in ["", "x", "0s", "10ms", "-1d"] {
            assert_eq!(duration(wrong), Err(BackfillError::NoDuration { text: wrong.to_owned() }), "{wrong}");
        }
    }

    #[test]
    fn which_intervals_are_made() {
        let succeeded = Some(RunStatus::Succeeded);
        let asked = |last, would| Reprocess::ALL.map(|which| is_asked(which, would, last));
        // In the order stale, missing, failed, all.
        assert_eq!(asked(None, Would::Run), [true; 4]);
        assert_eq!(asked(succeeded, Would::Fresh), [false, false, false, true]);
        assert_eq!(asked(succeeded, Would::Restore), [true, false, false, true]);
        assert_eq!(asked(Some(RunStatus::Interrupted), Would::Fresh), [false, false, true, true]);
        for which in Reprocess::ALL {
            assert_eq!(which.as_str().parse(), Ok(which));
        }
        assert!("some".parse::<Reprocess>().is_err());
    }
}
