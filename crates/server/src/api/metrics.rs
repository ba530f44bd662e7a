//! What Prometheus is told.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::{App, Problem};
use crate::carry_out::blocking;

/// The format, by its registered name.
const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn router() -> Router<App> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let daemon = Arc::clone(&app.daemon);
    let text = blocking(move || daemon.metrics_text()).await?;
    Ok(([(header::CONTENT_TYPE, KIND)], text).into_response())
}
