//! `/pipelines/{name}/backfill`: which intervals of a stretch of time would give another result today, and the runs that
//! make them; `/pipelines/{name}/backfill/{run}`: how far those are.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use cairn_dag::instant;
use cairn_model::{Interval, RunId, Timestamp};
use cairn_scheduler::backfill::{Reprocess, Would};
use cairn_store::TriggerKind;
use jiff::ToSpan as _;
use jiff::civil::Date;

use super::calendar::{self, Marks};
use super::form::{self, Fields, Form, field};
use super::markup::Markup;
use super::runs::{self, Row};
use super::shell::{Fault, Place, Shell, page, show};
use super::state::{self, Look};
use super::words;
use crate::api::{App, Problem, find_run};
use crate::backfill::{Backfill, Clock, Day, Words};
use crate::carry_out::blocking;
use crate::catalog::Entry;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/pipelines/{name}/backfill", get(plan).post(start))
        .route("/pipelines/{name}/backfill/{run}", get(progress))
        .route("/pipelines/{name}/backfill/{run}/cancel", post(cancel))
}

/// Returns whether there is anything to fill: without intervals, and without times that differ, runs are all the same.
pub(super) fn has_intervals(entry: &Entry) -> bool {
    let has_times = entry.schedule.as_ref().is_some_and(|schedule| schedule.trigger.is_some());
    entry.reads_interval || (entry.volatile && has_times)
}

/// Returns the address of the backfill that a run is part of.
pub(super) fn href(pipeline: &str, run: RunId) -> String {
    format!("/pipelines/{pipeline}/backfill/{run}")
}

struct DayRow {
    id: String,
    interval: String,
    pill: Markup,
    last: Option<(String, String, Markup)>,
    why: String,
}

#[derive(Template)]
#[template(path = "backfill.html")]
#[expect(clippy::struct_excessive_bools, reason = "each is a box of the form, or a part of the page")]
struct BackfillPage {
    shell: Shell,
    name: String,
    refused: Option<(String, Option<String>, Option<String>)>,
    going_on: Vec<(String, String)>,
    /// The type of the fields for times.
    kind: &'static str,
    from: String,
    to: String,
    every: String,
    every_hint: &'static str,
    every_needed: bool,
    zone: String,
    choices: Vec<(&'static str, &'static str, bool)>,
    params: Vec<(String, Markup)>,
    params_given: bool,
    keep_going: bool,
    planned: bool,
    headline: String,
    summary: Markup,
    calendar: Markup,
    selected: usize,
    start: String,
    again: Fields,
    made: Vec<DayRow>,
    passed: Vec<DayRow>,
    passed_words: String,
}

/// Days that are proposed.
const PROPOSED_DAYS: i64 = 30;

/// Reads what is asked for; `None` where nothing is.
fn asked(entry: &Entry, clock: &Clock, fields: &Fields) -> Result<Option<Backfill>, Problem> {
    let (from, to) = (field(fields, "from"), field(fields, "to"));
    if from.trim().is_empty() && to.trim().is_empty() {
        return Ok(None);
    }
    let params = entry.params.iter().filter_map(|(name, default)| {
        let typed = fields.iter().find(|(field, _)| field.strip_prefix("param-") == Some(name))?;
        (typed.1 != default.to_string()).then(|| (name.clone(), typed.1.clone()))
    });
    let words = Words {
        from,
        to,
        every: field(fields, "every"),
        reprocess: field(fields, "reprocess"),
        params: params.collect(),
        keep_going: !field(fields, "keep_going").is_empty(),
    };
    Ok(Some(words.read(clock)?))
}

async fn plan(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(fields): Query<Fields>,
) -> Result<Response, Fault> {
    let entry = app.daemon.entry(&name)?;
    blocking(move || answer(&app, &entry, &fields, None)).await
}

