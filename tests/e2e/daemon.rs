//! The daemon as a program of its own, for tests that ask it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cairn_testkit::Project;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes, on a machine that is busy with something else.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

#[track_caller]
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A daemon that is killed when the test ends, however it does.
pub(super) struct Daemon {
    pub(super) child: Child,
    pub(super) port: u16,
    pub(super) token: String,
}

impl Daemon {
    pub(super) fn start(project: &Project) -> Self {
        Self::serve(project, &["serve", "--bind", "127.0.0.1:0"])
    }

    pub(super) fn serve(project: &Project, arguments: &[&str]) -> Self {
        let _ = std::fs::remove_file(project.file(".cairn/address"));
        let mut command = project.command(arguments);
        Self::of(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(), project)
    }

    /// Waits until a daemon listens that was started just now.
    pub(super) fn of(child: Child, project: &Project) -> Self {
        let mut port = None;
        until("the daemon's port", || {
            let text = std::fs::read_to_string(project.file(".cairn/address")).unwrap_or_default();
            port = text.strip_suffix('\n').and_then(|text| text.rsplit_once(':')?.1.parse().ok());
            port.is_some()
        });
        let token = project.read(".cairn/token").trim().to_owned();
        Self { child, port: port.unwrap(), token }
    }

    /// Sends the bytes of a request, and reads the answer until the daemon ends the connection.
    pub(super) fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may refuse before all has been sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(super) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let answer = self.raw(request.as_bytes());
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let status = status.unwrap_or_else(|| panic!("no answer: {answer:?}"));
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub(super) fn submit(&self, pipeline: &str, body: &Value) -> String {
        let (status, run) =
            self.ask("POST", &format!("/api/v1/pipelines/{pipeline}/runs"), &body.to_string());
        assert_eq!(status, 201, "{run}");
        run["id"].as_str().unwrap().to_owned()
    }

    pub(super) fn run(&self, run: &str) -> Value {
        self.ask("GET", &format!("/api/v1/runs/{run}"), "").1
    }

    #[track_caller]
    pub(super) fn until_status(&self, run: &str, status: &str) {
        until(status, || self.run(run)["status"] == status);
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and returns its exit status and how long that took.
    pub(super) fn stop(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        self.signal(Signal::TERM);
        until("its end", || self.child.try_wait().unwrap().is_some());
        (self.child.wait().unwrap().code(), began.elapsed())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
