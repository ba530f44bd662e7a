//! Pipelines: what there is, asking for runs, pausing their schedules.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use cairn_model::{Interval, Name, Timestamp};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::select::{Force, Request, Target};
use cairn_store::{Trigger, TriggerKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Path, Raw};
use super::wire::{Run, time};
use super::{App, Problem};
use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::daemon::Daemon;
use crate::submit::{Order, SubmitError, Text};
use crate::trouble::Trouble;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(submit))
        .routes(routes!(pause))
        .routes(routes!(unpause))
        .routes(routes!(hook))
}

/// A pipeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Pipeline {
    name: String,
    description: String,
    /// Its file, relative to the project.
    file: String,
    /// Its params with their defaults, as texts.
    params: BTreeMap<String, String>,
    stages: Vec<String>,
    instances: usize,
    scheduled: bool,
    /// Why its schedule starts nothing; left out while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
    /// Where it follows itself by `after`: the pipelines of that circle, each of which follows the next; none of them is run
    /// for that. It is the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    circle: Vec<String>,
    /// What is wrong with the text in its file; the last one without errors is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
    /// Sensors that see nothing, or not all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sensors_failing: Vec<SensorFailing>,
}

/// A sensor that sees nothing, or not all.
#[derive(Debug, Serialize, ToSchema)]
struct SensorFailing {
    /// The sensor, as runs that it starts name it.
    sensor: String,
    /// Why it cannot look; left out where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    cannot_look: Option<String>,
    /// Files that it passes over, each with the reason, while it looks at the others: the first 20 in the order of their
    /// names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<String>,
    /// How many it passes over in all; left out where it passes over none.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_over_count: Option<usize>,
}

/// A schedule that starts nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Paused {
    since: String,
    why: String,
}

impl Paused {
    pub(super) fn of((since, why): (Timestamp, String)) -> Self {
        Self { since: time(since), why }
    }
}

/// A file without a pipeline.
#[derive(Debug, Serialize, ToSchema)]
struct BrokenFile {
    file: String,
    /// What is wrong with it, drawn as the command line draws it.
    report: String,
}

/// All pipelines.
#[derive(Debug, Serialize, ToSchema)]
struct Pipelines {
    items: Vec<Pipeline>,
    /// Files of which there is no pipeline, because they have errors.
    broken: Vec<BrokenFile>,
}

impl Pipeline {
    fn of(daemon: &Daemon, entry: &Entry) -> Result<Self, Problem> {
        let standing = daemon.store().schedule(&entry.name)?;
        Ok(Self {
            name: entry.name.to_string(),
            description: entry.description.clone(),
            file: entry.located.shown.clone(),
            params: entry.params.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
            stages: entry.stages.iter().map(Name::to_string).collect(),
            instances: entry.instances,
            scheduled: entry.schedule.is_some(),
            paused: standing.paused.map(Paused::of),
            circle: entry.circle.iter().map(Name::to_string).collect(),
            broken: entry.broken.clone(),
            sensors_failing: daemon
                .troubles
                .of(&entry.name)
                .into_iter()
                .map(|(sensor, Trouble { cannot_look, passed_over })| SensorFailing {
                    sensor,
                    cannot_look,
                    passed_over_count: Some(passed_over.count).filter(|count| *count > 0),
                    passed_over: passed_over.named,
                })
                .collect(),
        })
    }
}

/// Lists the pipelines.
#[utoipa::path(get, path = "/api/v1/pipelines", responses((status = 200, body = Pipelines)))]
async fn list(State(app): State<App>) -> Result<Json<Pipelines>, Problem> {
    let catalog = app.daemon.catalog();
    let items: Result<_, _> = catalog.entries().map(|entry| Pipeline::of(&app.daemon, entry)).collect();
    let broken = catalog
        .broken()
        .map(|broken| BrokenFile { file: broken.located.shown.clone(), report: broken.report.clone() })
        .collect();
    Ok(Json(Pipelines { items: items?, broken }))
}

/// Describes a pipeline.
#[utoipa::path(get, path = "/api/v1/pipelines/{name}", params(("name" = String, Path)),
    responses((status = 200, body = Pipeline), (status = 404, body = Problem)))]
