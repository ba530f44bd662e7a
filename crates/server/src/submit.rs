//! Asking for runs, and taking that back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_model::{Counts, Digest, Domain, Event, Name, RunEvent, RunId, RunStatus, Timestamp};
use cairn_scheduler::definition::{Checked, Given};
use cairn_scheduler::launch::{Asked, LaunchError, asked_for, asked_of, options_of, selection, words_of};
use cairn_scheduler::run::Signal;
use cairn_scheduler::schedule::last_interval;
use cairn_store::{
    Batch, ProcessId, ReadError, RunOptions, RunRecord, Submission, Ticket, TicketStage, Trigger,
};

use crate::catalog::{Entry, PLAIN};
use crate::daemon::{Daemon, StoreError, lock};
use crate::hub::Change;
use crate::queue::Waiting;

/// A run that is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The pipeline.
    pub pipeline: Name,
    /// What it is to do.
    pub asked: Asked,
    /// Its logical time; `None`: now.
    pub logical_time: Option<Timestamp>,
    /// Greater ones leave the queue first.
    pub priority: i64,
    /// Why.
    pub trigger: Trigger,
    /// It does not begin before.
    pub not_before: Option<Timestamp>,
}

/// The text of a pipeline that who asks for a run has read: it is run, or nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The file, relative to the project.
    pub file: String,
    /// The digest of its text.
    pub definition: Digest,
}

impl Text {
    fn is_of(&self, entry: &Entry) -> bool {
        entry.located.shown == self.file && entry.digest == self.definition
    }
}

/// How a run goes on otherwise than it began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Otherwise {
    /// With this text of its pipeline, which has to be the one in force.
    pub text: Option<Text>,
    /// With so many cpus in all.
    pub jobs: Option<u32>,
    /// After a failure, all is made that does not depend on it.
    pub keep_going: bool,
}

/// How a run that goes on is to end. What says how has the same effect asked for once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Gently the first time that it is asked for, at once the second.
    Next,
    /// Nothing more is begun, and what runs is asked to end; where that was asked for before, it stays as it is.
    Gently,
    /// What runs is killed. A daemon that takes it over meanwhile ends it gently: that it was to be at once is not kept.
    Now,
}

/// A run that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submitted {
    /// The run.
    pub run: RunId,
    /// Whether it had been asked for before, with the same idempotency key.
    pub existed: bool,
}

/// How a run stands that nothing can be done with as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has ended.
    Over,
    /// It ended well.
    Succeeded,
    /// It ended before anything of it began.
    NeverBegan,
    /// It waits in the queue.
    Waits,
    /// It is carried out.
    GoesOn,
}

impl Standing {
    fn words(self) -> &'static str {
        match self {
            Self::Over => "is over",
            Self::Succeeded => "succeeded: there is nothing to go on with",
            Self::NeverBegan => "ended before it began: ask for another",
            Self::Waits => "waits for its turn already",
            Self::GoesOn => "goes on already",
        }
    }

    /// Returns the `type` of the problem that it is (RFC 9457).
    pub fn problem_type(self) -> &'static str {
        match self {
            Self::Over => "urn:cairn:run-over",
            Self::Succeeded => "urn:cairn:run-succeeded",
            Self::NeverBegan => "urn:cairn:run-never-began",
            Self::Waits => "urn:cairn:run-waits",
            Self::GoesOn => "urn:cairn:run-goes-on",
        }
    }
}

