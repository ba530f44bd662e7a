//! What schedules did on each day of the last weeks, and will do on those that come.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::{Interval, Timestamp};
use cairn_scheduler::schedule::Times;
use cairn_store::{Fate, ReadError};
use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::calendar::{self, Marks};
use super::markup::{Markup, url_part};
use super::runs::{self, Moment};
use super::state::Look;
use super::words;
use crate::catalog::Entry;
use crate::daemon::Daemon;

/// Weeks that are shown, of those that passed and of those that come.
const WEEKS_BACK: i64 = 11;
const WEEKS_ON: i64 = 4;
/// Times of one pipeline that are counted in each direction.
const EACH_MAX: usize = 2_000;
/// Times of all pipelines that are counted in each direction, however many there are: the run of each that passed is looked
/// up. Every pipeline has its part of what those before it have left.
const ALL_MAX: usize = 10_000;
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
    /// What its signs mean.
    pub(super) legend: Vec<Markup>,
    /// The clock by which its days begin.
    pub(super) zone: String,
    /// Whether there was more than is counted.
    pub(super) cut: bool,
}

/// The times of one day.
#[derive(Default)]
pub(super) struct Day {
    pub(super) times: Vec<Time>,
    /// Whether there are more.
    pub(super) cut: bool,
}

/// One time of a schedule.
pub(super) struct Time {
    pub(super) clock: Markup,
    pub(super) pipeline: String,
    pub(super) pill: Markup,
    pub(super) run: Option<(String, String)>,
    pub(super) why: String,
}

/// The clock by which days begin: the schedule's own where it is about one, else that of this machine.
struct Clock {
    zone: TimeZone,
    name: String,
}

impl Clock {
    /// `pipeline` names the only one that it is about; empty: all.
    fn of(entries: &[Arc<Entry>], pipeline: &str) -> Self {
        let entry = entries.iter().find(|entry| entry.name.as_str() == pipeline);
        let own = entry.and_then(|entry| {
            let schedule = entry.schedule.as_ref()?;
            let zone = Times::new(&entry.name, schedule).ok()?.zone().clone();
            Some(Self { zone, name: schedule.timezone.clone() })
        });
        own.unwrap_or_else(|| {
            let zone = TimeZone::system();
            let name = zone.iana_name().map_or_else(|| "this machine".to_owned(), str::to_owned);
            Self { zone, name }
        })
    }

    fn date(&self, at: Timestamp) -> Date {
        let at = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        at.to_zoned(self.zone.clone()).date()
    }

    /// From the first moment of a day to the first after another.
    fn stretch(&self, first: Date, last: Date) -> Interval {
        let midnight = |day: Date| {
            let zoned = day.to_zoned(self.zone.clone());
            Timestamp(zoned.map_or(i64::MAX, |zoned| zoned.timestamp().as_millisecond()))
        };
        Interval { start: midnight(first), end: midnight(last.tomorrow().unwrap_or(last)) }
    }
}

/// Returns the times of a pipeline within a stretch that are not decided about yet; none while it is paused. Like those
/// that passed they are told by the schedule's own times, whatever `jitter` adds.
fn coming(
    daemon: &Daemon,
    entry: &Entry,
    now: Timestamp,
    stretch: Interval,
    limit: usize,
) -> Result<Vec<Timestamp>, ReadError> {
    let standing = daemon.store().schedule(&entry.name)?;
    let Some(schedule) = entry.schedule.as_ref().filter(|_| standing.paused.is_none()) else {
        return Ok(Vec::new());
    };
    let Ok(times) = Times::new(&entry.name, schedule) else { return Ok(Vec::new()) };
    // What came due a moment ago, or is put off by `jitter`, comes still.
    let jitter = i64::try_from(schedule.jitter_ms).unwrap_or(i64::MAX);
    let soonest = Timestamp(now.0.saturating_sub(jitter));
    let decided = standing.decided_until.map_or(now, |until| until.max(soonest));
    // The times are strictly after this one, and one may be at the first moment of the stretch.
    let from = decided.max(Timestamp(stretch.start.0.saturating_sub(1)));
    let all = std::iter::successors(times.next_after(from), |last| times.next_after(last.nominal));
    Ok(all.map(|next| next.nominal).take_while(|at| *at < stretch.end).take(limit).collect())
}

