//! The REST API under `/api/v1`, a resource a file; errors are `application/problem+json` (RFC 9457).

mod backfills;
mod dead_letters;
mod effects;
mod etag;
mod events;
mod extract;
mod health;
mod instances;
mod metrics;
mod pipelines;
mod problem;
mod runs;
mod schedules;
mod system;
mod wire;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::{Json, Router, middleware};
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use extract::body;
pub(crate) use problem::Problem;
pub(crate) use runs::{find as find_run, find_here as find_run_here};
pub(crate) use wire::{status_word, time as rfc3339};

use crate::daemon::Daemon;
use crate::gate::{self, Gate};
use crate::web;

/// What every handler is given.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) known: Arc<web::Known>,
}

/// Bytes of a request's body at most.
const BODY_MAX: usize = 1 << 20;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "cairn",
    description = "Runs of idempotent pipelines: asked for, watched, cancelled, gone on with.",
    license(name = "MIT OR Apache-2.0")
))]
struct Document;

/// Returns the router of all there is, behind the gate.
pub fn router(daemon: Arc<Daemon>, gate: Arc<Gate>) -> Router {
    let app = App { daemon, gate: Arc::clone(&gate), known: Arc::default() };
    let (router, document) = documented().split_for_parts();
    let document = serde_json::to_value(&document).unwrap_or_default();
    router
        .route("/api/v1/openapi.json", axum::routing::get(move || async move { Json(document) }))
        .merge(health::router())
        .merge(metrics::router())
        .merge(web::router())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::not_allowed)
        .layer(middleware::from_fn(etag::tag))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(gate, gate::pass))
        .with_state(app)
}

fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(pipelines::router())
        .merge(runs::router())
        .merge(events::router())
        .merge(instances::router())
        .merge(schedules::router())
        .merge(backfills::router())
        .merge(dead_letters::router())
        .merge(effects::router())
        .merge(system::router())
}

/// Returns the paths and methods of the API's document, for the test that walks them.
pub fn documented_paths() -> Vec<(String, Vec<String>)> {
    let (_, document) = documented().split_for_parts();
    let value = serde_json::to_value(&document.paths).unwrap_or_default();
    let paths = value.as_object().cloned().unwrap_or_default();
    let methods =
        |item: &serde_json::Value| item.as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}
