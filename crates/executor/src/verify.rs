//! Is an instance idempotent? It is executed again, in copies, and what it makes is compared with what is recorded.
//!
//! - *Elsewhere*: in another folder, from nothing, with other `HOME` and `TMPDIR`, ids, process numbers and order of
//!   files, at least a second later. Its outputs must have the recorded bytes.
//! - *On top of itself*: where its own outputs stand, twice. Outputs must be as recorded, and no other file of the copy
//!   may be changed: a database among them is compared by its rows.
//! - *Cut off*: killed at some moments, then executed to its end on what that left, and compared in the same way.
//!
//! All of it happens in `Place`s below one scratch folder in `staging/`, which is removed with the [`Verifier`]; what a
//! killed one leaves, the next run or the next [`Verifier`] clears away. No checkpoint, output or file of the project is
//! written. A command that reaches out of its copy is refused as far as its words show that (`outside`), and told of
//! when a file of the project was touched meanwhile.
//!
//! A stage that passes records on is loaded again in the same three ways (`load`).
//!
//! What it does not do: set the clock. A date that changes at midnight is not seen.

mod bytes;
mod cause;
mod finding;
mod load;
mod outside;
mod place;
mod scratch;
mod subject;
mod surroundings;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cairn_content::FileError;
use cairn_dag::Instance;
use cairn_model::RunId;
use cairn_store::{Checkpoint, ReadError};

use crate::Engine;
use crate::effects::key_of;
use crate::gather::{GatherError, Gathered};
use crate::isolation::{Keeper, KeeperError};
use crate::lookup::level_given;

pub use cause::Cause;
pub use finding::{Check, Difference, Finding, Position, Reason, Report, Step, Verdict};
pub use place::PlaceError;

pub(crate) use scratch::{AtWork, is_verifiers};

use place::Large;
use scratch::Scratch;
use subject::Subject;
use surroundings::Looks;

/// Attempts are numbered from here, so that none has the number of the recorded one.
const FIRST_ATTEMPT: u32 = 1_000;

/// How instances are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// At how many moments each is cut off.
    pub cuts: u32,
    /// Whether what an instance does outside of the project may be done again.
    pub effects: bool,
}

/// Why an instance could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// An input is not there or cannot be read.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// There is no result to compare with.
    #[error("`{instance}` has no result for what its inputs are now")]
    NotDone {
        /// The instance.
        instance: String,
    },
    /// The copies cannot be made.
    #[error("cannot copy what `{instance}` is executed with: {cause}")]
    Place {
        /// The instance.
        instance: String,
        /// Why.
        #[source]
        cause: PlaceError,
    },
    /// The command cannot be started.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// Processes of one that was killed cannot be ended.
    #[error("{count} processes of a killed run cannot be ended")]
    Strays {
        /// How many.
        count: u32,
    },
}

impl VerifyError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.help(),
            Self::Gather(error) => error.help(),
            Self::NotDone { .. } => Some("`cairn run` first: what it makes is compared with".to_owned()),
            Self::Place { cause, .. } => cause.help(),
            Self::Keeper(error) => error.help(),
            Self::Strays { .. } => None,
        }
    }
}

/// Verifies instances of one pipeline. To be dropped outside of async code: that waits until all it started has ended.
pub struct Verifier {
    // Dropped first: nothing may write any more when the folder goes.
    keeper: Keeper,
    scratch: Scratch,
    engine: Arc<Engine>,
    run: RunId,
    attempts: AtomicU32,
}

impl Drop for Verifier {
    fn drop(&mut self) {
        // The last handle on the keeper is to be the first that is dropped below.
        self.engine.give_back();
    }
}

impl Verifier {
    /// Makes one for the instances of `engine`, whose store is open for writing, so that nothing else is executed here, or for
    /// reading: then others may be at work, and what they change is noticed. What an earlier one left when it was killed is
    /// cleared away. `run` is an id of no run.
    pub fn new(engine: Arc<Engine>, keeper: Keeper, run: RunId) -> Result<Self, VerifyError> {
        // What look-ups asked probes with has a runtime of its own, which cannot be dropped within another.
        engine.give_back();
        let state = engine.project.state().to_owned();
        let left =
            |error: FileError| VerifyError::Place { instance: "a stage".to_owned(), cause: error.into() };
        let strays = scratch::clear_left(&state, &engine.project.state_id()).map_err(left)?;
        if strays > 0 {
            return Err(VerifyError::Strays { count: strays });
        }
        let scratch = Scratch::make(&state, run).map_err(left)?;
        Ok(Self { keeper, scratch, engine, run, attempts: AtomicU32::new(FIRST_ATTEMPT) })
    }

