//! The daemon that holds the project's store, asked by its socket: HTTP, as its API has it.

mod ask;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use cairn_model::SystemClock;
use cairn_store::{Access, Holder, OpenError, Store};

use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::past::Past;
use crate::project::claim;

/// How long it is waited for the next daemon when one went away while it is asked, or while a run is followed.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// A daemon that was heard for so long is there: one that ends each conversation at once is not.
const HEARD: Duration = Duration::from_secs(1);
/// How long it is waited for a daemon that holds the store and does not listen: it is about to begin, or to end.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// How long it is waited for a daemon of which nothing is to be seen: it may have been started a moment ago.
const STARTS_WITHIN: Duration = Duration::from_secs(1);

/// A daemon that answers.
#[derive(Debug)]
pub(crate) struct Remote {
    socket: PathBuf,
    state: PathBuf,
    runtime: Runtime,
}

/// Who writes to a project's store.
#[derive(Debug)]
pub(crate) enum Writer {
    /// This process, which holds it now.
    Here(Store),
    /// The daemon that holds it.
    There(Remote),
}

impl Writer {
    /// Finds the daemon of a state folder, or opens the store where there is none.
    pub(crate) fn find(state: &Path, root: &Path) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            if let Some(remote) = Remote::find(state)? {
                return Ok(Self::There(remote));
            }
            claim(state, root)?;
            match Store::open(state, Access::Write, &SystemClock) {
                Ok(store) => return Ok(Self::Here(store)),
                Err(OpenError::Locked { holder: Some(holder), .. })
                    if is_daemon(&holder) && began.elapsed() < BEGINS_WITHIN =>
                {
                    std::thread::sleep(LOOK);
                }
                Err(OpenError::Locked { path, holder: Some(holder) }) if is_daemon(&holder) => {
                    let error = OpenError::Locked { path, holder: Some(holder) };
                    return Err(Failure::of(ExitStatus::Store, &error).help(no_socket(state)));
                }
                Err(error) => {
                    return Err(Failure::of(ExitStatus::Store, &error).maybe_help(error.help()));
                }
            }
        }
    }
}

/// Says what is amiss with a daemon that holds the store and cannot be asked.
fn no_socket(state: &Path) -> String {
    let socket = cairn_server::listen::expected_socket(state);
    format!("its socket `{}` is missing: its log tells why; restart it if it stays so", socket.display())
}

/// Returns whether a process is a daemon, as far as its command line tells: one that is none is waited for in vain.
fn is_daemon(holder: &Holder) -> bool {
    holder.command.split(' ').skip(1).any(|word| word == "serve")
}

/// The statuses of a run that is not over.
pub(crate) const GOES_ON: [&str; 2] = ["queued", "running"];

/// How a run that is cancelled ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What runs is asked to end.
    Gently,
    /// What runs is killed.
    Now,
}

impl Ending {
    /// Returns the body of a request that asks for it.
    pub(crate) fn body(self) -> Value {
        let how = match self {
            Self::Gently => "gently",
            Self::Now => "now",
        };
        json!({ "how": how })
    }
}

/// The project's store, to change something small in it: open here, or held by a daemon that is asked to.
#[derive(Debug)]
pub(crate) enum Held {
    /// Open for writing.
    Here(Store),
    /// Open for reading: the daemon writes.
    There(Remote, Store),
}

impl Held {
    /// Opens it; a store that is not there holds nothing to be changed.
    pub(crate) fn open(context: &Context) -> Result<Self, Failure> {
        let project = context.project()?;
        let state = Past::require(&project)?.state;
        match Writer::find(&state, &project.root_of(&state))? {
            Writer::Here(store) => Ok(Self::Here(store)),
            Writer::There(remote) => Ok(Self::There(remote, Past::require(&project)?.store)),
        }
    }

    /// Returns the store, to read from.
    pub(crate) fn store(&self) -> &Store {
        match self {
            Self::Here(store) | Self::There(_, store) => store,
        }
    }

    /// Closes it.
    pub(crate) fn close(self) -> Result<(), Failure> {
        match self {
            Self::Here(store) => {
                store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))
            }
            Self::There(..) => Ok(()),
        }
    }
}

/// Who can be connected to, but does not talk as a daemon does.
#[derive(Debug, thiserror::Error)]
#[error("the daemon does not answer: {why}")]
pub(crate) struct Silent {
    why: String,
    /// Whether it may have heard what it was asked.
    heard: bool,
}

impl Silent {
    /// It may have heard the request.
    fn heard(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), heard: true }
    }

    /// Nothing was sent to it.
    fn unheard(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), heard: false }
    }
}

