//! The instances of a run, and what they printed.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Sse};
use cairn_executor::{Pause, Project, worker_log};
use cairn_model::{AttemptId, RunId, State as Stands};
use cairn_scheduler::history::{History, InstanceHistory};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Path, Query};
use super::wire::time;
use super::{App, Problem, runs};
use crate::carry_out::blocking;
use crate::daemon::Daemon;
use crate::pauses;

pub(super) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(log)).routes(routes!(follow))
}

/// An instance in a run.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "it is called so wherever it is told")]
struct Instance {
    instance: String,
    stage: String,
    /// `waiting`, `running`, `retrying`, `fresh`, `restored`, `ran`, `failed`, `blocked` or `in doubt`.
    state: String,
    /// Why it is where it is, in one line.
    reason: String,
    /// Why it was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_executed: Option<String>,
    /// Attempts made.
    attempts: u32,
    /// The number of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_attempt: Option<u32>,
    /// When the last one started.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    /// Since when it is where it is.
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    /// Time that a checkpoint saved.
    saved_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_hash: Option<String>,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// Where it runs, and its records wait because a sink asked for a pause or is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Paused>,
}

/// A pause before a sink is tried again.
#[derive(Debug, Serialize, ToSchema)]
struct Paused {
    /// The sink, without a password.
    sink: String,
    /// When it is tried again.
    until: String,
    /// Whether the sink asked for it, by `Retry-After`.
    asked: bool,
    /// What it answered, or what happened.
    error: String,
}

/// The instances of a run, in the order in which something happened to them.
#[derive(Debug, Serialize, ToSchema)]
struct Instances {
    /// How many take part; of those that are not among `items` nothing was heard yet.
    total: u32,
    items: Vec<Instance>,
}

fn state_word(state: &Stands) -> String {
    match state {
        Stands::Waiting => "waiting".to_owned(),
        Stands::Running { .. } => "running".to_owned(),
        Stands::Retrying { .. } => "retrying".to_owned(),
        Stands::Fresh
        | Stands::Restored
        | Stands::Ran { .. }
        | Stands::Failed { .. }
        | Stands::Blocked
        | Stands::InDoubt { .. } => {
            state.outcome().map_or_else(String::new, |outcome| outcome.as_str().to_lowercase())
        }
    }
}

impl Instance {
    fn of(instance: &InstanceHistory, pause: Option<Pause>) -> Self {
        Self {
            instance: instance.name.to_string(),
            stage: instance.name.stage().to_string(),
            state: state_word(&instance.state),
            reason: instance.reason.clone(),
            why_executed: instance.why_executed.clone(),
            attempts: instance.attempts,
            last_attempt: instance.last_attempt,
            started: instance.started.map(time),
            since: time(instance.since),
            took_ms: instance.took_ms,
            saved_ms: instance.saved_ms,
            input_hash: instance.input_hash.map(|hash| hash.to_string()),
            help: instance.help.clone(),
            paused: pause.map(|pause| Paused {
                until: time(pauses::until(&pause)),
                sink: pause.sink,
                asked: pause.asked,
                error: pause.error,
            }),
        }
    }
}

/// What was heard of a run so far.
#[derive(Debug, Default)]
struct Heard {
    history: History,
    /// The last event's number.
    last: u64,
}

impl Heard {
    /// Takes in what has happened since.
    fn catch_up(&mut self, daemon: &Daemon, run: RunId) -> Result<(), Problem> {
        for (number, event) in daemon.store().events_after(run, self.last)? {
            self.history.add(&event);
            self.last = number;
        }
        Ok(())
    }
}

/// Lists the instances of a run with where they stand, and why.
#[utoipa::path(get, path = "/api/v1/runs/{run}/instances", params(("run" = String, Path)),
    responses((status = 200, body = Instances), (status = 404, body = Problem)))]
async fn list(State(app): State<App>, Path(run): Path<String>) -> Result<Json<Instances>, Problem> {
    let run = runs::find(&app.daemon, &run).await?;
    blocking(move || {
        let mut heard = Heard::default();
        heard.catch_up(&app.daemon, run)?;
        let items = heard.history.instances.iter();
        let items = items.map(|one| Instance::of(one, app.daemon.pauses.of(run, &one.name))).collect();
        Ok(Json(Instances { total: heard.history.instances_total, items }))
    })
    .await
}

/// Which part of which log.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Part {
    /// The attempt; the last one where it is left out.
    attempt: Option<u32>,
    /// A records stage's worker, from 1: the first one's is the attempt's own log.
    worker: Option<usize>,
    /// From this byte on; 0 where it is left out.
    after: Option<u64>,
}

