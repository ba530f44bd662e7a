//! Backfills: which intervals would give another result today, and the runs that make them.
//!
//! A backfill has no record of its own: it is the runs that were asked for together, and goes by the id of its first one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use cairn_model::{Name, RunId, Timestamp};
use cairn_scheduler::backfill::Reprocess;
use cairn_store::{RunRecord, Ticket, TriggerKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Path, Query};
use super::pipelines::{idempotency_key, params_of};
use super::runs::{LOOKED_AT_MAX, find_here, page};
use super::wire::{Interval, Run, standing_word, status_word, time};
use super::{App, Problem};
use crate::backfill::{self, Clock, Day, Words};
use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::Daemon;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(plan))
        .routes(routes!(one))
        .routes(routes!(cancel))
}

/// What is to be filled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Fill {
    pipeline: String,
    /// Where the first interval may begin: a date or a time by the clock of the pipeline's schedule, or RFC 3339.
    from: String,
    /// Where the last one may end: itself no longer a part, so that two stretches meet.
    to: String,
    /// Intervals of this length from `from` on, in the place of the schedule's: `1d`, `6h`.
    every: String,
    /// Which intervals: `stale`, whose result would be another today, which is also meant where it is left out; `missing`, that
    /// never ran; `failed`, that never ran or whose last run did not succeed; `all`, executed anew.
    reprocess: String,
    /// Params that are not to have their defaults.
    params: BTreeMap<String, serde_json::Value>,
    /// After a failure, all of an interval is made that does not depend on it.
    keep_going: bool,
}

impl Fill {
    fn read(self, daemon: &Daemon) -> Result<(Arc<Entry>, backfill::Backfill), Problem> {
        let entry = daemon.entry(&self.pipeline)?;
        let words = Words {
            from: &self.from,
            to: &self.to,
            every: &self.every,
            reprocess: &self.reprocess,
            params: params_of(self.params)?,
            keep_going: self.keep_going,
        };
        let asked = words.read(&Clock::of(&entry, daemon.clock.now()))?;
        Ok((entry, asked))
    }
}

/// What a run of each interval would do today.
#[derive(Debug, Serialize, ToSchema)]
struct Plan {
    pipeline: String,
    /// `stale`, `missing`, `failed` or `all`.
    reprocess: &'static str,
    /// Intervals that would be run.
    selected: usize,
    /// All intervals of the stretch, the oldest first.
    items: Vec<Planned>,
}

/// An interval of a plan.
#[derive(Debug, Serialize, ToSchema)]
struct Planned {
    interval: Interval,
    /// What a run of it would do: `RUN`, `RESTORE`, `FRESH`, or `FAIL`.
    plan: &'static str,
    /// Why its result would be another; left out where it would not.
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    /// Whether it would be run.
    selected: bool,
    /// Its last run; left out where it never ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<Last>,
    /// The run of it that waits or goes on and does what is asked for, so that it is not asked for twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    open: Option<String>,
}

/// The last run of an interval.
#[derive(Debug, Serialize, ToSchema)]
struct Last {
    run: String,
    status: &'static str,
}

impl From<Day> for Planned {
    fn from(day: Day) -> Self {
        let Day { interval, would, why, last, open, selected } = day;
        Self {
            interval: interval.into(),
            plan: would.as_str(),
            why,
            selected,
            last: last.map(|(run, status)| Last { run: run.to_string(), status: status_word(status) }),
            open: open.map(|run| run.to_string()),
        }
    }
}

