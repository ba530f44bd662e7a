//! `/dead`: what failed for good: looked at, mended, tried again, dropped.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use cairn_model::{RunId, Timestamp};
use cairn_scheduler::json_text;
use cairn_scheduler::launch::{Asked as AskedRun, asked_of};
use cairn_scheduler::letters::Retried;
use cairn_scheduler::select::{Force, Request, Target};
use cairn_store::{DeadKind, DeadLetter, DeadOf, FindDeadError, Trigger, TriggerKind};
use serde::Deserialize;

use super::form::{Form, field};
use super::markup::Markup;
use super::newest::Newest;
use super::run::instance_href;
use super::runs;
use super::shell::{Fault, Place, Shell, page};
use super::words;
use crate::api::{App, Problem};
use crate::carry_out::blocking;
use crate::daemon::Daemon;
use crate::submit::Order;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/dead", get(list))
        .route("/dead/{id}", get(one))
        .route("/dead/{id}/retry", post(retry))
        .route("/dead/{id}/drop", post(drop_one))
}

struct Line {
    id: String,
    short: String,
    kind: &'static str,
    pipeline: String,
    instance: String,
    key: String,
    class: String,
    error: String,
    died: Markup,
    tries: usize,
    asked: bool,
}

#[derive(Template)]
#[template(path = "dead.html")]
struct DeadPage {
    shell: Shell,
    lines: Vec<Line>,
    more: bool,
    pipeline: String,
    kind: String,
    pipelines: Vec<String>,
    kinds: [&'static str; 3],
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    pipeline: String,
    #[serde(default)]
    kind: String,
}

/// Dead letters on the page.
const ROWS: usize = 200;
/// Dead letters that are looked at for them.
const LOOK_MAX: usize = 20_000;

fn line(letter: &DeadLetter, now: Timestamp) -> Line {
    Line {
        id: letter.id().to_string(),
        short: letter.id().short(),
        kind: letter.kind.as_str(),
        pipeline: letter.pipeline.to_string(),
        instance: letter.instance.to_string(),
        key: letter.key.chars().take(60).collect(),
        class: letter.class.clone(),
        error: letter.error.lines().next().unwrap_or_default().chars().take(160).collect(),
        died: words::when(letter.died, now),
        tries: letter.attempts.len(),
        asked: letter.retry.is_some(),
    }
}

async fn list(State(app): State<App>, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let mut lines = Newest::new(ROWS);
        for letter in daemon.store().dead(DeadOf::default()).take(LOOK_MAX) {
            let letter = letter?;
            let fits = (asked.pipeline.is_empty() || letter.pipeline.as_str() == asked.pipeline)
                && (asked.kind.is_empty() || letter.kind.as_str() == asked.kind);
            if fits {
                lines.offer(letter.died, || line(&letter, now));
            }
        }
        Ok(DeadPage {
            shell: Shell::new(daemon, Place::Dead, "Dead letters", "/live"),
            more: lines.left_out(),
            lines: lines.into_vec(),
            pipelines: daemon.catalog().entries().map(|entry| entry.name.to_string()).collect(),
            pipeline: asked.pipeline,
            kind: asked.kind,
            kinds: DeadKind::ALL.map(DeadKind::as_str),
        })
    })
    .await
}

#[derive(Template)]
#[template(path = "letter.html")]
struct LetterPage {
    shell: Shell,
    id: String,
    short: String,
    kind: &'static str,
    pipeline: String,
    instance: String,
    instance_href: String,
    run_short: String,
    run_href: String,
    key: String,
    class: String,
    error: String,
    died: Markup,
    source: Option<String>,
    idempotency_key: String,
    input_hash: Option<String>,
    attempts: Vec<(Markup, String)>,
    payload: Option<String>,
    /// It is a text, which a person may mend.
    can_edit: bool,
    asked: Option<Markup>,
    can_rerun: bool,
}

fn find(daemon: &Daemon, text: &str) -> Result<DeadLetter, Problem> {
    daemon.store().find_dead(text).map_err(|error| match error {
        FindDeadError::Read(error) => error.into(),
        error => Problem::unknown(error.to_string()),
    })
}