    /// Verifies an instance all of whose needs are [primed](crate::Engine::look_up); tells `on_step` of each execution
    /// before it starts.
    ///
    /// # Errors
    ///
    /// When it cannot be told. That the command fails is a verdict.
    pub async fn verify(
        &self,
        index: u32,
        options: Options,
        on_step: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<Report, VerifyError> {
        let instance = self.engine.instance(index);
        let (gathered, checkpoint) = match self.recorded(index) {
            Err(VerifyError::NotDone { .. }) if instance.effect.is_some() => {
                let text = "its effect stands, and there is no result of what its inputs are now".to_owned();
                return Ok(Report::none(Verdict::NotVerified(Reason { text, help: None })));
            }
            recorded => recorded?,
        };
        let level = level_given(&self.engine.pipeline, instance);
        let refused = outside::refused(&self.engine, instance, &gathered, level, options.effects);
        if let Some(reason) = refused {
            return Ok(Report::none(Verdict::NotVerified(reason)));
        }
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let large = Large::new(self.scratch.folder().join(format!("inputs-{number}")));
        let large =
            large.map_err(|cause| VerifyError::Place { instance: instance.name.to_string(), cause })?;
        let subject = Subject {
            verifier: self,
            instance,
            gathered: &gathered,
            checkpoint: &checkpoint,
            level,
            cuts: options.cuts,
            large: &large,
            on_step,
        };
        let project = self.engine.project.root().to_owned();
        let looks = || {
            let looks = Looks::of(&project, self.engine.project.state());
            looks.map_err(|cause| subject.failed(FileError { action: "read", path: project.clone(), cause }))
        };
        let before = looks()?;
        let probed = self.probe(index, &gathered).await;
        let mut report = match subject.checked_all().await {
            // One project may hold what cannot be copied, and other stages that do not need it.
            Err(VerifyError::Place { cause, .. }) if !cause.is_disk_full() => {
                let reason = Reason { text: format!("it cannot be copied: {cause}"), help: cause.help() };
                Report::none(Verdict::NotVerified(reason))
            }
            report => report?,
        };
        if let (Verdict::Verified, Some(recorded)) = (&report.verdict, probed) {
            let found = self.probe(index, &gathered).await.unwrap_or(Ok(String::new()));
            match (recorded, found) {
                (Ok(recorded), Ok(found)) if recorded == found => {}
                (Ok(recorded), Ok(found)) => {
                    let difference = Difference::Effect { recorded, found };
                    let step = Step::OnTop { time: 2 };
                    let finding = Finding { step, difference, cause: None };
                    report.verdict = Verdict::NotIdempotent(Box::new(finding));
                }
                // No answer is no proof, however alike two of them are.
                (Err(what), _) | (_, Err(what)) => {
                    let text = format!("the `probe` of its effect has no answer: {what}");
                    let help = Some("mend what it asks, or the probe itself".to_owned());
                    report.verdict = Verdict::NotVerified(Reason { text, help });
                }
            }
        }
        if let Some(touched) = before.first_touched(&looks()?) {
            report.verdict = Verdict::NotVerified(Reason {
                text: format!(
                    "while it was executed in a copy, `{}` of the project itself changed: by it or by someone else",
                    touched.display()
                ),
                help: Some(
                    "find out whether its command leaves the folder that it starts in; if it does not, verify it once more while nobody writes here"
                        .to_owned(),
                ),
            });
        }
        report.unseen = outside::unseen(&self.engine, instance, &gathered);
        Ok(report)
    }

    /// Returns what the probe of an instance's effect prints, or why it does not; `None` where there is none.
    async fn probe(&self, index: u32, gathered: &Arc<Gathered>) -> Option<Result<String, String>> {
        self.engine.instance(index).effect.as_ref()?.probe.as_ref()?;
        self.engine.lend(self.keeper.clone());
        let (engine, gathered) = (Arc::clone(&self.engine), Arc::clone(gathered));
        let asked = tokio::task::spawn_blocking(move || {
            let key = effect_key(engine.instance(index), &gathered);
            engine.probe(index, &gathered, &key, None)
        })
        .await;
        self.engine.give_back();
        match asked {
            Ok(answer) => Some(answer.map_err(|fault| fault.what)),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Returns what an instance is executed with and what that made.
    pub fn recorded(&self, index: u32) -> Result<(Arc<Gathered>, Checkpoint), VerifyError> {
        let not_done = || VerifyError::NotDone { instance: self.engine.instance(index).name.to_string() };
        let gathered = match self.engine.gather(index) {
            Err(GatherError::NotDone { .. }) => return Err(not_done()),
            gathered => gathered?,
        };
        let store = &self.engine.kept().store;
        let checkpoint = store.checkpoint(&gathered.input_hash)?.ok_or_else(not_done)?;
        Ok((gathered, checkpoint))
    }
}

/// What a command is given as its idempotency key: the one of the run.
fn effect_key(instance: &Instance, gathered: &Gathered) -> String {
    let effect = instance.effect.as_ref();
    effect.map_or_else(|| gathered.input_hash.to_string(), |effect| key_of(effect, gathered))
}
