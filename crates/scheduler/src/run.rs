//! The run loop: the thin shell around [`crate::step`]. It does what the machine asks for and tells it what happened.

mod roll_back;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_executor::{
    AttemptError, AttemptErrorKind as Kind, Engine, Hands, LookUpError, Project, Unsaid, Verdict,
};
use cairn_model::{Clock, Counts, Event, InstanceEvent, RunEvent, RunId, RunStatus, Timestamp};
use cairn_store::{Batch, Durability, RunRecord};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span, field, info_span};

use crate::dead::Tries;
use crate::leases::{Ask, Leases};
use crate::step::{Action, Done, Failure, Found, Input, Machine};

/// What a person or the system asks of a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Stop,
    /// This process is about to end, and the next one goes on with the run and with what runs: only where the keeper
    /// outlives it.
    Leave,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub status: RunStatus,
    /// The selected instances by outcome.
    pub counts: Counts,
    /// Time that checkpoints saved, in milliseconds.
    pub saved_ms: u64,
}

/// Why a run could not go on: nothing more can be made durable, or the store cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct RunError {
    /// What happened.
    pub error: String,
    /// What to do.
    pub help: Option<String>,
}

/// What the loop works with.
pub struct Run<'a> {
    /// The run.
    pub id: RunId,
    /// Its record as it stands in the store; the end is entered in it.
    pub record: RunRecord,
    /// Whether it goes on with an earlier process's run.
    pub resumed: bool,
    /// The engine.
    pub engine: Arc<Engine>,
    /// Starts processes and makes results durable.
    pub hands: Arc<Hands>,
    /// What its commands share with those of other runs; `None` where there is no other.
    pub leases: Option<Arc<Leases>>,
    /// Whether its effects are undone when it fails for good, whatever the pipeline says.
    pub rollback: bool,
    /// How its end is written: who commits at once what follows from it makes it durable with that.
    pub end: Durability,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Interrupts.
    pub signals: UnboundedReceiver<Signal>,
    /// Is given every event, after it was handed to the store, with the log of the attempt it is about. It must not wait,
    /// neither for a terminal nor for who reads a pipe: while it does, nothing is committed and no signal is heard.
    pub observe: &'a mut (dyn FnMut(Event, Option<PathBuf>) + Send),
}

/// Events are collected for one batch while inputs are at hand, and no longer than for so many: it bounds the batch.
const EVENTS_MAX: usize = 1024;

