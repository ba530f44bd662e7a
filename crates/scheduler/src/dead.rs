//! Instances that failed for good, as dead letters.

use std::collections::HashMap;

use cairn_model::{Digest, InputHash, InstanceEvent, InstanceName, Name, RunId, Timestamp};
use cairn_store::{DeadKind, DeadLetter};

/// What is known of the instances that are being tried.
#[derive(Debug, Default)]
pub(crate) struct Tries(HashMap<u32, Tried>);

#[derive(Debug, Default)]
struct Tried {
    input_hash: Option<InputHash>,
    failures: Vec<(Timestamp, String)>,
}

/// Tries that a dead letter tells of; of more the last.
const TRIES_MAX: usize = 20;

impl Tries {
    /// Notes what happened to an instance; one that failed for good is returned as a dead letter.
    pub(crate) fn note(
        &mut self,
        (instance, name): (u32, &InstanceName),
        event: &InstanceEvent,
        at: Timestamp,
        (pipeline, run): (&Name, RunId),
    ) -> Option<DeadLetter> {
        match event {
            InstanceEvent::AttemptStarted { input_hash, .. } => {
                self.0.entry(instance).or_default().input_hash = Some(*input_hash);
            }
            InstanceEvent::AttemptFailed { error, .. } => {
                self.0.entry(instance).or_default().failures.push((at, error.clone()));
            }
            InstanceEvent::Failed { attempts, error, .. } => {
                let Tried { input_hash, mut failures } = self.0.remove(&instance).unwrap_or_default();
                failures.push((at, error.clone()));
                failures.drain(..failures.len().saturating_sub(TRIES_MAX));
                return Some(DeadLetter {
                    kind: DeadKind::Instance,
                    pipeline: pipeline.clone(),
                    instance: name.clone(),
                    key: String::new(),
                    payload: Vec::new(),
                    digest: Digest::from_bytes([0; 32]),
                    source: None,
                    class: class(*attempts, error).to_owned(),
                    error: error.clone(),
                    attempts: failures,
                    input_hash,
                    run,
                    idempotency_key: input_hash.map_or_else(String::new, |hash| hash.to_string()),
                    died: at,
                    retry: None,
                    edited: None,
                    retries: 0,
                });
            }
            InstanceEvent::Committed { .. }
            | InstanceEvent::CheckpointFound { .. }
            | InstanceEvent::EffectStands { .. }
            // It did not fail for good: nobody knows.
            | InstanceEvent::InDoubt { .. }
            | InstanceEvent::Undone { .. }
            | InstanceEvent::Records { .. }
            | InstanceEvent::Trashed { .. }
            | InstanceEvent::NotPlaced { .. }
            | InstanceEvent::Blocked { .. } => {
                self.0.remove(&instance);
            }
        }
        None
    }
}

fn class(attempts: u32, error: &str) -> &'static str {
    if attempts == 0 {
        "inputs"
    } else if error.starts_with("exit status") {
        "exit-status"
    } else if error.starts_with("ended by signal") {
        "signal"
    } else if error.starts_with("timed out") {
        "timeout"
    } else {
        "attempt"
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::Reason;

    use super::*;

    #[test]
    fn a_dead_instance_tells_of_its_last_tries() {
        let mut tries = Tries::default();
        let (name, pipeline) = (InstanceName::new("s".parse().unwrap(), None), "p".parse().unwrap());
        let input_hash = InputHash::of_preimage(b"x");
        let run = RunId::from_bytes([1; 16]);
        let mut note =
            |at, event: &InstanceEvent| tries.note((0, &name), event, Timestamp(at), (&pipeline, run));
        for attempt in 1..=30 {
            let started = InstanceEvent::AttemptStarted { attempt, input_hash, reason: Reason::First };
            assert_eq!(note(0, &started), None);
            let (error, retry_at) = (format!("exit status {attempt}"), Timestamp(0));
            let failed = InstanceEvent::AttemptFailed { attempt, error, retry_at };
            assert_eq!(note(i64::from(attempt), &failed), None);
        }
        let failed =
            InstanceEvent::Failed { attempts: 31, error: "timed out after 1 s".to_owned(), help: None };
        let letter = note(31, &failed).unwrap();
        assert_eq!((letter.class.as_str(), letter.input_hash), ("timeout", Some(input_hash)));
        assert_eq!(letter.attempts.len(), TRIES_MAX);
        assert_eq!(letter.attempts[0], (Timestamp(12), "exit status 12".to_owned()));
        let failed = InstanceEvent::Failed { attempts: 0, error: "no input".to_owned(), help: None };
        let letter = note(32, &failed).unwrap();
        assert_eq!((letter.class.as_str(), letter.attempts.len(), letter.input_hash), ("inputs", 1, None));
    }
}
