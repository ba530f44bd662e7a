//! The handle on a keeper, in the process that has things run.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::job::{Ended, Job};
use super::start_error::StartError;
use super::wire::Urgency;
use super::{STATE_VARIABLE, TOKEN_VARIABLE};

mod link;
mod outliving;

use link::Link;
pub use outliving::Held;
use outliving::Outliving;

/// The argument that makes the binary a keeper: `main` looks for it first and then calls
/// [`keeper_main`](super::keeper_main).
pub const KEEPER_ARGUMENT: &str = "__keeper";

/// How often it is looked whether a job has ended that another part of this process waits for.
const LOOK: Duration = Duration::from_millis(10);

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
    /// There is no place for its socket, or who is there does not answer.
    #[error("cannot speak to a keeper process at `{}`: {source}", path.display())]
    Place {
        /// The socket, or its folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A keeper of another version holds attempts and speaks another language.
    #[error(
        "the keeper process {pid} of cairn {version} holds attempts, and this cairn does not understand it"
    )]
    Foreign {
        /// Its version.
        version: String,
        /// Its process number.
        pid: u32,
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
            Self::Foreign { version, pid } => {
                Some(format!("have cairn {version} go on with them, or give them up with `kill {pid}`"))
            }
            Self::Spawn { .. } | Self::Place { .. } => None,
        }
    }

    /// Tells whether another attempt would fail in the same way.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Start(error) => error.is_permanent(),
            Self::Spawn { .. } | Self::Place { .. } | Self::Foreign { .. } | Self::Gone => true,
        }
    }
}