async fn one(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Fault> {
    page(move || {
        let daemon = &app.daemon;
        let now = daemon.clock.now();
        let letter = find(daemon, &id)?;
        let text = (letter.kind != DeadKind::Instance).then(|| letter.payload_to_retry());
        let laid_out = text.and_then(json_text::laid_out);
        let payload =
            text.map(|text| laid_out.clone().unwrap_or_else(|| String::from_utf8_lossy(text).into_owned()));
        let short = letter.id().short();
        Ok(LetterPage {
            shell: Shell::new(daemon, Place::Dead, format!("Dead letter {short}"), ""),
            id: letter.id().to_string(),
            short,
            kind: letter.kind.as_str(),
            pipeline: letter.pipeline.to_string(),
            instance: letter.instance.to_string(),
            instance_href: instance_href(letter.run, &letter.instance),
            run_short: letter.run.short(),
            run_href: runs::href(letter.run),
            key: letter.key.clone(),
            class: letter.class.clone(),
            error: letter.error.clone(),
            died: words::at_clock(letter.died),
            source: letter
                .source
                .as_ref()
                .map(|(file, line)| if *line > 0 { format!("{file}:{line}") } else { file.clone() }),
            idempotency_key: letter.idempotency_key.clone(),
            input_hash: letter.input_hash.map(|hash| hash.to_string()),
            attempts: letter
                .attempts
                .iter()
                .map(|(at, error)| (words::at_clock(*at), error.clone()))
                .collect(),
            can_edit: letter.kind == DeadKind::Record
                && text.is_some_and(|text| std::str::from_utf8(text).is_ok()),
            payload,
            asked: letter.retry.as_ref().map(|retry| words::when(retry.asked, now)),
            can_rerun: daemon.entry(letter.pipeline.as_str()).is_ok(),
        })
    })
    .await
}

/// Has the next run take a record in again, mended where it was; of all else, asks for that run now.
async fn retry(
    State(app): State<App>,
    Path(id): Path<String>,
    Form(fields): Form,
) -> Result<Response, Fault> {
    let daemon = Arc::clone(&app.daemon);
    let to = blocking(move || -> Result<String, Problem> {
        let letter = find(&daemon, &id)?;
        let edited = match letter.kind {
            DeadKind::Record => mended(&letter, field(&fields, "payload"))?,
            _ => None,
        };
        let retried = daemon.retry_letters(&[letter.id().to_string()], edited.as_deref())?;
        match retried.first().map(|(_, retried)| retried) {
            Some(Retried::Run { force, .. }) => Ok(runs::href(run_again(&daemon, &letter, *force)?)),
            Some(Retried::TakenIn { .. }) if !field(&fields, "now").is_empty() => {
                Ok(runs::href(run_again(&daemon, &letter, false)?))
            }
            Some(Retried::Script) => Err(Problem::new(StatusCode::CONFLICT, "no stage rejected this record")
                .help("run the script again that rejected it")),
            _ => Ok(format!("/dead/{}", letter.id())),
        }
    })
    .await?;
    Ok(Redirect::to(&to).into_response())
}

/// Reads what a person made of a record; `None` where it is as it was shown: what was mended before stays mended.
fn mended(letter: &DeadLetter, typed: &str) -> Result<Option<Vec<u8>>, Problem> {
    // Browsers end lines as HTTP does.
    let typed = typed.replace("\r\n", "\n");
    let typed = typed.trim();
    let line = json_text::on_one_line(typed.as_bytes());
    let shown = letter.payload_to_retry();
    let same =
        typed.as_bytes() == shown.trim_ascii() || (line.is_some() && line == json_text::on_one_line(shown));
    if typed.is_empty() || same {
        return Ok(None);
    }
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(typed);
    if let Err(error) = is_object {
        return Err(Problem::bad(format!("what was written is not one JSON object: {error}"))
            .help("go back: your text is still in the field"));
    }
    Ok(line.map(String::into_bytes))
}

/// Asks for a run like the one in which it died, of its instance alone: about the same time, and the same interval.
fn run_again(daemon: &Daemon, letter: &DeadLetter, force: bool) -> Result<RunId, Problem> {
    let instance = letter.instance.to_string();
    let record = daemon.store().run(letter.run)?.filter(|record| record.pipeline == letter.pipeline);
    let order = Order {
        pipeline: letter.pipeline.clone(),
        logical_time: record.as_ref().map(|record| record.logical_time),
        asked: AskedRun {
            request: Request {
                force: if force { Force::Named(vec![instance.clone()]) } else { Force::None },
                target: Target::Named(vec![instance]),
                from: Vec::new(),
            },
            // What took place outside is not done again for it.
            force_effects: false,
            ..record.as_ref().map(asked_of).unwrap_or_default()
        },
        priority: 0,
        trigger: Trigger {
            kind: TriggerKind::Hand,
            detail: format!("for dead letter {}", letter.id().short()),
        },
        not_before: None,
    };
    Ok(daemon.submit(&order, None)?.run)
}

async fn drop_one(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Fault> {
    blocking(move || app.daemon.drop_letters(&[id])).await?;
    Ok(Redirect::to("/dead").into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::InstanceName;

    fn letter(payload: &str) -> DeadLetter {
        DeadLetter {
            kind: DeadKind::Record,
            pipeline: "p".parse().unwrap(),
            instance: InstanceName::new("s".parse().unwrap(), None),
            key: String::new(),
            payload: payload.into(),
            digest: DeadLetter::digest_of(payload.as_bytes()),
            source: None,
            class: "sink".to_owned(),
            error: "no".to_owned(),
            attempts: Vec::new(),
            input_hash: None,
            run: RunId::from_bytes([0; 16]),
            idempotency_key: String::new(),
            died: Timestamp(0),
            retry: None,
            edited: None,
            retries: 0,
        }
    }

    #[test]
    fn a_record_is_mended_only_where_a_person_changed_it() {
        let letter = letter(r#"{"a":1.10}"#);
        assert_eq!(mended(&letter, "").unwrap(), None);
        assert_eq!(mended(&letter, "{\n  \"a\": 1.10\n}").unwrap(), None, "laid out is not changed");
        assert_eq!(mended(&letter, "{\"a\": 2}").unwrap().as_deref(), Some(&b"{\"a\":2}"[..]));
        assert!(mended(&letter, "[1]").is_err());
        assert!(mended(&letter, "{").is_err());
        // What was mended before stays so where nothing is typed, and can be taken back.
        let retry = Some(cairn_store::Retry { payload: Some(b"{\"a\":2}".to_vec()), asked: Timestamp(0) });
        let before = DeadLetter { retry, ..letter };
        assert_eq!(mended(&before, "{\"a\": 2}").unwrap(), None);
        assert_eq!(mended(&before, r#"{"a":1.10}"#).unwrap().as_deref(), Some(&br#"{"a":1.10}"#[..]));
        // What is no JSON may be left as it is, and may be mended.
        let broken = self::letter("{\"a\":");
        assert_eq!(mended(&broken, "{\"a\":").unwrap(), None);
        assert!(mended(&broken, "{\"a\": ").is_ok_and(|edited| edited.is_none()));
        assert!(mended(&broken, "{\"b\":").is_err());
        assert_eq!(mended(&broken, "{\"a\":\r\n1}").unwrap().as_deref(), Some(&b"{\"a\":1}"[..]));
    }
}
