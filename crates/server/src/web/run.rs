//! `/runs/{id}`: one run, as it goes.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use cairn_dag::Pipeline;
use cairn_model::{AttemptId, InstanceName, Name, RunId, RunStatus, Timestamp};
use cairn_scheduler::history::{History, InstanceHistory};
use cairn_scheduler::launch::{Asked, asked_for, interval_of, words_that_select};
use cairn_scheduler::select::{Force, Request};
use cairn_store::{RunRecord, Ticket, Trigger, TriggerKind};
use serde::Deserialize;

use super::backfill;
use super::form::{self, Form, field};
use super::log;
use super::markup::{Markup, url_part};
use super::picture::{self, Dress, Shape};
use super::runs::{self, Row};
use super::shell::{Fault, Place, Shell, page};
use super::state::{self, Look, WAITING};
use super::timeline::Timeline;
use super::words;
use crate::api::{App, Problem, find_run, find_run_here};
use crate::carry_out::blocking;
use crate::daemon::Daemon;
use crate::pauses;
use crate::submit::{Ending, Order, Otherwise};

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/runs/{run}", get(one))
        .route("/runs/{run}/cancel", post(cancel))
        .route("/runs/{run}/resume", post(resume))
        .route("/runs/{run}/rerun", post(rerun))
}

/// All that is known of a run.
pub(super) struct Seen {
    pub(super) run: RunId,
    pub(super) record: Option<RunRecord>,
    pub(super) ticket: Option<Ticket>,
    pub(super) look: Look,
    pub(super) goes_on: bool,
    pub(super) events: Vec<(u64, cairn_model::Event)>,
    pub(super) history: History,
    pub(super) pipeline: Option<Arc<Pipeline>>,
}

impl Seen {
    pub(super) fn read(app: &App, text: &str) -> Result<Self, Problem> {
        let run = find_run_here(&app.daemon, text)?;
        let seen = Self::once(app, run)?;
        let is_cut_off = |record: &RunRecord| record.status == RunStatus::Running;
        if !seen.goes_on && seen.record.as_ref().is_some_and(is_cut_off) {
            // Its record was read, it ended, and then it was not among those that go on: a second look tells.
            return Self::once(app, run);
        }
        Ok(seen)
    }

    fn once(app: &App, run: RunId) -> Result<Self, Problem> {
        let daemon = &app.daemon;
        let (record, ticket) = (daemon.store().run(run)?, daemon.store().ticket(run)?);
        let events = daemon.store().events(run)?;
        let look = runs::standing(daemon, run, record.as_ref(), ticket.as_ref());
        Ok(Self {
            run,
            look,
            goes_on: look == Look::of_run(RunStatus::Running),
            history: History::of(events.iter().map(|(_, event)| event)),
            pipeline: app.known.of_run(daemon, run, record.as_ref(), ticket.as_ref()),
            events,
            record,
            ticket,
        })
    }

    /// Returns the pipeline's name.
    pub(super) fn name(&self) -> String {
        let name = self.record.as_ref().map(|record| &record.pipeline);
        name.or(self.ticket.as_ref().map(|ticket| &ticket.pipeline)).map_or_else(String::new, Name::to_string)
    }

    /// Returns how an instance looks; one that was not heard of waits.
    pub(super) fn look_of(&self, instance: &InstanceName) -> Look {
        match self.history.instance(instance) {
            Some(heard) => Look::of_state(&heard.state, self.goes_on),
            None if self.goes_on || self.look == state::QUEUED => WAITING,
            None => Look { class: "wait", sign: "–", word: "no turn" },
        }
    }

    /// Returns the instances that take part, in the order of the pipeline.
    pub(super) fn instances(&self) -> Vec<&InstanceName> {
        let heard = self.history.instances.iter().map(|heard| &heard.name);
        match &self.pipeline {
            None => heard.collect(),
            // Where only some were asked for, the others are not heard of, and are not spoken of.
            Some(pipeline) => {
                let total = self.history.instances_total as usize;
                let all = self.events.is_empty() || total >= pipeline.instances.len();
                let known = pipeline.instances.iter().map(|instance| &instance.name);
                known.filter(|name| all || self.history.instance(name).is_some()).collect()
            }
        }
    }
}

/// Returns the address of an instance's page.
pub(super) fn instance_href(run: RunId, instance: &InstanceName) -> String {
    format!("/runs/{run}/stages/{}", url_part(&instance.to_string()))
}

struct StageRow {
    /// The stage, on the first row of each: where the graph leads to.
    anchor: Option<String>,
    name: String,
    href: String,
    pill: Markup,
    class: &'static str,
    reason: String,
    tries: String,
    took: String,
    bars: Markup,
}