async fn one(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Pipeline>, Problem> {
    let entry = app.daemon.entry(&name)?;
    Ok(Json(Pipeline::of(&app.daemon, &entry)?))
}

/// What a run is asked to do.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Submit {
    /// Params that are not to have their defaults.
    params: BTreeMap<String, serde_json::Value>,
    /// Only these stages and what they need; none: all.
    stages: Vec<String>,
    /// Only these, without what they need.
    only: Vec<String>,
    /// These and all that comes after them are executed whatever checkpoints there are.
    from: Vec<String>,
    /// `true`: everything is executed; a list: these stages.
    #[schema(value_type = Option<Object>)]
    force: Option<ForceWords>,
    /// Effects that are known to have taken place are done again.
    force_effects: bool,
    /// After a failure, all is made that does not depend on it.
    keep_going: bool,
    /// Fails when anything would be executed.
    frozen: bool,
    /// Undoes the run's effects when it fails for good.
    rollback: bool,
    /// Cpus in all.
    jobs: Option<u32>,
    /// Runs with a greater one leave the queue first.
    priority: i64,
    /// The run's logical time, RFC 3339; now where it is left out.
    logical_time: Option<String>,
    /// The stretch of time that it is about.
    interval: Option<IntervalWords>,
    /// It does not begin before this time, RFC 3339.
    not_before: Option<String>,
    /// Says that a person asked, at a terminal or on a page.
    by_hand: bool,
    /// The pipeline's file, relative to the project, where only a certain text of it is to be run; with `definition`.
    file: Option<String>,
    /// The digest of that text, as runs have it.
    definition: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ForceWords {
    All(bool),
    Stages(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct IntervalWords {
    start: String,
    end: String,
}

fn instant(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let time: jiff::Timestamp = text.parse().map_err(|error| {
        Problem::bad(format!("`{name}`: {error}")).help("write it as `2026-01-31T06:00:00Z`")
    })?;
    Ok(Timestamp(time.as_millisecond()))
}

/// Reads which text of a pipeline is to be run.
pub(super) fn text_of(file: Option<&String>, definition: Option<&String>) -> Result<Option<Text>, Problem> {
    match (file, definition) {
        (None, None) => Ok(None),
        (Some(file), Some(definition)) => {
            let definition =
                definition.parse().map_err(|error| Problem::bad(format!("`definition`: {error}")))?;
            Ok(Some(Text { file: file.clone(), definition }))
        }
        _ => Err(Problem::bad("`file` and `definition` go together")),
    }
}

/// Reads params: as texts, as a command line has them.
pub(super) fn params_of(
    params: BTreeMap<String, serde_json::Value>,
) -> Result<Vec<(String, String)>, Problem> {
    let text = |(name, value): (String, serde_json::Value)| match value {
        serde_json::Value::String(text) => Ok((name, text)),
        value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => Ok((name, value.to_string())),
        _ => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("param `{name}` is neither a text, nor a number, nor true or false"),
        )),
    };
    params.into_iter().map(text).collect()
}

/// Cpus at most, as the command line has it.
const JOBS_MAX: u32 = 10_000;

/// Reads `jobs`.
pub(super) fn jobs_of(jobs: Option<u32>) -> Result<Option<u32>, Problem> {
    if jobs.is_some_and(|jobs| jobs == 0 || jobs > JOBS_MAX) {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`jobs` is 1 to {JOBS_MAX}")));
    }
    Ok(jobs)
}

impl Submit {
    fn order(self, pipeline: Name) -> Result<Order, Problem> {
        let target = match (self.stages.is_empty(), self.only.is_empty()) {
            (true, true) => Target::All,
            (false, true) => Target::Named(self.stages),
            (true, false) => Target::Only(self.only),
            (false, false) => return Err(Problem::bad("`stages` and `only` exclude each other")),
        };
        let force = match self.force {
            None | Some(ForceWords::All(false)) => Force::None,
            Some(ForceWords::All(true)) => Force::All,
            Some(ForceWords::Stages(stages)) => Force::Named(stages),
        };
        let params = params_of(self.params)?;
        let interval = self.interval.map(|words| {
            let (start, end) =
                (instant("interval.start", &words.start)?, instant("interval.end", &words.end)?);
            if start >= end {
                return Err(Problem::bad("the interval ends before it starts"));
            }
            Ok(Interval { start, end })
        });
        let trigger = if self.by_hand { TriggerKind::Hand } else { TriggerKind::Api };
        Ok(Order {
            pipeline,
            asked: Asked {
                request: Request { target, from: self.from, force },
                jobs: jobs_of(self.jobs)?,
                keep_going: self.keep_going,
                frozen: self.frozen,
                force_effects: self.force_effects,
                rollback: self.rollback,
                params,
                interval: interval.transpose()?,
                caller: None,
            },
            logical_time: self.logical_time.map(|text| instant("logical_time", &text)).transpose()?,
            priority: self.priority,
            trigger: Trigger { kind: trigger, detail: String::new() },
            not_before: self.not_before.map(|text| instant("not_before", &text)).transpose()?,
        })
    }
}

/// Characters of an idempotency key at most.
const KEY_MAX: usize = 255;

/// Returns the key of a request; the draft has it as a quoted string, and people send it bare.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").into_iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::bad("there are several `Idempotency-Key`"));
    }
    let text = value.to_str().map_err(|_| Problem::bad("`Idempotency-Key` is not ASCII"))?.trim();
    let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if key.is_empty() || key.len() > KEY_MAX {
        return Err(Problem::bad(format!("`Idempotency-Key` has 1 to {KEY_MAX} characters")));
    }
    Ok(Some(key.to_owned()))
}

