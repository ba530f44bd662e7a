//! Every page, rendered from a store in which all texts that come from outside try to be markup.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::{Extension, Router};
use cairn_executor::isolation::Keeper;
use cairn_model::{
    AttemptId, Counts, Digest, EffectMode, EffectState, Event, FixedClock, InputHash, InstanceEvent,
    InstanceName, Interval, Reason, RunEvent, RunId, RunStatus, Timestamp,
};
use cairn_store::{
    Access, Batch, DeadId, DeadKind, DeadLetter, Durability, Effect, Fate, Occurrence, ProcessId, RunOptions,
    RunRecord, Store, Ticket, TicketStage, Trigger, TriggerKind,
};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::api;
use crate::catalog::Located;
use crate::daemon::{Daemon, Setup};
use crate::gate::{Gate, Way};

const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";

const PIPELINE: &str = r#"
[pipeline]
name = "p"
description = '''"'><script>alert(1)</script>'''

[params]
word = '''"'><script>alert(1)</script>'''
many = 3

[schedule]
every = "1h"

[stages.a]
description = '''"'><script>alert(1)</script>'''
run = '''echo "<script>alert(1)</script>"'''
outputs = []

[stages.b]
run = "true"
needs = ["a"]
outputs = []
"#;

const DAILY: &str = r#"
[pipeline]
name = "d"

[params]
word = "x"

[schedule]
cron = "@daily"

[stages.a]
run = "echo {{ params.word }} > {{ outputs.day }}"
outputs = { day = "days/{{ interval.start | date }}.txt" }
"#;

struct World {
    _folder: tempfile::TempDir,
    router: Router,
    run: RunId,
    letter: String,
}

fn located(folder: &Path, file: &str) -> Located {
    Located {
        file: folder.join(file),
        shown: file.to_owned(),
        root: folder.to_owned(),
        state: folder.join(".cairn"),
        default_name: file.trim_end_matches(".toml").to_owned(),
    }
}

fn world() -> World {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().canonicalize().unwrap();
    std::fs::write(folder.join("p.toml"), PIPELINE).unwrap();
    std::fs::write(folder.join("d.toml"), DAILY).unwrap();
    std::fs::write(folder.join("bad.toml"), format!("[stages.a]\n'''{HOSTILE}''' = 1\n")).unwrap();
    let clock = Arc::new(FixedClock::new(Timestamp(1_800_000_000_000)));
    let state = folder.join(".cairn");
    let store = Store::open(&state, Access::Write, &*clock).unwrap();
    let run = RunId::from_bytes([7; 16]);
    let letter = fill(&store, &state, run);
    let files = ["p.toml", "d.toml", "bad.toml"].map(|file| located(&folder, file)).to_vec();
    let setup = Setup {
        telling: crate::Telling::default(),
        spans: None,
        root: folder.clone(),
        state,
        store,
        clock,
        pipelines: Box::new(move || Ok(files.clone())),
        // It is never asked to run anything.
        keeper: Keeper::start(Path::new("/bin/cat")).unwrap(),
        held: Vec::new(),
        runs_max: 1,
        jobs: None,
    };
    let daemon = Daemon::new(setup).unwrap();
    let router = api::router(daemon, Arc::new(Gate::new("token".to_owned(), Vec::new())));
    World { _folder: temporary, router, run, letter }
}

