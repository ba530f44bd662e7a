//! How far a sink came with a batch: which records it has, which it is to be given again, which it has refused.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Range;

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
    /// Deliveries that it is to be given, by index: those that it has not seen yet, then those that failed.
    again: Vec<usize>,
    /// Those of them that are to be given to it together, as they were before.
    together: VecDeque<Vec<usize>>,
    /// How many there are in all.
    of: usize,
    /// The tries of those that failed.
    tried: BTreeMap<usize, Vec<(i64, String)>>,
    refused: Vec<Refusal>,
    /// What is in the way of those that failed since the last pause.
    setback: Option<Setback>,
}

/// Some deliveries of a batch.
pub(super) struct Part<'d> {
    pub(super) deliveries: Cow<'d, [Delivery]>,
    /// Their indices in the batch.
    indices: Vec<usize>,
    /// Whether they are given together as before, and not as the first of those that are left.
    together: bool,
}

impl Part<'_> {
    pub(super) fn is_all(&self) -> bool {
        matches!(self.deliveries, Cow::Borrowed(_))
    }
}

impl Course {
    /// Begins a batch of so many deliveries, or goes on where it was left.
    pub(super) fn new(of: usize, left: Option<Trying>) -> Self {
        let Some(Trying { again, tried, refused, together, .. }) = left else {
            let (again, together) = ((0..of).collect(), VecDeque::new());
            return Self { again, together, of, tried: BTreeMap::new(), refused: Vec::new(), setback: None };
        };
        let indices = |rows: Vec<(u32, u32)>| -> Vec<usize> {
            let row = |(first, count): (u32, u32)| first as usize..first as usize + count as usize;
            rows.into_iter().flat_map(row).filter(|index| *index < of).collect()
        };
        let refusal = |Tried { index, attempts }| {
            let error = attempts.last().map(|(_, error)| error.clone()).unwrap_or_default();
            Refusal { index: index as usize, error, attempts }
        };
        Self {
            again: indices(again),
            together: together.into_iter().map(indices).collect(),
            of,
            tried: tried.into_iter().map(|tried| (tried.index as usize, tried.attempts)).collect(),
            refused: refused.into_iter().map(refusal).collect(),
            setback: None,
        }
    }

    /// Returns whether the sink has dealt with all.
    pub(super) fn is_over(&self) -> bool {
        self.again.is_empty()
    }

    /// Returns what is in the way of those that failed, where nobody has paused for them yet.
    pub(super) fn take_setback(&mut self) -> Option<Setback> {
        self.setback.take()
    }

    /// Takes in that the sink took nothing, because of these, which it is not given again.
    pub(super) fn refuse(&mut self, faults: Vec<RecordFault>, now: i64) {
        self.refused.extend(faults.into_iter().map(|fault| Refusal::of(fault, now)));
    }

    pub(super) fn into_refused(self) -> Vec<Refusal> {
        self.refused
    }

    /// Returns what the sink is to be given next, `most` at once.
    pub(super) fn next<'d>(&self, deliveries: &'d [Delivery], most: usize) -> Part<'d> {
        if self.again.len() == self.of && self.of <= most && self.together.is_empty() {
            let indices = self.again.clone();
            return Part { deliveries: Cow::Borrowed(deliveries), indices, together: false };
        }
        let (indices, together) = if let Some(together) = self.together.front() {
            (together.clone(), true)
        } else {
            // Those that failed wait for their pause, and go with each other alone.
            let is_tried = |index: &usize| self.tried.contains_key(index);
            let first = self.again.first().is_some_and(is_tried);
            let alike = self.again.iter().take(most).take_while(|index| is_tried(index) == first);
            (alike.copied().collect(), false)
        };
        let deliveries = indices.iter().map(|index| deliveries[*index].clone()).collect::<Vec<_>>().into();
        Part { deliveries, indices, together }
    }

    /// Takes in what the sink said of a part: which it did not take, and which are to be given to it together again; each
    /// record has so many `attempts`. Returns what is in the way of the next part; `None` where nothing is: the sink was there,
    /// and has not seen all yet.
    pub(super) fn take(
        &mut self,
        part: &Part<'_>,
        faults: Vec<RecordFault>,
        open: Vec<Range<usize>>,
        now: i64,
        attempts: u32,
    ) -> Option<Setback> {
        let mut setback = self.setback.take().unwrap_or_default();
        let (mut failed, mut unserved) = (Vec::new(), None);
        let mut dealt_with = part.indices.len();
        for fault in faults {
            let index = part.indices[fault.index];
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
                setback.tries = setback.tries.max(count);
                setback.error = fault.error;
            }
            setback.least_ms = setback.least_ms.max(fault.retry_after_ms);
            failed.push(index);
        }
        failed.sort_unstable();
        if part.together {
            self.together.pop_front();
            let given: HashSet<usize> = part.indices.iter().copied().collect();
            self.again.retain(|index| !given.contains(index));
        } else {
            self.again.drain(..part.indices.len());
        }
        for range in open {
            let left = |index: &usize| failed.binary_search(index).is_ok();
            let together: Vec<usize> = part.indices[range].iter().copied().filter(left).collect();
            if !together.is_empty() {
                self.together.push_back(together);
            }
        }
        self.again.append(&mut failed);
        let is_next_tried = !self.together.is_empty()
            || self.again.first().is_some_and(|first| self.tried.contains_key(first));
        if let Some(error) = unserved {
            return Some(Setback { error, idle: dealt_with == 0, ..setback });
        }
        let has_failed = setback.tries > 0;
        if has_failed && is_next_tried {
            return Some(setback);
        }
        self.setback = has_failed.then_some(setback);
        None
    }

    /// Returns what is to be kept of it.
    pub(super) fn keep(&self, sink: usize, id: &BatchId) -> Trying {
        let tried =
            |index: usize, attempts: &[_]| Tried { index: number(index), attempts: attempts.to_vec() };
        Trying {
            sink: number(sink),
            sequence: id.sequence,
            batch: id.digest,
            again: rows_of(&self.again),
            tried: self.tried.iter().map(|(index, attempts)| tried(*index, attempts)).collect(),
            refused: self.refused.iter().map(|refusal| tried(refusal.index, &refusal.attempts)).collect(),
            together: self.together.iter().map(|together| rows_of(together)).collect(),
        }
    }
}

