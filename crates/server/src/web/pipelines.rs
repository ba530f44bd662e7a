//! `/`: the pipelines, how each stands, and what needs a person.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use cairn_dag::circle_text;
use cairn_model::{Name, Timestamp};
use serde::Deserialize;

use super::attention::{self, Going, Trouble};
use super::form;
use super::markup::Markup;
use super::runs::{self, Row};
use super::schedule::next_run;
use super::shell::{Fault, Place, Shell, page};
use super::words;
use crate::api::App;
use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::Daemon;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(list))
        .route("/pipelines", get(|| async { Redirect::permanent("/") }))
        .route("/pipelines/{name}/pause", post(pause))
        .route("/pipelines/{name}/unpause", post(unpause))
}

/// Outcomes in a strip.
pub(super) const STRIP: usize = 30;
/// Pipelines on one page.
const ROWS: usize = 100;

struct Line {
    name: String,
    description: String,
    stages: String,
    /// Newest last, as one reads time.
    strip: Markup,
    last: Option<Row>,
    schedule: String,
    next: Option<Markup>,
    paused: Option<(String, Markup)>,
    broken: bool,
    in_circle: bool,
    has_params: bool,
}

struct BrokenFile {
    file: String,
    report: String,
    /// The pipeline whose last good text stays in force.
    pipeline: Option<String>,
}

