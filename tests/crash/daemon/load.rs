//! The daemon, its project, and the clients that ask it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_testkit::{Project, processes_with};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::BINARY;

/// Longer than anything here takes, on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_mins(2);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Runs that a client asks for before it waits for their ends.
const BURST: usize = 4;
/// Pipelines that clients ask for.
pub(super) const ASKED: [&str; 4] = ["c0", "c1", "c2", FAILS];
/// The one of them whose runs fail, and are to go on nevertheless.
pub(super) const FAILS: &str = "c3";
/// Pipelines on a schedule, and the seconds from one time to the next.
pub(super) const SCHEDULED: [(&str, i64); 3] = [("all", 1), ("skips", 1), ("flaky", 2)];
/// The webhook of the pipeline `called`.
const HOOK: &str = "calls";
/// What is written among the executions when a keeper was killed.
pub(super) const KEEPER_KILLED: &str = "keeper killed";

/// What became of a time of a schedule: a run, or why there is none.
pub(super) type Fate = Result<String, String>;

/// A daemon that is killed, on a project whose stages write down outside of it that they were executed.
pub(super) struct Load {
    project: Project,
    outside: tempfile::TempDir,
    daemon: Option<Child>,
    /// What became of each time, by pipeline.
    pub(super) fates: BTreeMap<&'static str, BTreeMap<String, Fate>>,
}

impl Load {
    pub(super) fn new() -> Self {
        let (project, outside) = (Project::new(BINARY), tempfile::tempdir().unwrap());
        let folder = outside.path().display();
        let stage = |name: &str, inputs: &str, work: &str| {
            let mut text = format!("[stages.{name}]\n");
            writeln!(text, "run = '''\necho {{{{ run.id }}}} {name} >> {folder}/executions\n{work}\n'''")
                .unwrap();
            writeln!(text, "inputs = [{inputs}]\noutputs = ['out/NAME-{name}']").unwrap();
            text
        };
        let short = stage("a", "", "sleep 0.SLEEP; echo {{ run.id }} > out/NAME-a")
            + &stage("b", "'out/NAME-a'", "cp out/NAME-a out/NAME-b");
        // It fails the first time that a run executes it.
        let fails = format!(
            "[stages.a]\nRETRIESrun = '''\nsleep 0.SLEEP\nif mkdir {folder}/{{{{ run.id }}}}; then\n\
             echo {{{{ run.id }}}} first >> {folder}/executions; exit 1; fi\n\
             echo {{{{ run.id }}}} a >> {folder}/executions\n'''\noutputs = []\n"
        );
        let pipeline = |name: &str, head: &str, sleep: &str, stages: &str| {
            let text = format!("{head}\n{}", stages.replace("NAME", name).replace("SLEEP", sleep));
            project.write(&format!("pipelines/{name}.toml"), text.replace("RETRIES", ""));
        };
        pipeline("c0", "[params]\nn = ''", "03", &short);
        pipeline("c1", "[params]\nn = ''", "3", &short);
        pipeline("c2", "[params]\nn = ''", "1", &fails.replace("RETRIES", "retries = 1\n"));
        let fails_for_good = stage("a", "", "sleep 0.SLEEP; exit 1").replace("'out/NAME-a'", "")
            + &stage("b", "", "sleep 0.4; echo {{ run.id }} > out/NAME-b");
        pipeline(FAILS, "[params]\nn = ''", "01", &fails_for_good);
        pipeline("follows", "[schedule]\nafter = ['c0']", "03", &short);
        pipeline("called", &format!("[schedule]\nsensors = [{{ webhook = '{HOOK}' }}]"), "03", &short);
        let every = "[schedule]\noverlap = 'queue'\ncatchup = 'all'\nevery =";
        let retries = "retries = { attempts = 3, delay = '100ms' }";
        pipeline("all", &format!("{every} '1s'"), "03", &short);
        pipeline("flaky", &format!("{every} '2s'\n{retries}"), "1", &fails);
        pipeline("skips", "[schedule]\nevery = '1s'\njitter = '300ms'", "3", &short);
        project.write("cairn.toml", "[serve]\nruns = 6\n");
        Self { project, outside, daemon: None, fates: BTreeMap::new() }
    }

    fn socket(&self) -> PathBuf {
        self.project.file(".cairn/daemon.sock")
    }

    fn executions_file(&self) -> PathBuf {
        self.outside.path().join("executions")
    }

