//! What workers made and nothing speaks of any more is given back, wherever that is cut off.

use std::os::unix::fs::MetadataExt;

use cairn_model::SinkMode;

use super::fakes::{Cut, Stage};
use crate::ledger::Ledger as _;

const KEYS: u32 = 20;
const BYTES: usize = 1_000;

/// Records of so many bytes, each round other ones, without those of `gone`.
fn source(round: u32, gone: &[u32]) -> Vec<(&'static str, Vec<String>)> {
    let of = |id: u32| format!(r#"{{"id":{id},"x":"{round} {}"}}"#, "·".repeat(BYTES / 2));
    vec![("a.jsonl", (0..KEYS).filter(|id| !gone.contains(id)).map(of).collect())]
}

fn stage() -> Stage {
    Stage::new(SinkMode::Upsert, false, &[]).with_file().with_worker(1)
}

/// Bytes that the file of results takes up on the disk.
fn taken(stage: &Stage) -> u64 {
    std::fs::metadata(stage.path().join("results")).unwrap().blocks() * 512
}

/// Checks that the output holds what the worker makes of the source.
#[track_caller]
fn check(stage: &Stage, source: &[(&str, Vec<String>)]) {
    let made: Vec<String> = source[0].1.iter().map(|line| line.replacen('{', r#"{"by":1,"#, 1)).collect();
    let output: Vec<serde_json::Value> =
        stage.output().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let made: Vec<serde_json::Value> = made.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(output, made);
}

#[test]
fn results_of_before_do_not_pile_up_and_those_that_count_stay() {
    let stage = stage();
    stage.run(&source(0, &[])).unwrap();
    let once = taken(&stage);
    for round in 1..30 {
        // Two are not in the source for a while, and stay as they were.
        let all = source(round, &[3, 7]);
        stage.run(&all).unwrap();
        check(&stage, &all);
        assert!(taken(&stage) < once * 5, "round {round}: {} after {once} at first", taken(&stage));
    }
    let asked = || stage.worker.as_ref().unwrap().asked.lock().unwrap().len();
    let before = asked();
    let mut back = source(29, &[]);
    for id in [3, 7] {
        back[0].1[id] = source(0, &[])[0].1[id].clone();
    }
    stage.run(&back).unwrap();
    check(&stage, &back);
    assert_eq!(asked(), before, "those that came back were known");
    let copy = stage.path().join("copy");
    crate::engine::copy_results(&stage.path().join("results"), &copy).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), std::fs::read(stage.path().join("results")).unwrap());
    assert!(std::fs::metadata(&copy).unwrap().blocks() * 512 < once * 5, "holes are copied as holes");
}

/// Who reads rows while another process moves their results sees that they do not belong together.
#[test]
fn rows_of_before_results_were_moved_are_known() {
    let stage = stage();
    let first = || {
        let pages = stage.memory.pages().map(|page| crate::engine::first_result(&page.unwrap().1).unwrap());
        pages.flatten().min_by_key(|kept| kept.offset).unwrap()
    };
    let holds = |kept| crate::engine::holds_result(&stage.path().join("results"), kept).unwrap();
    let mut moved = 0;
    for (round, gone) in [(0, &[][..]), (1, &[3])] {
        stage.run(&source(round, gone)).unwrap();
    }
    for round in 2..30 {
        let before = first();
        stage.run(&source(round, &[3])).unwrap();
        assert!(holds(first()), "round {round}: what counts is there");
        // One key is not in the source any more: its result, the oldest, moves whenever any do.
        assert_eq!(holds(before), first() == before, "round {round}");
        moved += usize::from(!holds(before));
    }
    assert!(moved > 1, "{moved}");
}

#[test]
fn wherever_it_is_cut_off_each_result_is_found() {
    for calls in 0.. {
        for keep in [None, Some(0), Some(60)] {
            let stage = stage();
            for round in 0..2 {
                stage.run(&source(round, &[3])).unwrap();
            }
            let before = taken(&stage);
            let cut = Cut::after(calls);
            let ended = stage.run_cut(&source(2, &[3]), &cut);
            if let Some(keep) = keep {
                stage.memory.lose_power(keep);
            }
            for round in [2, 2, 1] {
                stage.run(&source(round, &[3])).unwrap();
                check(&stage, &source(round, &[3]));
            }
            assert!(taken(&stage) < before * 2, "{} after {before}", taken(&stage));
            if ended.is_ok() {
                assert!(!cut.was_cut() && calls > 6, "{calls}");
                let length = std::fs::metadata(stage.path().join("results")).unwrap().len();
                assert!(length > taken(&stage), "it was reclaimed");
                return;
            }
        }
    }
}