struct Wrong {
    name: String,
    href: String,
    pill: Markup,
    reason: String,
    help: Option<String>,
    tail: Markup,
}

/// An instance that runs, and the end of what it printed so far.
struct Going {
    name: String,
    href: String,
    tail: Markup,
}

#[derive(Template)]
#[template(path = "run.html")]
#[expect(clippy::struct_excessive_bools, reason = "each is a question that the template asks")]
struct RunPage {
    shell: Shell,
    row: Row,
    id: String,
    goes_on: bool,
    queued: bool,
    /// Whether it was asked to end.
    ending: bool,
    started: Markup,
    clock: Markup,
    took: String,
    saved: Option<String>,
    logical_time: Markup,
    interval: Option<String>,
    params: Vec<(String, String)>,
    selection: Vec<String>,
    file: String,
    version: Option<String>,
    wrong: Vec<Wrong>,
    going: Vec<Going>,
    stages: Vec<StageRow>,
    left_out: usize,
    scale: Markup,
    graph: Markup,
    /// The stages of many instances: the words of a link, and what it asks for.
    folds: Vec<(String, String)>,
    counts: Markup,
    done: usize,
    total: usize,
    in_catalog: bool,
    /// The backfill that it is part of.
    backfill: Option<String>,
}

/// Instances that a page lists; those that ask for attention come first where there are more.
const STAGES_MAX: usize = 400;
/// Failures that are shown with the ends of their logs.
const WRONG_MAX: usize = 5;
const TAIL_LINES: usize = 12;
/// Instances that run and are shown with the ends of their logs.
const GOING_MAX: usize = 2;
const GOING_LINES: usize = 6;

#[derive(Deserialize)]
struct Wanted {
    /// A stage whose instances have nodes of their own in the graph.
    #[serde(default)]
    unfold: String,
}

async fn one(
    State(app): State<App>,
    Path(run): Path<String>,
    Query(Wanted { unfold }): Query<Wanted>,
) -> Result<Response, Fault> {
    page(move || {
        let seen = Seen::read(&app, &run)?;
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let until = seen.goes_on.then_some(now);
        let row = Row::of(daemon, seen.run, seen.record.as_ref(), seen.ticket.as_ref(), now)
            .ok_or_else(|| Problem::unknown(format!("there is no run `{}`", seen.run.short())))?;
        let timeline = Timeline::of(&seen.events, seen.goes_on);
        let names = seen.instances();
        let mut stages: Vec<StageRow> =
            names.iter().map(|name| stage_row(daemon, &seen, name, &timeline, until)).collect();
        let left_out = stages.len().saturating_sub(STAGES_MAX);
        if left_out > 0 {
            stages.sort_by_key(|stage| matches!(stage.class, "fresh" | "good" | "wait"));
            stages.truncate(STAGES_MAX);
        }
        let mut anchored = std::collections::BTreeSet::new();
        for stage in &mut stages {
            let of = stage.name.split('[').next().unwrap_or_default().to_owned();
            stage.anchor = anchored.insert(of.clone()).then_some(of);
        }
        let done = names.iter().filter(|name| is_over(&seen, name)).count();
        let words = seen.record.as_ref().map(|record| record.selection.as_slice());
        let interval = words
            .and_then(interval_of)
            .or_else(|| seen.ticket.as_ref().and_then(|ticket| ticket.interval))
            .map(|interval| format!("{} – {}", words::clock(interval.start), words::clock(interval.end)));
        let (params, selection, file, logical) = match (&seen.record, &seen.ticket) {
            (Some(record), _) => {
                let selected = words_that_select(&record.selection);
                (record.params.clone(), selected, record.file.clone(), record.logical_time)
            }
            (None, Some(ticket)) => {
                let selected = words_that_select(&ticket.selection);
                (ticket.params.clone(), selected, ticket.file.clone(), ticket.logical_time)
            }
            (None, None) => (Vec::new(), Vec::new(), String::new(), now),
        };
        let took = if seen.goes_on {
            seen.record.as_ref().map_or(0, |record| now.millis_since(record.started))
        } else {
            seen.history.took_in_all_ms()
        };
        let title = format!("{} · {} {}", seen.name(), row.look.word, row.short);
        // One that was cut off is taken up again: only what has ended stays as it is.
        let is_over = seen.record.as_ref().is_some_and(|record| record.ended.is_some());
        let live = if seen.goes_on || row.look == state::QUEUED || !is_over {
            format!("/live/{}", seen.run)
        } else {
            String::new()
        };
        Ok(RunPage {
            id: seen.run.to_string(),
            goes_on: seen.goes_on,
            queued: row.look == state::QUEUED,
            ending: seen.goes_on && seen.ticket.as_ref().is_some_and(|ticket| ticket.cancel.is_some()),
            started: words::when(row.at, now),
            clock: words::at_clock(row.at),
            took: if row.look == state::QUEUED { String::new() } else { words::took(took) },
            saved: seen
                .record
                .as_ref()
                .map(|record| record.saved_ms)
                .filter(|saved| *saved >= 10)
                .map(words::took),
            logical_time: words::at_clock(logical),
            interval,
            params,
            selection,
            file,
            version: seen.record.as_ref().map(|record| record.cairn_version.clone()),
            wrong: wrong(&app, &seen),
            going: going(&app, &seen),
            scale: timeline.scale(until),
            graph: graph(&seen, &unfold),
            folds: seen.pipeline.as_deref().map_or_else(Vec::new, |pipeline| folds(pipeline, &unfold)),
            counts: state::counts(seen.history.counts()),
            done,
            total: names.len(),
            backfill: seen
                .ticket
                .as_ref()
                .filter(|ticket| ticket.trigger.kind == TriggerKind::Backfill)
                .map(|ticket| backfill::href(ticket.pipeline.as_str(), seen.run)),
            in_catalog: daemon.entry(&seen.name()).is_ok(),
            shell: Shell::new(daemon, Place::Runs, title, live),
            stages,
            left_out,
            row,
        })
    })
    .await
}

