//! What the loop does before a failed run ends whose effects are to be undone.

use std::sync::Arc;

use cairn_executor::UndoError;
use cairn_model::{AttemptId, InstanceEvent, RunStatus, State};
use cairn_store::Batch;

use super::{Ended, Run, RunError, Signal, run_error};
use crate::rollback;
use crate::step::Machine;

impl Run<'_> {
    /// Returns whether the run's effects are to be undone after a failure.
    pub(super) fn rolls_back(&self, machine: &Machine) -> bool {
        let pipeline = self.engine.pipeline();
        let asks = |(state, instance): (&State, &cairn_dag::Instance)| {
            matches!(state, State::Failed { .. }) && instance.policy.rollback
        };
        self.rollback || pipeline.rollback || machine.states().iter().zip(&pipeline.instances).any(asks)
    }

    /// Undoes the run's effects, the last one first. After an `undo` that failed nothing more is undone: what was done
    /// before may be what it stands on.
    pub(super) async fn roll_back(&mut self, machine: &Machine, ended: &mut Ended) -> Result<(), RunError> {
        // What was confirmed is read from the store: it is to have all of it.
        self.hands.committer.flush(Batch::new()).await.map_err(run_error)?;
        let read = |error: cairn_store::ReadError| RunError { error: error.to_string(), help: error.help() };
        let Some(store) = self.engine.store().cloned() else { return Ok(()) };
        let pipeline = Arc::clone(self.engine.pipeline());
        let standing = rollback::standing(&store, &pipeline.name, self.id).map_err(read)?;
        for rollback::Done { key, effect } in rollback::open(&store, &pipeline.name, self.id).map_err(read)? {
            let at = pipeline.instances.iter().position(|instance| instance.name == effect.instance);
            let Some(instance) = at.and_then(|at| u32::try_from(at).ok()) else { continue };
            let error = Some(format!("it may have taken place, and is {}", effect.state));
            let mut events = Batch::new();
            self.record_instance(&mut events, instance, InstanceEvent::Undone { key, error });
            self.hands.committer.write(events);
        }
        let mut stopped: Option<&str> = None;
        for rollback::Done { key, effect } in standing {
            let at = pipeline.instances.iter().position(|instance| instance.name == effect.instance);
            let Some(instance) = at.and_then(|at| u32::try_from(at).ok()) else {
                let instance = &effect.instance;
                tracing::warn!(key, %instance, "an effect stands: the pipeline has no such instance any more");
                stopped = Some("an effect after it was not undone");
                continue;
            };
            let result = if let Some(why) = stopped {
                Err(why.to_owned())
            } else {
                // One that an earlier process of the run did has no log in this one.
                let log = match machine.states()[instance as usize] {
                    State::Ran { attempt } => Some(self.engine.attempt_id(instance, attempt)),
                    _ => None,
                };
                let (undone, interrupted) = self.undo(key.clone(), log).await;
                if interrupted {
                    stopped = Some("the run was interrupted before it was undone");
                }
                match undone {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        if !matches!(error, UndoError::NoUndo) {
                            stopped = stopped.or(Some("an effect after it was not undone"));
                        }
                        if matches!(error, UndoError::Failed { .. }) {
                            ended.status = RunStatus::InDoubt;
                        }
                        Err(error.to_string())
                    }
                }
            };
            let mut events = Batch::new();
            self.record_instance(&mut events, instance, InstanceEvent::Undone { key, error: result.err() });
            self.hands.committer.write(events);
        }
        Ok(())
    }

    /// Undoes an effect, and says whether the run was interrupted meanwhile: that ends the command, and leaves the effect in
    /// doubt.
    async fn undo(&mut self, key: String, log: Option<AttemptId>) -> (Result<(), UndoError>, bool) {
        let engine = Arc::clone(&self.engine);
        let mut undone = tokio::task::spawn_blocking(move || engine.undo(&key, log.as_ref()));
        let mut interrupted = false;
        loop {
            tokio::select! {
                undone = &mut undone => {
                    let undone =
                        undone.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
                    return (undone, interrupted);
                }
                Some(signal) = self.signals.recv() => {
                    self.engine.stop_asides(interrupted && signal == Signal::Interrupt);
                    interrupted = true;
                }
            }
        }
    }
}
