//! An effect that is undone because a person asks for it, while the daemon holds the store.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_executor::{FileError, UndoError};
use cairn_model::{EffectState, Name};
use cairn_scheduler::definition::{Definition, Given};
use cairn_scheduler::launch::interval_of;
use cairn_scheduler::outside::{self, FindEffectError};
use cairn_scheduler::rollback::find_inputs;
use cairn_store::{Effect, ReadError};

use crate::catalog::PLAIN;
use crate::daemon::{Daemon, StoreError};
use crate::hub::Change;

/// Why an effect was not undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoneError {
    /// The key names none.
    #[error(transparent)]
    Find(#[from] FindEffectError),
    /// A run of its pipeline goes on, and may need what it did.
    #[error("a run of `{pipeline}` goes on")]
    Busy {
        /// The pipeline.
        pipeline: String,
    },
    /// Of the run that did it too little is kept.
    #[error("the store no longer has {what} of run {run}, which did it")]
    Gone {
        /// What is missing.
        what: &'static str,
        /// The run.
        run: String,
    },
    /// The definition of the run that did it is not what it was: files that it is made of have changed.
    #[error("the pipeline is no longer as it was when the effect was done")]
    Wrong {
        /// What is wrong, as the command line draws it.
        report: String,
    },
    /// Nothing can be written beside the pipeline.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its `undo` was not begun, or failed.
    #[error(transparent)]
    Undo(#[from] UndoError),
    /// The store does not do what it is for.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for UndoneError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

/// A pipeline's turn, which is given back however it goes.
struct Turn<'d>(&'d Daemon, Name);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.queue().vacate(&self.1);
        self.0.work.notify_one();
        self.0.hub.tell(Change::Pipelines);
    }
}

impl Daemon {
    /// Undoes an effect by the `undo` that it was begun with, and waits for that. No run of its pipeline begins meanwhile,
    /// and [`Self::serve`] waits for it. To be called from a thread of the runtime that may wait.
    pub fn undo_effect(&self, key: &str, pipeline: Option<&str>) -> Result<(Name, Effect), UndoneError> {
        let (pipeline, found) = outside::find(&self.store, key, pipeline)?;
        let run = found.run;
        let is_taken = {
            let mut queue = self.queue();
            // A run that waits to go on counts on what it did.
            !queue.is_waiting(run) && queue.occupy(&pipeline)
        };
        if !is_taken {
            return Err(UndoneError::Busy { pipeline: pipeline.to_string() });
        }
        let _turn = Turn(self, pipeline.clone());
        let gone = |what| UndoneError::Gone { what, run: run.short() };
        let record = self.store.run(run)?.ok_or_else(|| gone("the record"))?;
        // Its own definition says what stage it was, and what inputs `undo` finds.
        let bytes = self.store.definition(&record.definition)?.ok_or_else(|| gone("the definition"))?;
        let of = (record.file.as_str(), &record.pipeline);
        let definition = Definition::of_run(&self.root, &self.state, of, bytes);
        let given = Given {
            params: record.params.clone(),
            logical_time: record.logical_time,
            interval: interval_of(&record.selection),
            run: Some(run),
        };
        let checked = definition.check(&given).map_err(|wrong| UndoneError::Wrong {
            report: wrong.report.render(&wrong.definition.source(), PLAIN),
        })?;
        let (store, clock) = (Some(self.store.clone()), Arc::clone(&self.clock));
        let engine = checked.engine(store, clock, run, record.logical_time, HashSet::new(), false)?;
        engine.lend(self.keeper.clone());
        find_inputs(&checked, &self.store, &engine, &[key.to_owned()])?;
        let undone = engine.undo(key, None);
        engine.clear();
        undone.inspect_err(|error| tracing::warn!(%pipeline, key, %error, "an effect was not undone"))?;
        tracing::info!(%pipeline, key, "an effect was undone");
        let (pipeline, effect) = outside::find(&self.store, key, Some(pipeline.as_str()))?;
        debug_assert_eq!(effect.state, EffectState::Undone);
        Ok((pipeline, effect))
    }
}