/// Why a run is not begun.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// There is no such pipeline.
    #[error("there is no pipeline `{name}`")]
    UnknownPipeline {
        /// The name that was asked for.
        name: String,
    },
    /// The pipeline in force has another text than the one that is to be run.
    #[error("`{name}` is not what was to be run: {why}")]
    OtherText {
        /// The pipeline.
        name: String,
        /// How it is another.
        why: String,
        /// What is wrong with the text in the file, as the command line draws it.
        report: Option<String>,
    },
    /// The definition has errors with these params.
    #[error("the pipeline cannot run as asked")]
    Wrong {
        /// What is wrong, as the command line draws it.
        report: String,
    },
    /// What was asked for is not in the pipeline.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// No pipeline listens to a webhook of this name.
    #[error("no pipeline has a webhook `{name}`")]
    UnknownHook {
        /// The name.
        name: String,
    },
    /// The pipeline reads its interval, and nothing says which.
    #[error("`{name}` reads its interval, and nothing says which")]
    NoInterval {
        /// The pipeline.
        name: String,
    },
    /// The idempotency key came with another request before.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The request with this idempotency key has not been answered yet.
    #[error("a request with this idempotency key is being worked on")]
    InProgress,
    /// There is no such run.
    #[error("there is no run `{run}`")]
    UnknownRun {
        /// What was asked for.
        run: String,
    },
    /// The run is over, or is not.
    #[error("run {run} {}", standing.words())]
    NotNow {
        /// The run.
        run: String,
        /// How it stands.
        standing: Standing,
    },
    /// The store does not do what it is for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for SubmitError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

impl Daemon {
    /// Returns a pipeline.
    pub fn entry(&self, name: &str) -> Result<Arc<Entry>, SubmitError> {
        let unknown = || SubmitError::UnknownPipeline { name: name.to_owned() };
        let parsed: Name = name.parse().map_err(|_| unknown())?;
        self.catalog().get(&parsed).cloned().ok_or_else(unknown)
    }

    /// Returns a pipeline as it is in force; where a `text` is given, only if it is that one. Its file is read again when
    /// it was another: it may have been changed a moment ago.
    pub(crate) fn entry_of(&self, name: &str, text: Option<&Text>) -> Result<Arc<Entry>, SubmitError> {
        let found = self.entry(name);
        let Some(text) = text else { return found };
        if let Ok(entry) = found
            && text.is_of(&entry)
        {
            return Ok(entry);
        }
        self.read_again(&self.root.join(&text.file));
        let entry = self.entry(name)?;
        if text.is_of(&entry) {
            return Ok(entry);
        }
        let (shown, name) = (&entry.located.shown, entry.name.to_string());
        if *shown != text.file {
            let why = format!("the daemon has it from `{shown}`, not from `{}`", text.file);
            return Err(SubmitError::OtherText { name, why, report: None });
        }
        let why = format!("the daemon has another text of `{shown}`");
        Err(SubmitError::OtherText { name, why, report: entry.broken.clone() })
    }

    /// Has a run wait for its turn. It is durable when this returns.
    ///
    /// With an idempotency key the same request is taken once, however often it comes.
    pub fn submit(&self, order: &Order, key: Option<&str>) -> Result<Submitted, SubmitError> {
        self.submit_text(order, None, key)
    }

    /// Has a run of a `text` wait for its turn; of the one in force, where none is given.
    pub(crate) fn submit_text(
        &self,
        order: &Order,
        text: Option<&Text>,
        key: Option<&str>,
    ) -> Result<Submitted, SubmitError> {
        let now = self.clock.now();
        let key = key.map(key_of);
        let _asking = key.map(|key| Asking::begin(&self.asking, key)).transpose()?;
        let fingerprint = fingerprint(order);
        if let Some(key) = &key
            && let Some(run) = self.asked_before(key, fingerprint)?
        {
            return Ok(Submitted { run, existed: true });
        }
        let entry = self.entry_of(order.pipeline.as_str(), text)?;
        let order = &with_interval(&entry, order, now);
        let checked = check(&entry, order, now)?;
        if checked.pipeline.reads_interval && order.asked.interval.is_none() {
            return Err(SubmitError::NoInterval { name: entry.name.to_string() });
        }
        let run = RunId::generate(&*self.clock);
        let mut batch = Batch::new();
        let waiting = enter(&mut batch, run, &entry, order, now);
        if let Some(key) = &key {
            batch.put_submission(key, &Submission { fingerprint, run, at: now });
        }
        self.commit(batch)?;
        self.has_waiting(waiting);
        Ok(Submitted { run, existed: false })
    }

