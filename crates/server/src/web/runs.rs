//! `/runs`: all runs, the newest first; and one run as a line, wherever there are lists of them.

use std::collections::{HashMap, HashSet};

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use cairn_model::{Name, RunId, RunStatus, Timestamp};
use cairn_store::{ReadError, RunRecord, Store, Ticket, TicketStage};
use serde::Deserialize;

use super::markup::{Markup, url_part};
use super::shell::{Fault, Place, Shell, page};
use super::state::{self, Look, QUEUED};
use super::words;
use crate::api::{App, find_run};
use crate::daemon::Daemon;

pub(super) fn router() -> Router<App> {
    Router::new().route("/runs", get(list)).route("/search", get(search))
}

/// A run as it is listed.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) run: RunId,
    pub(super) short: String,
    pub(super) href: String,
    pub(super) pipeline: String,
    pub(super) look: Look,
    pub(super) pill: Markup,
    pub(super) when: Markup,
    pub(super) at: Timestamp,
    pub(super) took: String,
    pub(super) took_ms: Option<u64>,
    pub(super) trigger: String,
    pub(super) counts: Markup,
    /// Why it could not even begin.
    pub(super) error: Option<String>,
    pub(super) can_resume: bool,
}

/// Returns how a run stands.
pub(super) fn standing(
    daemon: &Daemon,
    run: RunId,
    record: Option<&RunRecord>,
    ticket: Option<&Ticket>,
) -> Look {
    if daemon.queue().is_waiting(run) {
        return QUEUED;
    }
    let goes_on = daemon.signals().contains_key(&run);
    look(goes_on, record, ticket)
}

/// Which runs wait and which go on, as it was at one moment: for pages that tell how very many stand.
pub(super) struct Moment {
    waiting: HashSet<RunId>,
    going_on: HashSet<RunId>,
}

impl Moment {
    pub(super) fn of(daemon: &Daemon) -> Self {
        let waiting = daemon.queue().waiting().map(|waiting| waiting.run).collect();
        Self { waiting, going_on: daemon.signals().keys().copied().collect() }
    }

    /// Returns how a run stands, of which nothing is known yet.
    pub(super) fn standing(&self, store: &Store, run: RunId) -> Result<Look, ReadError> {
        if self.waiting.contains(&run) {
            return Ok(QUEUED);
        }
        let record = store.run(run)?;
        // Only where there is no record its ticket says more.
        let ticket = if record.is_none() { store.ticket(run)? } else { None };
        Ok(look(self.going_on.contains(&run), record.as_ref(), ticket.as_ref()))
    }
}

/// Returns how a run stands that does not wait.
fn look(goes_on: bool, record: Option<&RunRecord>, ticket: Option<&Ticket>) -> Look {
    match record {
        None if goes_on => Look::of_run(RunStatus::Running),
        None if ticket.is_some_and(|ticket| ticket.stage == TicketStage::Ended) => {
            Look::of_run(RunStatus::Failed)
        }
        None => QUEUED,
        Some(RunRecord { status: RunStatus::Running, .. }) if !goes_on => {
            Look { class: "hold", sign: "⊘", word: "cut off" }
        }
        // It is begun again: its record still says how its last part ended.
        Some(_) if goes_on => Look::of_run(RunStatus::Running),
        Some(record) => Look::of_run(record.status),
    }
}

impl Row {
    /// Describes a run by what is known of it; `None` where nothing is.
    pub(super) fn of(
        daemon: &Daemon,
        run: RunId,
        record: Option<&RunRecord>,
        ticket: Option<&Ticket>,
        now: Timestamp,
    ) -> Option<Self> {
        let pipeline = record.map(|record| &record.pipeline).or(ticket.map(|ticket| &ticket.pipeline))?;
        let look = standing(daemon, run, record, ticket);
        let at = record.map(|record| record.started).or(ticket.map(|ticket| ticket.submitted))?;
        let took_ms = record.and_then(|record| Some(record.ended?.millis_since(record.started)));
        let trigger = ticket.map_or_else(|| "at a terminal".to_owned(), trigger);
        Some(Self {
            run,
            short: run.short(),
            href: href(run),
            pipeline: pipeline.to_string(),
            look,
            pill: look.pill(),
            when: words::when(at, now),
            at,
            took: took_ms.filter(|_| look.class != "run").map_or_else(String::new, words::took),
            took_ms,
            trigger,
            counts: record.map_or_else(Markup::default, |record| state::counts(record.counts)),
            error: ticket.and_then(|ticket| ticket.error.clone()),
            can_resume: record.is_some() && can_resume(look),
        })
    }

    /// What a screen reader says of it where there is only its sign.
    pub(super) fn label(&self) -> String {
        let took = if self.took.is_empty() { String::new() } else { format!(", {}", self.took) };
        format!("run {} {}{took}, {}", self.short, self.look.word, words::day_minute(self.at))
    }
}

