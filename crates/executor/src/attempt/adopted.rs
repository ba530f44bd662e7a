//! An attempt that a process before had started, and that a keeper holds: it is not executed, but taken over.
//!
//! Its number, token and working folder stay; its inputs are gathered anew, and only if they are what they were does it
//! count. Its record gets this process's epoch before it is waited for, so that no process before can publish it.

use std::pin::pin;
use std::sync::Arc;

use cairn_model::{AttemptId, InputHash, Level, ProjectPath};
use cairn_store::{Attempt, Batch};

use super::{AttemptError, Done, Hands, Prepared, blocking};
use crate::effects::Part;
use crate::engine::{Engine, LookUpError};
use crate::isolation::Job;
use crate::lookup::level_given;
use crate::recover;
use crate::staging::Staging;

/// An attempt that a keeper holds, and that no process waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldAttempt {
    /// Which.
    pub id: AttemptId,
    /// Its record.
    pub record: Attempt,
    /// What was started.
    pub job: Job,
}

impl Engine {
    /// Takes in attempts of this run that a keeper holds, to be called before the run begins and before [`Self::listen`].
    /// Returns the instances they are of, which the run's machine is to know of, and the attempts that are of no instance that
    /// `takes_part`: they are to be [given up](recover::give_up).
    pub fn hold(
        &self,
        attempts: Vec<HeldAttempt>,
        takes_part: &dyn Fn(u32) -> bool,
    ) -> (Vec<u32>, Vec<HeldAttempt>) {
        let (mut instances, mut others) = (Vec::new(), Vec::new());
        let mut held = self.held.lock().expect("no panic while it is held");
        for attempt in attempts {
            let at = self.pipeline.instances.iter().position(|instance| instance.name == attempt.id.instance);
            match at.and_then(|at| u32::try_from(at).ok()) {
                Some(at) if attempt.id.run == self.run && takes_part(at) && !held.contains_key(&at) => {
                    instances.push(at);
                    held.insert(at, attempt);
                }
                _ => others.push(attempt),
            }
        }
        (instances, others)
    }

    /// Returns the tokens of the attempts that are held.
    pub(crate) fn held_tokens(&self) -> Vec<String> {
        let held = self.held.lock().expect("no panic while it is held");
        held.values().map(|held| held.job.token.clone()).collect()
    }

    /// Returns whether an attempt of an instance is held.
    pub fn is_held(&self, instance: u32) -> bool {
        self.held.lock().expect("no panic while it is held").contains_key(&instance)
    }

    /// Looks whether the held attempt of an instance, all of whose needs are done, runs on what would be executed now; returns
    /// the input-hash and its number. One that does not is to be [given up](Self::give_up_held).
    pub fn adoptable(&self, instance: u32, force: bool) -> Result<Option<(InputHash, u32)>, LookUpError> {
        let held = self.held.lock().expect("no panic while it is held").get(&instance).cloned();
        let Some(held) = held else { return Ok(None) };
        let declared = self.instance(instance);
        let gathered = self.gather(instance)?;
        let base = match level_given(&self.pipeline, declared) {
            Level::Off => self.project.folder().to_owned(),
            _ => self.project.staging(&held.id).join("work"),
        };
        let is_same = gathered.input_hash == held.record.input_hash && held.job.cwd == base && !held.job.tied;
        if !is_same || !self.project.staging(&held.id).is_dir() {
            return Ok(None);
        }
        if declared.effect.is_some() && self.part_of_held(instance, &gathered)?.is_none() {
            return Ok(None);
        }
        self.note_replaced(instance, &gathered, force)?;
        Ok(Some((gathered.input_hash, held.id.number)))
    }

    /// Takes over the held attempt of an instance, which is [adoptable](Self::adoptable), as [`Self::attempt`] makes one.
    pub async fn adopt(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        exited: impl FnOnce(),
    ) -> Result<Done, AttemptError> {
        let held = self.held.lock().expect("no panic while it is held").remove(&instance);
        let held = held.expect("only what is held is adopted");
        if self.instance(instance).effect.is_none() {
            return self.take_over(hands, instance, held, exited).await;
        }
        let number = held.id.number;
        let done = self.attempt_effect(hands, instance, number, Some(held)).await;
        self.let_go(instance);
        done
    }