    /// Starts a daemon.
    pub(super) fn start(&mut self) {
        let mut log = std::fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.outside.path().join("log")).unwrap();
        let mut command = self.project.command(&["serve", "--no-port"]);
        self.daemon = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Kills it; and its keeper, where that is so.
    pub(super) fn kill(&mut self, keeper: bool) {
        // What it had decided about until now is what the next ones have to stand by.
        self.look_at_schedules();
        let mut daemon = self.daemon.take().expect("it was started");
        let ended = daemon.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        if !keeper {
            return;
        }
        for keeper in self.keepers() {
            // It may just have ended.
            let _ = kill_process(Pid::from_raw(keeper).unwrap(), Signal::KILL);
        }
        // The kernel ends what it ran: nothing of that is written down after this.
        sleep(Duration::from_millis(200));
        let mut file =
            std::fs::OpenOptions::new().append(true).create(true).open(self.executions_file()).unwrap();
        file.write_all(format!("{KEEPER_KILLED}\n").as_bytes()).unwrap();
    }

    fn keepers(&self) -> Vec<i32> {
        let folder = self.project.path().to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        ids.filter(|id| {
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("cairn\0__keeper\0") && line.contains(&folder)
        })
        .collect()
    }

    /// Waits until the daemon answers.
    pub(super) fn until_it_answers(&self) {
        let clients = self.clients();
        until("an answer", || clients.ask("GET", "/api/v1/system", None, "").is_some());
    }

    /// Returns what clients need.
    pub(super) fn clients(&self) -> Clients {
        Clients { socket: self.socket() }
    }

    /// Reads what became of the times of all schedules; none where the daemon does not answer. What is known of a time never
    /// changes.
    fn look_at_schedules(&mut self) {
        let clients = self.clients();
        for (name, _) in SCHEDULED {
            let path = format!("/api/v1/pipelines/{name}/schedule?next=0&past=1000");
            let Some((200, schedule)) = clients.ask("GET", &path, None, "") else { return };
            let known = self.fates.entry(name).or_default();
            let mut before: Option<String> = None;
            for past in schedule["past"].as_array().unwrap() {
                let text = |key: &str| past[key].as_str().map(str::to_owned);
                let (time, fate) =
                    (text("time").unwrap(), text("run").ok_or_else(|| text("dropped").unwrap()));
                assert_ne!(before.as_ref(), Some(&time), "`{name}` has a time twice");
                let earlier = known.insert(time.clone(), fate.clone());
                assert!(earlier.is_none_or(|earlier| earlier == fate), "`{name}` at {time} is another now");
                before = Some(time);
            }
        }
    }

    /// Pauses the schedules, and waits until nothing waits or goes on.
    pub(super) fn comes_to_rest(&mut self) {
        let clients = self.clients();
        for (name, _) in SCHEDULED {
            let path = format!("/api/v1/pipelines/{name}/pause");
            assert_eq!(clients.ask("POST", &path, None, "{}").map(|(status, _)| status), Some(200));
        }
        // On a slow machine many may wait by now: as long as they become fewer, it goes on.
        let (mut fewest, mut since) = (u64::MAX, Instant::now());
        loop {
            let (_, system) = clients.ask("GET", "/api/v1/system", None, "").unwrap();
            let left = system["waiting"].as_u64().unwrap() + system["running"].as_u64().unwrap();
            if left == 0 {
                break;
            }
            if left < fewest {
                (fewest, since) = (left, Instant::now());
            }
            let open = || self.runs().into_iter().filter(|run| run["ended"].is_null()).collect::<Vec<_>>();
            assert!(since.elapsed() < PATIENCE, "{left} runs do not end: {system}, {:?}", open());
            sleep(LOOK);
        }
        self.look_at_schedules();
    }

    /// Describes a run and its instances, for who has to find out what became of it.
    pub(super) fn described(&self, run: &str) -> String {
        let path = format!("/api/v1/runs/{run}");
        let told = [path.clone(), format!("{path}/instances")]
            .map(|path| self.clients().ask("GET", &path, None, ""));
        format!("{told:?}")
    }

    /// Returns all runs there are.
    pub(super) fn runs(&self) -> Vec<Value> {
        let (clients, mut runs, mut before) = (self.clients(), Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/runs?limit=1000{before}");
            let (status, mut page) = clients.ask("GET", &path, None, "").unwrap();
            assert_eq!(status, 200, "{page}");
            runs.append(page["items"].as_array_mut().unwrap());
            let Some(next) = page["next"].as_str() else { return runs };
            before = format!("&before={next}");
        }
    }

