//! Effects in doubt: they end the run like a failure, and what waits for them waits for a person.

use super::script::{Script, after, attempts, facts, hash, setup};
use crate::step::{Facts, Found, Setup};

fn doubt() -> Found {
    Found::InDoubt { error: "cut off".into(), help: None }
}

#[test]
fn what_is_in_doubt_blocks_what_is_behind_it_and_stops_the_rest() {
    let instances = vec![facts("a"), after("b", &[0]), facts("c"), after("d", &[2])];
    let mut run = Script::begin(setup(instances), "look up a; look up c");
    run.found("a", doubt(), "a in doubt after 0; b blocked by a, in doubt; d blocked, stopping for a");
    run.hit("c", "c found; in doubt: 1 fresh, 2 blocked, 1 in doubt");
}

#[test]
fn a_run_that_keeps_going_makes_what_does_not_wait_for_it() {
    let instances = vec![facts("a"), after("b", &[0]), facts("c")];
    let mut run = Script::begin(Setup { keep_going: true, ..setup(instances) }, "look up a; look up c");
    run.found("a", doubt(), "a in doubt after 0; b blocked by a, in doubt");
    run.miss("c", "c started 1; run c.1");
    run.succeeds("c", "c committed 1; in doubt: 1 ran, 1 blocked, 1 in doubt");
}

#[test]
fn an_attempt_in_doubt_is_not_tried_again() {
    let tried = Facts { retries: attempts(3), ..facts("a") };
    let mut run = Script::begin(setup(vec![tried]), "look up a");
    run.miss("a", "a started 1; run a.1");
    run.is_in_doubt("a", "a in doubt after 1; in doubt: 1 in doubt");
}

#[test]
fn doubt_counts_more_than_a_failure() {
    let instances = vec![facts("a"), facts("b")];
    let mut run = Script::begin(Setup { keep_going: true, ..setup(instances) }, "look up a; look up b");
    run.found("a", doubt(), "a in doubt after 0");
    run.miss("b", "b started 1; run b.1");
    run.fails("b", "b failed after 1; in doubt: 1 failed, 1 in doubt");
}

#[test]
fn an_effect_that_stands_lets_go_on_what_waits_for_it() {
    let mut run = Script::begin(setup(vec![facts("a"), after("b", &[0])]), "look up a");
    let stands = Found::Stands {
        input_hash: hash(),
        key: "k".into(),
        restored: Vec::new(),
        trashed: Vec::new(),
        saved_ms: 1,
    };
    run.found("a", stands, "a k stands; look up b");
    run.hit("b", "b found; succeeded: 2 fresh");
}
