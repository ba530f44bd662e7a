//! Runs: what there is, cancelling, going on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cairn_model::RunId;
use cairn_store::{FindRunError, Trigger, TriggerKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Path, Query};
use super::wire::{Run, STATUSES};
use super::{App, Problem};
use crate::carry_out::blocking;
use crate::daemon::Daemon;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(cancel))
        .routes(routes!(resume))
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this pipeline.
    pipeline: Option<String>,
    /// Only those that stand so.
    status: Option<String>,
    /// So many at most: 1 to 1000; 50 where it is left out.
    limit: Option<usize>,
    /// Only those before this one: the `next` of the answer before.
    before: Option<String>,
}

/// Some runs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Runs {
    items: Vec<Run>,
    /// Where to go on: `before` of the next request. Left out where there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1000;

/// Lists runs, the newest first; those that wait for their turn are the newest of all.
#[utoipa::path(get, path = "/api/v1/runs", params(Which), responses((status = 200, body = Runs), (status = 400, body = Problem)))]
async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<Runs>, Problem> {
    let limit = which.limit.unwrap_or(LIMIT);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad(format!("`limit` is 1 to {LIMIT_MAX}")));
    }
    let before: Option<RunId> = which
        .before
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|error: cairn_model::RunIdError| Problem::bad(format!("`before`: {error}")))?;
    if let Some(status) = which.status.as_ref().filter(|status| !STATUSES.contains(&status.as_str())) {
        let problem = Problem::bad(format!("no run is ever `{status}`"));
        return Err(problem.help(format!("`status` is one of {}", STATUSES.join(", "))));
    }
    let daemon = Arc::clone(&app.daemon);
    let mut items = blocking(move || all(&daemon, before, limit + 1, &which)).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|run| run.id.clone());
    Ok(Json(Runs { items, next }))
}

/// Reads runs from the newest on until there are enough: those with a record, and those that only have a ticket yet.
fn all(daemon: &Daemon, before: Option<RunId>, limit: usize, which: &Which) -> Result<Vec<Run>, Problem> {
    let store = daemon.store();
    let wanted = |run: &Run| {
        which.pipeline.as_ref().is_none_or(|pipeline| run.pipeline == *pipeline)
            && which.status.as_ref().is_none_or(|status| run.status == status)
    };
    let mut found: Vec<(RunId, Run)> = Vec::new();
    for (run, ticket) in store.open_tickets()? {
        if before.is_none_or(|before| run < before) && store.run(run)?.is_none() {
            found.extend(Run::of(run, None, Some(&ticket)).map(|shown| (run, shown)));
        }
    }
    found.retain(|(_, run)| wanted(run));
    let mut left = limit;
    for row in store.runs_before(before) {
        let (run, record) = row?;
        let ticket = store.ticket(run)?;
        let shown = Run::of(run, Some(&record), ticket.as_ref()).filter(wanted);
        left -= usize::from(shown.is_some());
        found.extend(shown.map(|shown| (run, shown)));
        if left == 0 {
            break;
        }
    }
    found.sort_by_key(|(run, _)| std::cmp::Reverse(*run));
    Ok(found.into_iter().map(|(_, run)| run).take(limit).collect())
}

/// Finds the run that a path names: by its id, or by what people type of it.
pub(crate) fn find(daemon: &Daemon, text: &str) -> Result<RunId, Problem> {
    let unknown = || Problem::unknown(format!("there is no run `{text}`"));
    if let Ok(run) = text.parse::<RunId>() {
        let known = daemon.store().run(run)?.is_some() || daemon.store().ticket(run)?.is_some();
        return if known { Ok(run) } else { Err(unknown()) };
    }
    match daemon.store().find_run(text) {
        Ok(run) => Ok(run),
        Err(FindRunError::Unknown { .. }) => {
            let waiting = daemon.queue().waiting().map(|waiting| waiting.run).find(|run| run.short() == text);
            waiting.ok_or_else(unknown)
        }
        Err(error @ FindRunError::Ambiguous { .. }) => {
            Err(Problem::unknown(error.to_string()).maybe_help(error.help()))
        }
        Err(FindRunError::Read(error)) => Err(error.into()),
    }
}

fn described(daemon: &Daemon, run: RunId) -> Result<Json<Run>, Problem> {
    let (record, ticket) = (daemon.store().run(run)?, daemon.store().ticket(run)?);
    let described = Run::of(run, record.as_ref(), ticket.as_ref());
    described.map(Json).ok_or_else(|| Problem::unknown(format!("there is no run `{}`", run.short())))
}

/// Describes a run.
#[utoipa::path(get, path = "/api/v1/runs/{run}", params(("run" = String, Path)), responses((status = 200, body = Run), (status = 404, body = Problem)))]
async fn one(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Run>, Problem> {
    described(&app.daemon, find(&app.daemon, &run)?)
}

/// Takes a run from the queue, or ends it: gently the first time, at once the second.
#[utoipa::path(post, path = "/api/v1/runs/{run}/cancel", params(("run" = String, Path)),
    responses((status = 200, body = Run), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Run>, Problem> {
    let run = find(&app.daemon, &run)?;
    let daemon = Arc::clone(&app.daemon);
    blocking(move || daemon.cancel(run, "by the API")).await?;
    described(&app.daemon, run)
}

/// Goes on with a run that failed or was interrupted, with its own definition, params and logical time.
#[utoipa::path(post, path = "/api/v1/runs/{run}/resume", params(("run" = String, Path)),
    responses((status = 200, body = Run), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn resume(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Run>, Problem> {
    let run = find(&app.daemon, &run)?;
    let daemon = Arc::clone(&app.daemon);
    let trigger = Trigger { kind: TriggerKind::Api, detail: "resumed".to_owned() };
    blocking(move || daemon.resume(run, trigger)).await?;
    described(&app.daemon, run)
}
