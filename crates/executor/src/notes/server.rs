//! The socket's other end: a thread that accepts, and one for each connection.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::place::Place;
use super::protocol::{Hello, Reply, Request, receive, send};
use super::service::Service;

/// Callers that are served at once; more wait until they are accepted.
const CALLERS_MAX: usize = 256;

/// How long they wait. Those that are served may wait for them: `cairn once` runs commands that call as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server; dropping it ends all conversations.
#[derive(Debug)]
pub struct Server {
    place: Place,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    service: Arc<Service>,
    closing: AtomicBool,
    next: AtomicU64,
    open: Mutex<HashMap<u64, UnixStream>>,
    closed: Condvar,
}

impl Server {
    /// Starts to listen at the place of a state folder.
    pub fn start(state: &Path, state_id: &str, service: Arc<Service>) -> io::Result<Self> {
        let (place, listener) = Place::make(state, state_id)?;
        let (closing, next, open, closed) = Default::default();
        let shared = Arc::new(Shared { service, closing, next, open, closed });
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new().name("notes".to_owned());
        let acceptor = acceptor.spawn(move || accepting.accept(&listener))?;
        Ok(Self { place, shared, acceptor: Some(acceptor) })
    }

    /// Leaves the socket and the link where they are when this is dropped: the stages go on.
    pub fn stay(&mut self) {
        self.place.stay();
    }

    /// Returns who decides for those who call.
    pub fn service(&self) -> &Arc<Service> {
        &self.shared.service
    }

    /// Returns the folder with the link to the running binary.
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }

    /// Returns the socket.
    pub fn socket(&self) -> PathBuf {
        self.place.socket()
    }

    /// Returns when nobody is served.
    pub fn wait_until_idle(&self) {
        let mut open = lock(&self.shared.open);
        while !open.is_empty() {
            open = self.shared.closed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.service.stop();
        // It wakes the one that accepts.
        let woken = UnixStream::connect(self.place.socket()).is_ok();
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.shared.closed.notify_all();
        if woken && let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &UnixListener) {
        loop {
            let is_full = {
                let is_full = |open: &mut HashMap<u64, UnixStream>| {
                    open.len() >= CALLERS_MAX && !self.closing.load(Ordering::SeqCst)
                };
                let waited = self.closed.wait_timeout_while(lock(&self.open), PATIENCE, is_full);
                waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
            };
            let accepted = listener.accept();
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            let started = accepted.and_then(|(stream, _)| {
                if !is_full {
                    return self.start(stream);
                }
                let refused = Reply::Refused {
                    error: format!("{CALLERS_MAX} callers are served already, and none of them ends"),
                    help: Some(
                        "have fewer of them at a time: each `cairn once` is one as long as its command runs"
                            .to_owned(),
                    ),
                    store: false,
                };
                send(&stream, &refused)
            });
            if let Err(error) = started {
                tracing::warn!(%error, "cannot serve a caller");
                // Out of descriptors or threads: others have to end first.
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }

    fn start(self: &Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(number, stream.try_clone()?);
        let shared = Arc::clone(self);
        let serve = move || {
            // A caller that is killed in the middle of a word is no news.
            if let Err(error) = shared.serve(&stream) {
                tracing::debug!(%error, "a caller went away");
            }
            lock(&shared.open).remove(&number);
            shared.closed.notify_all();
        };
        let spawned = std::thread::Builder::new().name("note".to_owned()).spawn(serve);
        spawned.map(drop).inspect_err(|_| drop(lock(&self.open).remove(&number)))
    }

    fn serve(&self, stream: &UnixStream) -> io::Result<()> {
        let mut incoming = BufReader::new(stream);
        let Some(hello) = receive::<Hello>(&mut incoming)? else { return Ok(()) };
        let mut session = match self.service.greet(hello, &stream) {
            Ok(session) => session,
            Err(refused) => return send(stream, &refused),
        };
        while let Some(request) = receive::<Request>(&mut incoming)? {
            let reply = session.answer(request, &stream);
            send(stream, &reply)?;
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