/// A handle on a keeper process. Clones share it.
///
/// One that was [started](Self::start) is this handle's own: dropping the last clone ends all that still runs, and waits for
/// that. It is started without an async runtime, and belongs to the first tokio runtime that runs a job: when that is gone,
/// so is the keeper to all that wait for it.
///
/// One that [outlives](Self::outliving) this process goes on with what is not tied, whatever becomes of the handle, and
/// keeps how each job ended until that is [acknowledged](Self::forget).
#[derive(Debug, Clone)]
pub struct Keeper {
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Own(Arc<Link>),
    Outliving(Arc<Outliving>),
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
        let process = spawned.map_err(|source| KeeperError::Spawn { program: program.to_owned(), source })?;
        Ok(Self { kind: Kind::Own(Arc::new(Link::of_process(process))) })
    }

    /// Finds the keeper that outlived the last process that held the state folder `state`, or starts one: `program` is this
    /// very binary. Also returns the jobs of before: those that run, and those that ended and were not acknowledged. The
    /// caller holds the folder's lock; an earlier caller that still lives is to have no keeper any more.
    ///
    /// A keeper of another version goes on with what it has, and new jobs go to one of this version.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Spawn`], [`KeeperError::Place`] and [`KeeperError::Foreign`].
    pub fn outliving(program: &Path, state: &Path, state_id: &str) -> Result<(Self, Vec<Held>), KeeperError> {
        let (outliving, held) = Outliving::find(program, state, state_id)?;
        Ok((Self { kind: Kind::Outliving(Arc::new(outliving)) }, held))
    }

    /// Returns whether jobs that are not tied go on without this process.
    pub fn outlives(&self) -> bool {
        matches!(self.kind, Kind::Outliving(_))
    }

    /// Runs `job`, and returns when it has ended and nothing of it lives. Dropping the future kills the job, without
    /// waiting for that; only one that outlives its caller and is not tied goes on.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Start`] and [`KeeperError::Gone`]; where a new keeper has to be started, also those of
    /// [`Self::outliving`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O enabled.
    pub async fn run(&self, job: Job) -> Result<Ended, KeeperError> {
        self.run_and(job, || {}).await
    }

    /// The same; `entered` is called as soon as [`Self::terminate`] and [`Self::kill`] reach the job.
    ///
    /// # Errors
    ///
    /// Those of [`Self::run`].
    ///
    /// # Panics
    ///
    /// As [`Self::run`].
    pub async fn run_and(&self, job: Job, entered: impl FnOnce()) -> Result<Ended, KeeperError> {
        match &self.kind {
            Kind::Own(link) => {
                let running = link.run(job)?;
                entered();
                running.end().await
            }
            Kind::Outliving(outliving) => {
                let (token, tied) = (job.token.clone(), job.tied);
                let link = outliving.main().await?;
                let running = link.run(job)?;
                entered();
                match running.end().await {
                    Err(KeeperError::Gone) if !tied => {
                        outliving.written_down(&token).ok_or(KeeperError::Gone)
                    }
                    ended => ended,
                }
            }
        }
    }

    /// Returns how the job of `token` ends, which an earlier process had started and the keeper holds. Dropping the future
    /// leaves it to itself.
    ///
    /// # Errors
    ///
    /// [`KeeperError::Gone`], when it is held no more.
    pub async fn wait(&self, token: &str) -> Result<Ended, KeeperError> {
        self.end_held(token, None).await
    }

    /// Ends the job of `token` at once, whether an earlier process had started it and the keeper holds it, or this one did;
    /// returns when nothing of it lives, and it is acknowledged.
    pub async fn discard(&self, token: &str) {
        // One that is held no more has ended.
        drop(self.end_held(token, Some(Urgency::Now)).await);
        self.kill(token);
        while self.waits_for(token) {
            tokio::time::sleep(LOOK).await;
        }
        self.forget(token);
    }

    /// Returns whether somebody waits for the job of `token`, so that it may live.
    fn waits_for(&self, token: &str) -> bool {
        match &self.kind {
            Kind::Own(link) => link.waits_for(token),
            Kind::Outliving(outliving) => outliving.links().iter().any(|link| link.waits_for(token)),
        }
    }

    async fn end_held(&self, token: &str, stop: Option<Urgency>) -> Result<Ended, KeeperError> {
        let Kind::Outliving(outliving) = &self.kind else { return Err(KeeperError::Gone) };
        if let Some(ended) = outliving.ended(token) {
            return Ok(ended);
        }
        let link = outliving.holder(token).ok_or(KeeperError::Gone)?;
        let ended = match link.claim(token) {
            Ok(running) => {
                if let Some(urgency) = stop {
                    running.stop(urgency);
                }
                running.end().await
            }
            Err(gone) => Err(gone),
        };
        match ended {
            Err(KeeperError::Gone | KeeperError::Start(StartError::NotHeld)) => {
                outliving.written_down(token).ok_or(KeeperError::Gone)
            }
            ended => ended,
        }
    }

    /// Acknowledges how the job of `token` ended: what came of it is durable, or not wanted. Nothing happens where nothing is
    /// kept.
    pub fn forget(&self, token: &str) {
        if let Kind::Outliving(outliving) = &self.kind {
            outliving.forget(token);
        }
    }

    /// Asks the job of `token` to end: SIGTERM to all its processes, SIGKILL after its `kill_after_ms`. [`Keeper::run`]
    /// returns as ever. Nothing happens when there is no such job.
    pub fn terminate(&self, token: &str) {
        self.stop(Urgency::Gently, |of| of == token);
    }

    /// Kills the job of `token` at once.
    pub fn kill(&self, token: &str) {
        self.stop(Urgency::Now, |of| of == token);
    }

    /// Asks all jobs to end.
    pub fn terminate_all(&self) {
        self.stop(Urgency::Gently, |_| true);
    }

    /// Kills all jobs at once.
    pub fn kill_all(&self) {
        self.stop(Urgency::Now, |_| true);
    }

    fn stop(&self, urgency: Urgency, which: impl Fn(&str) -> bool) {
        match &self.kind {
            Kind::Own(link) => link.stop(urgency, which),
            Kind::Outliving(outliving) => {
                for link in outliving.links() {
                    link.stop(urgency, &which);
                }
            }
        }
    }

    /// Returns whether it is known that the keeper has ended, and that there is no other. One that outlives its callers has a
    /// successor.
    pub fn is_gone(&self) -> bool {
        match &self.kind {
            Kind::Own(link) => link.is_gone(),
            Kind::Outliving(_) => false,
        }
    }

    /// Returns the keeper's process number.
    pub fn pid(&self) -> u32 {
        match &self.kind {
            Kind::Own(link) => link.pid,
            Kind::Outliving(outliving) => outliving.links().last().expect("the one that new jobs go to").pid,
        }
    }
}