    /// Returns what the same request made under an idempotency key before, as long as that counts.
    pub(crate) fn asked_before(
        &self,
        key: &Digest,
        fingerprint: Digest,
    ) -> Result<Option<RunId>, SubmitError> {
        let now = self.clock.now();
        match self.store.submission(key)?.filter(|before| counts(before, now)) {
            None => Ok(None),
            Some(before) if before.fingerprint != fingerprint => Err(SubmitError::KeyReused),
            Some(before) => Ok(Some(before.run)),
        }
    }

    /// Puts what is in the store into the queue. It need not be durable yet: nothing that follows from it is durable before it.
    pub(crate) fn has_waiting(&self, waiting: Waiting) {
        let (run, pipeline) = (waiting.run, waiting.pipeline.clone());
        self.queue().push(waiting);
        self.hub.tell(Change::Run { run, pipeline });
        self.work.notify_one();
    }

    /// Takes a run from the queue, or asks it to end. That it is to end is durable when this returns.
    pub fn cancel(&self, run: RunId, ending: Ending, why: &str) -> Result<(), SubmitError> {
        let _deciding = lock(&self.deciding);
        self.cancel_decided(run, ending, why)
    }

    /// The same for one that decides already.
    pub(crate) fn cancel_decided(&self, run: RunId, ending: Ending, why: &str) -> Result<(), SubmitError> {
        let ticket = self.store.ticket(run)?.ok_or_else(|| unknown(run))?;
        // What goes on of it under the keeper is taken over first, and then ended.
        let waiting = if lock(&self.held).contains_key(&run) { None } else { self.queue().remove(run) };
        if let Some(waiting) = waiting {
            let cancelled = self.cancel_waiting(run, &ticket, why);
            if cancelled.is_err() {
                self.queue().push(waiting);
            }
            return cancelled;
        }
        let goes_on = {
            let queue = self.queue();
            queue.is_waiting(run) || queue.is_running(run)
        };
        if !goes_on {
            return Err(not_now(run, Standing::Over));
        }
        let was_asked = ticket.cancel.is_some();
        if was_asked && ending == Ending::Gently {
            return Ok(());
        }
        if !was_asked || ending == Ending::Next {
            let mut batch = Batch::new();
            batch.put_ticket(run, &Ticket { cancel: Some(why.to_owned()), ..ticket });
            self.commit(batch)?;
        }
        tracing::info!(run = %run.short(), why, ?ending, "cancelled");
        // Whether the first was sent by an earlier daemon or is on its way does not matter: one too many says nothing more.
        let signals = if ending == Ending::Now { 2 } else { 1 };
        if let Some(sender) = self.signals().get(&run) {
            for _ in 0..signals {
                // One that is just over needs none.
                let _ = sender.send(Signal::Interrupt);
            }
        }
        Ok(())
    }

    fn cancel_waiting(&self, run: RunId, ticket: &Ticket, why: &str) -> Result<(), SubmitError> {
        let mut batch = Batch::new();
        self.put_cancelled(&mut batch, run, ticket, why)?;
        self.commit(batch)?;
        self.hub.tell(Change::Run { run, pipeline: ticket.pipeline.clone() });
        Ok(())
    }

    /// Enters in a batch that a run ends before its turn comes.
    pub(crate) fn put_cancelled(
        &self,
        batch: &mut Batch,
        run: RunId,
        ticket: &Ticket,
        why: &str,
    ) -> Result<(), ReadError> {
        let (cancel, error) = (Some(why.to_owned()), Some(format!("cancelled before it began: {why}")));
        batch.put_ticket(run, &Ticket { stage: TicketStage::Ended, error, cancel, ..ticket.clone() });
        let record = self.store.run(run)?;
        put_ended(batch, run, (ticket, record), RunStatus::Interrupted, self.clock.now());
        Ok(())
    }

    /// Waits for what follows from a run's end, where it has ended and that is still being settled: a moment.
    fn until_settled(&self, run: RunId) -> Result<(), SubmitError> {
        for _ in 0..SETTLED_WITHIN_LOOKS {
            let is_over = self.store.run(run)?.is_some_and(|record| record.status != RunStatus::Running);
            if !is_over || !self.queue().is_running(run) {
                break;
            }
            std::thread::sleep(SETTLED_LOOK);
        }
        Ok(())
    }

