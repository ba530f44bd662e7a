//! How far the store reaches: one that went backwards is refused.

use std::fs;
use std::path::PathBuf;

use cairn_store::{Access, Batch, Durability, OpenError, Store};

use crate::sample::{State, clock, commit, copy_folder, event, run};

fn logs(state: &State) -> Vec<PathBuf> {
    let files = fs::read_dir(state.file("store")).unwrap().map(|file| file.unwrap().path());
    let mut logs: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    logs.sort();
    logs
}

#[expect(clippy::disallowed_methods, reason = "a person does it by hand")]
fn remove_store(state: &State) {
    fs::remove_dir_all(state.file("store")).unwrap();
}

/// A store with three synced events.
fn three_events() -> State {
    let state = State::new();
    let store = state.open();
    for number in 0..3 {
        commit(&store, |batch| batch.event(run(1), &event(number)));
    }
    drop(store);
    state
}

#[track_caller]
fn assert_went_backwards(state: &State, expected: u64, found: u64) {
    for access in [Access::Read, Access::Write] {
        match state.try_open(access) {
            Err(error @ OpenError::WentBackwards { expected: e, found: f, .. }) => {
                assert_eq!((e.sequence, f.sequence), (expected, found));
                let help = error.help().unwrap();
                assert!(help.contains(state.file("HEAD").to_str().unwrap()), "{help}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_deleted_log_is_noticed_and_can_be_accepted() {
    let state = three_events();
    for log in logs(&state) {
        fs::remove_file(log).unwrap();
    }
    assert_went_backwards(&state, 4, 0);
    fs::remove_file(state.file("HEAD")).unwrap();
    let store = state.open();
    assert_eq!(store.events(run(1)).unwrap(), []);
    commit(&store, |batch| batch.event(run(1), &event(9)));
    drop(store);
    assert_eq!(state.open().events(run(1)).unwrap(), [(1, event(9))], "from here on it is guarded again");
}

#[test]
fn an_old_copy_that_was_put_back_is_noticed_and_can_be_accepted() {
    let state = three_events();
    let old = state.copy();
    let store = state.open();
    commit(&store, |batch| batch.event(run(1), &event(3)));
    drop(store);
    remove_store(&state);
    copy_folder(&old.file("store"), &state.file("store"));
    assert_went_backwards(&state, 5, 4);
    Store::accept_head(&state.path(), &clock()).unwrap();
    assert_eq!(state.open().events(run(1)).unwrap().len(), 3);
    Store::accept_head(&state.path(), &clock()).unwrap();
    Store::accept_head(&state.path(), &clock()).unwrap();
}

#[test]
fn another_store_of_the_same_length_is_noticed() {
    let state = three_events();
    let other = State::new();
    let store = other.open();
    for number in 5..8 {
        commit(&store, |batch| batch.event(run(1), &event(number)));
    }
    drop(store);
    remove_store(&state);
    copy_folder(&other.file("store"), &state.file("store"));
    assert_went_backwards(&state, 4, 4);
}

#[test]
fn a_removed_store_is_noticed() {
    let state = three_events();
    remove_store(&state);
    assert_went_backwards(&state, 4, 0);
}

#[test]
fn a_store_without_current_is_not_made_anew_over_its_tables() {
    let state = three_events();
    let store = state.open();
    commit(&store, |batch| {
        batch.put_definition(&b" ".repeat(1 << 20));
    });
    store.close().unwrap();
    for name in ["HEAD", "store/CURRENT"] {
        fs::remove_file(state.file(name)).unwrap();
    }
    for log in logs(&state) {
        fs::remove_file(log).unwrap();
    }
    let tables = || {
        let files = fs::read_dir(state.file("store")).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "sst")).count()
    };
    let before = tables();
    assert!(before > 0);
    for access in [Access::Read, Access::Write] {
        assert!(matches!(state.try_open(access), Err(OpenError::Damaged { .. })));
    }
    assert_eq!(tables(), before);
}

#[test]
fn a_cut_log_loses_what_was_not_synced_at_most() {
    let state = three_events();
    let store = state.open();
    let synced = logs(&state).iter().map(|log| fs::metadata(log).unwrap().len()).sum::<u64>();
    for number in 3..5 {
        let mut batch = Batch::new();
        batch.event(run(1), &event(number));
        store.commit(batch, Durability::Written).unwrap();
    }
    drop(store);
    let log = logs(&state).pop().unwrap();
    let before: u64 = logs(&state).iter().map(|log| fs::metadata(log).unwrap().len()).sum();
    let whole = fs::read(&log).unwrap();
    // What lies before the newest log is synced; the newest holds the two that were written.
    let synced_here = synced - (before - whole.len() as u64);
    let mut kept = Vec::new();
    for length in (synced_here as usize..=whole.len()).rev().step_by(13).collect::<Vec<_>>().into_iter().rev()
    {
        let copy = state.copy();
        fs::write(copy.file("store").join(log.file_name().unwrap()), &whole[..length]).unwrap();
        let store = copy.open();
        let events = store.events(run(1)).unwrap();
        assert!(events.iter().map(|(_, e)| e.clone()).eq((0..events.len() as u32).map(event)));
        // It goes on from there, with its numbers.
        assert_eq!(commit(&store, |batch| batch.event(run(1), &event(9))), events.len() as u64 + 2);
        kept.push(events.len());
    }
    kept.dedup();
    assert_eq!(kept, [3, 4, 5], "synced events stay, written ones go from the end");
}

#[test]
fn damage_in_what_was_only_written_is_no_cut_end() {
    let state = three_events();
    let store = state.open();
    let text = b"x".repeat(3000);
    for number in 0..3 {
        let mut batch = Batch::new();
        batch.put_definition(&text[number..]);
        store.commit(batch, Durability::Written).unwrap();
    }
    drop(store);
    let log = logs(&state).pop().unwrap();
    let mut bytes = fs::read(&log).unwrap();
    // Within the text of the first of them: the other two are whole, and follow.
    bytes[1500] ^= 1;
    fs::write(&log, bytes).unwrap();
    for access in [Access::Read, Access::Write] {
        assert!(matches!(state.try_open(access), Err(OpenError::Damaged { .. })));
    }
}

#[test]
fn head_lags_behind_what_was_only_written_and_catches_up() {
    let state = three_events();
    let head = |state: &State| fs::read(state.file("HEAD")).unwrap();
    let store = state.open();
    let before = head(&state);
    let mut batch = Batch::new();
    batch.event(run(1), &event(3));
    store.commit(batch, Durability::Written).unwrap();
    assert_eq!(head(&state), before, "what is not durable is not promised");
    drop(store);
    // The process ended without a sync, the system did not: all is there, and opening promises it.
    let store = state.open();
    assert_eq!(store.events(run(1)).unwrap().len(), 4);
    assert_ne!(head(&state), before);
    drop(store);
    for log in logs(&state) {
        fs::remove_file(log).unwrap();
    }
    assert_went_backwards(&state, 5, 0);
}

#[test]
fn closing_promises_what_was_written() {
    let state = State::new();
    let store = state.open();
    let mut batch = Batch::new();
    batch.event(run(1), &event(1));
    store.commit(batch, Durability::Written).unwrap();
    store.close().unwrap();
    for log in logs(&state) {
        fs::remove_file(log).unwrap();
    }
    assert_went_backwards(&state, 2, 0);
}

#[test]
fn a_store_whose_making_was_cut_off_is_made() {
    let whole = State::new();
    drop(whole.open());
    // The database's files appear one after the other, `CURRENT` before the first log; `HEAD` comes with the first
    // batch.
    let check = |log: Option<&[u8]>, remove: &[&str]| {
        let state = whole.copy();
        for path in logs(&state) {
            match log {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
        for name in remove {
            fs::remove_file(state.file(name)).unwrap();
        }
        let store = state.open();
        assert_eq!(store.head().sequence, 1);
        commit(&store, |batch| batch.event(run(1), &event(1)));
        drop(store);
        assert_eq!(state.open().events(run(1)).unwrap(), [(1, event(1))]);
    };
    check(Some(b""), &["HEAD"]);
    check(None, &["HEAD"]);
    check(None, &["HEAD", "store/CURRENT"]);
    // Nothing but the folder.
    let state = State::new();
    fs::create_dir(state.path()).unwrap();
    fs::create_dir(state.file("store")).unwrap();
    assert!(matches!(state.try_open(Access::Read), Err(OpenError::Absent { .. })));
    assert_eq!(state.open().head().sequence, 1);
}
