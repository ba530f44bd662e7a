//! Failures that are tried again, in one process and over several.

use cairn_model::{Blocker, InstanceEvent, Reason, Timestamp};

use super::script::{Script, after, attempts, facts, hash, setup};
use crate::retry::{Backoff, History, Policy};
use crate::step::{Facts, Found, Input, Setup};

fn retried(name: &str, tries: u32) -> Facts {
    Facts { retries: attempts(tries), ..facts(name) }
}

#[test]
fn a_failure_is_tried_again_after_its_pause_as_often_as_allowed() {
    let mut run = Script::begin(setup(vec![retried("a", 3)]), "look up a");
    run.at(10).miss("a", "a started 1; run a.1");
    run.at(20).fails("a", "a failed 1, again at 120; wake at 120");
    run.at(120).check(Input::Tick, "look up a");
    run.miss("a", "a started 2 (attempt 1 failed: exit 1); run a.2");
    run.at(130).fails("a", "a failed 2, again at 330; wake at 330");
    run.at(400).check(Input::Tick, "look up a");
    run.miss("a", "a started 3 (attempt 2 failed: exit 1); run a.3");
    run.fails("a", "a failed after 3; failed: 1 failed");
}

#[test]
fn a_retry_may_succeed_or_find_a_checkpoint() {
    for tries_on in [true, false] {
        let mut run = Script::begin(setup(vec![retried("a", 2)]), "look up a");
        run.miss("a", "a started 1; run a.1");
        run.fails("a", "a failed 1, again at 100; wake at 100");
        run.at(100).check(Input::Tick, "look up a");
        if tries_on {
            run.miss("a", "a started 2 (attempt 1 failed: exit 1); run a.2");
            run.succeeds("a", "a committed 2; succeeded: 1 ran");
        } else {
            run.hit("a", "a found; succeeded: 1 fresh");
        }
    }
}

#[test]
fn what_came_of_placing_is_an_event_of_its_own_and_counts_once() {
    let mut run = Script::begin(setup(vec![retried("a", 3), retried("b", 3)]), "look up a; look up b");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "b started 1; run b.1");
    run.succeeds_over_a_file("a", "a committed 1; a trashed by 1");
    run.is_not_placed("b", "b not placed 1; failed: 1 ran, 1 failed");
}

#[test]
fn what_is_hopeless_is_not_tried_again() {
    let mut run = Script::begin(setup(vec![retried("a", 3)]), "look up a");
    run.miss("a", "a started 1; run a.1");
    run.fails_for_good("a", "a failed after 1; failed: 1 failed");

    let mut run = Script::begin(setup(vec![retried("a", 3)]), "look up a");
    let broken = Found::Broken { error: "no file `x`".into(), help: None };
    run.found("a", broken, "a failed after 0; failed: 1 failed");
}

#[test]
fn zero_attempts_are_one() {
    let mut run = Script::begin(setup(vec![retried("a", 0)]), "look up a");
    run.miss("a", "a started 1; run a.1");
    run.fails("a", "a failed after 1; failed: 1 failed");
}

#[test]
fn a_pause_holds_nothing_up_and_gives_its_room_away() {
    let one = Setup { jobs: 1, ..setup(vec![retried("a", 2), facts("b")]) };
    let mut run = Script::begin(one, "look up a; look up b");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "");
    run.fails("a", "a failed 1, again at 100; b started 1; run b.1; wake at 100");
    run.at(150).succeeds("b", "b committed 1; look up a");
}

#[test]
fn the_earliest_retry_is_asked_for_and_again_when_woken_early() {
    let slow = Facts { retries: Policy { delay_ms: 500, ..attempts(2) }, ..facts("a") };
    let mut run = Script::begin(setup(vec![slow, retried("b", 2)]), "look up a; look up b");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "b started 1; run b.1");
    run.fails("a", "a failed 1, again at 500; wake at 500");
    run.fails("b", "b failed 1, again at 100; wake at 100");
    run.at(99).check(Input::Tick, "wake at 100");
    run.at(100).check(Input::Tick, "look up b; wake at 500");
    run.at(499).miss("b", "b started 2 (attempt 1 failed: exit 1); run b.2");
    run.at(500).check(Input::Tick, "look up a");
}

#[test]
fn without_a_pause_it_is_tried_at_once() {
    let policy = Policy { attempts: 2, ..Policy::ONCE };
    let mut run = Script::begin(setup(vec![Facts { retries: policy, ..facts("a") }]), "look up a");
    run.miss("a", "a started 1; run a.1");
    run.at(7).fails("a", "a failed 1, again at 7; look up a");
}

#[test]
fn jitter_is_the_same_for_the_same_seed_in_whatever_order_things_end() {
    let jittered = |name| {
        let policy = Policy {
            attempts: 2,
            delay_ms: 1_000_000,
            jitter: true,
            backoff: Backoff::Constant,
            max_delay_ms: u64::MAX,
        };
        Facts { retries: policy, ..facts(name) }
    };
    let pauses = |seed, order: [u32; 2]| {
        let mut machine =
            crate::step::Machine::new(Setup { seed, ..setup(vec![jittered("a"), jittered("b")]) });
        machine.step(Timestamp(0), Input::Begin);
        for instance in order {
            let found = Found::Miss { input_hash: hash(), reason: Reason::First };
            machine.step(Timestamp(0), Input::LookedUp { instance, found });
        }
        for instance in order {
            let failure = crate::step::Failure {
                error: String::new(),
                help: None,
                retryable: true,
                interrupted: false,
                committed: false,
                in_doubt: false,
            };
            machine.step(Timestamp(0), Input::Finished { instance, result: Err(failure) });
        }
        machine.states().to_vec()
    };
    assert_eq!(pauses(1, [0, 1]), pauses(1, [1, 0]));
    assert_ne!(pauses(1, [0, 1]), pauses(2, [0, 1]));
    let states = pauses(1, [0, 1]);
    assert_ne!(states[0], states[1], "each instance draws for itself");
}

