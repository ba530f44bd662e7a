//! Failure, `--keep-going`, `--frozen`, interrupts: what ends how.

use super::script::{Script, after, attempts, facts, setup};
use crate::step::{Facts, Found, Input, Setup};

/// `a` and `b` run; `c` needs `a`, `d` needs `c`, `e` needs `b`; `f` waits for one of two cpus.
fn two_of_six(keep_going: bool) -> Script {
    let instances =
        vec![facts("a"), facts("b"), after("c", &[0]), after("d", &[2]), after("e", &[1]), facts("f")];
    let two = Setup { jobs: 2, keep_going, ..setup(instances) };
    let mut run = Script::begin(two, "look up a; look up b; look up f");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "b started 1; run b.1");
    run.miss("f", "");
    run
}

#[test]
fn a_failure_stops_the_run_but_not_what_runs() {
    let mut run = two_of_six(false);
    run.fails(
        "a",
        "a failed after 1; c blocked by a; d blocked by a; e blocked, stopping for a; f blocked, stopping for a",
    );
    run.succeeds("b", "b committed 1; failed: 1 ran, 1 failed, 4 blocked");
}

#[test]
fn a_second_failure_while_stopping_is_told_too() {
    let mut run = two_of_six(false);
    run.fails(
        "a",
        "a failed after 1; c blocked by a; d blocked by a; e blocked, stopping for a; f blocked, stopping for a",
    );
    run.fails("b", "b failed after 1; failed: 2 failed, 4 blocked");
}

#[test]
fn keep_going_blocks_only_what_is_behind() {
    let mut run = two_of_six(true);
    run.fails("a", "a failed after 1; c blocked by a; d blocked by a; f started 1; run f.1");
    run.succeeds("b", "b committed 1; look up e");
    run.miss("e", "e started 1; run e.1");
    run.fails("f", "f failed after 1");
    run.succeeds("e", "e committed 1; failed: 2 ran, 2 failed, 2 blocked");
}

#[test]
fn no_retry_starts_while_stopping_and_its_failure_is_kept() {
    let retried = |name| Facts { retries: attempts(2), ..facts(name) };
    let mut run =
        Script::begin(setup(vec![retried("a"), retried("b"), facts("c")]), "look up a; look up b; look up c");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "b started 1; run b.1");
    run.miss("c", "c started 1; run c.1");
    run.fails("a", "a failed 1, again at 100; wake at 100");
    run.fails("c", "c failed after 1; a blocked, stopping for c");
    run.fails("b", "b failed 1, again at 100; b blocked, stopping for c; failed: 1 failed, 2 blocked");
}

#[test]
fn look_ups_under_way_are_waited_for_when_the_run_stops() {
    let instances = vec![facts("a"), facts("b"), facts("c"), after("d", &[1])];
    let mut run = Script::begin(setup(instances), "look up a; look up b; look up c");
    let broken = Found::Broken { error: "no file `x`".into(), help: None };
    run.found("a", broken, "a failed after 0; d blocked, stopping for a");
    run.hit("b", "b found");
    run.miss("c", "c blocked, stopping for a; failed: 1 fresh, 1 failed, 2 blocked");
}

#[test]
fn frozen_runs_nothing_and_tells_all_that_would() {
    let instances = vec![facts("a"), facts("b"), after("c", &[0]), after("d", &[2]), after("e", &[1])];
    let mut run = Script::begin(Setup { frozen: true, ..setup(instances) }, "look up a; look up b");
    run.miss(
        "a",
        "a blocked, frozen (never ran before); c blocked, frozen behind a; d blocked, frozen behind a",
    );
    run.hit("b", "b found; look up e");
    run.miss("e", "e blocked, frozen (never ran before); frozen: 1 fresh, 4 blocked");
}

#[test]
fn frozen_succeeds_when_nothing_would_run() {
    let mut run = Script::begin(Setup { frozen: true, ..setup(vec![facts("a")]) }, "look up a");
    run.hit("a", "a found; succeeded: 1 fresh");
}

#[test]
fn a_failure_weighs_more_than_frozen() {
    for failure_first in [true, false] {
        let frozen = Setup { frozen: true, keep_going: true, ..setup(vec![facts("a"), facts("b")]) };
        let mut run = Script::begin(frozen, "look up a; look up b");
        let broken = || Found::Broken { error: "no file `x`".into(), help: None };
        let end = "failed: 1 failed, 1 blocked";
        if failure_first {
            run.found("a", broken(), "a failed after 0");
            run.miss("b", &format!("b blocked, frozen (never ran before); {end}"));
        } else {
            run.miss("b", "b blocked, frozen (never ran before)");
            run.found("a", broken(), &format!("a failed after 0; {end}"));
        }
    }
}

const BLOCKED: &str =
    "c blocked, interrupted; d blocked, interrupted; e blocked, interrupted; f blocked, interrupted";

