//! `/schedule`: what is run by itself, when next, and what became of the times that passed.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use cairn_model::{Name, Timestamp};
use cairn_scheduler::schedule::Times;
use cairn_store::{Fate, ReadError};
use serde::Deserialize;

use super::calendar;
use super::heat::{self, Heat};
use super::live::looks_again;
use super::markup::Markup;
use super::runs;
use super::shell::{Fault, Place, Shell, page};
use super::words;
use crate::api::{App, Problem};
use crate::catalog::Entry;
use crate::daemon::Daemon;

pub(super) fn router() -> Router<App> {
    Router::new().route("/schedule", get(list))
}

/// Returns when a pipeline is next run by itself.
pub(super) fn next_run(entry: &Entry, now: Timestamp) -> Option<Timestamp> {
    let times = Times::new(&entry.name, entry.schedule.as_ref()?).ok()?;
    Some(times.next_after(now)?.fires_at)
}

/// One time of a schedule that was decided about.
pub(super) struct Past {
    pub(super) nominal: Markup,
    pub(super) interval: String,
    /// The run's short id and page.
    pub(super) run: Option<(String, String, Markup)>,
    pub(super) dropped: Option<String>,
    pub(super) decided: Markup,
}

/// Reads the last times of a pipeline that were decided about, the latest first.
pub(super) fn past(
    daemon: &Daemon,
    pipeline: &Name,
    limit: usize,
    now: Timestamp,
) -> Result<Vec<Past>, ReadError> {
    let store = daemon.store();
    let mut found = Vec::new();
    for (nominal, _, occurrence) in store.occurrences(pipeline, limit)? {
        let (run, dropped) = match occurrence.fate {
            Fate::Run(run) => {
                let look = runs::standing(daemon, run, store.run(run)?.as_ref(), store.ticket(run)?.as_ref());
                (Some((run.short(), runs::href(run), look.pill())), None)
            }
            Fate::Dropped(why) => (None, Some(why)),
        };
        let interval = occurrence.interval;
        found.push(Past {
            nominal: words::at_clock(nominal),
            interval: format!("{} – {}", words::clock(interval.start), words::clock(interval.end)),
            run,
            dropped,
            decided: words::when(occurrence.decided, now),
        });
    }
    Ok(found)
}

struct Line {
    name: String,
    words: String,
    next: Option<(Markup, Markup)>,
    sort: i64,
    paused: Option<(String, Markup)>,
    failures: u32,
    catchup: &'static str,
    overlap: &'static str,
    past: Vec<Past>,
}

/// A time that comes.
struct Coming {
    name: String,
    at: Timestamp,
    clock: Markup,
    when: Markup,
}

#[derive(Template)]
#[template(path = "schedule.html")]
struct SchedulePage {
    shell: Shell,
    upcoming: Vec<Coming>,
    lines: Vec<Line>,
    unscheduled: usize,
    heat: Heat,
    /// A day that was asked for, and its times.
    day: Option<String>,
    listed: heat::Day,
    /// The pipelines with a schedule, and the one that the page is about; empty: all.
    names: Vec<String>,
    pipeline: String,
}

/// Times that come and are shown, of all pipelines and of each.
const COMING: usize = 18;
const COMING_EACH: usize = 6;

/// Returns the next times of a pipeline.
fn coming(entry: &Entry, now: Timestamp) -> Vec<Coming> {
    let Some(times) = entry.schedule.as_ref().and_then(|schedule| Times::new(&entry.name, schedule).ok())
    else {
        return Vec::new();
    };
    let occurrences = std::iter::successors(times.next_after(now), |last| times.next_after(last.nominal));
    let coming = |at: Timestamp| Coming {
        name: entry.name.to_string(),
        at,
        clock: words::at_minute(at),
        when: words::when(at, now),
    };
    occurrences.take(COMING_EACH).map(|occurrence| coming(occurrence.fires_at)).collect()
}

/// Past times that are shown of each pipeline.
const PAST: usize = 10;

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    pipeline: String,
    /// A day whose times are listed.
    day: Option<String>,
}

async fn list(
    State(app): State<App>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let again = looks_again(&headers);
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let all: Vec<_> = daemon.catalog().entries().cloned().collect();
        let names: Vec<String> =
            all.iter().filter(|entry| entry.schedule.is_some()).map(|entry| entry.name.to_string()).collect();
        let unscheduled = all.len() - names.len();
        let is_meant = |name: &str| asked.pipeline.is_empty() || name == asked.pipeline;
        let entries: Vec<_> = all.into_iter().filter(|entry| is_meant(entry.name.as_str())).collect();
        let day = match asked.day.as_deref().filter(|day| !day.is_empty()) {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Problem::bad(format!("`day` = `{text}` is no date")).help("write it as `2026-01-31`")
            })?),
        };
        let (mut lines, mut upcoming) = (Vec::new(), Vec::new());
        for entry in &entries {
            let Some(schedule) = &entry.schedule else { continue };
            let standing = daemon.store().schedule(&entry.name)?;
            let next = next_run(entry, now).filter(|_| standing.paused.is_none());
            if standing.paused.is_none() {
                upcoming.extend(coming(entry, now));
            }
            lines.push(Line {
                name: entry.name.to_string(),
                words: words::schedule(schedule),
                sort: next.map_or(i64::MAX, |next| next.0),
                next: next.map(|at| (words::when(at, now), words::at_clock(at))),
                paused: standing.paused.map(|(since, why)| (why, words::when(since, now))),
                failures: standing.failures,
                catchup: schedule.catchup.as_str(),
                overlap: schedule.overlap.as_str(),
                past: past(daemon, &entry.name, PAST, now)?,
            });
        }
        lines.sort_by(|one, other| (one.sort, &one.name).cmp(&(other.sort, &other.name)));
        upcoming.sort_by_key(|coming| coming.at);
        upcoming.truncate(COMING);
        let heat = if again { Heat::default() } else { heat::read(daemon, &entries, &asked.pipeline, now)? };
        let listed = match day {
            Some(day) if !again => heat::day(daemon, &entries, day, &asked.pipeline, now)?,
            _ => heat::Day::default(),
        };
        Ok(SchedulePage {
            shell: Shell::new(daemon, Place::Schedule, "Schedule", "/live"),
            lines,
            upcoming,
            unscheduled,
            heat,
            day: day.map(calendar::day_words),
            listed,
            names,
            pipeline: asked.pipeline,
        })
    })
    .await
}
