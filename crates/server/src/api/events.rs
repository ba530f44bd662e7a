//! What happens in a run, as it happens: Server-Sent Events that a client can take up where it lost them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use cairn_model::RunId;
use futures_util::Stream;
use tokio::sync::broadcast::error::RecvError;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Path;
use super::{App, Problem, runs};
use crate::carry_out::blocking;
use crate::daemon::Daemon;
use crate::hub::Change;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(events))
}

/// An event is told when it was handed to the store, and is found there a moment later.
const SETTLE: Duration = Duration::from_millis(20);
/// How often it is looked at the store when nothing was told.
const LOOK: Duration = Duration::from_secs(2);

/// Streams the events of a run from the first on, or after `Last-Event-ID`, until the run ends: then comes `event: done`.
///
/// Each has its number as `id` and is a JSON object: `at`, milliseconds since 1970, and `what`.
#[utoipa::path(get, path = "/api/v1/runs/{run}/events",
    params(("run" = String, Path), ("Last-Event-ID" = Option<u64>, Header, description = "The last event that was seen")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
async fn events(
    State(app): State<App>,
    Path(run): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let run = runs::find(&app.daemon, &run).await?;
    let after = last_event_id(&headers)?.unwrap_or(0);
    let changes = app.daemon.hub.listen();
    let following = Following { daemon: app.daemon, run, after, changes, pending: Vec::new(), told: false };
    let stream = futures_util::stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

/// Returns the number of the last event that a client saw.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(id) = headers.get("last-event-id") else { return Ok(None) };
    let number = id.to_str().ok().and_then(|id| id.trim().parse().ok());
    number.map(Some).ok_or_else(|| Problem::bad("`Last-Event-ID` is the number of an event"))
}

struct Following {
    daemon: Arc<Daemon>,
    run: RunId,
    after: u64,
    changes: tokio::sync::broadcast::Receiver<Change>,
    /// Read and not sent, the last first.
    pending: Vec<(u64, cairn_model::Event)>,
    /// Whether its end was sent: the stream ends with it.
    told: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        if self.told {
            return None;
        }
        loop {
            if let Some((number, event)) = self.pending.pop() {
                self.after = number;
                let data = serde_json::to_string(&event).unwrap_or_default();
                return Some(Event::default().id(number.to_string()).data(data));
            }
            // Asked before it is read: all that it has then is there to be read.
            let is_over = self.is_over();
            let (daemon, run, after) = (Arc::clone(&self.daemon), self.run, self.after);
            let read = blocking(move || daemon.store().events_after(run, after)).await;
            match read {
                Ok(events) if !events.is_empty() => {
                    self.pending = events;
                    self.pending.reverse();
                    continue;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(%error, "the events of a run cannot be read");
                    return None;
                }
            }
            if is_over {
                self.told = true;
                // With no data at all a browser would not tell of it.
                return Some(Event::default().event("done").data("{}"));
            }
            self.wait().await;
        }
    }

    /// A run that was taken up again has events after its end.
    fn is_over(&self) -> bool {
        let queue = self.daemon.queue();
        !queue.is_waiting(self.run) && !queue.is_running(self.run)
    }

    async fn wait(&mut self) {
        let until = tokio::time::Instant::now() + LOOK;
        loop {
            match tokio::time::timeout_at(until, self.changes.recv()).await {
                Ok(Ok(Change::Run { run, .. })) if run == self.run => break,
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(_))) | Err(_) => break,
                Ok(Err(RecvError::Closed)) => return tokio::time::sleep(LOOK).await,
            }
        }
        tokio::time::sleep(SETTLE).await;
    }
}
