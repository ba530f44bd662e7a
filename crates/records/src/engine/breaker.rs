//! When a sink is tried again, and when no more: kept in the scope, so that runs that end meanwhile change nothing of it.

use super::Pause;
use super::deliver::Deliverer;
use super::error::EngineError;
use crate::ledger::{Breaker, Changes, Trying, Wait};
use crate::sink::SinkError;

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

impl Setback {
    /// By a sink that nobody could reach.
    pub(super) fn away(error: String, least_ms: Option<u64>) -> Self {
        Self { error, least_ms, idle: true, tries: 0 }
    }
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
    pub(super) fn wait_for(&mut self, sink: usize) -> Result<(), EngineError> {
        match self.scope.breakers.get(sink) {
            Some(breaker) => self.wait(sink, &breaker.clone()),
            None => Ok(()),
        }
    }

    fn wait(&self, sink: usize, breaker: &Breaker) -> Result<(), EngineError> {
        let Breaker { wait, asked, ref error, .. } = *breaker;
        let left = wait.left_ms((self.hands.now)());
        if left < TOLD_MS {
            return self.hands.pause(left);
        }
        let (sink, as_asked) = (self.sinks[sink].name(), if asked { ", as it asked for" } else { "" });
        tracing::warn!(seconds = left / 1000, "{sink} is tried again after a pause{as_asked}");
        (self.hands.pauses)(Some(&Pause { sink, until_ms: wait.until_ms, asked, error: error.clone() }));
        let waited = self.hands.pause(left);
        (self.hands.pauses)(None);
        waited
    }

    /// As [`Self::set_back`] for a sink that gave no answer to the whole batch; other errors are handed back.
    pub(super) fn set_back_by(&mut self, sink: usize, error: SinkError) -> Result<(), EngineError> {
        let SinkError::Unavailable { error, retry_after_ms, .. } = error else { return Err(error.into()) };
        self.set_back(sink, Setback::away(error, retry_after_ms), None)
    }

    /// Keeps how far a sink came, and waits until it may be tried again; an error when it was tried as often as a run may.
    pub(super) fn set_back(
        &mut self,
        sink: usize,
        setback: Setback,
        trying: Option<Trying>,
    ) -> Result<(), EngineError> {
        let idle = setback.idle;
        let is_last = self.note_setback(sink, setback);
        self.scope.trying = trying;
        self.ledger.apply(Changes { scope: Some(self.scope.clone()), ..Changes::default() })?;
        let (name, breaker) = (self.sinks[sink].name(), self.breaker(sink).clone());
        let Breaker { failures: tries, wait: Wait { pause_ms, .. }, ref error, .. } = breaker;
        if is_last {
            return Err(EngineError::GivenUp { sink: name, error: error.clone(), tries, pause_ms });
        }
        if idle {
            tracing::warn!(sink = %name, %error, tries, "the sink is not available; trying again");
        }
        self.wait(sink, &breaker)
    }

    /// Notes when a sink may be tried again; returns whether that was the last of the tries that a run has.
    pub(super) fn note_setback(&mut self, sink: usize, setback: Setback) -> bool {
        let Setback { error, least_ms, idle, tries } = setback;
        let attempts = self.records.retries.attempts.max(1);
        let before = self.breaker(sink).clone();
        // With fewer tries allowed than before, one is left.
        let (failures, spent) = if idle {
            (before.failures.saturating_add(1), before.spent.min(attempts - 1) + 1)
        } else {
            (0, 0)
        };
        let drawn = self.hands.delay_ms(&self.records.retries, tries.max(failures).max(1));
        let pause_ms = drawn.max(least_ms.unwrap_or(0));
        *self.breaker(sink) = Breaker {
            failures,
            // When this run gives up, the next one has one try.
            spent: spent.min(attempts - 1),
            wait: Wait { until_ms: (self.hands.now)().saturating_add_unsigned(pause_ms), pause_ms },
            asked: least_ms >= Some(pause_ms),
            error,
        };
        idle && spent >= attempts
    }
}
