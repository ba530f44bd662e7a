//! Attempts that a process before had started: adopted, or given up.

use super::script::{Script, after, attempts, facts, hash, setup};
use crate::retry::{History, Last};
use crate::step::{Facts, Found, Input, Setup};

const ADOPTED: &str = "adopted: it went on when the process that had started it ended";

/// Facts of an instance whose second attempt is held.
fn held(name: &str) -> Facts {
    Facts { held: true, history: History { attempts: 2, failures: 1, last: Last::Open }, ..facts(name) }
}

fn is_held() -> Found {
    Found::Held { input_hash: hash(), attempt: 2 }
}

/// `a` is held, `b` waits for the one cpu, `c` needs `a`.
fn on_one_cpu() -> Script {
    let instances = vec![held("a"), facts("b"), after("c", &[0])];
    Script::begin(Setup { jobs: 1, ..setup(instances) }, "look up a; look up b")
}

#[test]
fn it_keeps_its_number_and_has_its_room_from_the_beginning() {
    let mut run = on_one_cpu();
    run.miss("b", "");
    run.found("a", is_held(), &format!("a started 2 ({ADOPTED}); adopt a.2"));
    run.exited("a", "b started 1; run b.1");
    run.succeeds("a", "a committed 2; look up c");
    run.hit("c", "c found");
    run.succeeds("b", "b committed 1; succeeded: 2 ran, 1 fresh");
}

#[test]
fn its_failure_counts_as_any() {
    let again = Facts { retries: attempts(3), ..held("a") };
    let mut run = Script::begin(setup(vec![again]), "look up a");
    run.found("a", is_held(), &format!("a started 2 ({ADOPTED}); adopt a.2"));
    run.fails("a", "a failed 2, again at 200; wake at 200");
    run.at(200).check(Input::Tick, "look up a");
    run.miss("a", "a started 3 (attempt 2 failed: exit 1); run a.3");
    run.succeeds("a", "a committed 3; succeeded: 1 ran");
}

#[test]
fn one_that_runs_on_other_inputs_has_ended_and_another_is_made() {
    let mut run = on_one_cpu();
    run.miss("b", "");
    run.miss("a", "a started 3 (attempt 2 was cut off); run a.3");
    run.succeeds("a", "a committed 3; look up c; b started 1; run b.1");
}

#[test]
fn what_is_found_needs_it_no_more() {
    let mut run = on_one_cpu();
    run.miss("b", "");
    run.hit("a", "a found; give up a; look up c; b started 1; run b.1");
}

#[test]
fn it_waits_for_what_it_needs_and_is_given_up_when_that_fails() {
    let instances = vec![facts("a"), Facts { needs: vec![0], ..held("b") }];
    let mut run = Script::begin(Setup { jobs: 2, ..setup(instances) }, "look up a");
    run.miss("a", "a started 1; run a.1");
    run.fails("a", "a failed after 1; b blocked by a; give up b; failed: 1 failed, 1 blocked");
}

#[test]
fn a_failure_elsewhere_does_not_end_it_and_an_interrupt_does() {
    let instances = || setup(vec![facts("a"), held("b")]);
    let mut run = Script::begin(instances(), "look up a; look up b");
    run.found("a", Found::Broken { error: "no input".into(), help: None }, "a failed after 0");
    run.found("b", is_held(), &format!("b started 2 ({ADOPTED}); adopt b.2"));
    run.succeeds("b", "b committed 2; failed: 1 ran, 1 failed");

    let mut run = Script::begin(instances(), "look up a; look up b");
    run.check(Input::Interrupt, "");
    run.found("b", is_held(), "b blocked, interrupted; give up b");
    run.miss("a", "a blocked, interrupted; interrupted: 2 blocked");

    let mut run = Script::begin(instances(), "look up a; look up b");
    run.found("b", is_held(), &format!("b started 2 ({ADOPTED}); adopt b.2"));
    run.check(Input::Interrupt, "end b");
    run.is_cut("b", "b blocked, interrupted");
    run.miss("a", "a blocked, interrupted; interrupted: 2 blocked");
}

#[test]
fn a_failure_of_before_does_not_end_it_however_late_it_is_looked_up() {
    // `a` failed before; `c` and `d` are held; `c` needs `b`, which is done, and `e` needs nothing.
    let instances = || {
        let c = Facts { needs: vec![1], ..held("c") };
        let setup = setup(vec![facts("a"), facts("b"), c, held("d"), facts("e")]);
        Setup { lookups_max: 1, ..setup }
    };
    let begin = || {
        let mut run = Script::prepare(instances());
        run.keep_failed(0, "exit 1");
        run.check(Input::Begin, "look up a");
        run.miss("a", "a failed after 0; e blocked, stopping for a; look up b");
        run
    };
    let mut run = begin();
    run.hit("b", "b found; look up c");
    run.found("c", is_held(), &format!("c started 2 ({ADOPTED}); adopt c.2; look up d"));
    run.found("d", is_held(), &format!("d started 2 ({ADOPTED}); adopt d.2"));
    run.succeeds("c", "c committed 2");
    run.succeeds("d", "d committed 2; failed: 2 ran, 1 fresh, 1 failed, 1 blocked");
    // Nothing new is started for it.
    let mut run = begin();
    run.miss("b", "b blocked, stopping for a; c blocked, stopping for a; give up c; look up d");
    // And an interrupt ends it as ever.
    let mut run = begin();
    run.check(Input::Interrupt, "c blocked, interrupted; give up c; d blocked, interrupted; give up d");
    run.hit("b", "b found; interrupted: 1 fresh, 1 failed, 3 blocked");
}

#[test]
fn a_run_that_is_to_end_before_it_begins_looks_nothing_up_and_gives_up_what_is_held() {
    let mut run = Script::prepare(setup(vec![held("a"), facts("b")]));
    run.check(
        Input::Interrupt,
        "a blocked, interrupted; give up a; b blocked, interrupted; interrupted: 2 blocked",
    );
}

#[test]
fn more_of_them_than_there_is_room_for_all_go_on() {
    // One had ended, and its room was another's, when the process before was killed.
    let instances = vec![held("a"), held("b"), facts("c")];
    let mut run = Script::begin(Setup { jobs: 1, ..setup(instances) }, "look up a; look up b; look up c");
    run.miss("c", "");
    run.found("a", is_held(), &format!("a started 2 ({ADOPTED}); adopt a.2"));
    run.found("b", is_held(), &format!("b started 2 ({ADOPTED}); adopt b.2"));
    run.succeeds("b", "b committed 2");
    run.succeeds("a", "a committed 2; c started 1; run c.1");
}

#[test]
fn its_room_is_left_to_what_it_needs() {
    let instances = vec![facts("a"), Facts { needs: vec![0], ..held("b") }];
    let mut run = Script::begin(Setup { jobs: 1, ..setup(instances) }, "look up a");
    run.miss("a", "a started 1; run a.1");
    run.succeeds("a", "a committed 1; look up b");
    run.found("b", is_held(), &format!("b started 2 ({ADOPTED}); adopt b.2"));
    run.succeeds("b", "b committed 2; succeeded: 2 ran");
}
