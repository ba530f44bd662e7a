//! Look-ups, starts, and the room for them.

use super::script::{Script, after, facts, setup};
use crate::step::{Facts, Input, SETTLING_MAX, Setup};

#[test]
fn a_chain_is_looked_up_and_run_link_by_link() {
    let mut run = Script::begin(setup(vec![facts("a"), after("b", &[0]), after("c", &[0, 1])]), "look up a");
    run.miss("a", "a started 1; run a.1");
    run.exited("a", "");
    run.succeeds("a", "a committed 1; look up b");
    run.hit("b", "b found; look up c");
    run.miss("c", "c started 1; run c.1");
    run.succeeds("c", "c committed 1; succeeded: 2 ran, 1 fresh");
    run.check(Input::Tick, "");
}

#[test]
fn definition_order_is_free() {
    let mut run = Script::begin(setup(vec![after("a", &[1]), facts("b")]), "look up b");
    run.hit("b", "b found; look up a");
}

#[test]
fn a_hit_takes_no_slot() {
    let one = Setup { jobs: 1, ..setup(vec![facts("a"), facts("b"), facts("c")]) };
    let mut run = Script::begin(one, "look up a; look up b; look up c");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "");
    run.hit("c", "c found");
    run.succeeds("a", "a committed 1; b started 1; run b.1");
    run.succeeds("b", "b committed 1; succeeded: 2 ran, 1 fresh");
}

#[test]
fn order_is_priority_then_critical_path_then_definition() {
    let ranked = |name, priority, critical_path_ms| Facts { priority, critical_path_ms, ..facts(name) };
    let instances =
        vec![ranked("d", 0, 5), ranked("e", 0, 5), ranked("c", 0, 6), ranked("b", 1, 0), ranked("f", -1, 9)];
    let narrow = Setup { jobs: 1, lookups_max: 9, ..setup(instances) };
    let mut run = Script::begin(narrow, "look up b; look up c; look up d; look up e; look up f");
    for name in ["f", "e", "d", "c"] {
        run.miss(name, if name == "f" { "f started 1; run f.1" } else { "" });
    }
    run.miss("b", "");
    run.succeeds("f", "f committed 1; b started 1; run b.1");
    run.succeeds("b", "b committed 1; c started 1; run c.1");
    run.succeeds("c", "c committed 1; d started 1; run d.1");
    run.succeeds("d", "d committed 1; e started 1; run e.1");
}

#[test]
fn look_ups_under_way_are_bounded() {
    for (lookups_max, first) in [(0, "look up a"), (1, "look up a"), (2, "look up a; look up b")] {
        let narrow = Setup { lookups_max, ..setup(vec![facts("a"), facts("b"), facts("c")]) };
        let mut run = Script::begin(narrow, first);
        run.hit("a", if lookups_max == 2 { "a found; look up c" } else { "a found; look up b" });
    }
}

#[test]
fn room_is_free_when_the_command_has_ended() {
    let one = Setup { jobs: 1, ..setup(vec![facts("a"), facts("b"), after("c", &[0])]) };
    let mut run = Script::begin(one, "look up a; look up b");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "");
    run.exited("a", "b started 1; run b.1");
    run.succeeds("a", "a committed 1; look up c");
}

#[test]
fn memory_and_pools_bound_what_runs() {
    let heavy = |name| Facts { memory_bytes: 60, ..facts(name) };
    let pooled = |name| Facts { pool: Some(0), ..facts(name) };
    let instances = vec![heavy("a"), heavy("b"), pooled("c"), pooled("d")];
    let mut run = Script::begin(
        Setup { memory_bytes: Some(100), pools: vec![1], ..setup(instances) },
        "look up a; look up b; look up c; look up d",
    );
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "");
    run.miss("c", "c started 1; run c.1");
    run.miss("d", "");
    run.exited("c", "d started 1; run d.1");
    run.exited("a", "b started 1; run b.1");
}