fn history(events: &[InstanceEvent]) -> History {
    let mut history = History::default();
    for event in events {
        history.record(event);
    }
    history
}

fn started(attempt: u32) -> InstanceEvent {
    InstanceEvent::AttemptStarted { attempt, input_hash: hash(), reason: Reason::First }
}

fn failed(attempt: u32, retry_at: i64) -> InstanceEvent {
    InstanceEvent::AttemptFailed { attempt, error: "exit 1".into(), retry_at: Timestamp(retry_at) }
}

fn resumed(tries: u32, events: &[InstanceEvent]) -> Setup {
    setup(vec![Facts { history: history(events), ..retried("a", tries) }])
}

#[test]
fn a_resumed_run_waits_as_long_and_tries_as_often_as_an_undisturbed_one() {
    let mut run = Script::begin(resumed(2, &[started(1), failed(1, 70)]), "wake at 70");
    run.at(70).check(Input::Tick, "look up a");
    run.miss("a", "a started 2 (attempt 1 failed: exit 1); run a.2");
    run.fails("a", "a failed after 2; failed: 1 failed");
}

#[test]
fn a_pause_that_is_over_is_not_waited_for() {
    let mut run = Script::prepare(resumed(2, &[started(1), failed(1, 70)]));
    run.at(71).check(Input::Begin, "look up a");
}

#[test]
fn a_pause_from_a_wrong_clock_is_no_longer_than_the_policys() {
    Script::begin(resumed(2, &[started(1), failed(1, i64::MAX)]), "wake at 100");
}

/// An attempt that was cut off takes a number but no try, or an instance of one attempt could not be resumed.
#[test]
fn a_cut_off_attempt_takes_no_try_away() {
    let cut = [started(1)];
    let stopped = [started(1), InstanceEvent::Blocked { by: Blocker::Interrupted }];
    for events in [&cut[..], &stopped[..]] {
        let mut run = Script::begin(resumed(2, events), "look up a");
        run.miss("a", "a started 2 (attempt 1 was cut off); run a.2");
        run.fails("a", "a failed 2, again at 100; wake at 100");
        run.at(100).check(Input::Tick, "look up a");
        run.miss("a", "a started 3 (attempt 2 failed: exit 1); run a.3");
        run.fails("a", "a failed after 3; failed: 1 failed");
    }
}

#[test]
fn resuming_after_the_last_try_grants_all_of_them_again() {
    let used_up = InstanceEvent::Failed { attempts: 2, error: "exit 1".into(), help: None };
    let mut run = Script::begin(resumed(2, &[started(1), failed(1, 0), started(2), used_up]), "look up a");
    run.miss("a", "a started 3 (attempt 2 failed: exit 1); run a.3");
    run.fails("a", "a failed 3, again at 100; wake at 100");
}

#[test]
fn what_failed_before_a_process_took_over_unasked_is_not_executed_again() {
    let used_up = InstanceEvent::Failed { attempts: 1, error: "exit 1".into(), help: None };
    let instances = || {
        let before = Facts { history: history(&[started(1), used_up.clone()]), ..facts("a") };
        Setup { keep_going: true, ..setup(vec![before, facts("b"), after("c", &[0])]) }
    };
    let mut run = Script::prepare(instances());
    run.keep_failed(0, "exit 1");
    run.check(Input::Begin, "look up a; look up b");
    run.miss("a", "a failed after 1; c blocked by a");
    run.miss("b", "b started 1; run b.1");
    run.succeeds("b", "b committed 1; failed: 1 ran, 1 failed, 1 blocked");
    // A checkpoint that another run made meanwhile is as good as ever.
    let mut run = Script::prepare(instances());
    run.keep_failed(0, "exit 1");
    run.check(Input::Begin, "look up a; look up b");
    run.hit("a", "a found; look up c");
}

#[test]
fn all_that_failed_before_stay_failed_although_the_first_of_them_stops_the_run() {
    let setup = Setup { lookups_max: 1, ..setup(vec![facts("a"), facts("b"), facts("c")]) };
    let mut run = Script::prepare(setup);
    run.keep_all_failed(&[0, 2], "exit 1");
    run.check(Input::Begin, "look up a");
    run.miss("a", "a failed after 0; b blocked, stopping for a; look up c");
    run.miss("c", "c failed after 0; failed: 2 failed, 1 blocked");
}

#[test]
fn force_does_not_repeat_what_the_run_has_executed() {
    let committed = InstanceEvent::Committed { attempt: 1, input_hash: hash(), took_ms: 1 };
    let forced =
        |events: &[InstanceEvent]| setup(vec![Facts { force: true, history: history(events), ..facts("a") }]);
    Script::begin(forced(&[]), "look up a by force");
    Script::begin(forced(&[started(1)]), "look up a by force");
    Script::begin(forced(&[started(1), committed]), "look up a");
}

#[test]
fn a_forced_retry_is_forced_too() {
    let mut run = Script::begin(setup(vec![Facts { force: true, ..retried("a", 2) }]), "look up a by force");
    run.miss("a", "a started 1; run a.1");
    run.fails("a", "a failed 1, again at 100; wake at 100");
    run.at(100).check(Input::Tick, "look up a by force");
}