/// Finds out which intervals would be run, and why. Nothing is started.
#[utoipa::path(post, path = "/api/v1/backfills/plan", request_body = Fill,
    responses((status = 200, body = Plan), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Another one is being planned"), (status = 422, body = Problem)))]
async fn plan(State(app): State<App>, Body(fill): Body<Fill>) -> Result<Json<Plan>, Problem> {
    blocking(move || {
        let (entry, asked) = fill.read(&app.daemon)?;
        let days = app.daemon.plan_backfill(&entry, &asked)?;
        Ok(Json(Plan {
            pipeline: entry.name.to_string(),
            reprocess: Reprocess::as_str(asked.reprocess),
            selected: days.iter().filter(|day| day.selected).count(),
            items: days.into_iter().map(Planned::from).collect(),
        }))
    })
    .await
}

/// The runs that were asked for together.
#[derive(Debug, Serialize, ToSchema)]
struct Backfill {
    /// That of its first run.
    id: String,
    pipeline: String,
    /// The stretch of time, by the clock of the pipeline's schedule.
    stretch: String,
    submitted: String,
    /// `running` while runs of it wait or go on, `over` then.
    status: &'static str,
    /// All its runs.
    total: usize,
    /// Those that are over, however they ended.
    done: usize,
    /// Runs by how they stand: the words of a run's `status`.
    runs_by_status: BTreeMap<&'static str, usize>,
    /// Its runs, the oldest interval first; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<Vec<Run>>,
}

/// Runs of a backfill that were found.
struct Found {
    /// The first of them.
    first: RunId,
    ticket: Ticket,
    by_status: BTreeMap<&'static str, usize>,
}

impl Found {
    fn new(run: RunId, ticket: Ticket) -> Self {
        Self { first: run, ticket, by_status: BTreeMap::new() }
    }

    fn add(&mut self, run: RunId, status: &'static str) {
        self.first = self.first.min(run);
        *self.by_status.entry(status).or_default() += 1;
    }

    fn shown(self, runs: Option<Vec<Run>>) -> Backfill {
        let total = self.by_status.values().sum();
        let left: usize = ["queued", "running"].iter().filter_map(|status| self.by_status.get(status)).sum();
        Backfill {
            id: self.first.to_string(),
            pipeline: self.ticket.pipeline.to_string(),
            stretch: self.ticket.trigger.detail,
            submitted: time(self.ticket.submitted),
            status: if left > 0 { "running" } else { "over" },
            total,
            done: total - left,
            runs_by_status: self.by_status,
            runs,
        }
    }
}

/// Describes the backfill that a run is part of.
fn described(daemon: &Daemon, run: RunId) -> Result<Backfill, Problem> {
    let store = daemon.store();
    let mut found: Option<Found> = None;
    let mut runs = Vec::new();
    for (run, ticket) in daemon.backfill_of(run)? {
        let record = store.run(run)?;
        let shown = Run::of(run, record.as_ref(), Some(&ticket));
        found
            .get_or_insert_with(|| Found::new(run, ticket))
            .add(run, shown.as_ref().map_or("", |run| run.status));
        runs.extend(shown);
    }
    let found =
        found.ok_or_else(|| Problem::unknown(format!("run {} is part of no backfill", run.short())))?;
    Ok(found.shown(Some(runs)))
}

/// Has a run wait for each interval that is to be made, the oldest first: all of them, or none.
///
/// An interval of which a run waits or goes on already that does the same gets no second one. With `Idempotency-Key` the same
/// request makes one backfill, however often it comes, as with runs.
#[utoipa::path(post, path = "/api/v1/backfills", request_body = Fill,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the request, for a second try")),
    responses(
        (status = 201, body = Backfill), (status = 200, body = Backfill, description = "It was asked for before"),
        (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "No interval has anything to be made, or another backfill is being planned"),
        (status = 422, body = Problem)))]
async fn start(
    State(app): State<App>,
    headers: HeaderMap,
    Body(fill): Body<Fill>,
) -> Result<impl IntoResponse, Problem> {
    let key = idempotency_key(&headers)?;
    blocking(move || {
        let daemon = &app.daemon;
        let (entry, asked) = fill.read(daemon)?;
        let started = daemon.start_backfill(&entry, &asked, key.as_deref())?;
        let gone = || Problem::unknown("the runs of this backfill are gone");
        let body = described(daemon, *started.runs.first().ok_or_else(gone)?)?;
        let status = if started.existed { StatusCode::OK } else { StatusCode::CREATED };
        Ok((status, [(header::LOCATION, format!("/api/v1/backfills/{}", body.id))], Json(body)))
    })
    .await
}

