//! How `once`, `seen`, `mark` and `reject` reach the process that holds the store.
//!
//! Within a stage it is the process of the run, by a socket that the environment names: nothing else is opened or read
//! there, for these are called thousands of times. Elsewhere, with `--scope`, it is whichever process has the project's
//! store open; where none has, this one opens it, and listens as well: others may come meanwhile.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_executor::isolation::TOKEN_VARIABLE;
use cairn_executor::notes::{Server, Service, Writer, once_key_in, place};
use cairn_model::{Clock as _, SystemClock};
use cairn_notes::protocol::{CutOff, Reply, Request};
use cairn_notes::{Client, ClientError, EPOCH_VARIABLE, SOCKET_VARIABLE};
use cairn_store::{Access, OpenError, Store};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::project::claim;

/// How long one waits for a process that has the store open and does not listen: it is about to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Whom a note belongs to.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Scope {
    /// Whom it belongs to, instead of the pipeline's stage; needed outside of stages
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Option<String>,
}

/// A conversation with the process that holds the store.
pub(crate) struct Caller {
    client: Client,
    /// How to begin anew; only outside of attempts, where another process may go on.
    again: Option<Again>,
    /// Whether that was done.
    asked_again: bool,
    own: Option<Own>,
}

struct Again {
    root: PathBuf,
    state: PathBuf,
    scope: String,
}

/// The store, where this very process opened it.
struct Own {
    server: Server,
    store: Store,
}

impl Caller {
    /// Finds the process that holds the store.
    pub(crate) fn find(scope: &Scope, context: &Context) -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(token) = variable(TOKEN_VARIABLE) {
            return Self::of_attempt(token, variable(SOCKET_VARIABLE), variable(EPOCH_VARIABLE), scope);
        }
        let Some(scope) = &scope.scope else {
            return Err(Failure::wrong("it is called outside of any stage, and belongs to no one")
                .help("call it from a stage's `run`, or give `--scope NAME`"));
        };
        let project = context.project()?;
        let state = project.state()?;
        let root = project.root_of(&state);
        Self::of_scope(Again { root, state, scope: scope.clone() })
    }

    fn of_attempt(
        token: OsString,
        socket: Option<OsString>,
        epoch: Option<OsString>,
        scope: &Scope,
    ) -> Result<Self, Failure> {
        let nobody = || {
            Failure::new(ExitStatus::Store, "the run that this stage belongs to listens to nobody")
                .help("`cairn run -v` says why; do not clear `CAIRN_SOCKET` from the environment")
        };
        let (Some(socket), Some(epoch)) = (socket, epoch) else { return Err(nobody()) };
        let epoch = epoch.to_str().and_then(|epoch| epoch.parse().ok()).ok_or_else(nobody)?;
        let token = token.into_string().map_err(|_| nobody())?;
        let client = Client::of_attempt(Path::new(&socket), token, epoch, scope.scope.clone());
        let client = client.map_err(|error| nobody().because_of(Some(&error)))?;
        Ok(Self { client, again: None, asked_again: false, own: None })
    }

    fn of_scope(again: Again) -> Result<Self, Failure> {
        let Again { root, state, scope } = &again;
        let state_id = cairn_executor::Project::new(root.clone(), state.clone(), root.clone()).state_id();
        let began = Instant::now();
        loop {
            if let Ok(stream) = place::connect(state, &state_id) {
                let client = Client::of_scope(stream, scope.clone());
                return Ok(Self { client, again: Some(again), asked_again: false, own: None });
            }
            claim(state, root)?;
            let store = match Store::open(state, Access::Write, &SystemClock) {
                Ok(store) => store,
                Err(OpenError::Locked { .. }) if began.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => {
                    return Err(Failure::of(ExitStatus::Store, &error).maybe_help(error.help()));
                }
            };
            let cannot_listen = |error: std::io::Error| {
                Failure::new(ExitStatus::Store, "cannot listen for others that write to the store")
                    .because_of(Some(&error))
            };
            let service = Service::new(store.clone(), Writer::Alone, Arc::new(SystemClock));
            let server = Server::start(state, &state_id, Arc::new(service)).map_err(cannot_listen)?;
            let stream = place::connect(state, &state_id).map_err(cannot_listen)?;
            let client = Client::of_scope(stream, scope.clone());
            return Ok(Self {
                client,
                again: Some(again),
                asked_again: false,
                own: Some(Own { server, store }),
            });
        }
    }

    /// Has no other process outside of stages run the command under this key while the result lives, whichever process holds
    /// the store meanwhile: the process that was asked may end before the command does. Commands that are started from here
    /// on hold it as well. `None` within an attempt, which ends with the process that is asked.
    pub(crate) fn lock_once(&self, key: &str, within: &[String]) -> Result<Option<OnceLock>, Failure> {
        let Some(Again { state, scope, .. }) = &self.again else { return Ok(None) };
        // A name that is none is refused with the first question.
        let Ok(scope) = scope.parse() else { return Ok(None) };
        let once_key = once_key_in(&scope, key);
        if within.contains(&once_key) {
            return Err(Failure::wrong(format!("`{key}` is called within the command that runs under it"))
                .help("give one of both another key"));
        }
        let path = state.join(format!("once-{once_key}.lock"));
        OnceLock::take(&path).map(Some).map_err(|error| {
            Failure::new(ExitStatus::Store, format!("cannot lock `{}`", path.display()))
                .because_of(Some(&std::io::Error::from(error)))
        })
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Reply, Failure> {
        self.client.ask(request).map_err(|error| failed(&error))
    }

    /// Asks for what does not depend on what was asked before: outside of attempts another process may answer it, when
    /// the one that was asked has ended.
    pub(crate) fn ask_anyone(&mut self, request: &Request) -> Result<Reply, Failure> {
        let began = Instant::now();
        loop {
            match self.client.ask(request) {
                // Whoever is found next may be just about to end, as one is that was called for a moment.
                Err(ClientError::Gone(_)) if self.own.is_none() && began.elapsed() < PATIENCE => {
                    let Some(again) = self.again.take() else { return self.ask(request) };
                    *self = Self { asked_again: true, ..Self::of_scope(again)? };
                }
                answered => return answered.map_err(|error| failed(&error)),
            }
        }
    }

    /// Asks whether the command under a key may be run, under its `lock` where there is one. Who was asked may have ended after it
    /// wrote down that the command is started, and before it said so: that start is this call's own, and was none.
    pub(crate) fn ask_once(&mut self, request: &Request, lock: Option<&OnceLock>) -> Result<Reply, Failure> {
        let at = SystemClock.now().0;
        let reply = self.ask_anyone(request)?;
        let is_own =
            |cut_off: &CutOff| lock.is_some() && self.asked_again && cut_off.starts == 1 && cut_off.at >= at;
        match (reply, request) {
            (Reply::Held(cut_off), Request::Once { key, within, .. }) if is_own(&cut_off) => {
                let request = Request::Once { key: key.clone(), hold: false, within: within.clone() };
                match self.ask_anyone(&request)? {
                    Reply::Run { once_key, .. } => Ok(Reply::Run { once_key, cut_off: None }),
                    other => Ok(other),
                }
            }
            (Reply::Run { once_key, cut_off }, _) => {
                Ok(Reply::Run { once_key, cut_off: cut_off.filter(|cut_off| !is_own(cut_off)) })
            }
            (other, _) => Ok(other),
        }
    }

    /// Has commands that are started from here on keep the conversation open.
    pub(crate) fn share_with_commands(&self) -> Result<(), Failure> {
        self.client.share_with_commands().map_err(|error| failed(&ClientError::Gone(error)))
    }

    /// Ends the conversation; where this process holds the store, when all others have ended theirs.
    pub(crate) fn end(self) -> Result<(), Failure> {
        let Self { client, own, .. } = self;
        drop(client);
        let Some(Own { server, store }) = own else { return Ok(()) };
        server.wait_until_idle();
        drop(server);
        store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))
    }
}

