//! What is decided for those who call.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use cairn_model::{AttemptId, Clock, Domain, InputHash, InstanceName, Name, RunId};
use cairn_store::{
    Batch, DeadKind, DeadLetter, Durability, Generation, Mark, NoteKey, NoteScope, Once, ReadError, Store,
};

use super::attempts::{Attempts, Caller, OfAttempt, REJECTED_BYTES_MAX, Told, stage_scope};
use crate::attempt::Hands;
use cairn_notes::protocol::{CutOff, Hello, PROTOCOL, Reply, Request};

/// Bytes of a key, of a mark's name, and of a reason, at most.
const TEXT_MAX: usize = 4096;
/// Bytes of a mark's value at most.
const VALUE_MAX: usize = 1 << 20;
/// Bytes of a dead letter beside its texts, about.
const LETTER_BYTES: usize = 512;
/// How often one that waits for another looks whether it is still waited for itself.
const LOOK: Duration = Duration::from_millis(200);

/// How a note becomes durable.
#[derive(Debug)]
pub enum Writer {
    /// With all that a run commits, many at a time. The run's hands are not kept for it.
    Run(Weak<Hands>),
    /// By itself: there is no run.
    Alone,
}

/// Decides for those who call, and has written down what is to be remembered.
pub struct Service {
    store: Store,
    writer: Writer,
    clock: Arc<dyn Clock>,
    epoch: u64,
    generations: AtomicU64,
    /// Those whose records may yet count.
    live: Mutex<HashSet<Generation>>,
    attempts: Attempts,
    /// Commands that are being run.
    running: Mutex<HashSet<(NoteScope, NoteKey)>>,
    ended: Condvar,
    /// Between the look at which records were seen and the entry of those that pass.
    seeing: Mutex<()>,
    closing: AtomicBool,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// One connection.
pub(super) struct Session<'a> {
    service: &'a Service,
    caller: Arc<Caller>,
    /// Whether the caller ends with the connection.
    alone: bool,
    /// `--scope`.
    scope: Option<Name>,
    /// The command that it runs.
    held: Option<(NoteScope, NoteKey)>,
    /// Whether records were passed on, and it has not said that it wrote them out.
    passing: bool,
}

/// Why something is not done.
struct Refusal {
    error: String,
    help: Option<String>,
    store: bool,
}

impl Refusal {
    fn new(error: impl Into<String>, help: &str) -> Self {
        Self { error: error.into(), help: Some(help.to_owned()), store: false }
    }

    fn ended() -> Self {
        Self::new(
            "the attempt that calls has ended, or was given up: nothing is written down for it",
            "it runs again by itself, or with the next run",
        )
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self { error: error.to_string(), help: error.help(), store: true }
    }
}

impl From<Refusal> for Reply {
    fn from(Refusal { error, help, store }: Refusal) -> Self {
        Self::Refused { error, help, store }
    }
}

/// What an attempt told, and the generation that it is entered under; as long as this is there its records are another's
/// to have.
pub(crate) struct Closed {
    service: Arc<Service>,
    generation: Generation,
    told: Option<Told>,
}

impl Closed {
    /// Returns whether a caller that records were passed on to did not say that it wrote them out.
    pub(crate) fn is_unread(&self) -> bool {
        self.told.as_ref().is_some_and(|told| told.unfinished > 0)
    }

    /// Has all count that the attempt told, and forgets its marks: it needs none any more.
    pub(crate) fn settle(&self, input_hash: InputHash, batch: &mut Batch) -> Result<(), ReadError> {
        if let Some(told) = &self.told {
            told.settle(self.generation, self.service.clock.now(), batch);
        }
        let scope = NoteScope::Inputs(input_hash);
        for name in self.service.store.mark_names(&scope)? {
            batch.remove_mark(&scope, &name);
        }
        Ok(())
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.service.forget(self.generation);
    }
}

