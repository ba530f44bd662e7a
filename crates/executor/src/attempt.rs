//! One attempt: stage, run, judge, collect, publish.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cairn_dag::Instance;
use cairn_model::{
    AttemptId, Event, InputHash, InstanceEvent, Level, OutputKind, ProjectPath, RecordCounts, RunEvent,
};
use cairn_store::{Attempt, Batch, Checkpoint, Exit, LogRef, Placed, ProcessId};

use crate::collect::{Collected, check_undeclared, collect};
use crate::committer::{Committer, Publication};
use crate::effects::{Part, Step, key_of};
use crate::engine::Engine;
use crate::environment::{self, Context};
use crate::gather::{Gathered, stdout_path};
use crate::isolation::{Ended, ExitKind, Job, Keeper, KeeperError, strays};
use crate::lookup::{Looked, level_given, lookup};
use crate::notes::Closed;
use crate::project::Project;
use crate::staging::{Staging, make_output_folders, standing_outputs};

mod checks;
mod effect;
mod error;
mod set_aside;

use checks::log_error;
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

    /// Returns when an attempt is to end at once.
    async fn killed(&self, token: &str) {
        while !self.killed.lock().expect("no panic while it is held").contains(token) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_stopped(&self, token: &str) -> bool {
        self.stopped.lock().expect("no panic while it is held").contains(token)
    }
}

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
        let done = self.attempt_effect(hands, instance, number).await;
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
            blocking(move || engine.prepare(instance, &attempt, step)).await
        };
        let (mut prepared, part) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                exited();
                return Err(error);
            }
        };
        let mut started = self.started(&attempt, &prepared, &hands.process);
        let intent = part.as_ref().filter(|part| part.asks.is_none());
        if let Some(part) = intent {
            started.put_effect(&self.pipeline.name, &part.key, &part.record);
        }
        if let Some(listening) = self.listening() {
            listening.service.enter(&attempt, prepared.gathered.input_hash);
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
        let records = ended.as_ref().ok().and_then(|(_, records)| *records);
        let ended = ended.map(|(ended, _)| ended);
        let took_place = part.as_ref().is_some_and(|part| part.asks.is_some())
            && ended.as_ref().is_ok_and(|ended| ended.status == ExitKind::Code(0) && !ended.timed_out);
        if hands.keeper.is_gone() {
            // It was killed: what left its session is not ended by the kernel.
            let state_id = self.project.state_id();
            blocking(move || strays::end_strays(&state_id)).await;
        }
        // Nothing of it lives, so nothing more is said; what it said counts if it is committed.
        let notes = self.listening().and_then(|listening| listening.service.close(&attempt));
        exited();
        // What still lives may write to the folder; where that cannot be seen, something may live.
        let nothing_lives =
            cfg!(target_os = "linux") && ended.as_ref().is_ok_and(|ended| ended.survivors == 0);
        let judged = {
            let engine = Arc::clone(self);
            let (attempt, part) = (attempt.clone(), part.clone());
            blocking(move || {
                let judged = ended
                    .and_then(|ended| engine.judge(instance, &attempt, &prepared, &ended, part.as_ref()));
                let input_hash = prepared.gathered.input_hash;
                let judged = judged.and_then(|mut judged| {
                    engine.settle_notes(instance, input_hash, notes.as_ref(), &mut judged.0.batch)?;
                    Ok(judged)
                });
                (judged, prepared, notes)
            })
            .await
        };
        let (judged, prepared, notes) = judged;
        let result = match judged {
            Ok((publication, done)) => {
                let done = self.publish(hands, instance, publication, done, records).await;
                if let (Ok(_), Some(part)) = (&done, &part) {
                    self.look_at_effect(hands, instance, &attempt, &prepared.gathered, part).await;
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
        let engine = Arc::clone(self);
        if prepared.set_aside.is_empty() {
            // An attempt at an effect has its next command in a folder of the same name.
            let again = part.is_some();
            let cleared = tokio::task::spawn_blocking(move || {
                if nothing_lives && !again {
                    engine.spares.give_back(prepared.staging);
                } else {
                    engine.spares.remove(&prepared.staging);
                }
            });
            // After a success nobody waits for the working folder to go; what a crash leaves, the next run clears away. After
            // a failure it may be what fills the disk, and what is written down of the failure needs room.
            if result.is_err() || again {
                let _ = cleared.await;
            }
            if result.is_err() {
                hands.committer.write(ended_batch(&attempt));
            }
            return result;
        }
        let (result, settled) = blocking(move || engine.settle_aside(result, &prepared)).await;
        if settled && result.is_err() {
            hands.committer.write(ended_batch(&attempt));
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
            let ended = hands.keeper.run(prepared.job.clone()).await;
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
            hands.committer.write(started);
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
        let mut staging = self.spares.take(self.project.staging(attempt))?;
        let (base, set_aside) = match self.fill(declared, level, &gathered, &mut staging) {
            Ok(filled) => filled,
            Err(error) => {
                self.spares.give_back(staging);
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
            tied: true,
        };
        Ok((Prepared { staging, base, gathered, level, set_aside, job }, part))
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

    /// Adds what the attempt had remembered to what is committed with it; it is no dead letter any more.
    fn settle_notes(
        &self,
        instance: u32,
        input_hash: InputHash,
        notes: Option<&Closed>,
        batch: &mut Batch,
    ) -> Result<(), AttemptError> {
        let failed = |error: cairn_store::ReadError| AttemptError::new(error.to_string(), error.help());
        if let Some(notes) = notes {
            if notes.is_unread() {
                let text = "a `cairn seen` did not write out all that it passed on";
                let help = "nothing was committed, and no record counts as had; have the command fail when `cairn seen` does, as by `set -o pipefail`, and read all that it writes";
                return Err(AttemptError::new(text.to_owned(), Some(help.to_owned())));
            }
            notes.settle(input_hash, batch).map_err(failed)?;
        }
        self.revive(batch, &self.instance(instance).name).map_err(failed)
    }

    /// Decides whether the attempt succeeded, and what is to be published.
    fn judge(
        &self,
        instance: u32,
        attempt: &AttemptId,
        prepared: &Prepared,
        ended: &Ended,
        part: Option<&Part>,
    ) -> Result<(Publication, Done), AttemptError> {
        let declared = self.instance(instance);
        let asked = part.is_some_and(|part| part.asks.is_some());
        self.check_end(instance, prepared, ended).map_err(|error| match ended.status {
            ExitKind::Code(1) if asked && error.kind == AttemptErrorKind::Retryable && !ended.timed_out => {
                AttemptError::new("`confirm` says that it did not take place", None)
                    .of_kind(AttemptErrorKind::NotDone)
            }
            _ => error,
        })?;
        if ended.strays + ended.survivors > 0 {
            let (ended, left) = (ended.strays, ended.survivors);
            tracing::warn!(instance = %declared.name, ended, left, "processes outlived the command");
        }
        if let Some(error) = log_error(prepared, ended) {
            tracing::warn!(instance = %declared.name, %error, "the log is not whole");
        }
        if prepared.level != Level::Off {
            check_undeclared(&prepared.staging, declared)?;
        }
        let collected = collect(&prepared.base, declared, &prepared.gathered, &self.digests)?;
        self.check_inputs(prepared)?;
        if prepared.level == Level::Off {
            self.check_made(&prepared.gathered)?;
        }
        let Collected { manifest, staged } = collected;
        let (input_hash, took_ms) = (prepared.gathered.input_hash, ended.took_ms);
        let now = self.clock.now();
        let mut batch = Batch::new();
        for output in &manifest.outputs {
            let placed = Placed {
                content_digest: output.content.digest(),
                pipeline: self.pipeline.name.clone(),
                instance: declared.name.clone(),
                input_hash,
            };
            batch.placed(&self.project.store_key(&output.path), &placed);
        }
        let outputs = manifest.outputs.iter().cloned().zip(staged).collect();
        let checkpoint = Checkpoint {
            preimage: prepared.gathered.preimage.clone(),
            manifest,
            level: prepared.level,
            made_by: attempt.clone(),
            pipeline: self.pipeline.name.clone(),
            finished: now,
            took_ms,
            log: LogRef {
                path: Project::log_path(attempt).to_string_lossy().into_owned(),
                bytes: ended.log_bytes,
            },
            exit: Exit {
                code: 0,
                user_ms: ended.user_ms,
                sys_ms: ended.sys_ms,
                max_rss_bytes: ended.max_rss_bytes,
            },
        };
        if self.replaces(instance) {
            batch.replace_checkpoint(input_hash, &checkpoint);
        } else {
            batch.put_checkpoint(input_hash, &checkpoint);
        }
        batch.require_attempt(attempt, self.epoch());
        self.keep_sources(&prepared.gathered, &prepared.base, &mut batch);
        batch.latest(&self.pipeline.name, &declared.name, input_hash);
        if !asked {
            batch.duration(&self.pipeline.name, &declared.name, took_ms);
        }
        if let Some(part) = part {
            let confirmed = self.confirmation(part, input_hash);
            batch.put_effect(&self.pipeline.name, &part.key, &confirmed);
        }
        batch.attempt_ended(attempt);
        let event = InstanceEvent::Committed { attempt: attempt.number, input_hash, took_ms };
        let what = RunEvent::Instance { instance: declared.name.clone(), event };
        batch.event(self.run, &Event { at: now, what });
        let in_place = prepared.level == Level::Off;
        let done = Done { input_hash, took_ms, trashed: Vec::new(), records: None };
        Ok((Publication { batch, outputs, in_place }, done))
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