/// Reads what became of each day. `pipeline` names the only one that it is about; empty: all.
pub(super) fn read(
    daemon: &Daemon,
    entries: &[Arc<Entry>],
    pipeline: &str,
    now: Timestamp,
) -> Result<Heat, ReadError> {
    let clock = Clock::of(entries, pipeline);
    let today = clock.date(now);
    let monday =
        today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).unwrap_or(today);
    let first = monday.checked_sub((7 * WEEKS_BACK).days()).unwrap_or(monday);
    let last = monday.checked_add((7 * WEEKS_ON + 6).days()).unwrap_or(today);
    let stretch = clock.stretch(first, last);
    let moment = Moment::of(daemon);
    let mut marked: BTreeMap<Date, Marks> = BTreeMap::new();
    let scheduled: Vec<_> = entries.iter().filter(|entry| entry.schedule.is_some()).collect();
    let (mut past_left, mut coming_left) = (ALL_MAX, ALL_MAX);
    // The days up to which, and from which on, not all is counted.
    let (mut cut_until, mut cut_from): (Option<Date>, Option<Date>) = (None, None);
    for (at, entry) in scheduled.iter().enumerate() {
        let share = |left: usize| (left / (scheduled.len() - at)).clamp(1, EACH_MAX);
        let most = share(past_left);
        let past = daemon.store().occurrences_within(&entry.name, stretch, most)?;
        past_left = past_left.saturating_sub(past.len());
        if let Some((oldest, ..)) = past.last().filter(|_| past.len() == most) {
            cut_until = cut_until.max(Some(clock.date(*oldest)));
        }
        for (nominal, _, occurrence) in &past {
            let marks = marked.entry(clock.date(*nominal)).or_default();
            match &occurrence.fate {
                Fate::Dropped(why) => {
                    marks.add(DROPPED);
                    marks.note(why);
                }
                Fate::Run(run) => marks.add(moment.standing(daemon.store(), *run)?),
            }
        }
        let most = share(coming_left);
        let coming = coming(daemon, entry, now, stretch, most)?;
        coming_left = coming_left.saturating_sub(coming.len());
        if let Some(last) = coming.last().filter(|_| coming.len() == most) {
            let from = clock.date(*last);
            cut_from = Some(cut_from.map_or(from, |other: Date| other.min(from)));
        }
        for at in coming {
            marked.entry(clock.date(at)).or_default().add(COMES);
        }
    }
    let cut = cut_until.is_some() || cut_from.is_some();
    if cut {
        let is_cut = |day: &Date| {
            cut_until.is_some_and(|until| *day <= until) || cut_from.is_some_and(|from| *day >= from)
        };
        let days = first.series(1.day()).take_while(|day| *day <= last);
        for day in days.filter(is_cut) {
            marked.entry(day).or_default().may_be_more();
        }
    }
    let of = if pipeline.is_empty() { String::new() } else { format!("pipeline={}&", url_part(pipeline)) };
    let mut looks: Vec<Look> = Vec::new();
    for (day, marks) in &mut marked {
        marks.href = Some(format!("/schedule?{of}day={day}#day"));
        for look in marks.looks() {
            if !looks.contains(&look) {
                looks.push(look);
            }
        }
    }
    let days = marked
        .iter()
        .rev()
        .filter(|(_, marks)| marks.looks().next().is_some())
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
    let legend = looks.iter().map(|look| look.pill()).collect();
    Ok(Heat { calendar, days, legend, zone: clock.name, cut })
}

/// Lists the times of one day, the earliest first. `pipeline` names the only one that it is about; empty: all.
pub(super) fn day(
    daemon: &Daemon,
    entries: &[Arc<Entry>],
    day: Date,
    pipeline: &str,
    now: Timestamp,
) -> Result<Day, ReadError> {
    let clock = Clock::of(entries, pipeline);
    let stretch = clock.stretch(day, day);
    let mut found: Vec<(Timestamp, &str, Option<Fate>)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.schedule.is_some()) {
        let name = entry.name.as_str();
        // One more than are listed tells that there are more.
        let past = daemon.store().occurrences_within(&entry.name, stretch, LISTED_MAX + 1)?;
        found.extend(past.into_iter().map(|(nominal, _, occurrence)| (nominal, name, Some(occurrence.fate))));
        let coming = coming(daemon, entry, now, stretch, LISTED_MAX + 1)?;
        found.extend(coming.into_iter().map(|at| (at, name, None)));
    }
    found.sort_by_key(|(at, name, _)| (*at, *name));
    let cut = found.len() > LISTED_MAX;
    found.truncate(LISTED_MAX);
    let moment = Moment::of(daemon);
    let mut times = Vec::with_capacity(found.len());
    for (at, name, fate) in found {
        let (look, run, why) = match fate {
            None => (COMES, None, String::new()),
            Some(Fate::Dropped(why)) => (DROPPED, None, why),
            Some(Fate::Run(run)) => {
                let look = moment.standing(daemon.store(), run)?;
                (look, Some((run.short(), runs::href(run))), String::new())
            }
        };
        times.push(Time {
            clock: words::at_clock_in(at, &clock.zone),
            pipeline: name.to_owned(),
            pill: look.pill(),
            run,
            why,
        });
    }
    Ok(Day { times, cut })
}
