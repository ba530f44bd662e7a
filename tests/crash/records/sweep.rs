//! I5 at system calls: a load is cut off at each of its calls that change state, or is refused it.
//!
//! As `crate::sweep` does it: the calls of a whole load are counted, of cairn, its keeper and its workers together, and for
//! numbers spread over them the load is started afresh, with sinks of its own, and cut off there. What the servers do at
//! the other ends is not counted. `CAIRN_PROOF=1` takes every call, up to 500, and then some of a load of 100 000 records.

use cairn_testkit::PostgresServer;
use cairn_testkit::tracer::{Blow, Deed, Moment, Victim, Whose, traced};

use super::BIG_RECORDS;
use super::scene::{Account, Draw, Scene};
use crate::proof;
use crate::sweep::{EIO, ENOSPC};

/// Some batches, and not many calls.
const RECORDS: u32 = 250;

/// How many calls of a load of 100 000 records are struck, from its first to its last.
const BIG_POINTS: u64 = 60;

struct Sweep<'s> {
    /// What its databases' names begin with.
    name: &'s str,
    sinks: &'s [&'s str],
    worker: bool,
    whose: Whose,
    deeds: Vec<Deed>,
}

impl Sweep<'_> {
    fn run(&self, points: u64) {
        let postgres = PostgresServer::start(&[]);
        if proof() {
            self.strike(&postgres, RECORDS, 500);
            self.strike(&postgres, BIG_RECORDS, BIG_POINTS);
        } else {
            self.strike(&postgres, RECORDS, points);
        }
    }

    fn strike(&self, postgres: &PostgresServer, records: u32, points: u64) {
        let Self { sinks, worker, whose, .. } = *self;
        let database = |number: u64| format!("{}{number}of{records}", self.name);
        let scene_of = |number: u64| {
            let scene = Scene::new(postgres, &database(number), sinks, worker);
            let mut account = Account::default();
            scene.project.write("in/0.jsonl", account.file("in/0.jsonl", records, &mut Draw(1), worker));
            (scene, account)
        };
        let (scene, account) = scene_of(0);
        let whole = traced(&scene.project.command(&["run"]), whose, None);
        assert_eq!(whole.status, Some(0), "{}", whole.output);
        scene.is_settled(&account, "undisturbed");
        let points = points.min(whole.calls);
        let mut met = 0;
        for point in 0..points {
            let deed = &self.deeds[usize::try_from(point % self.deeds.len() as u64).unwrap()];
            let blow = Blow { call: (2 * point + 1) * whole.calls / (2 * points), deed: deed.clone() };
            let (scene, account) = scene_of(point + 1);
            let cut = traced(&scene.project.command(&["run"]), whose, Some(blow));
            met += u64::from(cut.struck.is_some());
            let call = cut.struck.as_ref().map_or("no call".to_owned(), ToString::to_string);
            let at = format!("{sinks:?}, {records} records, {deed:?} at {call}");
            let is_killed = matches!(deed, Deed::Kill(..));
            assert!(is_killed || cut.status.is_some(), "{at}: ended by a signal");
            assert!(!cut.output.contains("panicked"), "{at}: {}", cut.output);
            if cut.status != Some(0) {
                let outcome = scene.project.cairn(&["run"]);
                assert_eq!(outcome.status, Some(0), "{at}: {}\nbefore: {}", outcome.shown(), cut.output);
            }
            scene.is_settled(&account, &at);
            // Hundreds of them would take gigabytes.
            postgres.sql("postgres", &format!("DROP DATABASE \"{}\" WITH (FORCE)", database(point + 1)));
        }
        eprintln!("{sinks:?}, {records} records: {met} of {} calls were struck", whole.calls);
        // Somewhat fewer calls, when threads take turns otherwise; and a worker that is to be killed may not live yet.
        assert!(met > points / 2, "blows must meet a load that is under way: {met} of {points}");
    }
}

fn kills(name: &'static str, sinks: &'static [&'static str], worker: bool) -> Sweep<'static> {
    let mut deeds = vec![
        Deed::Kill(Victim::All, Moment::Before),
        Deed::Kill(Victim::All, Moment::After),
        Deed::Kill(Victim::Main, Moment::Before),
        Deed::Kill(Victim::Main, Moment::After),
    ];
    if worker {
        deeds.push(Deed::Kill(Victim::With("worker.py".to_owned()), Moment::Before));
    }
    Sweep { name, sinks, worker, whose: Whose::Everyone, deeds }
}

#[test]
fn i5_each_record_is_delivered_once_whatever_call_the_load_is_cut_off_at() {
    kills("a", &["sqlite", "jsonl", "http", "t"], false).run(24);
}

#[test]
fn i5_each_record_is_delivered_once_whatever_call_a_load_with_workers_is_cut_off_at() {
    kills("b", &["sqlite", "jsonl", "http", "t"], true).run(25);
}

#[test]
fn tables_that_commit_together_hold_the_same_whatever_call_the_load_is_cut_off_at() {
    kills("c", &["first", "second"], false).run(24);
}

#[test]
fn a_load_that_is_refused_a_call_delivers_each_record_once_in_the_end() {
    let deeds =
        vec![Deed::Fail(ENOSPC), Deed::FailFromThere(ENOSPC), Deed::Fail(EIO), Deed::FailFromThere(EIO)];
    let sinks = &["sqlite", "jsonl", "http", "t"];
    Sweep { name: "d", sinks, worker: false, whose: Whose::Binary, deeds }.run(24);
}