#[test]
fn what_asks_for_more_than_there_is_runs_alone() {
    let huge = Facts { cpus: 99, ..facts("b") };
    let mut run = Script::begin(setup(vec![facts("a"), huge, facts("c")]), "look up a; look up b; look up c");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "");
    run.exited("a", "b started 1; run b.1");
    run.miss("c", "");
    run.exited("b", "c started 1; run c.1");
}

/// On two cpus four may pass; then both are kept for the big one.
#[test]
fn a_big_one_does_not_starve() {
    let small = ["a", "c", "d", "e", "f", "g"];
    let mut instances: Vec<Facts> = small.map(facts).into();
    instances.insert(1, Facts { cpus: 2, ..facts("b") });
    let two = Setup { jobs: 2, ..setup(instances) };
    let mut run =
        Script::begin(two, "look up a; look up b; look up c; look up d; look up e; look up f; look up g");
    run.miss("a", "a started 1; run a.1");
    run.miss("b", "");
    run.miss("c", "c started 1; run c.1");
    for name in ["d", "e", "f", "g"] {
        run.miss(name, "");
    }
    run.exited("c", "d started 1; run d.1");
    run.exited("d", "e started 1; run e.1");
    run.exited("e", "f started 1; run f.1");
    run.exited("f", "");
    run.exited("a", "b started 1; run b.1");
    run.exited("b", "g started 1; run g.1");
}

#[test]
fn results_under_way_are_bounded() {
    let count = usize::try_from(SETTLING_MAX).unwrap() + 1;
    let names: Vec<String> = (0..count).map(|i| format!("i{i}")).collect();
    let one = Setup { jobs: 1, ..setup(names.iter().map(|name| facts(name)).collect()) };
    let mut run = Script::begin(
        one,
        &names[..8].iter().map(|name| format!("look up {name}")).collect::<Vec<_>>().join("; "),
    );
    let start = |i: usize| format!("{0} started 1; run {0}.1", names[i]);
    for i in 0..count {
        let mut expect: Vec<String> =
            names.get(i + 8).map(|name| format!("look up {name}")).into_iter().collect();
        expect.extend((i < count - 1).then(|| start(i)));
        run.miss(&names[i], &expect.join("; "));
        if i < count - 1 {
            run.exited(&names[i], "");
        }
    }
    run.succeeds(&names[7], &format!("{} committed 1; {}", names[7], start(count - 1)));
}

#[test]
fn what_is_not_selected_counts_as_done_and_is_not_counted() {
    let outside = Facts { selected: false, ..facts("a") };
    let behind = Facts { selected: false, ..after("c", &[1]) };
    let mut run = Script::begin(setup(vec![outside, after("b", &[0]), behind]), "look up b");
    run.hit("b", "b found; succeeded: 1 fresh");
}

#[test]
fn a_run_of_nothing_succeeds() {
    Script::begin(setup(Vec::new()), "nothing");
    Script::begin(setup(vec![Facts { selected: false, ..facts("a") }]), "nothing");
}

#[test]
fn a_repeated_need_counts_once_done() {
    let mut run = Script::begin(setup(vec![facts("a"), after("b", &[0, 0])]), "look up a");
    run.hit("a", "a found; look up b");
}

#[test]
#[should_panic(expected = "the needs form a cycle")]
fn a_cycle_is_a_bug_not_a_hang() {
    Script::begin(setup(vec![after("a", &[1]), after("b", &[0])]), "");
}

#[test]
#[should_panic(expected = "`a` had no attempt")]
fn an_end_without_a_start_is_a_bug() {
    Script::begin(setup(vec![facts("a"), facts("b")]), "look up a; look up b").succeeds("a", "");
}

#[test]
#[should_panic(expected = "`a` was not being looked up")]
fn an_answer_without_a_question_is_a_bug() {
    let mut run = Script::begin(setup(vec![facts("a"), facts("b")]), "look up a; look up b");
    run.hit("a", "a found");
    run.hit("a", "");
}
