//! Who answers a caller: the service of the run that its attempt belongs to, among all that one process drives.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::common::Common;
use super::protocol::Hello;
use super::service::{LOOK, Service, has_gone, lock};

/// The services behind one socket.
#[derive(Debug)]
pub(crate) struct Desk {
    common: Arc<Common>,
    /// Answers those that belong to no run here.
    outside: Arc<Service>,
    runs: Mutex<Vec<Arc<Service>>>,
    closing: AtomicBool,
}

/// A run's service at a [`Desk`], until it is dropped.
#[derive(Debug)]
pub struct Joined {
    desk: Arc<Desk>,
    service: Arc<Service>,
}

impl Desk {
    /// Makes one with a service that answers everybody.
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self {
            common: Arc::clone(service.common()),
            outside: service,
            runs: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(super) fn common(&self) -> &Arc<Common> {
        &self.common
    }

    /// Has a run's service answer its attempts.
    pub(super) fn join(self: &Arc<Self>, service: Arc<Service>) -> Joined {
        lock(&self.runs).push(Arc::clone(&service));
        Joined { desk: Arc::clone(self), service }
    }

    /// Returns who answers. An attempt that is about to be taken over waits for that.
    pub(super) fn find(&self, hello: &Hello, peer: &impl AsFd) -> Arc<Service> {
        let Some((token, _)) = &hello.attempt else { return Arc::clone(&self.outside) };
        let mut expected = lock(&self.common.expected);
        loop {
            if let Some(service) = lock(&self.runs).iter().find(|service| service.knows(token)) {
                return Arc::clone(service);
            }
            // Where there is one run it answers everybody.
            let waits = expected.contains(token) && !self.closing.load(Ordering::Relaxed) && !has_gone(peer);
            if !waits {
                return Arc::clone(&self.outside);
            }
            let waited = self.common.known.wait_timeout(expected, LOOK);
            expected = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Has all who wait go: the process is about to end.
    pub(super) fn stop(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.outside.stop();
        for service in lock(&self.runs).iter() {
            service.stop();
        }
        let _expected = lock(&self.common.expected);
        self.common.known.notify_all();
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        lock(&self.desk.runs).retain(|service| !Arc::ptr_eq(service, &self.service));
        self.service.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use cairn_model::{AttemptId, Clock, Domain, FixedClock, InputHash, InstanceName, RunId, Timestamp};
    use cairn_store::{Access, Store};

    use super::super::protocol::{Reply, Request};
    use super::super::{Client, ClientError, Server, Writer};
    use super::*;

    fn attempt(stage: &str) -> AttemptId {
        let instance = InstanceName::new(stage.parse().unwrap(), None);
        AttemptId { run: RunId::from_bytes([1; 16]), instance, number: 1 }
    }

    /// Has a run with one attempt, whose commands name the epoch 7, join a server.
    fn join(server: &Server, store: &Store, stage: &str) -> Joined {
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(Timestamp(0)));
        let writer = (store.clone(), Writer::Alone);
        let (joined, service) = server.join(writer, clock, "p".parse().unwrap());
        let hash = InputHash::from_digest(Domain::File.digest(stage.as_bytes()));
        service.enter(&attempt(stage), hash, 7, None);
        joined
    }

    fn mark(value: &str) -> Request {
        Request::Mark { name: "m".to_owned(), value: value.to_owned() }
    }

    fn get() -> Request {
        Request::GetMark { name: "m".to_owned() }
    }

    #[test]
    fn each_attempt_is_answered_by_its_run_and_by_the_next_process_when_that_takes_it_over() {
        let state = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(FixedClock::new(Timestamp(0)));
        let store = Store::open(state.path(), Access::Write, &*clock).unwrap();
        let serve = |expected: &[&str]| {
            let expected = expected.iter().map(|stage| attempt(stage).slug());
            let (store, clock) = (store.clone(), Arc::clone(&clock));
            Server::of_daemon(state.path(), "desk-test", store, clock, expected).unwrap()
        };
        let first = serve(&[]);
        let (a, b) = (join(&first, &store, "a"), join(&first, &store, "b"));
        let socket = first.socket();
        let call = |stage, epoch| Client::of_attempt(&socket, attempt(stage).slug(), epoch, None).unwrap();
        let (mut of_a, mut of_b) = (call("a", 7), call("b", 7));
        assert_eq!(of_a.ask(&mark("1")).unwrap(), Reply::Ok);
        assert_eq!(of_b.ask(&get()).unwrap(), Reply::Value(None), "another's mark");
        drop(b);
        for (stage, epoch) in [("a", 8), ("b", 7), ("c", 7)] {
            let refused = call(stage, epoch).ask(&get());
            assert!(matches!(refused, Err(ClientError::Refused { .. })), "{stage} {epoch}: {refused:?}");
        }
        drop((a, first));
        assert!(socket.exists(), "it stays for those that go on");
        // In the gap, then before it is taken over, and after.
        let asking = thread::spawn(move || of_a.ask(&get()).unwrap());
        thread::sleep(Duration::from_millis(100));
        let second = serve(&["a"]);
        thread::sleep(Duration::from_millis(100));
        assert!(!asking.is_finished());
        let a = join(&second, &store, "a");
        assert_eq!(asking.join().unwrap(), Reply::Value(Some("1".to_owned())));
        drop((a, second));
    }
}
