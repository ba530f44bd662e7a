//! A machine that is told what happens and checked for what it answers, both as short texts.

use cairn_model::{
    Blocker, Digest, InputHash, InstanceEvent, InstanceName, Outcome, Reason, RunStatus, Timestamp,
};

use crate::retry::{Backoff, History, Policy};
use crate::step::{Action, Done, Facts, Failure, Found, Input, Machine, Setup};

/// Facts of an instance that needs nothing and takes one cpu.
pub(super) fn facts(name: &str) -> Facts {
    Facts {
        name: InstanceName::new(name.parse().unwrap(), None),
        needs: Vec::new(),
        selected: true,
        cpus: 1,
        memory_bytes: 0,
        pool: None,
        priority: 0,
        critical_path_ms: 0,
        retries: Policy::ONCE,
        history: History::default(),
        force: false,
        held: false,
    }
}

/// Facts of an instance that needs others.
pub(super) fn after(name: &str, needs: &[u32]) -> Facts {
    Facts { needs: needs.to_vec(), ..facts(name) }
}

/// A policy with pauses of 100, 200, 400 … milliseconds.
pub(super) fn attempts(attempts: u32) -> Policy {
    Policy { attempts, delay_ms: 100, backoff: Backoff::Exponential, max_delay_ms: 1_000, jitter: false }
}

/// A run on four cpus that stops at the first failure.
pub(super) fn setup(instances: Vec<Facts>) -> Setup {
    Setup {
        instances,
        jobs: 4,
        memory_bytes: None,
        pools: Vec::new(),
        keep_going: false,
        frozen: false,
        seed: 0,
        lookups_max: 8,
    }
}

pub(super) fn hash() -> InputHash {
    InputHash::from_digest(Digest::from_bytes([1; Digest::LENGTH]))
}

pub(super) struct Script {
    machine: Machine,
    names: Vec<String>,
    now: Timestamp,
}

impl Script {
    /// Makes the machine and begins; expects these actions.
    #[track_caller]
    pub(super) fn begin(setup: Setup, expect: &str) -> Self {
        let mut script = Self::prepare(setup);
        script.check(Input::Begin, expect);
        script
    }

    pub(super) fn prepare(setup: Setup) -> Self {
        let names = setup.instances.iter().map(|facts| facts.name.to_string()).collect();
        Self { machine: Machine::new(setup), names, now: Timestamp(0) }
    }

    /// Has an instance be one that failed before a process took the run over.
    pub(super) fn keep_failed(&mut self, instance: u32, error: &str) {
        self.keep_all_failed(&[instance], error);
    }

    pub(super) fn keep_all_failed(&mut self, instances: &[u32], error: &str) {
        let failed = instances.iter().map(|instance| (*instance, (error.to_owned(), None)));
        self.machine.keep_failed(failed.collect());
    }

    /// Lets it be `millis`.
    pub(super) fn at(&mut self, millis: i64) -> &mut Self {
        self.now = Timestamp(millis);
        self
    }

    #[track_caller]
    pub(super) fn check(&mut self, input: Input, expect: &str) {
        let shown = format!("{input:?}");
        let actions = self.machine.step(self.now, input);
        let seen: Vec<String> = actions.iter().map(|action| self.show(action)).collect();
        assert_eq!(seen.join("; "), expect, "after {shown}");
    }

    #[track_caller]
    pub(super) fn found(&mut self, name: &str, found: Found, expect: &str) {
        self.check(Input::LookedUp { instance: self.number(name), found }, expect);
    }

    #[track_caller]
    pub(super) fn hit(&mut self, name: &str, expect: &str) {
        self.found(
            name,
            Found::Hit { input_hash: hash(), restored: Vec::new(), trashed: Vec::new(), saved_ms: 1 },
            expect,
        );
    }

    #[track_caller]
    pub(super) fn miss(&mut self, name: &str, expect: &str) {
        self.found(name, Found::Miss { input_hash: hash(), reason: Reason::First }, expect);
    }

    #[track_caller]
    pub(super) fn exited(&mut self, name: &str, expect: &str) {
        self.check(Input::Exited { instance: self.number(name) }, expect);
    }

    #[track_caller]
    pub(super) fn succeeds(&mut self, name: &str, expect: &str) {
        let result = Ok(Done { input_hash: hash(), took_ms: 1, trashed: Vec::new(), records: None });
        self.check(Input::Finished { instance: self.number(name), result }, expect);
    }

    #[track_caller]
    pub(super) fn succeeds_over_a_file(&mut self, name: &str, expect: &str) {
        let result = Ok(Done { input_hash: hash(), took_ms: 1, trashed: vec!["t".into()], records: None });
        self.check(Input::Finished { instance: self.number(name), result }, expect);
    }

