//! Requests with one answer. The daemon may be replaced while it is asked: then the next one is.
//!
//! | | sent again for [`PATIENCE`] |
//! | --- | --- |
//! | nothing was sent yet | always |
//! | the answer was lost: it may have been done, or not | what reads, what has an idempotency key, [`Remote::ask_again`] |
//! | the same, and done twice is not as done once | once it is known that it was not done: [`Remote::ask_unless`] |

use std::time::{Duration, Instant};

use cairn_server::Standing;
use cairn_store::Store;
use http_body_util::BodyExt as _;
use hyper::{Method, StatusCode};
use serde_json::Value;

use super::{PATIENCE, PAUSE, Remote, Silent, is_daemon, silent, told};
use crate::failure::Failure;

/// After so long without an answer it is said who is waited for.
const SLOW: Duration = Duration::from_secs(5);

/// A request.
#[derive(Debug, Clone)]
struct Request<'a> {
    method: Method,
    path: &'a str,
    body: Option<&'a Value>,
    key: Option<&'a str>,
}

/// What came of a request.
#[derive(Debug)]
enum Came {
    Answer(StatusCode, Value),
    /// It was heard, perhaps, and whoever heard it is gone.
    Lost(Silent),
}

impl Remote {
    /// Asks, and returns the answer; an error that the daemon tells is a failure.
    ///
    /// With a key, or if it only reads, it is sent again where the answer is lost.
    pub(crate) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value, Failure> {
        let is_harmless = key.is_some() || method == Method::GET;
        self.ask_as(&Request { method, path, body, key }, is_harmless)
    }

    /// The same, for what has the same effect done twice.
    pub(crate) fn ask_again(&self, method: Method, path: &str) -> Result<Value, Failure> {
        self.ask_as(&Request { method, path, body: None, key: None }, true)
    }

    fn ask_as(&self, request: &Request<'_>, is_harmless: bool) -> Result<Value, Failure> {
        let (status, answer) =
            self.block_on(self.said_if_slow(self.persist(request, is_harmless))).map_err(silent)?;
        answered(status, answer)
    }

    /// Asks for what is not done twice: where the answer is lost, `done` returns what came of it, or `None` where nothing
    /// did; then it is sent again.
    pub(crate) fn ask_unless(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        done: impl Fn() -> Result<Option<Value>, Failure>,
    ) -> Result<Value, Failure> {
        let request = Request { method: method.clone(), path, body, key: None };
        let mut lost_since = None;
        loop {
            let came = self.block_on(self.said_if_slow(self.until_heard(&request))).map_err(silent)?;
            let is_too_long = lost_since.is_some_and(|since: Instant| since.elapsed() > PATIENCE);
            match came {
                // It may be the one of before that stands in the way, and cannot be seen yet.
                Came::Answer(StatusCode::CONFLICT, problem)
                    if lost_since.is_some() && !is_too_long && may_be_of_before(&problem) => {}
                Came::Answer(status, answer) => return answered(status, answer),
                Came::Lost(error) if is_too_long => return Err(silent(error)),
                Came::Lost(_) => {
                    lost_since.get_or_insert_with(Instant::now);
                }
            }
            std::thread::sleep(PAUSE);
            if let Some(answer) = done()? {
                return Ok(answer);
            }
        }
    }

