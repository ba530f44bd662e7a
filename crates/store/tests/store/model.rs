//! Random batches, crashes and reopenings against a naive model.

use std::collections::{BTreeMap, HashMap};

use cairn_store::{Access, Batch, Checkpoint, Durability, Store};
use proptest::prelude::*;

use crate::sample::{State, attempt, attempt_id, checkpoint, event, hash, instance, name, placed, run};

#[derive(Debug, Clone)]
enum Change {
    Checkpoint { number: u32, made: u8 },
    Replace { number: u32, made: u8 },
    Demote(u32),
    Event { run: u8, event: u32 },
    Start(u32),
    End(u32),
    Place { path: u8, number: u32 },
    Latest { stage: u8, number: u32 },
    Duration { stage: u8, took_ms: u64 },
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Change>, bool),
    /// The process ends without a word.
    Crash,
    Close,
}

fn any_change() -> impl Strategy<Value = Change> {
    let few = 0..4_u32;
    let byte = 0..3_u8;
    prop_oneof![
        (few.clone(), byte.clone()).prop_map(|(number, made)| Change::Checkpoint { number, made }),
        (few.clone(), byte.clone()).prop_map(|(number, made)| Change::Replace { number, made }),
        few.clone().prop_map(Change::Demote),
        (byte.clone(), few.clone()).prop_map(|(run, event)| Change::Event { run, event }),
        few.clone().prop_map(Change::Start),
        few.clone().prop_map(Change::End),
        (byte.clone(), few.clone()).prop_map(|(path, number)| Change::Place { path, number }),
        (byte.clone(), 0..12_u32).prop_map(|(stage, number)| Change::Latest { stage, number }),
        (byte, 0..1000_u64).prop_map(|(stage, took_ms)| Change::Duration { stage, took_ms }),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (prop::collection::vec(any_change(), 0..8), any::<bool>())
            .prop_map(|(changes, synced)| Step::Commit(changes, synced)),
        1 => Just(Step::Crash),
        1 => Just(Step::Close),
    ]
}

#[derive(Debug, Default)]
struct Model {
    sequence: u64,
    /// With whether it counts.
    checkpoints: BTreeMap<u32, (u8, bool)>,
    events: BTreeMap<u8, Vec<u32>>,
    attempts: BTreeMap<u32, u64>,
    placed: BTreeMap<u8, u32>,
    latest: BTreeMap<u8, Vec<u32>>,
    durations: BTreeMap<u8, u64>,
}

fn made(number: u32, made: u8) -> Checkpoint {
    checkpoint(number, &made.to_string())
}

fn stage(number: u8) -> String {
    format!("s{number}")
}

impl Model {
    /// Makes a change here, and puts it into the batch.
    fn apply(&mut self, change: &Change, batch: &mut Batch) {
        let flights = name("flights");
        match *change {
            Change::Checkpoint { number, made: by } => {
                batch.put_checkpoint(hash(number), &made(number, by));
                match self.checkpoints.get(&number) {
                    Some((_, true)) => {}
                    _ => drop(self.checkpoints.insert(number, (by, true))),
                }
            }
            Change::Replace { number, made: by } => {
                batch.replace_checkpoint(hash(number), &made(number, by));
                self.checkpoints.insert(number, (by, true));
            }
            Change::Demote(number) => {
                batch.demote(hash(number), "why");
                self.checkpoints.entry(number).and_modify(|(_, counts)| *counts = false);
            }
            Change::Event { run: of, event: number } => {
                batch.event(run(of), &event(number));
                self.events.entry(of).or_default().push(number);
            }
            Change::Start(number) => {
                batch.attempt_started(&attempt_id(1, "clean", number), &attempt(self.sequence));
                self.attempts.insert(number, self.sequence);
            }
            Change::End(number) => {
                batch.attempt_ended(&attempt_id(1, "clean", number));
                self.attempts.remove(&number);
            }
            Change::Place { path, number } => {
                batch.placed(&stage(path), &placed(number));
                self.placed.insert(path, number);
            }
            Change::Latest { stage: of, number } => {
                batch.latest(&flights, &instance(&stage(of)), hash(number));
                let history = self.latest.entry(of).or_default();
                history.retain(|known| *known != number);
                history.insert(0, number);
                history.truncate(8);
            }
            Change::Duration { stage: of, took_ms } => {
                batch.duration(&flights, &instance(&stage(of)), took_ms);
                let mean = self.durations.get(&of).map_or(took_ms, |mean| mean.midpoint(took_ms));
                self.durations.insert(of, mean);
            }
        }
    }

    fn check(&self, store: &Store) {
        let flights = name("flights");
        assert_eq!(store.head().sequence, self.sequence);
        for number in 0..4 {
            let recorded = store.recorded(&hash(number)).unwrap();
            let recorded = recorded.map(|(checkpoint, demoted)| (checkpoint, demoted.is_none()));
            let expected = self.checkpoints.get(&number).map(|(by, counts)| (made(number, *by), *counts));
            assert_eq!(recorded, expected);
        }
        for of in 0..3 {
            let events: Vec<_> = store.events(run(of)).unwrap();
            let expected = self.events.get(&of).cloned().unwrap_or_default();
            assert!(events.iter().cloned().eq((1..).zip(expected.into_iter().map(event))));
            let latest = self.latest.get(&of).cloned().unwrap_or_default();
            let hashes: Vec<_> = latest.into_iter().map(hash).collect();
            assert_eq!(store.latest(&flights, &instance(&stage(of))).unwrap(), hashes);
            assert_eq!(store.placed(&stage(of)).unwrap(), self.placed.get(&of).copied().map(placed));
        }
        let attempts = self.attempts.iter();
        let attempts: Vec<_> =
            attempts.map(|(number, epoch)| (attempt_id(1, "clean", *number), attempt(*epoch))).collect();
        assert_eq!(store.attempts_open().unwrap(), attempts);
        let durations: HashMap<_, _> =
            self.durations.iter().map(|(of, mean)| (instance(&stage(*of)), *mean)).collect();
        assert_eq!(store.durations(&flights).unwrap(), durations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_what_a_map_would_be(steps in prop::collection::vec(any_step(), 1..25)) {
        let state = State::new();
        let mut store = state.open();
        let mut model = Model { sequence: 1, ..Model::default() };
        for step in steps {
            match step {
                Step::Commit(changes, synced) => {
                    let mut batch = Batch::new();
                    for change in &changes {
                        model.apply(change, &mut batch);
                    }
                    let durability = if synced { Durability::Synced } else { Durability::Written };
                    model.sequence += 1;
                    prop_assert_eq!(store.commit(batch, durability).unwrap().sequence, model.sequence);
                }
                Step::Crash => {
                    drop(store);
                    store = state.open();
                }
                Step::Close => {
                    store.close().unwrap();
                    store = state.open();
                }
            }
            model.check(&store);
        }
        model.check(&state.try_open(Access::Read).unwrap());
    }
}
