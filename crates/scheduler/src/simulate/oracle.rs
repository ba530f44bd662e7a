//! The rules once more, written naively, and held against every step.

mod room;

use std::collections::{BTreeMap, BTreeSet};

use cairn_model::{Blocker, Counts, InstanceEvent, Outcome, Reason, RunStatus, State, Timestamp};

use self::room::Room;
use super::case::Case;
use super::predict::predict;
use super::seen::Seen;
use crate::retry::Last;
use crate::step::{Action, Facts, Failure, Found, Input, SETTLING_MAX};

pub(super) struct Oracle<'a> {
    case: &'a Case,
    /// The states, folded from what was recorded.
    states: Vec<State>,
    looking_up: BTreeSet<u32>,
    ready: BTreeSet<u32>,
    running: BTreeSet<u32>,
    /// Attempts of before of which nothing was decided yet.
    held: BTreeSet<u32>,
    /// Those that there was no room for.
    roomless: BTreeSet<u32>,
    /// Those that are not wanted any more, until that is said.
    unwanted: BTreeSet<u32>,
    settling: BTreeSet<u32>,
    /// Number of the last attempt, and failures that count.
    attempts: Vec<u32>,
    failures: Vec<u32>,
    /// When each may be looked up, once its needs are done.
    due: BTreeMap<u32, Timestamp>,
    room: Room<'a>,
    /// Interrupts as they count: 0, 1 or 2.
    interrupts: u32,
    /// The failure that stops the run.
    stopped_by: Option<u32>,
    /// Those that were held then, and all that they need: they are found out about nevertheless.
    spared: BTreeSet<u32>,
    /// Attempts that somebody ended whom nobody had asked.
    cut: BTreeSet<u32>,
    /// All selected ones that each needs, by selected ones, directly or not.
    upstream: Vec<BTreeSet<u32>>,
    /// Whether an interrupt kept anything from being done.
    was_interrupted: bool,
    wake_at: Option<Timestamp>,
    over: bool,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(case: &'a Case) -> Self {
        let histories = || case.setup.instances.iter().map(|facts| &facts.history);
        Self {
            case,
            states: vec![State::Waiting; case.setup.instances.len()],
            looking_up: BTreeSet::new(),
            ready: BTreeSet::new(),
            running: BTreeSet::new(),
            held: BTreeSet::new(),
            roomless: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            settling: BTreeSet::new(),
            attempts: histories().map(|history| history.attempts).collect(),
            failures: histories().map(|history| history.failures).collect(),
            due: BTreeMap::new(),
            room: Room::new(&case.setup),
            interrupts: 0,
            stopped_by: None,
            spared: BTreeSet::new(),
            cut: BTreeSet::new(),
            upstream: (0..).zip(&case.setup.instances).map(|(i, _)| upstream(case, i)).collect(),
            was_interrupted: false,
            wake_at: None,
            over: false,
        }
    }

    /// Checks one step: what was answered, and what stands after it.
    pub(super) fn check(
        &mut self,
        now: Timestamp,
        input: &Input,
        actions: &[Action],
        states: &[State],
        seen: &mut Seen,
    ) {
        if self.over {
            assert!(actions.is_empty(), "something is to be done after the end");
            return;
        }
        let interrupts_before = self.interrupts;
        let expected = self.take_in(now, input, seen);
        for (place, action) in actions.iter().enumerate() {
            assert!(!self.over, "an action after the end");
            let before = place.checked_sub(1).map(|before| &actions[before]);
            self.check_action(now, action, before, seen);
        }
        if let Some((instance, expected)) = expected {
            check_answer(instance, &expected, actions);
        }
        self.check_terminated(self.interrupts > interrupts_before, actions, seen);
        assert!(self.unwanted.is_empty(), "what is not wanted is not given up");
        assert!(self.states == states, "the machine's states are not what it recorded");
        if !self.over {
            self.yield_if_stuck(seen);
            self.check_nothing_is_left_undone(now, seen);
        }
    }

    /// Takes in what happened, and returns what must be recorded of whom at once.
    fn take_in(&mut self, now: Timestamp, input: &Input, seen: &mut Seen) -> Option<(u32, Expected)> {
        match input {
            Input::Begin => {
                self.hold();
                for instance in 0..self.count() {
                    if self.facts(instance).selected && self.needs_are_done(instance) {
                        self.due.insert(instance, self.first_due(now, instance));
                    }
                }
            }
            Input::Tick => self.wake_at = None,
            Input::Interrupt | Input::Stop => {
                if self.interrupts == 0 && self.stopped_by.is_some() {
                    seen.note("an interrupt came before the end of a stop by failure");
                }
                let hurry = *input == Input::Interrupt && self.interrupts == 1;
                self.interrupts = if hurry { 2 } else { self.interrupts.max(1) };
            }
            Input::LookedUp { instance, found } => {
                if !self.looking_up.remove(instance) {
                    assert!(self.interrupts == 2);
                    seen.note("the answer to a look-up came too late");
                    return None;
                }
                let expected = match found {
                    Found::Hit { .. } => Expected::Found,
                    Found::Broken { .. } => Expected::Failed,
                    Found::InDoubt { .. } | Found::Stands { .. } | Found::Stopped => {
                        unreachable!("nothing in this world has an effect outside")
                    }
                    Found::Held { .. } if self.interrupts > 0 => Expected::Blocked,
                    Found::Held { .. } => Expected::Adopted,
                    Found::Miss { .. } if self.is_halted() => {
                        self.let_go(*instance);
                        Expected::Blocked
                    }
                    Found::Miss { .. } if self.case.setup.frozen => {
                        self.let_go(*instance);
                        Expected::Blocked
                    }
                    Found::Miss { .. } => {
                        self.let_go(*instance);
                        self.ready.insert(*instance);
                        return None;
                    }
                };
                if expected == Expected::Found && self.is_halted() {
                    seen.note("found while the run was stopping");
                }
                return Some((*instance, expected));
            }
            Input::Exited { instance } => self.exit(*instance),
            Input::Finished { instance, result } => {
                if self.running.contains(instance) {
                    self.exit(*instance);
                }
                assert!(self.settling.remove(instance));
                return Some((*instance, self.expected_of(*instance, result.as_ref().err(), seen)));
            }
        }
        None
    }

    fn expected_of(&mut self, instance: u32, failure: Option<&Failure>, seen: &mut Seen) -> Expected {
        let Some(failure) = failure else { return Expected::Ran };
        if failure.interrupted {
            if self.interrupts == 0 {
                self.cut.insert(instance);
                seen.note("an attempt was cut off from outside");
            }
            return Expected::Blocked;
        }
        let failures = self.failures[instance as usize] + 1;
        if failure.retryable && failures < self.facts(instance).retries.attempts {
            if self.is_halted() {
                seen.note("an attempt failed while the run was stopping");
                return Expected::FailedAndBlocked;
            }
            seen.note("an attempt failed and was to be tried again");
            return Expected::Retrying;
        }
        Expected::Failed
    }

    /// Gives those their room that are held, in their order, as far as there is any.
    fn hold(&mut self) {
        for instance in 0..self.count() {
            let facts = self.facts(instance);
            if !facts.held || !facts.selected {
                continue;
            }
            if !self.room.has_room(instance, &self.taking()) {
                self.roomless.insert(instance);
            }
            self.held.insert(instance);
        }
    }

    fn let_go(&mut self, instance: u32) {
        if self.held.remove(&instance) {
            self.roomless.remove(&instance);
        }
    }

    /// When nothing else can start, the room of those that are held is another's.
    fn yield_if_stuck(&mut self, seen: &mut Seen) {
        let under_way = [&self.looking_up, &self.running, &self.settling];
        let is_stuck = under_way.iter().all(|set| set.is_empty())
            && self.room.choice(&self.ready, &self.taking(), seen).is_none();
        if is_stuck && !self.held.is_empty() {
            self.roomless.extend(&self.held);
            if !self.ready.is_empty() {
                seen.note("the room of a held attempt was another's");
            }
        }
    }

    /// What takes room.
    fn taking(&self) -> BTreeSet<u32> {
        self.running.union(&self.held).filter(|instance| !self.roomless.contains(instance)).copied().collect()
    }

    fn check_adopted(&mut self, instance: u32, attempt: u32, before: Option<&Action>, seen: &mut Seen) {
        let Some(Action::Record { instance: recorded, event }) = before else {
            panic!("an attempt is adopted unrecorded");
        };
        let InstanceEvent::AttemptStarted { attempt: number, .. } = event else {
            panic!("an attempt is adopted unrecorded");
        };
        assert!((*recorded, *number) == (instance, attempt), "another attempt was recorded");
        assert_eq!(attempt, self.attempts[instance as usize], "it is the last one");
        assert!(self.needs_are_done(instance), "an attempt before its needs are done");
        assert!(self.held.remove(&instance), "adopted what is not held");
        self.running.insert(instance);
        seen.note("an attempt was adopted");
    }

    fn exit(&mut self, instance: u32) {
        assert!(self.running.remove(&instance));
        self.roomless.remove(&instance);
        self.settling.insert(instance);
    }

    fn check_action(&mut self, now: Timestamp, action: &Action, before: Option<&Action>, seen: &mut Seen) {
        match action {
            Action::LookUp { instance, force } => self.check_lookup(now, *instance, *force, seen),
            Action::Attempt { instance, attempt } => self.check_attempt(*instance, *attempt, before, seen),
            Action::Adopt { instance, attempt } => self.check_adopted(*instance, *attempt, before, seen),
            Action::GiveUp { instance } => assert!(self.unwanted.remove(instance), "given up though wanted"),
            Action::Terminate { instance, .. } => assert!(self.running.contains(instance)),
            Action::Record { instance, event } => self.check_record(now, *instance, event, seen),
            Action::WakeAt(at) => {
                assert!(*at > now && self.wake_at != Some(*at), "asked for a tick without need");
                self.wake_at = Some(*at);
            }
            Action::End { status, counts } => self.check_end(*status, *counts, seen),
        }
    }

    fn check_lookup(&mut self, now: Timestamp, instance: u32, force: bool, seen: &mut Seen) {
        let facts = self.facts(instance);
        let forced = facts.force && facts.history.last != Last::Done;
        let is_spared = self.is_spared(instance);
        assert!(facts.selected && (!self.is_halted() || is_spared), "looked up what is not to be made");
        if is_spared {
            seen.note("looked up for what is held, while the run was stopping");
        }
        assert_eq!(force, forced);
        assert!(self.next_lookup(now) == Some(instance), "looked up before its turn, or before its needs");
        self.due.remove(&instance);
        self.looking_up.insert(instance);
        assert!(self.looking_up.len() <= self.case.setup.lookups_max, "too many look-ups at once");
        if force {
            seen.note("looked up by force");
        }
    }

    fn check_attempt(&mut self, instance: u32, attempt: u32, before: Option<&Action>, seen: &mut Seen) {
        let Some(Action::Record { instance: recorded, event }) = before else {
            panic!("an attempt starts unrecorded");
        };
        let InstanceEvent::AttemptStarted { attempt: number, reason, .. } = event else {
            panic!("an attempt starts unrecorded");
        };
        assert!((*recorded, *number) == (instance, attempt), "another attempt was recorded");
        assert_eq!(attempt, self.attempts[instance as usize] + 1, "attempts are numbered one by one");
        let again = matches!(reason, Reason::Again(_));
        let last = &self.facts(instance).history.last;
        let retried = attempt > self.facts(instance).history.attempts + 1;
        assert_eq!(again, retried || matches!(last, Last::Open | Last::Failed { .. }));
        assert!(self.needs_are_done(instance), "an attempt before its needs are done");
        assert!(!self.is_halted() && !self.case.setup.frozen, "an attempt while nothing may start");
        assert!(self.settling.len() < SETTLING_MAX as usize);

        self.yield_if_stuck(seen);
        let taking = self.taking();
        let choice = self.room.choice(&self.ready, &taking, seen);
        assert!(choice == Some(instance), "started ahead of its turn: {choice:?} was first");
        self.room.start(instance, &self.ready, &taking);
        self.ready.remove(&instance);
        self.running.insert(instance);
        self.room.check_limits(&self.taking(), seen);
        self.attempts[instance as usize] = attempt;
    }

    fn check_record(&mut self, now: Timestamp, instance: u32, event: &InstanceEvent, seen: &mut Seen) {
        assert!(self.facts(instance).selected, "something happens to what takes no part");
        let number = instance as usize;
        let before = std::mem::replace(&mut self.states[number], State::Waiting);
        let retrying = matches!(before, State::Retrying { .. });
        self.states[number] = before.after(event).expect("only legal events are recorded");
        match event {
            InstanceEvent::CheckpointFound { restored, .. } => {
                seen.note(if restored.is_empty() { "found fresh" } else { "found and restored" });
                if retrying {
                    seen.note("found before a retry");
                }
            }
            InstanceEvent::AttemptStarted { .. } => {}
            InstanceEvent::AttemptFailed { attempt, retry_at, .. } => {
                assert_eq!(*attempt, self.attempts[number]);
                self.failures[number] += 1;
                let policy = self.facts(instance).retries;
                let longest = policy.pause_max_ms(self.failures[number]);
                assert!(*retry_at >= now && *retry_at <= now.plus_millis(longest), "a pause out of bounds");
                assert!(policy.jitter || *retry_at == now.plus_millis(longest), "drawn without jitter");
                self.due.insert(instance, *retry_at);
            }
            InstanceEvent::Committed { attempt, .. } => {
                assert_eq!(*attempt, self.attempts[number]);
                let first = *attempt == 1;
                seen.note(if first { "ran at the first attempt" } else { "ran at a later attempt" });
            }
            InstanceEvent::Failed { attempts, .. } => {
                assert_eq!(*attempts, self.attempts[number]);
                if !self.case.setup.keep_going && !self.is_halted() {
                    self.stopped_by = Some(instance);
                    let needed = self.held.iter().flat_map(|held| self.upstream[*held as usize].iter());
                    self.spared = self.held.iter().chain(needed).copied().collect();
                }
            }
            InstanceEvent::Records { .. }
            | InstanceEvent::Trashed { .. }
            | InstanceEvent::NotPlaced { .. } => {
                unreachable!("in this world every place is free and can be written")
            }
            InstanceEvent::InDoubt { .. }
            | InstanceEvent::Undone { .. }
            | InstanceEvent::EffectStands { .. } => {
                unreachable!("nothing in this world has an effect outside")
            }
            InstanceEvent::Blocked { by } => self.check_blocked(instance, by, seen),
        }
        self.plan_what_became_due(now, instance);
        if self.states[number].outcome().is_some() {
            self.looking_up.remove(&instance);
            self.ready.remove(&instance);
            self.due.remove(&instance);
            if self.held.contains(&instance) {
                self.let_go(instance);
                self.unwanted.insert(instance);
                seen.note("a held attempt was given up");
            }
        }
    }

    /// Notes when those may be looked up whose last need this was.
    fn plan_what_became_due(&mut self, now: Timestamp, instance: u32) {
        if !self.is_done(instance) {
            return;
        }
        for dependent in 0..self.count() {
            let facts = self.facts(dependent);
            let waits = self.states[dependent as usize] == State::Waiting && facts.selected;
            if waits && facts.needs.contains(&instance) && self.needs_are_done(dependent) {
                self.due.insert(dependent, self.first_due(now, dependent));
            }
        }
    }

    /// When an instance may be looked up whose needs are done now.
    fn first_due(&self, now: Timestamp, instance: u32) -> Timestamp {
        let facts = self.facts(instance);
        let longest = now.plus_millis(facts.retries.pause_max_ms(facts.history.failures));
        facts.history.retry_at().filter(|_| !facts.held).map_or(now, |at| at.min(longest).max(now))
    }

    fn check_blocked(&mut self, instance: u32, by: &Blocker, seen: &mut Seen) {
        let upstream = &self.upstream[instance as usize];
        let is_failed = |name: &str, of: &dyn Fn(u32) -> bool| {
            (0..self.count()).any(|other| {
                self.facts(other).name.to_string() == name
                    && matches!(self.states[other as usize], State::Failed { .. })
                    && of(other)
            })
        };
        match by {
            Blocker::Failed(name) => {
                assert!(
                    is_failed(name, &|other| upstream.contains(&other)),
                    "blocked by what is not ahead of it"
                );
                seen.note("blocked by a failure");
            }
            Blocker::Stopping(name) => {
                assert!(!self.case.setup.keep_going, "stopping though it keeps going");
                assert!(is_failed(name, &|other| !upstream.contains(&other)), "blocked by what did not fail");
                seen.note("blocked by a stop");
            }
            Blocker::InDoubt(_) => unreachable!("nothing in this world has an effect outside"),
            Blocker::Interrupted => {
                let cut = self.cut.contains(&instance) || !self.cut.is_disjoint(upstream);
                assert!(self.interrupts > 0 || cut, "blocked by an interrupt that was none");
                self.was_interrupted = true;
                seen.note("blocked by an interrupt");
            }
            Blocker::Frozen(_) => {
                assert!(self.case.setup.frozen);
                seen.note("blocked by a freeze");
            }
            Blocker::BehindFrozen(name) => {
                assert!(self.case.setup.frozen);
                let is_ahead = |other: &u32| self.facts(*other).name.to_string() == *name;
                let ahead = upstream.iter().find(|other| is_ahead(other));
                let ahead = ahead.expect("blocked by what is not ahead of it");
                assert_eq!(self.states[*ahead as usize], State::Blocked, "it would not have to run");
                seen.note("blocked behind a freeze");
            }
        }
    }

    /// What runs is ended when the run is first asked to stop, and killed when it is asked to hurry.
    fn check_terminated(&self, asked: bool, actions: &[Action], seen: &mut Seen) {
        let ended: Vec<(u32, bool)> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Terminate { instance, now } => Some((*instance, *now)),
                _ => None,
            })
            .collect();
        let kill = self.interrupts == 2;
        let running = self.running.iter().filter(|_| asked).map(|instance| (*instance, kill));
        assert_eq!(ended, running.collect::<Vec<_>>(), "ended are not those that run");
        if kill && !ended.is_empty() {
            seen.note("killed");
        }
    }

    /// No step leaves undone what could be done: so no run waits for nothing, or for ever.
    fn check_nothing_is_left_undone(&self, now: Timestamp, seen: &mut Seen) {
        if self.is_halted() {
            let waits = |instance: &u32| self.facts(*instance).selected && !self.is_ended(*instance);
            let left = (0..self.count()).filter(waits).find(|instance| {
                !self.is_spared(*instance)
                    && !self.looking_up.contains(instance)
                    && !self.running.contains(instance)
                    && !self.settling.contains(instance)
            });
            assert_eq!(left, None, "not ended though the run stops");
            assert!(
                self.interrupts < 2 || self.looking_up.is_empty(),
                "waits for a look-up though told twice"
            );
        }
        if self.looking_up.len() < self.case.setup.lookups_max {
            assert_eq!(self.next_lookup(now), None, "could be looked up");
        }
        if self.settling.len() < SETTLING_MAX as usize {
            let choice = self.room.choice(&self.ready, &self.taking(), seen);
            assert_eq!(choice, None, "could be started");
        }
        let next = self.due.values().copied().filter(|at| *at > now).min();
        assert!(next.is_none() || self.wake_at == next, "nobody wakes it at {next:?}: {:?}", self.wake_at);
        for instance in (0..self.count()).filter(|instance| self.facts(*instance).selected) {
            let doomed = self.upstream[instance as usize]
                .iter()
                .any(|other| self.is_ended(*other) && !self.is_done(*other));
            assert!(!doomed || self.is_ended(instance), "{instance} is not blocked by what is ahead of it");
        }
    }

    fn check_end(&mut self, status: RunStatus, counts: Counts, seen: &mut Seen) {
        self.over = true;
        assert!(self.running.is_empty() && self.settling.is_empty(), "ended while attempts are under way");
        assert!(self.looking_up.is_empty(), "ended while look-ups are under way");
        let mut expected = Counts::default();
        for (facts, state) in self.case.setup.instances.iter().zip(&self.states) {
            assert_eq!(facts.selected, state.outcome().is_some(), "{} at the end: {state:?}", facts.name);
            if let Some(outcome) = state.outcome() {
                expected.add(outcome);
            }
        }
        assert_eq!(counts, expected);
        let (expected, note) = if self.was_interrupted {
            (RunStatus::Interrupted, "ended interrupted")
        } else if counts.failed > 0 {
            (RunStatus::Failed, "ended failed")
        } else if counts.blocked > 0 {
            (RunStatus::Frozen, "ended frozen")
        } else {
            (RunStatus::Succeeded, "ended succeeded")
        };
        assert_eq!(status, expected);
        seen.note(note);
    }

    pub(super) fn check_at_the_end(&self, seen: &mut Seen) {
        assert!(self.over, "nothing more happens, and the run has not ended");
        if self.interrupts > 0 {
            return;
        }
        if let Some(outcomes) = predict(self.case) {
            let seen_outcomes: Vec<_> = self.states.iter().map(State::outcome).collect();
            assert_eq!(seen_outcomes, outcomes, "not what was predicted");
            seen.note("what was predicted from the fates alone came true");
        }
    }

    /// The one that must be looked up next.
    fn next_lookup(&self, now: Timestamp) -> Option<u32> {
        let due = self.due.iter().filter(|(_, at)| **at <= now).map(|(instance, _)| *instance);
        due.min_by_key(|instance| self.room.key(*instance))
    }

    fn is_spared(&self, instance: u32) -> bool {
        self.interrupts == 0 && self.spared.contains(&instance)
    }

    fn is_halted(&self) -> bool {
        self.interrupts > 0 || self.stopped_by.is_some()
    }

    fn is_done(&self, instance: u32) -> bool {
        self.states[instance as usize].outcome().is_some_and(Outcome::is_done)
    }

    fn is_ended(&self, instance: u32) -> bool {
        self.states[instance as usize].outcome().is_some()
    }

    fn needs_are_done(&self, instance: u32) -> bool {
        self.facts(instance).needs.iter().all(|need| !self.facts(*need).selected || self.is_done(*need))
    }

    fn facts(&self, instance: u32) -> &'a Facts {
        &self.case.setup.instances[instance as usize]
    }

    fn count(&self) -> u32 {
        u32::try_from(self.states.len()).unwrap()
    }
}