/// A lock that the command under a key holds with who started it: should that be killed, it lasts as long as the command.
pub(crate) struct OnceLock {
    path: PathBuf,
    file: OwnedFd,
}

impl OnceLock {
    /// Waits for it.
    fn take(path: &Path) -> rustix::io::Result<Self> {
        loop {
            // Not closed by what is executed.
            let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW;
            let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
            match rustix::fs::flock(&file, FlockOperation::LockExclusive) {
                Err(rustix::io::Errno::INTR) => continue,
                locked => locked?,
            }
            // Who had it before may have removed it.
            let locked = rustix::fs::fstat(&file)?;
            match rustix::fs::stat(path) {
                Ok(there) if (there.st_dev, there.st_ino) == (locked.st_dev, locked.st_ino) => {
                    return Ok(Self { path: path.to_owned(), file });
                }
                Ok(_) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for OnceLock {
    fn drop(&mut self) {
        // Removed while it is held: who waits for it looks whether it is still there. What a command left behind has the file
        // open, and is not waited for.
        let _ = std::fs::remove_file(&self.path);
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

fn failed(error: &ClientError) -> Failure {
    match error {
        ClientError::Refused { error, help, store } => {
            let status = if *store { ExitStatus::Store } else { ExitStatus::Wrong };
            Failure::new(status, error.clone()).maybe_help(help.clone())
        }
        ClientError::Gone(_) => Failure::of(ExitStatus::Store, error),
    }
}

/// Says that an answer does not fit its question: that is a fault of this program.
pub(crate) fn unexpected(reply: &Reply) -> Failure {
    Failure::new(ExitStatus::Bug, format!("an answer that was not asked for: {reply:?}"))
}
