//! I5 under fire: cairn, its workers and its connections are killed at random moments of a load, over and over, and in the
//! end the sinks hold what a plain account says.
//!
//! Each round adds a file of messy records (repeated, late, changed, broken), starts the load, kills something at some
//! moment, and then lets a run go to its end. The moments come from a seed, which a failure names; `CAIRN_SEED` sets it.
//! `CAIRN_PROOF=1` takes many more rounds, and then loads of 100 000 records that are cut off over and over.

mod scene;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sweep;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cairn_testkit::PostgresServer;

use self::scene::{Account, Draw, Scene, Victim};
use crate::proof;

/// How many records a file of a small load has.
const RECORDS: u32 = 1500;

/// Adds files to a scene and kills twice while each is loaded; returns how many kills met a run that was under way.
fn storm(scene: &Scene<'_>, victims: &[Victim], kills: u64, seed: u64) -> u64 {
    let (mut draw, mut account, mut met) = (Draw(seed), Account::default(), 0);
    let mut took = Duration::from_millis(800);
    for round in 0..kills.div_ceil(2) {
        let name = format!("in/{round:03}.jsonl");
        scene.project.write(&name, account.file(&name, RECORDS, &mut draw, scene.worker));
        for _ in 0..2 {
            let victim = draw.one_of(victims);
            let after = draw.time_below(took);
            let mut run = scene.project.start(&["run"]);
            sleep(after);
            met += u64::from(run.try_wait().unwrap().is_none());
            scene.kill(victim, &mut run);
            run.wait().unwrap();
        }
        let at = format!("{:?}, seed {seed}, round {round}", scene.sinks);
        let start = Instant::now();
        let outcome = scene.project.cairn(&["run"]);
        assert_eq!(outcome.status, Some(0), "{at}: {}", outcome.shown());
        // Half of a whole load on average: the others had a part of it.
        took = (took / 2 + start.elapsed()).clamp(Duration::from_millis(200), Duration::from_secs(4));
        scene.is_settled(&account, &at);
    }
    met
}

fn kills(normally: u64) -> u64 {
    if proof() { normally * 10 } else { normally }
}

/// How many records a big load has, and how many kills there are during such loads for each kind of sinks.
const BIG_RECORDS: u32 = 100_000;
const BIG_KILLS: u64 = 40;

/// In a proof: loads of many records, each into sinks of its own. Something is killed at random moments until a load is through,
/// again and again while it runs, and what was cut off is begun again.
fn big_loads(
    postgres: &PostgresServer,
    name: &str,
    sinks: &[&str],
    worker: bool,
    victims: &[Victim],
    seed: u64,
) {
    if !proof() {
        return;
    }
    let mut draw = Draw(seed);
    let mut met: BTreeMap<Victim, u64> = BTreeMap::new();
    let mut loads = 0;
    let mut scene_of = |kind: &str, draw: &mut Draw| {
        loads += 1;
        let scene = Scene::new(postgres, &format!("{name}-{kind}-{loads}"), sinks, worker);
        let mut account = Account::default();
        scene.project.write("in/0.jsonl", account.file("in/0.jsonl", BIG_RECORDS, draw, worker));
        (scene, account)
    };
    let (whole, account) = scene_of("whole", &mut draw);
    let start = Instant::now();
    whole.project.cairn(&["run"]).expect(0);
    let took = start.elapsed();
    whole.is_settled(&account, "undisturbed");
    while met.values().sum::<u64>() < BIG_KILLS {
        let (scene, account) = scene_of("cut", &mut draw);
        let at = format!("{sinks:?}, seed {seed}, {met:?}");
        // So often that it ends with most of its kills behind it.
        for _ in 0..BIG_KILLS {
            let mut run = scene.project.start(&["run"]);
            let status = loop {
                sleep(draw.time_below(took / 2));
                if let Some(status) = run.try_wait().unwrap() {
                    break status;
                }
                let victim = draw.one_of(victims);
                *met.entry(victim).or_default() += 1;
                scene.kill(victim, &mut run);
                if victim == Victim::Cairn {
                    break run.wait().unwrap();
                }
            };
            if status.success() {
                break;
            }
        }
        let outcome = scene.project.cairn(&["run"]);
        assert_eq!(outcome.status, Some(0), "{at}: {}", outcome.shown());
        scene.is_settled(&account, &at);
    }
    eprintln!("{sinks:?}: {loads} loads of {BIG_RECORDS} records, {took:.0?} each, kills: {met:?}");
}

fn seed(number: u64) -> u64 {
    let seed = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or(20_260_000 + number)
}

#[test]
fn one_sink_of_each_kind_holds_each_record_once_whatever_is_killed() {
    let postgres = PostgresServer::start(&[]);
    let mut met = 0;
    for (number, sink) in ["sqlite", "t", "http", "jsonl"].iter().enumerate() {
        let sinks = [*sink];
        let database = format!("one{number}");
        let scene = Scene::new(&postgres, &database, &sinks, false);
        let victims = if *sink == "t" { &[Victim::Cairn, Victim::Connection][..] } else { &[Victim::Cairn] };
        met += storm(&scene, victims, kills(6), seed(number as u64));
        big_loads(&postgres, &database, &sinks, false, victims, seed(number as u64));
    }
    // A busy machine moves the moments about: what counts is that some met a run.
    assert!(met > kills(6) / 2, "kills must meet runs that are under way: {met}");
}

#[test]
fn all_sinks_at_once_behind_a_worker_hold_each_record_once_whatever_is_killed() {
    let postgres = PostgresServer::start(&[]);
    let sinks = ["sqlite", "t", "http", "jsonl"];
    let victims = [Victim::Cairn, Victim::Worker, Victim::Connection];
    let met = storm(&Scene::new(&postgres, "all", &sinks, true), &victims, kills(8), seed(10));
    assert!(met > kills(8) / 4, "kills must meet runs that are under way: {met}");
    big_loads(&postgres, "all", &sinks, true, &victims, seed(10));
}

#[test]
fn two_tables_that_commit_together_hold_the_same_whatever_is_killed() {
    let postgres = PostgresServer::start(&[]);
    let (sinks, victims) = (["first", "second"], [Victim::Cairn, Victim::Connection]);
    let met = storm(&Scene::new(&postgres, "two", &sinks, false), &victims, kills(8), seed(20));
    assert!(met > kills(8) / 4, "kills must meet runs that are under way: {met}");
    big_loads(&postgres, "two", &sinks, false, &victims, seed(20));
}