/// Returns whether there is anything to go on with.
pub(super) fn can_resume(look: Look) -> bool {
    matches!(look.word, "failed" | "interrupted" | "frozen" | "in doubt" | "cut off")
}

/// Says why there is a run.
pub(super) fn trigger(ticket: &Ticket) -> String {
    use cairn_store::TriggerKind as Kind;
    let detail = &ticket.trigger.detail;
    let words = match ticket.trigger.kind {
        Kind::Hand => "by hand",
        Kind::Api => "by the API",
        Kind::Schedule => "by its schedule",
        Kind::Sensor => "by a sensor",
        Kind::After => "after",
        Kind::Backfill => "by a backfill",
        Kind::Retry => "for its dead letters",
        Kind::Drift => "for an effect that drifted",
    };
    if detail.is_empty() { words.to_owned() } else { format!("{words}: {detail}") }
}

/// Returns the address of a run's page.
pub(super) fn href(run: RunId) -> String {
    format!("/runs/{run}")
}

/// Runs that are looked at for a list: older ones are found by their pipeline's page and by their ids.
const LOOK_MAX: usize = 3000;

/// Reads runs, the newest first; those without a record wait, and stand before all others.
pub(super) fn newest(
    daemon: &Daemon,
    wanted: &dyn Fn(&Name) -> bool,
    limit: usize,
) -> Result<Vec<Row>, ReadError> {
    let (store, now) = (daemon.store(), daemon.clock.now());
    let mut rows = Vec::new();
    for (run, ticket) in store.open_tickets()? {
        if wanted(&ticket.pipeline) && store.run(run)?.is_none() {
            rows.extend(Row::of(daemon, run, None, Some(&ticket), now));
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.run));
    for (run, record) in store.runs(LOOK_MAX)? {
        if rows.len() >= limit {
            break;
        }
        if wanted(&record.pipeline) {
            let ticket = store.ticket(run)?;
            rows.extend(Row::of(daemon, run, Some(&record), ticket.as_ref(), now));
        }
    }
    rows.truncate(limit);
    Ok(rows)
}

/// Reads the last `each` runs of every pipeline, the newest first, and tells whether all were looked at that there are: of a
/// pipeline whose runs are older than very many of others none is found.
pub(super) fn by_pipeline(
    daemon: &Daemon,
    each: usize,
) -> Result<(HashMap<Name, Vec<Row>>, bool), ReadError> {
    let (store, now) = (daemon.store(), daemon.clock.now());
    let mut found: HashMap<Name, Vec<Row>> = HashMap::new();
    for (run, ticket) in store.open_tickets()? {
        if store.run(run)?.is_none() {
            found.entry(ticket.pipeline.clone()).or_default().extend(Row::of(
                daemon,
                run,
                None,
                Some(&ticket),
                now,
            ));
        }
    }
    for rows in found.values_mut() {
        rows.sort_by_key(|row| std::cmp::Reverse(row.run));
    }
    let records = store.runs(LOOK_MAX)?;
    let are_all = records.len() < LOOK_MAX;
    for (run, record) in records {
        let rows = found.entry(record.pipeline.clone()).or_default();
        if rows.len() < each {
            rows.extend(Row::of(daemon, run, Some(&record), store.ticket(run)?.as_ref(), now));
        }
    }
    Ok((found, are_all))
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    pipeline: String,
    #[serde(default)]
    status: String,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    shell: Shell,
    rows: Vec<Row>,
    pipeline: String,
    status: String,
    pipelines: Vec<String>,
    statuses: [&'static str; 7],
}

const STATUSES: [&str; 7] = ["queued", "running", "succeeded", "failed", "interrupted", "frozen", "in doubt"];
/// Runs on one page.
const ROWS: usize = 100;

async fn list(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let wanted = |name: &Name| asked.pipeline.is_empty() || name.as_str() == asked.pipeline;
        let mut rows = newest(daemon, &wanted, if asked.status.is_empty() { ROWS } else { LOOK_MAX })?;
        rows.retain(|row| asked.status.is_empty() || row.look.word == asked.status);
        rows.truncate(ROWS);
        Ok(RunsPage {
            shell: Shell::new(daemon, Place::Runs, "Runs", "/live"),
            rows,
            pipelines: daemon.catalog().entries().map(|entry| entry.name.to_string()).collect(),
            pipeline: asked.pipeline,
            status: asked.status,
            statuses: STATUSES,
        })
    })
    .await
}

#[derive(Deserialize)]
struct Search {
    #[serde(default)]
    q: String,
}

/// Goes to the run or the pipeline that the words name, else to the pipelines that have them in their names.
async fn search(State(app): State<App>, Query(Search { q }): Query<Search>) -> Response {
    let words = q.trim();
    let to = if words.is_empty() {
        "/".to_owned()
    } else if app.daemon.entry(words).is_ok() {
        format!("/pipelines/{words}")
    } else if let Ok(run) = find_run(&app.daemon, words).await {
        href(run)
    } else {
        format!("/?q={}", url_part(words))
    };
    Redirect::to(&to).into_response()
}
