//! A run as its events tell it: the fold that the terminal, `--json`, `show`, `logs`, `status` and `graph` share.

use std::collections::HashMap;

use cairn_model::{
    Blocker, Counts, Event, InputHash, InstanceEvent, InstanceName, Outcome, Reason, RecordCounts, RunEvent,
    RunStatus, State, Timestamp,
};
use tracing::warn;

/// A run, as far as its events have been folded.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// When its last part started, `None` before the first event: a resumed run has several.
    part_started: Option<Timestamp>,
    /// The last that was heard of it.
    last_event: Option<Timestamp>,
    /// When its last part ended, `None` while it goes on.
    pub ended: Option<Timestamp>,
    /// What its parts before the last took together.
    earlier_ms: u64,
    /// How it ended.
    pub status: Option<RunStatus>,
    /// Instances that it said take part.
    pub instances_total: u32,
    /// What happened to each instance that was heard of, in the order in which they were.
    pub instances: Vec<InstanceHistory>,
    index: HashMap<InstanceName, usize>,
}

/// What happened to one instance in a run.
#[derive(Debug, Clone)]
pub struct InstanceHistory {
    /// Which.
    pub name: InstanceName,
    /// Where it stands.
    pub state: State,
    /// Attempts made, over all parts of the run.
    pub attempts: u32,
    /// Number of its last attempt, by which its log is found.
    pub last_attempt: Option<u32>,
    /// When its last attempt started.
    pub started: Option<Timestamp>,
    /// When it got into `state`.
    pub since: Timestamp,
    /// What its last attempt took, where it made one: the command's own time once that is known.
    pub took_ms: Option<u64>,
    /// The input-hash it was last looked up or executed under.
    pub input_hash: Option<InputHash>,
    /// Why it was executed.
    pub why_executed: Option<String>,
    /// Why it is where it is, in one line.
    pub reason: String,
    /// What to do about a failure.
    pub help: Option<String>,
    /// Paths in the trash of what stood in the outputs' places.
    pub trashed: Vec<String>,
    /// What became of its records.
    pub records: Option<RecordCounts>,
    /// Time that was saved because it was not executed.
    pub saved_ms: u64,
}

impl History {
    /// Folds all of a run's events.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut history = Self::default();
        for event in events {
            history.add(event);
        }
        history
    }

    /// Folds one more event, and returns the instance it changed.
    pub fn add(&mut self, event: &Event) -> Option<&InstanceHistory> {
        let changed = self.fold(event);
        self.last_event = Some(event.at);
        changed.map(|at| &self.instances[at])
    }

    fn fold(&mut self, event: &Event) -> Option<usize> {
        match &event.what {
            RunEvent::Started { instances, resumed } => {
                self.earlier_ms += self.part_ms(self.last_event).unwrap_or(0);
                self.part_started = Some(event.at);
                self.instances_total = *instances;
                self.status = Some(RunStatus::Running);
                self.ended = None;
                if *resumed {
                    // What is done stays done; all else has a new chance.
                    for instance in &mut self.instances {
                        if !instance.state.outcome().is_some_and(Outcome::is_done) {
                            instance.state = State::Waiting;
                        }
                    }
                }
                None
            }
            RunEvent::Ended { status } => {
                self.ended = Some(event.at);
                self.status = Some(*status);
                None
            }
            RunEvent::Instance { instance, event: what } => {
                let at = *self.index.entry(instance.clone()).or_insert_with(|| {
                    self.instances.push(InstanceHistory::new(instance.clone(), event.at));
                    self.instances.len() - 1
                });
                self.instances[at].add(event.at, what).then_some(at)
            }
        }
    }

    /// Returns what happened to an instance, `None` when it was not heard of.
    pub fn instance(&self, name: &InstanceName) -> Option<&InstanceHistory> {
        self.index.get(name).map(|at| &self.instances[*at])
    }

    /// Returns the instances by outcome.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in self.instances.iter().filter_map(|instance| instance.state.outcome()) {
            counts.add(outcome);
        }
        counts
    }

    /// Returns the time that was saved because work was not repeated.
    pub fn saved_ms(&self) -> u64 {
        self.instances.iter().map(|instance| instance.saved_ms).sum()
    }

    /// Returns those that ended as `outcome`.
    pub fn ended_as(&self, outcome: Outcome) -> impl Iterator<Item = &InstanceHistory> {
        self.instances.iter().filter(move |instance| instance.state.outcome() == Some(outcome))
    }

    /// Returns what the last part took, `None` while it goes on.
    pub fn took_ms(&self) -> Option<u64> {
        self.part_ms(Some(self.ended?))
    }

    /// Returns what all parts took, without the time between them; of one that was cut off or goes on, up to the
    /// last that was heard of it.
    pub fn took_in_all_ms(&self) -> u64 {
        self.earlier_ms + self.part_ms(self.last_event).unwrap_or(0)
    }

    fn part_ms(&self, until: Option<Timestamp>) -> Option<u64> {
        Some(until?.millis_since(self.part_started?))
    }
}

impl InstanceHistory {
    fn new(name: InstanceName, at: Timestamp) -> Self {
        Self {
            name,
            state: State::Waiting,
            attempts: 0,
            last_attempt: None,
            started: None,
            since: at,
            took_ms: None,
            input_hash: None,
            why_executed: None,
            reason: String::new(),
            help: None,
            trashed: Vec::new(),
            records: None,
            saved_ms: 0,
        }
    }

