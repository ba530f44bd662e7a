//! A run that the daemon carries out, shown here as if it were this process's own.

use std::path::PathBuf;

use cairn_executor::Project;
use cairn_model::{AttemptId, Domain, Event, InstanceEvent, RunEvent, RunId, RunStatus, Timestamp};
use cairn_scheduler::launch::{Asked, expected};
use cairn_scheduler::select::{Force, Target};
use cairn_server::gate::random_hex;
use hyper::Method;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;

use super::{Manner, status};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::past::{Past, damaged};
use crate::remote::{Ending, GOES_ON, Remote, silent};
use crate::shown::{Showing, Shown};
use crate::work::{Checked, selection};

/// Has the daemon run `checked`, and shows what happens until it ends. Also returns which run it is.
pub(crate) fn execute_remotely(
    remote: &Remote,
    checked: &Checked,
    logical_time: Option<Timestamp>,
    asked: &Asked,
    manner: Manner,
) -> Result<(RunId, ExitStatus), Failure> {
    let path = format!("/api/v1/pipelines/{}/runs", checked.pipeline.name);
    // Sent again to the next daemon, it is the same run.
    let key = random_hex();
    let run = remote.ask(Method::POST, &path, Some(&body(checked, asked, logical_time)), Some(&key))?;
    let run = id_of(&run)?;
    Ok((run, follow(remote, (&run, 0), checked, asked, manner)?))
}

/// How a run goes on otherwise than it began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Otherwise {
    /// With the text that was checked.
    pub(crate) current: bool,
    /// With so many cpus in all.
    pub(crate) jobs: Option<u32>,
    /// Past failures.
    pub(crate) keep_going: bool,
}

/// Has the daemon go on with a run, and shows what happens until it ends.
pub(crate) fn resume_remotely(
    remote: &Remote,
    (run, otherwise): (RunId, Otherwise),
    checked: &Checked,
    asked: &Asked,
    manner: Manner,
) -> Result<ExitStatus, Failure> {
    let Otherwise { current, jobs, keep_going } = otherwise;
    let mut body = json!({ "jobs": jobs, "keep_going": keep_going });
    if current {
        body["file"] = checked.definition.relative().into();
        body["definition"] = digest_of(checked).into();
    }
    // How it ended before is not how it ends now.
    let last_event = || -> Result<u64, Failure> {
        let past = Past::open_state(checked.project.state())?;
        let events = past.map(|past| past.store.events(run)).transpose().map_err(damaged)?;
        Ok(events.and_then(|events| events.last().map(|(number, _)| *number)).unwrap_or(0))
    };
    let after = last_event()?;
    // Asked twice, it could go on twice: with what failed the first time.
    let done = || -> Result<Option<Value>, Failure> {
        let known = remote.ask(Method::GET, &format!("/api/v1/runs/{run}"), None, None)?;
        let goes_on =
            known.get("status").and_then(Value::as_str).is_some_and(|status| GOES_ON.contains(&status));
        Ok((goes_on || last_event()? > after).then_some(known))
    };
    let path = format!("/api/v1/runs/{run}/resume");
    let _ = remote.ask_unless(&Method::POST, &path, Some(&body), done)?;
    follow(remote, (&run, after), checked, asked, manner)
}

fn id_of(run: &Value) -> Result<RunId, Failure> {
    let id = run.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    id.ok_or_else(|| Failure::new(ExitStatus::Store, "the daemon answers as none that this cairn knows"))
}

fn body(checked: &Checked, asked: &Asked, logical_time: Option<Timestamp>) -> Value {
    let Asked { request, jobs, keep_going, frozen, force_effects, rollback, params, interval, caller: _ } =
        asked;
    // The caller's span goes with each request.
    let (stages, only) = match &request.target {
        Target::All => (Vec::new(), Vec::new()),
        Target::Named(names) => (names.clone(), Vec::new()),
        Target::Only(names) => (Vec::new(), names.clone()),
    };
    let force = match &request.force {
        Force::None => Value::Bool(false),
        Force::All => Value::Bool(true),
        Force::Named(names) => json!(names),
    };
    let params: serde_json::Map<String, Value> =
        params.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let exact = |time: Timestamp| jiff::Timestamp::from_millisecond(time.0).unwrap_or_default().to_string();
    let interval = interval.map(|it| json!({ "start": exact(it.start), "end": exact(it.end) }));
    json!({
        "params": params, "stages": stages, "only": only, "from": request.from, "force": force, "jobs": jobs,
        "keep_going": keep_going, "frozen": frozen, "force_effects": force_effects, "rollback": rollback,
        "logical_time": logical_time.map(exact), "interval": interval, "by_hand": true,
        "file": checked.definition.relative(),
        "definition": digest_of(checked),
    })
}