#[test]
fn an_interrupt_ends_gently_and_a_second_one_at_once() {
    let mut run = two_of_six(false);
    run.check(Input::Interrupt, &format!("end a; end b; {BLOCKED}"));
    run.is_cut("a", "a blocked, interrupted");
    run.check(Input::Interrupt, "kill b");
    run.check(Input::Interrupt, "");
    run.is_cut("b", "b blocked, interrupted; interrupted: 6 blocked");
}

#[test]
fn a_repeated_stop_does_not_hurry() {
    let mut run = two_of_six(false);
    run.check(Input::Stop, &format!("end a; end b; {BLOCKED}"));
    run.check(Input::Stop, "");
    run.check(Input::Interrupt, "kill a; kill b");
    run.check(Input::Stop, "");
}

#[test]
fn what_ends_well_in_spite_of_an_interrupt_is_kept() {
    let mut run = two_of_six(false);
    run.exited("a", "f started 1; run f.1");
    run.check(
        Input::Interrupt,
        "end b; c blocked, interrupted; d blocked, interrupted; e blocked, interrupted; end f",
    );
    run.succeeds("a", "a committed 1");
    run.succeeds("b", "b committed 1");
    run.is_cut("f", "f blocked, interrupted; interrupted: 2 ran, 4 blocked");
}

#[test]
fn an_interrupt_that_stopped_nothing_leaves_the_run_succeeded() {
    let mut run = Script::begin(setup(vec![facts("a")]), "look up a");
    run.miss("a", "a started 1; run a.1");
    run.exited("a", "");
    run.check(Input::Interrupt, "");
    run.succeeds("a", "a committed 1; succeeded: 1 ran");
}

#[test]
fn a_failure_of_its_own_is_told_in_an_interrupted_run() {
    let retried = Facts { retries: attempts(2), ..facts("a") };
    let mut run = Script::begin(setup(vec![retried, facts("b")]), "look up a; look up b");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "b started 1; run b.1");
    run.check(Input::Interrupt, "end a; end b");
    run.fails("b", "b failed after 1");
    run.fails("a", "a failed 1, again at 100; a blocked, interrupted; interrupted: 1 failed, 1 blocked");
}

#[test]
fn an_interrupt_while_stopping_ends_what_runs() {
    let mut run = two_of_six(false);
    run.fails_for_good(
        "a",
        "a failed after 1; c blocked by a; d blocked by a; e blocked, stopping for a; f blocked, stopping for a",
    );
    run.check(Input::Interrupt, "end b");
    run.is_cut("b", "b blocked, interrupted; interrupted: 1 failed, 5 blocked");
}

#[test]
fn look_ups_are_waited_for_after_one_interrupt_not_after_two() {
    let four = || setup(vec![facts("a"), facts("b"), facts("c"), facts("d")]);
    let mut run = Script::begin(Setup { lookups_max: 3, ..four() }, "look up a; look up b; look up c");
    run.check(Input::Interrupt, "d blocked, interrupted");
    run.hit("a", "a found");
    run.miss("b", "b blocked, interrupted");
    run.check(Input::Interrupt, "c blocked, interrupted; interrupted: 1 fresh, 3 blocked");
    run.hit("c", "");
}

#[test]
fn a_late_answer_after_two_interrupts_is_passed_by() {
    let mut run = Script::begin(setup(vec![facts("a"), facts("b")]), "look up a; look up b");
    run.miss("a", "a started 1; run a.1");
    run.check(Input::Interrupt, "end a");
    run.check(Input::Interrupt, "kill a; b blocked, interrupted");
    run.hit("b", "");
    run.is_cut("a", "a blocked, interrupted; interrupted: 2 blocked");
}

#[test]
fn an_interrupt_before_the_beginning_ends_the_run() {
    let mut run = Script::prepare(setup(vec![facts("a")]));
    run.check(Input::Interrupt, "a blocked, interrupted; interrupted: 1 blocked");
    run.check(Input::Begin, "");
}

#[test]
fn an_attempt_ended_from_outside_counts_as_interrupted() {
    let retried = Facts { retries: attempts(2), ..facts("a") };
    let mut run = Script::begin(setup(vec![retried, after("b", &[0]), facts("c")]), "look up a; look up c");
    run.miss("a", "a started 1; run a.1");
    run.is_cut("a", "a blocked, interrupted; b blocked, interrupted");
    run.hit("c", "c found; interrupted: 1 fresh, 2 blocked");
}

#[test]
fn a_look_up_that_an_interrupt_ended_is_no_failure() {
    let mut run = Script::begin(setup(vec![facts("a"), after("b", &[0])]), "look up a");
    run.check(Input::Interrupt, "b blocked, interrupted");
    run.found("a", Found::Stopped, "a blocked, interrupted; interrupted: 2 blocked");
}