/// What must be recorded of an instance in answer to an input.
#[derive(Debug, PartialEq)]
enum Expected {
    Found,
    Adopted,
    Ran,
    Retrying,
    Failed,
    FailedAndBlocked,
    Blocked,
}

fn upstream(case: &Case, instance: u32) -> BTreeSet<u32> {
    let facts = |instance: u32| &case.setup.instances[instance as usize];
    let mut upstream = BTreeSet::new();
    let mut open = vec![instance];
    while let Some(next) = open.pop() {
        let needs = facts(next).needs.iter().copied();
        open.extend(needs.filter(|need| facts(*need).selected && upstream.insert(*need)));
    }
    upstream
}

fn check_answer(instance: u32, expected: &Expected, actions: &[Action]) {
    let events: Vec<&InstanceEvent> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Record { instance: of, event } if *of == instance => Some(event),
            _ => None,
        })
        .collect();
    let fits = matches!(
        (expected, events.as_slice()),
        (Expected::Found, [InstanceEvent::CheckpointFound { .. }])
            | (Expected::Adopted, [InstanceEvent::AttemptStarted { .. }])
            | (Expected::Ran, [InstanceEvent::Committed { .. }])
            | (Expected::Failed, [InstanceEvent::Failed { .. }])
            | (Expected::Blocked, [InstanceEvent::Blocked { .. }])
            | (Expected::Retrying, [InstanceEvent::AttemptFailed { .. }])
            | (
                Expected::FailedAndBlocked,
                [InstanceEvent::AttemptFailed { .. }, InstanceEvent::Blocked { .. }],
            )
    );
    assert!(fits, "{expected:?} was to be recorded, not {events:?}");
}
