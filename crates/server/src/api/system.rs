//! How the daemon itself stands.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::wire::time;
use super::{App, Problem};

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(system)).routes(routes!(link))
}

/// The daemon.
#[derive(Debug, Serialize, ToSchema)]
struct System {
    version: &'static str,
    pid: u32,
    started: String,
    project: String,
    pipelines: usize,
    waiting: usize,
    running: usize,
}

/// Describes the daemon.
#[utoipa::path(get, path = "/api/v1/system", responses((status = 200, body = System)))]
async fn system(State(app): State<App>) -> Json<System> {
    let daemon = &app.daemon;
    let (waiting, running) = {
        let queue = daemon.queue();
        (queue.waiting().len(), queue.running().len())
    };
    Json(System {
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        started: time(daemon.started),
        project: daemon.root().display().to_string(),
        pipelines: daemon.catalog().entries().count(),
        waiting,
        running,
    })
}

/// A way in for a browser.
#[derive(Debug, Serialize, ToSchema)]
struct Link {
    /// The path and query of the link: it works once, for ten minutes.
    path: String,
}

/// Makes a login link.
#[utoipa::path(post, path = "/api/v1/login-links", responses((status = 200, body = Link)))]
async fn link(State(app): State<App>) -> Result<Json<Link>, Problem> {
    Ok(Json(Link { path: format!("/login?code={}", app.gate.login_code()) }))
}