impl Service {
    /// Makes one for a store that is open for writing.
    pub fn new(store: Store, writer: Writer, clock: Arc<dyn Clock>) -> Self {
        // Every process that opened the store for writing began with a commit: no two share a head.
        let epoch = store.head().sequence;
        Self {
            store,
            writer,
            clock,
            epoch,
            generations: AtomicU64::new(0),
            live: Mutex::default(),
            attempts: Attempts::default(),
            running: Mutex::default(),
            ended: Condvar::new(),
            seeing: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// Returns what attempts of this process are told apart from others by.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Lets an attempt of a pipeline call, whose commands name `epoch`. `mark` is made before anything is told that only this process
    /// knows.
    pub(crate) fn enter(
        &self,
        (pipeline, attempt): (&Name, &AttemptId),
        input_hash: InputHash,
        epoch: u64,
        mark: Option<PathBuf>,
    ) {
        let of = OfAttempt { pipeline: pipeline.clone(), id: attempt.clone(), input_hash };
        let caller = Caller::new(Some(of), self.generation()).marked(mark);
        self.attempts.enter(attempt.slug(), epoch, Arc::new(caller));
    }

    /// Has an attempt wait that calls before it is taken over.
    pub fn expect(&self, token: &str) {
        self.attempts.expect(token.to_owned());
    }

    /// Expects an attempt no more.
    pub fn give_up(&self, token: &str) {
        self.attempts.leave(token);
    }

    /// Returns whether an attempt is expected, or may call.
    #[cfg(test)]
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.attempts.knows(token)
    }

    /// Takes no more from an attempt; returns what it told.
    pub(crate) fn close(self: &Arc<Self>, attempt: &AttemptId) -> Option<Closed> {
        let caller = self.attempts.leave(&attempt.slug())?;
        Some(Closed { service: Arc::clone(self), generation: caller.generation, told: caller.close() })
    }

    fn generation(&self) -> Generation {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.epoch.to_be_bytes());
        let number = self.generations.fetch_add(1, Ordering::Relaxed);
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        let generation = Generation(bytes);
        lock(&self.live).insert(generation);
        generation
    }

    fn forget(&self, generation: Generation) {
        lock(&self.live).remove(&generation);
    }

    /// Has all who wait go: the process is about to end.
    pub(super) fn stop(&self) {
        self.closing.store(true, Ordering::Relaxed);
        let _running = lock(&self.running);
        self.ended.notify_all();
    }

    /// Makes a batch durable.
    fn commit(&self, batch: Batch) -> Result<(), Refusal> {
        let refused =
            |error: &dyn std::fmt::Display, help| Refusal { error: error.to_string(), help, store: true };
        match &self.writer {
            Writer::Alone => match self.store.commit(batch, Durability::Synced) {
                Ok(_) => Ok(()),
                Err(error) => Err(refused(&error, error.help())),
            },
            Writer::Run(hands) => {
                let hands =
                    hands.upgrade().ok_or_else(|| Refusal::new("the run has ended", "run it again"))?;
                hands.committer.note(batch).map_err(|error| refused(&error, None))
            }
        }
    }

    /// Begins a conversation.
    pub(super) fn greet(&self, hello: Hello, peer: &impl AsFd) -> Result<Session<'_>, Reply> {
        let Hello { protocol, attempt, scope } = hello;
        if protocol != PROTOCOL {
            let help = "within a stage, call the `cairn` that is first in `PATH`";
            return Err(
                Refusal::new("this `cairn` is of another version than the one that runs", help).into()
            );
        }
        let scope = match scope.map(|scope| scope.parse::<Name>()).transpose() {
            Ok(scope) => scope,
            Err(error) => {
                return Err(Refusal::new(format!("`--scope`: {error}"), "give it another name").into());
            }
        };
        let alone = attempt.is_none();
        let caller = match attempt {
            Some((token, epoch)) => {
                let waits = || !self.closing.load(Ordering::Relaxed) && !has_gone(peer);
                self.attempts.get(&token, epoch, LOOK, waits).ok_or_else(Refusal::ended)?
            }
            None if scope.is_none() => {
                let help = "within a stage's command it belongs to the stage; elsewhere give `--scope NAME`";
                return Err(Refusal::new("it belongs to no stage, and no scope is given", help).into());
            }
            None => Arc::new(Caller::new(None, self.generation())),
        };
        Ok(Session { service: self, caller, alone, scope, held: None, passing: false })
    }
}