    /// Has a run that failed, or was interrupted, wait to go on.
    pub fn resume(&self, run: RunId, trigger: Trigger, otherwise: &Otherwise) -> Result<(), SubmitError> {
        self.until_settled(run)?;
        let ticket = self.store.ticket(run)?;
        let goes_on = || {
            let queue = self.queue();
            if queue.is_waiting(run) {
                return Some(Standing::Waits);
            }
            queue.is_running(run).then_some(Standing::GoesOn)
        };
        let not_begun = || match &ticket {
            None => unknown(run),
            Some(ticket) if ticket.stage == TicketStage::Ended => not_now(run, Standing::NeverBegan),
            Some(_) => not_now(run, goes_on().unwrap_or(Standing::GoesOn)),
        };
        let text = otherwise.text.as_ref();
        let of_text = |text| {
            let record = self.store.run(run)?.ok_or_else(not_begun)?;
            self.entry_of(record.pipeline.as_str(), Some(text))
        };
        let entry = text.map(of_text).transpose()?;
        let _deciding = lock(&self.deciding);
        let record = self.store.run(run)?.ok_or_else(not_begun)?;
        if let Some(standing) = goes_on() {
            return Err(not_now(run, standing));
        }
        if record.status == RunStatus::Succeeded {
            return Err(not_now(run, Standing::Succeeded));
        }
        let now = self.clock.now();
        let asked = asked_of(&record);
        let mut batch = Batch::new();
        let definition = entry.as_ref().map(|entry| batch.put_definition(&entry.text));
        let ticket = match self.store.ticket(run)? {
            Some(ticket) => Ticket {
                stage: TicketStage::Queued,
                // It was frozen, or to end, when it was asked for then.
                options: RunOptions { frozen: false, ..ticket.options },
                cancel: None,
                error: None,
                not_before: None,
                ..ticket
            },
            None => Ticket {
                pipeline: record.pipeline.clone(),
                file: record.file.clone(),
                definition: record.definition,
                params: record.params.clone(),
                selection: words_of(&asked),
                options: RunOptions { frozen: false, ..record.options.clone() },
                caller: record.caller,
                logical_time: record.logical_time,
                interval: asked.interval,
                priority: 0,
                trigger,
                submitted: now,
                not_before: None,
                retries: 0,
                stage: TicketStage::Queued,
                error: None,
                cancel: None,
            },
        };
        let RunOptions { jobs, keep_going, .. } = ticket.options;
        let options = RunOptions {
            jobs: otherwise.jobs.unwrap_or(jobs),
            keep_going: keep_going || otherwise.keep_going,
            ..ticket.options
        };
        let file = entry.as_ref().map(|entry| entry.located.shown.clone());
        let ticket = Ticket {
            file: file.unwrap_or(ticket.file),
            definition: definition.unwrap_or(ticket.definition),
            options,
            ..ticket
        };
        if let Some(entry) = &entry {
            check_resumed(entry, &ticket, now)?;
        }
        batch.put_ticket(run, &ticket);
        self.commit(batch)?;
        let waiting = Waiting { run, pipeline: ticket.pipeline, priority: ticket.priority, not_before: None };
        self.has_waiting(waiting);
        Ok(())
    }
}

/// Checks what is asked for against the definition in force.
pub(crate) fn check(entry: &Entry, order: &Order, now: Timestamp) -> Result<Checked, SubmitError> {
    let given = Given {
        params: order.asked.params.clone(),
        logical_time: order.logical_time.unwrap_or(now),
        interval: order.asked.interval,
        run: None,
    };
    let definition = entry.located.with_text(entry.text.to_vec());
    let checked = definition.check(&given).map_err(|wrong| SubmitError::Wrong {
        report: wrong.report.render(&wrong.definition.source(), PLAIN),
    })?;
    selection(&checked, &order.asked.request, order.asked.force_effects)?;
    Ok(checked)
}

