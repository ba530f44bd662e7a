//! Effects in outside systems, and those in doubt.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cairn_executor::UndoError;
use cairn_model::Name;
use cairn_scheduler::outside::FindEffectError;
use cairn_store::Effect as Stored;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Query};
use super::wire::time;
use super::{App, Problem};
use crate::carry_out::blocking;
use crate::daemon::StoreError;
use crate::letters::{SettleError, Settles};
use crate::undo::UndoneError;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(settle)).routes(routes!(undo))
}

/// Which effects.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this pipeline.
    pipeline: Option<String>,
    /// `true`: only those of which it is not known whether they stand.
    open: Option<bool>,
    /// So many at most: 1 to 1000; 50 where it is left out.
    limit: Option<usize>,
    /// So many are left out before: the `next` of the answer before.
    offset: Option<usize>,
}

/// An effect, and how far it is known to have happened.
#[derive(Debug, Serialize, ToSchema)]
struct Effect {
    key: String,
    pipeline: String,
    instance: String,
    /// `intent`, `confirmed`, `drifted`, `rejected`, `in doubt`, `held`, `undoing` or `undone`.
    state: String,
    mode: &'static str,
    attempts: u32,
    input_hash: String,
    run: String,
    intended: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<String>,
    /// Why nobody knows more, or what went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The command that undoes it, with its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    undo: Option<Vec<String>>,
    /// How its probe answered otherwise than after it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    drifted: Option<String>,
}

impl Effect {
    fn of(pipeline: &Name, key: &str, effect: &Stored) -> Self {
        Self {
            key: key.to_owned(),
            pipeline: pipeline.to_string(),
            instance: effect.instance.to_string(),
            state: effect.word().to_lowercase(),
            mode: effect.mode.as_str(),
            attempts: effect.attempts,
            input_hash: effect.input_hash.to_string(),
            run: effect.run.to_string(),
            intended: time(effect.intended),
            settled: effect.settled.map(time),
            error: effect.error.clone(),
            undo: effect.undo.as_ref().map(|undo| undo.argv().into_iter().map(str::to_owned).collect()),
            drifted: effect.drifted.clone(),
        }
    }
}

/// Effects by pipeline and key.
#[derive(Debug, Serialize, ToSchema)]
struct Effects {
    items: Vec<Effect>,
    /// `offset` of the next request. Left out where there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1000;

/// Lists effects.
#[utoipa::path(get, path = "/api/v1/effects", params(Which), responses((status = 200, body = Effects), (status = 400, body = Problem)))]
async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<Effects>, Problem> {
    let Which { pipeline, open, limit, offset } = which;
    let (limit, offset) = (limit.unwrap_or(LIMIT), offset.unwrap_or(0));
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad(format!("`limit` is 1 to {LIMIT_MAX}")));
    }
    let daemon = Arc::clone(&app.daemon);
    let read = move || {
        let wanted = |(of, _, effect): &(Name, String, Stored)| {
            pipeline.as_ref().is_none_or(|name| of.as_str() == name)
                && open.is_none_or(|open| effect.state.is_open() == open)
        };
        let all = daemon.store().each_effect().filter(|row| row.as_ref().map_or(true, wanted));
        all.skip(offset)
            .take(limit + 1)
            .map(|row| row.map(|(of, key, effect)| Effect::of(&of, &key, &effect)))
            .collect::<Result<Vec<_>, _>>()
    };
    let mut items = blocking(read).await?;
    let next = (items.len() > limit).then_some(offset + limit);
    items.truncate(limit);
    Ok(Json(Effects { items, next }))
}

/// What a person found out about an effect.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Settle {
    /// The effect's key.
    key: String,
    /// The pipeline, where several have an effect with this key.
    pipeline: Option<String>,
    /// Whether it took place, and stands.
    happened: Option<bool>,
}

/// Says whether an effect took place, once a person found out: one that did is not done again, one that did not is.
#[utoipa::path(post, path = "/api/v1/effects/settle", request_body = Settle,
    responses((status = 200, body = Effect), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "A run of its pipeline goes on")))]