    /// Asks within [`Self::block_on`], without looking at the answer, and without asking again what may have been heard.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<(StatusCode, Value), Silent> {
        self.said_if_slow(self.persist(&Request { method, path, body, key }, false)).await
    }

    /// Asks until there is an answer; only where that `is_harmless` also after one that was lost.
    async fn persist(&self, request: &Request<'_>, is_harmless: bool) -> Result<(StatusCode, Value), Silent> {
        let mut lost_since = None;
        loop {
            match self.until_heard(request).await? {
                Came::Answer(status, answer) => return Ok((status, answer)),
                Came::Lost(error) => {
                    let since = lost_since.get_or_insert_with(Instant::now);
                    if !is_harmless || since.elapsed() > PATIENCE {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Asks until somebody may have heard it.
    async fn until_heard(&self, request: &Request<'_>) -> Result<Came, Silent> {
        let began = Instant::now();
        loop {
            match self.once(request).await {
                Ok((status, answer)) => return Ok(Came::Answer(status, answer)),
                Err(error) if error.heard => return Ok(Came::Lost(error)),
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn once(&self, request: &Request<'_>) -> Result<(StatusCode, Value), Silent> {
        let Request { method, path, body, key } = request;
        let extra = key.map(|key| ("idempotency-key", key));
        let mut response = self.send(method.clone(), path, *body, extra).await?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(frame) = response.frame().await {
            let frame = frame.map_err(Silent::heard)?;
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    /// Says whom it is waited for, once, when that takes long: a daemon can be stopped, or be gone for good.
    async fn said_if_slow<F: Future>(&self, asking: F) -> F::Output {
        tokio::pin!(asking);
        tokio::select! {
            done = &mut asking => return done,
            () = tokio::time::sleep(SLOW) => {}
        }
        let text = match Store::holder(&self.state).filter(is_daemon) {
            Some(holder) => {
                let (pid, command) = (holder.process.pid, holder.command);
                format!("  waiting for the daemon, process {pid} (`{command}`), which has not answered yet\n")
            }
            None => "  waiting for the next daemon: the one of before is gone\n".to_owned(),
        };
        crate::terminal::write_above(text.as_bytes());
        asking.await
    }
}

/// Returns whether what stands in the way of a request may be what the same request did before.
fn may_be_of_before(problem: &Value) -> bool {
    let made = [Standing::Over, Standing::Succeeded, Standing::Waits, Standing::GoesOn];
    let kind = problem.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| made.iter().any(|standing| standing.problem_type() == kind))
}

/// An error that the daemon tells is a failure.
fn answered(status: StatusCode, answer: Value) -> Result<Value, Failure> {
    if status.is_success() { Ok(answer) } else { Err(told(status, &answer)) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::thread::JoinHandle;

    use super::super::Ending;
    use super::*;

    /// Reads a request.
    fn heard(stream: &mut UnixStream) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            bytes.extend(byte);
        }
        let head = String::from_utf8(bytes).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).unwrap();
        head + &String::from_utf8(body).unwrap()
    }

    /// A daemon that is killed while it answers the first request, and its next, which answers all others with these
    /// statuses. Returns what both heard.
    fn replaced(folder: &std::path::Path, statuses: &'static [u16]) -> (Remote, JoinHandle<Vec<String>>) {
        replaced_by(folder, statuses, "{}")
    }

    /// The same with this body.
    fn replaced_by(
        folder: &std::path::Path,
        statuses: &'static [u16],
        body: &'static str,
    ) -> (Remote, JoinHandle<Vec<String>>) {
        let socket = folder.join("daemon.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let remote = Remote::find(folder).unwrap().unwrap();
        // It was looked for.
        drop(listener.accept().unwrap());
        let thread = std::thread::spawn(move || {
            let mut all = vec![heard(&mut listener.accept().unwrap().0)];
            drop(listener);
            std::fs::remove_file(&socket).unwrap();
            std::thread::sleep(2 * PAUSE);
            let listener = UnixListener::bind(&socket).unwrap();
            for status in statuses {
                let mut stream = listener.accept().unwrap().0;
                all.push(heard(&mut stream));
                let length = body.len();
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
            all
        });
        (remote, thread)
    }

    #[test]
    fn what_is_harmless_is_sent_again_to_the_next_daemon_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, heard) = replaced(folder.path(), &[201]);
        remote.ask(Method::POST, "/x", None, Some("the-key")).unwrap();
        let all = heard.join().unwrap();
        assert!(all[0] == all[1] && all[0].contains("idempotency-key: the-key"), "{all:?}");

        for (method, path) in [(Method::GET, "/reads"), (Method::POST, "/again")] {
            let folder = tempfile::tempdir().unwrap();
            let (remote, heard) = replaced(folder.path(), &[200]);
            match method {
                Method::GET => remote.ask(method, path, None, None).unwrap(),
                method => remote.ask_again(method, path).unwrap(),
            };
            assert_eq!(heard.join().unwrap().len(), 2);
        }
    }

    #[test]
    fn a_cancel_whose_answer_was_lost_is_sent_again_as_it_was() {
        for (ending, how) in [(Ending::Gently, "gently"), (Ending::Now, "now")] {
            let folder = tempfile::tempdir().unwrap();
            let (remote, heard) = replaced(folder.path(), &[200]);
            remote.block_on(remote.cancel("x", ending)).unwrap();
            let all = heard.join().unwrap();
            assert!(all.len() == 2 && all[0] == all[1], "{all:?}");
            assert!(all[0].ends_with(&format!("{{\"how\":\"{how}\"}}")), "{all:?}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_not_done_twice() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, heard) = replaced(folder.path(), &[]);
        let failure = remote.ask(Method::POST, "/x", None, None).unwrap_err();
        assert_eq!(failure.status, crate::exit::ExitStatus::Store);
        assert_eq!(heard.join().unwrap().len(), 1);

        let folder = tempfile::tempdir().unwrap();
        let (remote, heard) = replaced(folder.path(), &[]);
        let done = || Ok(Some(Value::Bool(true)));
        assert_eq!(remote.ask_unless(&Method::POST, "/x", None, done).unwrap(), Value::Bool(true));
        assert_eq!(heard.join().unwrap().len(), 1);
    }

    #[test]
    fn what_was_not_done_is_sent_again_until_what_stands_in_the_way_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (remote, heard) = replaced_by(folder.path(), &[409], r#"{"type":"urn:cairn:run-goes-on"}"#);
        let looks = std::cell::Cell::new(0);
        let done = || {
            looks.set(looks.get() + 1);
            Ok((looks.get() == 2).then_some(Value::Bool(true)))
        };
        assert_eq!(remote.ask_unless(&Method::POST, "/x", None, done).unwrap(), Value::Bool(true));
        assert_eq!(heard.join().unwrap().len(), 2);
    }

    /// Another text of the pipeline, say, was not made by the request that was lost: to wait for it is in vain.
    #[test]
    fn what_the_one_of_before_cannot_have_done_is_told_at_once() {
        for body in [r#"{"type":"urn:cairn:other-text","detail":"it is another"}"#, "{}"] {
            let folder = tempfile::tempdir().unwrap();
            let (remote, heard) = replaced_by(folder.path(), &[409], body);
            let began = Instant::now();
            let failure = remote.ask_unless(&Method::POST, "/x", None, || Ok(None)).unwrap_err();
            assert_eq!(failure.status, crate::exit::ExitStatus::Wrong);
            assert!(began.elapsed() < PATIENCE / 2);
            assert_eq!(heard.join().unwrap().len(), 2);
        }
    }
}
