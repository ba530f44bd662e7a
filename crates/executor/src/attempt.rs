//! One attempt: stage, run, judge, collect, publish.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_content::durable;
use cairn_model::{AttemptId, Event, InputHash, InstanceEvent, Level, OutputKind, ProjectPath, RunEvent};
use cairn_store::{Attempt, Batch, Checkpoint, Exit, LogRef, Placed, ProcessId};

use crate::collect::{CollectError, Collected, check_undeclared, collect};
use crate::committer::{Committer, Publication, PublishError};
use crate::engine::Engine;
use crate::environment::{self, Context};
use crate::gather::{GatherError, Gathered, stdout_path};
use crate::hint;
use crate::isolation::{Ended, ExitKind, Job, Keeper, KeeperError};
use crate::lookup::level_given;
use crate::project::Project;
use crate::staging::{StageError, Staging, is_unchanged, put_back};

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
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptError {
    /// What happened.
    pub error: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether another attempt may fare better.
    pub retryable: bool,
    /// Whether a person stopped it.
    pub interrupted: bool,
    /// Whether nothing more can be made durable, so that the run must end.
    pub fatal: bool,
}

impl AttemptError {
    fn new(error: impl Into<String>, help: Option<String>) -> Self {
        Self { error: error.into(), help, retryable: true, interrupted: false, fatal: false }
    }

    fn for_good(self) -> Self {
        Self { retryable: false, ..self }
    }
}

impl From<GatherError> for AttemptError {
    fn from(error: GatherError) -> Self {
        Self::new(error.to_string(), error.help())
    }
}

impl From<StageError> for AttemptError {
    fn from(error: StageError) -> Self {
        Self::new(error.to_string(), None)
    }
}

impl From<CollectError> for AttemptError {
    fn from(error: CollectError) -> Self {
        let help = error.help();
        Self::new(error.to_string(), help)
    }
}

impl From<PublishError> for AttemptError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Output { text, help } => Self::new(text, help),
            PublishError::Fatal { text, help } => Self { fatal: true, ..Self::new(text, help).for_good() },
        }
    }
}

impl From<KeeperError> for AttemptError {
    fn from(error: KeeperError) -> Self {
        let help = error.help();
        let for_good = error.is_permanent();
        let made = Self::new(error.to_string(), help);
        if for_good { made.for_good() } else { made }
    }
}

/// What an attempt needs beside the engine.
pub struct Hands {
    /// Starts processes.
    pub keeper: Keeper,
    /// Makes results durable.
    pub committer: Committer,
    /// The process that runs the run.
    pub process: ProcessId,
}

