//! I5 at system calls: a load is cut off at each of its calls that change state.
//!
//! As `crate::sweep` does it: the calls of a whole load are counted, of cairn, its keeper and its workers together, and for
//! numbers spread over them the load is started afresh, with sinks of its own, and cut off there. What the servers do at
//! the other ends is not counted. `CAIRN_PROOF=1` takes every call, up to 500.

use cairn_testkit::PostgresServer;
use cairn_testkit::tracer::{Blow, Deed, Moment, Victim, Whose, traced};

use super::scene::{Account, Draw, Scene};
use crate::proof;

/// Some batches, and not many calls.
const RECORDS: u32 = 250;

fn sweep(name: &str, sinks: &[&str], worker: bool, points: u64) {
    let postgres = PostgresServer::start(&[]);
    let mut deeds = vec![
        Deed::Kill(Victim::All, Moment::Before),
        Deed::Kill(Victim::All, Moment::After),
        Deed::Kill(Victim::Main, Moment::Before),
        Deed::Kill(Victim::Main, Moment::After),
    ];
    if worker {
        deeds.push(Deed::Kill(Victim::With("worker.py".to_owned()), Moment::Before));
    }
    let scene_of = |number: u64| {
        let database = format!("{name}{number}");
        let scene = Scene::new(&postgres, &database, sinks, worker);
        let mut account = Account::default();
        scene.project.write("in/0.jsonl", account.file("in/0.jsonl", RECORDS, &mut Draw(1), worker));
        (scene, account)
    };
    let (scene, account) = scene_of(0);
    let whole = traced(&scene.project.command(&["run"]), Whose::Everyone, None);
    assert_eq!(whole.status, Some(0), "{}", whole.output);
    scene.is_settled(&account, "undisturbed");
    let points = if proof() { whole.calls.min(500) } else { points };
    let mut met = 0;
    for point in 0..points {
        let deed = &deeds[usize::try_from(point % deeds.len() as u64).unwrap()];
        let blow = Blow { call: (2 * point + 1) * whole.calls / (2 * points), deed: deed.clone() };
        let (scene, account) = scene_of(point + 1);
        let cut = traced(&scene.project.command(&["run"]), Whose::Everyone, Some(blow));
        met += u64::from(cut.struck.is_some());
        let call = cut.struck.as_ref().map_or("no call".to_owned(), ToString::to_string);
        let at = format!("{sinks:?}, {deed:?} at {call}");
        let outcome = scene.project.cairn(&["run"]);
        assert_eq!(outcome.status, Some(0), "{at}: {}", outcome.shown());
        scene.is_settled(&account, &at);
    }
    eprintln!("{sinks:?}: {met} of {} calls were struck", whole.calls);
    assert!(met > points / 2, "kills must meet a load that is under way: {met} of {points}");
}

#[test]
fn each_record_is_delivered_once_whatever_call_the_load_is_cut_off_at() {
    sweep("a", &["sqlite", "jsonl", "http", "t"], false, 24);
}

#[test]
fn each_record_is_delivered_once_whatever_call_a_load_with_workers_is_cut_off_at() {
    sweep("b", &["sqlite", "jsonl", "http", "t"], true, 25);
}

#[test]
fn tables_that_commit_together_hold_the_same_whatever_call_the_load_is_cut_off_at() {
    sweep("c", &["first", "second"], false, 24);
}
