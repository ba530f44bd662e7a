//! When a failed attempt is made again: the policy of a stage, and what is known of the attempts made so far.

use cairn_model::{InstanceEvent, Reason, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often an instance is tried, and how long cairn waits in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all, the first included; 0 counts as 1.
    pub attempts: u32,
    /// The first pause in milliseconds.
    pub delay_ms: u64,
    /// How the pause grows.
    pub backoff: Backoff,
    /// The longest pause in milliseconds.
    pub max_delay_ms: u64,
    /// Whether a pause is drawn evenly between nothing and all of it ("full jitter", Brooker 2015: it spreads a herd).
    pub jitter: bool,
}

/// How the pause grows from failure to failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backoff {
    /// It stays the same.
    Constant,
    /// It doubles.
    Exponential,
}

impl Policy {
    /// One attempt, no retry.
    pub const ONCE: Self =
        Self { attempts: 1, delay_ms: 0, backoff: Backoff::Constant, max_delay_ms: u64::MAX, jitter: false };

    /// Returns whether another attempt may be made after `failures` of them failed.
    pub const fn allows_more_after(&self, failures: u32) -> bool {
        failures < self.attempts
    }

    /// Returns the longest pause after the `failures`-th failure, which counts from 1, in milliseconds.
    ///
    /// ```
    /// # use cairn_scheduler::retry::{Backoff, Policy};
    /// let policy = Policy { attempts: 9, delay_ms: 2_000, backoff: Backoff::Exponential, max_delay_ms: 60_000, jitter: false };
    /// assert_eq!([1, 2, 3, 6, 99].map(|failures| policy.pause_max_ms(failures)), [2_000, 4_000, 8_000, 60_000, 60_000]);
    /// ```
    pub fn pause_max_ms(&self, failures: u32) -> u64 {
        let factor = match self.backoff {
            Backoff::Constant => 1,
            Backoff::Exponential => 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX),
        };
        self.delay_ms.saturating_mul(factor).min(self.max_delay_ms)
    }

    /// Returns the pause after the `failures`-th failure in milliseconds: with jitter drawn from `dice`.
    pub fn pause_ms(&self, failures: u32, dice: Dice) -> u64 {
        let longest = self.pause_max_ms(failures);
        if self.jitter { StdRng::from_seed(dice.seed()).random_range(0..=longest) } else { longest }
    }
}

/// What the pause after an attempt is drawn from: the same for the same run, instance and attempt, in whatever order
/// things end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dice {
    /// The run's seed.
    pub seed: u64,
    /// The instance's place in the definition.
    pub instance: u32,
    /// The attempt that failed.
    pub attempt: u32,
}

impl Dice {
    fn seed(self) -> [u8; 32] {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&self.instance.to_le_bytes());
        seed[12..16].copy_from_slice(&self.attempt.to_le_bytes());
        seed
    }
}

/// What is known of an instance's attempts in a run: a fold over its events, by the machine while it runs and by who
/// resumes the run.
///
/// What counts against [`Policy::attempts`] is `failures`, not `attempts`: an attempt that was interrupted, or cut off
/// because cairn itself died, says nothing about the command and takes no try away, or an instance of one attempt could
/// never be resumed. An instance that failed for good starts from 0 failures in the next process: whoever resumes an
/// ended run asks to try again, as often as the policy says; where nobody asked, a failure stands
/// ([`crate::step::Machine::keep_failed`]). One that was only blocked keeps its failures and its pause.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The number of the last attempt, 0 when there was none. Numbers go on through all processes of a run.
    pub attempts: u32,
    /// Failures that count against the policy.
    pub failures: u32,
    /// How the last attempt stands.
    pub last: Last,
}

/// How the last attempt stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Last {
    /// There was none.
    #[default]
    None,
    /// It started, and no end is known: it runs, was interrupted, or was cut off.
    Open,
    /// It failed.
    Failed {
        /// What went wrong.
        error: String,
        /// When the next may start, if there was to be one.
        retry_at: Option<Timestamp>,
    },
    /// There is a checkpoint: it was committed, or one was found in its stead.
    Done,
}

impl History {
    /// Takes in one event of the instance.
    pub fn record(&mut self, event: &InstanceEvent) {
        match event {
            InstanceEvent::AttemptStarted { attempt, .. } => {
                self.attempts = *attempt;
                self.last = Last::Open;
            }
            InstanceEvent::AttemptFailed { error, retry_at, .. } => {
                self.failures += 1;
                self.last = Last::Failed { error: error.clone(), retry_at: Some(*retry_at) };
            }
            InstanceEvent::Failed { error, .. }
            | InstanceEvent::NotPlaced { error, .. }
            | InstanceEvent::InDoubt { error, .. } => {
                self.failures = 0;
                if self.attempts > 0 {
                    self.last = Last::Failed { error: error.clone(), retry_at: None };
                }
            }
            // What was undone has no result any more: a run that goes on does it again.
            InstanceEvent::Undone { error: None, .. } => self.last = Last::None,
            InstanceEvent::CheckpointFound { .. }
            | InstanceEvent::EffectStands { .. }
            | InstanceEvent::Committed { .. } => {
                self.failures = 0;
                self.last = Last::Done;
            }
            InstanceEvent::Records { .. }
            | InstanceEvent::Trashed { .. }
            | InstanceEvent::Blocked { .. }
            | InstanceEvent::Undone { error: Some(_), .. } => {}
        }
    }

