//! One attempt: stage, run, judge, collect, publish.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_dag::Instance;
use cairn_model::{AttemptId, InputHash, Level, OutputKind, ProjectPath, RecordCounts};
use cairn_store::{Attempt, Batch, ProcessId};

use crate::committer::{Committer, Publication};
use crate::effects::{Part, Step, key_of};
use crate::engine::Engine;
use crate::environment::{self, Context};
use crate::gather::{Gathered, stdout_path};
use crate::isolation::{Ended, ExitKind, Job, Keeper, KeeperError, strays};
use crate::lookup::{Looked, level_given, lookup};
use crate::project::Project;
use crate::staging::{Staging, make_output_folders, standing_outputs};
use crate::verify::is_verifiers;

mod adopted;
mod checks;
mod effect;
mod error;
mod judge;
mod set_aside;

pub use adopted::HeldAttempt;
pub use error::{AttemptError, AttemptErrorKind};

/// Bytes of one attempt's output that are kept; the rest is dropped, with a mark.
const LOG_MAX: u64 = 64 * 1024 * 1024;

/// An attempt that succeeded and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The input-hash of its checkpoint.
    pub input_hash: InputHash,
    /// What the command took.
    pub took_ms: u64,
    /// Where files are now that stood in the outputs' places and were not cairn's.
    pub trashed: Vec<String>,
    /// What became of the records, of a stage that passes records on.
    pub records: Option<RecordCounts>,
}

/// What an attempt needs beside the engine.
pub struct Hands {
    /// Starts processes.
    pub keeper: Keeper,
    /// Makes results durable.
    pub committer: Committer,
    /// The process that runs the run.
    pub process: ProcessId,
    /// Tokens of attempts that are to stop: one may be asked to before its command was started.
    pub stopped: Arc<Mutex<HashSet<String>>>,
    /// Tokens of attempts that are to end at once.
    pub killed: Arc<Mutex<HashSet<String>>>,
    /// Whether what waits for the disk is done on the thread that drives the run, instead of on others that it would have to wake:
    /// it drives nothing else, and has a [`LocalSet`](tokio::task::LocalSet). Only for runs whose disk work is short, since no
    /// signal is heard meanwhile.
    pub own_thread: bool,
}

impl Hands {
    /// Ends an attempt: gently, or `now`.
    pub fn stop(&self, token: &str, now: bool) {
        self.stopped.lock().expect("no panic while it is held").insert(token.to_owned());
        if now {
            self.killed.lock().expect("no panic while it is held").insert(token.to_owned());
            self.keeper.kill(token);
        } else {
            self.keeper.terminate(token);
        }
    }

    /// Returns when an attempt is to stop.
    pub async fn stopped(&self, token: &str) {
        while !self.is_stopped(token) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns when an attempt is to end at once.
    async fn killed(&self, token: &str) {
        while !self.killed.lock().expect("no panic while it is held").contains(token) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_stopped(&self, token: &str) -> bool {
        self.stopped.lock().expect("no panic while it is held").contains(token)
    }

    /// Does what waits for the disk on a thread that may wait.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        if self.own_thread { work() } else { blocking(work).await }
    }
}

/// A command that took less has left nothing that takes long to remove.
const SHORT_MS: u64 = 100;

/// How often it is looked whether an attempt is to end at once.
const LOOK: Duration = Duration::from_millis(100);

fn ended_batch(attempt: &AttemptId) -> Batch {
    let mut batch = Batch::new();
    batch.attempt_ended(attempt);
    batch
}

/// Inputs gathered no longer ago are not looked at again before the command starts; after it they are in any case (K7).
const GATHERED_JUST_NOW: Duration = Duration::from_secs(1);

/// Ready to be run.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) staging: Staging,
    pub(crate) base: PathBuf,
    pub(crate) gathered: Arc<Gathered>,
    level: Level,
    set_aside: Vec<ProjectPath>,
    pub(crate) job: Job,
    /// Whether its command goes on when this process ends.
    outlives: bool,
    /// Whether another process had started it.
    adopted: bool,
}

/// A failed attempt that a keeper holds until its failure is written down.
pub struct Unsaid {
    attempt: AttemptId,
    prepared: Prepared,
}

impl Unsaid {
    /// Returns which it is.
    pub fn attempt(&self) -> &AttemptId {
        &self.attempt
    }
}

