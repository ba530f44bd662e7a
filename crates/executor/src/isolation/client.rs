//! The handle on a keeper, in the process that has things run.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

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
/// It needs no async runtime to be started, and any to wait for a job.
#[derive(Debug, Clone)]
pub struct Keeper {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: UnixStream,
    /// Held while writing, so that messages stay whole.
    writing: Mutex<()>,
    waiting: Arc<Mutex<Waiting>>,
    reader: Option<JoinHandle<()>>,
    pid: u32,
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
        let failed = |source| KeeperError::Spawn { program: program.to_owned(), source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut command = Command::new(program);
        command.arg0("cairn").arg(KEEPER_ARGUMENT).env_clear();
        // A stage may call cairn: then this keeper, too, is that stage's.
        for name in [TOKEN_VARIABLE, STATE_VARIABLE] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
        let child = command.spawn().map_err(failed)?;
        // It holds this process's copy of the keeper's end, which must be closed to see the keeper's end.
        drop(command);
        let pid = child.id();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let reader = {
            let (socket, waiting) = (ours.try_clone().map_err(failed)?, Arc::clone(&waiting));
            let builder = thread::Builder::new().name("keeper-replies".to_owned());
            builder.spawn(move || read_replies(&socket, &waiting, child)).map_err(failed)?
        };
        let inner = Inner { socket: ours, writing: Mutex::new(()), waiting, reader: Some(reader), pid };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs `job`, and returns when it has ended and nothing of it lives. Dropping the future kills the job, without
    /// waiting for that.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Start`] and [`KeeperError::Gone`].
    pub async fn run(&self, job: Job) -> Result<Ended, KeeperError> {
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
        let _writing = lock(&self.writing);
        // When it fails the keeper is gone: the reader learns that, and tells everyone.
        drop(io::Write::write_all(&mut &self.socket, &bytes));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The keeper reads the end of file, ends everything, and ends; then so does the reader.
        drop(self.socket.shutdown(Shutdown::Write));
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has ended as well.
            drop(reader.join());
        }
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

/// Hands on what the keeper says, until it is gone; then reaps it.
fn read_replies(mut socket: &UnixStream, waiting: &Mutex<Waiting>, mut keeper: Child) {
    let mut inbox = Inbox::default();
    let mut buffer = [0; 4096];
    loop {
        match inbox.take::<Reply>() {
            Ok(Some(reply)) => {
                if let Some(waiter) = lock(waiting).jobs.remove(&reply.id) {
                    // Whoever waited may have gone.
                    drop(waiter.result.send(reply.result));
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the keeper process talks nonsense");
                break;
            }
        }
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => inbox.push(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // It may live on only if it talked nonsense.
    drop(socket.shutdown(Shutdown::Both));
    let ended = keeper.wait();
    let left = {
        let mut waiting = lock(waiting);
        waiting.gone = true;
        std::mem::take(&mut waiting.jobs)
    };
    if !left.is_empty() {
        tracing::error!(status = ?ended, jobs = left.len(), "the keeper process has ended before its jobs");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while it held the lock did not leave anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