fn is_over(seen: &Seen, name: &InstanceName) -> bool {
    seen.history.instance(name).is_some_and(|heard| heard.state.outcome().is_some())
}

fn stage_row(
    daemon: &Daemon,
    seen: &Seen,
    name: &InstanceName,
    timeline: &Timeline,
    until: Option<Timestamp>,
) -> StageRow {
    let heard = seen.history.instance(name);
    let look = seen.look_of(name);
    let running = look.class == "run";
    let took = heard.filter(|heard| heard.attempts > 0).and_then(|heard| match until {
        Some(now) if running => heard.started.map(|started| now.millis_since(started)),
        _ => heard.took_ms,
    });
    StageRow {
        anchor: None,
        name: name.to_string(),
        href: instance_href(seen.run, name),
        pill: look.pill(),
        class: look.class,
        reason: match daemon.pauses.of(seen.run, name) {
            Some(pause) => first_line(&pauses::words(&pause, &words::clock(pauses::until(&pause)))),
            None => heard.map_or_else(String::new, |heard| first_line(&heard.reason)),
        },
        tries: heard.map_or_else(String::new, |heard| match heard.attempts {
            0 | 1 => String::new(),
            tries => format!("{tries} tries"),
        }),
        took: took.map_or_else(String::new, words::took),
        bars: timeline.bars(name, until),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Returns the end of what an instance printed last.
fn tail(app: &App, run: RunId, heard: &InstanceHistory, lines: usize) -> Markup {
    heard.last_attempt.map_or_else(Markup::default, |number| {
        let attempt = AttemptId { run, instance: heard.name.clone(), number };
        log::tail(&log::path(&app.daemon.state, &attempt), lines)
    })
}

fn going(app: &App, seen: &Seen) -> Vec<Going> {
    let runs = |heard: &&InstanceHistory| Look::of_state(&heard.state, seen.goes_on).class == "run";
    let going = seen.history.instances.iter().filter(runs).take(GOING_MAX).map(|heard| Going {
        name: heard.name.to_string(),
        href: instance_href(seen.run, &heard.name),
        tail: tail(app, seen.run, heard, GOING_LINES),
    });
    going.filter(|going| !going.tail.is_empty()).collect()
}

fn wrong(app: &App, seen: &Seen) -> Vec<Wrong> {
    let bad = |heard: &&InstanceHistory| {
        matches!(Look::of_state(&heard.state, seen.goes_on).class, "bad" | "doubt")
    };
    seen.history
        .instances
        .iter()
        .filter(bad)
        .take(WRONG_MAX)
        .map(|heard| Wrong {
            name: heard.name.to_string(),
            href: instance_href(seen.run, &heard.name),
            pill: Look::of_state(&heard.state, seen.goes_on).pill(),
            reason: heard.reason.clone(),
            help: heard.help.clone(),
            tail: tail(app, seen.run, heard, TAIL_LINES),
        })
        .collect()
}

/// Returns a link for each stage whose instances are one node, or were: it unfolds or folds it, or leads to the table where
/// they are too many for the graph.
fn folds(pipeline: &Pipeline, unfold: &str) -> Vec<(String, String)> {
    let link = |(stage, count): (String, usize)| {
        if count > picture::UNFOLDED_MAX {
            (format!("{stage} ×{count}: too many to unfold, listed in the table"), "#stages".to_owned())
        } else if stage == unfold {
            (format!("Fold {stage}"), "?#graph".to_owned())
        } else {
            (format!("Unfold {stage} ×{count}"), format!("?unfold={}#graph", url_part(&stage)))
        }
    };
    picture::foldable(pipeline).into_iter().map(link).collect()
}

/// Draws the graph of a run with the states of its nodes.
fn graph(seen: &Seen, unfold: &str) -> Markup {
    let Some(pipeline) = &seen.pipeline else { return Markup::default() };
    let shape = Shape::of(pipeline, unfold);
    let dress = |node: &picture::Node| {
        let names: Vec<&InstanceName> =
            node.instances.iter().map(|at| &pipeline.instances[*at].name).collect();
        let looks: Vec<Look> = names.iter().map(|name| seen.look_of(name)).collect();
        let look = looks.iter().copied().max_by_key(|look| look.weight()).unwrap_or(WAITING);
        if let [only] = names.as_slice() {
            let heard = seen.history.instance(only);
            let took =
                heard.filter(|heard| heard.attempts > 0).and_then(|heard| heard.took_ms).map(words::took);
            let note = took.map_or_else(|| look.word.to_owned(), |took| format!("{} · {took}", look.word));
            return Dress { look, note, href: instance_href(seen.run, only) };
        }
        let mut counted: HashMap<&str, usize> = HashMap::new();
        for look in &looks {
            *counted.entry(look.word).or_default() += 1;
        }
        let mut counted: Vec<(&str, usize)> = counted.into_iter().collect();
        counted.sort_by_key(|(word, count)| (std::cmp::Reverse(*count), *word));
        let note: Vec<String> = counted.iter().map(|(word, count)| format!("{count} {word}")).collect();
        Dress { look, note: note.join(", "), href: format!("#stage-{}", node.stage) }
    };
    picture::draw(&shape, pipeline.name.as_str(), &dress)
}

async fn cancel(
    State(app): State<App>,
    Path(run): Path<String>,
    headers: HeaderMap,
    Form(fields): Form,
) -> Result<Response, Fault> {
    let run = find_run(&app.daemon, &run).await?;
    // Each button says what it does, so that one that is pressed twice does it once.
    let ending = if field(&fields, "how") == "now" { Ending::Now } else { Ending::Gently };
    blocking(move || app.daemon.cancel(run, ending, "by hand, on the page")).await?;
    Ok(form::back(&headers, &runs::href(run)).into_response())
}

async fn resume(State(app): State<App>, Path(run): Path<String>) -> Result<Response, Fault> {
    let run = find_run(&app.daemon, &run).await?;
    let trigger = Trigger { kind: TriggerKind::Hand, detail: "resumed on the page".to_owned() };
    blocking(move || app.daemon.resume(run, trigger, &Otherwise::default())).await?;
    Ok(Redirect::to(&runs::href(run)).into_response())
}

/// Asks for a run like this one, with the definition in force; or for all from one stage on.
async fn rerun(
    State(app): State<App>,
    Path(run): Path<String>,
    Form(fields): Form,
) -> Result<Response, Fault> {
    let run = find_run(&app.daemon, &run).await?;
    let (daemon, from) = (Arc::clone(&app.daemon), field(&fields, "from").to_owned());
    let submitted = blocking(move || -> Result<RunId, Problem> {
        let (record, ticket) = (daemon.store().run(run)?, daemon.store().ticket(run)?);
        let (pipeline, asked, logical_time) = match (record, ticket) {
            (Some(record), _) => {
                let asked = asked_for(&record.selection, &record.options, &record.params);
                (record.pipeline, asked, record.logical_time)
            }
            (None, Some(ticket)) => {
                let asked = asked_for(&ticket.selection, &ticket.options, &ticket.params);
                (ticket.pipeline, asked, ticket.logical_time)
            }
            (None, None) => return Err(Problem::unknown(format!("there is no run `{}`", run.short()))),
        };
        let asked = if from.is_empty() {
            asked
        } else {
            let request = Request { from: vec![from], force: Force::None, ..asked.request };
            Asked { request, ..asked }
        };
        let order = Order {
            pipeline,
            // One without an interval is about now.
            logical_time: asked.interval.map(|_| logical_time),
            asked,
            priority: 0,
            trigger: Trigger { kind: TriggerKind::Hand, detail: format!("again, as run {}", run.short()) },
            not_before: None,
        };
        Ok(daemon.submit(&order, None)?.run)
    })
    .await?;
    Ok(Redirect::to(&runs::href(submitted)).into_response())
}