/// Plans what the fields ask for, where they ask for anything, and shows it; or why it cannot be.
fn answer(
    app: &App,
    entry: &Arc<Entry>,
    fields: &Fields,
    failed: Option<Problem>,
) -> Result<Response, Fault> {
    let clock = Clock::of(entry, app.daemon.clock.now());
    let planned = match failed {
        Some(failed) => Err(failed),
        None => asked(entry, &clock, fields).and_then(|asked| {
            let Some(asked) = asked else { return Ok(None) };
            let days = app.daemon.plan_backfill(entry, &asked)?;
            Ok(Some(days))
        }),
    };
    let (planned, refused) = match planned {
        Ok(planned) => (planned, None),
        Err(problem) => (None, Some(problem.into_parts())),
    };
    let status = refused.as_ref().map_or(StatusCode::OK, |(status, ..)| *status);
    let refused = refused.map(|(_, _, detail, help, report)| (detail, help, report));
    let mut response = show(&draw(app, entry, &clock, fields, planned.as_deref(), refused)?);
    *response.status_mut() = status;
    Ok(response)
}

fn draw(
    app: &App,
    entry: &Entry,
    clock: &Clock,
    fields: &Fields,
    planned: Option<&[Day]>,
    refused: Option<(String, Option<String>, Option<String>)>,
) -> Result<BackfillPage, Fault> {
    let (daemon, name) = (&app.daemon, entry.name.to_string());
    let now = daemon.clock.now();
    let today = clock.date(now);
    let midnight = |day: Date| {
        let at = day.to_zoned(clock.zone.clone()).map(|zoned| zoned.timestamp().as_millisecond());
        Timestamp(at.unwrap_or(now.0))
    };
    let proposed = |text: &str, day: Date| match field(fields, text).trim() {
        "" => clock.field(midnight(day)),
        typed => instant(typed, &clock.zone).map_or_else(|| typed.to_owned(), |at| clock.field(at)),
    };
    let reprocess: Reprocess = field(fields, "reprocess").parse().unwrap_or_default();
    let value = |name: &str, default: &cairn_dag::ParamValue| match fields
        .iter()
        .find(|(field, _)| field.strip_prefix("param-") == Some(name))
    {
        Some((_, typed)) => typed.clone(),
        None => default.to_string(),
    };
    let params = entry
        .params
        .iter()
        .map(|(name, default)| (name.clone(), form::param(name, default, &value(name, default))))
        .collect();
    let params_given = entry.params.iter().any(|(name, default)| value(name, default) != default.to_string());
    let mut going_on: Vec<(String, String)> = Vec::new();
    for (run, ticket) in daemon.store().open_tickets()? {
        let words = &ticket.trigger.detail;
        let is_one = ticket.pipeline == entry.name && ticket.trigger.kind == TriggerKind::Backfill;
        if is_one && !going_on.iter().any(|(known, _)| known == words) {
            going_on.push((words.clone(), href(&name, run)));
        }
    }
    let days = planned.unwrap_or_default();
    let selected = days.iter().filter(|day| day.selected).count();
    let (made, passed): (Vec<&Day>, Vec<&Day>) = days.iter().partition(|day| day.selected);
    let rows =
        |days: Vec<&Day>| days.into_iter().map(|day| day_row(app, clock, day)).collect::<Result<Vec<_>, _>>();
    let passed_words = words::count(passed.len(), "other interval");
    Ok(BackfillPage {
        shell: Shell::new(daemon, Place::Pipelines, format!("Backfill {name}"), ""),
        refused,
        going_on,
        kind: if clock.short { "datetime-local" } else { "date" },
        from: proposed("from", today.checked_sub(PROPOSED_DAYS.days()).unwrap_or(today)),
        to: proposed("to", today),
        every: field(fields, "every").to_owned(),
        every_hint: if clock.scheduled { "as its schedule" } else { "1d" },
        every_needed: !clock.scheduled,
        zone: clock.zone_name.clone(),
        choices: Reprocess::ALL.map(|which| (which.as_str(), says(which), which == reprocess)).to_vec(),
        params,
        params_given,
        keep_going: !field(fields, "keep_going").is_empty(),
        planned: planned.is_some(),
        headline: match (selected, days.len()) {
            (0, all) => format!("None of {} would run", words::count(all, "interval")),
            (some, all) => format!("{some} of {} would run", words::count(all, "interval")),
        },
        summary: summary(days),
        calendar: planned_calendar(clock, days, today),
        selected,
        start: format!("Start {}", words::count(selected, "run")),
        again: again(fields),
        made: rows(made)?,
        passed: rows(passed)?,
        passed_words,
        name,
    })
}