/// Ready to be run.
struct Prepared {
    staging: Staging,
    folder: PathBuf,
    base: PathBuf,
    gathered: Arc<Gathered>,
    level: Level,
    set_aside: Vec<ProjectPath>,
    job: Job,
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
        let attempt = self.attempt_id(instance, number);
        let prepared = {
            let (engine, attempt) = (Arc::clone(self), attempt.clone());
            blocking(move || engine.prepare(instance, &attempt)).await
        };
        let mut prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                exited();
                return Err(error);
            }
        };
        hands.committer.write(self.started(&attempt, &prepared, &hands.process));
        let job = prepared.job.clone();
        let ended = hands.keeper.run(job).await;
        exited();
        let judged = {
            let engine = Arc::clone(self);
            let attempt = attempt.clone();
            blocking(move || {
                let judged = engine.judge(instance, &attempt, &mut prepared, ended);
                if judged.is_err() {
                    engine.undo(&prepared);
                }
                judged
                    .map(|(publication, done)| (publication, done, prepared.folder.clone()))
                    .map_err(|error| (error, prepared.folder))
            })
            .await
        };
        let (result, folder) = match judged {
            Ok((publication, done, folder)) => {
                let manifest = cairn_model::Manifest {
                    outputs: publication.outputs.iter().map(|(output, _)| output.clone()).collect(),
                };
                let published = hands.committer.publish(publication).await;
                let result = published.map(|trashed| {
                    self.set_manifest(instance, manifest);
                    Done { trashed, ..done }
                });
                (result.map_err(AttemptError::from), folder)
            }
            Err((error, folder)) => {
                let mut batch = Batch::new();
                batch.attempt_ended(&attempt);
                hands.committer.write(batch);
                (Err(error), folder)
            }
        };
        // Nobody waits for the working folder to go; what a crash leaves, the next run clears away.
        let state = self.project.state().to_owned();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = durable::remove_tree(&state, &folder) {
                tracing::warn!(%error, folder = %folder.display(), "cannot clear a working folder away");
            }
        });
        result
    }

    fn prepare(&self, instance: u32, attempt: &AttemptId) -> Result<Prepared, AttemptError> {
        // The first attempt runs on what the look-up gathered; a later one on what there is by then.
        // An instance may have waited long for its turn; what changed meanwhile is gathered anew.
        let gathered = match self.take_gathered(instance) {
            Some(gathered) if self.first_changed(&gathered)?.is_none() => gathered,
            _ => self.gather(instance)?,
        };
        let declared = self.instance(instance);
        let level = level_given(&self.pipeline, declared);
        let folder = self.project.staging(attempt);
        let mut staging = Staging::new(folder.clone())?;
        let mut set_aside = Vec::new();
        let base = if level == Level::Off {
            set_aside = staging.set_aside(&self.project, declared)?;
            self.project.folder().to_owned()
        } else {
            staging.fill(&self.project, declared, &gathered, &self.kept().objects, &self.digests)?;
            staging.work()
        };
        let passed = self.gatherer.passed(declared);
        let context = Context {
            attempt,
            input_hash: &gathered.input_hash,
            logical_time: self.logical_time,
            passed: &passed,
            home: &staging.home(),
            temporary: &staging.temporary(),
        };
        let job = Job {
            token: attempt.slug(),
            argv: declared.command.argv().into_iter().map(str::to_owned).collect(),
            env: environment::of_attempt(&self.project, declared, &context),
            cwd: base.clone(),
            stdout: stdout_path(declared).map(|path| path.below(&base)),
            log: self.project.state().join(Project::log_path(attempt)),
            log_max: LOG_MAX,
            timeout_ms: declared.policy.timeout_ms,
            kill_after_ms: declared.policy.kill_after_ms,
        };
        Ok(Prepared { staging, folder, base, gathered, level, set_aside, job })
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

    /// Decides whether the attempt succeeded, and what is to be published.
    fn judge(
        &self,
        instance: u32,
        attempt: &AttemptId,
        prepared: &mut Prepared,
        ended: Result<Ended, KeeperError>,
    ) -> Result<(Publication, Done), AttemptError> {
        let declared = self.instance(instance);
        let ended = ended?;
        self.check_end(instance, prepared, &ended)?;
        if prepared.level != Level::Off {
            check_undeclared(&prepared.staging, declared)?;
        }
        let collected = collect(&prepared.base, declared, &self.digests)?;
        self.check_inputs(prepared)?;
        let Collected { manifest, staged } = collected;
        let (input_hash, took_ms) = (prepared.gathered.input_hash, ended.took_ms);
        let now = self.clock.now();
        let mut batch = Batch::new();
        for output in &manifest.outputs {
            let placed = Placed {
                content_digest: output.content.digest(),
                file: None,
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
        batch.duration(&self.pipeline.name, &declared.name, took_ms);
        batch.attempt_ended(attempt);
        let event =
            InstanceEvent::Committed { attempt: attempt.number, input_hash, took_ms, trashed: Vec::new() };
        let what = RunEvent::Instance { instance: declared.name.clone(), event };
        batch.event(self.run, &Event { at: now, what });
        let in_place = prepared.level == Level::Off;
        let done = Done { input_hash, took_ms, trashed: Vec::new() };
        Ok((Publication { batch, outputs, in_place }, done))
    }

    fn check_end(&self, instance: u32, prepared: &Prepared, ended: &Ended) -> Result<(), AttemptError> {
        if ended.stopped {
            let error = AttemptError::new("stopped", None).for_good();
            return Err(AttemptError { interrupted: true, ..error });
        }
        let declared = self.instance(instance);
        if ended.timed_out {
            let limit = declared.policy.timeout_ms.unwrap_or_default();
            let help = "raise `timeout`, or find out what it waits for".to_owned();
            return Err(AttemptError::new(format!("timed out after {}", seconds(limit)), Some(help)));
        }
        let error = match ended.status {
            ExitKind::Code(0) => return Ok(()),
            ExitKind::Code(code) => format!("exit status {code}"),
            ExitKind::Signal(signal) => format!("ended by signal {signal}{}", signal_name(signal)),
        };
        let help = (prepared.level != Level::Off)
            .then(|| hint::undeclared_input(&self.project, declared, &prepared.gathered, &prepared.job.log))
            .flatten();
        let for_good = help.is_some();
        let error = AttemptError::new(error, help);
        // A file that is not there will not be there the next time.
        Err(if for_good { error.for_good() } else { error })
    }

    /// K7: a result is not committed under a hash of inputs that are no longer what they were.
    fn check_inputs(&self, prepared: &Prepared) -> Result<(), AttemptError> {
        let Some(path) = self.first_changed(&prepared.gathered)? else { return Ok(()) };
        let help = "nothing was committed; run again when nobody writes to it".to_owned();
        Err(AttemptError::new(format!("input `{path}` changed while the command ran"), Some(help)))
    }

    /// Returns an input that is no longer what was hashed.
    fn first_changed<'a>(&self, gathered: &'a Gathered) -> Result<Option<&'a ProjectPath>, AttemptError> {
        for input in &gathered.files {
            let unchanged = is_unchanged(input, &self.project, &self.digests)
                .map_err(|error| AttemptError::new(error.to_string(), error.help()))?;
            if !unchanged {
                return Ok(Some(&input.path));
            }
        }
        Ok(None)
    }

    /// After a failed attempt with `sandbox = "off"`: what stood in the outputs' places stands there again.
    fn undo(&self, prepared: &Prepared) {
        if prepared.level != Level::Off {
            return;
        }
        let before = prepared.staging.before();
        if let Err(error) = put_back(&self.project, &before, &prepared.set_aside) {
            tracing::error!(%error, before = %before.display(), "cannot put back the outputs of before");
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn seconds(millis: u64) -> String {
    if millis.is_multiple_of(1000) { format!("{} s", millis / 1000) } else { format!("{millis} ms") }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
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
