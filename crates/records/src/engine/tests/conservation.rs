//! The conservation law: a record that is lost on the way, or comes twice, is told before anything of it is kept.

use std::collections::HashSet;

use bytes::Bytes;
use cairn_model::{Digest, RecordCounts, SinkMode};

use super::fakes::{Memory, Nature, Stage};
use crate::engine::ahead::{Batch, Lent};
use crate::engine::deliver::Deliverer;
use crate::engine::item::{Fate, Finished, Item};
use crate::engine::marks::Spot;
use crate::engine::{EngineError, Hands, Names, Numbers};
use crate::ledger::{Ledger, Scope};
use crate::state::Place;

fn record(id: u8, fate: Fate) -> Finished {
    let item = Item {
        key: [id; 16],
        digest: [id; 16],
        version: Vec::new(),
        spot: Spot::new(0, u64::from(id)),
        place: Place { file: 0, ordinal: u64::from(id) },
        line: 1,
        tombstone: false,
        generation: 0,
        record: Bytes::from(format!("{{\"id\":{id}}}")),
        prior: None,
        letter: None,
        known_as: None,
    };
    Finished { item, fate, attempts: Vec::new() }
}

/// Hands a batch on of which `read` records were read and `to_come` were to come; returns whether it was taken and what was
/// kept.
fn take(read: u64, to_come: u64, batch: Vec<Finished>) -> (Result<(), EngineError>, Memory) {
    let (taken, memory) = take_all(read, to_come, vec![batch]);
    (taken.map(drop), memory)
}

/// The same of several batches; returns the counts after each.
fn take_all(
    read: u64,
    to_come: u64,
    batches: Vec<Vec<Finished>>,
) -> (Result<Vec<RecordCounts>, EngineError>, Memory) {
    let stage = Stage::new(SinkMode::Upsert, false, &[Nature::Transactional]);
    let memory = Memory::new();
    let hands = Hands { progress: &|_| {}, pauses: &|_| {}, now: &|| 0, stop: &|| false, fence: 1, seed: 1 };
    let scope = Scope::new("scope".to_owned(), Digest::from_bytes([0; 32]));
    let receipts = stage.path().join("receipts");
    let mut deliverer = Deliverer {
        ledger: &memory,
        scope,
        sinks: Vec::new(),
        records: &stage.records,
        hands: &hands,
        names: &Names { paths: &["a.jsonl".to_owned()], numbers: &Numbers::default() },
        code: None,
        results: None,
        counts: RecordCounts { read, ..RecordCounts::default() },
        receipts: &receipts,
        lent: Lent::default(),
        decided: 0,
        failed: 0,
        to_come: Some(to_come),
        rows: Vec::new(),
        excluded: HashSet::new(),
        kept: Vec::new(),
        dead: Vec::new(),
        revived: Vec::new(),
    };
    let taken = batches.into_iter().map(|batch| {
        deliverer.take(Batch::plain(batch))?;
        Ok(deliverer.counts)
    });
    let taken = taken.collect();
    drop(deliverer);
    (taken, memory)
}

fn results() -> Fate {
    Fate::Results(vec![Bytes::from_static(b"{}")])
}

#[test]
fn each_record_that_was_read_is_in_one_of_the_sets_at_every_commit() {
    let failed = || Fate::Failed { class: "key", error: "no key".to_owned() };
    let fates = || vec![record(1, results()), record(2, Fate::Dropped), record(3, failed())];
    let (taken, memory) = take(5, 5, fates());
    taken.unwrap();
    assert_eq!(memory.deltas().unwrap().len(), 1, "two are still to come");
    let retrying = Finished { attempts: vec![(0, "no".to_owned())], ..record(4, Fate::Retry { at: 1 }) };
    let (taken, _) = take(4, 4, [fates(), vec![retrying]].concat());
    taken.unwrap();
    for (read, to_come, what) in
        [(5, 4, "one was lost"), (4, 5, "one comes that nobody read"), (3, 2, "one comes twice")]
    {
        let (taken, memory) = take(read, to_come, fates());
        let error = taken.unwrap_err();
        assert!(matches!(error, EngineError::NotConserved(_)), "{what}: {error}");
        assert!(error.help().unwrap().contains("report"), "{what}");
        assert!(
            memory.scope().unwrap().is_none() && memory.deltas().unwrap().is_empty(),
            "{what}: it is kept"
        );
        assert!(memory.now().dead.is_empty(), "{what}");
    }
}

#[test]
fn a_record_is_retrying_from_its_first_failure_on_until_its_fate_is_decided() {
    let tried = |id: u8, times: usize, fate: Fate| {
        let attempts = (0..times).map(|_| (0, "no".to_owned())).collect();
        Finished { attempts, ..record(id, fate) }
    };
    let retry = || Fate::Retry { at: 1 };
    let failed = || Fate::Failed { class: "worker", error: "no".to_owned() };
    let batches = vec![
        vec![tried(1, 1, retry()), tried(2, 1, retry()), tried(3, 1, retry()), tried(4, 1, failed())],
        vec![tried(1, 2, retry()), tried(2, 1, results())],
        vec![tried(3, 1, Fate::Dropped), tried(1, 3, failed())],
    ];
    let (taken, _) = take_all(5, 5, batches);
    let told: Vec<String> = taken.unwrap().iter().map(RecordCounts::text).collect();
    assert_eq!(told, ["3 retrying, 1 dead", "1 new, 2 retrying, 1 dead", "1 new, 1 dropped, 2 dead"]);

    let (taken, memory) = take_all(2, 2, vec![vec![tried(1, 1, results())]]);
    let error = taken.unwrap_err();
    assert!(matches!(error, EngineError::NotConserved(_)), "it comes again, and never came: {error}");
    assert!(memory.deltas().unwrap().is_empty());
}