impl Engine {
    /// Makes one attempt; `exited` is called when the command has ended and its resources are free, before its result is
    /// durable. The `Committed` event is in the same batch as the checkpoint.
    pub async fn attempt(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        number: u32,
        exited: impl FnOnce(),
    ) -> Result<Done, AttemptError> {
        if self.instance(instance).effect.is_none() {
            return self.take(hands, instance, number, Step::Act, exited).await;
        }
        // More than one command may run: its resources are free when all is over.
        let done = self.attempt_effect(hands, instance, number, None).await;
        self.let_go(instance);
        done
    }

    /// Runs one command of an attempt, and commits what it made.
    async fn take(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        number: u32,
        step: Step,
        exited: impl FnOnce(),
    ) -> Result<Done, AttemptError> {
        let attempt = self.attempt_id(instance, number);
        let prepared = {
            let (engine, attempt) = (Arc::clone(self), attempt.clone());
            hands.blocking(move || engine.prepare(instance, &attempt, step)).await
        };
        let (mut prepared, part) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                exited();
                return Err(error);
            }
        };
        prepared.outlives = hands.keeper.outlives() && !prepared.job.tied;
        let mut started = self.started(&attempt, &prepared, &hands.process);
        let intent = part.as_ref().filter(|part| part.asks.is_none());
        if let Some(part) = intent {
            started.put_effect(&self.pipeline.name, &part.key, &part.record);
        }
        if let Some(listening) = self.listening() {
            let mark = prepared.outlives.then(|| prepared.staging.told());
            let input_hash = prepared.gathered.input_hash;
            listening.service.enter(
                (&self.pipeline.name, &attempt),
                input_hash,
                listening.service.epoch(),
                mark,
            );
        }
        let (ended, began) = match self.begin(hands, started, intent.is_some(), instance, &prepared).await {
            Ok(()) if hands.is_stopped(&attempt.slug()) => (Err(AttemptError::stopped()), false),
            Ok(()) => {
                let (passed, began, back) = self.execute(hands, instance, &attempt, prepared).await;
                prepared = back;
                (passed, began)
            }
            Err(error) => (Err(error), false),
        };
        self.conclude(hands, instance, &attempt, (prepared, part), (ended, began), exited).await
    }

    /// Judges how a command ended, commits what it made, and clears up.
    async fn conclude(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        attempt: &AttemptId,
        (prepared, part): (Prepared, Option<Part>),
        (ended, began): (Result<(Ended, Option<RecordCounts>), AttemptError>, bool),
        exited: impl FnOnce(),
    ) -> Result<Done, AttemptError> {
        let records = ended.as_ref().ok().and_then(|(_, records)| *records);
        let ended = ended.map(|(ended, _)| ended);
        let failed_by_itself =
            ended.as_ref().is_ok_and(|ended| ended.status != ExitKind::Code(0) || ended.timed_out);
        let took_place = part.as_ref().is_some_and(|part| part.asks.is_some())
            && ended.as_ref().is_ok_and(|ended| ended.status == ExitKind::Code(0) && !ended.timed_out);
        if hands.keeper.is_gone() {
            // It was killed: what left its session is not ended by the kernel.
            let state_id = self.project.state_id();
            blocking(move || strays::end_strays_if(&state_id, &|of| !is_verifiers(of))).await;
        } else if hands.keeper.outlives() && ended.as_ref().is_err_and(|error| error.keeper_gone) {
            // The same; what its successor runs by now is not touched.
            let (state_id, token) = (self.project.state_id(), attempt.slug());
            blocking(move || strays::end_strays_if(&state_id, &|of| of.starts_with(&token))).await;
        }
        // Nothing of it lives, so nothing more is said; what it said counts if it is committed.
        let notes = self.listening().and_then(|listening| listening.service.close(attempt));
        exited();
        // What still lives may write to the folder; where that cannot be seen, something may live.
        let nothing_lives =
            cfg!(target_os = "linux") && ended.as_ref().is_ok_and(|ended| ended.survivors == 0);
        let judged = {
            let engine = Arc::clone(self);
            let (attempt, part) = (attempt.clone(), part.clone());
            let judge = move || {
                let judged = ended
                    .and_then(|ended| engine.judge(instance, &attempt, &prepared, &ended, part.as_ref()));
                let input_hash = prepared.gathered.input_hash;
                let judged = judged.and_then(|mut judged| {
                    engine.settle_notes(instance, input_hash, notes.as_ref(), &mut judged.0.batch)?;
                    Ok(judged)
                });
                (judged, prepared, notes)
            };
            hands.blocking(judge).await
        };
        let (judged, prepared, notes) = judged;
        let result = match judged {
            Ok((publication, done)) => {
                let done = self.publish(hands, instance, publication, done, records).await;
                if let (Ok(_), Some(part)) = (&done, &part) {
                    self.look_at_effect(hands, instance, attempt, &prepared.gathered, part).await;
                }
                done
            }
            Err(error) => Err(error),
        };
        let result = match (result, &part) {
            (Err(error), Some(part)) => {
                Err(self.write_unsettled(hands, part, (began, took_place), error).await)
            }
            (result, _) => result,
        };
        // Whether its records count is decided.
        drop(notes);
        let fatal = matches!(&result, Err(error) if error.kind == AttemptErrorKind::Fatal);
        if fatal && prepared.outlives {
            // Nothing can be written down: the next process takes it from here.
            return result;
        }
        let stopped = matches!(&result, Err(error) if error.kind == AttemptErrorKind::Stopped);
        let is_plain = part.is_none() && prepared.set_aside.is_empty();
        if failed_by_itself && prepared.outlives && is_plain && !stopped {
            // How it ended is all that tells of it until its failure is written down: a process that takes over before that
            // is not to execute it again. What it left may be what fills the disk.
            let (engine, attempt) = (Arc::clone(self), attempt.clone());
            blocking(move || {
                let mut prepared = prepared;
                if let Err(error) = prepared.staging.empty(engine.project.state()) {
                    tracing::debug!(%error, "a failed attempt leaves something behind until its failure is written down");
                }
                let mut unsaid = engine.unsaid.lock().expect("no panic while it is held");
                unsaid.insert(instance, Unsaid { attempt, prepared });
            })
            .await;
            return result;
        }
        let result = self.clear_up(hands, attempt, prepared, nothing_lives, part.is_some(), result).await;
        // Only now: until then another process may have to go on from how it ended.
        hands.keeper.forget(&attempt.slug());
        result
    }

    /// Returns the attempt of an instance whose failure is about to be written down: together with that it is to be
    /// [ended](Batch::attempt_ended), and then [forgotten](Self::forget_failed).
    pub fn take_unsaid(&self, instance: u32) -> Option<Unsaid> {
        self.unsaid.lock().expect("no panic while it is held").remove(&instance)
    }

    /// Forgets a failed attempt: its failure is written down. It looks at files.
    pub fn forget_failed(&self, hands: &Hands, failed: Unsaid) {
        let Unsaid { attempt, prepared } = failed;
        hands.keeper.forget(&attempt.slug());
        if prepared.adopted {
            self.spares().remove(&prepared.staging);
        } else {
            self.spares().give_back(prepared.staging);
        }
    }

    /// Clears the working folder away, and writes down that a failed attempt is over. `again`: it has its next command in a
    /// folder of the same name.
    async fn clear_up(
        self: &Arc<Self>,
        hands: &Hands,
        attempt: &AttemptId,
        prepared: Prepared,
        nothing_lives: bool,
        again: bool,
        result: Result<Done, AttemptError>,
    ) -> Result<Done, AttemptError> {
        let engine = Arc::clone(self);
        if prepared.set_aside.is_empty() {
            let returning = self.spares().expect_one();
            let clear = move || {
                let _returning = returning;
                if nothing_lives && !again && !prepared.adopted {
                    engine.spares().give_back(prepared.staging);
                } else {
                    engine.spares().remove(&prepared.staging);
                }
            };
            let is_short = result.as_ref().is_ok_and(|done| done.took_ms < SHORT_MS);
            if hands.own_thread && is_short {
                clear();
            } else {
                let cleared = tokio::task::spawn_blocking(clear);
                // After a success only the run's end waits for the working folder to go; what a crash leaves, the next run
                // clears away. After a failure it may be what fills the disk, and what is written down of the failure needs room.
                if result.is_err() || again {
                    let _ = cleared.await;
                }
            }
            if result.is_err() {
                hands.committer.write(ended_batch(attempt));
            }
            return result;
        }
        let (result, settled) = blocking(move || engine.settle_aside(result, &prepared)).await;
        if settled && result.is_err() {
            hands.committer.write(ended_batch(attempt));
        }
        result
    }

    /// Makes a result durable, and what it made known to those that need it.
    async fn publish(
        &self,
        hands: &Hands,
        instance: u32,
        publication: Publication,
        done: Done,
        records: Option<RecordCounts>,
    ) -> Result<Done, AttemptError> {
        let outputs = publication.outputs.iter().map(|(output, _)| output.clone()).collect();
        let trashed = hands.committer.publish(publication).await?;
        self.set_manifest(instance, cairn_model::Manifest { outputs });
        Ok(Done { trashed, records, ..done })
    }

    /// Runs the command, or passes the records on. Also returns whether anything of it may have been done.
    async fn execute(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        attempt: &AttemptId,
        prepared: Prepared,
    ) -> (Result<(Ended, Option<RecordCounts>), AttemptError>, bool, Prepared) {
        if self.instance(instance).records.is_none() {
            // What was to stop it before the keeper had it was not heard.
            let token = prepared.job.token.clone();
            let ended = hands.keeper.run_and(prepared.job.clone(), || hands.stop_again(&token)).await;
            let began = !matches!(ended, Err(KeeperError::Start(_)));
            return (ended.map(|ended| (ended, None)).map_err(AttemptError::from), began, prepared);
        }
        let (engine, attempt) = (Arc::clone(self), attempt.clone());
        let (keeper, stopped) = (hands.keeper.clone(), Arc::clone(&hands.stopped));
        let (token, own) = (attempt.slug(), prepared.clone());
        let passing = blocking(move || {
            let token = attempt.slug();
            let is_stopped = move || stopped.lock().expect("no panic while it is held").contains(&token);
            engine.pass_records(&keeper, &is_stopped, instance, &attempt, &own)
        });
        tokio::select! {
            passed = passing => (passed.map(|(ended, counts)| (ended, Some(counts))), true, prepared),
            // A sink may not answer for long: it is left behind, and what it was told is settled by the next run.
            () = hands.killed(&token) => (Err(AttemptError::stopped()), true, prepared),
        }
    }

    /// Writes down that the attempt starts. With outputs to be set aside it is durable before they are: recovery knows
    /// where they belong.
    async fn begin(
        self: &Arc<Self>,
        hands: &Hands,
        started: Batch,
        durable: bool,
        instance: u32,
        prepared: &Prepared,
    ) -> Result<(), AttemptError> {
        // An effect is written down before it can happen.
        if prepared.set_aside.is_empty() && self.instance(instance).records.is_none() && !durable {
            if prepared.outlives {
                // Who goes on with it when this process is killed knows it by this.
                hands.committer.written(started).await?;
            } else {
                hands.committer.write(started);
            }
            return Ok(());
        }
        // What a records stage keeps on its way counts only while its attempt is open.
        hands.committer.flush(started).await?;
        if prepared.set_aside.is_empty() {
            return Ok(());
        }
        let engine = Arc::clone(self);
        let (staging, standing) = (prepared.staging.clone(), prepared.set_aside.clone());
        blocking(move || staging.set_aside(&engine.project, engine.instance(instance), &standing)).await?;
        Ok(())
    }

    fn prepare(
        &self,
        instance: u32,
        attempt: &AttemptId,
        step: Step,
    ) -> Result<(Prepared, Option<Part>), AttemptError> {
        // The first attempt runs on what the look-up gathered; a later one on what there is by then.
        // An instance may have waited long for its turn; what changed meanwhile is gathered anew.
        let gathered = match self.take_gathered(instance) {
            Some(gathered) if gathered.at.elapsed() < GATHERED_JUST_NOW => gathered,
            Some(gathered) if self.first_changed(&gathered)?.is_none() => gathered,
            Some(before) => self.gather_changed(instance, before.input_hash)?,
            None => self.gather(instance)?,
        };
        let part = self.part(instance, &gathered, step)?;
        let declared = self.instance(instance);
        let level = level_given(&self.pipeline, declared);
        let mut staging = self.spares().take(self.project.staging(attempt))?;
        let (base, set_aside) = match self.fill(declared, level, &gathered, &mut staging) {
            Ok(filled) => filled,
            Err(error) => {
                self.spares().give_back(staging);
                return Err(error);
            }
        };
        let passed = self.gatherer.passed(declared);
        let key = declared
            .effect
            .as_ref()
            .map_or_else(|| gathered.input_hash.to_string(), |effect| key_of(effect, &gathered));
        let command = part.as_ref().and_then(|part| part.asks.as_ref()).unwrap_or(&declared.command);
        let context = Context {
            attempt,
            key: &key,
            logical_time: self.logical_time,
            passed: &passed,
            home: &staging.home(),
            temporary: &staging.temporary(),
            notes: self.listening().map(|listening| environment::Notes {
                socket: &listening.socket,
                folder: &listening.folder,
                epoch: listening.service.epoch(),
            }),
            trace: self.span_of(attempt),
        };
        let job = Job {
            token: attempt.slug(),
            argv: command.argv().into_iter().map(str::to_owned).collect(),
            env: environment::of_attempt(&self.project, declared, &context),
            cwd: base.clone(),
            stdin: None,
            stdout: stdout_path(declared).map(|path| path.below(&base)),
            log: self.project.state().join(Project::log_path(attempt)),
            log_max: LOG_MAX,
            timeout_ms: declared.policy.timeout_ms,
            kill_after_ms: declared.policy.kill_after_ms,
            // What passes records on is this process; and an answer is of use to who asked.
            tied: declared.records.is_some() || part.as_ref().is_some_and(|part| part.asks.is_some()),
        };
        let (outlives, adopted) = (false, false);
        Ok((Prepared { staging, base, gathered, level, set_aside, job, outlives, adopted }, part))
    }

    /// Gathers inputs that changed since the look-up under the hash `before`. Where they are now those of a checkpoint, nothing
    /// is to be executed, and the look-up that says so is the next run's.
    fn gather_changed(&self, instance: u32, before: InputHash) -> Result<Arc<Gathered>, AttemptError> {
        let gathered = self.gather(instance)?;
        let declared = self.instance(instance);
        if gathered.input_hash != before {
            let now = self.clock.now();
            let looked = lookup(self.store(), &self.pipeline, declared, &gathered, now, false)
                .map_err(|error| AttemptError::new(error.to_string(), error.help()))?;
            if matches!(looked, Looked::Hit(_)) {
                let text =
                    "its inputs changed, to what it was executed with before, while it waited for its turn";
                return Err(AttemptError::new(
                    text.to_owned(),
                    Some("run again: nothing is left to do".to_owned()),
                ));
            }
        }
        Ok(gathered)
    }

    /// Puts in place what the command finds; returns the folder it runs in, and the outputs that are to be set aside.
    fn fill(
        &self,
        declared: &Instance,
        level: Level,
        gathered: &Gathered,
        staging: &mut Staging,
    ) -> Result<(PathBuf, Vec<ProjectPath>), AttemptError> {
        if level != Level::Off {
            staging.fill(&self.project, declared, gathered, &self.kept().objects, &self.digests)?;
            return Ok((staging.work(), Vec::new()));
        }
        let set_aside = standing_outputs(&self.project, declared)?;
        self.restore_made(gathered)?;
        if set_aside.is_empty() {
            make_output_folders(&self.project, declared)?;
        }
        Ok((self.project.folder().to_owned(), set_aside))
    }

    fn started(&self, attempt: &AttemptId, prepared: &Prepared, process: &ProcessId) -> Batch {
        let mut batch = Batch::new();
        let record = Attempt {
            input_hash: prepared.gathered.input_hash,
            epoch: self.epoch(),
            started: self.clock.now(),
            process: process.clone(),
            folder: format!("staging/{}", attempt.slug()),
            token: attempt.slug(),
            in_project: prepared.set_aside.iter().map(ToString::to_string).collect(),
        };
        batch.attempt_started(attempt, &record);
        batch
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Returns whether an instance's standard output is one of its outputs.
pub fn keeps_stdout(instance: &cairn_dag::Instance) -> bool {
    instance.outputs.iter().any(|output| output.kind == OutputKind::Stdout)
}

/// Returns where an attempt's log is.
pub fn log_file(state: &Path, attempt: &AttemptId) -> PathBuf {
    state.join(Project::log_path(attempt))
}
