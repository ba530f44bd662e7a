//! What schedules did on each day of the last weeks, and will do on those that come.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::Timestamp;
use cairn_scheduler::schedule::Times;
use cairn_store::{Fate, Occurrence, ReadError};
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::calendar::{self, Marks};
use super::markup::{Markup, url_part};
use super::runs;
use super::state::Look;
use super::words;
use crate::catalog::Entry;
use crate::daemon::Daemon;

/// Weeks that are shown, of those that passed and of those that come.
const WEEKS_BACK: i64 = 11;
const WEEKS_ON: i64 = 4;
/// Times of one pipeline that are counted in each direction, and past times of all: each is looked up.
const EACH_MAX: usize = 2_000;
const PAST_MAX: usize = 20_000;
/// Times of one day that are listed.
const LISTED_MAX: usize = 500;

const DROPPED: Look = Look { class: "stop", sign: "⌀", word: "dropped" };
const COMES: Look = Look { class: "next", sign: "○", word: "to come" };

/// The days of the weeks around today.
#[derive(Default)]
pub(super) struct Heat {
    pub(super) calendar: Markup,
    /// The same as texts: each day that has something, with its address.
    pub(super) days: Vec<(String, String, String)>,
    /// Whether there was more than is counted.
    pub(super) cut: bool,
}

/// One time of a schedule.
pub(super) struct Time {
    at: Timestamp,
    pub(super) clock: Markup,
    pub(super) pipeline: String,
    pub(super) pill: Markup,
    pub(super) run: Option<(String, String)>,
    pub(super) why: String,
}

fn date(at: Timestamp) -> Date {
    let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
    at.to_zoned(TimeZone::system()).date()
}

fn midnight(day: Date) -> Timestamp {
    let zoned = day.to_zoned(TimeZone::system());
    Timestamp(zoned.map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond()))
}

/// Returns how a time that passed looks, and why it was dropped.
fn look_of(daemon: &Daemon, occurrence: &Occurrence) -> Result<(Look, String), ReadError> {
    Ok(match &occurrence.fate {
        Fate::Dropped(why) => (DROPPED, why.clone()),
        Fate::Run(run) => {
            let (record, ticket) = (daemon.store().run(*run)?, daemon.store().ticket(*run)?);
            (runs::standing(daemon, *run, record.as_ref(), ticket.as_ref()), String::new())
        }
    })
}

/// Returns the times of a pipeline that come before `end`; none while it is paused.
fn coming(
    daemon: &Daemon,
    entry: &Entry,
    now: Timestamp,
    end: Timestamp,
) -> Result<Vec<Timestamp>, ReadError> {
    if daemon.store().schedule(&entry.name)?.paused.is_some() {
        return Ok(Vec::new());
    }
    let times = entry.schedule.as_ref().and_then(|schedule| Times::new(&entry.name, schedule).ok());
    let Some(times) = times else { return Ok(Vec::new()) };
    let all = std::iter::successors(times.next_after(now), |last| times.next_after(last.nominal));
    Ok(all.map(|next| next.fires_at).take_while(|at| *at < end).take(EACH_MAX).collect())
}

/// Reads what became of each day. `pipeline` names the only one that it is about; empty: all.
pub(super) fn read(
    daemon: &Daemon,
    entries: &[Arc<Entry>],
    pipeline: &str,
    now: Timestamp,
) -> Result<Heat, ReadError> {
    let today = date(now);
    let monday =
        today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).unwrap_or(today);
    let first = monday.checked_sub((7 * WEEKS_BACK).days()).unwrap_or(monday);
    let last = monday.checked_add((7 * WEEKS_ON + 6).days()).unwrap_or(today);
    let (from, end) = (midnight(first), midnight(last.tomorrow().unwrap_or(last)));
    let mut marked: BTreeMap<Date, Marks> = BTreeMap::new();
    let (mut left, mut cut) = (PAST_MAX, false);
    for entry in entries.iter().filter(|entry| entry.schedule.is_some()) {
        let most = EACH_MAX.min(left);
        let past = daemon.store().occurrences(&entry.name, most)?;
        let reaches_back = past.last().is_some_and(|(nominal, ..)| *nominal < from);
        cut |= past.len() == most && !reaches_back;
        for (nominal, _, occurrence) in past.iter().take_while(|(nominal, ..)| *nominal >= from) {
            left = left.saturating_sub(1);
            let (look, why) = look_of(daemon, occurrence)?;
            let marks = marked.entry(date(*nominal)).or_default();
            marks.add(look);
            if !why.is_empty() {
                marks.note(&why);
            }
        }
        let coming = coming(daemon, entry, now, end)?;
        cut |= coming.len() == EACH_MAX;
        for at in coming {
            marked.entry(date(at)).or_default().add(COMES);
        }
    }
    let of = if pipeline.is_empty() { String::new() } else { format!("pipeline={}&", url_part(pipeline)) };
    for (day, marks) in &mut marked {
        marks.href = Some(format!("/schedule?{of}day={day}#day"));
    }
    let days = marked
        .iter()
        .rev()
        .map(|(day, marks)| {
            (calendar::day_words(*day), marks.href.clone().unwrap_or_default(), marks.words())
        })
        .collect();
    let caption = "What schedules did on each day, and will do; each leads to its times";
    let calendar = if marked.is_empty() {
        Markup::default()
    } else {
        calendar::draw(caption, &marked, (first, last), Some(today))
    };
    Ok(Heat { calendar, days, cut })
}

/// Lists the times of one day.
pub(super) fn day(
    daemon: &Daemon,
    entries: &[Arc<Entry>],
    day: Date,
    now: Timestamp,
) -> Result<Vec<Time>, ReadError> {
    let (from, end) = (midnight(day), midnight(day.tomorrow().unwrap_or(day)));
    let mut times = Vec::new();
    for entry in entries.iter().filter(|entry| entry.schedule.is_some()) {
        let time = |at: Timestamp, look: Look, run, why| Time {
            at,
            clock: words::at_clock(at),
            pipeline: entry.name.to_string(),
            pill: look.pill(),
            run,
            why,
        };
        for (nominal, _, occurrence) in daemon.store().occurrences(&entry.name, EACH_MAX)? {
            if nominal < from {
                break;
            }
            if nominal >= end {
                continue;
            }
            let (look, why) = look_of(daemon, &occurrence)?;
            let run = match occurrence.fate {
                Fate::Run(run) => Some((run.short(), runs::href(run))),
                Fate::Dropped(_) => None,
            };
            times.push(time(nominal, look, run, why));
        }
        if end > now {
            let coming = coming(daemon, entry, now.max(from), end)?;
            times.extend(coming.into_iter().map(|at| time(at, COMES, None, String::new())));
        }
    }
    times.sort_by(|one, other| (one.at, &one.pipeline).cmp(&(other.at, &other.pipeline)));
    times.truncate(LISTED_MAX);
    Ok(times)
}
