//! The machine itself: the rules, event by event.

use std::collections::{BTreeSet, HashMap, VecDeque};

use cairn_model::{Blocker, Counts, InputHash, InstanceEvent, Reason, RunStatus, State, Timestamp};

use super::agenda::Agenda;
use super::{Action, Dependents, Done, Facts, Failure, Found, Input, Setup};
use crate::retry::{Dice, History};

/// Why an attempt goes on that a process before had started: what its start says once more.
const ADOPTED: &str = "adopted: it went on when the process that had started it ended";

/// A run as it goes on: see the [module's page](super).
#[derive(Debug)]
pub struct Machine {
    instances: Vec<Instance>,
    /// Those of which an attempt goes on that a process before had started, and nothing was decided yet.
    held: BTreeSet<u32>,
    states: Vec<State>,
    dependents: Dependents,
    agenda: Agenda,
    keep_going: bool,
    frozen: bool,
    seed: u64,
    progress: Progress,
    halt: Halt,
    /// The run's status, were it to end now.
    status: RunStatus,
    counts: Counts,
    selected: u32,
    /// What is to be done, while a step goes on.
    actions: Vec<Action>,
    /// Instances that failed before this process took the run over.
    failed_before: HashMap<u32, (String, Option<String>)>,
}

#[derive(Debug)]
struct Instance {
    facts: Facts,
    /// Whether it is forced, and the run has not executed it before.
    force: bool,
    phase: Phase,
}

/// Where the machine has an instance: finer than its [`State`], and never stored.
#[derive(Debug)]
enum Phase {
    /// Takes no part.
    Unselected,
    /// So many of its needs are not done.
    Needs(u32),
    /// Waits for its look-up, or before that for the time of its retry.
    Queued,
    LookingUp,
    /// Waits for room.
    Ready {
        input_hash: InputHash,
        reason: Reason,
    },
    /// Its command runs.
    Running,
    /// Its command has ended, and its result is not durable yet.
    Settling,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Before,
    Begun,
    Over,
}

/// Why nothing new starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Halt {
    None,
    /// This instance failed.
    Failure(u32),
    /// Interrupted once.
    Gentle,
    /// Interrupted twice.
    Now,
}

impl Machine {
    /// Prepares a run; it begins with [`Input::Begin`], or ends with [`Input::Interrupt`] before that.
    ///
    /// # Panics
    ///
    /// When a need or a pool is not among those of the setup.
    pub fn new(setup: Setup) -> Self {
        let mut agenda = Agenda::new(&setup);
        let Setup { instances, keep_going, frozen, seed, .. } = setup;
        let selected = |instance: u32| instances[instance as usize].selected;
        let pairs =
            (0..).zip(&instances).flat_map(|(i, facts)| facts.needs.iter().map(move |need| (i, *need)));
        let pairs = pairs.filter(|(instance, need)| selected(*instance) && selected(*need));
        let dependents = Dependents::new(instances.len(), pairs.clone());
        let mut needs_left = vec![0; instances.len()];
        for (instance, _) in pairs {
            needs_left[instance as usize] += 1;
        }
        let held = (0..).zip(&instances).filter(|(_, facts)| facts.held && facts.selected);
        let held: BTreeSet<u32> = held.map(|(instance, _)| instance).collect();
        for instance in &held {
            agenda.hold(*instance);
        }
        Self {
            states: vec![State::Waiting; instances.len()],
            held,
            selected: instances.iter().map(|facts| u32::from(facts.selected)).sum(),
            instances: instances
                .into_iter()
                .zip(needs_left)
                .map(|(facts, left)| Instance {
                    force: facts.force && !facts.history.is_done(),
                    phase: if facts.selected { Phase::Needs(left) } else { Phase::Unselected },
                    facts,
                })
                .collect(),
            dependents,
            agenda,
            keep_going,
            frozen,
            seed,
            progress: Progress::Before,
            halt: Halt::None,
            status: RunStatus::Succeeded,
            counts: Counts::default(),
            actions: Vec::new(),
            failed_before: HashMap::new(),
        }
    }

