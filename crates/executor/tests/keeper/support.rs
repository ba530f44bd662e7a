//! A keeper with a folder of its own, and a look at the processes there are.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cairn_executor::isolation::log::Reader;
use cairn_executor::isolation::{Ended, Held, Job, Keeper, KeeperError, STATE_VARIABLE, TOKEN_VARIABLE};

/// Longer than anything here takes, on a machine that is busy with something else.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Milliseconds that no test waits for.
pub(crate) const FOREVER_MS: u64 = 3_600_000;

pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) keeper: Keeper,
    /// A number that no other process here has in its command or environment; `sleep 1000.MARK` is a process to look for.
    pub(crate) mark: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let keeper = Keeper::start(&example()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), keeper, mark: new_mark() }
    }

    /// One with a keeper that outlives its callers.
    pub(crate) fn outliving() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, held) = outliving(folder.path());
        assert_eq!(held, []);
        Self { folder, keeper, mark: new_mark() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A job that runs a shell text, in which `MARK` stands for the mark.
    pub(crate) fn shell(&self, text: &str) -> Job {
        self.command(&["sh", "-c", &text.replace("MARK", &self.mark)])
    }

    pub(crate) fn command(&self, argv: &[&str]) -> Job {
        static JOBS: AtomicU32 = AtomicU32::new(0);
        let token = format!("token-{}-{}", self.mark, JOBS.fetch_add(1, Ordering::Relaxed));
        Job {
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            env: vec![
                ("PATH".into(), std::env::var("PATH").unwrap()),
                (TOKEN_VARIABLE.into(), token.clone()),
                (STATE_VARIABLE.into(), self.mark.clone()),
            ],
            cwd: self.folder.path().into(),
            stdin: None,
            stdout: None,
            log: self.path(&format!("{token}.log")),
            log_max: 64 << 20,
            timeout_ms: None,
            kill_after_ms: FOREVER_MS,
            tied: false,
            token,
        }
    }

    pub(crate) async fn run(&self, job: &Job) -> Result<Ended, KeeperError> {
        let run = self.keeper.run(job.clone());
        tokio::time::timeout(PATIENCE, run).await.expect("the job does not hang")
    }

    /// Runs a shell text; returns how it ended and what it wrote.
    pub(crate) async fn run_shell(&self, text: &str) -> (Ended, String) {
        let job = self.shell(text);
        let ended = self.run(&job).await.unwrap();
        (ended, text_of(&job))
    }

    /// Starts a job beside the test, and waits until it has made the file `ready`.
    pub(crate) async fn begin(&self, job: &Job) -> tokio::task::JoinHandle<Result<Ended, KeeperError>> {
        let (keeper, job) = (self.keeper.clone(), job.clone());
        let running = tokio::spawn(async move { keeper.run(job).await });
        until("the job is ready", || self.path("ready").exists() || running.is_finished()).await;
        assert!(self.path("ready").exists(), "{:?}", running.await);
        running
    }
}

/// Finds the keeper of a folder that outlives its callers, or starts it.
pub(crate) fn outliving(folder: &Path) -> (Keeper, Vec<Held>) {
    Keeper::outliving(&example(), folder, &format!("test-{}", folder.file_name().unwrap().display())).unwrap()
}

pub(crate) fn text_of(job: &Job) -> String {
    String::from_utf8(Reader::text(&job.log).unwrap()).unwrap()
}

pub(crate) fn new_mark() -> String {
    static MARKS: AtomicU32 = AtomicU32::new(0);
    format!("{:07}{:03}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed))
}

/// The example's binary, which cargo builds before it runs tests, unless `--test` names one.
pub(crate) fn example() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/keeper");
    assert!(path.exists(), "run `cargo build --examples` first: `{}` is missing", path.display());
    path
}

/// Living processes whose command or environment contains `mark`.
pub(crate) fn living(mark: &str) -> Vec<i32> {
    let contains = |pid: i32, file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    let alive = |pid: &i32| state(*pid).is_some_and(|(state, _)| state != 'Z');
    all().filter(|pid| contains(*pid, "cmdline") || contains(*pid, "environ")).filter(alive).collect()
}

/// Processes that `parent` has not reaped.
pub(crate) fn zombies(parent: i32) -> usize {
    all().filter(|pid| state(*pid) == Some(('Z', parent))).count()
}

pub(crate) fn children(parent: i32) -> Vec<i32> {
    all().filter(|pid| state(*pid).is_some_and(|(_, of)| of == parent)).collect()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn all() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
}

/// A process's state and parent.
fn state(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