/// Says which intervals a word means.
fn says(which: Reprocess) -> &'static str {
    match which {
        Reprocess::Stale => "whose result would be another today",
        Reprocess::Missing => "that never ran",
        Reprocess::Failed => "that never ran, or whose last run did not succeed",
        Reprocess::All => "executed anew, whatever there is",
    }
}

/// Returns the fields once more, for the form that starts what was planned.
fn again(fields: &Fields) -> Fields {
    let is_known = |name: &str| {
        matches!(name, "from" | "to" | "every" | "reprocess" | "keep_going") || name.starts_with("param-")
    };
    fields.iter().filter(|(name, value)| is_known(name) && !value.is_empty()).cloned().collect()
}

/// How an interval looks in a plan.
fn look(day: &Day) -> Look {
    match (day.open, day.selected, day.would) {
        (Some(_), ..) => Look { class: "run", sign: "▶", word: "asked for" },
        (None, true, Would::Run) => Look { class: "again", sign: "↻", word: "would run" },
        (None, true, Would::Restore) => Look { class: "again", sign: "⤓", word: "would be restored" },
        (None, true, Would::Fail) => Look { class: "bad", sign: "✗", word: "would fail" },
        (None, true, Would::Fresh) => Look { class: "wait", sign: "↻", word: "would be looked at" },
        (None, false, Would::Fresh) => Look { class: "fresh", sign: "≡", word: "up to date" },
        (None, false, _) => Look { class: "wait", sign: "–", word: "passed over" },
    }
}

fn day_row(app: &App, clock: &Clock, day: &Day) -> Result<DayRow, Fault> {
    let store = app.daemon.store();
    let last = day.open.or(day.last.map(|(run, _)| run));
    let last = match last {
        None => None,
        Some(run) => {
            let look =
                runs::standing(&app.daemon, run, store.run(run)?.as_ref(), store.ticket(run)?.as_ref());
            Some((run.short(), runs::href(run), look.pill()))
        }
    };
    Ok(DayRow {
        id: row_id(day.interval),
        interval: clock.interval(day.interval),
        pill: look(day).pill(),
        last,
        why: day.why.clone(),
    })
}

fn row_id(interval: Interval) -> String {
    format!("at-{}", interval.start.0)
}

/// Says how many intervals look how.
fn summary(days: &[Day]) -> Markup {
    let mut counted: Vec<(Look, usize)> = Vec::new();
    for day in days {
        let look = look(day);
        match counted.iter_mut().find(|(known, _)| *known == look) {
            Some((_, count)) => *count += 1,
            None => counted.push((look, 1)),
        }
    }
    counted_pills(&counted)
}

fn counted_pills(counted: &[(Look, usize)]) -> Markup {
    let mut markup = Markup::default();
    for (look, count) in counted {
        if !markup.is_empty() {
            markup.html(" ");
        }
        markup
            .html("<span class=\"pill ")
            .html(look.class)
            .html("\"><span aria-hidden=\"true\">")
            .html(look.sign);
        markup.html("</span> ").text(count).html(" ").html(look.word).html("</span>");
    }
    markup
}

fn planned_calendar(clock: &Clock, days: &[Day], today: Date) -> Markup {
    let all = days.iter().map(|day| {
        let note = if day.selected { day.why.as_str() } else { "" };
        (day.interval, look(day), note, format!("#{}", row_id(day.interval)))
    });
    by_day(clock, "What a run of each interval would do, day by day", all, today)
}

/// Draws intervals on the days on which they begin.
fn by_day<'d>(
    clock: &Clock,
    caption: &str,
    all: impl Iterator<Item = (Interval, Look, &'d str, String)>,
    today: Date,
) -> Markup {
    let mut marked: BTreeMap<Date, Marks> = BTreeMap::new();
    for (interval, look, note, href) in all {
        let marks = marked.entry(clock.date(interval.start)).or_default();
        marks.add(look);
        if !note.is_empty() {
            marks.note(note);
        }
        marks.href.get_or_insert(href);
    }
    let ends = (marked.first_key_value(), marked.last_key_value());
    let (Some((first, _)), Some((last, _))) = ends else { return Markup::default() };
    calendar::draw(caption, &marked, (*first, *last), Some(today))
}