fn number(number: usize) -> u32 {
    u32::try_from(number).expect("memory holds fewer than 2³² deliveries")
}

/// Returns indices as rows of them: the first of each, and how many.
fn rows_of(indices: &[usize]) -> Vec<(u32, u32)> {
    let mut rows: Vec<(u32, u32)> = Vec::new();
    for index in indices.iter().map(|index| number(*index)) {
        match rows.last_mut() {
            Some((first, count)) if *first + *count == index => *count += 1,
            _ => rows.push((index, 1)),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Operation;

    fn deliveries(count: u8) -> Vec<Delivery> {
        let one = |number: u8| Delivery {
            operation: Operation::Put,
            record: vec![number].into(),
            idempotency_key: cairn_model::Digest::from_bytes([number; 32]),
            fresh: true,
        };
        (0..count).map(one).collect()
    }

    fn fault(index: usize, of_sink: bool) -> RecordFault {
        RecordFault { index, error: "later".to_owned(), retry: true, of_sink, retry_after_ms: None }
    }

    fn two() -> Vec<Range<usize>> {
        std::iter::once(0..2).collect()
    }

    fn told(part: &Part<'_>) -> Vec<u8> {
        part.deliveries.iter().map(|delivery| delivery.record[0]).collect()
    }

    /// Under one key a server knows one request, so that one of which it said nothing comes as it was.
    #[test]
    fn what_was_sent_together_is_sent_together_again_and_first_over_runs() {
        let all = deliveries(10);
        let id = BatchId {
            scope: "s".to_owned(),
            sequence: 1,
            digest: cairn_model::Digest::from_bytes([1; 32]),
            fence: 1,
        };
        let mut course = Course::new(10, None);
        let part = course.next(&all, usize::MAX);
        assert!(part.is_all());
        let faults = (2..10).map(|index| fault(index, index >= 4)).collect();
        assert!(course.take(&part, faults, vec![2..4, 4..6, 6..7], 5, 3).is_some());

        // A later run goes on there.
        let mut course = Course::new(10, Some(course.keep(0, &id)));
        let part = course.next(&all, 1);
        assert_eq!(told(&part), [2, 3], "whatever the most is");
        assert!(course.take(&part, vec![fault(0, false), fault(1, false)], two(), 6, 3).is_some());
        let part = course.next(&all, usize::MAX);
        assert_eq!(told(&part), [4, 5]);
        assert!(
            course.take(&part, Vec::new(), Vec::new(), 7, 3).is_none(),
            "nothing is in the way of the rest"
        );
        // One alone goes alone: among others it would be another request.
        let part = course.next(&all, usize::MAX);
        assert_eq!(told(&part), [6]);
        assert!(course.take(&part, Vec::new(), Vec::new(), 7, 3).is_none());
        // Their third try is their last.
        let part = course.next(&all, usize::MAX);
        assert_eq!(told(&part), [2, 3]);
        assert!(course.take(&part, vec![fault(0, false), fault(1, false)], two(), 8, 3).is_none());
        for expected in [&[7, 8][..], &[9]] {
            let part = course.next(&all, 2);
            assert_eq!(told(&part), expected);
            assert!(!course.is_over() && course.take(&part, Vec::new(), Vec::new(), 9, 3).is_none());
        }
        assert!(course.is_over());
        let refused: Vec<usize> = course.into_refused().iter().map(|refusal| refusal.index).collect();
        assert_eq!(refused, [2, 3]);
    }

    #[test]
    fn there_is_one_pause_for_all_that_failed_and_it_comes_when_the_rest_was_seen() {
        let all = deliveries(5);
        let mut course = Course::new(5, None);
        let expected: [(&[u8], bool); 5] =
            [(&[0, 1], false), (&[2, 3], false), (&[4], true), (&[0, 2], false), (&[4], false)];
        for (number, (expected, pauses)) in expected.into_iter().enumerate() {
            let part = course.next(&all, 2);
            assert_eq!(told(&part), expected);
            // The first of each part fails; the second time none does.
            let faults = match number {
                0 | 1 => vec![RecordFault { retry_after_ms: Some(9), ..fault(0, false) }],
                2 => vec![fault(0, false)],
                _ => Vec::new(),
            };
            let setback = course.take(&part, faults, Vec::new(), 1, 3);
            assert_eq!(setback.is_some(), pauses, "{expected:?}");
            if let Some(Setback { least_ms, idle, tries, .. }) = setback {
                assert_eq!((least_ms, idle, tries), (Some(9), false, 1));
            }
        }
        assert!(course.is_over());
        // A sink that is not there is paused for at once.
        let mut course = Course::new(5, None);
        let part = course.next(&all, 2);
        let setback = course.take(&part, vec![fault(0, true), fault(1, true)], Vec::new(), 1, 3);
        assert!(setback.is_some_and(|setback| setback.idle));
    }
}
