//! Plays a case: does what the machine asks, after a while, and tells it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use cairn_model::{Digest, InputHash, Reason, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::case::{Answer, Case, Ending, START};
use super::oracle::Oracle;
use super::seen::Seen;
use crate::step::{Action, Done, Failure, Found, Input, Machine};

/// One step of a run, for who has to find out what went wrong.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    now: Timestamp,
    input: Input,
    actions: Option<Vec<Action>>,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6} {:?}", self.now.0 - START.0, self.input)?;
        self.actions.iter().flatten().try_for_each(|action| write!(f, "\n         -> {action:?}"))
    }
}

/// Things to come: at a time, in the order in which they were planned.
#[derive(Default)]
struct Plans {
    plans: BTreeMap<(Timestamp, u64), Input>,
    planned: u64,
}

struct World<'a> {
    case: &'a Case,
    dice: StdRng,
    plans: Plans,
    lookups: Vec<usize>,
    attempts: Vec<usize>,
    /// The plans of each attempt under way: when its command ends, if that is told, and when all is over.
    under_way: HashMap<u32, Vec<(Timestamp, u64)>>,
    tick: Option<(Timestamp, u64)>,
}

/// Plays to the end, and checks each step.
pub(super) fn play(case: &Case, steps: &mut Vec<Step>, seen: &mut Seen) {
    let mut machine = Machine::new(case.setup.clone());
    let mut oracle = Oracle::new(case);
    let mut world = World::new(case);
    while let Some((now, input)) = world.plans.next() {
        steps.push(Step { now, input: input.clone(), actions: None });
        world.forget(&input, now);
        let actions = machine.step(now, input.clone());
        steps.last_mut().expect("pushed above").actions = Some(actions.clone());
        oracle.check(now, &input, &actions, machine.states(), seen);
        for action in &actions {
            world.perform(now, action);
        }
    }
    oracle.check_at_the_end(seen);
}

impl<'a> World<'a> {
    fn new(case: &'a Case) -> Self {
        let count = case.setup.instances.len();
        let mut plans = Plans::default();
        plans.add(START, Input::Begin);
        for (at, input) in &case.stops {
            plans.add(*at, input.clone());
        }
        for at in &case.ticks {
            plans.add(*at, Input::Tick);
        }
        Self {
            case,
            dice: StdRng::seed_from_u64(case.seed ^ 0x5eed),
            plans,
            lookups: vec![0; count],
            attempts: vec![0; count],
            under_way: HashMap::new(),
            tick: None,
        }
    }

    fn perform(&mut self, now: Timestamp, action: &Action) {
        match action {
            Action::LookUp { instance, .. } => {
                let input = Input::LookedUp { instance: *instance, found: self.answer(*instance) };
                self.later(now, 0..60, input);
            }
            Action::Attempt { instance, .. } | Action::Adopt { instance, .. } => {
                let result = self.ending(*instance);
                self.end(now, *instance, 0..400, result);
            }
            Action::Terminate { instance, now: at_once } => {
                // Its end may be on its way already.
                if self.dice.random_bool(0.1) {
                    return;
                }
                for plan in self.under_way.remove(instance).expect("only what runs is ended") {
                    self.plans.plans.remove(&plan);
                }
                let grace = if *at_once { 0..2 } else { 0..200 };
                self.end(now, *instance, grace, Err(failure(true, true)));
            }
            Action::WakeAt(at) => {
                if let Some(tick) = self.tick.take() {
                    self.plans.plans.remove(&tick);
                }
                let late = self.dice.random_range(0..3) * self.dice.random_range(0..10);
                self.tick = Some(self.plans.add(Timestamp(at.0.max(now.0) + late), Input::Tick));
            }
            Action::Record { .. } | Action::GiveUp { .. } | Action::End { .. } => {}
        }
    }

    /// Plans the end of an attempt whose command takes a time out of `takes`.
    fn end(
        &mut self,
        now: Timestamp,
        instance: u32,
        takes: std::ops::Range<i64>,
        result: Result<Done, Failure>,
    ) {
        let exits = self.later(now, takes, Input::Exited { instance });
        let finished = self.later(exits.0, 0..40, Input::Finished { instance, result });
        let mut plans = vec![exits, finished];
        // A command that could not even be started is told of as a whole.
        if self.dice.random_bool(0.1) {
            self.plans.plans.remove(&plans.remove(0));
        }
        self.under_way.insert(instance, plans);
    }

    fn later(&mut self, now: Timestamp, after: std::ops::Range<i64>, input: Input) -> (Timestamp, u64) {
        // Much of what happens happens at the same moment.
        let after = if self.dice.random_bool(0.2) { after.start } else { self.dice.random_range(after) };
        self.plans.add(Timestamp(now.0 + after), input)
    }

    fn forget(&mut self, input: &Input, now: Timestamp) {
        match input {
            Input::Exited { instance } | Input::Finished { instance, .. } => {
                self.under_way.remove(instance);
            }
            Input::Tick if self.tick.is_some_and(|(at, _)| at <= now) => self.tick = None,
            Input::Tick | Input::Begin | Input::LookedUp { .. } | Input::Interrupt | Input::Stop => {}
        }
    }

    fn answer(&mut self, instance: u32) -> Found {
        let number = instance as usize;
        let answer = self.case.fates[number].lookups.get(self.lookups[number]).copied();
        self.lookups[number] += 1;
        let input_hash = hash(instance);
        match answer.unwrap_or(Answer::Miss) {
            Answer::Fresh => {
                Found::Hit { input_hash, restored: Vec::new(), trashed: Vec::new(), saved_ms: 1 }
            }
            Answer::Restored => {
                Found::Hit { input_hash, restored: vec!["x".into()], trashed: Vec::new(), saved_ms: 1 }
            }
            Answer::Held => {
                Found::Held { input_hash, attempt: self.case.setup.instances[number].history.attempts }
            }
            Answer::Miss => Found::Miss { input_hash, reason: Reason::First },
            Answer::Broken => Found::Broken { error: "no input".into(), help: None },
        }
    }

    fn ending(&mut self, instance: u32) -> Result<Done, Failure> {
        let number = instance as usize;
        let ending = self.case.fates[number].attempts.get(self.attempts[number]);
        self.attempts[number] += 1;
        match ending {
            None => Ok(Done { input_hash: hash(instance), took_ms: 1, trashed: Vec::new(), records: None }),
            Some(Ending::Fails) => Err(failure(true, false)),
            Some(Ending::FailsForGood) => Err(failure(false, false)),
            Some(Ending::IsCut) => Err(failure(true, true)),
        }
    }
}

impl Plans {
    fn add(&mut self, at: Timestamp, input: Input) -> (Timestamp, u64) {
        self.planned += 1;
        self.plans.insert((at, self.planned), input);
        (at, self.planned)
    }

    fn next(&mut self) -> Option<(Timestamp, Input)> {
        self.plans.pop_first().map(|((at, _), input)| (at, input))
    }
}

fn failure(retryable: bool, interrupted: bool) -> Failure {
    Failure { error: "exit 1".into(), help: None, retryable, interrupted, committed: false, in_doubt: false }
}

fn hash(instance: u32) -> InputHash {
    let mut bytes = [0; Digest::LENGTH];
    bytes[..4].copy_from_slice(&instance.to_le_bytes());
    InputHash::from_digest(Digest::from_bytes(bytes))
}
