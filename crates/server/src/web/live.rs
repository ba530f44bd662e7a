//! Tells a page that it is to look again: which page, it says in the address.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use axum::routing::get;
use cairn_model::RunId;
use futures_util::Stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::shell::Fault;
use crate::api::{App, find_run};
use crate::hub::Change;

pub(super) fn router() -> Router<App> {
    Router::new().route("/live", get(all)).route("/live/{run}", get(of_run))
}

/// Returns whether a page looks again: what stays on it, a log, what was made or a calendar, is not drawn for it.
pub(super) fn looks_again(headers: &HeaderMap) -> bool {
    headers.contains_key("cairn-looks-again")
}

/// However much changes, a page is told this often at most.
const GAP: Duration = Duration::from_millis(400);

/// Tells of every change.
async fn all(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    stream(app.daemon.hub.listen(), None)
}

/// Tells of the changes of one run.
async fn of_run(
    State(app): State<App>,
    Path(run): Path<String>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Fault> {
    let changes = app.daemon.hub.listen();
    let run = find_run(&app.daemon, &run).await?;
    Ok(stream(changes, Some(run)))
}

fn stream(
    changes: Receiver<Change>,
    run: Option<RunId>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // The page may be older than this stream: it looks once more when it is heard from for the first time.
    let told = futures_util::stream::unfold((changes, true), move |(mut changes, first)| async move {
        if !first && !next(&mut changes, run).await {
            return None;
        }
        Some((Ok(Event::default().event("change").data("look")), (changes, false)))
    });
    Sse::new(told).keep_alive(KeepAlive::default())
}

/// Waits for a change that counts, and for what follows shortly after it; `false` once the daemon ends.
async fn next(changes: &mut Receiver<Change>, run: Option<RunId>) -> bool {
    let counts = |change: &Change| match (change, run) {
        (_, None) => true,
        (Change::Run { run: of, .. }, Some(run)) => *of == run,
        (Change::Pipelines, Some(_)) => false,
    };
    loop {
        match changes.recv().await {
            Ok(change) if counts(&change) => break,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => break,
            Err(RecvError::Closed) => return false,
        }
    }
    tokio::time::sleep(GAP).await;
    loop {
        match changes.try_recv() {
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Closed) => return false,
        }
    }
}