    /// Returns whether the event was one that can happen.
    fn add(&mut self, at: Timestamp, event: &InstanceEvent) -> bool {
        if let (
            State::Ran { .. },
            InstanceEvent::CheckpointFound { trashed, .. } | InstanceEvent::EffectStands { trashed, .. },
        ) = (&self.state, event)
        {
            // A resumed run finds what an earlier part of it made: in this run, it ran.
            self.trashed.extend_from_slice(trashed);
            return true;
        }
        match self.state.clone().after(event) {
            Ok(state) => self.state = state,
            Err(illegal) => {
                warn!(instance = %self.name, %illegal, "an event was passed over");
                return false;
            }
        }
        self.since = at;
        match event {
            InstanceEvent::CheckpointFound { input_hash, restored, trashed, saved_ms } => {
                self.input_hash = Some(*input_hash);
                self.trashed.clone_from(trashed);
                self.saved_ms = *saved_ms;
                self.reason = restored_reason(restored);
            }
            InstanceEvent::EffectStands { input_hash, key, restored, trashed, saved_ms } => {
                self.input_hash = Some(*input_hash);
                self.trashed.clone_from(trashed);
                self.saved_ms = *saved_ms;
                self.reason = match restored.as_slice() {
                    [] => format!("its effect `{key}` is done"),
                    restored => format!("its effect `{key}` is done; {}", restored_reason(restored)),
                };
            }
            InstanceEvent::AttemptStarted { attempt, input_hash, reason } => {
                // The start of one that was adopted is told once more.
                if self.last_attempt.replace(*attempt) != Some(*attempt) {
                    self.attempts += 1;
                    self.started = Some(at);
                }
                self.took_ms = None;
                self.input_hash = Some(*input_hash);
                self.reason = reason.text();
                // That it was tried before is not why it is executed.
                if !matches!(reason, Reason::Again(_)) || self.why_executed.is_none() {
                    self.why_executed = Some(reason.text());
                }
            }
            InstanceEvent::AttemptFailed { attempt: _, error, retry_at: _ } => {
                self.took_ms = self.started.map(|started| at.millis_since(started));
                self.reason.clone_from(error);
            }
            InstanceEvent::Committed { attempt: _, input_hash, took_ms } => {
                self.input_hash = Some(*input_hash);
                self.took_ms = Some(*took_ms);
                let why = self.why_executed.clone().unwrap_or_default();
                self.reason =
                    if self.attempts > 1 { format!("{why}; attempt {}", self.attempts) } else { why };
                if let Some(records) = &self.records {
                    self.reason = format!("{}; {}", self.reason, records.text());
                }
            }
            InstanceEvent::Failed { attempts, error, help }
            | InstanceEvent::InDoubt { attempts, error, help } => {
                self.attempts = self.attempts.max(*attempts);
                if *attempts > 0 {
                    self.took_ms = self.started.map(|started| at.millis_since(started));
                }
                self.reason.clone_from(error);
                self.help.clone_from(help);
            }
            InstanceEvent::Records { attempt: _, counts } => {
                self.records = Some(*counts);
                if matches!(self.state, State::Ran { .. }) {
                    self.reason = format!("{}; {}", self.reason, counts.text());
                }
            }
            InstanceEvent::Trashed { attempt: _, paths } => self.trashed.extend_from_slice(paths),
            InstanceEvent::NotPlaced { attempt: _, error, help } => {
                // After its commit, what the command took is known.
                self.took_ms = self.took_ms.or(self.started.map(|started| at.millis_since(started)));
                self.reason.clone_from(error);
                self.help.clone_from(help);
            }
            InstanceEvent::Blocked { by } => self.reason = blocked_reason(by),
            InstanceEvent::Undone { key, error } => {
                let undone = match error {
                    None => format!("; its effect `{key}` was undone"),
                    Some(error) => format!("; its effect `{key}` was not undone: {error}"),
                };
                self.reason.push_str(&undone);
            }
        }
        true
    }
}

fn restored_reason(restored: &[String]) -> String {
    match restored {
        [] => "inputs and outputs unchanged".to_owned(),
        [one] => format!("put back `{one}`"),
        [first, second] => format!("put back `{first}` and `{second}`"),
        [first, rest @ ..] => format!("put back `{first}` and {} more", rest.len()),
    }
}

/// Says why an instance did not get its turn.
pub fn blocked_reason(by: &Blocker) -> String {
    match by {
        Blocker::Failed(name) => format!("`{name}` failed"),
        Blocker::Stopping(name) => format!("the run stopped because `{name}` failed"),
        Blocker::InDoubt(name) => format!("the effect of `{name}` is in doubt"),
        Blocker::Interrupted => "the run was interrupted".to_owned(),
        Blocker::Frozen(reason) => format!("would run: {}", reason.text()),
        Blocker::BehindFrozen(name) => format!("`{name}` would have to run first"),
    }
}

/// Writes the counts that are not 0, in the order of a summary: `3 RAN`, `9 FRESH`.
pub fn count_words(counts: &Counts) -> Vec<(Option<Outcome>, String)> {
    let mut words: Vec<(Option<Outcome>, String)> = Outcome::ALL
        .into_iter()
        .filter(|outcome| counts.of(*outcome) > 0)
        .map(|outcome| (Some(outcome), format!("{} {outcome}", counts.of(outcome))))
        .collect();
    if words.is_empty() {
        words.push((None, "0 instances".to_owned()));
    }
    words
}

#[cfg(test)]
mod tests;
