//! Random records in random batches, cut off at random calls and run to the end again: what the sinks hold is what a plain
//! account of all runs says, each delivery was applied once, and no dead letter is lost or made up.

use std::collections::{BTreeMap, BTreeSet};

use cairn_model::SinkMode;
use proptest::prelude::*;
use serde_json::Value;

use super::fakes::{Cut, Nature, Stage};

use Nature::{Keyed, Transactional};

const FILES: [&str; 2] = ["a.jsonl", "b.jsonl"];

fn record(worker: bool) -> impl Strategy<Value = String> {
    let fate = if worker {
        prop_oneof![12 => Just(""), 1 => Just("\"w\":\"error\""), 1 => Just("\"w\":\"drop\""),
            1 => Just("\"w\":\"once\""), 1 => Just("\"w\":\"crash\""), 1 => Just("\"misfit\":\"sink1\"")]
        .boxed()
    } else {
        prop_oneof![12 => Just(""), 1 => Just("\"misfit\":\"sink0\""), 1 => Just("\"misfit\":\"sink1\""),
            1 => Just("bad")]
        .boxed()
    };
    (0..9_u8, 0..4_u8, 0..3_u8, fate).prop_map(|(id, v, x, fate)| match fate {
        "" => format!("{{\"id\":{id},\"v\":{v},\"x\":{x}}}"),
        "bad" => format!("{{\"id\":{id}"),
        fate => format!("{{\"id\":{id},\"v\":{v},\"x\":{x},{fate}}}"),
    })
}

