//! `/pipelines/{name}`: one pipeline: its runs as a grid, its graph, its schedule, its text, and the form that runs it.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use cairn_model::{InstanceName, Name, Outcome};
use cairn_scheduler::history::History;
use cairn_scheduler::launch::Asked;
use cairn_scheduler::select::{Force, Request, Target};
use cairn_store::{Trigger, TriggerKind};

use super::attention::{self, Trouble};
use super::backfill;
use super::form::{self, Fields, Form, field};
use super::heat::{self, Heat};
use super::live::looks_again;
use super::markup::{Markup, url_part};
use super::picture::{self, Dress, Node, Shape};
use super::pipelines::STRIP;
use super::run::instance_href;
use super::runs::{self, Row};
use super::schedule::{self, Past, next_run};
use super::shell::{Fault, Place, Shell, page, show};
use super::state::{Look, WAITING};
use super::trend;
use super::words;
use crate::api::{App, Problem};
use crate::carry_out::blocking;
use crate::catalog::Entry;
use crate::submit::{Order, SubmitError};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/pipelines/{name}", get(one))
        .route("/pipelines/{name}/runs", get(to_form).post(submit))
}

struct ParamField {
    name: String,
    kind: &'static str,
    default: String,
    input: Markup,
}

struct GridRow {
    stage: String,
    description: String,
    cells: Vec<Option<(Look, String, String)>>,
}

#[derive(Template)]
#[template(path = "pipeline.html")]
struct PipelinePage {
    shell: Shell,
    name: String,
    description: String,
    file: String,
    size: String,
    broken: Option<String>,
    /// Sensors that see nothing, or not all: each with what is in its way.
    sensors_failing: Vec<(String, Vec<String>)>,
    warnings: String,
    /// The circle in which it follows itself, empty where it does not.
    circle: String,
    paused: Option<(String, Markup)>,
    failures: u32,
    schedule: String,
    catchup: &'static str,
    overlap: &'static str,
    next: Option<(Markup, Markup)>,
    past: Vec<Past>,
    /// What went wrong in the last run.
    trouble: Option<Trouble>,
    rows: Vec<Row>,
    columns: Vec<(String, String, String, Look)>,
    grid: Vec<GridRow>,
    graph: Markup,
    trend: Markup,
    params: Vec<ParamField>,
    stage_names: Vec<String>,
    /// The lines of its text, numbered.
    text: Vec<String>,
    /// Why the form was refused.
    refused: Option<(String, Option<String>)>,
    dead: Option<String>,
    rate: String,
    has_intervals: bool,
    heat: Heat,
}

/// Past times of the schedule that are shown.
const PAST: usize = 15;

async fn one(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let again = looks_again(&headers);
    page(move || {
        let entry = app.daemon.entry(&name)?;
        let page = read(&app, &entry, &Vec::new(), None)?;
        let heat = if again {
            Heat::default()
        } else {
            heat::read(
                &app.daemon,
                std::slice::from_ref(&entry),
                entry.name.as_str(),
                app.daemon.clock.now(),
            )?
        };
        Ok(PipelinePage { heat, ..page })
    })
    .await
}

