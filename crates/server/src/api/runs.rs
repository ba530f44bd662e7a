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

use super::extract::{Body, Path, Query};
use super::pipelines::{jobs_of, text_of};
use super::wire::{Run, STATUSES};
use super::{App, Problem};
use crate::carry_out::blocking;
use crate::daemon::Daemon;
use crate::submit::{Ending, Otherwise};

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
    /// Where to go on: `before` of the next request. Left out where there are no more. It may be there with few `items`, or
    /// none: one answer looks at so many runs and no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1000;
/// Runs that one answer looks at, at most: a store keeps all that there ever were.
pub(super) const LOOKED_AT_MAX: usize = 10_000;

/// Lists runs, the newest first; those that wait for their turn are the newest of all.
#[utoipa::path(get, path = "/api/v1/runs", params(Which), responses((status = 200, body = Runs), (status = 400, body = Problem)))]
async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<Runs>, Problem> {
    let (limit, before) = page(which.limit, which.before.as_deref())?;
    if let Some(status) = which.status.as_ref().filter(|status| !STATUSES.contains(&status.as_str())) {
        let problem = Problem::bad(format!("no run is ever `{status}`"));
        return Err(problem.help(format!("`status` is one of {}", STATUSES.join(", "))));
    }
    let daemon = Arc::clone(&app.daemon);
    let (mut items, looked_up_to) =
        blocking(move || all(&daemon, before, (limit + 1, LOOKED_AT_MAX), &which)).await?;
    let more = items.len() > limit;
    items.truncate(limit);
    let next =
        if more { items.last().map(|run| run.id.clone()) } else { looked_up_to.map(|run| run.to_string()) };
    Ok(Json(Runs { items, next }))
}

/// Returns how many a page of a list has at most, and before which run it begins.
pub(super) fn page(limit: Option<usize>, before: Option<&str>) -> Result<(usize, Option<RunId>), Problem> {
    let limit = limit.unwrap_or(LIMIT);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad(format!("`limit` is 1 to {LIMIT_MAX}")));
    }
    let before = before.map(str::parse).transpose();
    let before =
        before.map_err(|error: cairn_model::RunIdError| Problem::bad(format!("`before`: {error}")))?;
    Ok((limit, before))
}

/// Reads runs from the newest on until there are enough: those with a record, and those that only have a ticket yet. Also
/// returns the last one that was looked at, where it stopped before there were enough.
fn all(
    daemon: &Daemon,
    before: Option<RunId>,
    (limit, looked_at_max): (usize, usize),
    which: &Which,
) -> Result<(Vec<Run>, Option<RunId>), Problem> {
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
    let (mut left, mut looked_up_to) = (limit, None);
    for (looked_at, row) in store.runs_before(before).enumerate() {
        let (run, record) = row?;
        let ticket = store.ticket(run)?;
        let shown = Run::of(run, Some(&record), ticket.as_ref()).filter(wanted);
        left -= usize::from(shown.is_some());
        found.extend(shown.map(|shown| (run, shown)));
        if left == 0 {
            break;
        }
        if looked_at + 1 == looked_at_max {
            // What is older comes with the next answer, all in order.
            found.retain(|(of, _)| *of >= run);
            looked_up_to = Some(run);
            break;
        }
    }
    found.sort_by_key(|(run, _)| std::cmp::Reverse(*run));
    Ok((found.into_iter().map(|(_, run)| run).take(limit).collect(), looked_up_to))
}

/// Finds the run that a path names: by its id, or by what people type of it. It may go through all there are, beside the
/// runtime.
pub(crate) async fn find(daemon: &Arc<Daemon>, text: &str) -> Result<RunId, Problem> {
    let (daemon, text) = (Arc::clone(daemon), text.to_owned());
    blocking(move || find_here(&daemon, &text)).await
}

/// The same, for who may wait for the disk.
pub(crate) fn find_here(daemon: &Daemon, text: &str) -> Result<RunId, Problem> {
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

async fn described(daemon: &Arc<Daemon>, run: RunId) -> Result<Json<Run>, Problem> {
    let daemon = Arc::clone(daemon);
    blocking(move || {
        let (record, ticket) = (daemon.store().run(run)?, daemon.store().ticket(run)?);
        let described = Run::of(run, record.as_ref(), ticket.as_ref());
        described.map(Json).ok_or_else(|| Problem::unknown(format!("there is no run `{}`", run.short())))
    })
    .await
}

/// Describes a run.
#[utoipa::path(get, path = "/api/v1/runs/{run}", params(("run" = String, Path)), responses((status = 200, body = Run), (status = 404, body = Problem)))]
async fn one(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Run>, Problem> {
    described(&app.daemon, find(&app.daemon, &run).await?).await
}

/// How a run is cancelled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// How it ends where it goes on; left out: gently the first time that it is cancelled, at once the second.
    how: Option<How>,
}

/// How a run that goes on ends. Asked for again it is the same: nothing follows from a request that is sent twice.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum How {
    /// Nothing more is begun, and what runs is asked to end.
    Gently,
    /// What runs is killed.
    Now,
}