/// Describes a backfill, with all its runs.
#[utoipa::path(get, path = "/api/v1/backfills/{run}", params(("run" = String, Path, description = "Any of its runs")),
    responses((status = 200, body = Backfill), (status = 404, body = Problem)))]
async fn one(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Backfill>, Problem> {
    blocking(move || Ok(Json(described(&app.daemon, find_here(&app.daemon, &run)?)?))).await
}

/// Takes what waits of a backfill from the queue, and asks what goes on of it to end: gently the first time, at once the second.
#[utoipa::path(post, path = "/api/v1/backfills/{run}/cancel", params(("run" = String, Path, description = "Any of its runs")),
    responses((status = 200, body = Backfill), (status = 404, body = Problem)))]
async fn cancel(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Backfill>, Problem> {
    blocking(move || {
        let daemon = &app.daemon;
        let run = find_here(daemon, &run)?;
        let runs: Vec<RunId> = daemon.backfill_of(run)?.into_iter().map(|(run, _)| run).collect();
        daemon.cancel_backfill(&runs, "with its backfill, by the API")?;
        Ok(Json(described(daemon, run)?))
    })
    .await
}

/// Which backfills.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this pipeline.
    pipeline: Option<String>,
    /// So many at most: 1 to 1000; 50 where it is left out.
    limit: Option<usize>,
    /// Only those before this one: the `next` of the answer before.
    before: Option<String>,
}

/// Some backfills, the newest first.
#[derive(Debug, Serialize, ToSchema)]
struct Backfills {
    items: Vec<Backfill>,
    /// Where to go on: `before` of the next request. Left out where there are no more. It may be there with few `items`, or
    /// none: one answer looks at so many runs and no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists backfills, the newest first, without their runs.
#[utoipa::path(get, path = "/api/v1/backfills", params(Which),
    responses((status = 200, body = Backfills), (status = 400, body = Problem)))]
async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<Backfills>, Problem> {
    let (limit, before) = page(which.limit, which.before.as_deref())?;
    let (items, next) =
        blocking(move || some(&app.daemon, before, (limit, LOOKED_AT_MAX), which.pipeline.as_deref()))
            .await?;
    let items = items.into_iter().map(|found| found.shown(None)).collect();
    Ok(Json(Backfills { items, next: next.map(|run| run.to_string()) }))
}

