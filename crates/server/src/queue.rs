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

/// Where a run stands among those that wait: the first one goes first.
type Place = (Reverse<i64>, RunId);

/// Runs that wait, and runs that go on. However many wait, and for whatever: to choose one, or to ask for those of a
/// pipeline, does not go through all of them.
#[derive(Debug)]
pub struct Queue {
    /// Runs that go on at once, at most.
    runs_max: usize,
    waiting: BTreeMap<Place, Waiting>,
    places: HashMap<RunId, Place>,
    running: HashMap<RunId, Name>,
    lanes: BTreeMap<Name, Lane>,
    /// The first of each pipeline that is not busy, among those whose time has come.
    heads: BTreeSet<Place>,
    /// Those that wait for their time.
    later: BTreeSet<(Timestamp, RunId)>,
}

/// The runs of one pipeline.
#[derive(Debug, Default)]
struct Lane {
    waiting: BTreeSet<Place>,
    /// Those of them whose time has come.
    ready: BTreeSet<Place>,
    running: Option<RunId>,
    /// Whether something that is no run has its turn.
    is_occupied: bool,
}

impl Lane {
    fn is_busy(&self) -> bool {
        self.running.is_some() || self.is_occupied
    }

    /// Returns the run that begins next, once there is room for it.
    fn head(&self) -> Option<Place> {
        self.ready.first().copied().filter(|_| !self.is_busy())
    }
}

impl Queue {
    /// Starts empty; at least one run goes on at once.
    pub fn new(runs_max: usize) -> Self {
        Self {
            runs_max: runs_max.max(1),
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            running: HashMap::new(),
            lanes: BTreeMap::new(),
            heads: BTreeSet::new(),
            later: BTreeSet::new(),
        }
    }

    /// Has a run wait. One that waits already does so as it is given now.
    pub fn push(&mut self, waiting: Waiting) {
        self.remove(waiting.run);
        let place = (Reverse(waiting.priority), waiting.run);
        self.later.extend(waiting.not_before.map(|time| (time, waiting.run)));
        self.change_lane(&waiting.pipeline, |lane| {
            lane.waiting.insert(place);
            if waiting.not_before.is_none() {
                lane.ready.insert(place);
            }
        });
        self.places.insert(waiting.run, place);
        self.waiting.insert(place, waiting);
    }

    /// Takes a run that waits away.
    pub fn remove(&mut self, run: RunId) -> Option<Waiting> {
        let place = self.places.remove(&run)?;
        let waiting = self.waiting.remove(&place)?;
        if let Some(time) = waiting.not_before {
            self.later.remove(&(time, run));
        }
        self.change_lane(&waiting.pipeline, |lane| {
            lane.waiting.remove(&place);
            lane.ready.remove(&place);
        });
        Some(waiting)
    }

