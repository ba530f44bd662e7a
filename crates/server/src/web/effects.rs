//! `/effects`: what stages did to systems outside; those in doubt are settled here by a person.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use cairn_model::{EffectMode, EffectState, Name, Timestamp};
use cairn_store::Effect;

use super::form::{Form, field};
use super::markup::{Markup, url_part};
use super::newest::Newest;
use super::run::instance_href;
use super::runs;
use super::shell::{Fault, Place, Shell, page};
use super::state::{self, Look};
use super::words;
use crate::api::{App, Problem};
use crate::carry_out::blocking;
use crate::letters::Settles;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/effects", get(list))
        .route("/effects/settle", post(settle))
        .route("/effects/undo", post(undo))
}

struct Line {
    /// Names it among the ids of the page, wherever it stands in the list.
    id: String,
    key: String,
    pipeline: String,
    instance: String,
    instance_href: String,
    run_short: String,
    run_href: String,
    pill: Markup,
    mode: &'static str,
    attempts: u32,
    since: Markup,
    probe: Option<String>,
    error: Option<String>,
    /// Whether it is its undo that is in doubt.
    undoing: bool,
    /// The command that undoes it, where it stands.
    undo: Option<String>,
}

#[derive(Template)]
#[template(path = "effects.html")]
struct EffectsPage {
    shell: Shell,
    doubtful: Vec<Line>,
    others: Vec<Line>,
    more: bool,
}

/// Effects that are known, on the page.
const ROWS: usize = 200;

fn line(pipeline: &Name, key: &str, effect: &Effect, now: Timestamp) -> Line {
    Line {
        id: format!("{pipeline}/{}", url_part(key)),
        key: key.to_owned(),
        pipeline: pipeline.to_string(),
        instance: effect.instance.to_string(),
        instance_href: instance_href(effect.run, &effect.instance),
        run_short: effect.run.short(),
        run_href: runs::href(effect.run),
        pill: if effect.is_drifted() { state::DRIFTED } else { Look::of_effect(effect.state) }.pill(),
        mode: effect.mode.as_str(),
        attempts: effect.attempts,
        since: words::when(effect.settled.unwrap_or(effect.intended), now),
        probe: effect.probe.clone(),
        error: effect.error.clone().or_else(|| effect.drifted.clone()),
        undoing: effect.state == EffectState::Undoing,
        undo: effect.undo.as_ref().filter(|_| can_undo(effect)).map(ToString::to_string),
    }
}

/// Returns whether an effect can be undone: it stands, or its undo was cut off and may be done twice.
fn can_undo(effect: &Effect) -> bool {
    match effect.state {
        EffectState::Confirmed => true,
        EffectState::Undoing => effect.mode == EffectMode::AtLeastOnce,
        _ => false,
    }
}

async fn list(State(app): State<App>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let (mut doubtful, mut others) = (Newest::new(ROWS), Newest::new(ROWS));
        let busy: Vec<Name> = {
            let queue = daemon.queue();
            queue.running().map(|(_, name)| name).chain(queue.occupied()).cloned().collect()
        };
        for row in daemon.store().each_effect() {
            let (pipeline, key, effect) = row?;
            // One that is being undone just now is not in doubt yet.
            let goes_on = effect.state == EffectState::Undoing && busy.contains(&pipeline);
            let part =
                if Settles::Waiting.takes(effect.state) && !goes_on { &mut doubtful } else { &mut others };
            part.offer(effect.intended, || line(&pipeline, &key, &effect, now));
        }
        Ok(EffectsPage {
            shell: Shell::new(daemon, Place::Effects, "Effects", "/live"),
            more: others.left_out() || doubtful.left_out(),
            doubtful: doubtful.into_vec(),
            others: others.into_vec(),
        })
    })
    .await
}

/// Enters what a person found out about an effect in doubt.
async fn settle(State(app): State<App>, Form(fields): Form) -> Result<Response, Fault> {
    let happened = match field(&fields, "happened") {
        "yes" => true,
        "no" => false,
        _ => return Err(Problem::bad("`happened` is `yes` or `no`").into()),
    };
    blocking(move || {
        let (pipeline, key) = (field(&fields, "pipeline"), field(&fields, "key"));
        app.daemon.settle_effect(key, Some(pipeline), happened, Settles::Waiting)
    })
    .await?;
    Ok(Redirect::to("/effects").into_response())
}

/// Undoes an effect that stands, and waits for that.
async fn undo(State(app): State<App>, Form(fields): Form) -> Result<Response, Fault> {
    blocking(move || app.daemon.undo_effect(field(&fields, "key"), Some(field(&fields, "pipeline")))).await?;
    Ok(Redirect::to("/effects").into_response())
}