/// Enters a run that failed with hostile words everywhere. Returns the id of a dead letter.
#[expect(clippy::too_many_lines, reason = "one store with everything in it")]
fn fill(store: &Store, state: &Path, run: RunId) -> String {
    let pipeline: cairn_model::Name = "p".parse().unwrap();
    let instance = InstanceName::new("a".parse().unwrap(), None);
    let hostile = InstanceName::new("m".parse().unwrap(), Some(HOSTILE.to_owned()));
    let input_hash = InputHash::of_preimage(b"x");
    let mut batch = Batch::new();
    let definition = batch.put_definition(PIPELINE.as_bytes());
    let counts = Counts { failed: 2, ..Counts::default() };
    let params = vec![("word".to_owned(), HOSTILE.to_owned())];
    let options =
        RunOptions { jobs: 1, keep_going: false, frozen: false, force: cairn_store::Force::Nothing };
    let record = RunRecord {
        pipeline: pipeline.clone(),
        file: "p.toml".to_owned(),
        definition,
        params: params.clone(),
        logical_time: Timestamp(3_600_000),
        started: Timestamp(1_000),
        ended: Some(Timestamp(9_000)),
        status: RunStatus::Failed,
        counts,
        selection: vec![
            HOSTILE.to_owned(),
            "--interval=1970-01-01T00:00:00Z/1970-01-01T01:00:00Z".to_owned(),
        ],
        options: options.clone(),
        caller: None,
        command_line: vec![HOSTILE.to_owned()],
        process: ProcessId::current(),
        cairn_version: HOSTILE.to_owned(),
        saved_ms: 0,
    };
    batch.put_run(run, &record);
    let ticket = Ticket {
        pipeline: pipeline.clone(),
        file: "p.toml".to_owned(),
        definition,
        params,
        selection: Vec::new(),
        options,
        caller: None,
        logical_time: Timestamp(0),
        interval: None,
        priority: 0,
        trigger: Trigger { kind: TriggerKind::Sensor, detail: HOSTILE.to_owned() },
        submitted: Timestamp(500),
        not_before: None,
        retries: 0,
        stage: TicketStage::Ended,
        error: Some(HOSTILE.to_owned()),
        cancel: None,
    };
    batch.put_ticket(run, &ticket);
    let mut event = |at, what| batch.event(run, &Event { at: Timestamp(at), what });
    event(1_000, RunEvent::Started { instances: 2, resumed: false });
    for name in [&instance, &hostile] {
        let started = InstanceEvent::AttemptStarted {
            attempt: 1,
            input_hash,
            reason: Reason::Failed(HOSTILE.to_owned()),
        };
        let failed =
            InstanceEvent::Failed { attempts: 1, error: HOSTILE.to_owned(), help: Some(HOSTILE.to_owned()) };
        event(2_000, RunEvent::Instance { instance: name.clone(), event: started });
        event(8_000, RunEvent::Instance { instance: name.clone(), event: failed });
    }
    event(9_000, RunEvent::Ended { status: RunStatus::Failed });
    let letter = DeadLetter {
        kind: DeadKind::Record,
        pipeline: pipeline.clone(),
        instance: hostile.clone(),
        key: HOSTILE.to_owned(),
        payload: serde_json::to_vec(&serde_json::json!({ HOSTILE: HOSTILE })).unwrap(),
        digest: DeadLetter::digest_of(b"x"),
        source: Some((HOSTILE.to_owned(), 3)),
        class: HOSTILE.to_owned(),
        error: HOSTILE.to_owned(),
        attempts: vec![(Timestamp(1), HOSTILE.to_owned())],
        input_hash: None,
        run,
        idempotency_key: HOSTILE.to_owned(),
        died: Timestamp(2),
        retry: None,
        edited: None,
        retries: 0,
    };
    batch.put_dead(&letter);
    batch.put_dead(&DeadLetter {
        kind: DeadKind::Instance,
        instance: instance.clone(),
        digest: DeadLetter::digest_of(b""),
        payload: Vec::new(),
        ..letter.clone()
    });
    let effect = Effect {
        state: EffectState::InDoubt,
        mode: EffectMode::AtMostOnce,
        instance: hostile.clone(),
        attempts: 1,
        input_hash,
        run,
        intended: Timestamp(3),
        settled: None,
        probe: Some(HOSTILE.to_owned()),
        error: Some(HOSTILE.to_owned()),
        undo: None,
        drifted: None,
        asked: None,
    };
    batch.put_effect(&pipeline, HOSTILE, &effect);
    let interval = Interval { start: Timestamp(0), end: Timestamp(1) };
    let dropped = Occurrence { decided: Timestamp(5), interval, fate: Fate::Dropped(HOSTILE.to_owned()) };
    batch.put_occurrence((&pipeline, Timestamp(4), [1; 16]), &dropped);
    let _ = store.commit(batch, Durability::Written).unwrap();
    for name in [instance, hostile] {
        let log = super::log::path(state, &AttemptId { run, instance: name, number: 1 });
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        std::fs::write(&log, format!("\x1b[31m{HOSTILE}\x1b[0m\n")).unwrap();
        std::fs::write(cairn_executor::isolation::log::index_path(&log), "").unwrap();
    }
    letter.id().to_string()
}

