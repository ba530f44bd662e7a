//! What a batch does.

use cairn_model::{InputHash, InstanceName, Level, RunStatus, Timestamp};
use cairn_store::{Access, Batch, Checkpoint, CommitError, Demoted, Durability, FindRunError};

use crate::sample::{
    Everything, State, attempt, attempt_id, checkpoint, commit, digest, event, fill, hash, instance, name,
    placed, run, run_record,
};

#[test]
fn what_is_written_is_read_back_now_and_after_reopening() {
    let state = State::new();
    let store = state.open();
    fill(&store);
    assert_eq!(Everything::of(&store).unwrap(), Everything::expected());
    let head = store.head();
    store.close().unwrap();
    for access in [Access::Write, Access::Read] {
        let store = state.try_open(access).unwrap();
        assert_eq!(Everything::of(&store).unwrap(), Everything::expected());
        assert_eq!(store.head(), head);
    }
}

#[test]
fn batches_are_numbered_without_a_gap_and_chained() {
    let state = State::new();
    let store = state.open();
    let first = store.head();
    assert_eq!(first.sequence, 1, "making the store is the first batch");
    assert_eq!(commit(&store, |batch| batch.event(run(1), &event(1))), 2);
    assert_eq!(commit(&store, |_| {}), 3, "an empty batch counts");
    let third = store.head();
    drop(store);
    let store = state.open();
    assert_eq!(store.head(), third);
    assert_eq!(commit(&store, |batch| batch.event(run(1), &event(2))), 4);
    assert_eq!(store.events(run(1)).unwrap(), [(1, event(1)), (2, event(2))]);

    let other = State::new();
    let store = other.open();
    assert_eq!(store.head(), first, "the chain depends on what is stored alone");
    commit(&store, |batch| batch.event(run(1), &event(2)));
    commit(&store, |_| {});
    assert_ne!(store.head().chain, third.chain);
}

#[test]
fn events_are_numbered_by_run() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| {
        batch.event(run(1), &event(1));
        batch.event(run(2), &event(2));
        batch.event(run(1), &event(3));
    });
    commit(&store, |batch| batch.event(run(1), &event(4)));
    assert_eq!(store.events(run(1)).unwrap(), [(1, event(1)), (2, event(3)), (3, event(4))]);
    assert_eq!(store.events(run(2)).unwrap(), [(1, event(2))]);
    assert_eq!(store.events_after(run(1), 2).unwrap(), [(3, event(4))]);
    assert_eq!(store.events_after(run(1), 3).unwrap(), []);
    assert_eq!(store.events_after(run(1), u64::MAX).unwrap(), []);
    assert_eq!(store.events(run(3)).unwrap(), []);
}

/// Commits `second` over `first` and says which is then the checkpoint, and whether a dispute was reported and kept.
fn contest(
    first: &Checkpoint,
    second: &Checkpoint,
    replace: bool,
    demote: bool,
) -> (Checkpoint, usize, Vec<Checkpoint>) {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| batch.put_checkpoint(hash(1), first));
    if demote {
        commit(&store, |batch| batch.demote(hash(1), "gone"));
        assert_eq!(store.checkpoint(&hash(1)).unwrap(), None, "a demoted one does not count");
    }
    let mut batch = Batch::new();
    if replace {
        batch.replace_checkpoint(hash(1), second);
    } else {
        batch.put_checkpoint(hash(1), second);
    }
    let disputed = store.commit(batch, Durability::Synced).unwrap().disputed;
    (store.checkpoint(&hash(1)).unwrap().unwrap(), disputed.len(), store.second_results(&hash(1)).unwrap())
}

#[test]
fn k8_the_first_result_under_a_hash_stands_and_another_is_kept_as_evidence() {
    let (first, second) = (checkpoint(1, "first"), checkpoint(1, "second"));
    let again = Checkpoint { finished: Timestamp(9), took_ms: 1, ..first.clone() };
    let stronger = |checkpoint: &Checkpoint| Checkpoint { level: Level::Confine, ..checkpoint.clone() };
    let (replace, demote) = (true, true);

    let check =
        |second: &Checkpoint, replace, demote, stands: &Checkpoint, disputed, evidence: &[&Checkpoint]| {
            let (checkpoint, reported, kept) = contest(&first, second, replace, demote);
            assert_eq!(&checkpoint, stands);
            assert_eq!(reported, disputed);
            assert_eq!(kept.iter().collect::<Vec<_>>(), evidence);
        };
    // The same outputs again: the first stands, nothing to dispute.
    check(&again, !replace, !demote, &first, 0, &[]);
    check(&second, !replace, !demote, &first, 1, &[&second]);
    // Stronger isolation is worth more, and what the weaker one gave is still evidence.
    check(&stronger(&again), !replace, !demote, &stronger(&again), 0, &[]);
    check(&stronger(&second), !replace, !demote, &stronger(&second), 0, &[&first]);
    // One that is expected to differ is no evidence.
    check(&again, replace, !demote, &again, 0, &[]);
    check(&second, replace, !demote, &second, 0, &[]);
    // A demoted one gives way.
    check(&again, !replace, demote, &again, 0, &[]);
    check(&second, !replace, demote, &second, 0, &[&first]);
}

