//! The schedule of a pipeline: what comes, and what became of what came.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cairn_scheduler::schedule::{Times, describe};
use cairn_store::Fate;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Path, Query};
use super::pipelines::Paused;
use super::wire::{Interval, time};
use super::{App, Problem};
use crate::carry_out::blocking;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(schedule))
}

/// How much of it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Much {
    /// So many times that come, at most: 0 to 1000; 10 where it is left out.
    next: Option<usize>,
    /// So many times that came, at most: 0 to 1000; 50 where it is left out.
    past: Option<usize>,
}

const MUCH_MAX: usize = 1000;

/// A pipeline's schedule.
#[derive(Debug, Serialize, ToSchema)]
struct Schedule {
    /// What starts runs, as it follows "runs".
    text: String,
    /// The zone in which it is read.
    timezone: String,
    /// Why it starts nothing; left out while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    /// Runs in a row that failed.
    failures: u32,
    /// Up to when it was decided about; left out before that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_until: Option<String>,
    /// Pipelines after whose successful runs it is run.
    after: Vec<String>,
    /// Times that come, the next first.
    next: Vec<Next>,
    /// Times that came, the last first.
    past: Vec<Past>,
}

/// A time that comes.
#[derive(Debug, Serialize, ToSchema)]
struct Next {
    /// The time, which is the run's logical time.
    time: String,
    /// When the run begins: later where there is jitter.
    fires_at: String,
    /// The stretch of time that it is about.
    interval: Interval,
}

/// A time that came, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
struct Past {
    time: String,
    interval: Interval,
    /// When it was decided about.
    decided: String,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped: Option<String>,
}

/// Describes a pipeline's schedule: how it stands, what comes, and what became of what came.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}/schedule", params(("name" = String, Path), Much),
    responses((status = 200, body = Schedule), (status = 404, body = Problem)))]
async fn schedule(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(much): Query<Much>,
) -> Result<Json<Schedule>, Problem> {
    let entry = app.daemon.entry(&name)?;
    let (next_max, past_max) = (much.next.unwrap_or(10), much.past.unwrap_or(50));
    if next_max > MUCH_MAX || past_max > MUCH_MAX {
        return Err(Problem::bad(format!("`next` and `past` are at most {MUCH_MAX}")));
    }
    let Some(schedule) = entry.schedule.clone() else {
        return Err(Problem::unknown(format!("`{name}` has no schedule")));
    };
    let daemon = Arc::clone(&app.daemon);
    let described = move || {
        let standing = daemon.store().schedule(&entry.name)?;
        let mut next = Vec::new();
        // A zone that is gone is told by the daemon's log; nothing comes.
        if let Ok(times) = Times::new(&entry.name, &schedule) {
            let first = times.next_after(daemon.clock.now());
            let all = std::iter::successors(first, |last| times.next_after(last.nominal));
            next.extend(all.take(next_max).map(|occurrence| Next {
                time: time(occurrence.nominal),
                fires_at: time(occurrence.fires_at),
                interval: occurrence.interval.into(),
            }));
        }
        let past =
            daemon.store().occurrences(&entry.name, past_max)?.into_iter().map(|(nominal, _, occurrence)| {
                let (run, dropped) = match occurrence.fate {
                    Fate::Run(run) => (Some(run.to_string()), None),
                    Fate::Dropped(why) => (None, Some(why)),
                };
                let (interval, decided) = (occurrence.interval.into(), time(occurrence.decided));
                Past { time: time(nominal), interval, decided, run, dropped }
            });
        Ok(Schedule {
            text: describe(&schedule),
            timezone: schedule.timezone.clone(),
            paused: standing.paused.map(Paused::of),
            failures: standing.failures,
            decided_until: standing.decided_until.map(time),
            after: schedule.after.iter().map(ToString::to_string).collect(),
            next,
            past: past.collect(),
        })
    };
    blocking(described).await.map(Json).map_err(|error: cairn_store::ReadError| error.into())
}