    /// Returns when the next attempt may start, if it has to wait.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match &self.last {
            Last::Failed { retry_at, .. } => *retry_at,
            Last::None | Last::Open | Last::Done => None,
        }
    }

    /// Returns whether the run has this instance's result.
    pub fn is_done(&self) -> bool {
        self.last == Last::Done
    }

    /// Returns why the next attempt is made, if that is because of the one before.
    pub fn again(&self) -> Option<Reason> {
        let number = self.attempts;
        match &self.last {
            Last::None | Last::Done => None,
            Last::Open => Some(Reason::Again(format!("attempt {number} was cut off"))),
            Last::Failed { error, .. } => Some(Reason::Again(format!("attempt {number} failed: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{Blocker, Digest, InputHash};

    use super::*;

    const JITTERED: Policy = Policy {
        attempts: 9,
        delay_ms: 100,
        backoff: Backoff::Exponential,
        max_delay_ms: 1_000,
        jitter: true,
    };

    #[test]
    fn pauses_without_jitter_are_exact() {
        let dice = Dice { seed: 1, instance: 0, attempt: 1 };
        let check = |backoff, delay_ms, max_delay_ms, expect: [u64; 5]| {
            let policy = Policy { attempts: 9, delay_ms, backoff, max_delay_ms, jitter: false };
            assert_eq!(
                [1, 2, 3, 5, 70].map(|failures| policy.pause_ms(failures, dice)),
                expect,
                "{policy:?}"
            );
        };
        check(Backoff::Constant, 100, u64::MAX, [100; 5]);
        check(Backoff::Constant, 100, 30, [30; 5]);
        check(Backoff::Exponential, 100, u64::MAX, [100, 200, 400, 1_600, u64::MAX]);
        check(Backoff::Exponential, 100, 300, [100, 200, 300, 300, 300]);
        check(Backoff::Exponential, 0, 300, [0; 5]);
        check(Backoff::Exponential, u64::MAX, u64::MAX, [u64::MAX; 5]);
    }

    /// Each tenth of the range gets its share, the ends included: full jitter, not equal jitter.
    #[test]
    fn jitter_is_even_from_nothing_to_all_of_the_pause() {
        let mut tenths = [0u32; 10];
        for instance in 0..10_000 {
            let pause = JITTERED.pause_ms(3, Dice { seed: 7, instance, attempt: 3 });
            assert!(pause <= 400);
            tenths[usize::try_from(pause * 10 / 401).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|&share| (850..1_150).contains(&share)), "{tenths:?}");
    }

    #[test]
    fn jitter_depends_on_seed_instance_and_attempt_only() {
        let draw = |seed, instance, attempt| JITTERED.pause_ms(4, Dice { seed, instance, attempt });
        assert_eq!(draw(1, 2, 3), draw(1, 2, 3));
        let draws = [draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)];
        assert!(draws.iter().any(|draw| *draw != draws[0]), "{draws:?}");
    }

    fn events() -> [InstanceEvent; 5] {
        let input_hash = InputHash::from_digest(Digest::from_bytes([1; 32]));
        [
            InstanceEvent::AttemptStarted { attempt: 4, input_hash, reason: Reason::First },
            InstanceEvent::AttemptFailed { attempt: 4, error: "exit 1".into(), retry_at: Timestamp(9) },
            InstanceEvent::Blocked { by: Blocker::Interrupted },
            InstanceEvent::Failed { attempts: 4, error: "exit 2".into(), help: None },
            InstanceEvent::Committed { attempt: 4, input_hash, took_ms: 1 },
        ]
    }

    #[test]
    fn history_counts_failures_not_attempts() {
        let [started, attempt_failed, blocked, failed, committed] = events();
        let check = |events: &[&InstanceEvent], failures, retry_at, again: Option<&str>| {
            let mut history = History::default();
            for event in events {
                history.record(event);
            }
            let seen = (history.failures, history.retry_at(), history.again());
            assert_eq!(seen, (failures, retry_at, again.map(|why| Reason::Again(why.into()))), "{events:?}");
        };
        check(&[], 0, None, None);
        check(&[&started], 0, None, Some("attempt 4 was cut off"));
        check(&[&started, &blocked], 0, None, Some("attempt 4 was cut off"));
        check(&[&started, &attempt_failed], 1, Some(Timestamp(9)), Some("attempt 4 failed: exit 1"));
        check(
            &[&started, &attempt_failed, &blocked],
            1,
            Some(Timestamp(9)),
            Some("attempt 4 failed: exit 1"),
        );
        check(&[&started, &attempt_failed, &started], 1, None, Some("attempt 4 was cut off"));
        check(&[&started, &attempt_failed, &started, &failed], 0, None, Some("attempt 4 failed: exit 2"));
        check(&[&started, &attempt_failed, &started, &committed], 0, None, None);
        check(&[&failed], 0, None, None);
    }
}
