//! The loop.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::super::job::Job;
use super::super::log::Stream;
use super::super::post::Post;
use super::super::process::{Snapshot, own_children};
use super::super::wire::Inbox;
use super::attempt::Attempt;
use super::caller::{self, Asked, Caller, Gone, Pipes};
use super::family::Family;
use super::host::Host;
use super::output::BUFFER;
use super::spawn::Spawner;
use super::system;

/// How long the keeper waits for killed processes after its caller is gone. One that waits for a device may take longer,
/// and is left to the next run.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// The keeper's state.
pub(super) struct Supervisor {
    caller: Caller,
    child_ended: OwnedFd,
    spawner: Spawner,
    attempts: BTreeMap<u64, Attempt>,
    family: Family,
    buffer: Box<[u8]>,
}

/// What there is something to read from.
#[derive(Debug, Clone, Copy)]
enum Ready {
    Caller(caller::Ready),
    ChildEnded,
    Pipe(u64, Stream),
}

impl Supervisor {
    /// Makes a keeper of this process: for the caller at the other ends of standard input and output; or with `socket`, where
    /// callers come to, for any of them.
    pub(super) fn set_up(socket: Option<&Path>) -> io::Result<Self> {
        let (requests, replies) = (io::stdin(), io::stdout());
        // At a socket standard output is the lock.
        let wanted = match socket {
            None => [FileType::Fifo, FileType::Fifo],
            Some(_) => [FileType::Socket, FileType::RegularFile],
        };
        let kind = |stat: rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode);
        if [kind(rustix::fs::fstat(&requests)?), kind(rustix::fs::fstat(&replies)?)] != wanted {
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
        let requests = requests.as_fd().try_clone_to_owned()?;
        let caller = match socket.map(Post::at) {
            None => Caller::Pipes(Pipes {
                requests,
                replies: replies.as_fd().try_clone_to_owned()?.into(),
                inbox: Inbox::default(),
            }),
            // The lock is held as long as this process lives.
            Some(Some(post)) => Caller::Host(Box::new(Host::new(post, requests)?)),
            Some(None) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "its socket has another name"));
            }
        };
        Ok(Self {
            caller,
            child_ended: system::take_signals()?,
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
        self.caller.close();
    }

    fn round(&mut self) -> Result<(), Gone> {
        let mut callers = Vec::new();
        for ready in self.wait() {
            match ready {
                Ready::Pipe(id, stream) => {
                    if let Some(attempt) = self.attempts.get_mut(&id) {
                        attempt.read(stream, &mut self.buffer);
                    }
                }
                Ready::ChildEnded => self.look_at_children(),
                Ready::Caller(ready) => callers.push(ready),
            }
        }
        self.receive(&callers)?;
        let now = Instant::now();
        let ticks = self.attempts.iter_mut().filter_map(|(id, attempt)| Some((*id, attempt.tick(now)?)));
        let due = ticks.collect();
        self.signal(due);
        self.settle()?;
        self.caller.tend(Instant::now())
    }

    /// Waits until there is something to do. Pipes come first: what a job wrote before it ended is read before that is seen.
    fn wait(&self) -> Vec<Ready> {
        let mut sources = Vec::new();
        let mut polled = Vec::new();
        let pipes = self
            .attempts
            .iter()
            .flat_map(|(id, attempt)| attempt.pipes().map(|(stream, pipe)| (Ready::Pipe(*id, stream), pipe)))
            .map(|(source, pipe)| (source, pipe, PollFlags::IN));
        let child_ended = [(Ready::ChildEnded, self.child_ended.as_fd(), PollFlags::IN)];
        let callers = self.caller.sources().into_iter();
        let callers = callers.map(|(source, descriptor, flags)| (Ready::Caller(source), descriptor, flags));
        for (source, descriptor, flags) in pipes.chain(child_ended).chain(callers) {
            sources.push(source);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        }
        let jobs = self.attempts.values().filter_map(Attempt::deadline);
        let deadline = jobs.chain(self.caller.deadline()).min();
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

    fn receive(&mut self, ready: &[caller::Ready]) -> Result<(), Gone> {
        let mut due = Vec::new();
        for asked in self.caller.receive(ready, &mut self.buffer)? {
            match asked {
                Asked::Run { id, job } => self.start(id, &job)?,
                Asked::Stop { id, urgency } => {
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
            Err(error) => self.caller.reply(id, Err(error)),
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
                self.caller.reply(id, Ok(ended))?;
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

    /// Kills everything, and waits until it is gone.
    fn end_all(&mut self) {
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