/// Finds backfills that were asked for before a run, the newest first, and where to go on.
///
/// The ids of a backfill's runs are made from the moment on that it was asked for, one after the other, and no other
/// backfill's are among them.
fn some(
    daemon: &Daemon,
    before: Option<RunId>,
    (limit, looked_at_max): (usize, usize),
    pipeline: Option<&str>,
) -> Result<(Vec<Found>, Option<RunId>), Problem> {
    let store = daemon.store();
    let mut all: HashMap<(Name, String, Timestamp), Found> = HashMap::new();
    let add = |all: &mut HashMap<_, Found>, run, record: Option<&RunRecord>, ticket: Ticket| {
        if ticket.trigger.kind == TriggerKind::Backfill
            && pipeline.is_none_or(|pipeline| ticket.pipeline.as_str() == pipeline)
        {
            let status = standing_word(record, Some(&ticket));
            let one = (ticket.pipeline.clone(), ticket.trigger.detail.clone(), ticket.submitted);
            all.entry(one).or_insert_with(|| Found::new(run, ticket)).add(run, status);
        }
    };
    // What waits has no record yet.
    for (run, ticket) in store.open_tickets()? {
        if before.is_none_or(|before| run < before) && store.run(run)?.is_none() {
            add(&mut all, run, None, ticket);
        }
    }
    let (mut cut, mut last) = (None, None);
    for (looked_at, row) in store.runs_before(before).enumerate() {
        let (run, record) = row?;
        // All of one that was asked for later has been seen; nothing of one whose runs are all older.
        let is_whole = |found: &Found| run.started() < found.ticket.submitted;
        if all.len() > limit && all.values().filter(|found| is_whole(found)).count() > limit {
            break;
        }
        if looked_at >= looked_at_max && all.values().all(|found| is_whole(found) || found.first < run) {
            // What is older comes with the next answer; of that, only what waits has been seen.
            all.retain(|_, found| is_whole(found));
            cut = all.values().map(|found| found.first).chain(last).min();
            break;
        }
        if let Some(ticket) = store.ticket(run)? {
            add(&mut all, run, Some(&record), ticket);
        }
        last = Some(run);
    }
    let mut found: Vec<Found> = all.into_values().collect();
    found.sort_by_key(|found| std::cmp::Reverse(found.first));
    if found.len() > limit {
        found.truncate(limit);
        cut = found.last().map(|found| found.first);
    }
    Ok((found, cut))
}

#[cfg(test)]
mod tests {
    use cairn_model::FixedClock;

    use super::*;
    use crate::fire::simulate::{idle_daemon, order_of_p};
    use crate::submit::Ending;

    #[test]
    fn pages_of_backfills_have_each_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let text = "[schedule]\ncron = '@daily'\n[stages.a]\nrun = 'echo {{ interval.start | date }} > o'\noutputs = ['o']\n";
        std::fs::write(folder.path().join("p.toml"), text).unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp(1_700_000_000_000)));
        let daemon = idle_daemon(folder.path(), Arc::clone(&clock));
        let mut expected = Vec::new();
        for number in 0..5_usize {
            clock.advance(1000);
            let other = daemon.submit(&order_of_p(), None).unwrap().run;
            if number % 2 == 0 {
                daemon.cancel(other, Ending::Next, "it is not wanted").unwrap();
            }
            clock.advance(1000);
            let fill = Fill {
                pipeline: "p".to_owned(),
                from: format!("2023-0{}-01", number + 1),
                to: format!("2023-0{}-04", number + 1),
                ..Fill::default()
            };
            let (entry, asked) = fill.read(&daemon).unwrap();
            let runs = daemon.start_backfill(&entry, &asked, None).unwrap().runs;
            clock.advance(1000);
            // Some of each are over: the last of an even one, the first of an odd one, all of one.
            let over = if number == 3 {
                0..3
            } else if number % 2 == 0 {
                2..3
            } else {
                0..1
            };
            for run in &runs[over.clone()] {
                daemon.cancel(*run, Ending::Next, "it is not wanted").unwrap();
            }
            // Tests beside this one have clocks of their own, and break the order of ids within a millisecond.
            let first = *runs.iter().min().unwrap();
            expected.insert(0, (first, 3 - over.len(), over.len()));
        }
        for limit in [1, 2, 3, 50] {
            for looked_at_max in [1, 2, 3, 4, 50] {
                let (mut seen, mut before) = (Vec::new(), None);
                loop {
                    let (found, next) = some(&daemon, before, (limit, looked_at_max), Some("p")).unwrap();
                    assert!(found.len() <= limit);
                    for one in found {
                        let count = |status| one.by_status.get(status).copied().unwrap_or(0);
                        seen.push((one.first, count("queued"), count("interrupted")));
                    }
                    assert!(next.is_none() || next != before, "it goes on");
                    before = next;
                    if before.is_none() {
                        break;
                    }
                }
                assert_eq!(seen, expected, "{limit} {looked_at_max}");
            }
        }
        assert!(some(&daemon, None, (50, 50), Some("q")).unwrap().0.is_empty());
    }
}
