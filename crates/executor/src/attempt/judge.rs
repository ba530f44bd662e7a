//! After a command: whether it succeeded, and what is to be published.

use cairn_dag::Instance;
use cairn_model::{AttemptId, Event, InputHash, InstanceEvent, Level, RunEvent};
use cairn_store::{Batch, Checkpoint, Exit, LogRef, Placed};

use super::checks::log_error;
use super::{AttemptError, AttemptErrorKind, Done, Prepared};
use crate::collect::{Collected, check_undeclared, collect};
use crate::committer::Publication;
use crate::effects::Part;
use crate::engine::Engine;
use crate::isolation::{Ended, ExitKind};
use crate::notes::Closed;
use crate::project::Project;

impl Engine {
    /// Adds what the attempt had remembered to what is committed with it; it is no dead letter any more.
    pub(super) fn settle_notes(
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
    pub(super) fn judge(
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
        let Collected { manifest, staged } = self.collect(declared, prepared)?;
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

    /// Finds what the command made, and checks that it may count.
    fn collect(&self, declared: &Instance, prepared: &Prepared) -> Result<Collected, AttemptError> {
        let note = prepared.outlives.then(|| prepared.staging.collected());
        // A process before had come so far: what it collected may be in the content store by now.
        if let Some(collected) = note.as_deref().and_then(Collected::read) {
            return Ok(collected);
        }
        if prepared.level != Level::Off {
            check_undeclared(&prepared.staging, declared)?;
        }
        let collected = collect(&prepared.base, declared, &prepared.gathered, &self.digests)?;
        self.check_inputs(prepared, declared.records.is_some())?;
        if prepared.level == Level::Off {
            self.check_made(&prepared.gathered)?;
        }
        if let Some(note) = note.filter(|_| collected.moves() || prepared.level == Level::Off) {
            collected.write(&note).map_err(|error| {
                let text = format!("cannot write `{}`: {error}", note.display());
                AttemptError::new(text, None)
            })?;
        }
        Ok(collected)
    }
}
