//! The attempts that may call, and what they have told so far.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_model::{AttemptId, InputHash, Name, Timestamp};
use cairn_store::{Batch, DeadLetter, Generation, NoteScope};

/// Bytes of rejected records that one attempt may hand in: they wait in memory for its commit.
pub(super) const REJECTED_BYTES_MAX: usize = 64 << 20;

/// Who calls: an attempt, or a command outside of any.
#[derive(Debug)]
pub(super) struct Caller {
    /// The attempt, where one calls.
    pub(super) attempt: Option<OfAttempt>,
    /// Under which its records are entered.
    pub(super) generation: Generation,
    /// A file that says that anything was told: it is in memory only, and is lost with this process.
    mark: Option<PathBuf>,
    /// `None` once no more is taken.
    told: Mutex<Option<Told>>,
}

/// An attempt that calls.
#[derive(Debug)]
pub(super) struct OfAttempt {
    /// Its pipeline.
    pub(super) pipeline: Name,
    /// Which.
    pub(super) id: AttemptId,
    /// What it runs under.
    pub(super) input_hash: InputHash,
}

/// What was told and counts once it is committed.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Records that were rejected.
    pub(super) rejected: Vec<DeadLetter>,
    /// Memory that they take, about.
    pub(super) rejected_bytes: usize,
    /// Callers that records were passed on to and that have not said that they wrote them out.
    pub(super) unfinished: usize,
    /// Scopes in which records were seen.
    pub(super) seen: BTreeSet<NoteScope>,
}

impl Told {
    /// Puts it into the batch with which it counts from here on.
    pub(super) fn settle(&self, generation: Generation, at: Timestamp, batch: &mut Batch) {
        for letter in &self.rejected {
            batch.put_dead(letter);
        }
        for scope in &self.seen {
            batch.settle(scope, generation, at);
        }
    }
}

impl Caller {
    pub(super) fn new(attempt: Option<OfAttempt>, generation: Generation) -> Self {
        Self { attempt, generation, mark: None, told: Mutex::new(Some(Told::default())) }
    }

    /// The same for an attempt that outlives this process, with the file that says that anything was told.
    pub(super) fn marked(self, mark: Option<PathBuf>) -> Self {
        Self { mark, ..self }
    }

    /// Says that something is told, before it is.
    pub(super) fn mark(&self) -> std::io::Result<()> {
        self.mark.as_ref().map_or(Ok(()), |mark| std::fs::write(mark, ""))
    }

    /// Returns what it has told, as long as more is taken: while it is held, the caller is not closed.
    pub(super) fn open(&self) -> Option<OpenCaller<'_>> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.is_some().then_some(OpenCaller(told))
    }

    /// Takes no more, and returns what was told.
    pub(super) fn close(&self) -> Option<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a caller has told, while more is taken.
pub(super) struct OpenCaller<'a>(MutexGuard<'a, Option<Told>>);

impl std::ops::Deref for OpenCaller<'_> {
    type Target = Told;

    fn deref(&self) -> &Told {
        self.0.as_ref().expect("it is made for what is open")
    }
}

impl std::ops::DerefMut for OpenCaller<'_> {
    fn deref_mut(&mut self) -> &mut Told {
        self.0.as_mut().expect("it is made for what is open")
    }
}

/// The attempts that are under way, by their tokens.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    known: Mutex<BTreeMap<String, Known>>,
    changed: Condvar,
}

#[derive(Debug)]
enum Known {
    /// A process before started it, and it is about to be taken over.
    Expected,
    /// It runs; with the epoch that its commands name.
    Open(u64, Arc<Caller>),
}

impl Attempts {
    pub(super) fn expect(&self, token: String) {
        self.lock().insert(token, Known::Expected);
    }

    pub(super) fn enter(&self, token: String, epoch: u64, caller: Arc<Caller>) {
        self.lock().insert(token, Known::Open(epoch, caller));
        self.changed.notify_all();
    }

    /// Returns the attempt that calls. One that is expected is waited for, as long as `waits` says.
    pub(super) fn get(
        &self,
        token: &str,
        epoch: u64,
        pause: Duration,
        waits: impl Fn() -> bool,
    ) -> Option<Arc<Caller>> {
        let mut known = self.lock();
        loop {
            match known.get(token)? {
                Known::Open(of, caller) => return (*of == epoch).then(|| Arc::clone(caller)),
                Known::Expected if waits() => {}
                Known::Expected => return None,
            }
            known = self.changed.wait_timeout(known, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn leave(&self, token: &str) -> Option<Arc<Caller>> {
        let left = self.lock().remove(token);
        self.changed.notify_all();
        match left? {
            Known::Open(_, caller) => Some(caller),
            Known::Expected => None,
        }
    }

    #[cfg(test)]
    pub(super) fn knows(&self, token: &str) -> bool {
        self.lock().contains_key(token)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the scope of an attempt's stage.
pub(super) fn stage_scope(attempt: &OfAttempt) -> NoteScope {
    NoteScope::Stage { pipeline: attempt.pipeline.clone(), stage: attempt.id.instance.stage().clone() }
}
