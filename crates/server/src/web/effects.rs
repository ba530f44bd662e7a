//! `/effects`: what stages did to systems outside; those in doubt are settled here by a person.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use cairn_model::{EffectState, Name, Timestamp};
use cairn_store::{Batch, Effect};

use super::form::{Fields, field};
use super::markup::Markup;
use super::run::instance_href;
use super::runs;
use super::shell::{Fault, Place, Shell, page};
use super::state::Look;
use super::words;
use crate::api::{App, Problem};
use crate::carry_out::blocking;
use crate::daemon::{Daemon, lock};

pub(super) fn router() -> Router<App> {
    Router::new().route("/effects", get(list)).route("/effects/settle", post(settle))
}

struct Line {
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

/// Whether a person can settle it: one that is being done right now is not touched.
fn is_doubtful(state: EffectState) -> bool {
    matches!(state, EffectState::InDoubt | EffectState::Held)
}

fn line(pipeline: &Name, key: &str, effect: &Effect, now: Timestamp) -> Line {
    Line {
        key: key.to_owned(),
        pipeline: pipeline.to_string(),
        instance: effect.instance.to_string(),
        instance_href: instance_href(effect.run, &effect.instance),
        run_short: effect.run.short(),
        run_href: runs::href(effect.run),
        pill: Look::of_effect(effect.state).pill(),
        mode: effect.mode.as_str(),
        attempts: effect.attempts,
        since: words::when(effect.settled.unwrap_or(effect.intended), now),
        probe: effect.probe.clone(),
        error: effect.error.clone(),
    }
}

async fn list(State(app): State<App>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let mut effects = daemon.store().effects()?;
        effects.sort_by_key(|(.., effect)| std::cmp::Reverse(effect.intended));
        let (doubtful, others): (Vec<_>, Vec<_>) =
            effects.iter().partition(|(.., effect)| is_doubtful(effect.state));
        let lines = |effects: &[&(Name, String, Effect)]| {
            effects
                .iter()
                .take(ROWS)
                .map(|(pipeline, key, effect)| line(pipeline, key, effect, now))
                .collect()
        };
        Ok(EffectsPage {
            shell: Shell::new(daemon, Place::Effects, "Effects", "/live"),
            doubtful: lines(&doubtful),
            more: others.len() > ROWS || doubtful.len() > ROWS,
            others: lines(&others),
        })
    })
    .await
}

/// Enters what a person found out about an effect in doubt.
async fn settle(State(app): State<App>, Form(fields): Form<Fields>) -> Result<Response, Fault> {
    blocking(move || {
        settle_one(&app.daemon, field(&fields, "pipeline"), field(&fields, "key"), field(&fields, "happened"))
    })
    .await?;
    Ok(Redirect::to("/effects").into_response())
}

fn settle_one(daemon: &Daemon, pipeline: &str, key: &str, happened: &str) -> Result<(), Problem> {
    let state = match happened {
        "yes" => EffectState::Confirmed,
        "no" => EffectState::Rejected,
        _ => return Err(Problem::bad("`happened` is `yes` or `no`")),
    };
    let unknown = || Problem::unknown(format!("there is no effect `{key}`"));
    let pipeline: Name = pipeline.parse().map_err(|_| unknown())?;
    let _deciding = lock(&daemon.deciding);
    let effect = daemon.store().effect(&pipeline, key)?.ok_or_else(unknown)?;
    if !is_doubtful(effect.state) {
        let problem = Problem::new(
            axum::http::StatusCode::CONFLICT,
            format!("the effect `{key}` is {} now", effect.state),
        );
        return Err(problem.help("look at it again before you settle it"));
    }
    let settled = Some(daemon.clock.now());
    let mut batch = Batch::new();
    batch.put_effect(&pipeline, key, &Effect { state, settled, error: None, ..effect });
    Ok(daemon.commit(batch)?)
}
