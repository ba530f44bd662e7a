//! What the engine promises, one at a time.

use cairn_model::{Address, CommitMode, RecordCounts, SinkMode, SinkPlace};

use super::fakes::{BROKEN, Cut, KILLED, Nature, Stage};
use crate::engine::{EngineError, setup_of};

use Nature::{Keyed, Transactional};

fn lines(all: &[&str]) -> Vec<String> {
    all.iter().map(|line| (*line).to_owned()).collect()
}

/// Runs over one file.
#[track_caller]
fn run(stage: &Stage, all: &[&str]) -> RecordCounts {
    stage.run(&[("a.jsonl", lines(all))]).unwrap().counts
}

fn shown(stage: &Stage, sink: usize) -> String {
    let rows = stage.rows(sink).into_values().flatten().map(|row| row["x"].to_string());
    rows.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_key_that_was_delivered_before_it_died_is_told_to_such_a_server_under_another_idempotency_key() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Keyed]);
    for (line, x) in [
        (r#"{"id":1,"x":1}"#, "1"),
        (r#"{"id":1,"x":2}"#, "2"),
        (r#"{"id":1,"misfit":"sink0"}"#, "2"),
        (r#"{"id":1,"x":1}"#, "1"),
    ] {
        let counts = run(&stage, &[line]);
        assert_eq!(counts.changed, u64::from(counts.dead == 0 && counts.new == 0));
        assert_eq!(shown(&stage, 0), x);
    }
    stage.check_once();
}

#[test]
fn a_key_that_goes_back_to_what_it_was_is_told_to_a_server_that_knows_idempotency_keys() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Keyed]);
    for x in [1, 2, 1, 2, 1] {
        let counts = run(&stage, &[&format!("{{\"id\":1,\"x\":{x}}}")]);
        assert_eq!(counts.delivered(), 1);
        assert_eq!(shown(&stage, 0), x.to_string());
    }
    stage.check_once();
}