async fn start(
    State(app): State<App>,
    Path(name): Path<String>,
    Form(fields): Form,
) -> Result<Response, Fault> {
    let entry = app.daemon.entry(&name)?;
    blocking(move || {
        let clock = Clock::of(&entry, app.daemon.clock.now());
        let started = asked(&entry, &clock, &fields).and_then(|asked| {
            let asked = asked.ok_or_else(|| Problem::bad("neither `from` nor `to` is given"))?;
            Ok(app.daemon.start_backfill(&entry, &asked, None)?.runs)
        });
        match started {
            Ok(runs) => {
                let first =
                    runs.first().map_or_else(|| format!("/pipelines/{name}"), |run| href(&name, *run));
                Ok(Redirect::to(&first).into_response())
            }
            Err(problem) => answer(&app, &entry, &fields, Some(problem)),
        }
    })
    .await
}

#[derive(Template)]
#[template(path = "backfill_runs.html")]
struct RunsPage {
    shell: Shell,
    name: String,
    id: String,
    words: String,
    pill: Markup,
    when: Markup,
    summary: Markup,
    done: usize,
    total: usize,
    left: usize,
    calendar: Markup,
    rows: Vec<(String, Row)>,
}

fn no_part(run: RunId, name: &str) -> Problem {
    Problem::unknown(format!("run {} is part of no backfill of `{name}`", run.short()))
}

fn is_left(row: &Row) -> bool {
    row.look.class == "run" || row.look == state::QUEUED
}

async fn progress(
    State(app): State<App>,
    Path((name, run)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let run = find_run(&app.daemon, &run).await?;
    page(move || {
        let daemon = &app.daemon;
        let (store, now) = (daemon.store(), daemon.clock.now());
        let all = daemon.backfill_of(run)?;
        let Some((first, ticket)) = all.first().filter(|(_, ticket)| ticket.pipeline.as_str() == name) else {
            return Err(no_part(run, &name).into());
        };
        let clock = match daemon.entry(&name) {
            Ok(entry) => Clock::of(&entry, now),
            // The pipeline is gone; its runs are not.
            Err(_) => Clock::default(),
        };
        let mut rows = Vec::with_capacity(all.len());
        let mut marks = Vec::with_capacity(all.len());
        let mut counted: Vec<(Look, usize)> = Vec::new();
        for (run, ticket) in &all {
            let Some(row) = Row::of(daemon, *run, store.run(*run)?.as_ref(), Some(ticket), now) else {
                continue;
            };
            match counted.iter_mut().find(|(known, _)| *known == row.look) {
                Some((_, count)) => *count += 1,
                None => counted.push((row.look, 1)),
            }
            if let Some(interval) = ticket.interval {
                marks.push((interval, row.look, "", row.href.clone()));
            }
            rows.push((ticket.interval.map_or_else(String::new, |interval| clock.interval(interval)), row));
        }
        let left = rows.iter().filter(|(_, row)| is_left(row)).count();
        let goes_on = Look { class: "run", sign: "▶", word: "goes on" };
        let over = Look { class: "wait", sign: "■", word: "over" };
        Ok(RunsPage {
            shell: Shell::new(
                daemon,
                Place::Pipelines,
                format!("Backfill {name}"),
                if left > 0 { "/live" } else { "" },
            ),
            id: first.to_string(),
            words: ticket.trigger.detail.clone(),
            pill: if left > 0 { goes_on } else { over }.pill(),
            when: words::when(ticket.submitted, now),
            summary: counted_pills(&counted),
            done: rows.len() - left,
            total: rows.len(),
            left,
            calendar: by_day(
                &clock,
                "What became of each interval, day by day",
                marks.into_iter(),
                clock.date(now),
            ),
            rows,
            name,
        })
    })
    .await
}

/// Takes what waits of a backfill from the queue, and asks what goes on to end.
async fn cancel(
    State(app): State<App>,
    Path((name, run)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let run = find_run(&app.daemon, &run).await?;
    let to = href(&name, run);
    blocking(move || -> Result<(), Problem> {
        let all = app.daemon.backfill_of(run)?;
        if all.first().is_none_or(|(_, ticket)| ticket.pipeline.as_str() != name) {
            return Err(no_part(run, &name));
        }
        let runs: Vec<RunId> = all.into_iter().map(|(run, _)| run).collect();
        Ok(app.daemon.cancel_backfill(&runs, "with its backfill, on the page")?)
    })
    .await?;
    Ok(Redirect::to(&to).into_response())
}