impl Remote {
    /// Finds the daemon of a state folder.
    pub(crate) fn find(state: &Path) -> Result<Option<Self>, Failure> {
        let Some(socket) = cairn_server::listen::find_socket(state) else { return Ok(None) };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(ExitStatus::Store, format!("cannot start a runtime: {error}")))?;
        Ok(Some(Self { socket, state: state.to_owned(), runtime }))
    }

    /// Finds the daemon of a state folder, waiting for one that begins or ends, and fails where none runs.
    pub(crate) fn require(state: &Path) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            if let Some(remote) = Self::find(state)? {
                return Ok(remote);
            }
            let daemon = Store::holder(state).filter(is_daemon);
            let within = if daemon.is_some() { BEGINS_WITHIN } else { STARTS_WITHIN };
            if began.elapsed() < within {
                std::thread::sleep(LOOK);
                continue;
            }
            return Err(match daemon {
                Some(holder) => {
                    let Holder { process, command, .. } = &holder;
                    let text = format!("the daemon, process {} (`{command}`), does not listen", process.pid);
                    Failure::new(ExitStatus::Store, text).help(no_socket(state))
                }
                None => Failure::new(ExitStatus::Wrong, "no daemon runs for this project")
                    .help("start one: `cairn serve`"),
            });
        }
    }

    /// Runs what talks to the daemon.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Sends a request, and returns the response with its body to come.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        extra: Option<(&str, &str)>,
    ) -> Result<hyper::Response<hyper::body::Incoming>, Silent> {
        let stream = UnixStream::connect(&self.socket).await.map_err(Silent::unheard)?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(Silent::unheard)?;
        tokio::spawn(async move {
            // What goes wrong with it is told by the request.
            let _ = connection.await;
        });
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
        if let Some((name, value)) = extra {
            request = request.header(name, value);
        }
        if let Some(caller) = crate::telemetry::caller() {
            request = request.header("traceparent", caller.to_string());
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(Silent::unheard)?;
        sender.send_request(request).await.map_err(Silent::heard)
    }

    /// Follows the events of a run after the one with number `after` until it is over; each is given to `take`.
    pub(crate) async fn follow(
        &self,
        run: &str,
        after: u64,
        mut take: impl FnMut(cairn_model::Event),
    ) -> Result<(), Silent> {
        let mut last = if after == 0 { String::new() } else { after.to_string() };
        let mut silent_since: Option<Instant> = None;
        loop {
            let before = last.clone();
            let mut answered: Option<Instant> = None;
            let followed = self.follow_on(run, &mut last, &mut answered, &mut take).await;
            let Err(error) = followed else { return Ok(()) };
            // The daemon was killed, or is started anew: the next one goes on with the run.
            if last != before || answered.is_some_and(|at| at.elapsed() > HEARD) {
                silent_since = None;
            }
            if silent_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks for a run to be cancelled until the daemon answers: it may be just replaced, and sent again it is the same
    /// request. Who follows the run gives up when none comes.
    pub(crate) async fn cancel(&self, run: &str, ending: Ending) -> Result<(), Failure> {
        let path = format!("/api/v1/runs/{run}/cancel");
        loop {
            match self.exchange(Method::POST, &path, Some(&ending.body()), None).await {
                Ok((status, _)) if status.is_success() || status == StatusCode::CONFLICT => return Ok(()),
                Ok((status, answer)) => return Err(told(status, &answer)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Follows the events after `last` for as long as the conversation lasts, and says since when it does.
    async fn follow_on(
        &self,
        run: &str,
        last: &mut String,
        answered: &mut Option<Instant>,
        take: &mut impl FnMut(cairn_model::Event),
    ) -> Result<(), Silent> {
        let path = format!("/api/v1/runs/{run}/events");
        let after = Some(("last-event-id", last.as_str())).filter(|(_, last)| !last.is_empty());
        let mut response = self.send(Method::GET, &path, None, after).await?;
        if !response.status().is_success() {
            return Err(Silent::heard(format!("it answered {}", response.status())));
        }
        *answered = Some(Instant::now());
        let mut pending = Vec::new();
        while let Some(frame) = response.frame().await {
            let frame = frame.map_err(Silent::heard)?;
            pending.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            while let Some(end) = pending.windows(2).position(|pair| pair == b"\n\n") {
                let message: Vec<u8> = pending.drain(..end + 2).collect();
                let message = String::from_utf8_lossy(&message);
                if let Some(id) = message.lines().find_map(|line| line.strip_prefix("id:")) {
                    id.trim().clone_into(last);
                }
                let data = message.lines().find_map(|line| line.strip_prefix("data:"));
                if let Some(event) = data.and_then(|data| serde_json::from_str(data.trim_start()).ok()) {
                    take(event);
                }
                if message.lines().any(|line| line == "event: done") {
                    return Ok(());
                }
            }
        }
        Err(Silent::heard("it ended the conversation"))
    }
}

/// Says that the daemon did not answer.
#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
pub(crate) fn silent(error: Silent) -> Failure {
    Failure::of(ExitStatus::Store, &error).help("its log tells more; the run itself goes on")
}

/// Passes on what the daemon says is wrong.
pub(crate) fn told(status: StatusCode, answer: &Value) -> Failure {
    let text = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let exit = match status {
        StatusCode::SERVICE_UNAVAILABLE => ExitStatus::Store,
        _ => ExitStatus::Wrong,
    };
    if let Some(report) = text("report") {
        return Failure::drawn(exit, report);
    }
    let detail = text("detail").unwrap_or_else(|| format!("the daemon answered {status}"));
    Failure::new(exit, detail).maybe_help(text("help"))
}

#[cfg(test)]
mod tests {
    use cairn_model::Timestamp;
    use cairn_store::ProcessId;

    use super::*;

    #[test]
    fn a_daemon_is_known_by_its_command_line() {
        let holder = |command: &str| Holder {
            process: ProcessId::current(),
            opened: Timestamp(0),
            command: command.to_owned(),
        };
        for daemon in ["cairn serve", "/usr/bin/cairn --project /p serve --bind 80"] {
            assert!(is_daemon(&holder(daemon)), "{daemon}");
        }
        for other in ["cairn run", "serve run", "cairn run observe.toml", ""] {
            assert!(!is_daemon(&holder(other)), "{other}");
        }
    }
}