impl Run<'_> {
    /// Runs `machine` to its end.
    pub async fn drive(mut self, mut machine: Machine) -> Result<Ended, RunError> {
        self.engine.lend(self.hands.keeper.clone());
        let (sender, mut inputs) = unbounded_channel();
        let mut tasks = Tasks {
            engine: Arc::clone(&self.engine),
            hands: Arc::clone(&self.hands),
            sender,
            spans: vec![Span::none(); machine.states().len()],
            leases: self.leases.clone(),
            beside: Vec::new(),
        };
        let mut events = Batch::new();
        // Failed attempts that are ended by these events.
        let mut said = Vec::new();
        let mut tries = Tries::default();
        let mut saved_ms = 0;
        let started = RunEvent::Started { instances: machine.selected(), resumed: self.resumed };
        self.record_event(&mut events, started, None);
        let steady = Steady::new(&*self.clock);
        let mut wake_at = None;
        let mut interrupted = false;
        // A run that is to end by now begins nothing first.
        let mut input = match self.signals.try_recv() {
            Ok(signal) => match self.heard(signal, &mut interrupted) {
                Some(input) => input,
                None => return self.leave(saved_ms).await,
            },
            Err(_) => Input::Begin,
        };
        loop {
            let mut ended = None;
            let mut recorded = 0;
            loop {
                for action in machine.step(steady.now(), input) {
                    match action {
                        Action::LookUp { instance, force } => tasks.look_up(instance, force),
                        Action::Attempt { instance, attempt } => tasks.attempt(instance, attempt, false),
                        Action::Adopt { instance, attempt } => tasks.attempt(instance, attempt, true),
                        Action::GiveUp { instance } => tasks.give_up(instance),
                        Action::Terminate { instance, now } => self.terminate(&machine, instance, now),
                        Action::Record { instance, event } => {
                            recorded += 1;
                            saved_ms += saved_by(&event);
                            // The letter of one that had failed before is there.
                            let is_known = matches!(&event, InstanceEvent::Failed { .. })
                                && machine.had_failed(instance);
                            if !is_known
                                && let Err(fatal) = self.note_dead(&mut events, &mut tries, instance, &event)
                            {
                                return Err(self.give_up(fatal).await);
                            }
                            said.extend(self.end_failed(&mut events, instance, &event));
                            self.record_instance(&mut events, instance, event);
                        }
                        Action::WakeAt(time) => wake_at = Some(time),
                        Action::End { status, counts } => ended = Some(Ended { status, counts, saved_ms }),
                    }
                }
                match inputs.try_recv() {
                    Ok(Ok(next)) if ended.is_none() && recorded < EVENTS_MAX => input = next,
                    Ok(Ok(next)) => {
                        input = next;
                        break;
                    }
                    Ok(Err(fatal)) => return Err(self.give_up(fatal).await),
                    Err(_) => {
                        input = Input::Tick;
                        break;
                    }
                }
            }
            tasks.say(std::mem::take(&mut events), std::mem::take(&mut said));
            self.hands.committer.set_hurry(machine.only_settles());
            if let Some(mut ended) = ended {
                if ended.status == RunStatus::Failed && self.rolls_back(&machine) {
                    self.roll_back(&machine, &mut ended).await?;
                }
                tasks.all_beside().await;
                return self.end(ended).await;
            }
            if input != Input::Tick {
                continue;
            }
            self.hands.committer.write_out().await;
            let pause = wake_at.map(|time| Duration::from_millis(time.millis_since(steady.now())));
            input = tokio::select! {
                biased;
                Some(signal) = self.signals.recv() => match self.heard(signal, &mut interrupted) {
                    Some(input) => input,
                    None => return self.leave(saved_ms).await,
                },
                next = inputs.recv() => match next.expect("the loop itself holds a sender") {
                    Ok(next) => next,
                    Err(fatal) => return Err(self.give_up(fatal).await),
                },
                () = tokio::time::sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => {
                    wake_at = None;
                    Input::Tick
                }
            };
        }
    }

    /// Returns what a signal is to the machine; `None`: the run is left to the next process.
    fn heard(&self, signal: Signal, interrupted: &mut bool) -> Option<Input> {
        match signal {
            Signal::Interrupt => {
                self.engine.stop_asides(std::mem::replace(interrupted, true));
                Some(Input::Interrupt)
            }
            Signal::Stop => {
                *interrupted = true;
                self.engine.stop_asides(false);
                Some(Input::Stop)
            }
            Signal::Leave => None,
        }
    }

    /// Ends an attempt together with the event that tells of its failure; returns it, to be forgotten after that.
    fn end_failed(&self, events: &mut Batch, instance: u32, event: &InstanceEvent) -> Option<Unsaid> {
        let (InstanceEvent::AttemptFailed { .. } | InstanceEvent::Failed { .. }) = event else { return None };
        let failed = self.engine.take_unsaid(instance)?;
        events.attempt_ended(failed.attempt());
        Some(failed)
    }

    /// Keeps the dead letters of instances: one that failed for good is one, until it succeeds. That of an instance that was
    /// executed goes with its checkpoint.
    fn note_dead(
        &self,
        events: &mut Batch,
        tries: &mut Tries,
        instance: u32,
        event: &InstanceEvent,
    ) -> Result<(), RunError> {
        let pipeline = self.engine.pipeline();
        let name = &pipeline.instances[instance as usize].name;
        let of = (&pipeline.name, self.id);
        let unread =
            |error: cairn_store::ReadError| RunError { error: error.to_string(), help: error.help() };
        if let Some(mut letter) = tries.note((instance, name), event, self.clock.now(), of) {
            let effect = pipeline.instances[instance as usize].effect.as_ref();
            if let Some(key) = effect.and_then(|effect| effect.key.as_ref()) {
                letter.idempotency_key.clone_from(key);
            }
            self.engine.bury(events, letter).map_err(unread)?;
        }
        if matches!(event, InstanceEvent::CheckpointFound { .. } | InstanceEvent::EffectStands { .. }) {
            self.engine.revive(events, name).map_err(unread)?;
        }
        Ok(())
    }

    fn record_instance(&mut self, events: &mut Batch, instance: u32, event: InstanceEvent) {
        let number = match &event {
            InstanceEvent::AttemptStarted { attempt, .. }
            | InstanceEvent::AttemptFailed { attempt, .. }
            | InstanceEvent::Committed { attempt, .. }
            | InstanceEvent::Records { attempt, .. }
            | InstanceEvent::Trashed { attempt, .. }
            | InstanceEvent::NotPlaced { attempt, .. } => Some(*attempt),
            InstanceEvent::Failed { attempts, .. } | InstanceEvent::InDoubt { attempts, .. } => {
                Some(*attempts).filter(|attempts| *attempts > 0)
            }
            InstanceEvent::CheckpointFound { .. }
            | InstanceEvent::EffectStands { .. }
            | InstanceEvent::Blocked { .. }
            | InstanceEvent::Undone { .. } => None,
        };
        let attempt = number.map(|number| self.engine.attempt_id(instance, number));
        let log = attempt.map(|attempt| self.engine.project().state().join(Project::log_path(&attempt)));
        let name = self.engine.pipeline().instances[instance as usize].name.clone();
        // This one went into the store with its checkpoint, in one batch.
        let stored = matches!(&event, InstanceEvent::Committed { .. });
        let what = RunEvent::Instance { instance: name, event };
        if stored {
            (self.observe)(Event { at: self.clock.now(), what }, log);
        } else {
            self.record_event(events, what, log);
        }
    }

    fn record_event(&mut self, events: &mut Batch, what: RunEvent, log: Option<PathBuf>) {
        let event = Event { at: self.clock.now(), what };
        events.event(self.id, &event);
        (self.observe)(event, log);
    }

    fn terminate(&self, machine: &Machine, instance: u32, now: bool) {
        let cairn_model::State::Running { attempt, .. } = machine.states()[instance as usize] else { return };
        self.hands.stop(&self.engine.attempt_id(instance, attempt).slug(), now);
    }

    /// Enters the end in the run's record; success is told when all is durable.
    async fn end(mut self, ended: Ended) -> Result<Ended, RunError> {
        let mut batch = Batch::new();
        self.record.ended = Some(self.clock.now());
        self.record.status = ended.status;
        self.record.counts = ended.counts;
        self.record.saved_ms = ended.saved_ms;
        batch.put_run(self.id, &self.record);
        let event = Event { at: self.clock.now(), what: RunEvent::Ended { status: ended.status } };
        batch.event(self.id, &event);
        self.engine.save_rows(&mut batch);
        self.hands.committer.finish(batch, self.end).await.map_err(run_error)?;
        (self.observe)(event, None);
        self.engine.clear();
        Ok(ended)
    }

    /// Leaves the run to the next process. What this one has handed over to be committed is durable.
    async fn leave(self, saved_ms: u64) -> Result<Ended, RunError> {
        self.hands.committer.flush(Batch::new()).await.map_err(run_error)?;
        Ok(Ended { status: RunStatus::Running, counts: Counts::default(), saved_ms })
    }

    /// Ends all that runs, but for what goes on without this process. The record is left as it is: the next process finds a run that was cut off.
    async fn give_up(self, fatal: RunError) -> RunError {
        if !self.hands.keeper.outlives() {
            self.hands.keeper.kill_all();
        }
        tokio::task::yield_now().await;
        fatal
    }
}

