//! Big runs: none of them may cost more than their size. Were anything quadratic, these tests would not end.

use cairn_model::{Digest, InputHash, InstanceName, Reason, RunStatus, Timestamp};

use crate::retry::{History, Policy};
use crate::step::{Action, Done, Facts, Found, Input, Machine, Setup};

const COUNT: u32 = 30_000;

fn facts(number: u32, needs: Vec<u32>) -> Facts {
    Facts {
        name: InstanceName::new("s".parse().unwrap(), Some(number.to_string())),
        needs,
        selected: true,
        cpus: 1,
        memory_bytes: 0,
        pool: None,
        priority: 0,
        critical_path_ms: u64::from(number % 7),
        retries: Policy::ONCE,
        history: History::default(),
        force: false,
        held: false,
    }
}

/// Runs everything at once, and returns how the run ended and how many attempts there were.
fn run(instances: Vec<Facts>, hit: bool) -> (RunStatus, u32) {
    let setup = Setup {
        instances,
        jobs: 2,
        memory_bytes: Some(100),
        pools: vec![1],
        keep_going: true,
        frozen: false,
        seed: 0,
        lookups_max: 16,
    };
    let input_hash = InputHash::from_digest(Digest::from_bytes([0; Digest::LENGTH]));
    let mut machine = Machine::new(setup);
    let mut inputs = std::collections::VecDeque::from([Input::Begin]);
    let mut attempts = 0;
    while let Some(input) = inputs.pop_front() {
        for action in machine.step(Timestamp(0), input) {
            match action {
                Action::LookUp { instance, .. } if hit => {
                    let found =
                        Found::Hit { input_hash, restored: Vec::new(), trashed: Vec::new(), saved_ms: 0 };
                    inputs.push_back(Input::LookedUp { instance, found });
                }
                Action::LookUp { instance, .. } => {
                    let found = Found::Miss { input_hash, reason: Reason::First };
                    inputs.push_back(Input::LookedUp { instance, found });
                }
                Action::Attempt { instance, .. } => {
                    attempts += 1;
                    let done = Done { input_hash, took_ms: 0, trashed: Vec::new(), records: None };
                    inputs.push_back(Input::Exited { instance });
                    inputs.push_back(Input::Finished { instance, result: Ok(done) });
                }
                Action::End { status, .. } => return (status, attempts),
                Action::Adopt { .. }
                | Action::GiveUp { .. }
                | Action::Terminate { .. }
                | Action::Record { .. }
                | Action::WakeAt(_) => {}
            }
        }
    }
    panic!("the run did not end");
}

#[test]
fn thousands_without_needs() {
    let independent = || (0..COUNT).map(|number| facts(number, Vec::new())).collect();
    assert_eq!(run(independent(), false), (RunStatus::Succeeded, COUNT));
    assert_eq!(run(independent(), true), (RunStatus::Succeeded, 0));
}

#[test]
fn a_chain_of_thousands() {
    let chain = (0..COUNT).map(|number| facts(number, number.checked_sub(1).into_iter().collect()));
    assert_eq!(run(chain.collect(), false), (RunStatus::Succeeded, COUNT));
}

#[test]
fn one_that_gathers_thousands() {
    let mut instances: Vec<Facts> = (0..COUNT).map(|number| facts(number, Vec::new())).collect();
    instances.push(facts(COUNT, (0..COUNT).collect()));
    assert_eq!(run(instances, false), (RunStatus::Succeeded, COUNT + 1));
}

/// Most wait for a pool of one while others pass them: what waits must not be looked at again for each start.
#[test]
fn thousands_of_which_most_wait_for_room() {
    let crowded = (0..COUNT).map(|number| Facts {
        pool: (number % 4 != 0).then_some(0),
        memory_bytes: u64::from(number % 3) * 50,
        cpus: 1 + number % 2,
        ..facts(number, Vec::new())
    });
    assert_eq!(run(crowded.collect(), false), (RunStatus::Succeeded, COUNT));
}