    #[track_caller]
    pub(super) fn is_not_placed(&mut self, name: &str, expect: &str) {
        let (error, help) = ("in the way".into(), None);
        let result = Err(Failure {
            error,
            help,
            retryable: false,
            interrupted: false,
            committed: true,
            in_doubt: false,
        });
        self.check(Input::Finished { instance: self.number(name), result }, expect);
    }

    #[track_caller]
    pub(super) fn fails(&mut self, name: &str, expect: &str) {
        self.ends_badly(name, true, false, expect);
    }

    #[track_caller]
    pub(super) fn fails_for_good(&mut self, name: &str, expect: &str) {
        self.ends_badly(name, false, false, expect);
    }

    #[track_caller]
    pub(super) fn is_cut(&mut self, name: &str, expect: &str) {
        self.ends_badly(name, true, true, expect);
    }

    #[track_caller]
    pub(super) fn is_in_doubt(&mut self, name: &str, expect: &str) {
        let result = Err(Failure {
            error: "exit 1".into(),
            help: None,
            retryable: false,
            interrupted: false,
            committed: false,
            in_doubt: true,
        });
        self.check(Input::Finished { instance: self.number(name), result }, expect);
    }

    #[track_caller]
    fn ends_badly(&mut self, name: &str, retryable: bool, interrupted: bool, expect: &str) {
        let result = Err(Failure {
            error: "exit 1".into(),
            help: None,
            retryable,
            interrupted,
            committed: false,
            in_doubt: false,
        });
        self.check(Input::Finished { instance: self.number(name), result }, expect);
    }

    fn number(&self, name: &str) -> u32 {
        u32::try_from(self.names.iter().position(|known| known == name).unwrap()).unwrap()
    }

    fn show(&self, action: &Action) -> String {
        let name = |instance: &u32| &self.names[*instance as usize];
        match action {
            Action::LookUp { instance, force: false } => format!("look up {}", name(instance)),
            Action::LookUp { instance, force: true } => format!("look up {} by force", name(instance)),
            Action::Attempt { instance, attempt } => format!("run {}.{attempt}", name(instance)),
            Action::Adopt { instance, attempt } => format!("adopt {}.{attempt}", name(instance)),
            Action::GiveUp { instance } => format!("give up {}", name(instance)),
            Action::Terminate { instance, now: false } => format!("end {}", name(instance)),
            Action::Terminate { instance, now: true } => format!("kill {}", name(instance)),
            Action::Record { instance, event } => format!("{} {}", name(instance), show_event(event)),
            Action::WakeAt(Timestamp(at)) => format!("wake at {at}"),
            Action::End { status: RunStatus::Succeeded, counts } if counts.total() == 0 => {
                "nothing".to_owned()
            }
            Action::End { status, counts } => {
                let counts = Outcome::ALL.iter().filter(|outcome| counts.of(**outcome) > 0);
                let counts: Vec<String> = counts
                    .map(|outcome| {
                        format!("{} {}", action_count(action, *outcome), outcome.as_str().to_lowercase())
                    })
                    .collect();
                format!("{status}: {}", counts.join(", "))
            }
        }
    }
}

fn action_count(action: &Action, outcome: Outcome) -> u32 {
    if let Action::End { counts, .. } = action { counts.of(outcome) } else { 0 }
}

fn show_event(event: &InstanceEvent) -> String {
    match event {
        InstanceEvent::CheckpointFound { .. } => "found".to_owned(),
        InstanceEvent::EffectStands { key, .. } => format!("{key} stands"),
        InstanceEvent::AttemptStarted { attempt, reason: Reason::First, .. } => format!("started {attempt}"),
        InstanceEvent::AttemptStarted { attempt, reason, .. } => {
            format!("started {attempt} ({})", reason.text())
        }
        InstanceEvent::AttemptFailed { attempt, retry_at: Timestamp(at), .. } => {
            format!("failed {attempt}, again at {at}")
        }
        InstanceEvent::Committed { attempt, .. } => format!("committed {attempt}"),
        InstanceEvent::Records { attempt, .. } => format!("records of {attempt}"),
        InstanceEvent::Trashed { attempt, .. } => format!("trashed by {attempt}"),
        InstanceEvent::NotPlaced { attempt, .. } => format!("not placed {attempt}"),
        InstanceEvent::Failed { attempts, .. } => format!("failed after {attempts}"),
        InstanceEvent::InDoubt { attempts, .. } => format!("in doubt after {attempts}"),
        InstanceEvent::Undone { key, .. } => format!("undone {key}"),
        InstanceEvent::Blocked { by } => match by {
            Blocker::Failed(name) => format!("blocked by {name}"),
            Blocker::Stopping(name) => format!("blocked, stopping for {name}"),
            Blocker::InDoubt(name) => format!("blocked by {name}, in doubt"),
            Blocker::Interrupted => "blocked, interrupted".to_owned(),
            Blocker::Frozen(reason) => format!("blocked, frozen ({})", reason.text()),
            Blocker::BehindFrozen(name) => format!("blocked, frozen behind {name}"),
        },
    }
}
