//! A keeper that outlives this process: found at its socket, or started there.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::link::{Link, lock};
use super::{KEEPER_ARGUMENT, KeeperError};
use crate::isolation::job::{Ended, Job};
use crate::isolation::kept;
use crate::isolation::post::Post;
use crate::isolation::wire::{self, Greeting, HeldJob, Hello, Inbox, PROTOCOL};

/// How long a keeper may take to answer: it does so between two jobs' outputs.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two tries, while one keeper ends and another is to be started.
const PAUSE: Duration = Duration::from_millis(10);

/// A job of an earlier caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The job as it was started.
    pub job: Job,
    /// How it ended; `None` while it runs.
    pub ended: Option<Ended>,
}

/// What a handle on keepers that outlive it knows.
#[derive(Debug)]
pub(super) struct Outliving {
    program: PathBuf,
    post: Post,
    /// The keeper that new jobs go to.
    main: Mutex<Arc<Link>>,
    /// Held while a successor of it is started: nobody else waits for that.
    renewing: Mutex<()>,
    /// Those of other versions, which go on with what they run.
    others: Vec<Arc<Link>>,
    /// The keepers of jobs that were held when this handle was made, by token.
    holders: HashMap<String, Arc<Link>>,
    /// How those ended that had ended by then.
    ended: Mutex<HashMap<String, Ended>>,
}

impl Outliving {
    /// Finds the keepers of a state folder, whose lock the caller holds, or starts one.
    pub(super) fn find(
        program: &Path,
        state: &Path,
        state_id: &str,
    ) -> Result<(Self, Vec<Held>), KeeperError> {
        let post = Post::make(state, state_id)
            .map_err(|source| KeeperError::Place { path: state.join("run"), source })?;
        let (main, own) = connect_or_start(program, &post)?;
        let mut found = vec![(Arc::new(main), own)];
        for other in post.others() {
            match connect(&other) {
                Ok(Some((link, held))) => found.push((Arc::new(link), held)),
                // It was killed, and its socket is left; or it ends just now.
                Ok(None) => drop(other.lock().map(|lock| lock.map(|_lock| other.clear()))),
                Err(error) => return Err(error),
            }
        }
        let (mut holders, mut ended, mut all) = (HashMap::new(), HashMap::new(), Vec::new());
        let links: Vec<Arc<Link>> = found.iter().map(|(link, _)| Arc::clone(link)).collect();
        for (link, held) in found {
            for HeldJob { job, ended: end } in held {
                holders.insert(job.token.clone(), Arc::clone(&link));
                ended.extend(end.clone().map(|end| (job.token.clone(), end)));
                all.push(Held { job, ended: end });
            }
        }
        // What keepers knew that were killed.
        for HeldJob { job, ended: end } in kept::read_all(&post.ended()) {
            if !holders.contains_key(&job.token) && !ended.contains_key(&job.token) {
                ended.extend(end.clone().map(|end| (job.token.clone(), end)));
                all.push(Held { job, ended: end });
            }
        }
        let mut links = links.into_iter();
        let main = links.next().expect("the first is the one that was connected to or started");
        let (program, others) = (program.to_owned(), links.collect());
        let this = Self {
            program,
            post,
            main: Mutex::new(main),
            renewing: Mutex::new(()),
            others,
            holders,
            ended: Mutex::new(ended),
        };
        Ok((this, all))
    }

