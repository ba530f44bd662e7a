//! The handle on a keeper, in the process that has things run.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::job::{Ended, Job};
use super::start_error::StartError;
use super::wire::{self, Inbox, Reply, Request, Urgency};
use super::{STATE_VARIABLE, TOKEN_VARIABLE};

/// The argument that makes the binary a keeper: `main` looks for it first and then calls
/// [`keeper_main`](super::keeper_main).
pub const KEEPER_ARGUMENT: &str = "__keeper";

/// A job was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The keeper's process cannot be started.
    #[error("cannot start the keeper process `{}`", program.display())]
    Spawn {
        /// The binary.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The keeper has ended, or was killed. The kernel ended the main process of each job with it;
    /// [`end_strays`](super::strays::end_strays) ends the rest.
    #[error("the keeper process has ended, and with it what it ran")]
    Gone,
    /// The job cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl KeeperError {
    /// Returns what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Start(error) => error.help(),
            Self::Gone => Some("run it again: it goes on where it stopped".to_owned()),
            Self::Spawn { .. } => None,
        }
    }

    /// Tells whether another attempt would fail in the same way.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Start(error) => error.is_permanent(),
            Self::Spawn { .. } | Self::Gone => true,
        }
    }
}

/// A handle on a keeper process. Clones share it; dropping the last one ends all that still runs, and waits for that.
///
/// It is started without an async runtime, and belongs to the first tokio runtime that runs a job: when that is gone, so is
/// the keeper to all that wait for it.
#[derive(Debug, Clone)]
pub struct Keeper {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    process: Mutex<Child>,
    pid: u32,
    /// `None` only while it is dropped.
    requests: Mutex<Option<ChildStdin>>,
    /// Taken by the task that reads them.
    replies: Mutex<Option<ChildStdout>>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Waiting {
    last_id: u64,
    gone: bool,
    jobs: HashMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    token: String,
    result: oneshot::Sender<Result<Ended, StartError>>,
}

impl Keeper {
    /// Starts `program`, this very binary, as a keeper. On Linux `/proc/self/exe` is it even after an update replaced the
    /// file. To be called early: a process that has grown is slow to leave, and this is done without copying it only as long
    /// as nothing has to be set up in between.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Spawn`].
    pub fn start(program: &Path) -> Result<Self, KeeperError> {
        let mut command = Command::new(program);
        command.arg0("cairn").arg(KEEPER_ARGUMENT).env_clear();
        // A stage may call cairn: then this keeper, too, is that stage's.
        for name in [TOKEN_VARIABLE, STATE_VARIABLE] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process =
            spawned.map_err(|source| KeeperError::Spawn { program: program.to_owned(), source })?;
        let inner = Inner {
            pid: process.id(),
            requests: Mutex::new(process.stdin.take()),
            replies: Mutex::new(process.stdout.take()),
            process: Mutex::new(process),
            waiting: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `job`, and returns when it has ended and nothing of it lives. Dropping the future kills the job, without
    /// waiting for that.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Start`] and [`KeeperError::Gone`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn run(&self, job: Job) -> Result<Ended, KeeperError> {
        self.inner.listen();
        let (sender, result) = oneshot::channel();
        let running = self.inner.enter(job.token.clone(), sender)?;
        self.inner.send(&Request::Run { id: running.id, job });
        // The sender is dropped without a word when the keeper is gone.
        let result = result.await.map_err(|_| KeeperError::Gone)?;
        Ok(result?)
    }

    /// Asks the job of `token` to end: SIGTERM to all its processes, SIGKILL after its `kill_after_ms`. [`Keeper::run`]
    /// returns as ever. Nothing happens when there is no such job.
    pub fn terminate(&self, token: &str) {
        self.inner.stop(Urgency::Gently, |waiter| waiter.token == token);
    }

    /// Kills the job of `token` at once.
    pub fn kill(&self, token: &str) {
        self.inner.stop(Urgency::Now, |waiter| waiter.token == token);
    }

    /// Asks all jobs to end.
    pub fn terminate_all(&self) {
        self.inner.stop(Urgency::Gently, |_| true);
    }

    /// Kills all jobs at once.
    pub fn kill_all(&self) {
        self.inner.stop(Urgency::Now, |_| true);
    }

    /// Returns whether it is known that the keeper has ended.
    pub fn is_gone(&self) -> bool {
        lock(&self.inner.waiting).gone
    }

    /// Returns the keeper's process number.
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }
}

impl Inner {
    fn enter(
        &self,
        token: String,
        result: oneshot::Sender<Result<Ended, StartError>>,
    ) -> Result<Running<'_>, KeeperError> {
        let mut waiting = lock(&self.waiting);
        if waiting.gone {
            return Err(KeeperError::Gone);
        }
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.jobs.insert(id, Waiter { token, result });
        Ok(Running { inner: self, id })
    }

    fn stop(&self, urgency: Urgency, which: impl Fn(&Waiter) -> bool) {
        let ids: Vec<u64> = {
            let waiting = lock(&self.waiting);
            waiting.jobs.iter().filter(|(_, waiter)| which(waiter)).map(|(id, _)| *id).collect()
        };
        for id in ids {
            self.send(&Request::Stop { id, urgency });
        }
    }

    fn send(&self, request: &Request) {
        let bytes = wire::encode(request);
        if let Some(requests) = &mut *lock(&self.requests) {
            // When it fails the keeper is gone: the task that reads learns that, and tells everyone.
            drop(io::Write::write_all(requests, &bytes));
        }
    }

    /// Starts the task that reads replies, unless it was started.
    fn listen(&self) {
        if let Some(replies) = lock(&self.replies).take() {
            tokio::spawn(read_replies(replies, Listener(Arc::clone(&self.waiting))));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The keeper reads the end of file, ends everything, and ends.
        drop(lock(&self.requests).take());
        drop(lock(&self.process).wait());
    }
}

/// A job that someone waits for.
struct Running<'a> {
    inner: &'a Inner,
    id: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Still listed: nothing came back, and nobody waits for it any more.
        if lock(&self.inner.waiting).jobs.remove(&self.id).is_some() {
            self.inner.send(&Request::Stop { id: self.id, urgency: Urgency::Now });
        }
    }
}

/// Hands on what the keeper says, until it is gone.
async fn read_replies(replies: ChildStdout, listener: Listener) {
    match pipe::Receiver::from_owned_fd(OwnedFd::from(replies)) {
        Ok(mut replies) => {
            if let Err(error) = listener.read(&mut replies).await {
                tracing::error!(%error, "the keeper process cannot be understood");
            }
        }
        Err(error) => tracing::error!(%error, "the keeper process cannot be listened to"),
    }
}

/// Knows who waits; when it is dropped nobody listens any more, and all who wait are told.
struct Listener(Arc<Mutex<Waiting>>);

impl Listener {
    async fn read(&self, replies: &mut pipe::Receiver) -> io::Result<()> {
        let mut inbox = Inbox::default();
        let mut buffer = [0; 4096];
        loop {
            while let Some(reply) = inbox.take::<Reply>()? {
                if let Some(waiter) = lock(&self.0).jobs.remove(&reply.id) {
                    // Whoever waited may have gone.
                    drop(waiter.result.send(reply.result));
                }
            }
            match replies.read(&mut buffer).await? {
                0 => return Ok(()),
                read => inbox.push(&buffer[..read]),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0);
        waiting.gone = true;
        if !waiting.jobs.is_empty() {
            tracing::error!(jobs = waiting.jobs.len(), "the keeper process has ended before its jobs");
        }
        waiting.jobs.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while it held the lock did not leave anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