#[derive(Template)]
#[template(path = "pipelines.html")]
struct PipelinesPage {
    shell: Shell,
    lines: Vec<Line>,
    trouble: Vec<Trouble>,
    broken: Vec<BrokenFile>,
    /// Circles of pipelines that follow each other, one for each set of them.
    circles: Vec<String>,
    unlisted: Option<String>,
    query: String,
    state: String,
    states: [&'static str; 3],
    /// How many pipelines there are.
    total: usize,
    shown: String,
    running: usize,
    waiting: usize,
    going: Vec<Going>,
    /// The run that a schedule asks for next: when, and of which pipeline.
    soonest: Option<(Markup, String)>,
    /// Whether all runs that there ever were have been looked at.
    are_all: bool,
    previous: Option<usize>,
    following: Option<usize>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    q: String,
    /// Only those that stand so: one of [`STATES`]; all else is all of them.
    #[serde(default)]
    state: String,
    #[serde(default)]
    page: usize,
}

const STATES: [&str; 3] = ["failed", "running", "paused"];

/// Returns whether a pipeline stands as is asked for; `last` is its last run.
fn stands(daemon: &Daemon, entry: &Entry, last: Option<&Row>, state: &str) -> Result<bool, Fault> {
    let class = last.map(|row| row.look.class);
    Ok(match state {
        "failed" => matches!(class, Some("bad" | "doubt")),
        "running" => class == Some("run"),
        "paused" => daemon.store().schedule(&entry.name)?.paused.is_some(),
        _ => true,
    })
}

/// Marks outcomes up as links, the newest last.
pub(super) fn strip(rows: &[Row]) -> Markup {
    let mut markup = Markup::default();
    for row in rows.iter().take(STRIP).rev() {
        markup.html("<li><a class=\"cell ").html(row.look.class).html("\"").attribute("href", &row.href);
        markup.attribute("aria-label", row.label()).attribute("title", row.label()).html(">");
        markup.html(row.look.sign).html("</a></li>");
    }
    markup
}

fn line(daemon: &Daemon, entry: &Entry, mut rows: Vec<Row>, now: Timestamp) -> Result<Line, Fault> {
    let standing = daemon.store().schedule(&entry.name)?;
    let instances = if entry.instances == entry.stages.len() {
        String::new()
    } else {
        format!(", {}", words::count(entry.instances, "instance"))
    };
    Ok(Line {
        name: entry.name.to_string(),
        description: entry.description.clone(),
        stages: format!("{}{instances}", words::count(entry.stages.len(), "stage")),
        strip: strip(&rows),
        last: (!rows.is_empty()).then(|| rows.remove(0)),
        schedule: entry.schedule.as_ref().map_or_else(String::new, words::schedule),
        next: next_run(entry, now).map(|at| words::when(at, now)),
        paused: standing.paused.map(|(since, why)| (why, words::when(since, now))),
        broken: entry.broken.is_some(),
        in_circle: !entry.circle.is_empty(),
        has_params: !entry.params.is_empty(),
    })
}

async fn list(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let (mut rows, are_all) = runs::by_pipeline(daemon, STRIP)?;
        let entries: Vec<_> = daemon.catalog().entries().cloned().collect();
        let query = asked.q.trim().to_lowercase();
        let fits = |entry: &&std::sync::Arc<Entry>| {
            query.is_empty()
                || entry.name.as_str().contains(&query)
                || entry.description.to_lowercase().contains(&query)
        };
        let mut found = Vec::new();
        for entry in entries.iter().filter(fits) {
            let last = rows.get(&entry.name).and_then(|rows| rows.first());
            if stands(daemon, entry, last, &asked.state)? {
                found.push(entry);
            }
        }
        let (mut lines, mut troubles) = (Vec::new(), Vec::new());
        let mut soonest: Option<(Timestamp, &Name)> = None;
        for entry in &entries {
            if let Some(row) = rows.get(&entry.name).and_then(|rows| rows.first()) {
                let is_read = troubles.len() < attention::READ_MAX;
                troubles.extend(attention::trouble(daemon, row, is_read)?);
            }
            if let Some(at) = next_run(entry, now)
                && soonest.is_none_or(|(soonest, _)| at < soonest)
                && daemon.store().schedule(&entry.name)?.paused.is_none()
            {
                soonest = Some((at, &entry.name));
            }
        }
        for entry in found.iter().skip(asked.page * ROWS).take(ROWS) {
            lines.push(line(daemon, entry, rows.remove(&entry.name).unwrap_or_default(), now)?);
        }
        let mut broken: Vec<BrokenFile> = daemon
            .catalog()
            .broken()
            .map(|broken| BrokenFile {
                file: broken.located.shown.clone(),
                report: broken.report.clone(),
                pipeline: None,
            })
            .collect();
        broken.extend(entries.iter().filter_map(|entry| {
            let report = entry.broken.clone()?;
            Some(BrokenFile {
                file: entry.located.shown.clone(),
                report,
                pipeline: Some(entry.name.to_string()),
            })
        }));
        let mut circles: BTreeMap<BTreeSet<&Name>, String> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !entry.circle.is_empty()) {
            circles.entry(entry.circle.iter().collect()).or_insert_with(|| circle_text(&entry.circle));
        }
        let circles = circles.into_values().collect();
        let unlisted = crate::daemon::lock(&daemon.unlisted).clone();
        let (waiting, running) = {
            let queue = daemon.queue();
            (queue.waiting().len(), queue.running().len())
        };
        let shown = if found.len() == entries.len() {
            words::count(entries.len(), "pipeline")
        } else {
            format!("{} of {}", found.len(), words::count(entries.len(), "pipeline"))
        };
        Ok(PipelinesPage {
            shell: Shell::new(daemon, Place::Pipelines, "Pipelines", "/live"),
            shown,
            previous: asked.page.checked_sub(1),
            following: (found.len() > (asked.page + 1) * ROWS).then_some(asked.page + 1),
            lines,
            trouble: troubles,
            broken,
            circles,
            unlisted,
            query: asked.q.trim().to_owned(),
            state: asked.state,
            states: STATES,
            total: entries.len(),
            running,
            waiting,
            going: attention::going(daemon, now)?,
            soonest: soonest.map(|(at, name)| (words::when(at, now), name.to_string())),
            are_all,
        })
    })
    .await
}

async fn pause(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let entry = app.daemon.entry(&name)?;
    blocking(move || app.daemon.pause(&entry.name, "by hand, on the page".to_owned())).await?;
    Ok(form::back(&headers, "/").into_response())
}

async fn unpause(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let entry = app.daemon.entry(&name)?;
    blocking(move || app.daemon.unpause(&entry.name)).await?;
    Ok(form::back(&headers, "/").into_response())
}