    /// Returns what was executed, in order: a run and a stage; or [`KEEPER_KILLED`].
    pub(super) fn executions(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.executions_file()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Asks the daemon to stop; nothing of it is left.
    pub(super) fn stop(mut self) {
        let entries = |path: &str| {
            let entries = std::fs::read_dir(self.project.file(path)).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        assert_eq!(entries(".cairn/run/ended"), Vec::<PathBuf>::new(), "an end that nobody acknowledged");
        let mut daemon = self.daemon.take().unwrap();
        kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
        until("its end", || daemon.try_wait().unwrap().is_some());
        assert_eq!(daemon.wait().unwrap().code(), Some(0));
        let folder = self.project.path().to_string_lossy().into_owned();
        until("the end of all commands", || processes_with(&folder).is_empty());
        // Working folders are kept for the next attempts while it runs.
        self.project.cairn(&["run", "pipelines/c0.toml"]).expect(0);
        assert_eq!(entries(".cairn/staging"), Vec::<PathBuf>::new(), "a working folder");
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.outside.path().join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            eprintln!("the daemons' last words:\n{last}");
        }
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited too long for {what}");
        sleep(LOOK);
    }
}

/// Clients of whichever daemon there is.
pub(super) struct Clients {
    socket: PathBuf,
}

/// A request that a client made until it was answered.
pub(super) struct Request {
    pub(super) key: String,
    pub(super) run: String,
    /// Whether it was then asked for the run's end.
    pub(super) cancelled: bool,
    /// Whether the answer was that the run ends; otherwise it was over.
    pub(super) is_to_end: bool,
}

impl Clients {
    /// Asks for runs and waits for their ends, again and again.
    pub(super) fn ask_until(&self, ended: &AtomicBool, number: usize) -> Vec<Request> {
        let mut asked: Vec<Request> = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            for _ in 0..BURST {
                let key = format!("{number}-{}", asked.len());
                let number = asked.len();
                let run = self.submit(&key, ASKED[number % ASKED.len()], number.is_multiple_of(8));
                let cancelled = number % 11 == 10;
                let is_to_end = cancelled && self.cancel(&run);
                asked.push(Request { key, run, cancelled, is_to_end });
            }
            for Request { run, cancelled, .. } in &asked[asked.len() - BURST..] {
                until("a run's end", || {
                    let answer = self.ask("GET", &format!("/api/v1/runs/{run}"), None, "");
                    let Some((status, found)) = answer else { return false };
                    assert_eq!(status, 200, "run {run} is lost: {found}");
                    let interrupted = found["status"] == "interrupted";
                    let to_fail = found["pipeline"] == FAILS;
                    assert!(
                        (found["status"] != "failed" || to_fail) && (*cancelled || !interrupted),
                        "{found}"
                    );
                    found["status"] == if to_fail { "failed" } else { "succeeded" } || interrupted
                });
            }
        }
        asked
    }

    /// Calls the webhook again and again, each time with another body until that is answered. Returns how often.
    pub(super) fn call_until(&self, ended: &AtomicBool) -> usize {
        let mut called = 0;
        while !ended.load(Ordering::Relaxed) {
            let body = json!({ "call": called }).to_string();
            until("an answer", || match self.ask("POST", &format!("/api/v1/hooks/{HOOK}"), None, &body) {
                None => false,
                Some((200, _)) => true,
                Some((status, problem)) => panic!("{status} {problem}"),
            });
            called += 1;
            sleep(Duration::from_millis(300));
        }
        called
    }

    /// Asks for a run's end until that is answered. `false`: it is over.
    fn cancel(&self, run: &str) -> bool {
        let mut is_to_end = false;
        until("an answer", || match self.ask("POST", &format!("/api/v1/runs/{run}/cancel"), None, "") {
            None => false,
            Some((status @ (200 | 409), _)) => {
                is_to_end = status == 200;
                true
            }
            Some((status, problem)) => panic!("{run}: {status} {problem}"),
        });
        is_to_end
    }

    /// Asks for a run until that is answered.
    fn submit(&self, key: &str, pipeline: &str, hangs_up: bool) -> String {
        let path = format!("/api/v1/pipelines/{pipeline}/runs");
        let body = json!({ "params": { "n": key }, "keep_going": pipeline == FAILS }).to_string();
        if hangs_up && let Ok(mut stream) = UnixStream::connect(&self.socket) {
            // It never sees this answer.
            let _ = stream.write_all(request("POST", &path, Some(key), &body).as_bytes());
        }
        let mut run = None;
        until("an answer", || {
            match self.ask("POST", &path, Some(key), &body) {
                // The answer was lost, or the request before with this key is being worked on.
                None | Some((409, _)) => {}
                Some((200 | 201, found)) => run = Some(found["id"].as_str().unwrap().to_owned()),
                Some((status, problem)) => panic!("{key}: {status} {problem}"),
            }
            run.is_some()
        });
        run.expect("it was waited for")
    }

    /// Sends a request; `None` where its answer was lost.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Option<(u16, Value)> {
        exchange(&self.socket, &request(method, path, key, body)).ok().flatten()
    }
}

fn request(method: &str, path: &str, key: Option<&str>, body: &str) -> String {
    let key = key.map(|key| format!("Idempotency-Key: \"{key}\"\r\n")).unwrap_or_default();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}Connection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn exchange(socket: &Path, request: &str) -> std::io::Result<Option<(u16, Value)>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return Ok(None) };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    // A part of an answer is none.
    Ok(status.zip(serde_json::from_str(body).ok()))
}
