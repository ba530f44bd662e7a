//! A sink that is down: how often it is tried, in a run and over runs, and what the next run knows of it.

use std::sync::atomic::Ordering;

use cairn_model::SinkMode;
use serde_json::Value;

use super::fakes::{Nature, Stage};
use crate::engine::EngineError;
use crate::ledger::{Ledger as _, Wait};

use Nature::{Keyed, Transactional};

const HOUR_MS: u64 = 3_600_000;

fn file(lines: &[&str]) -> [(&'static str, Vec<String>); 1] {
    [("a.jsonl", lines.iter().map(|line| (*line).to_owned()).collect())]
}

fn be_down(stage: &Stage, sink: usize, down: u32) {
    stage.tables[sink].2.lock().unwrap().down = down;
}

fn tries(stage: &Stage, sink: usize) -> usize {
    std::mem::take(&mut stage.tables[sink].2.lock().unwrap().batches)
}

fn with_pauses(mut stage: Stage, attempts: u32, delay_ms: u64) -> Stage {
    stage.records.retries.attempts = attempts;
    (stage.records.retries.delay_ms, stage.records.retries.max_delay_ms) = (delay_ms, delay_ms);
    stage.records.retries.jitter = false;
    stage
}

fn given_up(stage: &Stage, files: &[(&str, Vec<String>)]) -> u32 {
    match stage.run(files) {
        Err(EngineError::GivenUp { tries, .. }) => tries,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_that_gave_up_on_a_sink_leaves_one_try_to_the_next() {
    for nature in [Transactional, Keyed] {
        let stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[nature]), 3, 0);
        let files = file(&[r#"{"id":1}"#, r#"{"id":2}"#]);
        be_down(&stage, 0, u32::MAX);
        assert_eq!((given_up(&stage, &files), tries(&stage, 0)), (3, 3));
        assert_eq!((given_up(&stage, &files), tries(&stage, 0)), (4, 1));
        assert_eq!((given_up(&stage, &files), tries(&stage, 0)), (5, 1));
        be_down(&stage, 0, 0);
        stage.run(&files).unwrap();
        assert_eq!((tries(&stage, 0), stage.rows(0).len(), stage.dead().len()), (1, 2, 0));
        // What it took counts: it is tried as often as at first.
        be_down(&stage, 0, 2);
        stage.run(&file(&[r#"{"id":3}"#])).unwrap();
        assert_eq!((tries(&stage, 0), stage.rows(0).len()), (3, 3));
        stage.check_once();
    }
}

#[test]
fn a_sink_is_left_alone_for_its_time_over_runs() {
    let mut stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Transactional]), 1, HOUR_MS);
    let files = file(&[r#"{"id":1}"#]);
    be_down(&stage, 0, 1);
    assert_eq!((given_up(&stage, &files), tries(&stage, 0)), (1, 1));
    stage.stop_after = 20;
    assert!(matches!(stage.run(&files), Err(EngineError::Stopped)));
    assert_eq!(tries(&stage, 0), 0, "its time has not come");
    let told = stage.pauses.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].sink == "sink0" && told[0].error == "cut", "{told:?}");
    stage.stop_after = 100;
    stage.clock.fetch_add(i64::try_from(HOUR_MS).unwrap(), Ordering::SeqCst);
    stage.run(&files).unwrap();
    assert_eq!((tries(&stage, 0), stage.rows(0).len()), (1, 1));
}

#[test]
fn a_run_that_was_ended_during_a_pause_counts_its_tries_for_the_next() {
    let mut stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Transactional]), 3, HOUR_MS);
    let files = file(&[r#"{"id":1}"#]);
    be_down(&stage, 0, u32::MAX);
    stage.stop_after = 20;
    for _ in 0..2 {
        assert!(matches!(stage.run(&files), Err(EngineError::Stopped)));
        assert_eq!(tries(&stage, 0), 1);
        stage.clock.fetch_add(i64::try_from(HOUR_MS).unwrap(), Ordering::SeqCst);
    }
    assert_eq!((given_up(&stage, &files), tries(&stage, 0)), (3, 1), "the third of three");
}

#[test]
fn a_clock_that_went_back_makes_no_pause_longer() {
    let wait = Wait { until_ms: 100_000, pause_ms: 1_000 };
    for (now, left) in
        [(99_500, 500), (100_000, 0), (200_000, 0), (99_000, 1_000), (-1, 1_000), (i64::MIN, 1_000)]
    {
        assert_eq!(wait.left_ms(now), left, "at {now}");
    }
}

/// A record that a sink is to take later has its tries and their times over runs, and those beside it go once.
#[test]
fn tries_of_a_record_that_a_sink_refuses_count_over_runs() {
    let mut stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Keyed]), 3, HOUR_MS);
    let files = file(&[r#"{"id":1}"#, r#"{"busy":"sink0","id":2}"#, r#"{"id":3,"misfit":"sink0"}"#]);
    stage.stop_after = 20;
    for run in 0..2 {
        let ended = stage.run(&files);
        assert!(matches!(ended, Err(EngineError::Stopped)), "run {run}: {ended:?}");
        assert!(stage.dead().is_empty(), "run {run}: the batch is not over");
        stage.clock.fetch_add(i64::try_from(HOUR_MS).unwrap(), Ordering::SeqCst);
    }
    stage.stop_after = 100;
    stage.run(&files).unwrap();
    // In two parts the first time.
    assert_eq!(tries(&stage, 0), 4);
    assert_eq!(stage.dead(), ["2", "3"].map(str::to_owned).into());
    let dead = stage.memory.now().dead;
    let attempts: Vec<_> = dead.values().map(|dead| dead.attempts.clone()).collect();
    assert_eq!(attempts[0].iter().map(|(_, error)| error.as_str()).collect::<Vec<_>>(), ["busy"; 3]);
    let hour = i64::try_from(HOUR_MS).unwrap();
    assert!(attempts[0].windows(2).all(|two| two[1].0 - two[0].0 >= hour), "{attempts:?}");
    assert_eq!(attempts[1].len(), 1, "{attempts:?}");
    let table = stage.tables[0].2.lock().unwrap();
    assert!(table.applied.values().all(|bodies| bodies.len() == 1), "what it took does not come again");
    // The last of three by itself, and the one that is tried again.
    let sent = table.sent.values().flatten().filter(|batch| batch.len() == 1).count();
    assert_eq!(sent, 2, "{:?}", table.sent);
}

#[test]
fn a_batch_in_two_phases_is_prepared_again_when_one_sink_was_away() {
    for (away, other) in [(0, 1), (1, 0)] {
        let stage = Stage::new(SinkMode::Upsert, false, &[Transactional, Transactional]).two_phase();
        let stage = with_pauses(stage, 3, 0);
        let files = file(&[r#"{"id":1}"#, r#"{"id":2}"#]);
        // For a try, and for the rollback after it.
        be_down(&stage, away, 2);
        stage.run(&files).unwrap();
        assert_eq!(tries(&stage, away), 2);
        for sink in [away, other] {
            let rows: Vec<Value> = stage.rows(sink).into_values().flatten().collect();
            assert_eq!(rows.len(), 2, "{away} {sink}");
        }
        stage.check_once();
        be_down(&stage, away, u32::MAX);
        let more = file(&[r#"{"id":3}"#]);
        given_up(&stage, &more);
        assert!(!stage.tables[other].2.lock().unwrap().has_prepared(), "nobody's rows stay locked");
        be_down(&stage, away, 0);
        stage.run(&more).unwrap();
        assert_eq!((stage.rows(away).len(), stage.rows(other).len()), (3, 3));
        stage.check_once();
    }
}

/// What answers no more just when it has prepared a batch, and cannot be rolled back at once, is rolled back before the next
/// try.
#[test]
fn what_was_prepared_unheard_is_rolled_back_before_the_next_try() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Transactional, Transactional]).two_phase();
    let stage = with_pauses(stage, 4, 0);
    stage.tables[1].2.lock().unwrap().faints = true;
    stage.run(&file(&[r#"{"id":1}"#])).unwrap();
    assert_eq!((stage.rows(0).len(), stage.rows(1).len()), (1, 1));
    stage.check_once();
}

/// What leads to nothing is a batch without deliveries, which has its number all the same.
#[test]
fn a_batch_without_deliveries_is_told_to_a_sink_that_was_away() {
    let stage = Stage::new(SinkMode::Append, false, &[Transactional]).with_worker(1);
    let stage = with_pauses(stage, 3, 0);
    be_down(&stage, 0, 1);
    stage.run(&file(&[r#"{"id":1,"w":"none"}"#])).unwrap();
    assert_eq!(tries(&stage, 0), 2);
    let more = file(&[r#"{"id":1,"w":"none"}"#, r#"{"id":2}"#]);
    let report = stage.run(&more).unwrap();
    assert_eq!((report.began_anew, stage.rows(0).len()), (None, 1));

    // The first refuses all there is; the second, away at first, is told of what is left.
    let stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Transactional; 2]), 3, 0);
    be_down(&stage, 1, 1);
    stage.run(&file(&[r#"{"id":1,"misfit":"sink0"}"#])).unwrap();
    let report = stage.run(&file(&[r#"{"id":1,"misfit":"sink0"}"#, r#"{"id":2}"#])).unwrap();
    assert_eq!((report.began_anew, stage.rows(1).len()), (None, 1));
    stage.check_once();
}

#[test]
fn of_several_sinks_only_the_one_that_was_away_gets_the_batch_again() {
    for second in [Keyed, Transactional] {
        let stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Keyed, second]), 1, 0);
        let files = file(&[r#"{"id":1}"#, r#"{"id":2}"#]);
        be_down(&stage, 1, 2);
        for _ in 0..2 {
            given_up(&stage, &files);
        }
        stage.run(&files).unwrap();
        assert_eq!((tries(&stage, 0), tries(&stage, 1)), (1, 3), "{second:?}");
        assert_eq!((stage.rows(0).len(), stage.rows(1).len()), (2, 2), "{second:?}");
        assert!(stage.tables[0].2.lock().unwrap().applied.values().all(|bodies| bodies.len() == 1));
    }
}

/// Those that failed wait for the rest to be seen; a run that ends before leaves the pause to the next.
#[test]
fn a_pause_that_was_still_to_come_is_left_to_the_next_run() {
    let files = file(&[r#"{"busy":"sink0","id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#]);
    let mut left = 0;
    for stop_after in 3..9 {
        let mut stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Keyed]), 2, HOUR_MS);
        stage.records.batch = Some(4);
        stage.stop_after = stop_after;
        assert!(matches!(stage.run(&files), Err(EngineError::Stopped)));
        let seen = tries(&stage, 0);
        if seen == 0 {
            continue;
        }
        // Within the hour nothing more comes to it.
        stage.stop_after = 10;
        assert!(matches!(stage.run(&files), Err(EngineError::Stopped)), "{stop_after}");
        assert_eq!(tries(&stage, 0), 0, "{stop_after}");
        left += u32::from(seen == 1);
    }
    assert!(left > 0, "no run ended between the parts");
}

/// One pause for both: the sink's own counts, whatever waited before it.
#[test]
fn a_sink_that_goes_away_after_it_failed_a_record_is_paused_for_as_one_that_is_away() {
    let mut stage = with_pauses(Stage::new(SinkMode::Upsert, false, &[Keyed]), 1, HOUR_MS);
    stage.records.batch = Some(4);
    stage.records.retries.attempts = 2;
    let files = file(&[r#"{"busy":"sink0","id":1}"#, r#"{"id":2}"#, r#"{"id":3}"#, r#"{"id":4}"#]);
    // It takes two, and is busy from then on.
    stage.tables[0].2.lock().unwrap().patience = Some(2);
    stage.stop_after = 12;
    assert!(matches!(stage.run(&files), Err(EngineError::Stopped)));
    let breaker = stage.memory.scope().unwrap().unwrap().breakers[0].clone();
    assert_eq!((breaker.failures, breaker.spent), (1, 1), "{breaker:?}");
}