#[expect(clippy::too_many_lines, reason = "it fills one page, field by field")]
fn read(
    app: &App,
    entry: &Arc<Entry>,
    given: &Fields,
    refused: Option<(String, Option<String>)>,
) -> Result<PipelinePage, Fault> {
    let daemon = &app.daemon;
    let (store, now) = (daemon.store(), daemon.clock.now());
    // The answer to a form is not looked at again: that would send the form.
    let live = if refused.is_some() { "" } else { "/live" };
    let rows = runs::newest(daemon, &|name: &Name| *name == entry.name, STRIP)?;
    let mut histories: Vec<History> = Vec::with_capacity(rows.len());
    for row in &rows {
        let events = store.events(row.run)?;
        histories.push(History::of(events.iter().map(|(_, event)| event)));
    }
    let in_force = picture::in_force(entry, now);
    let standing = store.schedule(&entry.name)?;
    let graph = in_force.as_ref().map_or_else(Markup::default, |pipeline| {
        let shape = Shape::of(pipeline, "");
        let dress = |node: &Node| {
            let names: Vec<&InstanceName> =
                node.instances.iter().map(|at| &pipeline.instances[*at].name).collect();
            let (look, href) = stage_look(&node.stage, rows.first(), histories.first(), &names);
            let look = look.unwrap_or(Look { word: "not run yet", ..WAITING });
            Dress {
                look,
                note: look.word.to_owned(),
                href: href.unwrap_or_else(|| format!("#grid-{}", node.stage)),
            }
        };
        picture::draw(&shape, entry.name.as_str(), &dress)
    });
    let mut descriptions: HashMap<&str, &str> = HashMap::new();
    if let Some(pipeline) = &in_force {
        descriptions
            .extend(pipeline.stages.iter().map(|stage| (stage.name.as_str(), stage.description.as_str())));
    }
    let grid = entry
        .stages
        .iter()
        .map(|stage| GridRow {
            stage: stage.to_string(),
            description: descriptions.get(stage.as_str()).copied().unwrap_or_default().to_owned(),
            cells: rows
                .iter()
                .zip(&histories)
                .rev()
                .map(|(row, history)| cell(stage, row, history))
                .collect(),
        })
        .collect();
    let columns =
        rows.iter().rev().map(|row| (row.short.clone(), row.href.clone(), row.label(), row.look)).collect();
    let ended = rows.iter().filter(|row| row.took_ms.is_some()).count();
    let good = rows.iter().filter(|row| row.look.class == "good").count();
    let value = |name: &str, default: &cairn_dag::ParamValue| {
        let typed = field(given, &format!("param-{name}"));
        if typed.is_empty() { default.to_string() } else { typed.to_owned() }
    };
    let params = entry
        .params
        .iter()
        .map(|(name, default)| ParamField {
            name: name.clone(),
            kind: default.type_name(),
            default: default.to_string(),
            input: form::param(name, default, &value(name, default)),
        })
        .collect();
    let schedule = entry.schedule.as_ref();
    Ok(PipelinePage {
        shell: Shell::new(daemon, Place::Pipelines, entry.name.to_string(), live),
        name: entry.name.to_string(),
        description: entry.description.clone(),
        file: entry.located.shown.clone(),
        size: if entry.instances == entry.stages.len() {
            words::count(entry.stages.len(), "stage")
        } else {
            let stages = words::count(entry.stages.len(), "stage");
            format!("{stages}, {}", words::count(entry.instances, "instance"))
        },
        broken: entry.broken.clone(),
        sensors_failing: daemon
            .troubles
            .of(&entry.name)
            .into_iter()
            .map(|(sensor, trouble)| {
                let blind = trouble.cannot_look.map(|why| format!("it cannot look: {why}"));
                let over = trouble.passed_over;
                let more = Some(over.unnamed()).filter(|more| *more > 0);
                let more = more.map(|more| format!("it passes over {}", words::count(more, "other file")));
                let over = over.named.into_iter().map(|why| format!("it passes over: {why}"));
                (sensor, blind.into_iter().chain(over).chain(more).collect())
            })
            .collect(),
        warnings: entry.warnings.clone(),
        circle: cairn_dag::circle_text(&entry.circle),
        paused: standing.paused.map(|(since, why)| (why, words::when(since, now))),
        failures: standing.failures,
        schedule: schedule.map_or_else(String::new, words::schedule),
        catchup: schedule.map_or("", |schedule| schedule.catchup.as_str()),
        overlap: schedule.map_or("", |schedule| schedule.overlap.as_str()),
        next: next_run(entry, now).map(|at| (words::when(at, now), words::at_clock(at))),
        past: schedule::past(daemon, &entry.name, PAST, now)?,
        has_intervals: backfill::has_intervals(entry),
        heat: Heat::default(),
        columns,
        grid,
        graph,
        trend: trend::draw(&rows),
        params,
        stage_names: entry.stages.iter().map(Name::to_string).collect(),
        text: String::from_utf8_lossy(&entry.text).lines().map(str::to_owned).collect(),
        refused,
        dead: Some(usize::try_from(store.dead_counts(&entry.name)?.total()).unwrap_or(usize::MAX))
            .filter(|count| *count > 0)
            .map(|count| words::count(count, "dead letter")),
        rate: if ended == 0 {
            String::new()
        } else {
            format!("{good} of the last {} succeeded", words::count(ended, "run"))
        },
        trouble: rows.first().map(|row| attention::trouble(daemon, row, true)).transpose()?.flatten(),
        rows,
    })
}

