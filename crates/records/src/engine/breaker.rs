//! When a sink is tried again, and when no more: kept in the scope, so that runs that end meanwhile change nothing of it.

use super::Pause;
use super::deliver::Deliverer;
use super::error::EngineError;
use crate::ledger::{Breaker, Changes, Trying, Wait};

/// From this on a pause is told of: a person wonders.
const TOLD_MS: u64 = if cfg!(test) { 50 } else { 5_000 };

/// Why a sink is to be tried again.
#[derive(Debug, Default)]
pub(super) struct Setback {
    /// What happened.
    pub error: String,
    /// The least pause, in milliseconds, where the sink named one.
    pub least_ms: Option<u64>,
    /// Whether it dealt with no record: then the sink is to blame.
    pub idle: bool,
    /// The most tries that one of the records has behind it.
    pub tries: u32,
}

impl Deliverer<'_> {
    fn breaker(&mut self, sink: usize) -> &mut Breaker {
        let breakers = &mut self.scope.breakers;
        if breakers.len() <= sink {
            breakers.resize(sink + 1, Breaker::default());
        }
        &mut breakers[sink]
    }

    /// Notes that a sink deals with records.
    pub(super) fn close_breaker(&mut self, sink: usize) {
        if let Some(breaker) = self.scope.breakers.get_mut(sink) {
            *breaker = Breaker::default();
        }
    }

    /// Waits until a sink may be tried, if a run before this one was told to wait.
    pub(super) fn wait_for(&mut self, sink: usize, of_batch: Wait) -> Result<(), EngineError> {
        let breaker = self.scope.breakers.get(sink).cloned().unwrap_or_default();
        let now = (self.hands.now)();
        let wait =
            [breaker.wait, of_batch].into_iter().max_by_key(|wait| wait.left_ms(now)).unwrap_or_default();
        self.wait(sink, wait, breaker.asked, breaker.error)
    }

    fn wait(&mut self, sink: usize, wait: Wait, asked: bool, error: String) -> Result<(), EngineError> {
        let left = wait.left_ms((self.hands.now)());
        if left < TOLD_MS {
            return self.hands.pause(left);
        }
        let (sink, as_asked) = (self.sinks[sink].name(), if asked { ", as it asked for" } else { "" });
        tracing::warn!(seconds = left / 1000, "{sink} is tried again after a pause{as_asked}");
        (self.hands.pauses)(Some(&Pause { sink, until_ms: wait.until_ms, asked, error }));
        let waited = self.hands.pause(left);
        (self.hands.pauses)(None);
        waited
    }

    /// Keeps how far a sink came, and waits until it may be tried again; an error when it was tried as often as a run may.
    pub(super) fn set_back(
        &mut self,
        sink: usize,
        setback: Setback,
        trying: Option<Trying>,
    ) -> Result<(), EngineError> {
        let Setback { error, least_ms, idle, tries } = setback;
        let attempts = self.records.retries.attempts.max(1);
        if idle {
            let breaker = self.breaker(sink);
            breaker.failures = breaker.failures.saturating_add(1);
            // With fewer tries allowed than before, one is left.
            breaker.spent = breaker.spent.min(attempts - 1) + 1;
        } else {
            self.close_breaker(sink);
        }
        let in_a_row = if idle { self.breaker(sink).failures } else { 0 };
        let drawn = self.hands.delay_ms(&self.records.retries, tries.max(in_a_row).max(1));
        let pause_ms = drawn.max(least_ms.unwrap_or(0));
        let wait = Wait { until_ms: (self.hands.now)().saturating_add_unsigned(pause_ms), pause_ms };
        let asked = least_ms >= Some(pause_ms);
        let mut gives_up = false;
        if idle {
            let breaker = self.breaker(sink);
            gives_up = breaker.spent >= attempts;
            // The next run has one try.
            breaker.spent = breaker.spent.min(attempts - 1);
            (breaker.wait, breaker.asked) = (wait, asked);
            breaker.error.clone_from(&error);
        }
        self.scope.trying = trying.map(|trying| Trying { wait, ..trying });
        self.ledger.apply(Changes { scope: Some(self.scope.clone()), ..Changes::default() })?;
        if gives_up {
            let sink = self.sinks[sink].name();
            return Err(EngineError::GivenUp { sink, error, tries: in_a_row, pause_ms });
        }
        if idle {
            tracing::warn!(sink = %self.sinks[sink].name(), %error, tries = in_a_row, "the sink is not available; trying again");
        }
        self.wait(sink, wait, asked, error)
    }
}
