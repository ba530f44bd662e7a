//! The socket's other end: a thread that accepts, and one for each connection.
//!
//! One server may listen for many runs at once, so the one that accepts waits for nobody, and no attempt takes the places of
//! others: each has so many, and who finds none waits in its own thread.

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
use super::service::Service;
use cairn_notes::protocol::{Hello, Reply, Request, receive, send};

/// Callers that are listened to at once, of all attempts; more are sent away. Each is a thread and a descriptor, and half of
/// the descriptors are for other things.
const CALLERS_MAX: usize = 4096;

/// Callers of one attempt that are served at once; more wait.
const OF_ATTEMPT_MAX: usize = 256;

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
    callers_max: usize,
    closing: AtomicBool,
    next: AtomicU64,
    open: Mutex<Open>,
    closed: Condvar,
}

/// Who is listened to.
#[derive(Debug, Default)]
struct Open {
    streams: HashMap<u64, Arc<UnixStream>>,
    /// Callers that are served, by their attempt's token; those that belong to no attempt share one entry.
    served: HashMap<Option<String>, usize>,
}

impl Server {
    /// Starts to listen at the place of a state folder.
    pub fn start(state: &Path, state_id: &str, service: Arc<Service>) -> io::Result<Self> {
        let (place, listener) = Place::make(state, state_id)?;
        let (closing, next, open, closed) = Default::default();
        let shared = Arc::new(Shared { service, callers_max: callers_max(), closing, next, open, closed });
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
        while !open.streams.is_empty() {
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
        for stream in lock(&self.shared.open).streams.values() {
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
            let accepted = listener.accept();
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            let started = accepted.and_then(|(stream, _)| {
                if lock(&self.open).streams.len() < self.callers_max {
                    return self.start(stream);
                }
                send(&stream, &full(self.callers_max))
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
        let stream = Arc::new(stream);
        lock(&self.open).streams.insert(number, Arc::clone(&stream));
        let shared = Arc::clone(self);
        let serve = move || {
            // A caller that is killed in the middle of a word is no news.
            if let Err(error) = shared.serve(&stream) {
                tracing::debug!(%error, "a caller went away");
            }
            lock(&shared.open).streams.remove(&number);
            shared.closed.notify_all();
        };
        let spawned = std::thread::Builder::new().name("note".to_owned()).spawn(serve);
        spawned.map(drop).inspect_err(|_| drop(lock(&self.open).streams.remove(&number)))
    }

    fn serve(&self, stream: &UnixStream) -> io::Result<()> {
        let mut incoming = BufReader::new(stream);
        let Some(hello) = receive::<Hello>(&mut incoming)? else { return Ok(()) };
        let attempt = hello.attempt.as_ref().map(|(token, _)| token.clone());
        let Some(_served) = self.served(attempt) else { return send(stream, &full(OF_ATTEMPT_MAX)) };
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

    /// Gives a caller of an attempt its place, if need be when another one leaves; `None` when none does.
    fn served(&self, attempt: Option<String>) -> Option<Served<'_>> {
        let is_full = |open: &mut Open| {
            let served = open.served.get(&attempt).copied().unwrap_or(0);
            served >= OF_ATTEMPT_MAX && !self.closing.load(Ordering::SeqCst)
        };
        let waited = self.closed.wait_timeout_while(lock(&self.open), PATIENCE, is_full);
        let (mut open, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *open.served.entry(attempt.clone()).or_default() += 1;
        Some(Served { shared: self, attempt })
    }
}

/// A caller's place among those of its attempt.
struct Served<'a> {
    shared: &'a Shared,
    attempt: Option<String>,
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let mut open = lock(&self.shared.open);
        if let Some(served) = open.served.get_mut(&self.attempt) {
            *served -= 1;
            if *served == 0 {
                open.served.remove(&self.attempt);
            }
        }
        drop(open);
        self.shared.closed.notify_all();
    }
}

fn callers_max() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    files.and_then(|files| usize::try_from(files / 2).ok()).map_or(CALLERS_MAX, |half| half.min(CALLERS_MAX))
}

/// What a caller is told that finds no place.
fn full(callers: usize) -> Reply {
    Reply::Refused {
        error: format!("{callers} callers are served already, and none of them ends"),
        help: Some(
            "have fewer of them at a time: each `cairn once` is one as long as its command runs".to_owned(),
        ),
        store: false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// It has more descriptors open than other systems let a process have.
#[cfg(all(test, target_os = "linux"))]
mod tests {
    use cairn_model::{FixedClock, Timestamp};
    use cairn_store::{Access, Store};

    use super::super::Writer;
    use super::*;
    use cairn_notes::protocol::PROTOCOL;

    #[test]
    fn an_attempt_that_takes_all_its_places_takes_none_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("s");
        let clock = Arc::new(FixedClock::new(Timestamp(0)));
        let store = Store::open(&state, Access::Write, &*clock).unwrap();
        let service = Arc::new(Service::new(store, Writer::Alone, clock));
        // Until it is taken over, all that call for it wait.
        service.expect("greedy");
        let id = format!("test-{}", std::process::id());
        let server = Server::start(&state, &id, Arc::clone(&service)).unwrap();
        let call = |attempt: Option<&str>, scope: Option<&str>| {
            let stream = UnixStream::connect(server.socket()).unwrap();
            let attempt = attempt.map(|token| (token.to_owned(), 1));
            let hello = Hello { protocol: PROTOCOL, attempt, scope: scope.map(str::to_owned) };
            send(&stream, &hello).unwrap();
            stream
        };
        let greedy: Vec<_> = (0..OF_ATTEMPT_MAX + 9).map(|_| call(Some("greedy"), None)).collect();
        let is_taken =
            || lock(&server.shared.open).served.get(&Some("greedy".to_owned())) == Some(&OF_ATTEMPT_MAX);
        while !is_taken() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let other = call(None, Some("other"));
        send(&other, &Request::GetMark { name: "m".to_owned() }).unwrap();
        let reply = receive::<Reply>(&other).unwrap().unwrap();
        assert!(!matches!(reply, Reply::Refused { .. }), "{reply:?}");
        assert!(is_taken(), "they are still there");
        service.give_up("greedy");
        for stream in greedy {
            let reply = receive::<Reply>(&stream).unwrap().unwrap();
            assert!(
                matches!(&reply, Reply::Refused { error, .. } if !error.contains("callers")),
                "{reply:?}"
            );
        }
        drop(other);
        server.wait_until_idle();
        assert!(lock(&server.shared.open).served.is_empty());
    }
}