/// Returns the time that a checkpoint saved, in milliseconds.
fn saved_by(event: &InstanceEvent) -> u64 {
    match event {
        InstanceEvent::CheckpointFound { saved_ms, .. } | InstanceEvent::EffectStands { saved_ms, .. } => {
            *saved_ms
        }
        _ => 0,
    }
}

/// The wall clock as it stood when a run began, and what has passed since: who sets the clock moves no retry. What is
/// recorded is the wall clock's own time.
struct Steady {
    began: Timestamp,
    since: Instant,
}

impl Steady {
    fn new(clock: &dyn Clock) -> Self {
        Self { began: clock.now(), since: Instant::now() }
    }

    fn now(&self) -> Timestamp {
        self.began.plus_millis(u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

fn run_error(error: cairn_executor::PublishError) -> RunError {
    match error {
        cairn_executor::PublishError::Output { text, help }
        | cairn_executor::PublishError::NotPlaced { text, help }
        | cairn_executor::PublishError::Fatal { text, help } => RunError { error: text, help },
    }
}

/// Does the slow actions beside the loop and sends what came of them.
struct Tasks {
    engine: Arc<Engine>,
    hands: Arc<Hands>,
    sender: UnboundedSender<Result<Input, RunError>>,
    /// Each instance's span, since it was last looked up.
    spans: Vec<Span>,
    /// What commands of all runs share.
    leases: Option<Arc<Leases>>,
    /// Attempts that are being given up, or forgotten.
    beside: Vec<JoinHandle<()>>,
}

impl Tasks {
    /// Writes events down, and then forgets the attempts whose failures they tell.
    fn say(&mut self, events: Batch, failed: Vec<Unsaid>) {
        if failed.is_empty() {
            if !events.is_empty() {
                self.hands.committer.write(events);
            }
            return;
        }
        let (engine, hands) = (Arc::clone(&self.engine), Arc::clone(&self.hands));
        let written = hands.committer.write_and_tell(events);
        self.beside.retain(|beside| !beside.is_finished());
        self.beside.push(tokio::spawn(async move {
            // Where it cannot be written, the next process takes them over.
            if written.await.is_ok() {
                let forgotten = tokio::task::spawn_blocking(move || {
                    for failed in failed {
                        engine.forget_failed(&hands, failed);
                    }
                });
                // What it does not clear away, the next daemon does.
                let _ = forgotten.await;
            }
        }));
    }

    /// Ends the held attempt of an instance.
    fn give_up(&mut self, instance: u32) {
        let (engine, hands) = (Arc::clone(&self.engine), Arc::clone(&self.hands));
        self.beside.push(tokio::spawn(async move { engine.give_up_held(&hands, instance).await }));
    }

    /// Returns when none of them lives.
    async fn all_beside(&mut self) {
        for beside in self.beside.drain(..) {
            if let Err(error) = beside.await {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }

    fn look_up(&mut self, instance: u32, force: bool) {
        let (engine, hands, sender) =
            (Arc::clone(&self.engine), Arc::clone(&self.hands), self.sender.clone());
        let runtime = Handle::current();
        let name = &engine.pipeline().instances[instance as usize].name;
        let span = info_span!("instance", %name, input_hash = field::Empty);
        self.spans[instance as usize] = span.clone();
        // To end what is held is waited for, which the thread that drives the run cannot do here.
        let is_done_here = hands.own_thread && !engine.is_held(instance);
        let look_up = move || {
            let span = span.entered();
            if engine.is_held(instance) {
                match engine.adoptable(instance, force) {
                    Ok(Some((input_hash, attempt))) => {
                        let found = Found::Held { input_hash, attempt };
                        let _ = sender.send(Ok(Input::LookedUp { instance, found }));
                        return;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%error, "an attempt that goes on is given up"),
                }
                // It has ended before another one can start.
                runtime.block_on(engine.give_up_held(&hands, instance));
            }
            let found = match engine.look_up(instance, force, false) {
                Ok(Verdict::Hit { input_hash, restored, trashed, saved_ms }) => {
                    Found::Hit { input_hash, restored, trashed, saved_ms }
                }
                Ok(Verdict::Miss { input_hash, reason }) => Found::Miss { input_hash, reason },
                Ok(Verdict::Stands { input_hash, key, restored, trashed, saved_ms }) => {
                    Found::Stands { input_hash, key, restored, trashed, saved_ms }
                }
                Ok(Verdict::InDoubt { error, help, .. }) => Found::InDoubt { error, help },
                Err(LookUpError::Stopped) => Found::Stopped,
                Err(error) if error.is_store() => {
                    let _ = sender.send(Err(RunError { error: error.to_string(), help: error.help() }));
                    return;
                }
                Err(error) => Found::Broken { error: error.to_string(), help: error.help() },
            };
            if let Found::Hit { input_hash, .. }
            | Found::Stands { input_hash, .. }
            | Found::Miss { input_hash, .. } = &found
            {
                span.record("input_hash", field::display(input_hash));
            }
            let _ = sender.send(Ok(Input::LookedUp { instance, found }));
        };
        if is_done_here {
            look_up();
        } else {
            tokio::task::spawn_blocking(look_up);
        }
    }

    /// Makes an attempt, or takes over one that is held.
    fn attempt(&self, instance: u32, number: u32, is_held: bool) {
        let (engine, hands, sender) =
            (Arc::clone(&self.engine), Arc::clone(&self.hands), self.sender.clone());
        let span = info_span!(parent: &self.spans[instance as usize], "attempt", number);
        let leases = self.leases.clone();
        let own_thread = hands.own_thread;
        let attempt = async move {
            let lease = match &leases {
                Some(leases) if is_held => Some(leases.take_over(ask_of(&engine, instance))),
                Some(leases) => {
                    let token = engine.attempt_id(instance, number).slug();
                    tokio::select! {
                        lease = leases.take(ask_of(&engine, instance)) => Some(lease),
                        // The attempt sees it as well, and ends at once.
                        () = hands.stopped(&token) => None,
                    }
                }
                None => None,
            };
            let exited = {
                let sender = sender.clone();
                move || {
                    drop(lease);
                    drop(sender.send(Ok(Input::Exited { instance })));
                }
            };
            let result = if is_held {
                engine.adopt(&hands, instance, exited).await
            } else {
                engine.attempt(&hands, instance, number, exited).await
            };
            let result = match result {
                Ok(done) => {
                    let cairn_executor::Done { input_hash, took_ms, trashed, records } = done;
                    Ok(Done { input_hash, took_ms, trashed, records })
                }
                Err(AttemptError { error, help, kind: Kind::Fatal, .. }) => {
                    let _ = sender.send(Err(RunError { error, help }));
                    return;
                }
                Err(AttemptError { error, help, kind, .. }) => Err(Failure {
                    error,
                    help,
                    retryable: kind == Kind::Retryable,
                    interrupted: kind == Kind::Stopped,
                    committed: kind == Kind::NotPlaced,
                    in_doubt: kind == Kind::InDoubt,
                }),
            };
            let _ = sender.send(Ok(Input::Finished { instance, result }));
        };
        if own_thread {
            tokio::task::spawn_local(attempt.instrument(span));
        } else {
            tokio::spawn(attempt.instrument(span));
        }
    }
}

/// What the commands of an instance take.
fn ask_of(engine: &Engine, instance: u32) -> Ask {
    let pipeline = engine.pipeline();
    let policy = &pipeline.instances[instance as usize].policy;
    let pool =
        policy.pool.as_ref().map(|name| (name.clone(), pipeline.pools.get(name).copied().unwrap_or(1)));
    Ask { cpus: policy.cpus, memory_bytes: policy.memory_bytes.unwrap_or(0), pool, priority: policy.priority }
}

#[cfg(test)]
mod tests {
    use cairn_model::FixedClock;

    use super::*;

    #[test]
    fn a_clock_that_is_set_moves_no_retry() {
        let day = 86_400_000;
        let clock = FixedClock::new(Timestamp(10 * day));
        let steady = Steady::new(&clock);
        let wake_at = steady.now().plus_millis(1000);
        clock.advance(-day);
        assert!(wake_at.millis_since(steady.now()) <= 1000, "it does not wait a day longer");
        clock.advance(3 * day);
        assert!(steady.now() < Timestamp(10 * day).plus_millis(60_000), "nor is its time come");
    }
}