/// Returns how a stage ended in a run: of several instances the one that asks most for attention, and its page.
fn cell(stage: &Name, row: &Row, history: &History) -> Option<(Look, String, String)> {
    let goes_on = row.look.class == "run";
    let worst = history
        .instances
        .iter()
        .filter(|heard| heard.name.stage() == stage)
        .max_by_key(|heard| Look::of_state(&heard.state, goes_on).weight())?;
    let look = Look::of_state(&worst.state, goes_on);
    let several = history.instances.iter().filter(|heard| heard.name.stage() == stage).count();
    let detail = if several > 1 {
        let done = history
            .instances
            .iter()
            .filter(|heard| {
                heard.name.stage() == stage && heard.state.outcome().is_some_and(Outcome::is_done)
            })
            .count();
        format!(", {done} of {several} done")
    } else {
        String::new()
    };
    let label = format!("{stage} in run {}: {}{detail}", row.short, look.word);
    Some((look, instance_href(row.run, &worst.name), label))
}

fn stage_look(
    stage: &str,
    row: Option<&Row>,
    history: Option<&History>,
    names: &[&InstanceName],
) -> (Option<Look>, Option<String>) {
    let (Some(row), Some(history)) = (row, history) else { return (None, None) };
    let goes_on = row.look.class == "run";
    let heard = names.iter().filter_map(|name| history.instance(name));
    let worst = heard.max_by_key(|heard| Look::of_state(&heard.state, goes_on).weight());
    let href = match names {
        [only] if history.instance(only).is_some() => Some(instance_href(row.run, only)),
        _ => Some(format!("#grid-{stage}")),
    };
    (worst.map(|worst| Look::of_state(&worst.state, goes_on)), href)
}

/// Whoever comes back to the address of a form that was refused is led to the form.
async fn to_form(Path(name): Path<String>) -> Redirect {
    Redirect::to(&format!("/pipelines/{}#run", url_part(&name)))
}

async fn submit(
    State(app): State<App>,
    Path(name): Path<String>,
    Form(fields): Form,
) -> Result<Response, Fault> {
    let entry = app.daemon.entry(&name)?;
    let order = order(&entry, &fields);
    let daemon = Arc::clone(&app.daemon);
    match blocking(move || daemon.submit(&order, None)).await {
        Ok(submitted) => Ok(Redirect::to(&runs::href(submitted.run)).into_response()),
        Err(error @ (SubmitError::Wrong { .. } | SubmitError::Launch(_))) => {
            let (_, _, detail, _, report) = Problem::from(error).into_parts();
            let mut response =
                blocking(move || read(&app, &entry, &fields, Some((detail, report))).map(|page| show(&page)))
                    .await?;
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reads the form: params that are as their defaults are left to these.
fn order(entry: &Entry, fields: &Fields) -> Order {
    let params = entry.params.iter().filter_map(|(name, default)| {
        let typed = fields.iter().find(|(field, _)| field.strip_prefix("param-") == Some(name))?;
        (typed.1 != default.to_string()).then(|| (name.clone(), typed.1.clone()))
    });
    let stages: Vec<String> =
        fields.iter().filter(|(name, _)| name == "stage").map(|(_, stage)| stage.clone()).collect();
    let is_set = |name: &str| !field(fields, name).is_empty();
    Order {
        pipeline: entry.name.clone(),
        asked: Asked {
            request: Request {
                target: if stages.is_empty() { Target::All } else { Target::Named(stages) },
                from: Vec::new(),
                force: if is_set("force") { Force::All } else { Force::None },
            },
            keep_going: is_set("keep_going"),
            params: params.collect(),
            ..Asked::default()
        },
        logical_time: None,
        priority: 0,
        trigger: Trigger { kind: TriggerKind::Hand, detail: "on the page".to_owned() },
        not_before: None,
    }
}