    /// Returns whether a run can begin now.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        if self.running.len() >= self.runs_max {
            return false;
        }
        self.let_in(now);
        !self.heads.is_empty()
    }

    /// Chooses the run that begins now, and counts it as running.
    pub fn begin_next(&mut self, now: Timestamp) -> Option<RunId> {
        if !self.is_due(now) {
            return None;
        }
        let (_, run) = *self.heads.first()?;
        let Waiting { pipeline, .. } = self.remove(run).expect("every head waits");
        self.change_lane(&pipeline, |lane| lane.running = Some(run));
        self.running.insert(run, pipeline);
        Some(run)
    }

    /// Takes a pipeline's turn for something that is no run, and that none may come between: no run of it begins until
    /// [`Self::vacate`]. `false` where it is taken already. It takes no place of those that go on at once.
    pub fn occupy(&mut self, pipeline: &Name) -> bool {
        let is_free = !self.is_busy(pipeline);
        if is_free {
            self.change_lane(pipeline, |lane| lane.is_occupied = true);
        }
        is_free
    }

    /// Gives back the turn that [`Self::occupy`] took.
    pub fn vacate(&mut self, pipeline: &Name) {
        self.change_lane(pipeline, |lane| lane.is_occupied = false);
    }

    /// Returns whether a pipeline's turn is taken, by a run that goes on or by something else.
    pub fn is_busy(&self, pipeline: &Name) -> bool {
        self.lanes.get(pipeline).is_some_and(Lane::is_busy)
    }

    /// Returns the pipelines whose turn something has that is no run.
    pub fn occupied(&self) -> impl Iterator<Item = &Name> {
        self.lanes.iter().filter(|(_, lane)| lane.is_occupied).map(|(name, _)| name)
    }

    /// Counts a run as over.
    pub fn end(&mut self, run: RunId) {
        if let Some(pipeline) = self.running.remove(&run) {
            self.change_lane(&pipeline, |lane| lane.running = None);
        }
    }

    /// Returns when the next of those that wait for their time may begin.
    pub fn next_time(&self, now: Timestamp) -> Option<Timestamp> {
        let after = (now.plus_millis(1), RunId::from_bytes([0; 16]));
        self.later.range(after..).next().map(|(time, _)| *time)
    }

    /// Returns the runs that wait, in the order in which they would begin.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// Returns whether a run waits.
    pub fn is_waiting(&self, run: RunId) -> bool {
        self.places.contains_key(&run)
    }

    /// Returns whether a run goes on.
    pub fn is_running(&self, run: RunId) -> bool {
        self.running.contains_key(&run)
    }

    /// Returns the runs that go on.
    pub fn running(&self) -> impl ExactSizeIterator<Item = (&RunId, &Name)> {
        self.running.iter()
    }

    /// Returns the runs of a pipeline that wait or go on.
    pub fn runs_of(&self, pipeline: &Name) -> Vec<RunId> {
        let Some(lane) = self.lanes.get(pipeline) else { return Vec::new() };
        lane.waiting.iter().map(|(_, run)| *run).chain(lane.running).collect()
    }

    /// Returns whether a run of a pipeline waits or goes on, or its turn is taken otherwise.
    pub fn has(&self, pipeline: &Name) -> bool {
        self.lanes.contains_key(pipeline)
    }

    /// Lets those begin whose time has come. They stay let in should the clock go back.
    fn let_in(&mut self, now: Timestamp) {
        while let Some(entry) = self.later.first().copied().filter(|(time, _)| *time <= now) {
            self.later.remove(&entry);
            let place = self.places[&entry.1];
            let pipeline = self.waiting[&place].pipeline.clone();
            self.change_lane(&pipeline, |lane| lane.ready.extend([place]));
        }
    }

    /// Changes the runs of a pipeline, and keeps the heads in step with them.
    fn change_lane(&mut self, pipeline: &Name, change: impl FnOnce(&mut Lane)) {
        let lane = self.lanes.entry(pipeline.clone()).or_default();
        let before = lane.head();
        change(lane);
        let after = lane.head();
        if lane.waiting.is_empty() && !lane.is_busy() {
            self.lanes.remove(pipeline);
        }
        if before != after {
            if let Some(before) = before {
                self.heads.remove(&before);
            }
            self.heads.extend(after);
        }
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
    fn what_takes_a_pipelines_turn_keeps_its_runs_waiting() {
        let now = Timestamp(0);
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut queue = Queue::new(1);
        assert!(queue.occupy(&a));
        assert!(!queue.occupy(&a), "its turn is taken");
        assert!(queue.has(&a) && queue.is_busy(&a));
        assert_eq!((queue.running().len(), queue.runs_of(&a)), (0, vec![]), "it is no run");
        queue.push(waiting(1, "a", 9));
        queue.push(waiting(2, "b", 0));
        assert_eq!(queue.begin_next(now), Some(run(2)), "nor has it the place of one");
        assert!(!queue.occupy(&b), "a run goes on");
        queue.end(run(2));
        assert_eq!(queue.begin_next(now), None);
        assert_eq!(queue.occupied().collect::<Vec<_>>(), [&a]);
        queue.vacate(&a);
        assert_eq!(queue.begin_next(now), Some(run(1)));
        queue.end(run(1));
        assert!(!queue.has(&a) && !queue.has(&b) && queue.occupied().next().is_none());
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

    #[test]
    fn many_that_wait_hold_up_nobody() {
        let many = 10_000_u32;
        let numbered = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            RunId::from_bytes(bytes)
        };
        let mut queue = Queue::new(2);
        for number in 0..many {
            // Half of them wait for a time that comes, one after the other, while the first one runs.
            let not_before = (number % 2 == 1).then_some(Timestamp(i64::from(number)));
            queue.push(Waiting { run: numbered(number), not_before, ..waiting(0, "many", 9) });
        }
        assert_eq!(queue.begin_next(Timestamp(0)), Some(numbered(0)));
        for number in 0..many {
            let other = numbered(many + number);
            queue.push(Waiting { run: other, ..waiting(0, "other", 0) });
            let now = Timestamp(i64::from(number));
            assert_eq!((queue.begin_next(now), queue.begin_next(now)), (Some(other), None));
            let next = Timestamp(i64::from(number + 1 + number % 2));
            assert_eq!(queue.next_time(now), Some(next).filter(|_| number + 1 < many));
            assert!(queue.has(&"many".parse().unwrap()));
            queue.end(other);
            assert!(!queue.has(&"other".parse().unwrap()));
        }
        assert_eq!(queue.waiting().len(), 9_999);
        for number in 1..many {
            queue.end(numbered(number - 1));
            assert_eq!(queue.begin_next(Timestamp(i64::from(many))), Some(numbered(number)));
        }
        queue.end(numbered(many - 1));
        assert_eq!(
            (queue.begin_next(Timestamp(i64::MAX)), queue.runs_of(&"many".parse().unwrap())),
            (None, vec![])
        );
        assert!(queue.lanes.is_empty() && queue.heads.is_empty() && queue.later.is_empty());
    }

    #[test]
    fn one_that_is_asked_for_again_waits_once() {
        let mut queue = Queue::new(9);
        queue.push(Waiting { not_before: Some(Timestamp(10)), ..waiting(1, "a", 3) });
        queue.push(waiting(1, "a", 5));
        assert_eq!((queue.waiting().len(), queue.next_time(Timestamp(0))), (1, None));
        assert_eq!(queue.begin_next(Timestamp(0)), Some(run(1)));
        assert_eq!(queue.runs_of(&"a".parse().unwrap()), [run(1)]);
    }
}
