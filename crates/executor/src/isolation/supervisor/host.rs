//! The side of a keeper that outlives its callers: a socket, at most one caller at a time, and what is kept for the next.
//!
//! Whoever connects says [`Hello`] first; what says anything else is sent away. The newest caller counts, since it has the
//! state folder's lock: the one before reads the end of file, as if the keeper had ended. When a caller goes, its tied jobs
//! are ended, and the others go on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::super::job::{Ended, Job};
use super::super::kept;
use super::super::post::Post;
use super::super::start_error::StartError;
use super::super::wire::{self, Greeting, HeldJob, Hello, Inbox, PROTOCOL, Reply, Request, Urgency};
use super::caller::Asked;

/// How long a keeper without jobs waits for a caller: a daemon that is started anew takes less.
const IDLE: Duration = Duration::from_secs(10);

/// How long one that connects may take to say who it is.
const HELLO: Duration = Duration::from_secs(5);

/// Those that have yet to say who they are, at most.
const PENDING_MAX: usize = 16;

/// Bytes that a caller may leave unread; one that reads nothing any more is gone.
const UNREAD_MAX: usize = 64 << 20;

/// What a keeper at a socket knows.
pub(super) struct Host {
    post: Post,
    listener: UnixListener,
    pending: Vec<Pending>,
    client: Option<Client>,
    /// The jobs that run.
    jobs: BTreeMap<u64, Job>,
    /// Those that ended and were not acknowledged; with each whether it is in a file.
    ended: HashMap<String, (HeldJob, bool)>,
    last_id: u64,
    idle_since: Instant,
}

struct Pending {
    stream: OwnedFd,
    inbox: Inbox,
    until: Instant,
}

struct Client {
    stream: OwnedFd,
    inbox: Inbox,
    /// What it was not ready to read.
    outbox: Vec<u8>,
    /// The numbers by which it knows jobs.
    ids: BTreeMap<u64, u64>,
}

/// What there is something to do with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    Listener,
    Pending(usize),
    Client,
}