#[test]
fn evidence_is_kept_once_and_not_without_end() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| batch.put_checkpoint(hash(1), &checkpoint(1, "first")));
    for made in ["a", "a", "b", "a"] {
        commit(&store, |batch| batch.put_checkpoint(hash(1), &checkpoint(1, made)));
    }
    assert_eq!(store.second_results(&hash(1)).unwrap(), [checkpoint(1, "a"), checkpoint(1, "b")]);
    for number in 0..20 {
        commit(&store, |batch| batch.put_checkpoint(hash(1), &checkpoint(1, &number.to_string())));
    }
    assert_eq!(store.second_results(&hash(1)).unwrap().len(), 8);
    assert_eq!(store.second_results(&hash(2)).unwrap(), []);
}

#[test]
fn a_demoted_checkpoint_can_be_explained() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| {
        batch.put_checkpoint(hash(1), &checkpoint(1, "first"));
        batch.demote(hash(1), "`a` is gone");
        batch.demote(hash(2), "there is none");
    });
    assert_eq!(store.checkpoints(&[hash(1), hash(2)]).unwrap(), [None, None]);
    let why = Demoted { why: "`a` is gone".to_owned() };
    assert_eq!(store.recorded(&hash(1)).unwrap(), Some((checkpoint(1, "first"), Some(why))));
    assert_eq!(store.recorded(&hash(2)).unwrap(), None);
}

#[test]
fn a_stale_attempt_publishes_nothing() {
    let state = State::new();
    let store = state.open();
    let id = attempt_id(1, "clean", 1);
    let publish = |epoch| {
        let mut batch = Batch::new();
        batch.event(run(1), &event(1));
        batch.require_attempt(&id, epoch);
        batch.put_checkpoint(hash(1), &checkpoint(1, "late"));
        batch.attempt_ended(&id);
        store.commit(batch, Durability::Synced)
    };
    assert!(matches!(publish(1), Err(CommitError::StaleAttempt { .. })), "never started");
    commit(&store, |batch| batch.attempt_started(&id, &attempt(2)));
    let before = store.head();
    assert!(matches!(publish(1), Err(CommitError::StaleAttempt { epoch: 1, .. })), "another epoch");
    assert_eq!(store.head(), before);
    assert_eq!(store.checkpoint(&hash(1)).unwrap(), None);
    assert_eq!(store.events(run(1)).unwrap(), []);

    assert_eq!(publish(2).unwrap().sequence, before.sequence + 1);
    assert_eq!(store.events(run(1)).unwrap(), [(1, event(1))], "the refused batches took no number");
    assert_eq!(store.attempt(&id).unwrap(), None);
    assert!(publish(2).is_err(), "ended");
}

#[test]
fn changes_of_one_batch_see_those_before_them() {
    let state = State::new();
    let store = state.open();
    let (flights, clean) = (name("flights"), instance("clean"));
    let mut first = Batch::new();
    first.latest(&flights, &clean, hash(1));
    first.duration(&flights, &clean, 100);
    first.put_checkpoint(hash(1), &checkpoint(1, "first"));
    let mut second = Batch::new();
    second.latest(&flights, &clean, hash(2));
    second.duration(&flights, &clean, 200);
    second.put_checkpoint(hash(1), &checkpoint(1, "second"));
    assert!(!second.is_empty());
    first.append(second);
    let committed = store.commit(first, Durability::Written).unwrap();
    assert_eq!(committed.disputed, [hash(1)]);
    assert_eq!(store.latest(&flights, &clean).unwrap(), [hash(2), hash(1)]);
    assert_eq!(store.durations(&flights).unwrap()[&clean], 150);
    assert_eq!(store.checkpoint(&hash(1)).unwrap(), Some(checkpoint(1, "first")));
}

#[test]
fn durations_are_those_of_the_pipeline_alone() {
    let state = State::new();
    let store = state.open();
    let of_matrix = InstanceName::new(name("clean"), Some("UA".to_owned()));
    commit(&store, |batch| {
        batch.duration(&name("flights"), &instance("clean"), 1);
        batch.duration(&name("flights"), &of_matrix, 2);
        batch.duration(&name("flights2"), &instance("clean"), 3);
        batch.duration(&name("flight"), &instance("sclean"), 4);
    });
    let mut durations: Vec<_> = store.durations(&name("flights")).unwrap().into_iter().collect();
    durations.sort();
    assert_eq!(durations, [(instance("clean"), 1), (of_matrix, 2)]);
    assert!(store.durations(&name("none")).unwrap().is_empty());
}

#[test]
fn what_was_placed_is_replaced() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| batch.placed("a", &placed(1)));
    commit(&store, |batch| batch.placed("a", &placed(2)));
    assert_eq!(store.placed("a").unwrap(), Some(placed(2)));
    assert_eq!(store.placed_many(&["a", "b", ""]).unwrap(), [Some(placed(2)), None, None]);
}