    /// Ends the held attempt of an instance, if there is one: it is not wanted.
    pub async fn give_up_held(&self, hands: &Hands, instance: u32) {
        let held = self.held.lock().expect("no panic while it is held").remove(&instance);
        let Some(held) = held else { return };
        self.give_up_attempt(hands, &held).await;
    }

    async fn give_up_attempt(&self, hands: &Hands, held: &HeldAttempt) {
        let notes = self.listening().map(|listening| &*listening.service);
        let given_up = recover::give_up(&self.project, &self.kept().store, &hands.keeper, notes, held).await;
        if let Err(error) = given_up {
            tracing::warn!(%error, "cannot clear up after an attempt; the next run does");
        }
    }

    /// Waits for the end of a command that another process had started, and commits what it made.
    pub(super) async fn take_over(
        self: &Arc<Self>,
        hands: &Hands,
        instance: u32,
        held: HeldAttempt,
        exited: impl FnOnce(),
    ) -> Result<Done, AttemptError> {
        let token = held.job.token.clone();
        let HeldAttempt { id: attempt, record, job } = held.clone();
        let mut batch = Batch::new();
        let record_now = Attempt { epoch: self.epoch(), process: hands.process.clone(), ..record.clone() };
        batch.attempt_started(&attempt, &record_now);
        hands.committer.write(batch);
        let prepared = {
            let (engine, attempt) = (Arc::clone(self), attempt.clone());
            blocking(move || engine.prepare_held(instance, &attempt, &record_now, job)).await
        };
        let (prepared, part) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.give_up_attempt(hands, &held).await;
                exited();
                return Err(error);
            }
        };
        if let Some(listening) = self.listening() {
            let epoch = held.job.env.iter().find(|(name, _)| name == cairn_notes::EPOCH_VARIABLE);
            let epoch = epoch.and_then(|(_, epoch)| epoch.parse().ok()).unwrap_or(record.epoch);
            let mark = Some(prepared.staging.told());
            listening.service.enter((&self.pipeline.name, &attempt), record.input_hash, epoch, mark);
        }
        let ended = {
            let mut waiting = pin!(hands.keeper.wait(&token));
            // It is claimed once it was polled; what was to stop it before that was not heard.
            let ended = tokio::select! {
                biased;
                ended = &mut waiting => Some(ended),
                () = std::future::ready(()) => None,
            };
            if let Some(ended) = ended {
                ended
            } else {
                hands.stop_again(&token);
                waiting.await
            }
        };
        let ended = ended.map(|ended| (ended, None)).map_err(AttemptError::from);
        self.conclude(hands, instance, &attempt, (prepared, part), (ended, true), exited).await
    }

    /// Finds what another process had prepared.
    fn prepare_held(
        &self,
        instance: u32,
        attempt: &AttemptId,
        record: &Attempt,
        job: Job,
    ) -> Result<(Prepared, Option<Part>), AttemptError> {
        let failed = |error: LookUpError| AttemptError::new(error.to_string(), error.help());
        let gathered = match self.take_gathered(instance) {
            Some(gathered) => gathered,
            None => self.gather(instance)?,
        };
        let part = self.part_of_held(instance, &gathered).map_err(failed)?;
        if let Some(part) = &part {
            self.claim(instance, &part.key)?;
        }
        let folder = self.project.state().join(&record.folder);
        let staging = Staging::found(folder, &gathered).map_err(crate::staging::StageError::from)?;
        let set_aside = record.in_project.iter().filter_map(|path| ProjectPath::parse(path).ok()).collect();
        let level = level_given(&self.pipeline, self.instance(instance));
        debug_assert_eq!(job.token, attempt.slug());
        let base = job.cwd.clone();
        let (outlives, adopted) = (true, true);
        Ok((Prepared { staging, base, gathered, level, set_aside, job, outlives, adopted }, part))
    }
}

impl Hands {
    /// Ends an attempt once more that was to end before anybody waited for it.
    pub(super) fn stop_again(&self, token: &str) {
        if self.killed.lock().expect("no panic while it is held").contains(token) {
            self.keeper.kill(token);
        } else if self.is_stopped(token) {
            self.keeper.terminate(token);
        }
    }
}