    /// Returns the keeper that new jobs go to. One that was killed has a successor: to start that takes a while, and is done
    /// beside the runtime.
    pub(super) async fn main(self: &Arc<Self>) -> Result<Arc<Link>, KeeperError> {
        if let Some(main) = self.living() {
            return Ok(main);
        }
        let this = Arc::clone(self);
        match tokio::task::spawn_blocking(move || this.renew()).await {
            Ok(renewed) => renewed,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends.
                Err(_) => Err(KeeperError::Gone),
            },
        }
    }

    /// Returns the keeper that new jobs go to, unless it is gone.
    fn living(&self) -> Option<Arc<Link>> {
        Some(Arc::clone(&lock(&self.main))).filter(|main| !main.is_gone())
    }

    /// Starts a successor of the keeper that new jobs go to, unless another caller did.
    fn renew(&self) -> Result<Arc<Link>, KeeperError> {
        let _renewing = lock(&self.renewing);
        if let Some(main) = self.living() {
            return Ok(main);
        }
        let (link, _) = connect_or_start(&self.program, &self.post)?;
        let link = Arc::new(link);
        lock(&self.main).clone_from(&link);
        Ok(link)
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.others.iter().cloned().chain([Arc::clone(&lock(&self.main))]).collect()
    }

    /// Returns the keeper that had the job of `token` when this handle was made.
    pub(super) fn holder(&self, token: &str) -> Option<&Arc<Link>> {
        self.holders.get(token)
    }

    /// Returns how the job of `token` ended, if that is known here.
    pub(super) fn ended(&self, token: &str) -> Option<Ended> {
        lock(&self.ended).get(token).cloned()
    }

    /// Returns how the job of `token` ended, if its keeper could write that down before it was killed.
    pub(super) fn written_down(&self, token: &str) -> Option<Ended> {
        kept::read(&self.post.ended(), token)?.ended
    }

    pub(super) fn forget(&self, token: &str) {
        lock(&self.ended).remove(token);
        for link in self.links() {
            link.forget(token);
        }
        kept::remove(&self.post.ended(), token);
    }
}

/// Connects to the keeper at `post`, or starts one there.
fn connect_or_start(program: &Path, post: &Post) -> Result<(Link, Vec<HeldJob>), KeeperError> {
    let place = |source| KeeperError::Place { path: post.socket(), source };
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The lock first: while a keeper has it, it is there to be spoken to, or ends.
        if let Some(locked) = post.lock().map_err(place)? {
            let process = start(program, post, locked)?;
            if let Some((stream, inbox, pid, held)) = greet(post)? {
                let link = Link::of_socket(stream, inbox, pid, Some(process)).map_err(place)?;
                return Ok((link, held));
            }
            return Err(KeeperError::Gone);
        }
        if let Some(found) = connect(post)? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            return Err(place(io::ErrorKind::TimedOut.into()));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Connects to a keeper; `None` when there is none.
fn connect(post: &Post) -> Result<Option<(Link, Vec<HeldJob>)>, KeeperError> {
    let place = |source| KeeperError::Place { path: post.socket(), source };
    let Some((stream, inbox, pid, held)) = greet(post)? else { return Ok(None) };
    let link = Link::of_socket(stream, inbox, pid, None).map_err(place)?;
    Ok(Some((link, held)))
}

/// Starts a keeper: it has the socket as its standard input, and the lock as its standard output.
fn start(program: &Path, post: &Post, locked: OwnedFd) -> Result<Child, KeeperError> {
    let listener = post.listen().map_err(|source| KeeperError::Place { path: post.socket(), source })?;
    let mut command = Command::new(program);
    command.arg0("cairn").arg(KEEPER_ARGUMENT).arg(post.socket()).env_clear();
    let spawned = command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::from(locked)).spawn();
    spawned.map_err(|source| KeeperError::Spawn { program: program.to_owned(), source })
}

type Greeted = (UnixStream, Inbox, u32, Vec<HeldJob>);

/// Says who this is, and learns what is held; `None` when nobody is there.
fn greet(post: &Post) -> Result<Option<Greeted>, KeeperError> {
    let failed = |source| KeeperError::Place { path: post.socket(), source };
    let Ok(stream) = UnixStream::connect(post.socket()) else { return Ok(None) };
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    // One that ends just now closes the socket.
    if (&stream).write_all(&wire::encode(&Hello::new())).is_err() {
        return Ok(None);
    }
    let mut inbox = Inbox::default();
    let Some(greeting) = next::<Greeting>(&stream, &mut inbox).map_err(failed)? else { return Ok(None) };
    if greeting.protocol != PROTOCOL {
        let Greeting { version, pid, .. } = greeting;
        return Err(KeeperError::Foreign { version, pid });
    }
    let mut held = Vec::new();
    for _ in 0..greeting.held {
        let Some(job) = next(&stream, &mut inbox).map_err(failed)? else { return Ok(None) };
        held.push(job);
    }
    stream.set_read_timeout(None).map_err(failed)?;
    Ok(Some((stream, inbox, greeting.pid, held)))
}

/// Reads one message; `None` at the end.
fn next<T: serde::de::DeserializeOwned>(mut stream: &UnixStream, inbox: &mut Inbox) -> io::Result<Option<T>> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(message) = inbox.take()? {
            return Ok(Some(message));
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => inbox.push(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