#[test]
fn what_another_worker_makes_of_the_same_record_is_told_to_such_a_server() {
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Keyed]).with_worker(1);
    run(&stage, &[r#"{"id":1}"#]);
    stage = stage.with_worker(2);
    assert_eq!(run(&stage, &[r#"{"id":1}"#]).changed, 1);
    assert_eq!(stage.rows(0)["1"][0]["by"], 2);
    stage.check_once();
}

#[test]
fn a_record_that_succeeds_at_a_later_try_is_remembered_as_delivered() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Transactional]).with_worker(1);
    assert_eq!(run(&stage, &[r#"{"id":1,"w":"once"}"#]).new, 1);
    let again = run(&stage, &[r#"{"id":1,"w":"once"}"#, r#"{"id":2}"#]);
    assert_eq!((again.same, again.new), (1, 1));
    stage.check_once();
}

#[test]
fn a_record_that_is_worked_on_in_vain_is_a_dead_letter_and_stays_one() {
    for action in ["error", "never", "crash"] {
        let stage = Stage::new(SinkMode::Upsert, false, &[Transactional]).with_worker(1);
        let poison = format!("{{\"id\":1,\"w\":\"{action}\"}}");
        let first = run(&stage, &[&poison, r#"{"id":2}"#]);
        assert_eq!((first.dead, first.new), (1, 1), "{action}");
        assert_eq!(stage.dead().into_iter().collect::<String>(), "1");
        let again = run(&stage, &[&poison, r#"{"id":2}"#, r#"{"id":3}"#]);
        assert_eq!((again.dead, again.same, again.new), (1, 1, 1), "{action}");
    }
}

#[test]
fn a_worker_that_hangs_is_ended_while_another_one_answers() {
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional]).with_worker(1);
    (stage.records.workers, stage.records.worker_timeout_ms) = (2, 100);
    // The first worker is given 64 at once.
    let mut all = vec![r#"{"id":0,"w":"hang"}"#.to_owned()];
    all.extend((1..64).map(|id| format!("{{\"id\":{id}}}")));
    all.extend((64..104).map(|id| format!("{{\"id\":{id},\"w\":\"slow\"}}")));
    let counts = stage.run(&[("a.jsonl", all)]).unwrap().counts;
    assert_eq!((counts.new, counts.dead), (103, 1));
    let asked = stage.worker.as_ref().unwrap().asked.lock().unwrap();
    assert!(asked.iter().position(|asked| asked == KILLED).unwrap() < 30);
}

#[test]
fn all_new_records_may_be_such_as_end_the_worker() {
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional]).with_worker(1);
    stage.records.retries.attempts = 5;
    run(&stage, &[r#"{"id":1}"#]);
    let counts = run(&stage, &[r#"{"id":1}"#, r#"{"id":2,"w":"crash"}"#, r#"{"id":3,"w":"crash"}"#]);
    assert_eq!((counts.same, counts.dead), (1, 2));
}

#[test]
fn a_worker_that_ends_badly_with_nothing_to_do_is_at_fault_itself() {
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional]).with_worker(BROKEN);
    stage.records.retries.attempts = 5;
    let error = stage.run(&[("a.jsonl", lines(&[r#"{"id":1,"w":"crash"}"#]))]).unwrap_err();
    assert!(matches!(error, EngineError::Worker { .. }), "{error}");
    assert!(stage.dead().is_empty());
}

#[test]
fn a_record_that_the_second_sink_refuses_dies_whatever_is_cut_off() {
    for natures in [[Transactional, Transactional], [Keyed, Transactional], [Transactional, Keyed]] {
        for mode in [SinkMode::Upsert, SinkMode::Append] {
            for calls in 0.. {
                let stage = Stage::new(mode, false, &natures);
                let source = [("a.jsonl", lines(&[r#"{"id":1,"misfit":"sink1"}"#, r#"{"id":2,"x":2}"#]))];
                let cut = Cut::after(calls);
                let ended = stage.run_cut(&source, &cut);
                if ended.is_err() {
                    stage.run(&source).unwrap_or_else(|error| panic!("{natures:?}, {calls}: {error}"));
                }
                assert_eq!(shown(&stage, 1), "2", "{natures:?}, {calls}");
                assert_eq!(stage.rows(0).len(), 2);
                assert_eq!(stage.dead().len(), 1, "{natures:?}, {mode:?}, {calls}");
                stage.check_once();
                assert_eq!(stage.run(&source).unwrap().counts.delivered(), 0);
                if !cut.was_cut() {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_source_that_changes_after_a_delivery_was_cut_off_stops_nobody() {
    for natures in
        [vec![Transactional, Keyed], vec![Transactional, Transactional], vec![Transactional], vec![Keyed]]
    {
        for calls in 0.. {
            let stage = Stage::new(SinkMode::Upsert, false, &natures);
            let first: Vec<String> = (0..7).map(|id| format!("{{\"id\":{id},\"x\":0}}")).collect();
            let second: Vec<String> = (3..9).map(|id| format!("{{\"id\":{id},\"x\":1}}")).collect();
            let cut = Cut::after(calls);
            let _ = stage.run_cut(&[("a.jsonl", first)], &cut);
            stage.run(&[("a.jsonl", second)]).unwrap();
            for sink in 0..natures.len() {
                let rows = stage.rows(sink);
                for id in 3..9 {
                    assert_eq!(rows[&id.to_string()][0]["x"], 1, "{natures:?}, {calls}");
                }
            }
            stage.check_once();
            if !cut.was_cut() {
                break;
            }
        }
    }
}

#[test]
fn two_phases_leave_nothing_prepared_even_when_all_begins_anew() {
    for calls in 0.. {
        let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional, Transactional]).two_phase();
        let source = [("a.jsonl", lines(&[r#"{"id":1,"x":1}"#]))];
        let cut = Cut::after(calls);
        let _ = stage.run_cut(&source, &cut);
        // Another definition of where the records go.
        stage.records.sinks[0].columns.insert("x".to_owned(), "TEXT".to_owned());
        stage.run(&source).unwrap();
        assert_eq!((shown(&stage, 0), shown(&stage, 1)), ("1".to_owned(), "1".to_owned()));
        stage.check_once();
        if !cut.was_cut() {
            break;
        }
    }
}

#[test]
fn an_outage_makes_no_dead_letters_and_leaves_the_records_pending() {
    for (nature, delivered) in [(Transactional, 0), (Keyed, 30)] {
        let mut stage = Stage::new(SinkMode::Upsert, false, &[nature]);
        stage.records.batch = Some(100);
        let all = |misfit: &str| -> Vec<String> {
            let bad = (0..20).map(|id| format!("{{\"id\":{id},\"misfit\":\"{misfit}\"}}"));
            bad.chain((20..50).map(|id| format!("{{\"id\":{id}}}"))).collect()
        };
        let error = stage.run(&[("a.jsonl", all("sink0"))]).unwrap_err();
        assert!(matches!(error, EngineError::Outage { failed: 20, of: 50, .. }), "{error}");
        assert!(stage.dead().is_empty());
        assert_eq!(stage.rows(0).len(), delivered);
        let counts = stage.run(&[("a.jsonl", all("none"))]).unwrap().counts;
        assert_eq!(counts.new, 50 - delivered as u64);
        assert_eq!(counts.same, delivered as u64);
        stage.check_once();
    }
}

/// Or all new records would have to wait until a person has seen to the old ones.
#[test]
fn dead_letters_that_die_once_more_are_no_outage() {
    for worker in [false, true] {
        let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional]);
        if worker {
            stage = stage.with_worker(1);
        }
        stage.records.batch = Some(500);
        let fault = if worker { r#""w":"error""# } else { r#""misfit":"sink0""# };
        let bad: Vec<String> = (0..25).map(|id| format!("{{\"id\":{id},{fault}}}")).collect();
        let mut all: Vec<String> =
            (100..400).map(|id| format!("{{\"id\":{id}}}")).chain(bad.clone()).collect();
        let files = |all: &[String]| [("a.jsonl", all.to_vec())];
        assert_eq!(stage.run(&files(&all)).unwrap().counts.dead, 25);
        for (id, payload) in bad.iter().enumerate() {
            stage.memory.ask(&id.to_string(), payload.as_bytes(), None);
        }
        all.push(r#"{"id":999}"#.to_owned());
        let counts = stage.run(&files(&all)).unwrap().counts;
        assert_eq!((counts.new, counts.dead), (1, 25), "{counts:?}");
        assert_eq!(stage.dead().len(), 25);
    }
}

#[test]
fn an_outage_of_a_later_sink_is_told_as_one_and_the_next_run_mends_it() {
    for first in [Transactional, Keyed] {
        let mut stage = Stage::new(SinkMode::Upsert, false, &[first, Transactional]);
        stage.records.batch = Some(100);
        let all = |misfit: &str| -> Vec<String> {
            let bad = (0..30).map(|id| format!("{{\"id\":{id},\"misfit\":\"{misfit}\"}}"));
            bad.chain((30..100).map(|id| format!("{{\"id\":{id}}}"))).collect()
        };
        let error = stage.run(&[("a.jsonl", all("sink1"))]).unwrap_err();
        assert!(matches!(error, EngineError::Outage { failed: 30, of: 100, .. }), "{first:?}: {error}");
        stage.run(&[("a.jsonl", all("none"))]).unwrap();
        // The first gets what it had once more.
        assert_eq!(
            (stage.rows(0).len(), stage.rows(1).len(), stage.dead().len()),
            (100, 100, 0),
            "{first:?}"
        );
    }
}

#[test]
fn a_load_that_was_cut_off_before_its_dead_is_no_outage_when_it_goes_on() {
    let good = (0..181).map(|id| format!("{{\"id\":{id}}}"));
    let bad = (181..201).map(|id| format!("{{\"id\":{id},\"misfit\":\"sink0\"}}"));
    let all: Vec<String> = good.chain(bad).collect();
    for natures in [&[Transactional][..], &[Keyed], &[Transactional; 2]] {
        for calls in (0..).step_by(5) {
            let mut stage = Stage::new(SinkMode::Upsert, false, natures);
            stage.records.batch = Some(50);
            let cut = Cut::after(calls);
            if stage.run_cut(&[("a.jsonl", all.clone())], &cut).is_err() {
                let again = stage.run(&[("a.jsonl", all.clone())]);
                assert_eq!(
                    again.map(|report| report.counts.dead).map_err(|error| error.to_string()),
                    Ok(20),
                    "{calls}"
                );
            }
            assert_eq!((stage.rows(0).len(), stage.dead().len()), (181, 20), "{calls}");
            stage.check_once();
            // The next load is weighed by itself: most of what is new in it fails.
            let more = (300..350).map(|id| format!("{{\"id\":{id},\"misfit\":\"sink0\"}}"));
            let error = stage.run(&[("a.jsonl", all.iter().cloned().chain(more).collect())]).unwrap_err();
            assert!(matches!(error, EngineError::Outage { failed: 50, of: 50, .. }), "{error}");
            if !cut.was_cut() {
                break;
            }
        }
    }
}

#[test]
fn a_batch_that_was_cut_off_is_the_same_when_it_comes_again() {
    for calls in 0.. {
        let stage = Stage::new(SinkMode::Upsert, false, &[Keyed]);
        let source =
            [("a.jsonl", lines(&[r#"{"id":1,"misfit":"sink0"}"#, r#"{"id":2,"x":2}"#, r#"{"id":3,"x":3}"#]))];
        let cut = Cut::after(calls);
        if stage.run_cut(&source, &cut).is_err() {
            stage.run(&source).unwrap();
        }
        let table = stage.tables[0].2.lock().unwrap();
        // Two at once, and the last one.
        assert!(table.sent.values().all(|sent| sent.len() <= 2), "{calls}: {:?}", table.sent);
        assert_eq!(stage.dead().len(), 1);
        if !cut.was_cut() {
            break;
        }
    }
}

#[test]
fn a_delivery_is_ended_as_it_was_begun_whatever_the_stage_says_by_now() {
    let source = [("a.jsonl", lines(&[r#"{"id":1,"misfit":"sink1"}"#, r#"{"id":2,"x":2}"#]))];
    for (first, then) in [(CommitMode::Each, CommitMode::TwoPhase), (CommitMode::TwoPhase, CommitMode::Each)]
    {
        for natures in [&[Transactional][..], &[Transactional; 2], &[Transactional; 3]] {
            for (calls, again) in (0..).flat_map(|calls| [(calls, 1000), (calls, 5)]) {
                let mut stage = Stage::new(SinkMode::Append, false, natures);
                stage.records.commit = first;
                let cut = Cut::after(calls);
                let _ = stage.run_cut(&source, &cut);
                stage.records.commit = then;
                let _ = stage.run_cut(&source, &Cut::after(again));
                stage.run(&source).unwrap_or_else(|error| panic!("{natures:?}, {calls}: {error}"));
                for sink in 0..natures.len() {
                    assert_eq!(stage.rows(sink)["2"].len(), 1, "{first:?}, {natures:?}, {calls}, {again}");
                }
                stage.check_once();
                if !cut.was_cut() {
                    break;
                }
            }
        }
    }
}

#[test]
fn no_older_version_takes_the_place_of_a_newer_one_that_is_dead() {
    let stage = Stage::new(SinkMode::Upsert, true, &[Transactional]);
    run(&stage, &[r#"{"id":1,"v":2,"x":2,"misfit":"sink0"}"#]);
    assert_eq!(run(&stage, &[r#"{"id":1,"v":1,"x":1}"#]).late, 1);
    assert_eq!(run(&stage, &[r#"{"id":1,"v":3,"x":3}"#]).new, 1);
    assert_eq!(shown(&stage, 0), "3");
}

#[test]
fn a_dead_letter_does_not_come_before_what_the_source_has_made_of_it() {
    for versioned in [true, false] {
        for (source, expected) in [
            // Mended in the source, in its place or behind it.
            (&[r#"{"id":1,"v":1,"x":2}"#][..], "2"),
            (&[DEAD, r#"{"id":1,"v":1,"x":2}"#], "2"),
            // As it was.
            (&[DEAD], "7"),
            (&[r#"{"id":1,"v":1,"x":2}"#, DEAD], "7"),
        ] {
            let stage = Stage::new(SinkMode::Upsert, versioned, &[Transactional]);
            run(&stage, &[DEAD]);
            stage.memory.ask("1", DEAD.as_bytes(), Some(br#"{"id":1,"v":1,"x":7}"#));
            for _ in 0..2 {
                run(&stage, source);
                assert_eq!(shown(&stage, 0), expected, "{versioned}, {source:?}");
            }
            assert!(stage.memory.now().asked.is_empty());
        }
    }
}

#[test]
fn where_the_first_stays_another_worker_sends_nothing() {
    let mut stage = Stage::new(SinkMode::Insert, false, &[Keyed]).with_worker(1);
    run(&stage, &[r#"{"id":1}"#]);
    stage = stage.with_worker(2);
    assert_eq!(run(&stage, &[r#"{"id":1}"#]).same, 1);
    assert_eq!(stage.tables[0].2.lock().unwrap().batches, 1);
}

#[test]
fn a_mended_letter_goes_out_under_another_idempotency_key() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Keyed]);
    run(&stage, &[DEAD]);
    let before = stage.memory.now().dead.into_values().next().unwrap().idempotency_key;
    stage.memory.ask("1", DEAD.as_bytes(), Some(br#"{"id":1,"v":1,"x":7}"#));
    run(&stage, &[DEAD]);
    let table = stage.tables[0].2.lock().unwrap();
    assert!(!table.applied.contains_key(&before) && table.applied.len() == 1);
}

#[test]
fn each_version_of_its_own_has_a_dead_letter_of_its_own() {
    for versioned in [true, false] {
        let stage = Stage::new(SinkMode::Append, versioned, &[Transactional]);
        run(&stage, &[DEAD, r#"{"id":1,"v":2,"misfit":"sink0"}"#]);
        let keys: Vec<String> = stage.dead().into_iter().collect();
        assert_eq!(keys.len(), 2, "one would take the other's place: {keys:?}");
        assert!(!versioned || keys == ["1 @ 1", "1 @ 2"], "{keys:?}");
    }
}

#[test]
fn lines_that_only_begin_alike_are_two_dead_letters() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Transactional]);
    let pad = "x".repeat(10_000);
    let bad = |end: u8| format!("{{\"x\":\"{pad}{end}\"}}");
    stage.run(&[("a.jsonl", vec![bad(1), bad(2)])]).unwrap();
    assert_eq!(stage.memory.now().dead.len(), 2);
}

#[test]
fn a_sink_that_is_busy_again_and_again_gets_all_and_one_that_stays_so_makes_no_dead_letters() {
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Keyed]);
    stage.records.batch = Some(100);
    let all: Vec<String> = (0..50).map(|id| format!("{{\"id\":{id}}}")).collect();
    // Ten times busy, two tries at most.
    let be = |patience: u32, calm: u32| {
        let mut table = stage.tables[0].2.lock().unwrap();
        (table.patience, table.calm) = (Some(patience), Some(calm));
    };
    be(5, 5);
    assert_eq!(stage.run(&[("a.jsonl", all[..40].to_vec())]).unwrap().counts.new, 40);
    be(5, 0);
    let error = stage.run(&[("a.jsonl", all.clone())]).unwrap_err();
    assert!(matches!(error, EngineError::GivenUp { .. }), "{error}");
    assert!(stage.dead().is_empty());
    be(5, 5);
    stage.run(&[("a.jsonl", all)]).unwrap();
    assert_eq!(stage.rows(0).len(), 50);
    stage.check_once();
}

#[test]
fn bad_records_over_a_tenth_are_an_outage_before_anything_is_delivered() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Transactional]);
    let mut all: Vec<String> = (0..100).map(|id| format!("{{\"id\":{id}}}")).collect();
    all.extend((0..20).map(|number| format!("bad {number}")));
    let error = stage.run(&[("a.jsonl", all.clone())]).unwrap_err();
    assert!(matches!(error, EngineError::Outage { failed: 20, of: 120, .. }), "{error}");
    assert!(stage.rows(0).is_empty() && stage.dead().is_empty());
    all.extend((100..200).map(|id| format!("{{\"id\":{id}}}")));
    let counts = stage.run(&[("a.jsonl", all)]).unwrap().counts;
    assert_eq!((counts.new, counts.dead), (200, 20));
}

const DEAD: &str = r#"{"id":1,"v":1,"x":1,"misfit":"sink0"}"#;

#[test]
fn a_dead_letter_comes_in_again_once_in_each_mode_whatever_is_cut_off() {
    let mended = br#"{"id":1,"v":1,"x":7}"#;
    for mode in [SinkMode::Upsert, SinkMode::Append] {
        for calls in 0.. {
            let stage = Stage::new(mode, true, &[Transactional]);
            assert_eq!(run(&stage, &[DEAD]).dead, 1);
            let key = if mode == SinkMode::Append { "1 @ 1" } else { "1" };
            stage.memory.ask(key, DEAD.as_bytes(), Some(mended));
            let cut = Cut::after(calls);
            if stage.run_cut(&[("a.jsonl", lines(&[DEAD]))], &cut).is_err() {
                run(&stage, &[DEAD]);
            }
            assert_eq!(shown(&stage, 0), "7", "{mode:?}, {calls}");
            let now = stage.memory.now();
            assert!(now.dead.is_empty() && now.asked.is_empty(), "{mode:?}, {calls}");
            stage.check_once();
            assert_eq!(run(&stage, &[DEAD]).delivered(), 0, "{mode:?}, {calls}");
            if !cut.was_cut() {
                break;
            }
        }
    }
}

#[test]
fn a_dead_letter_does_not_come_before_what_was_delivered_since() {
    for versioned in [true, false] {
        let stage = Stage::new(SinkMode::Upsert, versioned, &[Transactional]);
        run(&stage, &[DEAD]);
        let newer = r#"{"id":1,"v":2,"x":2}"#;
        run(&stage, &[DEAD, newer]);
        assert_eq!(shown(&stage, 0), "2");
        stage.memory.ask("1", DEAD.as_bytes(), Some(br#"{"id":1,"v":1,"x":1}"#));
        for source in [&[DEAD, newer][..], &[DEAD, newer], &[newer]] {
            run(&stage, source);
            assert_eq!(shown(&stage, 0), "2", "versioned: {versioned}");
        }
        let now = stage.memory.now();
        assert!(now.asked.is_empty(), "it is not asked for again and again");
    }
}

#[test]
fn a_dead_letter_of_a_file_without_types_is_read_without_types() {
    let stage = Stage::new(SinkMode::Upsert, true, &[Transactional]);
    let run = |rows: &[&str]| {
        let csv = [&["id,v,x,misfit"][..], rows].concat();
        stage.run(&[("a.csv", lines(&csv))]).unwrap()
    };
    let dead = "1,9,9,sink0";
    run(&[dead]);
    run(&[dead, "1,10,10,"]);
    assert_eq!(shown(&stage, 0), "\"10\"");
    let payload = br#"{"id":"1","v":"9","x":"9","misfit":"sink0"}"#;
    stage.memory.ask("1", payload, Some(br#"{"id":"1","v":"9","x":"9","misfit":""}"#));
    // As a text 9 comes after any number.
    run(&[dead, "1,10,10,"]);
    assert_eq!(shown(&stage, 0), "\"10\"");
}

#[test]
fn a_dead_letter_is_of_the_file_that_it_came_from() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Transactional]);
    let poison = |id: u8| format!("{{\"id\":{id},\"misfit\":\"sink0\"}}");
    let files = [("a.jsonl", vec![poison(1)]), ("b.jsonl", vec![poison(2)])];
    stage.run(&files).unwrap();
    for id in [1, 2] {
        stage.memory.ask(&id.to_string(), poison(id).as_bytes(), None);
    }
    stage.run(&files).unwrap();
    let files: Vec<String> = stage.memory.now().dead.into_values().map(|dead| dead.file).collect();
    assert_eq!(files, ["a.jsonl", "b.jsonl"]);
}

#[test]
fn another_header_does_not_send_everything_again() {
    let mut records = Stage::new(SinkMode::Upsert, false, &[Keyed]).records;
    let mut http = |token: &str, url: &str| {
        records.sinks[0].place = SinkPlace::Http {
            url: Address(url.to_owned()),
            method: "POST".to_owned(),
            batched: false,
            headers: [("authorization".to_owned(), Address(token.to_owned()))].into(),
        };
        setup_of(&records)
    };
    assert_eq!(http("old", "http://here/"), http("new", "http://here/"));
    assert_ne!(http("old", "http://here/"), http("old", "http://there/"));
}

#[test]
fn a_dead_letter_that_is_newer_than_what_was_delivered_comes_in() {
    for versioned in [true, false] {
        let stage = Stage::new(SinkMode::Upsert, versioned, &[Transactional]);
        let older = r#"{"id":1,"v":0,"x":0}"#;
        run(&stage, &[older]);
        run(&stage, &[older, DEAD]);
        stage.memory.ask("1", DEAD.as_bytes(), Some(br#"{"id":1,"v":1,"x":1}"#));
        for source in [[older, DEAD], [older, DEAD]] {
            run(&stage, &source);
            assert_eq!(shown(&stage, 0), "1", "versioned: {versioned}");
        }
        assert!(stage.dead().is_empty());
    }
}

#[test]
fn a_bad_line_that_a_person_mended_comes_in_and_one_that_is_still_bad_stays() {
    let stage = Stage::new(SinkMode::Upsert, false, &[Transactional]);
    assert_eq!(run(&stage, &["{\"id\":", r#"{"x":1}"#]).dead, 2);
    stage.memory.ask("", b"{\"id\":", Some(br#"{"id":5,"x":5}"#));
    stage.memory.ask("", br#"{"x":1}"#, None);
    let counts = run(&stage, &["{\"id\":", r#"{"x":1}"#]);
    assert_eq!((counts.new, counts.dead), (1, 3));
    let now = stage.memory.now();
    assert_eq!((now.dead.len(), now.asked.len()), (1, 0));
    assert_eq!(shown(&stage, 0), "5");
    // What was mended is dead no more, nor is what comes too late.
    stage.memory.ask("", br#"{"x":1}"#, Some(br#"{"id":5,"x":6}"#));
    run(&stage, &["{\"id\":", r#"{"x":1}"#]);
    let counts = run(&stage, &["{\"id\":", r#"{"x":1}"#]);
    assert_eq!((counts.same, counts.dead), (2, 0));
    assert_eq!(shown(&stage, 0), "5");
}

#[test]
fn when_the_file_of_results_is_gone_all_begins_anew() {
    for left in [None, Some(3)] {
        let stage = Stage::new(SinkMode::Upsert, false, &[]).with_file().with_worker(1);
        let source = [r#"{"id":1}"#, r#"{"id":2}"#];
        run(&stage, &source);
        let (before, results) = (stage.output(), stage.path().join("results"));
        match left {
            None => std::fs::remove_file(&results).unwrap(),
            Some(left) => std::fs::write(&results, &std::fs::read(&results).unwrap()[..left]).unwrap(),
        }
        let report = stage.run(&[("a.jsonl", lines(&source))]).unwrap();
        assert!(report.began_anew.unwrap().contains("results"));
        assert_eq!((report.counts.new, stage.output()), (2, before));
    }
}

#[test]
fn an_outage_tells_of_those_that_died_before() {
    let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional]);
    stage.records.batch = Some(100);
    let dies = |id: u32| format!("{{\"id\":{id},\"misfit\":\"sink0\"}}");
    let lives = |id: u32| format!("{{\"id\":{id}}}");
    let all = (0..5).map(dies).chain((5..100).map(lives)).chain((100..200).map(dies));
    let error = stage.run(&[("a.jsonl", all.collect())]).unwrap_err().to_string();
    assert!(
        error.contains("outage: 100 of them became no dead letters, 5 failed before and did."),
        "{error}"
    );
    assert_eq!(stage.dead().len(), 5);
}

#[test]
fn a_run_that_is_stopped_ends_wherever_it_is() {
    for asked in 0..40 {
        let mut stage = Stage::new(SinkMode::Upsert, false, &[Transactional]).with_file();
        stage.stop_after = asked;
        let source = [("a.jsonl", lines(&[r#"{"id":1}"#, r#"{"id":2}"#]))];
        match stage.run(&source) {
            Ok(_) => return assert!(asked > 5, "{asked}"),
            Err(error) => assert!(matches!(error, EngineError::Stopped), "{error}"),
        }
    }
    panic!("it asks again and again");
}

#[test]
fn a_file_is_made_of_the_source_alone() {
    let newer = [r#"{"id":1,"v":2,"x":2}"#];
    let older = [r#"{"id":1,"v":1,"x":1}"#];
    for worker in [false, true] {
        let stage = |worker: bool| {
            let stage = Stage::new(SinkMode::Upsert, true, &[]).with_file();
            if worker { stage.with_worker(1) } else { stage }
        };
        let (used, fresh) = (stage(worker), stage(worker));
        run(&used, &newer);
        run(&used, &older);
        run(&fresh, &older);
        assert_eq!(used.output(), fresh.output(), "worker: {worker}");
    }
}
