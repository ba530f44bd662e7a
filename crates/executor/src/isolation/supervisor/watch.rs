//! The loop.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::super::job::Job;
use super::super::log::Stream;
use super::super::process::{Snapshot, own_children};
use super::super::wire::{self, Inbox, Reply, Request};
use super::attempt::Attempt;
use super::family::Family;
use super::output::BUFFER;
use super::spawn::Spawner;
use super::system;

/// How long the keeper waits for killed processes after its caller is gone. One that waits for a device may take longer,
/// and is left to the next run.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The keeper's state.
pub(super) struct Supervisor {
    requests: OwnedFd,
    replies: File,
    child_ended: OwnedFd,
    inbox: Inbox,
    spawner: Spawner,
    attempts: BTreeMap<u64, Attempt>,
    family: Family,
    buffer: Box<[u8]>,
}

/// What there is something to read from.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Caller,
    ChildEnded,
    Pipe(u64, Stream),
}

/// The caller is gone, or says what nobody understands.
struct Gone;

impl Supervisor {
    /// Makes a keeper of this process.
    pub(super) fn set_up() -> io::Result<Self> {
        let (requests, replies) = (io::stdin(), io::stdout());
        let is_pipe = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
        if !is_pipe(rustix::fs::fstat(&requests)?) || !is_pipe(rustix::fs::fstat(&replies)?) {
            let text = "its standard input and output are not pipes: only cairn itself starts it";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        system::close_inherited()?;
        // Out of the terminal's foreground group: Ctrl-C is for the caller, who tells what is to end. This fails only for
        // the leader of a group, which is out of it already.
        let _ = rustix::process::setsid();
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
            rustix::thread::set_name(c"cairn-keeper")?;
        }
        // Outputs and logs alike: the state folder is closed to others.
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        rustix::process::chdir("/")?;
        let files = rustix::process::getrlimit(Resource::Nofile);
        // Two pipes for each job; a job itself gets the limit that the caller had.
        rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
        Ok(Self {
            requests: requests.as_fd().try_clone_to_owned()?,
            replies: replies.as_fd().try_clone_to_owned()?.into(),
            child_ended: system::take_signals()?,
            inbox: Inbox::default(),
            spawner: Spawner::new(files)?,
            attempts: BTreeMap::new(),
            family: Family::default(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// Serves the caller until it is gone, then ends everything.
    pub(super) fn run(mut self) {
        while let Ok(()) = self.round() {}
        self.end_all();
    }

    fn round(&mut self) -> Result<(), Gone> {
        for ready in self.wait() {
            match ready {
                Ready::Pipe(id, stream) => {
                    if let Some(attempt) = self.attempts.get_mut(&id) {
                        attempt.read(stream, &mut self.buffer);
                    }
                }
                Ready::ChildEnded => self.look_at_children(),
                Ready::Caller => self.receive()?,
            }
        }
        let now = Instant::now();
        let ticks = self.attempts.iter_mut().filter_map(|(id, attempt)| Some((*id, attempt.tick(now)?)));
        let due = ticks.collect();
        self.signal(due);
        self.settle()
    }

    /// Waits until there is something to do. Pipes come first: what a job wrote before it ended is read before that is seen.
    fn wait(&self) -> Vec<Ready> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        let pipes = self
            .attempts
            .iter()
            .flat_map(|(id, attempt)| attempt.pipes().map(|(stream, pipe)| (Ready::Pipe(*id, stream), pipe)));
        let fixed = [(Ready::ChildEnded, self.child_ended.as_fd()), (Ready::Caller, self.requests.as_fd())];
        for (source, descriptor) in pipes.chain(fixed) {
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(descriptor, PollFlags::IN));
        }
        let deadline = self.attempts.values().filter_map(Attempt::deadline).min();
        let timeout = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        // An interruption is the end of a child: the next round sees it.
        let _ = rustix::event::poll(&mut polled, timeout.as_ref());
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        sources
            .into_iter()
            .zip(&polled)
            .filter(|(_, polled)| is_ready(polled))
            .map(|(source, _)| source)
            .collect()
    }

    fn receive(&mut self) -> Result<(), Gone> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.requests, &mut *self.buffer)) {
            Ok(0) | Err(_) => return Err(Gone),
            Ok(read) => self.inbox.push(&self.buffer[..read]),
        }
        let mut due = Vec::new();
        while let Some(request) = self.inbox.take().map_err(|_| Gone)? {
            match request {
                Request::Run { id, job } => self.start(id, &job)?,
                Request::Stop { id, urgency } => {
                    // It may have ended while the request was on its way.
                    let attempt = self.attempts.get_mut(&id);
                    let signal = attempt.and_then(|attempt| attempt.stop(urgency, Instant::now()));
                    due.extend(signal.map(|signal| (id, signal)));
                }
            }
        }
        self.signal(due);
        Ok(())
    }

    fn start(&mut self, id: u64, job: &Job) -> Result<(), Gone> {
        match Attempt::start(&mut self.spawner, job) {
            Ok(attempt) => {
                self.attempts.insert(id, attempt);
                Ok(())
            }
            Err(error) => self.reply(&Reply { id, result: Err(error) }),
        }
    }

    fn look_at_children(&mut self) {
        // Emptied before looking: what ends from now on makes it readable again.
        while rustix::io::read(&self.child_ended, &mut *self.buffer).is_ok_and(|read| read > 0) {}
        for attempt in self.attempts.values_mut() {
            attempt.look();
        }
        self.family.survey(&self.attempts);
    }

    /// Looks after the jobs whose main process has ended: says how those ended of which nothing lives, and sees to what
    /// outlives the others.
    fn settle(&mut self) -> Result<(), Gone> {
        let now = Instant::now();
        let mut due = Vec::new();
        let exited = self.attempts.iter().filter(|(_, attempt)| attempt.has_exited());
        // One after the other: when one is over, what may have been its own is left to the rest.
        for id in exited.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.family.has_any(id) {
                let attempt = self.attempts.get_mut(&id).expect("it was listed above");
                due.extend(attempt.outlived(now, self.family.has_unkilled(id)).map(|signal| (id, signal)));
            } else {
                self.family.forget(id);
                let attempt = self.attempts.remove(&id).expect("it was listed above");
                let ended = attempt.finish(&mut self.buffer);
                self.reply(&Reply { id, result: Ok(ended) })?;
            }
        }
        // A job is over, too, when what is left of it cannot be ended.
        if self.signal(due) { self.settle() } else { Ok(()) }
    }

    /// Sends signals to whole jobs; tells whether a process refused SIGKILL.
    fn signal(&mut self, due: Vec<(u64, Signal)>) -> bool {
        let mut any_refused = false;
        if due.is_empty() {
            return any_refused;
        }
        let snapshot = Snapshot::take();
        for (id, signal) in due {
            let attempt = self.attempts.get_mut(&id).expect("only jobs that run are due");
            let (sent, refused) = self.family.signal(id, attempt.main(), signal, &snapshot);
            if signal == Signal::KILL {
                attempt.note_killed(sent, refused);
                any_refused |= refused > 0;
            }
        }
        any_refused
    }

    fn reply(&mut self, reply: &Reply) -> Result<(), Gone> {
        wire::send(&self.replies, reply).map_err(|_| Gone)
    }

    /// Kills everything, and waits until it is gone.
    fn end_all(mut self) {
        self.family.survey(&self.attempts);
        let everything = self.attempts.keys().map(|id| (*id, Signal::KILL)).collect();
        self.signal(everything);
        let deadline = Instant::now() + LAST_PATIENCE;
        // From here on main processes are reaped like any: groups are not signalled any more, as their numbers may be new.
        while Instant::now() < deadline {
            while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
            let children = own_children();
            if children.is_empty() {
                return;
            }
            for process in Snapshot::take().below(children.iter().copied()) {
                let _ = process.signal(Signal::KILL);
            }
            let kill = |child: &Pid| rustix::process::kill_process(*child, Signal::KILL);
            let refused = children.iter().filter(|child| kill(child) == Err(Errno::PERM)).count();
            if refused == children.len() {
                return;
            }
            let pause = timespec(Duration::from_millis(20));
            let mut polled = [PollFd::new(&self.child_ended, PollFlags::IN)];
            let _ = rustix::event::poll(&mut polled, Some(&pause));
            while rustix::io::read(&self.child_ended, &mut *self.buffer).is_ok_and(|read| read > 0) {}
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    // Longer than any poll: the deadline is looked at again.
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 })
}