    /// Has instances that failed for good, in the part of the run that a process before had begun and could not end, stay
    /// failed, with their errors and helps: they are not executed again, since nobody asked for that.
    pub fn keep_failed(&mut self, failed: HashMap<u32, (String, Option<String>)>) {
        self.failed_before = failed;
    }

    /// Returns whether an instance had failed before this process took the run over.
    pub fn had_failed(&self, instance: u32) -> bool {
        self.failed_before.contains_key(&instance)
    }

    /// Takes in what happened, and returns what is to be done, in order. After [`Action::End`] nothing is.
    ///
    /// `now` is only compared with the times of retries; it should not leap when the wall clock is set: read the wall
    /// clock once and add what has passed.
    ///
    /// # Panics
    ///
    /// When the input cannot happen: an attempt ends that was not started, say.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Action> {
        if self.progress == Progress::Over {
            return Vec::new();
        }
        match input {
            Input::Begin => self.begin(now),
            Input::LookedUp { instance, found } => self.looked_up(instance, found, now),
            Input::Exited { instance } => self.exited(instance),
            Input::Finished { instance, result } => self.finished(instance, result, now),
            Input::Tick => self.agenda.woken(),
            Input::Interrupt => match self.halt {
                Halt::None | Halt::Failure(_) => self.stop(Halt::Gentle),
                Halt::Gentle => self.stop(Halt::Now),
                Halt::Now => {}
            },
            Input::Stop => match self.halt {
                Halt::None | Halt::Failure(_) => self.stop(Halt::Gentle),
                Halt::Gentle | Halt::Now => {}
            },
        }
        self.go_on(now);
        std::mem::take(&mut self.actions)
    }

    /// Returns how many instances take part.
    pub fn selected(&self) -> u32 {
        self.selected
    }

    /// Returns whether all that goes on is that results are made durable.
    pub fn only_settles(&self) -> bool {
        self.agenda.only_settles()
    }

    /// Returns the state of each instance; one that is not selected stays waiting.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    fn begin(&mut self, now: Timestamp) {
        assert!(self.progress == Progress::Before, "a run begins once");
        self.progress = Progress::Begun;
        for instance in self.all() {
            if matches!(self.phase(instance), Phase::Needs(0)) {
                self.enqueue(instance, now);
            }
        }
    }

    fn looked_up(&mut self, instance: u32, found: Found, now: Timestamp) {
        if !matches!(self.phase(instance), Phase::LookingUp) {
            assert!(self.halt == Halt::Now, "`{}` was not being looked up", self.name(instance));
            return;
        }
        self.agenda.looked_up();
        match found {
            Found::Hit { input_hash, restored, trashed, saved_ms } => {
                self.record(
                    instance,
                    InstanceEvent::CheckpointFound { input_hash, restored, trashed, saved_ms },
                );
                self.let_go_on(instance, now);
            }
            Found::Stands { input_hash, key, restored, trashed, saved_ms } => {
                let event = InstanceEvent::EffectStands { input_hash, key, restored, trashed, saved_ms };
                self.record(instance, event);
                self.let_go_on(instance, now);
            }
            Found::Held { input_hash, attempt } => match self.halt {
                // As with all that runs: a failure elsewhere does not end it.
                Halt::None | Halt::Failure(_) => self.adopt(instance, attempt, input_hash),
                Halt::Gentle | Halt::Now => self.block(instance, Blocker::Interrupted),
            },
            Found::Miss { input_hash, reason } => self.missed(instance, input_hash, reason),
            Found::InDoubt { error, help } => self.in_doubt(instance, error, help),
            Found::Broken { error, help } => self.fail(instance, error, help),
            Found::Stopped => {
                self.block(instance, Blocker::Interrupted);
                self.block_behind(instance, &Blocker::Interrupted);
            }
        }
    }

    /// There is no result of an instance: it is executed, unless it failed before, or the run is to end.
    fn missed(&mut self, instance: u32, input_hash: InputHash, reason: Reason) {
        if matches!(self.halt, Halt::None | Halt::Failure(_))
            && let Some((error, help)) = self.failed_before.get(&instance).cloned()
        {
            return self.fail(instance, error, help);
        }
        if self.held.remove(&instance) {
            self.agenda.let_go(instance);
        }
        let reason = self.history(instance).again().unwrap_or(reason);
        if let Some(by) = self.halted_by() {
            self.block(instance, by.clone());
            self.block_behind(instance, &by);
        } else if self.frozen {
            self.block(instance, Blocker::Frozen(reason));
            self.block_behind(instance, &Blocker::BehindFrozen(self.name(instance)));
        } else {
            self.agenda.add_ready(instance);
            self.set(instance, Phase::Ready { input_hash, reason });
        }
    }

    fn exited(&mut self, instance: u32) {
        assert!(matches!(self.phase(instance), Phase::Running), "`{}` was not running", self.name(instance));
        self.agenda.exited(instance);
        self.set(instance, Phase::Settling);
    }

    fn finished(&mut self, instance: u32, result: Result<Done, Failure>, now: Timestamp) {
        if matches!(self.phase(instance), Phase::Running) {
            self.exited(instance);
        }
        assert!(matches!(self.phase(instance), Phase::Settling), "`{}` had no attempt", self.name(instance));
        self.agenda.settled();
        match result {
            Ok(Done { input_hash, took_ms, trashed, records }) => {
                let attempt = self.history(instance).attempts;
                if let Some(counts) = records {
                    self.record(instance, InstanceEvent::Records { attempt, counts });
                }
                self.record(instance, InstanceEvent::Committed { attempt, input_hash, took_ms });
                if !trashed.is_empty() {
                    self.record(instance, InstanceEvent::Trashed { attempt, paths: trashed });
                }
                self.let_go_on(instance, now);
            }
            Err(failure) => self.attempt_failed(instance, failure, now),
        }
    }

    fn attempt_failed(&mut self, instance: u32, failure: Failure, now: Timestamp) {
        let Failure { error, help, retryable, interrupted, committed, in_doubt } = failure;
        let policy = self.instances[instance as usize].facts.retries;
        let History { attempts: attempt, failures: failures_before, .. } = *self.history(instance);
        let failures = failures_before + 1;
        if committed {
            self.record(instance, InstanceEvent::NotPlaced { attempt, error, help });
            self.failed(instance);
        } else if in_doubt {
            self.in_doubt(instance, error, help);
        } else if interrupted {
            self.block(instance, Blocker::Interrupted);
            self.block_behind(instance, &Blocker::Interrupted);
        } else if retryable && policy.allows_more_after(failures) {
            let pause_ms = policy.pause_ms(failures, Dice { seed: self.seed, instance, attempt });
            let retry_at = now.plus_millis(pause_ms);
            self.record(instance, InstanceEvent::AttemptFailed { attempt, error, retry_at });
            match self.halted_by() {
                // Its failure and its pause are in the log, for who resumes the run.
                Some(by) => {
                    self.block(instance, by.clone());
                    self.block_behind(instance, &by);
                }
                None => self.enqueue(instance, now),
            }
        } else {
            self.fail(instance, error, help);
        }
    }

    /// Ends an instance as failed for good.
    fn fail(&mut self, instance: u32, error: String, help: Option<String>) {
        let attempts = self.history(instance).attempts;
        self.record(instance, InstanceEvent::Failed { attempts, error, help });
        self.failed(instance);
    }

    /// Ends an instance whose effect a person is to settle: what is behind it waits for that.
    fn in_doubt(&mut self, instance: u32, error: String, help: Option<String>) {
        let attempts = self.history(instance).attempts;
        self.record(instance, InstanceEvent::InDoubt { attempts, error, help });
        self.stop_behind(instance, &Blocker::InDoubt(self.name(instance)));
    }

    /// Does what follows from an instance's failure.
    fn failed(&mut self, instance: u32) {
        self.stop_behind(instance, &Blocker::Failed(self.name(instance)));
    }

    /// Blocks all behind an instance that did not end well, and stops the run unless it keeps going.
    fn stop_behind(&mut self, instance: u32, by: &Blocker) {
        self.block_behind(instance, by);
        if !self.keep_going && self.halt == Halt::None {
            self.stop(Halt::Failure(instance));
        }
    }

    /// Lets those go on that waited for `instance`, which is done.
    fn let_go_on(&mut self, instance: u32, now: Timestamp) {
        for place in self.dependents.range(instance) {
            let dependent = self.dependents.at(place);
            if let Phase::Needs(left) = &mut self.instances[dependent as usize].phase {
                *left -= 1;
                if *left == 0 {
                    self.enqueue(dependent, now);
                }
            }
        }
    }

    /// Queues an instance for its look-up, at once or at the time of its retry.
    fn enqueue(&mut self, instance: u32, now: Timestamp) {
        let Facts { retries, history, .. } = &self.instances[instance as usize].facts;
        // A time from before a resume may come from a clock that was wrong: no pause is longer than the policy's.
        let latest = now.plus_millis(retries.pause_max_ms(history.failures));
        let at = history.retry_at().map(|at| at.min(latest)).filter(|at| *at > now);
        // One that goes on need not wait.
        self.agenda.add(instance, at.filter(|_| !self.held.contains(&instance)));
        self.set(instance, Phase::Queued);
    }

    /// Starts nothing more, blocks what has not started, and ends what runs if `halt` says so. What was started, or had failed,
    /// before this process took the run over is found out about nevertheless after a failure.
    fn stop(&mut self, halt: Halt) {
        self.halt = halt;
        let by = self.halted_by().expect("no caller passes `Halt::None`");
        let began = if matches!(halt, Halt::Failure(_)) { self.began_before() } else { BTreeSet::new() };
        self.agenda.clear_but(&began);
        for instance in self.all() {
            match (self.phase(instance), halt) {
                (Phase::Needs(_) | Phase::Queued, _) if began.contains(&instance) => {}
                (Phase::Ready { .. }, _) if began.contains(&instance) => {
                    self.block(instance, by.clone());
                    self.block_behind(instance, &by);
                }
                (Phase::Needs(_) | Phase::Queued | Phase::Ready { .. }, _) => {
                    self.block(instance, by.clone());
                }
                (Phase::LookingUp, Halt::Now) => {
                    self.agenda.looked_up();
                    self.block(instance, by.clone());
                }
                (Phase::Running, Halt::Gentle | Halt::Now) => {
                    self.actions.push(Action::Terminate { instance, now: halt == Halt::Now });
                }
                (
                    Phase::LookingUp | Phase::Running | Phase::Unselected | Phase::Settling | Phase::Ended,
                    Halt::None | Halt::Failure(_) | Halt::Gentle | Halt::Now,
                ) => {}
            }
        }
    }

    /// Returns the instances that are held, or had failed before, and all that they need.
    fn began_before(&self) -> BTreeSet<u32> {
        let mut left: Vec<u32> = self.held.iter().chain(self.failed_before.keys()).copied().collect();
        let mut began = BTreeSet::new();
        while let Some(instance) = left.pop() {
            if began.insert(instance) {
                left.extend(&self.instances[instance as usize].facts.needs);
            }
        }
        began
    }

    /// Blocks all behind `instance` that have not ended: none of them has started.
    fn block_behind(&mut self, instance: u32, by: &Blocker) {
        let mut blocked = VecDeque::from([instance]);
        while let Some(next) = blocked.pop_front() {
            for place in self.dependents.range(next) {
                let dependent = self.dependents.at(place);
                if matches!(self.phase(dependent), Phase::Needs(_)) {
                    self.block(dependent, by.clone());
                    blocked.push_back(dependent);
                }
            }
        }
    }

    fn block(&mut self, instance: u32, by: Blocker) {
        self.record(instance, InstanceEvent::Blocked { by });
    }

    /// Does what can be done now: look-ups, starts, the end.
    fn go_on(&mut self, now: Timestamp) {
        while let Some(instance) = self.agenda.next_lookup(now) {
            let force = self.instances[instance as usize].force;
            self.actions.push(Action::LookUp { instance, force });
            self.set(instance, Phase::LookingUp);
        }
        while let Some(instance) = self.agenda.next_start() {
            self.start(instance);
        }
        if !self.agenda.is_under_way() {
            // What is held may need what finds no room beside it.
            for instance in &self.held {
                self.agenda.yield_room(*instance);
            }
            while let Some(instance) = self.agenda.next_start() {
                self.start(instance);
            }
        }
        self.actions.extend(self.agenda.wake_at().map(Action::WakeAt));

        let idle = !self.agenda.is_under_way();
        if self.counts.total() == self.selected
            && (self.progress == Progress::Begun || self.halt != Halt::None)
        {
            assert!(idle, "every instance has ended, and something is under way");
            self.progress = Progress::Over;
            self.actions.push(Action::End { status: self.status, counts: self.counts });
        } else if self.progress == Progress::Begun {
            assert!(!idle || self.agenda.is_waiting(), "nothing can happen any more: the needs form a cycle");
        }
    }

    fn start(&mut self, instance: u32) {
        let phase = std::mem::replace(&mut self.instances[instance as usize].phase, Phase::Running);
        let Phase::Ready { input_hash, reason } = phase else {
            unreachable!("only what is ready stands in the ready queue");
        };
        let attempt = self.history(instance).attempts + 1;
        self.record(instance, InstanceEvent::AttemptStarted { attempt, input_hash, reason });
        self.actions.push(Action::Attempt { instance, attempt });
    }

    /// Has an attempt go on that a process before had started.
    fn adopt(&mut self, instance: u32, attempt: u32, input_hash: InputHash) {
        let held = self.held.remove(&instance);
        assert!(held, "no attempt of `{}` is held", self.name(instance));
        self.agenda.adopted();
        self.set(instance, Phase::Running);
        let reason = Reason::Again(ADOPTED.to_owned());
        self.record(instance, InstanceEvent::AttemptStarted { attempt, input_hash, reason });
        self.actions.push(Action::Adopt { instance, attempt });
    }

    /// Changes an instance's state: the only place that does.
    fn record(&mut self, instance: u32, event: InstanceEvent) {
        let state = &mut self.states[instance as usize];
        let before = std::mem::replace(state, State::Waiting);
        let outcome_before = before.outcome();
        *state = before.after(&event).expect("the machine makes no event that is illegal in the state");
        if let Some(outcome) = state.outcome().filter(|_| outcome_before.is_none()) {
            self.counts.add(outcome);
            self.instances[instance as usize].phase = Phase::Ended;
        }
        self.instances[instance as usize].facts.history.record(&event);
        self.status = match (&event, self.status) {
            (InstanceEvent::Blocked { by: Blocker::Interrupted }, _) => RunStatus::Interrupted,
            (
                InstanceEvent::Failed { .. } | InstanceEvent::NotPlaced { .. },
                RunStatus::Succeeded | RunStatus::Frozen,
            ) => RunStatus::Failed,
            // A failure can be mended and run again; this one needs a person first.
            (InstanceEvent::InDoubt { .. }, RunStatus::Succeeded | RunStatus::Frozen | RunStatus::Failed) => {
                RunStatus::InDoubt
            }
            (InstanceEvent::Blocked { by: Blocker::Frozen(_) }, RunStatus::Succeeded) => RunStatus::Frozen,
            (_, status) => status,
        };
        self.actions.push(Action::Record { instance, event });
        let has_ended = matches!(self.phase(instance), Phase::Ended);
        if has_ended && self.held.remove(&instance) {
            self.agenda.let_go(instance);
            self.actions.push(Action::GiveUp { instance });
        }
    }

    fn halted_by(&self) -> Option<Blocker> {
        match self.halt {
            Halt::None => None,
            Halt::Failure(instance) => Some(Blocker::Stopping(self.name(instance))),
            Halt::Gentle | Halt::Now => Some(Blocker::Interrupted),
        }
    }

    fn all(&self) -> std::ops::Range<u32> {
        0..u32::try_from(self.instances.len()).expect("the language allows a million instances")
    }

    fn phase(&self, instance: u32) -> &Phase {
        &self.instances[instance as usize].phase
    }

    fn set(&mut self, instance: u32, phase: Phase) {
        self.instances[instance as usize].phase = phase;
    }

    fn history(&self, instance: u32) -> &History {
        &self.instances[instance as usize].facts.history
    }

    fn name(&self, instance: u32) -> String {
        self.instances[instance as usize].facts.name.to_string()
    }
}
