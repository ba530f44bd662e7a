//! Attempts at an effect: which command is run, and what is written down of it.

use std::sync::Arc;

use cairn_model::AttemptId;
use cairn_store::Batch;

use super::{AttemptError, AttemptErrorKind, Done, Hands, HeldAttempt, blocking};
use crate::effects::{Part, Step};
use crate::engine::Engine;
use crate::gather::Gathered;

impl Engine {
    /// Makes one attempt at an effect: by its command, by `confirm`, or by one after the other. It may go on from a command
    /// that another process had started.
    pub(super) async fn attempt_effect(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        number: u32,
        mut held: Option<HeldAttempt>,
    ) -> Result<Done, AttemptError> {
        let mut step = Step::Decide;
        let mut failed: Option<AttemptError> = None;
        loop {
            let taken = match held.take() {
                Some(held) => self.take_over(hands, instance, held, || {}).await,
                None => self.take(hands, instance, number, step, || {}).await,
            };
            match taken {
                Err(error) if error.kind == AttemptErrorKind::Ask => {
                    failed = Some(error.of_kind(AttemptErrorKind::Retryable));
                    step = Step::Ask;
                }
                // Where this attempt has done it in vain already, whether there is another is not decided here.
                Err(error) if error.kind == AttemptErrorKind::MayAct => match failed {
                    Some(failed) => return Err(failed),
                    None => step = Step::Act,
                },
                Err(error) if error.kind == AttemptErrorKind::InDoubt => {
                    let before = failed.map_or_else(String::new, |failed| format!("{}; ", failed.error));
                    return Err(AttemptError { error: before + &error.error, ..error });
                }
                ended => return ended,
            }
        }
    }

    /// Writes down what the probe of an effect prints that was just confirmed. That is durable already: a crash while the probe
    /// runs puts nothing in doubt.
    pub(super) async fn look_at_effect(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        attempt: &AttemptId,
        gathered: &Arc<Gathered>,
        part: &Part,
    ) {
        let (engine, attempt) = (Arc::clone(self), attempt.clone());
        let (gathered, asked) = (Arc::clone(gathered), part.clone());
        let probed = blocking(move || engine.probed(instance, &gathered, &asked, &attempt)).await;
        match probed {
            Ok(Some(known)) => {
                let mut batch = Batch::new();
                batch.put_effect(&self.pipeline.name, &part.key, &known);
                hands.committer.write(batch);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "an answer of a probe is not kept; the next run asks it"),
        }
    }

    /// Writes down what is known of an effect after an attempt that failed; returns how the attempt goes on.
    pub(super) async fn write_unsettled(
        &self,
        hands: &Hands,
        part: &Part,
        (began, took_place): (bool, bool),
        error: AttemptError,
    ) -> AttemptError {
        let (known, error) = self.unsettled(part, began, took_place, error);
        let Some(known) = known else { return error };
        let mut batch = Batch::new();
        batch.put_effect(&self.pipeline.name, &part.key, &known);
        let written = hands.committer.flush(batch).await;
        written.err().map_or(error, AttemptError::from)
    }
}