/// Checks that a run can go on with another text of its pipeline: what it was asked to do has to be there.
fn check_resumed(entry: &Entry, ticket: &Ticket, now: Timestamp) -> Result<(), SubmitError> {
    let asked = asked_for(&ticket.selection, &ticket.options, &ticket.params);
    let order = Order {
        pipeline: ticket.pipeline.clone(),
        asked: Asked { interval: ticket.interval, ..asked },
        logical_time: Some(ticket.logical_time),
        priority: ticket.priority,
        trigger: ticket.trigger.clone(),
        not_before: None,
    };
    let checked = check(entry, &order, now)?;
    if checked.pipeline.reads_interval && ticket.interval.is_none() {
        return Err(SubmitError::NoInterval { name: entry.name.to_string() });
    }
    Ok(())
}

/// A pipeline that reads its interval and is asked for without one has the last of its schedule.
pub(crate) fn with_interval(entry: &Entry, order: &Order, now: Timestamp) -> Order {
    let mut order = order.clone();
    if entry.reads_interval && order.asked.interval.is_none() {
        let at = order.logical_time.unwrap_or(now);
        order.asked.interval = last_interval(&entry.name, entry.schedule.as_ref(), at);
    }
    order
}

/// Enters a run that is asked for in a batch.
pub(crate) fn enter(batch: &mut Batch, run: RunId, entry: &Entry, order: &Order, now: Timestamp) -> Waiting {
    let order = &with_interval(entry, order, now);
    let ticket = Ticket {
        pipeline: entry.name.clone(),
        file: entry.located.shown.clone(),
        definition: batch.put_definition(&entry.text),
        params: order.asked.params.clone(),
        selection: words_of(&order.asked),
        options: options_of(&order.asked),
        caller: order.asked.caller,
        logical_time: order.logical_time.unwrap_or(now),
        interval: order.asked.interval,
        priority: order.priority,
        trigger: order.trigger.clone(),
        submitted: now,
        not_before: order.not_before,
        retries: 0,
        stage: TicketStage::Queued,
        error: None,
        cancel: None,
    };
    batch.put_ticket(run, &ticket);
    let (pipeline, not_before) = (ticket.pipeline, ticket.not_before);
    Waiting { run, pipeline, priority: ticket.priority, not_before }
}

/// How often it is looked whether a run that ended is settled, and how many times.
const SETTLED_LOOK: Duration = Duration::from_millis(5);
const SETTLED_WITHIN_LOOKS: u32 = 2000;

fn not_now(run: RunId, standing: Standing) -> SubmitError {
    SubmitError::NotNow { run: run.short(), standing }
}

fn unknown(run: RunId) -> SubmitError {
    SubmitError::UnknownRun { run: run.short() }
}

/// Enters the end of a run that nobody drives in a batch. One that had begun, under an earlier daemon say, has a record: what its
/// events tell ends as well.
pub(crate) fn put_ended(
    batch: &mut Batch,
    run: RunId,
    (ticket, record): (&Ticket, Option<RunRecord>),
    status: RunStatus,
    now: Timestamp,
) {
    let Some(record) = record else { return batch.put_run(run, &never_begun(ticket, status, now)) };
    batch.put_run(run, &RunRecord { status, ended: Some(now), ..record });
    batch.event(run, &Event { at: now, what: RunEvent::Ended { status } });
}

/// The record of a run that ended before anything of it began.
fn never_begun(ticket: &Ticket, status: RunStatus, now: Timestamp) -> RunRecord {
    RunRecord {
        pipeline: ticket.pipeline.clone(),
        file: ticket.file.clone(),
        definition: ticket.definition,
        params: ticket.params.clone(),
        logical_time: ticket.logical_time,
        started: now,
        ended: Some(now),
        status,
        counts: Counts::default(),
        selection: ticket.selection.clone(),
        options: ticket.options.clone(),
        caller: ticket.caller,
        command_line: std::env::args().collect(),
        process: ProcessId::current(),
        cairn_version: env!("CARGO_PKG_VERSION").to_owned(),
        saved_ms: 0,
    }
}

/// How long an idempotency key counts. Who sends a request again does so within minutes.
const KEY_COUNTS_FOR: Duration = Duration::from_hours(24);