/// Asks for a run.
///
/// With `Idempotency-Key` the same request makes one run, however often it comes: the answer is the first one's. The same
/// key with another request is an error (422), and so is one whose first request has not been answered yet (409).
#[utoipa::path(post, path = "/api/v1/pipelines/{name}/runs", request_body = Submit,
    params(("name" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "Names the request, for a second try")),
    responses(
        (status = 201, body = Run), (status = 200, body = Run, description = "It was asked for before"),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
async fn submit(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Body(submit): Body<Submit>,
) -> Result<impl IntoResponse, Problem> {
    let key = idempotency_key(&headers)?;
    let text = text_of(submit.file.as_ref(), submit.definition.as_ref())?;
    // As W3C Trace Context has it: one that cannot be read counts as none.
    let caller = headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse().ok());
    let daemon = Arc::clone(&app.daemon);
    let submitted = blocking(move || -> Result<_, Problem> {
        let unknown = || SubmitError::UnknownPipeline { name: name.clone() };
        let mut order = submit.order(name.parse().map_err(|_| unknown())?)?;
        order.asked.caller = caller;
        Ok(daemon.submit_text(&order, text.as_ref(), key.as_deref())?)
    });
    let submitted = submitted.await?;
    let run = submitted.run;
    let (record, ticket) = (app.daemon.store().run(run)?, app.daemon.store().ticket(run)?);
    let body = Run::of(run, record.as_ref(), ticket.as_ref())
        .ok_or_else(|| Problem::unknown(format!("run {} is gone", run.short())))?;
    let status = if submitted.existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, [(header::LOCATION, format!("/api/v1/runs/{run}"))], Json(body)))
}

/// Why a schedule is paused.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Why {
    why: String,
}

/// Pauses a pipeline's schedule: it starts nothing by itself until it is taken up again.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}/pause", request_body = Why, params(("name" = String, Path)),
    responses((status = 200, body = Pipeline), (status = 404, body = Problem)))]
async fn pause(
    State(app): State<App>,
    Path(name): Path<String>,
    Body(Why { why }): Body<Why>,
) -> Result<Json<Pipeline>, Problem> {
    let why = if why.is_empty() { "by hand".to_owned() } else { why };
    let entry = app.daemon.entry(&name)?;
    let (daemon, pipeline) = (Arc::clone(&app.daemon), entry.name.clone());
    blocking(move || daemon.pause(&pipeline, why)).await?;
    Ok(Json(Pipeline::of(&app.daemon, &entry)?))
}

/// Takes a pipeline's schedule up again. What came due meanwhile goes by its `catchup`.
#[utoipa::path(post, path = "/api/v1/pipelines/{name}/unpause", params(("name" = String, Path)),
    responses((status = 200, body = Pipeline), (status = 404, body = Problem)))]
async fn unpause(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Pipeline>, Problem> {
    let entry = app.daemon.entry(&name)?;
    let (daemon, pipeline) = (Arc::clone(&app.daemon), entry.name.clone());
    blocking(move || daemon.unpause(&pipeline)).await?;
    Ok(Json(Pipeline::of(&app.daemon, &entry)?))
}

/// What came of a call.
#[derive(Debug, Serialize, ToSchema)]
struct Called {
    /// The runs that it starts; none where the same body came last time.
    runs: Vec<String>,
}

/// Calls a webhook sensor. Its body is the content: the same one twice in a row is one event.
#[utoipa::path(post, path = "/api/v1/hooks/{name}", params(("name" = String, Path)), request_body = String,
    responses((status = 200, body = Called), (status = 404, body = Problem)))]
async fn hook(
    State(app): State<App>,
    Path(name): Path<String>,
    Raw(body): Raw,
) -> Result<Json<Called>, Problem> {
    let unknown = || SubmitError::UnknownHook { name: name.clone() };
    let hook: Name = name.parse().map_err(|_| unknown())?;
    let daemon = Arc::clone(&app.daemon);
    let runs = blocking(move || daemon.called(&hook, &body)).await?;
    Ok(Json(Called { runs: runs.iter().map(ToString::to_string).collect() }))
}