/// A run's files.
type Files = Vec<(&'static str, Vec<String>)>;
/// After how many calls it is cut off, and how much in a hundred of what was not durable a power cut leaves.
type CutOff = (i64, Option<usize>);

#[derive(Debug, Clone)]
struct Plan {
    mode: SinkMode,
    versioned: bool,
    natures: Vec<Nature>,
    two_phase: bool,
    worker: bool,
    batch: u32,
    runs: Vec<(Files, Vec<CutOff>)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let kinds = prop_oneof![
        Just((vec![Transactional], false)),
        Just((vec![Keyed], false)),
        Just((vec![Transactional, Transactional], false)),
        Just((vec![Transactional, Transactional], true)),
        Just((vec![Transactional, Keyed], false)),
        Just((vec![Keyed, Transactional], false)),
    ];
    let mode = prop_oneof![2 => Just(SinkMode::Upsert), 1 => Just(SinkMode::Append)];
    (mode, any::<bool>(), kinds, prop::bool::weighted(0.2), 1..6_u32).prop_flat_map(
        |(mode, versioned, (natures, two_phase), worker, batch)| {
            let file = || proptest::option::weighted(0.8, proptest::collection::vec(record(worker), 0..14));
            let files = (file(), file()).prop_map(|(a, b)| {
                let files = [(FILES[0], a), (FILES[1], b)];
                files.into_iter().filter_map(|(name, lines)| Some((name, lines?))).collect()
            });
            let cut = (0..60_i64, proptest::option::of(0..=100_usize));
            let runs = proptest::collection::vec((files, proptest::collection::vec(cut, 0..4)), 1..4);
            runs.prop_map(move |runs| Plan {
                mode,
                versioned,
                natures: natures.clone(),
                two_phase,
                worker,
                batch,
                runs,
            })
        },
    )
}

/// What is known of a key, or of one version of it.
#[derive(Debug, Clone)]
struct Known {
    delivered: bool,
    version: u64,
    place: (&'static str, usize),
    line: String,
}

/// A plain account of what runs that are never cut off come to.
#[derive(Debug, Default)]
struct Account {
    known: BTreeMap<(u64, String), Known>,
    rows: Vec<BTreeMap<String, Vec<Value>>>,
    dead: BTreeSet<String>,
}

impl Account {
    fn run(&mut self, plan: &Plan, files: &[(&'static str, Vec<String>)]) {
        let mut newest: BTreeMap<(u64, String), Known> = BTreeMap::new();
        for (name, lines) in files {
            for (ordinal, line) in lines.iter().enumerate() {
                let Ok(record) = serde_json::from_str::<Value>(line) else {
                    self.dead.insert(String::new());
                    continue;
                };
                let version = if plan.versioned { record["v"].as_u64().unwrap() } else { 0 };
                let apart = match (plan.mode, plan.versioned) {
                    (SinkMode::Append, true) => version.to_string(),
                    (SinkMode::Append, false) => line.clone(),
                    _ => String::new(),
                };
                let place = (*name, ordinal);
                let now = Known { delivered: true, version, place, line: line.clone() };
                let key = (record["id"].as_u64().unwrap(), apart);
                if newest.get(&key).is_none_or(|known| (known.version, known.place) < (version, place)) {
                    newest.insert(key, now);
                }
            }
        }
        for (key, mut now) in newest {
            if let Some(known) = self.known.get_mut(&key) {
                let is_there = files.iter().any(|(name, _)| *name == known.place.0);
                let older = now.version < known.version
                    || (now.version == known.version && !is_there && now.place < known.place);
                if known.line == now.line && !is_there {
                    // It was moved.
                    known.place = now.place;
                }
                if known.line == now.line || (plan.versioned && older) {
                    continue;
                }
            }
            now.delivered = self.deliver(plan, &key.0.to_string(), &now.line);
            self.known.insert(key, now);
        }
    }

    fn deliver(&mut self, plan: &Plan, id: &str, line: &str) -> bool {
        let mut record: Value = serde_json::from_str(line).unwrap();
        let misfit = (0..plan.natures.len()).find(|sink| record["misfit"] == format!("sink{sink}"));
        let action = record["w"].as_str().unwrap_or_default().to_owned();
        if matches!(action.as_str(), "error" | "crash") || misfit.is_some() {
            self.dead.insert(id.to_owned());
        }
        if matches!(action.as_str(), "error" | "crash" | "drop") {
            return false;
        }
        if plan.worker {
            record["by"] = 1.into();
        }
        // In two phases all sinks take it, or none.
        let takers = match misfit {
            Some(_) if plan.two_phase => 0,
            Some(sink) => sink,
            None => plan.natures.len(),
        };
        self.rows.resize(plan.natures.len(), BTreeMap::new());
        for rows in &mut self.rows[..takers] {
            let rows = rows.entry(id.to_owned()).or_default();
            if plan.mode == SinkMode::Upsert {
                rows.clear();
            }
            rows.push(record.clone());
        }
        misfit.is_none()
    }
}

fn stage_of(plan: &Plan) -> Stage {
    let mut stage = Stage::new(plan.mode, plan.versioned, &plan.natures);
    stage.records.batch = Some(plan.batch);
    if plan.two_phase {
        stage = stage.two_phase();
    }
    if plan.worker { stage.with_worker(1) } else { stage }
}

/// Rows of one key in append mode come in the order of batches, which nobody promises.
fn sorted(rows: &BTreeMap<String, Vec<Value>>) -> BTreeMap<String, Vec<String>> {
    let sorted = rows.iter().map(|(key, rows)| {
        let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
        rows.sort_unstable();
        (key.clone(), rows)
    });
    sorted.collect()
}

fn check(plan: &Plan) {
    let (stage, mut account) = (stage_of(plan), Account::default());
    for (files, cuts) in &plan.runs {
        for (calls, power) in cuts {
            let _ = stage.run_cut(files, &Cut::after(*calls));
            if let Some(keep) = power {
                stage.memory.lose_power(*keep);
            }
        }
        stage.run(files).unwrap();
        account.run(plan, files);
        account.rows.resize(plan.natures.len(), BTreeMap::new());
        for (sink, expected) in account.rows.iter().enumerate() {
            assert_eq!(sorted(&stage.rows(sink)), sorted(expected), "sink {sink}");
        }
        stage.check_once();
        let again = stage.run(files).unwrap().counts;
        assert_eq!(again.delivered() + again.retrying, 0, "a further run: {again:?}");
        // Those that were superseded may be left, for a person to look at.
        let id = |key: String| key.split(" @ ").next().unwrap().to_owned();
        let dead: BTreeSet<String> = stage.dead().into_iter().map(id).collect();
        assert_eq!(dead, account.dead);
    }
}

/// Cases: more of them with `CAIRN_PROOF=1`.
fn cases() -> ProptestConfig {
    let cases = if std::env::var_os("CAIRN_PROOF").is_some() { 3000 } else { 50 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn i5_sinks_hold_what_a_plain_account_says(plan in plan()) {
        check(&plan);
    }
}

#[test]
fn i5_a_run_is_cut_off_at_each_of_its_calls() {
    for (natures, two_phase) in [
        (vec![Transactional], false),
        (vec![Transactional, Transactional], true),
        (vec![Transactional, Keyed], false),
    ] {
        let line = |id: usize| match id % 7 {
            5 => format!("{{\"id\":{id},\"v\":1,\"misfit\":\"sink0\"}}"),
            _ => format!("{{\"id\":{id},\"v\":{},\"x\":{id}}}", id % 3),
        };
        let files = vec![(FILES[0], (0..20).map(line).collect()), (FILES[1], (10..30).map(line).collect())];
        let mut plan = Plan {
            mode: SinkMode::Upsert,
            versioned: true,
            natures,
            two_phase,
            worker: false,
            batch: 4,
            runs: vec![(files.clone(), Vec::new())],
        };
        let whole = Cut::never();
        stage_of(&plan).run_cut(&files, &whole).unwrap();
        assert!(whole.calls() > 30);
        for calls in 0..whole.calls() {
            plan.runs[0].1 = vec![(calls, (calls % 2 == 0).then_some(0))];
            check(&plan);
        }
    }
}
