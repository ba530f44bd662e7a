//! Dead letters: what failed for good, looked at, tried again, dropped.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use cairn_scheduler::letters::{Filter, Retried};
use cairn_store::{DeadKind, DeadLetter, FindDeadError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Body, Path, Query};
use super::wire::time;
use super::{App, Problem};
use crate::carry_out::blocking;
use crate::letters::LetterError;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(retry))
        .routes(routes!(drop_them))
}

/// Which dead letters: all that fit everything that is said.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of this pipeline.
    pipeline: Option<String>,
    /// Only those of this stage, or instance.
    stage: Option<String>,
    /// Only those of the record with this key.
    key: Option<String>,
    /// Only those whose error, or its class, holds this text.
    error: Option<String>,
    /// Only those that died longer ago, in milliseconds.
    older_than_ms: Option<u64>,
    /// So many at most: 1 to 1000; 50 where it is left out.
    limit: Option<usize>,
    /// So many are left out before: the `next` of the answer before.
    offset: Option<usize>,
}

/// What failed for good, with all that is needed to look into it.
#[derive(Debug, Serialize, ToSchema)]
struct Letter {
    /// 32 hex digits; its first 8 are shown to people.
    id: String,
    /// `record`, `rejected` or `instance`.
    kind: &'static str,
    pipeline: String,
    stage: String,
    instance: String,
    /// The key of its record; empty where it has none.
    key: String,
    /// The record as it came; left out of lists, and where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    /// Its bytes in hex digits, where it is no UTF-8; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
    /// The file it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// Its line there, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    class: String,
    error: String,
    attempts: Vec<Attempt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_hash: Option<String>,
    run: String,
    idempotency_key: String,
    died: String,
    /// When it was asked that the next run takes it in again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_asked: Option<String>,
    /// The record as it is taken in again, where it was edited; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<String>,
    /// How often the daemon had it tried again by itself.
    retries: u32,
}

/// One try of what is a dead letter now.
#[derive(Debug, Serialize, ToSchema)]
struct Attempt {
    at: String,
    error: String,
}

impl Letter {
    fn of(letter: &DeadLetter, with_payload: bool) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let has_payload = with_payload && letter.kind != DeadKind::Instance;
        let payload = text(&letter.payload).filter(|_| has_payload);
        let is_binary = has_payload && payload.is_none();
        Self {
            id: letter.id().to_string(),
            kind: letter.kind.as_str(),
            pipeline: letter.pipeline.to_string(),
            stage: letter.instance.stage().to_string(),
            instance: letter.instance.to_string(),
            key: letter.key.clone(),
            payload_hex: is_binary.then(|| hexadecimal(&letter.payload)),
            payload,
            source: letter.source.as_ref().map(|(file, _)| file.clone()),
            line: letter.source.as_ref().map(|(_, line)| *line).filter(|line| *line > 0),
            class: letter.class.clone(),
            error: letter.error.clone(),
            attempts: letter
                .attempts
                .iter()
                .map(|(at, error)| Attempt { at: time(*at), error: error.clone() })
                .collect(),
            input_hash: letter.input_hash.map(|hash| hash.to_string()),
            run: letter.run.to_string(),
            idempotency_key: letter.idempotency_key.clone(),
            died: time(letter.died),
            retry_asked: letter.retry.as_ref().map(|retry| time(retry.asked)),
            edited: letter.mended().filter(|_| with_payload).and_then(text),
            retries: letter.retries,
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Some dead letters.
#[derive(Debug, Serialize, ToSchema)]
struct Letters {
    items: Vec<Letter>,
    /// `offset` of the next request. Left out where there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1000;

/// Lists dead letters by pipeline, instance and kind, without their records.
#[utoipa::path(get, path = "/api/v1/dead-letters", params(Which), responses((status = 200, body = Letters), (status = 400, body = Problem)))]
async fn list(State(app): State<App>, Query(which): Query<Which>) -> Result<Json<Letters>, Problem> {
    let Which { pipeline, stage, key, error, older_than_ms, limit, offset } = which;
    let (limit, offset) = (limit.unwrap_or(LIMIT), offset.unwrap_or(0));
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::bad(format!("`limit` is 1 to {LIMIT_MAX}")));
    }
    let filter = Filter { pipeline, stage, key, error, older_than_ms };
    let daemon = Arc::clone(&app.daemon);
    let read = move || {
        let all = filter.each(daemon.store(), daemon.clock.now()).skip(offset).take(limit + 1);
        all.map(|letter| letter.map(|letter| Letter::of(&letter, false))).collect::<Result<Vec<_>, _>>()
    };
    let mut items = blocking(read).await?;
    let next = (items.len() > limit).then_some(offset + limit);
    items.truncate(limit);
    Ok(Json(Letters { items, next }))
}

/// Shows a dead letter with all that is kept of it.
#[utoipa::path(get, path = "/api/v1/dead-letters/{id}", params(("id" = String, Path)),
    responses((status = 200, body = Letter), (status = 404, body = Problem)))]
