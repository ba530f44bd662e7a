//! What waits and what runs: the rules by which the next run is chosen, without a clock, a disk or a process.
//!
//! The runs of one pipeline go one after the other: two at once would write the same outputs (I9). Of those that may
//! begin, the one with the greatest priority goes first, and among equals the one that was asked for first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use cairn_model::{Name, RunId, Timestamp};

/// A run that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The run; ids are in the order in which they were made.
    pub run: RunId,
    /// Its pipeline.
    pub pipeline: Name,
    /// Greater ones go first.
    pub priority: i64,
    /// It does not begin before.
    pub not_before: Option<Timestamp>,
}

/// Runs that wait, and runs that go on.
#[derive(Debug)]
pub struct Queue {
    /// Runs that go on at once, at most.
    runs_max: usize,
    waiting: BTreeMap<(Reverse<i64>, RunId), Waiting>,
    priorities: HashMap<RunId, i64>,
    running: HashMap<RunId, Name>,
    busy: BTreeSet<Name>,
}

impl Queue {
    /// Starts empty; at least one run goes on at once.
    pub fn new(runs_max: usize) -> Self {
        Self {
            runs_max: runs_max.max(1),
            waiting: BTreeMap::new(),
            priorities: HashMap::new(),
            running: HashMap::new(),
            busy: BTreeSet::new(),
        }
    }

    /// Has a run wait.
    pub fn push(&mut self, waiting: Waiting) {
        self.priorities.insert(waiting.run, waiting.priority);
        self.waiting.insert((Reverse(waiting.priority), waiting.run), waiting);
    }

    /// Takes a run that waits away.
    pub fn remove(&mut self, run: RunId) -> Option<Waiting> {
        let priority = self.priorities.remove(&run)?;
        self.waiting.remove(&(Reverse(priority), run))
    }

    /// Chooses the run that begins now, and counts it as running.
    pub fn begin_next(&mut self, now: Timestamp) -> Option<RunId> {
        if self.running.len() >= self.runs_max {
            return None;
        }
        let ready = |waiting: &&Waiting| {
            waiting.not_before.is_none_or(|time| time <= now) && !self.busy.contains(&waiting.pipeline)
        };
        let run = self.waiting.values().find(ready)?.run;
        let Waiting { pipeline, .. } = self.remove(run).expect("it was found there");
        self.busy.insert(pipeline.clone());
        self.running.insert(run, pipeline);
        Some(run)
    }

    /// Counts a run as over.
    pub fn end(&mut self, run: RunId) {
        if let Some(pipeline) = self.running.remove(&run) {
            self.busy.remove(&pipeline);
        }
    }

    /// Returns when the next of those that wait for their time may begin.
    pub fn next_time(&self, now: Timestamp) -> Option<Timestamp> {
        self.waiting.values().filter_map(|waiting| waiting.not_before).filter(|time| *time > now).min()
    }

    /// Returns the runs that wait, in the order in which they would begin.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// Returns whether a run waits.
    pub fn is_waiting(&self, run: RunId) -> bool {
        self.priorities.contains_key(&run)
    }

    /// Returns whether a run goes on.
    pub fn is_running(&self, run: RunId) -> bool {
        self.running.contains_key(&run)
    }

    /// Returns the runs that go on.
    pub fn running(&self) -> impl Iterator<Item = (&RunId, &Name)> {
        self.running.iter()
    }

    /// Returns the runs of a pipeline that wait or go on.
    pub fn runs_of(&self, pipeline: &Name) -> Vec<RunId> {
        let waiting = self.waiting.values().filter(|waiting| waiting.pipeline == *pipeline);
        let running = self.running.iter().filter(|(_, of)| *of == pipeline);
        waiting.map(|waiting| waiting.run).chain(running.map(|(run, _)| *run)).collect()
    }

    /// Returns whether a run of a pipeline waits or goes on.
    pub fn has(&self, pipeline: &Name) -> bool {
        self.busy.contains(pipeline) || self.waiting.values().any(|waiting| waiting.pipeline == *pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u8) -> RunId {
        RunId::from_bytes([number; 16])
    }

    fn waiting(number: u8, pipeline: &str, priority: i64) -> Waiting {
        Waiting { run: run(number), pipeline: pipeline.parse().unwrap(), priority, not_before: None }
    }

    #[test]
    fn priority_first_then_the_order_of_asking_and_one_run_a_pipeline() {
        let mut queue = Queue::new(2);
        for it in [waiting(1, "a", 0), waiting(2, "a", 5), waiting(3, "b", 0), waiting(4, "c", 0)] {
            queue.push(it);
        }
        let now = Timestamp(0);
        assert_eq!(queue.begin_next(now), Some(run(2)), "the urgent one");
        assert_eq!(queue.begin_next(now), Some(run(3)), "`a` is busy");
        assert_eq!(queue.begin_next(now), None, "two at once");
        queue.end(run(2));
        assert_eq!(queue.begin_next(now), Some(run(1)));
        queue.end(run(3));
        assert_eq!(queue.begin_next(now), Some(run(4)));
        assert!(queue.has(&"c".parse().unwrap()) && !queue.has(&"b".parse().unwrap()));
    }

    #[test]
    fn one_that_waits_for_its_time_lets_others_pass() {
        let mut queue = Queue::new(9);
        queue.push(Waiting { not_before: Some(Timestamp(10)), ..waiting(1, "a", 9) });
        queue.push(waiting(2, "b", 0));
        assert_eq!(queue.begin_next(Timestamp(9)), Some(run(2)));
        assert_eq!(
            (queue.begin_next(Timestamp(9)), queue.next_time(Timestamp(9))),
            (None, Some(Timestamp(10)))
        );
        assert_eq!(queue.begin_next(Timestamp(10)), Some(run(1)));
        assert_eq!(queue.next_time(Timestamp(10)), None);
    }

    #[test]
    fn what_is_taken_away_does_not_begin() {
        let mut queue = Queue::new(9);
        queue.push(waiting(1, "a", 3));
        assert!(queue.is_waiting(run(1)));
        assert_eq!(queue.remove(run(1)).map(|it| it.run), Some(run(1)));
        assert_eq!((queue.remove(run(1)), queue.begin_next(Timestamp(0))), (None, None));
    }
}