/// Takes a run from the queue, or ends it: as `how` says, or gently the first time, at once the second.
#[utoipa::path(post, path = "/api/v1/runs/{run}/cancel", request_body = Cancel, params(("run" = String, Path)),
    responses((status = 200, body = Run), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn cancel(
    State(app): State<App>,
    Path(run): Path<String>,
    Body(cancel): Body<Cancel>,
) -> Result<Json<Run>, Problem> {
    let run = find(&app.daemon, &run).await?;
    let daemon = Arc::clone(&app.daemon);
    let ending = match cancel.how {
        None => Ending::Next,
        Some(How::Gently) => Ending::Gently,
        Some(How::Now) => Ending::Now,
    };
    blocking(move || daemon.cancel(run, ending, "by the API")).await?;
    described(&app.daemon, run).await
}

/// How a run goes on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Resume {
    /// Cpus in all; as it began where it is left out.
    jobs: Option<u32>,
    /// After a failure, all is made that does not depend on it; a run that began so goes on so.
    keep_going: bool,
    /// The pipeline's file, relative to the project, where the run is to go on with the text that it has now; with
    /// `definition`.
    file: Option<String>,
    /// The digest of that text, as runs have it: another one is not taken (409).
    definition: Option<String>,
}

/// Goes on with a run that failed or was interrupted, with its own definition, params and logical time, where the body
/// says nothing else.
#[utoipa::path(post, path = "/api/v1/runs/{run}/resume", request_body = Resume, params(("run" = String, Path)),
    responses((status = 200, body = Run), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn resume(
    State(app): State<App>,
    Path(run): Path<String>,
    Body(resume): Body<Resume>,
) -> Result<Json<Run>, Problem> {
    let run = find(&app.daemon, &run).await?;
    let Resume { jobs, keep_going, file, definition } = resume;
    let text = text_of(file.as_ref(), definition.as_ref())?;
    let otherwise = Otherwise { text, jobs: jobs_of(jobs)?, keep_going };
    let daemon = Arc::clone(&app.daemon);
    let trigger = Trigger { kind: TriggerKind::Api, detail: "resumed".to_owned() };
    blocking(move || daemon.resume(run, trigger, &otherwise)).await?;
    described(&app.daemon, run).await
}

#[cfg(test)]
mod tests {
    use cairn_model::{FixedClock, Timestamp};

    use super::*;
    use crate::fire::simulate::{idle_daemon, order_of_p};

    #[test]
    fn one_answer_looks_at_so_many_runs_and_the_next_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.toml"), "[stages.a]\nrun = \"true\"\noutputs = [\"o\"]\n")
            .unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp(1_700_000_000_000)));
        let daemon = idle_daemon(folder.path(), Arc::clone(&clock));
        let mut interrupted = Vec::new();
        let mut queued = Vec::new();
        for number in 0..9 {
            clock.advance(1000);
            let run = daemon.submit(&order_of_p(), None).unwrap().run;
            if number % 4 == 0 {
                queued.insert(0, run.to_string());
            } else {
                daemon.cancel(run, Ending::Next, "it is not wanted").unwrap();
                interrupted.insert(0, run.to_string());
            }
        }
        let pages = |status: &str, limit: usize, looked_at_max: usize| {
            let which = Which { pipeline: None, status: Some(status.to_owned()), limit: None, before: None };
            let (mut seen, mut before, mut pages) = (Vec::new(), None, 0);
            loop {
                let (items, looked_up_to) = all(&daemon, before, (limit, looked_at_max), &which).unwrap();
                pages += 1;
                before = match items.last() {
                    Some(last) if items.len() == limit => Some(last.id.parse().unwrap()),
                    _ => looked_up_to,
                };
                seen.extend(items.into_iter().map(|run| run.id));
                if before.is_none() {
                    return (seen, pages);
                }
            }
        };
        assert_eq!(pages("failed", 50, 2), (vec![], 4), "none of six");
        assert_eq!(pages("failed", 50, 50), (vec![], 1));
        for looked_at_max in [1, 2, 3, 50] {
            assert_eq!(pages("interrupted", 2, looked_at_max).0, interrupted, "{looked_at_max}");
            assert_eq!(pages("queued", 2, looked_at_max).0, queued, "{looked_at_max}");
        }
    }
}
