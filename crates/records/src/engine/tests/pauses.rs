//! How long it is waited before something is tried again, and who is told.

use std::sync::atomic::Ordering;

use cairn_model::{RecordRetries, SinkMode};

use super::fakes::{KILLED, Nature, Stage};
use crate::engine::{EngineError, Hands};

use Nature::Keyed;

fn file(lines: &[&str]) -> [(&'static str, Vec<String>); 1] {
    [("a.jsonl", lines.iter().map(|line| (*line).to_owned()).collect())]
}

#[test]
fn a_long_pause_is_told_of_and_a_short_one_is_not() {
    for (delay_ms, told) in [(60, 1), (10, 0)] {
        let mut stage = Stage::new(SinkMode::Upsert, false, &[Keyed]);
        stage.records.retries.delay_ms = delay_ms;
        (stage.records.retries.max_delay_ms, stage.records.retries.jitter) = (delay_ms, false);
        let (patience, calm) = (Some(1), Some(1));
        {
            let mut table = stage.tables[0].2.lock().unwrap();
            (table.patience, table.calm) = (patience, calm);
        }
        stage.run(&file(&[r#"{"id":1}"#, r#"{"id":2}"#])).unwrap();
        let pauses = stage.pauses.lock().unwrap();
        assert_eq!(pauses.len(), told, "{pauses:?}");
        assert!(pauses.iter().all(|pause| pause.sink == "sink0" && !pause.asked && !pause.error.is_empty()));
    }
}

/// A run that was ended while a record waits for its next try leaves that to the runs after it.
#[test]
fn the_next_try_of_a_record_waits_for_its_time_over_runs_that_end_before() {
    const DELAY_MS: u64 = 1_000_000;
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Keyed]).with_worker(1);
    stage.records.retries.delay_ms = DELAY_MS;
    (stage.records.retries.max_delay_ms, stage.records.retries.jitter) = (DELAY_MS, false);
    let files = file(&[r#"{"id":1,"w":"once"}"#]);
    let asked = |stage: &Stage| {
        let asked = stage.worker.as_ref().unwrap().asked.lock().unwrap();
        asked.iter().filter(|asked| *asked != KILLED).count()
    };
    stage.stop_after = 20;
    for _ in 0..2 {
        assert!(matches!(stage.run(&files), Err(EngineError::Stopped)));
        assert_eq!(asked(&stage), 1, "it is not due yet");
        assert!(stage.rows(0).is_empty());
    }
    stage.stop_after = i64::MAX;
    stage.clock.fetch_add(i64::try_from(DELAY_MS).unwrap(), Ordering::SeqCst);
    stage.run(&files).unwrap();
    assert_eq!((asked(&stage), stage.rows(0).len(), stage.dead().len()), (2, 1, 0));
}

#[test]
fn a_pause_is_drawn_from_nothing_to_what_doubles_up_to_the_longest() {
    let hands = Hands { progress: &|_| {}, pauses: &|_| {}, now: &|| 0, stop: &|| false, fence: 1, seed: 7 };
    let retries = |jitter| RecordRetries {
        delay_ms: 100,
        max_delay_ms: 1_000,
        exponential: true,
        jitter,
        ..RecordRetries::default()
    };
    let tries = [1, 2, 3, 4, 5, 99];
    let most = tries.map(|tries| hands.delay_ms(&retries(false), tries));
    assert_eq!(most, [100, 200, 400, 800, 1_000, 1_000]);
    for (tries, most) in tries.into_iter().zip(most) {
        let drawn: Vec<u64> = (0..300).map(|_| hands.delay_ms(&retries(true), tries)).collect();
        assert!(drawn.iter().all(|pause| *pause <= most), "{tries}: {drawn:?}");
        assert!(drawn.iter().any(|pause| *pause < most / 10), "{tries}: {drawn:?}");
        assert!(drawn.iter().any(|pause| *pause > most - most / 10), "{tries}: {drawn:?}");
    }
}
