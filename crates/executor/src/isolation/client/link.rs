//! One connection with a keeper: by the pipes of one that this process started for itself, or by a socket.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::KeeperError;
use crate::isolation::job::{Ended, Job};
use crate::isolation::start_error::StartError;
use crate::isolation::wire::{self, Inbox, Reply, Request, Urgency};

/// A keeper, as long as both live.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) pid: u32,
    side: Side,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug)]
enum Side {
    /// It ends with this handle.
    Pipes {
        process: Mutex<Child>,
        /// `None` only while it is dropped.
        requests: Mutex<Option<ChildStdin>>,
        /// Taken by the task that reads them.
        replies: Mutex<Option<ChildStdout>>,
    },
    /// It goes on without this handle. A thread reads what it says.
    Socket(Mutex<UnixStream>),
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

impl Link {
    /// Speaks to a keeper that was just started.
    pub(super) fn of_process(mut process: Child) -> Self {
        let (requests, replies) = (process.stdin.take(), process.stdout.take());
        Self {
            pid: process.id(),
            side: Side::Pipes {
                process: Mutex::new(process),
                requests: Mutex::new(requests),
                replies: Mutex::new(replies),
            },
            waiting: Arc::default(),
        }
    }

    /// Speaks to the keeper `pid` at a socket, after both have said who they are and what is held; `inbox` has what came
    /// after that. `process` is waited for when it has ended.
    pub(super) fn of_socket(
        stream: UnixStream,
        inbox: Inbox,
        pid: u32,
        process: Option<Child>,
    ) -> io::Result<Self> {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let (reading, listener) = (stream.try_clone()?, Listener(Arc::clone(&waiting)));
        let read = move || {
            if let Err(error) = listener.read_socket(&reading, inbox) {
                tracing::error!(%error, "the keeper process cannot be understood");
            }
            drop(listener);
            reap(process);
        };
        std::thread::Builder::new().name("keeper".to_owned()).spawn(read)?;
        Ok(Self { pid, side: Side::Socket(Mutex::new(stream)), waiting })
    }

    /// Has `job` run; what is returned waits for its end.
    pub(super) fn run(&self, job: Job) -> Result<Running<'_>, KeeperError> {
        self.listen();
        let leaves = self.outlives() && !job.tied;
        let running = self.enter(job.token.clone(), leaves)?;
        self.send(&Request::Run { id: running.id, job });
        Ok(running)
    }

    /// Waits for the job of `token`, which an earlier caller had started.
    pub(super) fn claim(&self, token: &str) -> Result<Running<'_>, KeeperError> {
        let running = self.enter(token.to_owned(), true)?;
        self.send(&Request::Claim { id: running.id, token: token.to_owned() });
        Ok(running)
    }

    pub(super) fn forget(&self, token: &str) {
        self.send(&Request::Forget { token: token.to_owned() });
    }

    /// Ends jobs that somebody waits for.
    pub(super) fn stop(&self, urgency: Urgency, which: impl Fn(&str) -> bool) {
        let ids: Vec<u64> = {
            let waiting = lock(&self.waiting);
            waiting.jobs.iter().filter(|(_, waiter)| which(&waiter.token)).map(|(id, _)| *id).collect()
        };
        for id in ids {
            self.send(&Request::Stop { id, urgency });
        }
    }

    pub(super) fn waits_for(&self, token: &str) -> bool {
        lock(&self.waiting).jobs.values().any(|waiter| waiter.token == token)
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.waiting).gone
    }

    pub(super) fn outlives(&self) -> bool {
        matches!(self.side, Side::Socket(_))
    }

    fn enter(&self, token: String, leaves: bool) -> Result<Running<'_>, KeeperError> {
        let (sender, result) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if waiting.gone {
            return Err(KeeperError::Gone);
        }
        waiting.last_id += 1;
        let id = waiting.last_id;
        waiting.jobs.insert(id, Waiter { token, result: sender });
        Ok(Running { link: self, id, leaves, result })
    }

    fn send(&self, request: &Request) {
        let bytes = wire::encode(request);
        // When it fails, what the keeper has of it may be a part: it reads the end of what is sent, and ends. Who reads replies
        // learns that, and tells everyone.
        match &self.side {
            Side::Pipes { requests, .. } => {
                let mut requests = lock(requests);
                if requests.as_mut().is_some_and(|pipe| pipe.write_all(&bytes).is_err()) {
                    *requests = None;
                }
            }
            Side::Socket(stream) => {
                let mut stream = lock(stream);
                if stream.write_all(&bytes).is_err() {
                    drop(stream.shutdown(Shutdown::Both));
                }
            }
        }
    }

    /// Starts the task that reads replies, unless it was started.
    fn listen(&self) {
        let Side::Pipes { replies, .. } = &self.side else { return };
        if let Some(replies) = lock(replies).take() {
            tokio::spawn(read_replies(replies, Listener(Arc::clone(&self.waiting))));
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        match &self.side {
            Side::Pipes { process, requests, .. } => {
                // The keeper reads the end of file, ends everything, and ends.
                drop(lock(requests).take());
                drop(lock(process).wait());
            }
            // The thread that reads ends with it.
            Side::Socket(stream) => drop(lock(stream).shutdown(Shutdown::Both)),
        }
    }
}

/// Waits for a process that is about to end: as long as it is not waited for, its number stays taken.
fn reap(process: Option<Child>) {
    let Some(mut process) = process else { return };
    for _ in 0..50 {
        if !matches!(process.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A job that someone waits for.
#[derive(Debug)]
pub(super) struct Running<'a> {
    link: &'a Link,
    id: u64,
    /// Whether the job goes on when nobody waits for it.
    leaves: bool,
    result: oneshot::Receiver<Result<Ended, StartError>>,
}

impl Running<'_> {
    pub(super) async fn end(mut self) -> Result<Ended, KeeperError> {
        // The sender is dropped without a word when the keeper is gone.
        let result = (&mut self.result).await.map_err(|_| KeeperError::Gone)?;
        Ok(result?)
    }

    pub(super) fn stop(&self, urgency: Urgency) {
        self.link.send(&Request::Stop { id: self.id, urgency });
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Still listed: nothing came back, and nobody waits for it any more.
        if lock(&self.link.waiting).jobs.remove(&self.id).is_some() && !self.leaves {
            self.stop(Urgency::Now);
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
            self.hand_on(&mut inbox)?;
            match replies.read(&mut buffer).await? {
                0 => return Ok(()),
                read => inbox.push(&buffer[..read]),
            }
        }
    }

    fn read_socket(&self, mut stream: &UnixStream, mut inbox: Inbox) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            self.hand_on(&mut inbox)?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => inbox.push(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It was killed while it had yet to read.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn hand_on(&self, inbox: &mut Inbox) -> io::Result<()> {
        while let Some(reply) = inbox.take::<Reply>()? {
            if let Some(waiter) = lock(&self.0).jobs.remove(&reply.id) {
                // Whoever waited may have gone.
                drop(waiter.result.send(reply.result));
            }
        }
        Ok(())
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

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked while it held the lock did not leave anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