impl Host {
    pub(super) fn new(post: Post, listener: OwnedFd) -> io::Result<Self> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Self {
            post,
            listener,
            pending: Vec::new(),
            client: None,
            jobs: BTreeMap::new(),
            ended: HashMap::new(),
            last_id: 0,
            idle_since: Instant::now(),
        })
    }

    pub(super) fn sources(&self) -> Vec<(Ready, BorrowedFd<'_>, PollFlags)> {
        let mut sources = Vec::new();
        if self.pending.len() < PENDING_MAX {
            sources.push((Ready::Listener, self.listener.as_fd(), PollFlags::IN));
        }
        for (at, pending) in self.pending.iter().enumerate() {
            sources.push((Ready::Pending(at), pending.stream.as_fd(), PollFlags::IN));
        }
        if let Some(client) = &self.client {
            let writes = if client.outbox.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            sources.push((Ready::Client, client.stream.as_fd(), PollFlags::IN | writes));
        }
        sources
    }

    /// Returns when [`Self::tend`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let idle = self.is_idle().then(|| self.idle_since + IDLE);
        self.pending.iter().map(|pending| pending.until).chain(idle).min()
    }

    /// Sends away who does not say anything; returns whether there is anything to go on for.
    pub(super) fn tend(&mut self, now: Instant) -> bool {
        self.pending.retain(|pending| pending.until > now);
        !self.is_idle() || now < self.idle_since + IDLE
    }

    /// Returns whether nobody would miss this keeper. What ended is in files.
    fn is_idle(&self) -> bool {
        self.client.is_none() && self.jobs.is_empty() && self.ended.values().all(|(_, in_file)| *in_file)
    }

    /// Listens to what is ready.
    pub(super) fn receive(&mut self, ready: &[Ready], buffer: &mut [u8]) -> Vec<Asked> {
        let mut asked = Vec::new();
        if ready.iter().any(|ready| matches!(ready, Ready::Client)) {
            self.write();
            self.read(buffer, &mut asked);
        }
        let mut greeted = Vec::new();
        for ready in ready {
            match ready {
                Ready::Pending(at) => greeted.push((*at, self.pending[*at].hear(buffer))),
                Ready::Listener => self.accept(),
                Ready::Client => {}
            }
        }
        // From the last one on, so that the places of the others stay.
        for (at, heard) in greeted.into_iter().rev() {
            match heard {
                Heard::Nothing => {}
                Heard::Nonsense => drop(self.pending.remove(at)),
                Heard::Hello => {
                    let Pending { stream, inbox, .. } = self.pending.remove(at);
                    self.greet(stream, inbox, &mut asked);
                }
            }
        }
        asked
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok() {
            let until = Instant::now() + HELLO;
            self.pending.push(Pending { stream: stream.into(), inbox: Inbox::default(), until });
        }
    }

    /// Has `stream` be the caller from here on.
    fn greet(&mut self, stream: OwnedFd, inbox: Inbox, asked: &mut Vec<Asked>) {
        self.let_go(asked);
        let ended = self.ended.values().map(|(held, _)| held.clone());
        let running = self.jobs.values().filter(|job| !job.tied);
        let running = running.map(|job| HeldJob { job: job.clone(), ended: None });
        let held: Vec<HeldJob> = running.chain(ended).collect();
        let greeting = Greeting {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: u32::try_from(rustix::process::getpid().as_raw_pid()).unwrap_or(0),
            held: u32::try_from(held.len()).unwrap_or(u32::MAX),
        };
        let mut outbox = wire::encode(&greeting);
        for held in &held {
            outbox.extend(wire::encode(held));
        }
        self.client = Some(Client { stream, inbox, outbox, ids: BTreeMap::new() });
        self.write();
        self.take(asked);
    }

    /// Ends what is tied to a caller that has gone.
    fn let_go(&mut self, asked: &mut Vec<Asked>) {
        if self.client.take().is_none() {
            return;
        }
        self.idle_since = Instant::now();
        let tied = self.jobs.iter().filter(|(_, job)| job.tied);
        asked.extend(tied.map(|(id, _)| Asked::Stop { id: *id, urgency: Urgency::Now }));
    }

    fn read(&mut self, buffer: &mut [u8], asked: &mut Vec<Asked>) {
        let Some(client) = &mut self.client else { return };
        match rustix::io::read(&client.stream, &mut *buffer) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Ok(0) | Err(_) => self.let_go(asked),
            Ok(read) => {
                client.inbox.push(&buffer[..read]);
                self.take(asked);
            }
        }
    }

    /// Takes in what the caller said.
    fn take(&mut self, asked: &mut Vec<Asked>) {
        while let Some(client) = &mut self.client {
            match client.inbox.take() {
                Ok(Some(request)) => self.do_asked(request, asked),
                Ok(None) => return,
                Err(_) => self.let_go(asked),
            }
        }
    }

    fn do_asked(&mut self, request: Request, asked: &mut Vec<Asked>) {
        let Some(client) = &mut self.client else { return };
        match request {
            Request::Run { id, job } => {
                self.last_id += 1;
                client.ids.insert(id, self.last_id);
                // A token names one job: what ended under it before is not asked for any more.
                self.forget(&job.token);
                self.jobs.insert(self.last_id, job.clone());
                asked.push(Asked::Run { id: self.last_id, job: Box::new(job) });
            }
            Request::Stop { id, urgency } => {
                asked.extend(client.ids.get(&id).map(|id| Asked::Stop { id: *id, urgency }));
            }
            Request::Claim { id, token } => {
                if let Some((running, _)) = self.jobs.iter().find(|(_, job)| job.token == token) {
                    client.ids.insert(id, *running);
                } else if let Some((held, _)) = self.ended.get(&token) {
                    let ended = held.ended.clone().expect("it is among those that ended");
                    self.send(&Reply { id, result: Ok(ended) });
                } else {
                    // Since it was told of it, it was given up, or could not be started.
                    self.send(&Reply { id, result: Err(StartError::NotHeld) });
                }
            }
            Request::Forget { token } => self.forget(&token),
        }
    }

    fn forget(&mut self, token: &str) {
        if let Some((_, true)) = self.ended.remove(token) {
            kept::remove(&self.post.ended(), token);
        }
        self.idle_since = Instant::now();
    }

    /// Takes note of the end of a job, and tells the caller.
    pub(super) fn reply(&mut self, id: u64, result: &Result<Ended, StartError>) {
        let Some(job) = self.jobs.remove(&id) else { return };
        self.idle_since = Instant::now();
        if let (Ok(ended), false) = (result, job.tied) {
            let held = HeldJob { job, ended: Some(ended.clone()) };
            let token = held.job.token.clone();
            let in_file = kept::write(&self.post.ended(), &held).is_ok();
            self.ended.insert(token, (held, in_file));
        }
        let Some(client) = &mut self.client else { return };
        // One that it waits for already it may claim once more, to end it.
        let askers: Vec<u64> = client.ids.extract_if(.., |_, of| *of == id).map(|(asker, _)| asker).collect();
        for asker in askers {
            self.send(&Reply { id: asker, result: result.clone() });
        }
    }

    fn send(&mut self, reply: &Reply) {
        if let Some(client) = &mut self.client {
            client.outbox.extend(wire::encode(reply));
        }
        self.write();
    }

    /// Writes what the caller is ready to read. One that has gone is seen as it is read from.
    fn write(&mut self) {
        let Some(client) = &mut self.client else { return };
        while !client.outbox.is_empty() {
            match rustix::io::write(&client.stream, &client.outbox) {
                Ok(written) => drop(client.outbox.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if client.outbox.len() <= UNREAD_MAX => return,
                Err(_) => {
                    client.outbox.clear();
                    let _ = rustix::net::shutdown(&client.stream, rustix::net::Shutdown::Both);
                }
            }
        }
    }

    /// Removes what the keeper leaves.
    pub(super) fn close(&self) {
        self.post.clear();
    }
}

/// What one said that just connected.
enum Heard {
    Nothing,
    Hello,
    Nonsense,
}

impl Pending {
    fn hear(&mut self, buffer: &mut [u8]) -> Heard {
        let buffer = &mut buffer[..Hello::BYTES_MAX];
        match rustix::io::read(&self.stream, &mut *buffer) {
            Err(Errno::AGAIN | Errno::INTR) => return Heard::Nothing,
            Ok(0) | Err(_) => return Heard::Nonsense,
            Ok(read) => self.inbox.push(&buffer[..read]),
        }
        match self.inbox.take::<Hello>() {
            Ok(Some(hello)) if hello.is_ours() => Heard::Hello,
            Ok(None) if self.inbox.len() < Hello::BYTES_MAX => Heard::Nothing,
            _ => Heard::Nonsense,
        }
    }
}