#[test]
fn runs_come_newest_first_and_a_run_is_overwritten() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| {
        for number in [2, 3, 1] {
            batch.put_run(run(number), &run_record(digest("d")));
        }
    });
    let mut ended = run_record(digest("d"));
    ended.status = RunStatus::Succeeded;
    ended.ended = Some(Timestamp(9));
    commit(&store, |batch| batch.put_run(run(2), &ended));
    let listed = |limit| store.runs(limit).unwrap().into_iter().map(|(run, _)| run).collect::<Vec<_>>();
    assert_eq!(listed(10), [run(3), run(2), run(1)]);
    assert_eq!(listed(2), [run(3), run(2)]);
    assert_eq!(store.run(run(2)).unwrap(), Some(ended));
    assert_eq!(store.run(run(4)).unwrap(), None);
}

#[test]
fn a_run_is_found_by_the_beginning_or_end_of_its_id() {
    let state = State::new();
    let store = state.open();
    let id = |text: &str| text.parse().unwrap();
    let first = id("018bcfe5-687b-7000-8000-00000000abcd");
    let second = id("018bcfe5-687c-7000-8000-00000000ef01");
    commit(&store, |batch| {
        batch.put_run(first, &run_record(digest("d")));
        batch.put_run(second, &run_record(digest("d")));
    });
    let check = |text: &str, expect| assert_eq!(store.find_run(text).unwrap(), expect, "{text}");
    check("abcd", first);
    check("ABCD", first);
    check("0000EF01", second);
    check("018bcfe5-687b", first);
    check("018bcfe5687c", second);
    check(&first.to_string(), first);
    for unknown in ["", "-", "beef", "687b", "é", "018bcfe5-687b-7000-8000-00000000abcd0"] {
        assert!(matches!(store.find_run(unknown), Err(FindRunError::Unknown { .. })), "{unknown}");
    }
    let error = store.find_run("018bcfe5").unwrap_err();
    assert_eq!(
        error,
        FindRunError::Ambiguous { text: "018bcfe5".to_owned(), candidates: vec![second, first] }
    );
    assert!(error.help().unwrap().contains(&second.to_string()));
}

#[test]
fn a_definition_is_stored_once() {
    let state = State::new();
    let store = state.open();
    let text = b"x = 1\n".repeat(100);
    let mut batch = Batch::new();
    let digest = batch.put_definition(&text);
    store.commit(batch, Durability::Written).unwrap();
    assert_eq!(store.definition(&digest).unwrap(), Some(text.clone()));
    let before = log_bytes(&state);
    commit(&store, |batch| assert_eq!(batch.put_definition(&text), digest));
    assert!(log_bytes(&state) - before < 300, "the second time its text is not written");
    assert_eq!(store.definition(&crate::sample::digest("other")).unwrap(), None);
}

fn log_bytes(state: &State) -> u64 {
    let files = std::fs::read_dir(state.file("store")).unwrap().map(Result::unwrap);
    let logs = files.filter(|file| file.file_name().to_string_lossy().ends_with(".log"));
    logs.map(|log| log.metadata().unwrap().len()).sum()
}

#[test]
fn many_are_read_in_the_order_they_are_asked_for() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| {
        for number in (0..2000).filter(|number| number % 3 > 0) {
            batch.put_checkpoint(hash(number), &checkpoint(number, "made"));
        }
    });
    let check = |numbers: &[u32]| {
        let hashes: Vec<InputHash> = numbers.iter().copied().map(hash).collect();
        let found = store.checkpoints(&hashes).unwrap();
        let expected = numbers.iter().map(|number| (number % 3 > 0).then(|| checkpoint(*number, "made")));
        assert!(found.into_iter().eq(expected));
    };
    check(&[]);
    check(&[7]);
    check(&[9, 7, 7, 8]);
    check(&(0..2000).rev().collect::<Vec<_>>());
}

#[test]
fn threads_share_a_handle() {
    let state = State::new();
    let store = state.open();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let store = store.clone();
            scope.spawn(move || {
                for number in 0..50 {
                    let mut batch = Batch::new();
                    batch.event(run(thread), &event(number));
                    batch.event(run(9), &event(number));
                    store.commit(batch, Durability::Written).unwrap();
                    assert_eq!(store.events(run(thread)).unwrap().len(), number as usize + 1);
                }
            });
        }
    });
    assert_eq!(store.head().sequence, 1 + 4 * 50);
    assert_eq!(store.events(run(9)).unwrap().len(), 4 * 50);
}

#[test]
fn history_keeps_the_last_eight_hashes() {
    let state = State::new();
    let store = state.open();
    for number in 0..12 {
        commit(&store, |batch| batch.latest(&name("p"), &instance("s"), hash(number)));
    }
    let expected: Vec<InputHash> = (4..12).rev().map(hash).collect();
    assert_eq!(store.latest(&name("p"), &instance("s")).unwrap(), expected);
    assert_eq!(store.latest(&name("p"), &instance("t")).unwrap(), []);
}