/// Bytes of a log in one answer, at most.
const PART_MAX: usize = 1 << 20;
/// Workers of a stage, at most: more than any machine has processors.
const WORKERS_MAX: usize = 4096;
/// How often a log that may grow is looked at.
const LOOK: Duration = Duration::from_millis(200);

const NEXT: HeaderName = HeaderName::from_static("cairn-next-offset");
const ATTEMPT: HeaderName = HeaderName::from_static("cairn-attempt");
const COMPLETE: HeaderName = HeaderName::from_static("cairn-complete");
const RUN: HeaderName = HeaderName::from_static("cairn-run");

/// A log that was found.
struct Log {
    id: AttemptId,
    path: PathBuf,
    /// Whether nothing more comes.
    is_complete: bool,
}

/// Finds the log of an instance by what is known of the run, and of nothing else: a name makes no path. What was heard of
/// the run before is not read again.
async fn find(
    daemon: &Arc<Daemon>,
    run: RunId,
    instance: &str,
    part: Part,
    mut heard: Heard,
) -> Result<(Log, Heard), Problem> {
    let (daemon, instance) = (Arc::clone(daemon), instance.to_owned());
    blocking(move || {
        heard.catch_up(&daemon, run)?;
        let log = find_in(&heard.history, &daemon, run, &instance, part)?;
        Ok((log, heard))
    })
    .await
}

fn find_in(
    history: &History,
    daemon: &Daemon,
    run: RunId,
    instance: &str,
    part: Part,
) -> Result<Log, Problem> {
    let known = history.instances.iter().find(|known| known.name.to_string() == instance);
    let known = known.ok_or_else(|| {
        Problem::unknown(format!("nothing was heard of an instance `{instance}` in run {}", run.short()))
    })?;
    let goes_on = {
        let queue = daemon.queue();
        queue.is_waiting(run) || queue.is_running(run)
    };
    let id = match (part.attempt.or(known.last_attempt), known.last_attempt) {
        (Some(number), Some(last)) if (1..=last).contains(&number) => {
            AttemptId { run, instance: known.name.clone(), number }
        }
        (Some(number), _) => {
            let detail = format!("`{instance}` has no attempt {number} in run {}", run.short());
            return Err(Problem::unknown(detail));
        }
        // It was not executed: a checkpoint tells who printed what.
        (None, _) => {
            let made_by = match known.input_hash {
                Some(hash) => daemon.store().recorded(&hash)?.map(|(checkpoint, _)| checkpoint.made_by),
                None => None,
            };
            made_by.ok_or_else(|| Problem::unknown(format!("`{instance}` was never executed")))?
        }
    };
    let is_complete = match &known.state {
        Stands::Running { attempt, .. } => !goes_on || id.run != run || *attempt != id.number,
        _ => true,
    };
    let path = daemon.state.join(Project::log_path(&id));
    let path = match part.worker {
        None | Some(0 | 1) => path,
        Some(number) if number <= WORKERS_MAX => worker_log(&path, number - 1),
        Some(number) => return Err(Problem::unknown(format!("there is no worker {number}"))),
    };
    Ok(Log { id, path, is_complete })
}

/// Reads a log's bytes from `after` on, so many at most; none where nothing was printed, or nothing so far on.
fn read(path: &FilePath, after: u64) -> io::Result<Vec<u8>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // Room for what there is and no more: each who follows a log looks often, and mostly for nothing.
    let more = usize::try_from(file.metadata()?.len().saturating_sub(after)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; more.min(PART_MAX)];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], after + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

fn unread(id: &AttemptId, error: &io::Error) -> Problem {
    let detail = format!("cannot read the log `{}`: {error}", Project::log_path(id).display());
    Problem::new(axum::http::StatusCode::INTERNAL_SERVER_ERROR, detail)
}

/// Returns what an instance printed, up to 1 MiB of it: the bytes as they were written.
///
/// `Cairn-Next-Offset` is `after` of the next request, `Cairn-Complete` whether nothing more comes than is there now,
/// `Cairn-Run` and `Cairn-Attempt` whose log it is: of an instance that was not executed, that of the run that did.
#[utoipa::path(get, path = "/api/v1/runs/{run}/logs/{instance}", params(("run" = String, Path), ("instance" = String, Path), Part),
    responses((status = 200, content_type = "text/plain", body = String), (status = 404, body = Problem)))]
