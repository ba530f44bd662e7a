//! How far a sink came with a batch: which records it has, which it is to be given again, which it has refused.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::breaker::Setback;
use crate::ledger::{Tried, Trying};
use crate::sink::{BatchId, Delivery, RecordFault};

/// A delivery that a sink refused for good.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Its index in the batch.
    pub index: usize,
    /// What happened the last time.
    pub error: String,
    /// Each try: when, in milliseconds since 1970, and how it ended.
    pub attempts: Vec<(i64, String)>,
}

impl Refusal {
    /// Of a delivery that does not fit at its first try.
    pub(super) fn of(fault: RecordFault, now: i64) -> Self {
        let attempts = vec![(now, fault.error.clone())];
        Self { index: fault.index, error: fault.error, attempts }
    }
}

/// How far a sink came with a batch.
#[derive(Debug)]
pub(super) struct Course {
    /// Deliveries that it is to be given, by index, ascending.
    again: Vec<usize>,
    /// How many there are in all.
    of: usize,
    /// The tries of those that failed.
    tried: BTreeMap<usize, Vec<(i64, String)>>,
    refused: Vec<Refusal>,
}

impl Course {
    /// Begins a batch of so many deliveries, or goes on where it was left.
    pub(super) fn new(of: usize, left: Option<Trying>) -> Self {
        let Some(Trying { again, tried, refused, .. }) = left else {
            return Self { again: (0..of).collect(), of, tried: BTreeMap::new(), refused: Vec::new() };
        };
        let again = again.into_iter().flat_map(|(first, count)| {
            let first = first as usize;
            first..first + count as usize
        });
        let refusal = |Tried { index, attempts }| {
            let error = attempts.last().map(|(_, error)| error.clone()).unwrap_or_default();
            Refusal { index: index as usize, error, attempts }
        };
        Self {
            again: again.filter(|index| *index < of).collect(),
            of,
            tried: tried.into_iter().map(|tried| (tried.index as usize, tried.attempts)).collect(),
            refused: refused.into_iter().map(refusal).collect(),
        }
    }

    /// Returns whether the sink has dealt with all.
    pub(super) fn is_over(&self) -> bool {
        self.again.is_empty()
    }

    pub(super) fn into_refused(self) -> Vec<Refusal> {
        self.refused
    }

    /// Returns what the sink is to be given.
    pub(super) fn batch<'d>(&self, deliveries: &'d [Delivery]) -> Cow<'d, [Delivery]> {
        if self.again.len() == self.of {
            return Cow::Borrowed(deliveries);
        }
        self.again.iter().map(|index| deliveries[*index].clone()).collect::<Vec<_>>().into()
    }

    /// Takes in which of what it was given the sink did not take; each record has so many `attempts`.
    pub(super) fn take(&mut self, faults: Vec<RecordFault>, now: i64, attempts: u32) -> Setback {
        let (mut again, mut least_ms, mut tries) = (Vec::new(), None, 0);
        let (mut error, mut unserved) = (String::new(), None);
        let mut dealt_with = self.again.len();
        for fault in faults {
            let index = self.again[fault.index];
            if fault.of_sink {
                dealt_with -= 1;
                unserved.get_or_insert(fault.error);
            } else {
                let before = self.tried.entry(index).or_default();
                before.push((now, fault.error.clone()));
                let count = u32::try_from(before.len()).unwrap_or(u32::MAX);
                if !fault.retry || count >= attempts {
                    let attempts = self.tried.remove(&index).unwrap_or_default();
                    self.refused.push(Refusal { index, error: fault.error, attempts });
                    continue;
                }
                tries = tries.max(count);
                error = fault.error;
            }
            least_ms = least_ms.max(fault.retry_after_ms);
            again.push(index);
        }
        again.sort_unstable();
        self.again = again;
        let idle = unserved.is_some() && dealt_with == 0;
        Setback { error: unserved.unwrap_or(error), least_ms, idle, tries }
    }

    /// Returns what is to be kept of it.
    pub(super) fn keep(&self, sink: usize, id: &BatchId) -> Trying {
        let number = |number: usize| u32::try_from(number).expect("memory holds fewer than 2³² deliveries");
        let mut again: Vec<(u32, u32)> = Vec::new();
        for index in self.again.iter().map(|index| number(*index)) {
            match again.last_mut() {
                Some((first, count)) if *first + *count == index => *count += 1,
                _ => again.push((index, 1)),
            }
        }
        let tried =
            |index: usize, attempts: &[_]| Tried { index: number(index), attempts: attempts.to_vec() };
        Trying {
            sink: number(sink),
            sequence: id.sequence,
            batch: id.digest,
            again,
            tried: self.tried.iter().map(|(index, attempts)| tried(*index, attempts)).collect(),
            refused: self.refused.iter().map(|refusal| tried(refusal.index, &refusal.attempts)).collect(),
        }
    }
}