impl Session<'_> {
    /// Answers a request. `peer` is asked whether it is still there while the answer waits.
    pub(super) fn answer(&mut self, request: Request, peer: &impl AsFd) -> Reply {
        let answered = match request {
            Request::Once { key, hold, within } => self.once(&key, hold, &within, peer),
            Request::OnceEnded { key, succeeded } => self.once_ended(&key, succeeded),
            Request::Seen { records } => self.seen(&records),
            Request::Mark { name, value } => self.mark(&name, value),
            Request::GetMark { name } => self.get_mark(&name),
            Request::Reject { reason, lines } => self.reject(&reason, lines),
            Request::End => self.end(),
        };
        answered.unwrap_or_else(Reply::from)
    }

    fn check_open(&self) -> Result<(), Refusal> {
        self.caller.open().map(drop).ok_or_else(Refusal::ended)
    }

    /// Returns whom a note belongs to: the given scope, else the stage.
    fn scope(&self) -> NoteScope {
        match (&self.scope, &self.caller.attempt) {
            (Some(scope), _) => NoteScope::Named(scope.clone()),
            (None, Some(attempt)) => stage_scope(attempt),
            (None, None) => unreachable!("who is no attempt gives a scope"),
        }
    }

    fn run(&self) -> Option<RunId> {
        self.caller.attempt.as_ref().map(|attempt| attempt.id.run)
    }

    fn once(&mut self, key: &str, hold: bool, within: &[String], peer: &impl AsFd) -> Result<Reply, Refusal> {
        check_text("key", key)?;
        let service = self.service;
        let (scope, digest) = (self.scope(), once_digest(key));
        let place = (scope.clone(), digest);
        {
            let mut running = lock(&service.running);
            while running.contains(&place) {
                if within.contains(&once_key(&scope, key)) {
                    let error = format!("`{key}` is called within the command that runs under it");
                    return Err(Refusal::new(error, "give one of both another key"));
                }
                let waited = service.ended.wait_timeout(running, LOOK);
                running = waited.unwrap_or_else(PoisonError::into_inner).0;
                if service.closing.load(Ordering::Relaxed) || has_gone(peer) {
                    return Err(Refusal::ended());
                }
            }
            self.check_open()?;
            running.insert(place.clone());
        }
        self.held = Some(place);
        let before = match service.store.once(&scope, &digest)? {
            Some(once) if once.done => {
                self.let_go();
                return Ok(Reply::AlreadyDone);
            }
            before => before,
        };
        let cut_off = before.as_ref().map(|once| CutOff {
            at: once.at.0,
            run: once.run.map(|run| run.short()),
            starts: once.starts,
        });
        if let Some(cut_off) = cut_off.clone().filter(|_| hold) {
            self.let_go();
            return Ok(Reply::Held(cut_off));
        }
        let starts = before.map_or(0, |once| once.starts) + 1;
        let (at, run) = (service.clock.now(), self.run());
        let mut batch = Batch::new();
        batch.put_once(&scope, &digest, &Once { key: key.to_owned(), done: false, at, run, starts });
        service.commit(batch)?;
        Ok(Reply::Run { once_key: once_key(&scope, key), cut_off })
    }

    fn once_ended(&mut self, key: &str, succeeded: bool) -> Result<Reply, Refusal> {
        self.check_open()?;
        let service = self.service;
        let (scope, digest) = (self.scope(), once_digest(key));
        let Some(before) = service.store.once(&scope, &digest)?.filter(|once| !once.done) else {
            self.let_go();
            return Ok(Reply::Ok);
        };
        let mut batch = Batch::new();
        if succeeded {
            let at = service.clock.now();
            batch.put_once(&scope, &digest, &Once { done: true, at, run: self.run(), ..before });
        } else {
            batch.remove_once(&scope, &digest);
        }
        let committed = service.commit(batch);
        self.let_go();
        committed.map(|()| Reply::Ok)
    }

    /// Lets others have the command that this one ran.
    fn let_go(&mut self) {
        if let Some(held) = self.held.take() {
            lock(&self.service.running).remove(&held);
            self.service.ended.notify_all();
        }
    }

    fn seen(&mut self, records: &[NoteKey]) -> Result<Reply, Refusal> {
        let (service, scope, own) = (self.service, self.scope(), self.caller.generation);
        let caller = Arc::clone(&self.caller);
        let mut told = caller.open().ok_or_else(Refusal::ended)?;
        mark(&caller)?;
        let _seeing = lock(&service.seeing);
        let before = service.store.seen_by(&scope, records)?;
        let (mut passes, mut taken, mut batch) =
            (Vec::with_capacity(records.len()), HashSet::new(), Batch::new());
        for (record, by) in records.iter().zip(before) {
            let had = match by {
                Some(by) if by == own || lock(&service.live).contains(&by) => true,
                Some(by) => service.store.is_settled(&scope, by)?,
                None => false,
            };
            let pass = !had && taken.insert(*record);
            if pass {
                batch.put_seen(&scope, record, own);
            }
            passes.push(pass);
        }
        if !batch.is_empty() {
            // It counts only with a later commit, which makes this durable as well.
            let written = service.store.commit(batch, Durability::Written);
            written.map_err(|error| Refusal { error: error.to_string(), help: error.help(), store: true })?;
            told.seen.insert(scope);
        }
        if passes.contains(&true) && !std::mem::replace(&mut self.passing, true) {
            told.unfinished += 1;
        }
        Ok(Reply::Passes(passes))
    }

    /// Marks belong to the input-hash; elsewhere to the scope.
    fn mark_scope(&self) -> NoteScope {
        match (&self.scope, &self.caller.attempt) {
            (None, Some(attempt)) => NoteScope::Inputs(attempt.input_hash),
            _ => self.scope(),
        }
    }

    fn mark(&mut self, name: &str, value: String) -> Result<Reply, Refusal> {
        check_text("name", name)?;
        if value.len() > VALUE_MAX {
            return Err(Refusal::new(
                format!("the value of `{name}` has {} bytes, more than {VALUE_MAX}", value.len()),
                "write it to a file, and mark where that is",
            ));
        }
        self.check_open()?;
        let mut batch = Batch::new();
        batch.put_mark(&self.mark_scope(), name, &Mark { value, at: self.service.clock.now() });
        self.service.commit(batch)?;
        Ok(Reply::Ok)
    }

    fn get_mark(&mut self, name: &str) -> Result<Reply, Refusal> {
        self.check_open()?;
        let mark = self.service.store.mark(&self.mark_scope(), name)?;
        Ok(Reply::Value(mark.map(|mark| mark.value)))
    }

    fn reject(&mut self, reason: &str, lines: Vec<(u64, Vec<u8>)>) -> Result<Reply, Refusal> {
        check_text("reason", reason)?;
        let caller = Arc::clone(&self.caller);
        let mut told = caller.open().ok_or_else(Refusal::ended)?;
        mark(&caller)?;
        // Each letter holds the reason twice.
        let size_of = |line: &[u8]| line.len() + 2 * reason.len() + LETTER_BYTES;
        told.rejected_bytes += lines.iter().map(|(_, line)| size_of(line)).sum::<usize>();
        if told.rejected_bytes > REJECTED_BYTES_MAX {
            return Err(Refusal::new(
                format!("more than {} MiB of records were rejected", REJECTED_BYTES_MAX >> 20),
                "so many are no exceptions: write them to an output of the stage",
            ));
        }
        let at = self.service.clock.now();
        let letters = lines.into_iter().map(|(line, payload)| self.letter(reason, line, payload, at));
        told.rejected.extend(letters);
        Ok(Reply::Ok)
    }

    fn letter(&self, reason: &str, line: u64, payload: Vec<u8>, at: cairn_model::Timestamp) -> DeadLetter {
        let attempt = self.caller.attempt.as_ref();
        let (pipeline, instance) = match (&self.scope, attempt) {
            (None, Some(attempt)) => (attempt.pipeline.clone(), attempt.id.instance.clone()),
            (Some(scope), _) => (scope.clone(), InstanceName::new(scope.clone(), None)),
            (None, None) => unreachable!("who is no attempt gives a scope"),
        };
        DeadLetter {
            kind: DeadKind::Rejected,
            pipeline,
            instance,
            key: String::new(),
            digest: DeadLetter::digest_of(&payload),
            payload,
            source: Some(("standard input".to_owned(), line)),
            class: "rejected".to_owned(),
            error: reason.to_owned(),
            attempts: vec![(at, reason.to_owned())],
            input_hash: attempt.map(|attempt| attempt.input_hash),
            run: self.run().unwrap_or(RunId::from_bytes([0; 16])),
            idempotency_key: attempt.map_or_else(String::new, |attempt| attempt.input_hash.to_string()),
            died: at,
            retry: None,
            edited: None,
            retries: 0,
        }
    }

    fn end(&mut self) -> Result<Reply, Refusal> {
        {
            let caller = Arc::clone(&self.caller);
            let mut told = caller.open().ok_or_else(Refusal::ended)?;
            if std::mem::take(&mut self.passing) {
                told.unfinished -= 1;
            }
        }
        if !self.alone {
            return Ok(Reply::Ok);
        }
        let mut batch = Batch::new();
        let told = self.caller.close().ok_or_else(Refusal::ended)?;
        told.settle(self.caller.generation, self.service.clock.now(), &mut batch);
        self.service.commit(batch)?;
        Ok(Reply::Ok)
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.let_go();
        if self.alone {
            self.service.forget(self.caller.generation);
        }
    }
}

