//! What is sent of an instance beside its page: its log, the lines of it that come, and the files that it made.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::KeepAlive;
use axum::response::{IntoResponse as _, Response, Sse};
use cairn_executor::stored_bytes;
use cairn_model::{AttemptId, Digest};
use cairn_scheduler::history::History;
use cairn_store::Checkpoint;
use serde::Deserialize;

use super::{Which, instance_name};
use crate::api::{App, Problem, find_run_here};
use crate::carry_out::blocking;
use crate::web::shell::Fault;
use crate::web::{log, preview};

fn attempt_of(app: &App, run: &str, instance: &str, number: Option<u32>) -> Result<AttemptId, Problem> {
    let run = find_run_here(&app.daemon, run)?;
    let instance = instance_name(instance)?;
    let number = if let Some(number) = number {
        number
    } else {
        let events = app.daemon.store().events(run)?;
        let history = History::of(events.iter().map(|(_, event)| event));
        let last = history.instance(&instance).and_then(|heard| heard.last_attempt);
        last.ok_or_else(|| Problem::unknown(format!("`{instance}` was not tried in run {}", run.short())))?
    };
    Ok(AttemptId { run, instance, number })
}

/// Sends a log as it is.
pub(super) async fn log_as_it_is(
    State(app): State<App>,
    Path((run, instance)): Path<(String, String)>,
    Query(which): Query<Which>,
) -> Result<Response, Fault> {
    let bytes = blocking(move || -> Result<Vec<u8>, Problem> {
        let attempt = attempt_of(&app, &run, &instance, which.attempt)?;
        let path = log::path(&app.daemon.state, &attempt);
        let gone = |error: std::io::Error| Problem::unknown(format!("the log cannot be read: {error}"));
        if std::fs::metadata(&path).map_err(gone)?.len() > preview::FILE_MAX {
            return Err(
                Problem::bad("the log is too long to be sent").help(format!("it is in `{}`", path.display()))
            );
        }
        std::fs::read(&path).map_err(gone)
    })
    .await?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
}

#[derive(Deserialize)]
pub(super) struct After {
    attempt: Option<u32>,
    /// Where it goes on: the id of an event, or what the page says.
    after: Option<String>,
}

/// Streams the lines of a log that come.
pub(super) async fn lines_to_come(
    State(app): State<App>,
    Path((run, instance)): Path<(String, String)>,
    Query(after): Query<After>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let (app, attempt) =
        blocking(move || attempt_of(&app, &run, &instance, after.attempt).map(|attempt| (app, attempt)))
            .await?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(after.after.as_deref());
    let place = last.and_then(|id| id.parse().ok()).unwrap_or_default();
    let path = log::path(&app.daemon.state, &attempt);
    let daemon = app.daemon;
    let goes_on = move || {
        let open = daemon.store().attempt(&attempt).ok().flatten().is_some();
        open && daemon.signals().contains_key(&attempt.run)
    };
    let lines = log::follow(&path, place, goes_on);
    Ok(Sse::new(lines).keep_alive(KeepAlive::default()).into_response())
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    path: String,
}

/// Sends a file that an instance made, by the path in its manifest.
pub(super) async fn output(
    State(app): State<App>,
    Path((run, instance)): Path<(String, String)>,
    Query(Wanted { path }): Query<Wanted>,
) -> Result<Response, Fault> {
    let (bytes, name) = blocking(move || -> Result<(Vec<u8>, String), Problem> {
        let daemon = &app.daemon;
        let run = find_run_here(daemon, &run)?;
        let instance = instance_name(&instance)?;
        let events = daemon.store().events(run)?;
        let history = History::of(events.iter().map(|(_, event)| event));
        let hash = history.instance(&instance).and_then(|heard| heard.input_hash);
        let found = hash.map(|hash| daemon.store().recorded(&hash)).transpose()?.flatten();
        let digest = found.and_then(|(checkpoint, _)| digest_of(&checkpoint, &path));
        let unknown =
            || Problem::unknown(format!("`{instance}` made no file `{path}` in run {}", run.short()));
        let digest = digest.ok_or_else(unknown)?;
        let bytes =
            stored_bytes(daemon.store(), &daemon.state, &digest, preview::FILE_MAX).ok_or_else(|| {
                Problem::unknown(format!(
                    "the bytes of `{path}` are no longer kept, or are too many to be sent"
                ))
            })?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
        Ok((bytes, name.chars().map(plain).collect()))
    })
    .await?;
    // What is no picture is a text to read or a file to keep, whatever it says that it is.
    let (kind, place) = match preview::picture_type(&bytes) {
        Some(kind) => (kind, "inline"),
        None if std::str::from_utf8(&bytes).is_ok() => ("text/plain; charset=utf-8", "inline"),
        None => ("application/octet-stream", "attachment"),
    };
    let place = format!("{place}; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, place)];
    Ok((headers, bytes).into_response())
}

fn digest_of(checkpoint: &Checkpoint, path: &str) -> Option<Digest> {
    checkpoint.manifest.outputs.iter().find_map(|output| {
        let rest = path.strip_prefix(output.path.as_str())?;
        let below = if rest.is_empty() { "" } else { rest.strip_prefix('/')? };
        let file = output.content.files().find(|(at, _)| String::from_utf8_lossy(at) == below)?;
        Some(file.1.digest)
    })
}