async fn log(
    State(app): State<App>,
    Path((run, instance)): Path<(String, String)>,
    Query(part): Query<Part>,
) -> Result<impl IntoResponse, Problem> {
    let run = runs::find(&app.daemon, &run).await?;
    let (log, _) = find(&app.daemon, run, &instance, part, Heard::default()).await?;
    let Log { id, path, is_complete } = log;
    let after = part.after.unwrap_or(0);
    let bytes = blocking({
        let path = path.clone();
        move || read(&path, after)
    })
    .await
    .map_err(|error| unread(&id, &error))?;
    let text = |text: String| HeaderValue::from_str(&text).expect("digits, letters and hyphens");
    let is_complete = is_complete && bytes.len() < PART_MAX;
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (NEXT, text((after + bytes.len() as u64).to_string())),
        (COMPLETE, text(is_complete.to_string())),
        (RUN, text(id.run.to_string())),
        (ATTEMPT, text(id.number.to_string())),
    ]);
    Ok((headers, bytes))
}

/// Streams what an instance prints, until its attempt ends: then comes `event: done`.
///
/// Each event is a JSON object with `text`, and has as `id` the byte after it: `Last-Event-ID` goes on from there.
#[utoipa::path(get, path = "/api/v1/runs/{run}/logs/{instance}/stream",
    params(("run" = String, Path), ("instance" = String, Path), Part, ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 404, body = Problem)))]
async fn follow(
    State(app): State<App>,
    Path((run, instance)): Path<(String, String)>,
    Query(part): Query<Part>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let run = runs::find(&app.daemon, &run).await?;
    let after = super::events::last_event_id(&headers)?.or(part.after).unwrap_or(0);
    let (log, heard) = find(&app.daemon, run, &instance, part, Heard::default()).await?;
    // The attempt stays the same, whatever comes after it.
    let part = Part { attempt: Some(log.id.number).filter(|_| log.id.run == run), ..part };
    let following = Following { daemon: app.daemon, run, instance, part, heard, after, told: false };
    let stream = futures_util::stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}

struct Following {
    daemon: Arc<Daemon>,
    run: RunId,
    instance: String,
    part: Part,
    heard: Heard,
    after: u64,
    told: bool,
}

impl Following {
    async fn next(&mut self) -> Option<Event> {
        if self.told {
            return None;
        }
        loop {
            let (bytes, is_complete) = self.look().await?;
            let whole = if is_complete { bytes.len() } else { whole_characters(&bytes) };
            if whole > 0 {
                self.after += whole as u64;
                let text = String::from_utf8_lossy(&bytes[..whole]);
                let data = serde_json::json!({ "text": text }).to_string();
                return Some(Event::default().id(self.after.to_string()).data(data));
            }
            if is_complete {
                self.told = true;
                return Some(Event::default().event("done").data("{}"));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Reads what is new in the log, and returns whether nothing more comes; `None` where it cannot be read.
    async fn look(&mut self) -> Option<(Vec<u8>, bool)> {
        let Self { daemon, run, part, after, .. } = self;
        let (daemon, run, part, after) = (Arc::clone(daemon), *run, *part, *after);
        let instance = self.instance.clone();
        let mut heard = std::mem::take(&mut self.heard);
        let looked = blocking(move || {
            heard.catch_up(&daemon, run)?;
            // How it stands is found out first: what was printed before its end is read.
            let log = find_in(&heard.history, &daemon, run, &instance, part)?;
            let bytes = read(&log.path, after).map_err(|error| unread(&log.id, &error))?;
            Ok::<_, Problem>((heard, bytes, log.is_complete))
        });
        let (heard, bytes, is_complete) =
            looked.await.inspect_err(|problem| tracing::error!(?problem, "a log cannot be read")).ok()?;
        self.heard = heard;
        Some((bytes, is_complete))
    }
}

/// Returns how many bytes there are up to a character that may still be on its way.
fn whole_characters(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let begins = |at: &usize| bytes[*at] >= 0xc0;
    match (tail..bytes.len()).rev().find(begins) {
        Some(at) => {
            let length = match bytes[at] {
                0xf0.. => 4,
                0xe0.. => 3,
                _ => 2,
            };
            if at + length > bytes.len() { at } else { bytes.len() }
        }
        None => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_is_cut_waits_for_its_rest() {
        let text = "aé€😀".as_bytes();
        let wholes: Vec<usize> = (0..=text.len()).map(|end| whole_characters(&text[..end])).collect();
        assert_eq!(wholes, [0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10]);
        // What is no text at all does not wait for ever.
        assert_eq!(whole_characters(&[0x80; 9]), 9);
    }
}