fn digest_of(checked: &Checked) -> String {
    Domain::Definition.digest(&checked.definition.bytes).to_string()
}

/// Shows a run from after an event on.
fn follow(
    remote: &Remote,
    (run, after): (&RunId, u64),
    checked: &Checked,
    asked: &Asked,
    manner: Manner,
) -> Result<ExitStatus, Failure> {
    let selected = selection(checked, &asked.request, asked.force_effects)?.selected;
    let (names, expected_ms) = expected(checked, &selected, None);
    let jobs = asked.jobs.unwrap_or_else(crate::work::cpus);
    let shown = Shown::new(checked, *run, jobs, (&names, &expected_ms), manner);
    let showing = Showing::start(shown)
        .map_err(|error| Failure::new(ExitStatus::Store, format!("cannot start a thread: {error}")))?;
    let teller = showing.teller();
    let mut ended = RunStatus::Running;
    let state = checked.project.state().to_owned();
    let watched = remote.block_on(async {
        let (mut interrupt, mut terminate) = listen()?;
        let take = |event: Event| {
            if let RunEvent::Ended { status } = &event.what {
                ended = *status;
            }
            let log = log_of(*run, &event).map(|path| state.join(path));
            teller.event(event, log);
        };
        let id = run.to_string();
        let following = remote.follow(&id, after, take);
        let (ask, mut asked) = unbounded_channel();
        let cancelling = async {
            while let Some(ending) = asked.recv().await {
                remote.cancel(&id, ending).await?;
            }
            Ok(())
        };
        tokio::pin!(following, cancelling);
        let mut ending = Ending::Gently;
        loop {
            tokio::select! {
                done = &mut following => return done.map_err(silent),
                cancelled = &mut cancelling => return cancelled,
                _ = interrupt.recv() => teller.note("  stopping: the daemon ends what runs gently; Ctrl-C again ends it at once\n"),
                _ = terminate.recv() => {}
            }
            // It is listened to as long as this lasts.
            let _ = ask.send(std::mem::replace(&mut ending, Ending::Now));
        }
    });
    remote.block_on(showing.finish(std::future::pending::<()>()));
    watched?;
    if ended == RunStatus::Running {
        return refused(remote, run);
    }
    Ok(status(ended))
}

fn listen() -> Result<(tokio::signal::unix::Signal, tokio::signal::unix::Signal), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(ExitStatus::Store, "cannot listen to signals").because_of(Some(&error))
    };
    let interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    Ok((interrupt, signal(SignalKind::terminate()).map_err(cannot)?))
}

/// Says why a run is over that never began.
fn refused(remote: &Remote, run: &RunId) -> Result<ExitStatus, Failure> {
    let answer = remote.ask(Method::GET, &format!("/api/v1/runs/{run}"), None, None)?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    match (text("error"), text("status").as_deref()) {
        (_, Some("interrupted")) => Ok(ExitStatus::Interrupted),
        (Some(error), _) if error.contains('\n') => Err(Failure::drawn(ExitStatus::Wrong, error)),
        (Some(error), _) => Err(Failure::new(ExitStatus::StageFailed, error)),
        (None, status) => Err(Failure::new(
            ExitStatus::Store,
            format!("the daemon does not go on with the run: it is {}", status.unwrap_or("gone")),
        )),
    }
}

/// The log of the attempt that an event is about, relative to the state folder.
fn log_of(run: RunId, event: &Event) -> Option<PathBuf> {
    let RunEvent::Instance { instance, event } = &event.what else { return None };
    let (InstanceEvent::AttemptStarted { attempt, .. }
    | InstanceEvent::AttemptFailed { attempt, .. }
    | InstanceEvent::Committed { attempt, .. }) = event
    else {
        return None;
    };
    Some(Project::log_path(&AttemptId { run, instance: instance.clone(), number: *attempt }))
}