async fn ask(router: &Router, method: &str, path: &str, body: &str) -> (StatusCode, String, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, "text/html")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let socket = router.clone().layer(Extension(Way::Socket));
    let response = socket.oneshot(request).await.unwrap();
    let status = response.status();
    let text = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let told = if status.is_redirection() { text(header::LOCATION) } else { text(header::CONTENT_TYPE) };
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, told, String::from_utf8_lossy(&bytes).into_owned())
}

#[tokio::test]
async fn no_text_from_outside_becomes_markup_on_any_page() {
    let World { _folder, router, run, letter } = world();
    let hostile = super::markup::url_part(&format!("m[{HOSTILE}]"));
    let pages = [
        "/".to_owned(),
        format!("/?q={}", super::markup::url_part(HOSTILE)),
        "/runs".to_owned(),
        format!("/runs?pipeline={0}&status={0}", super::markup::url_part(HOSTILE)),
        format!("/runs/{run}"),
        format!("/runs/{run}/stages/a"),
        format!("/runs/{run}/stages/a?lineage=1"),
        format!("/runs/{run}/stages/{hostile}"),
        "/pipelines/p".to_owned(),
        "/dead".to_owned(),
        format!("/dead/{letter}"),
        "/effects".to_owned(),
        "/schedule".to_owned(),
        "/schedule?pipeline=p&day=1970-01-01".to_owned(),
        "/pipelines/d/backfill".to_owned(),
        "/pipelines/d/backfill?from=2026-01-01&to=2026-01-09".to_owned(),
        format!("/pipelines/d/backfill/{run}"),
        "/system".to_owned(),
        format!("/runs/{hostile}"),
        format!("/{hostile}"),
    ];
    for page in pages {
        let (status, kind, html) = ask(&router, "GET", &page, "").await;
        assert!(status.is_success() || status == StatusCode::NOT_FOUND, "{page}: {status} {html}");
        assert!(kind.starts_with("text/html"), "{page}: {kind}");
        assert!(!html.contains("<script>") && !html.contains("<img"), "{page}: {html}");
        // What the policy of the pages would refuse is not there either.
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "{page}");
        assert_eq!(html.matches("<h1").count(), 1, "{page} has one heading of the first rank");
        let mut ids: Vec<&str> =
            html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        ids.sort_unstable();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{page}: an id is there twice: {ids:?}");
    }
    for (page, word) in [
        (format!("/runs/{run}"), "class=\"pill bad\""),
        (format!("/runs/{run}/stages/a"), "&lt;script&gt;alert(1)"),
        ("/effects".to_owned(), "It took place"),
        ("/schedule".to_owned(), "dropped: "),
        ("/schedule?day=1970-01-01".to_owned(), "dropped"),
        ("/schedule".to_owned(), "to come"),
        // The first moment of a day is a part of it.
        ("/schedule?pipeline=d&day=2027-02-01".to_owned(), ">2027-02-01 00:00:00 +00:00<"),
        ("/schedule?pipeline=d&day=2027-02-01".to_owned(), "by the clock of UTC"),
        ("/".to_owned(), "bad.toml"),
    ] {
        let (_, _, html) = ask(&router, "GET", &page, "").await;
        assert!(html.contains(word), "{page} has no `{word}`: {html}");
    }
}

