//! Whom a keeper serves: the process that started it, by pipes; or one after the other, at a socket.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::PollFlags;

use super::super::job::{Ended, Job};
use super::super::start_error::StartError;
use super::super::wire::{self, Inbox, Reply, Request, Urgency};
use super::host::{self, Host};

/// The caller, or where callers come.
pub(super) enum Caller {
    Pipes(Pipes),
    Host(Box<Host>),
}

/// The only caller.
pub(super) struct Pipes {
    pub(super) requests: OwnedFd,
    pub(super) replies: File,
    pub(super) inbox: Inbox,
}

/// What there is something to do with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ready {
    Pipe,
    Host(host::Ready),
}

/// What is to be done with jobs.
pub(super) enum Asked {
    Run { id: u64, job: Box<Job> },
    Stop { id: u64, urgency: Urgency },
}

/// Nobody is left to work for.
pub(super) struct Gone;

impl Caller {
    pub(super) fn sources(&self) -> Vec<(Ready, BorrowedFd<'_>, PollFlags)> {
        match self {
            Self::Pipes(pipes) => vec![(Ready::Pipe, pipes.requests.as_fd(), PollFlags::IN)],
            Self::Host(host) => {
                let sources = host.sources().into_iter();
                sources.map(|(ready, descriptor, flags)| (Ready::Host(ready), descriptor, flags)).collect()
            }
        }
    }

    /// Returns when [`Self::tend`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Pipes(_) => None,
            Self::Host(host) => host.deadline(),
        }
    }

    /// Does what is due.
    pub(super) fn tend(&mut self, now: Instant) -> Result<(), Gone> {
        match self {
            Self::Pipes(_) => Ok(()),
            Self::Host(host) => host.tend(now).then_some(()).ok_or(Gone),
        }
    }

    /// Listens to what is ready.
    pub(super) fn receive(&mut self, ready: &[Ready], buffer: &mut [u8]) -> Result<Vec<Asked>, Gone> {
        match self {
            Self::Pipes(_) if ready.is_empty() => Ok(Vec::new()),
            Self::Pipes(pipes) => pipes.receive(buffer),
            Self::Host(host) => {
                let ready: Vec<host::Ready> = ready
                    .iter()
                    .filter_map(|ready| match ready {
                        Ready::Host(ready) => Some(*ready),
                        Ready::Pipe => None,
                    })
                    .collect();
                Ok(host.receive(&ready, buffer))
            }
        }
    }

    /// Says how a job ended.
    pub(super) fn reply(&mut self, id: u64, result: Result<Ended, StartError>) -> Result<(), Gone> {
        match self {
            Self::Pipes(pipes) => wire::send(&pipes.replies, &Reply { id, result }).map_err(|_| Gone),
            Self::Host(host) => {
                host.reply(id, &result);
                Ok(())
            }
        }
    }

    /// Removes what the keeper leaves.
    pub(super) fn close(&self) {
        if let Self::Host(host) = self {
            host.close();
        }
    }
}

impl Pipes {
    fn receive(&mut self, buffer: &mut [u8]) -> Result<Vec<Asked>, Gone> {
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.requests, &mut *buffer)) {
            Ok(0) | Err(_) => return Err(Gone),
            Ok(read) => self.inbox.push(&buffer[..read]),
        }
        let mut asked = Vec::new();
        while let Some(request) = self.inbox.take().map_err(|_| Gone)? {
            match request {
                Request::Run { id, job } => asked.push(Asked::Run { id, job: Box::new(job) }),
                Request::Stop { id, urgency } => asked.push(Asked::Stop { id, urgency }),
                // Nothing is held for anybody else.
                Request::Claim { .. } | Request::Forget { .. } => return Err(Gone),
            }
        }
        Ok(asked)
    }
}