fn mark(caller: &Caller) -> Result<(), Refusal> {
    caller.mark().map_err(|error| Refusal {
        error: format!("cannot write down that records were told of: {error}"),
        help: None,
        store: true,
    })
}

fn check_text(what: &str, text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::new(format!("the {what} is empty"), "a variable in it may not be set"));
    }
    if text.len() > TEXT_MAX {
        let error = format!("the {what} has {} bytes, more than {TEXT_MAX}", text.len());
        return Err(Refusal::new(error, "a digest of it will do"));
    }
    Ok(())
}

fn once_digest(key: &str) -> NoteKey {
    let digest = Domain::NoteKey.digest(key.as_bytes());
    *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
}

/// Returns the key that [`Service`] passes on to a command under a scope that was named: a file may have it as its name.
pub fn once_key_in(scope: &Name, key: &str) -> String {
    once_key(&NoteScope::Named(scope.clone()), key)
}

/// Returns what is passed on: the same whenever the command is run, another one for each scope and key.
fn once_key(scope: &NoteScope, key: &str) -> String {
    let mut hasher = Domain::NoteKey.hasher();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
    };
    match scope {
        NoteScope::Stage { pipeline, stage } => {
            part(pipeline.as_str().as_bytes());
            part(stage.as_str().as_bytes());
        }
        NoteScope::Named(name) => part(name.as_str().as_bytes()),
        NoteScope::Inputs(hash) => part(hash.digest().as_bytes()),
    }
    part(key.as_bytes());
    let mut text = cairn_model::Digest::from(hasher.finalize()).to_string();
    text.truncate(32);
    text
}

/// Returns whether the other side of a connection has gone away.
fn has_gone(peer: &impl AsFd) -> bool {
    use rustix::net::{RecvFlags, recv};
    let mut byte = [0_u8; 1];
    match recv(peer, &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((read, _)) => read == 0,
        Err(errno) => errno != rustix::io::Errno::AGAIN,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whoever panicked while it held the lock did not leave anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
