//! A daemon on a temporary project, and its router.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::{Extension, Router};
use cairn_executor::isolation::Keeper;
use cairn_executor::{Project, recover};
use cairn_model::SystemClock;
use cairn_server::gate::{Gate, Way};
use cairn_server::{Daemon, Located, Setup, Telling, api};
use cairn_store::{Access, Store};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

/// Longer than anything here takes, on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// The token of the daemons here.
pub(crate) const TOKEN: &str = "a-token";

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Self { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Panics unless the status is this one; returns the body.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.status.is_success() { self.json() } else { self.problem(status) }
    }

    /// Panics unless it is a problem as RFC 9457 has it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}

/// A daemon that begins runs as they come, until it is dropped.
pub(crate) struct Served {
    folder: tempfile::TempDir,
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) router: Router,
    stop: tokio::sync::watch::Sender<bool>,
}

/// The example's binary, which cargo builds before it runs tests, unless `--test` names one.
fn keeper_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/server-keeper");
    assert!(
        path.exists(),
        "run `cargo build -p cairn-server --examples` first: `{}` is missing",
        path.display()
    );
    path
}

/// One that waits until the file `go` is there, and one that fails unless `good` is.
const PIPELINES: [(&str, &str); 3] = [
    (
        "quick",
        "[params]\nword = 'hello'\n[stages.a]\nrun = 'echo {{ params.word }} > a.txt; echo said {{ params.word }}'\noutputs = ['a.txt']\n",
    ),
    (
        "slow",
        "[stages.a]\nrun = 'echo x >> FOLDER/starts; until [ -e FOLDER/go ]; do sleep 0.02; done; echo b > b.txt'\noutputs = ['b.txt']\n[stages.b]\nrun = 'cp b.txt c.txt'\ninputs = ['b.txt']\noutputs = ['c.txt']\n",
    ),
    ("fickle", "[stages.a]\nrun = 'test -e FOLDER/good && echo d > d.txt'\noutputs = ['d.txt']\n"),
];

impl Served {
    /// Starts one with the pipelines above that runs two at once.
    pub(crate) async fn start() -> Self {
        let served = Self::idle().await;
        served.work();
        served
    }

    /// Starts one that begins no run until it is told to [`Self::work`].
    pub(crate) async fn idle() -> Self {
        Self::telling(Telling::default()).await
    }

    /// Starts one that tells somebody of runs, and begins none yet.
    pub(crate) async fn telling(telling: Telling) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for (name, text) in PIPELINES {
            let text = text.replace("FOLDER", &root.display().to_string());
            std::fs::write(root.join(format!("{name}.toml")), text).unwrap();
        }
        let daemon = open(&root, telling).await;
        let gate = Arc::new(Gate::new(TOKEN.to_owned(), vec!["cairn.example".to_owned()]));
        let router = api::router(Arc::clone(&daemon), Arc::clone(&gate));
        Self { folder, daemon, gate, router, stop: tokio::sync::watch::channel(false).0 }
    }

    /// Has it begin runs.
    pub(crate) fn work(&self) {
        let (daemon, stopping) = (Arc::clone(&self.daemon), self.stop.subscribe());
        tokio::spawn(async move { daemon.serve(stopping, Duration::from_secs(1)).await });
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn make(&self, name: &str) {
        std::fs::write(self.path(name), "").unwrap();
    }

    /// Sends a request as it comes by the socket.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().layer(Extension(Way::Socket)).oneshot(request).await.unwrap()
    }

    /// Sends a request as it comes by TCP.
    pub(crate) async fn send_tcp(&self, request: Request<Body>) -> Answer {
        Answer::of(self.router.clone().layer(Extension(Way::Tcp)).oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.send(Request::get(path).body(Body::empty()).unwrap()).await).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.post_with(path, body, &[]).await
    }

    pub(crate) async fn post_with(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(self.send(request.body(Body::from(body.to_owned())).unwrap()).await).await
    }

    /// Asks for a run, and returns its id.
    pub(crate) async fn submit(&self, pipeline: &str, body: &str) -> String {
        let run = self.post(&format!("/api/v1/pipelines/{pipeline}/runs"), body).await.expect(201);
        run["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn status(&self, run: &str) -> String {
        let run = self.get(&format!("/api/v1/runs/{run}")).await.expect(200);
        run["status"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn until_status(&self, run: &str, status: &str) {
        until(status, async || self.status(run).await == status).await;
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.daemon.interrupt_all();
        let _ = self.stop.send(true);
    }
}

async fn open(root: &Path, telling: Telling) -> Arc<Daemon> {
    let state = root.join(".cairn");
    std::fs::create_dir_all(&state).unwrap();
    let project = Project::new(root.to_owned(), state.clone(), root.to_owned());
    let store = Store::open(&state, Access::Write, &SystemClock).unwrap();
    let (keeper, held) = Keeper::outliving(&keeper_program(), &state, &project.state_id()).unwrap();
    let folders = BTreeSet::from([root.to_owned()]);
    let taken = recover::take_over(&project, &store, &folders, &keeper, held).await.unwrap();
    let (root, files) = (root.to_owned(), root.to_owned());
    let (of, listed) = (state.clone(), root.clone());
    let pipelines = move |_: &std::collections::BTreeSet<PathBuf>| {
        let mut found: Vec<PathBuf> = std::fs::read_dir(&files)
            .map_err(|error| error.to_string())?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        found.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        let located = |file: PathBuf| Located {
            shown: file.file_name().unwrap().to_string_lossy().into_owned(),
            default_name: file.file_stem().unwrap().to_string_lossy().into_owned(),
            root: listed.clone(),
            state: of.clone(),
            file,
        };
        Ok(found.into_iter().map(located).collect())
    };
    Daemon::new(Setup {
        root,
        state,
        store,
        clock: Arc::new(SystemClock),
        pipelines: Box::new(pipelines),
        keeper,
        held: taken.attempts,
        runs_max: 2,
        jobs: Some(2),
        telling,
        spans: None,
    })
    .unwrap()
}