/// Returns whether what was made under an idempotency key still is what the same request is answered with.
pub(crate) fn counts(submission: &Submission, now: Timestamp) -> bool {
    u128::from(now.millis_since(submission.at)) < KEY_COUNTS_FOR.as_millis()
}

/// Returns what an idempotency key goes by.
pub(crate) fn key_of(key: &str) -> Digest {
    Domain::NoteKey.digest(format!("submission {key}").as_bytes())
}

/// A digest of all that a request asks for.
fn fingerprint(order: &Order) -> Digest {
    let Order { pipeline, asked, logical_time, priority, trigger: _, not_before } = order;
    let mut parts = vec![pipeline.to_string()];
    // Not its caller's span: who asks once more may do so in another trace.
    parts.extend(words_of(asked));
    parts.push("params".to_owned());
    for (name, value) in &asked.params {
        parts.extend([name.clone(), value.clone()]);
    }
    parts.push(format!("{:?} {logical_time:?} {priority} {not_before:?}", options_of(asked)));
    digest_of(&parts)
}

/// A digest of texts, none of which can be taken for a part of another.
pub(crate) fn digest_of(parts: &[String]) -> Digest {
    let mut hasher = Domain::Definition.hasher();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes()).update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// An idempotency key that is being looked at; no other request with it is, meanwhile.
pub(crate) struct Asking<'a> {
    all: &'a Mutex<HashSet<Digest>>,
    key: Digest,
}

impl<'a> Asking<'a> {
    pub(crate) fn begin(all: &'a Mutex<HashSet<Digest>>, key: Digest) -> Result<Self, SubmitError> {
        if lock(all).insert(key) { Ok(Self { all, key }) } else { Err(SubmitError::InProgress) }
    }

    pub(crate) fn key(&self) -> &Digest {
        &self.key
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        lock(self.all).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::FixedClock;
    use cairn_scheduler::select::{Request, Target};
    use cairn_store::TriggerKind;

    use super::*;
    use crate::fire::simulate::idle_daemon;

    #[test]
    fn a_run_goes_on_with_another_text_only_where_that_has_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let write = |stage: &str| {
            let text = format!("[stages.{stage}]\nrun = 'true'\noutputs = []\n");
            std::fs::write(folder.path().join("p.toml"), &text).unwrap();
            Text { file: "p.toml".to_owned(), definition: Domain::Definition.digest(text.as_bytes()) }
        };
        write("a");
        let daemon = idle_daemon(folder.path(), Arc::new(FixedClock::new(Timestamp(0))));
        let request = Request { target: Target::Named(vec!["a".to_owned()]), ..Request::default() };
        let trigger = Trigger { kind: TriggerKind::Api, detail: String::new() };
        let order = Order {
            pipeline: "p".parse().unwrap(),
            asked: Asked { request, ..Asked::default() },
            logical_time: None,
            priority: 0,
            trigger: trigger.clone(),
            not_before: None,
        };
        let run = daemon.submit(&order, None).unwrap().run;
        daemon.cancel(run, Ending::Next, "it is not wanted").unwrap();
        let resume = |stage: &str| {
            let otherwise = Otherwise { text: Some(write(stage)), ..Otherwise::default() };
            daemon.resume(run, trigger.clone(), &otherwise)
        };
        let refused = resume("b");
        assert!(matches!(refused, Err(SubmitError::Launch(_))), "{refused:?}");
        assert!(!daemon.queue().is_waiting(run));
        resume("a").unwrap();
        assert!(daemon.queue().is_waiting(run));
    }

    #[test]
    fn a_key_is_looked_at_by_one_request_at_a_time() {
        let all = Mutex::default();
        let (one, other) = (Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32]));
        let first = Asking::begin(&all, one).unwrap();
        assert!(matches!(Asking::begin(&all, one), Err(SubmitError::InProgress)));
        assert!(Asking::begin(&all, other).is_ok(), "another key does not wait");
        drop(first);
        assert!(Asking::begin(&all, one).is_ok());
    }
}
