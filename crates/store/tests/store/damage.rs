//! Damage to the files: an error, or exactly what was written; never less.

use std::fs;
use std::path::Path;

use cairn_store::{Access, OpenError};

use crate::sample::{Everything, State, commit, event, fill, open, run};

/// A store whose records are all in one log.
fn in_one_log() -> State {
    let state = State::new();
    let store = state.open();
    fill(&store);
    store.close().unwrap();
    state
}

/// A store whose records are spread over several logs, as runs leave it that were killed.
fn in_several_logs() -> State {
    let state = State::new();
    for _ in 0..3 {
        drop(state.open());
    }
    fill(&state.open());
    for number in 0..3 {
        let store = state.open();
        commit(&store, |batch| batch.event(run(7), &event(number)));
    }
    state
}

/// A store with tables and a log.
fn in_tables() -> State {
    let state = State::new();
    fill(&state.open());
    // With this many logs, closing moves what they hold into tables.
    for _ in 0..10 {
        drop(state.open());
    }
    let store = state.open();
    commit(&store, |batch| batch.event(run(7), &event(1)));
    store.close().unwrap();
    let store = state.open();
    commit(&store, |batch| batch.event(run(7), &event(2)));
    drop(store);
    assert!(files(&state).iter().any(|(name, _)| is_table(name)), "no table was written");
    state
}

fn is_table(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sst")
}

/// The files of a state folder, relative to it.
fn files(state: &State) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for folder in ["", "store"] {
        for entry in fs::read_dir(state.file(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let path = Path::new(folder).join(entry.file_name()).to_str().unwrap().to_owned();
                files.push((path, fs::read(entry.path()).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Opens the store and reads all of it: `Ok` says that it is what was written.
fn open_and_read(state: &Path, access: Access) -> Result<(), String> {
    let store = open(state, access).map_err(|error| {
        let unexpected = matches!(error, OpenError::Locked { .. } | OpenError::NetworkFilesystem { .. });
        assert!(!unexpected, "{error}");
        assert!(error.help().is_some(), "no help: {error}");
        error.to_string()
    })?;
    let read = Everything::of(&store).and_then(|everything| Ok((everything, store.events(run(7))?)));
    let (everything, events) = read.map_err(|error| {
        assert!(error.help().is_some(), "no help: {error}");
        error.to_string()
    })?;
    assert_eq!(everything, Everything::expected());
    assert!(events.iter().map(|(number, _)| *number).eq(1..=events.len() as u64));
    Ok(())
}

/// Damages a copy of `original` in many ways, one at a time, and opens it.
fn sweep(original: &State, step: usize) {
    let sevens = |state: &Path| open(state, Access::Read).map(|store| store.events(run(7)).unwrap().len());
    let committed = sevens(&original.path()).unwrap();
    let copy = original.copy();
    let (mut refused, mut unharmed) = (0, 0);
    let mut check = |what: &str, path: &Path, damaged: Option<&[u8]>, access| {
        match damaged {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let result = std::panic::catch_unwind(|| {
            let read = open_and_read(&copy.path(), access);
            read.map(|()| assert_eq!(sevens(&copy.path()).unwrap(), committed, "records are missing"))
        });
        match result {
            Ok(Ok(())) => unharmed += 1,
            Ok(Err(_)) => refused += 1,
            Err(cause) => panic!("{what}: other than what was written: {cause:?}"),
        }
        // An open for writing leaves traces.
        restore(original, &copy);
    };
    for (name, bytes) in files(original) {
        // RocksDB does not read these.
        if name == ".gitignore"
            || name == "lock"
            || name.starts_with("store/OPTIONS")
            || name.starts_with("store/LO")
        {
            continue;
        }
        let path = copy.file(&name);
        let step = if bytes.len() < 100 { 1 } else { step };
        for (round, at) in (0..bytes.len()).step_by(step).enumerate() {
            let mut damaged = bytes.clone();
            damaged[at] ^= [0x01, 0xff, 0x80, 0x10][round % 4];
            let access = if round % 3 == 0 { Access::Write } else { Access::Read };
            check(&format!("{name}: byte {at} of {}", bytes.len()), &path, Some(&damaged), access);
        }
        for (round, length) in (0..bytes.len()).step_by(step * 3).enumerate() {
            let access = if round % 3 == 0 { Access::Write } else { Access::Read };
            check(
                &format!("{name}: cut to {length} of {}", bytes.len()),
                &path,
                Some(&bytes[..length]),
                access,
            );
        }
        check(&format!("{name}: removed"), &path, None, Access::Write);
        check(&format!("{name}: removed"), &path, None, Access::Read);
    }
    assert!(refused > unharmed, "{refused} refused, {unharmed} unharmed: most damage shows");
}

fn restore(original: &State, copy: &State) {
    let good = files(original);
    for (name, bytes) in files(copy) {
        match good.iter().find(|(path, _)| *path == name) {
            Some((_, good)) if *good == bytes => {}
            Some((_, good)) => fs::write(copy.file(&name), good).unwrap(),
            None => fs::remove_file(copy.file(&name)).unwrap(),
        }
    }
    for (name, bytes) in good {
        let path = copy.file(&name);
        if !path.exists() {
            fs::write(path, bytes).unwrap();
        }
    }
}

#[test]
fn damage_in_a_log_is_noticed() {
    sweep(&in_one_log(), 101);
}

#[test]
fn damage_in_one_of_several_logs_is_noticed() {
    sweep(&in_several_logs(), 101);
}

#[test]
fn damage_in_tables_is_noticed() {
    sweep(&in_tables(), 151);
}

#[test]
#[ignore = "takes many minutes"]
fn damage_anywhere_is_noticed() {
    sweep(&in_one_log(), 1);
    sweep(&in_several_logs(), 1);
    sweep(&in_tables(), 1);
}
