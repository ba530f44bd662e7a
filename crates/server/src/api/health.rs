//! Whether it lives, and the way in for browsers.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;

use super::{App, Problem};
use crate::carry_out::blocking;
use crate::gate::Way;

pub(super) fn router() -> Router<App> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).route("/login", get(login))
}

/// The process answers.
async fn healthz() -> &'static str {
    "ok\n"
}

/// It can do its work: pipelines can be listed, and the store can be read and takes writes. Why not is told to those who
/// may ask for more.
async fn readyz(State(app): State<App>, way: Option<Extension<Way>>, headers: HeaderMap) -> Response {
    let daemon = Arc::clone(&app.daemon);
    let why = blocking(move || {
        let store = daemon.store();
        let unread = || store.runs(1).err().map(|error| error.to_string());
        let unwritten =
            || store.write_failure().map(|error| format!("the store takes no more writes: {error}"));
        unread().or_else(unwritten).or_else(|| crate::daemon::lock(&daemon.unlisted).clone())
    });
    let Some(why) = why.await else { return "ok\n".into_response() };
    let is_known = way.is_some_and(|Extension(way)| way == Way::Socket) || app.gate.knows(&headers);
    let why = if is_known { why } else { "not ready".to_owned() };
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

#[derive(Deserialize)]
struct Login {
    code: Option<String>,
}

/// Takes the code of a login link once, and gives the browser its cookie.
async fn login(State(app): State<App>, Query(login): Query<Login>, headers: HeaderMap) -> Response {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refuse = |why: &str, help: &str| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, why).help(help);
        if accepts.contains("text/html") { crate::web::fault_page(problem) } else { problem.into_response() }
    };
    let Some(code) = login.code else {
        let help = "the daemon prints one when it starts; `cairn serve --link` prints another";
        return refuse("these pages open with a login link", help);
    };
    match app.gate.login(&code) {
        Some(cookie) => {
            let mut headers = HeaderMap::new();
            headers.insert(header::SET_COOKIE, cookie);
            (headers, Redirect::to("/")).into_response()
        }
        None => {
            refuse("the login link was used already, or is too old", "`cairn serve --link` prints another")
        }
    }
}