async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Letter>, Problem> {
    let daemon = Arc::clone(&app.daemon);
    let letter = blocking(move || daemon.store().find_dead(&id)).await?;
    Ok(Json(Letter::of(&letter, true)))
}

/// Dead letters by their ids, or the beginnings of these.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Ids {
    ids: Vec<String>,
}

/// Dead letters that are to be tried again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct Again {
    /// Their ids, or the beginnings of these.
    ids: Vec<String>,
    /// The record as it is to be taken in: one JSON object, of one dead letter.
    payload: Option<String>,
}

/// What became of a dead letter that was to be tried again.
#[derive(Debug, Serialize, ToSchema)]
struct Tried {
    id: String,
    kind: &'static str,
    /// Whether the next run takes it in again.
    taken_in: bool,
    /// Whether as it was edited.
    edited: bool,
    /// What runs it again, where it is not taken in: an instance, or the stage whose script rejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_again: Option<RunAgain>,
}

/// What runs a dead letter again.
#[derive(Debug, Serialize, ToSchema)]
struct RunAgain {
    file: String,
    instance: String,
    force: bool,
}

/// What became of dead letters.
#[derive(Debug, Serialize, ToSchema)]
struct TriedAll {
    items: Vec<Tried>,
}

/// Has the next run take records in again, under the same idempotency keys: all of them, or none.
///
/// What is not taken in again by being marked comes with what runs it again.
#[utoipa::path(post, path = "/api/v1/dead-letters/retry", request_body = Again,
    responses((status = 200, body = TriedAll), (status = 400, body = Problem), (status = 404, body = Problem), (status = 422, body = Problem)))]
async fn retry(State(app): State<App>, Body(again): Body<Again>) -> Result<Json<TriedAll>, Problem> {
    let Again { ids, payload } = again;
    some(&ids)?;
    if let Some(payload) = &payload {
        if ids.len() != 1 {
            return Err(Problem::bad("`payload` is the record of one dead letter"));
        }
        let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(payload);
        is_object.map_err(|error| Problem::bad(format!("`payload` is not one JSON object: {error}")))?;
    }
    let daemon = Arc::clone(&app.daemon);
    let retried = blocking(move || daemon.retry_letters(&ids, payload.as_deref().map(str::as_bytes))).await?;
    let item = |(letter, retried): (DeadLetter, Retried)| {
        let (taken_in, edited, run_again) = match retried {
            Retried::TakenIn { edited } => (true, edited, None),
            Retried::Run { file, instance, force } => {
                (false, false, Some(RunAgain { file, instance, force }))
            }
            Retried::Script => (false, false, None),
        };
        Tried { id: letter.id().to_string(), kind: letter.kind.as_str(), taken_in, edited, run_again }
    };
    Ok(Json(TriedAll { items: retried.into_iter().map(item).collect() }))
}

/// Dead letters that are gone.
#[derive(Debug, Serialize, ToSchema)]
struct Dropped {
    /// Their ids.
    dropped: Vec<String>,
}

/// Forgets dead letters: all of them, or none. A record that fails again dies again.
#[utoipa::path(post, path = "/api/v1/dead-letters/drop", request_body = Ids,
    responses((status = 200, body = Dropped), (status = 400, body = Problem), (status = 404, body = Problem)))]
async fn drop_them(State(app): State<App>, Body(Ids { ids }): Body<Ids>) -> Result<Json<Dropped>, Problem> {
    some(&ids)?;
    let daemon = Arc::clone(&app.daemon);
    let dropped = blocking(move || daemon.drop_letters(&ids)).await?;
    Ok(Json(Dropped { dropped: dropped.iter().map(|letter| letter.id().to_string()).collect() }))
}

fn some(ids: &[String]) -> Result<(), Problem> {
    if ids.is_empty() { Err(Problem::bad("`ids` names no dead letter")) } else { Ok(()) }
}

impl From<FindDeadError> for Problem {
    fn from(error: FindDeadError) -> Self {
        match error {
            FindDeadError::Read(error) => error.into(),
            FindDeadError::Unknown { .. } | FindDeadError::Ambiguous { .. } => {
                Self::unknown(error.to_string()).maybe_help(error.help())
            }
        }
    }
}

impl From<LetterError> for Problem {
    fn from(error: LetterError) -> Self {
        match error {
            LetterError::Find(error) => error.into(),
            LetterError::NotEdited { .. } => {
                Self::new(axum::http::StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            LetterError::Store(error) => error.into(),
        }
    }
}