async fn settle(State(app): State<App>, Body(settle): Body<Settle>) -> Result<Json<Effect>, Problem> {
    let Settle { key, pipeline, happened } = settle;
    let happened = happened.ok_or_else(|| Problem::bad("`happened` is `true` or `false`"))?;
    let daemon = Arc::clone(&app.daemon);
    let of = key.clone();
    let settled =
        blocking(move || daemon.settle_effect(&of, pipeline.as_deref(), happened, Settles::Any)).await;
    let (pipeline, effect) = settled?;
    Ok(Json(Effect::of(&pipeline, &key, &effect)))
}

/// Which effect is undone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Undo {
    /// The effect's key.
    key: String,
    /// The pipeline, where several have an effect with this key.
    pipeline: Option<String>,
}

/// Undoes an effect by its `undo`, and answers once that has ended. No run of its pipeline begins meanwhile.
#[utoipa::path(post, path = "/api/v1/effects/undo", request_body = Undo,
    responses((status = 200, body = Effect), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It does not stand, or a run of its pipeline goes on"),
        (status = 422, body = Problem, description = "It cannot be undone by a command"),
        (status = 500, body = Problem, description = "Its `undo` was not begun, or failed")))]
async fn undo(
    State(app): State<App>,
    Body(Undo { key, pipeline }): Body<Undo>,
) -> Result<Json<Effect>, Problem> {
    let daemon = Arc::clone(&app.daemon);
    let of = key.clone();
    let (pipeline, effect) = blocking(move || daemon.undo_effect(&of, pipeline.as_deref())).await?;
    Ok(Json(Effect::of(&pipeline, &key, &effect)))
}

impl From<UndoneError> for Problem {
    fn from(error: UndoneError) -> Self {
        let status = match error {
            UndoneError::Find(error) => return SettleError::Find(error).into(),
            UndoneError::Busy { pipeline } => {
                return Self::new(StatusCode::CONFLICT, format!("a run of `{pipeline}` goes on"))
                    .help("undo it once the run has ended");
            }
            UndoneError::Wrong { ref report } => {
                let report = report.clone();
                return Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()).report(report);
            }
            UndoneError::Store(error) => return error.into(),
            UndoneError::Undo(UndoError::Read(error)) => return error.into(),
            UndoneError::Undo(UndoError::Commit(error)) => return StoreError::from(error).into(),
            UndoneError::Undo(UndoError::Unknown { .. }) => StatusCode::NOT_FOUND,
            UndoneError::Undo(UndoError::State { .. }) => StatusCode::CONFLICT,
            UndoneError::Undo(UndoError::NotBegun { .. } | UndoError::Failed { .. }) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            UndoneError::File(_) => StatusCode::SERVICE_UNAVAILABLE,
            UndoneError::Gone { .. } | UndoneError::Undo(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let help = match &error {
            UndoneError::Undo(error) => error.help(),
            UndoneError::Gone { .. } => {
                Some("undo it by hand, then settle it as one that did not happen".to_owned())
            }
            _ => None,
        };
        Self::new(status, error.to_string()).maybe_help(help)
    }
}

impl From<SettleError> for Problem {
    fn from(error: SettleError) -> Self {
        match error {
            SettleError::Find(FindEffectError::Read(error)) => error.into(),
            SettleError::Find(FindEffectError::Unknown { .. }) => Self::unknown(error.to_string()),
            SettleError::Find(FindEffectError::Ambiguous { .. }) => {
                Self::bad(error.to_string()).help("say which by `pipeline`")
            }
            SettleError::Busy { .. } => {
                Self::new(StatusCode::CONFLICT, error.to_string()).help("settle it once the run has ended")
            }
            SettleError::Known { .. } => Self::new(StatusCode::CONFLICT, error.to_string())
                .help("look at it again before you settle it"),
            SettleError::Store(error) => error.into(),
        }
    }
}