#[tokio::test]
async fn buttons_do_what_they_say_and_lead_on() {
    let World { _folder, router, run, letter } = world();
    let (status, to, html) = ask(&router, "POST", "/pipelines/p/runs", "param-many=3&param-word=x").await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{html}");
    let (status, _, html) = ask(&router, "GET", &to, "").await;
    assert!(
        status.is_success() && html.contains("queued") && html.contains("word=x") && !html.contains("many="),
        "{html}"
    );
    let (status, ..) = ask(&router, "POST", &format!("{to}/cancel"), "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, _, html) = ask(&router, "GET", &to, "").await;
    assert!(html.contains("interrupted") && html.contains("Resume"), "{html}");

    // What is wrong with the form is told on the page, and what was typed is still there.
    let (status, _, html) = ask(&router, "POST", "/pipelines/p/runs", "param-many=few&param-word=kept").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("Not run") && html.contains("value=\"kept\""), "{html}");

    let (status, to, _) = ask(&router, "POST", "/pipelines/p/pause", "").await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, "/"));
    let (_, _, html) = ask(&router, "GET", "/", "").await;
    assert!(html.contains("aria-checked=\"false\""), "{html}");

    let (status, ..) = ask(&router, "POST", &format!("/dead/{letter}/retry"), "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, _, html) = ask(&router, "GET", "/dead", "").await;
    assert!(html.contains("next run"), "{html}");
    let (status, ..) = ask(&router, "POST", &format!("/dead/{letter}/drop"), "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (status, ..) = ask(&router, "GET", &format!("/dead/{letter}"), "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let settle =
        |happened: &str| format!("pipeline=p&happened={happened}&key={}", super::markup::url_part(HOSTILE));
    for (happened, expected) in [
        ("perhaps", StatusCode::BAD_REQUEST),
        ("yes", StatusCode::SEE_OTHER),
        // It is settled: a second word about it is not taken.
        ("no", StatusCode::CONFLICT),
    ] {
        let (status, ..) = ask(&router, "POST", "/effects/settle", &settle(happened)).await;
        assert_eq!(status, expected, "{happened}");
    }
    let (status, ..) = ask(&router, "POST", &format!("/runs/{run}/resume"), "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
}

/// What is typed is shown again, whatever it is, and said to be wrong.
#[tokio::test]
async fn a_backfill_that_cannot_be_is_refused_on_its_page() {
    let World { _folder, router, .. } = world();
    let hostile = super::markup::url_part(HOSTILE);
    for (asked, word) in [
        (format!("from={hostile}&to={hostile}"), "is no date or time"),
        (format!("from=2026-01-01&to=2026-01-09&every={hostile}"), "is no length of an interval"),
        (format!("from=2026-01-01&to=2026-01-09&reprocess={hostile}"), "does not say which intervals"),
        ("from=2026-01-09&to=2026-01-01".to_owned(), "is no later than"),
        ("from=2000-01-01&to=2026-01-01".to_owned(), "are more than the 1000"),
    ] {
        for method in ["GET", "POST"] {
            let (path, body) = match method {
                "GET" => (format!("/pipelines/d/backfill?{asked}"), ""),
                _ => ("/pipelines/d/backfill".to_owned(), asked.as_str()),
            };
            let (status, _, html) = ask(&router, method, &path, body).await;
            assert!(status.is_client_error(), "{asked}: {status}");
            assert!(html.contains("role=\"alert\"") && html.contains(word), "{asked}: {html}");
            assert!(!html.contains("<script>") && !html.contains("<img"), "{asked}: {html}");
        }
    }
    let (_, _, html) = ask(&router, "GET", "/pipelines/p/backfill?from=2026-01-01&to=2026-01-09", "").await;
    assert!(html.contains("reads no interval"), "{html}");
    assert_eq!(
        ask(&router, "GET", "/runs", "").await.2.matches("data-line-link").count(),
        1,
        "nothing was begun"
    );
}

/// To look starts nothing; to start twice makes each interval once; and what waits of it can be taken back.
#[tokio::test]
async fn a_backfill_is_looked_at_started_once_and_cancelled() {
    let World { _folder, router, .. } = world();
    let asked = "from=2026-01-01&to=2026-01-05&reprocess=missing&param-word=y";
    let plan = format!("/pipelines/d/backfill?{asked}");
    for _ in 0..2 {
        let (status, _, html) = ask(&router, "GET", &plan, "").await;
        assert!(status.is_success() && html.contains("4 of 4 intervals would run"), "{html}");
        assert!(html.contains("Thu 1 Jan 2026: 1 would run (never ran before)"), "{html}");
    }
    let (status, to, html) = ask(&router, "POST", "/pipelines/d/backfill", asked).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{html}");
    let (status, _, html) = ask(&router, "POST", "/pipelines/d/backfill", asked).await;
    assert!(status == StatusCode::CONFLICT && html.contains("none of the intervals"), "{status}: {html}");
    let (_, _, html) = ask(&router, "GET", &plan, "").await;
    assert!(html.contains("None of 4 intervals would run") && html.contains("4 asked for"), "{html}");
    let (_, _, html) = ask(&router, "GET", &plan.replace("word=y", "word=z"), "").await;
    assert!(html.contains("4 of 4 intervals would run"), "what is asked for has other params: {html}");

    let (_, _, html) = ask(&router, "GET", &to, "").await;
    assert!(html.contains("4 queued") && html.contains("0 of 4") && html.contains("data-live"), "{html}");
    let runs: Vec<&str> =
        html.split("class=\"mono\" href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let (_, _, run) = ask(&router, "GET", &format!("/api/v1{}", runs[0]), "").await;
    for word in ["\"kind\":\"backfill\"", "\"start\":\"2026-01-01T00:00:00.000Z\"", "\"word\":\"y\""] {
        assert!(run.contains(word), "no {word}: {run}");
    }
    // The page of any of them is the page of all.
    let of_last = to.rsplit_once('/').unwrap().0.to_owned() + runs[3].trim_start_matches("/runs");
    assert!(ask(&router, "GET", &of_last, "").await.2.contains("4 queued"));
    let elsewhere = to.replace("/pipelines/d/", "/pipelines/p/");
    let (status, ..) = ask(&router, "POST", &format!("{elsewhere}/cancel"), "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "it is no backfill of `p`");
    assert!(ask(&router, "GET", &to, "").await.2.contains("4 queued"));
    let (status, ..) = ask(&router, "POST", &format!("{to}/cancel"), "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, _, html) = ask(&router, "GET", &to, "").await;
    assert!(html.contains("4 interrupted") && !html.contains("data-live="), "{html}");
}

/// A run that is started for an instance that died, or again, is about what the first one was about.
#[tokio::test]
async fn what_is_run_again_is_about_the_same_interval() {
    let World { _folder, router, run, .. } = world();
    let about = r#""logical_time":"1970-01-01T01:00:00.000Z","interval":{"start":"1970-01-01T00:00:00.000Z","end":"1970-01-01T01:00:00.000Z"}"#;
    let (_, _, first) = ask(&router, "GET", &format!("/api/v1/runs/{run}"), "").await;
    assert!(first.contains(about), "its ticket says nothing of it: {first}");
    let dead = DeadId::of_instance(&"p".parse().unwrap(), &InstanceName::new("a".parse().unwrap(), None));
    let (status, to, html) = ask(&router, "POST", &format!("/dead/{dead}/retry"), "").await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{html}");
    let (_, _, again) = ask(&router, "GET", &format!("/api/v1{to}"), "").await;
    assert!(again.contains(about), "{again}");
}

/// A page that looks again does not have drawn what stays on it.
#[tokio::test]
async fn a_page_that_looks_again_is_not_sent_its_log() {
    let World { _folder, router, run, .. } = world();
    let path = format!("/runs/{run}/stages/a");
    let (_, _, html) = ask(&router, "GET", &path, "").await;
    assert!(html.contains("id=\"L1\""), "{html}");
    let request = Request::builder().uri(&path).header("cairn-looks-again", "1").body(Body::empty()).unwrap();
    let response = router.layer(Extension(Way::Socket)).oneshot(request).await.unwrap();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let html = String::from_utf8_lossy(&bytes);
    assert!(html.contains("id=\"head\"") && !html.contains("id=\"L1\""), "{html}");
}

#[tokio::test]
async fn paths_lead_nowhere_else() {
    let World { _folder, router, run, .. } = world();
    for path in [
        "/static/..%2fCargo.toml".to_owned(),
        "/static/%2e%2e%2fsrc%2flib.rs".to_owned(),
        "/runs/..".to_owned(),
        "/pipelines/..%2f..".to_owned(),
        format!("/runs/{run}/stages/..%2f..%2fstore"),
        format!("/runs/{run}/stages/a/output?path=../../../../etc/passwd"),
        format!("/runs/{run}/stages/a/output?path=/etc/passwd"),
        format!("/runs/{run}/stages/a%5B..%2F..%2Fx%5D/log?attempt=1"),
        "/dead/..".to_owned(),
    ] {
        let (status, ..) = ask(&router, "GET", &path, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    let (status, kind, _) = ask(&router, "GET", "/static/app.js", "").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/javascript; charset=utf-8"));
}

#[tokio::test]
async fn without_a_token_no_page_and_no_button_answers() {
    let World { _folder, router, run, letter } = world();
    let tcp = router.layer(Extension(Way::Tcp));
    let get =
        ["/", "/runs", "/schedule", "/dead", "/effects", "/system", "/live", "/search?q=p", "/static/app.js"];
    let get = get.map(str::to_owned).into_iter().chain([
        format!("/runs/{run}"),
        format!("/live/{run}"),
        format!("/runs/{run}/stages/a"),
        format!("/runs/{run}/stages/a/log"),
        format!("/runs/{run}/stages/a/log/live"),
        format!("/runs/{run}/stages/a/output?path=x"),
        "/pipelines/p".to_owned(),
        "/pipelines/d/backfill".to_owned(),
        format!("/pipelines/d/backfill/{run}"),
        format!("/dead/{letter}"),
    ]);
    let post = [
        "/pipelines/p/runs".to_owned(),
        "/pipelines/p/pause".to_owned(),
        "/pipelines/p/unpause".to_owned(),
        format!("/runs/{run}/cancel"),
        format!("/runs/{run}/resume"),
        format!("/runs/{run}/rerun"),
        format!("/dead/{letter}/retry"),
        format!("/dead/{letter}/drop"),
        "/effects/settle".to_owned(),
        "/effects/undo".to_owned(),
        "/pipelines/d/backfill".to_owned(),
        format!("/pipelines/d/backfill/{run}/cancel"),
    ];
    let all = get.map(|path| ("GET", path)).chain(post.map(|path| ("POST", path)));
    for (method, path) in all {
        for (host, token, status) in [
            ("localhost", "", if method == "GET" { 303 } else { 401 }),
            ("localhost", "Bearer other", if method == "GET" { 303 } else { 401 }),
            ("evil.example", "Bearer token", 403),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header(header::HOST, host)
                .header(header::ACCEPT, "text/html")
                .header(header::AUTHORIZATION, token)
                .body(Body::empty())
                .unwrap();
            let response = tcp.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{method} {path} at {host}");
        }
        if method == "POST" {
            // Even who knows the token has to come from a page of ours.
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header(header::HOST, "localhost")
                .header(header::ORIGIN, "http://evil.example")
                .header(header::AUTHORIZATION, "Bearer token")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Body::from("happened=yes"))
                .unwrap();
            let response = tcp.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
        }
    }
}

/// Everything that is written in the colours of a state can be read, in both themes: WCAG 1.4.3 and 1.4.11.
#[test]
fn the_palette_has_contrast() {
    let css = include_str!("../../static/cairn.css");
    let colours = |name: &str| -> [[f64; 3]; 2] {
        let line = css.lines().find_map(|line| line.trim().strip_prefix(&format!("--{name}: light-dark(")));
        let line = line.unwrap_or_else(|| panic!("no colour `{name}`"));
        let (light, dark) = line.trim_end_matches(");").split_once(", ").unwrap();
        [light, dark].map(|hex| {
            let number = u32::from_str_radix(&hex[1..], 16).unwrap();
            [16, 8, 0].map(|shift| f64::from((number >> shift) & 255) / 255.0)
        })
    };
    let luminance = |colour: [f64; 3]| {
        let [red, green, blue] = colour
            .map(|part| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let check = |front: &str, back: &str, least: f64| {
        for (theme, (front_colour, back_colour)) in colours(front).into_iter().zip(colours(back)).enumerate()
        {
            let (one, other) = (luminance(front_colour), luminance(back_colour));
            let ratio = (one.max(other) + 0.05) / (one.min(other) + 0.05);
            assert!(ratio >= least, "`{front}` on `{back}` in theme {theme}: {ratio:.2}");
        }
    };
    for state in ["good", "fresh", "run", "again", "bad", "stop", "hold", "doubt", "wait"] {
        check(state, &format!("{state}-bg"), 4.5);
        check(state, "card", 4.5);
    }
    for (front, back) in [
        ("ink", "bg"),
        ("ink", "card"),
        ("ink", "raised"),
        ("quiet", "bg"),
        ("quiet", "card"),
        ("quiet", "raised"),
        ("quiet", "wait-bg"),
        ("accent", "card"),
        ("accent", "bg"),
        ("accent", "raised"),
        ("accent-ink", "accent"),
    ] {
        check(front, back, 4.5);
    }
    for back in ["bg", "card"] {
        check("edge", back, 3.0);
        check("focus", back, 3.0);
    }
}

#[test]
fn what_is_not_there_has_no_digest() {
    // A store that was never written to has no bytes for anybody.
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".cairn");
    let store = Store::open(&state, Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
    let digest = Digest::from_bytes([1; 32]);
    assert_eq!(cairn_executor::stored_bytes(&store, &state, &digest, 10), None);
}
