//! An endpoint, which cannot be asked what it has, is not told again what it took.

use cairn_model::SinkMode;

use super::fakes::{Cut, Nature, Stage};

use Nature::{Keyed, Transactional};

/// An endpoint cannot be asked what it has: it is remembered, whenever a run is ended.
#[test]
fn what_an_endpoint_took_is_not_sent_again_after_a_run_that_was_ended() {
    let files = [(
        "a.jsonl",
        (0..9)
            .map(|id| {
                let misfit = if id == 4 { ",\"misfit\":\"sink0\"" } else { "" };
                format!("{{\"id\":{id}{misfit}}}")
            })
            .collect::<Vec<_>>(),
    )];
    for natures in [&[Keyed][..], &[Keyed, Transactional], &[Keyed, Keyed], &[Transactional, Keyed]] {
        let mut ended = 0;
        for stop_after in 0.. {
            let mut stage = Stage::new(SinkMode::Upsert, false, natures);
            stage.records.batch = Some(5);
            stage.stop_after = stop_after;
            let first = stage.run(&files);
            stage.stop_after = i64::MAX;
            stage.run(&files).unwrap();
            for (name, _, table) in &stage.tables {
                let table = table.lock().unwrap();
                assert_eq!(table.rows.len(), 8, "{name}, {natures:?}, {stop_after}");
                assert!(
                    table.applied.values().all(|bodies| bodies.len() == 1),
                    "{name}, {natures:?}, {stop_after}"
                );
            }
            stage.check_once();
            if first.is_ok() {
                break;
            }
            ended += 1;
        }
        assert!(ended > 5, "{natures:?}: {ended}");
    }
}

#[test]
fn what_an_endpoint_took_is_not_sent_again_when_a_run_is_killed_at_the_sink_behind_it() {
    let mut killed = 0;
    for calls in 0.. {
        let stage = Stage::new(SinkMode::Upsert, false, &[Keyed, Transactional]);
        let files = [("a.jsonl", (1..4).map(|id| format!("{{\"id\":{id}}}")).collect())];
        let cut = Cut::after(calls);
        let first = stage.run_cut(&files, &cut);
        let came_to_the_second = stage.tables[1].2.lock().unwrap().batches > 0;
        stage.run(&files).unwrap();
        if came_to_the_second {
            let table = stage.tables[0].2.lock().unwrap();
            assert!(table.applied.values().all(|bodies| bodies.len() == 1), "{calls}");
            killed += u32::from(first.is_err());
        }
        if !cut.was_cut() {
            break;
        }
    }
    assert!(killed > 1, "{killed}");
}
