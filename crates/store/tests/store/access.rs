//! Opening: what is made, what is refused, and reading beside a writer.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use cairn_store::{Access, Batch, CommitError, Durability, OpenError};

use crate::sample::{Everything, State, commit, event, fill, open, run};

#[test]
fn the_state_folder_is_for_its_owner_and_not_for_git() {
    let state = State::new();
    drop(state.open());
    for folder in ["", "store"] {
        let mode = fs::metadata(state.file(folder)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
    assert_eq!(fs::read_to_string(state.file(".gitignore")).unwrap(), "*\n");
    fs::write(state.file(".gitignore"), "mine\n").unwrap();
    drop(state.open());
    assert_eq!(fs::read_to_string(state.file(".gitignore")).unwrap(), "mine\n");
    let mut names: Vec<String> = fs::read_dir(state.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".gitignore", "HEAD", "lock", "store"]);
}

#[test]
fn reading_makes_nothing() {
    let state = State::new();
    assert!(matches!(state.try_open(Access::Read), Err(OpenError::Absent { .. })));
    assert!(!state.path().exists());
    fs::create_dir(state.path()).unwrap();
    assert!(matches!(state.try_open(Access::Read), Err(OpenError::Absent { .. })));
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);

    let state = State::new();
    fill(&state.open());
    let before = listing(&state);
    let store = state.try_open(Access::Read).unwrap();
    assert_eq!(Everything::of(&store).unwrap(), Everything::expected());
    let refused = store.commit(Batch::new(), Durability::Written);
    assert!(matches!(refused, Err(CommitError::ReadOnly { .. })));
    store.close().unwrap();
    assert_eq!(listing(&state), before);
}

/// Names, lengths and times of all files.
fn listing(state: &State) -> Vec<(String, u64, i64)> {
    let mut listing = Vec::new();
    for folder in ["", "store"] {
        for entry in fs::read_dir(state.file(folder)).unwrap() {
            let (name, metadata) = (entry.as_ref().unwrap().file_name(), entry.unwrap().metadata().unwrap());
            listing.push((name.into_string().unwrap(), metadata.len(), metadata.mtime_nsec()));
        }
    }
    listing.sort();
    listing
}

#[test]
fn a_reader_sees_what_was_committed_when_it_was_opened() {
    let state = State::new();
    let store = state.open();
    fill(&store);
    let reader = state.try_open(Access::Read).unwrap();
    let head = store.head();
    assert_eq!(reader.head(), head);
    commit(&store, |batch| batch.event(run(1), &event(9)));
    assert_eq!(Everything::of(&reader).unwrap(), Everything::expected());
    assert_eq!(reader.head(), head);
    let later = state.try_open(Access::Read).unwrap();
    assert_eq!(later.events(run(1)).unwrap().len(), 7);
}

#[test]
fn readers_and_a_writer_do_not_disturb_each_other() {
    let state = State::new();
    let store = state.open();
    fill(&store);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            for _ in 0..60 {
                let reader = state.try_open(Access::Read).unwrap();
                let everything = Everything::of(&reader).unwrap();
                assert_eq!(everything.checkpoints, Everything::expected().checkpoints);
                let events = reader.events(run(7)).unwrap().len();
                assert!(events >= last, "a later reader sees no less");
                last = events;
            }
            last
        });
        // Large enough that logs and tables come and go meanwhile.
        let mut number = 0;
        while !reader.is_finished() {
            number += 1;
            let mut batch = Batch::new();
            batch.event(run(7), &event(number));
            batch.put_definition(&noise(number));
            let durability = if number % 8 == 0 { Durability::Synced } else { Durability::Written };
            store.commit(batch, durability).unwrap();
        }
        assert!(reader.join().unwrap() > 0);
    });
}

#[test]
fn what_killed_runs_leave_in_the_logs_does_not_pile_up() {
    let state = State::new();
    let logs = || {
        let files = fs::read_dir(state.file("store")).unwrap().map(Result::unwrap);
        let logs = files.filter(|file| file.path().extension().is_some_and(|end| end == "log"));
        logs.map(|log| log.metadata().unwrap().len()).sum::<u64>()
    };
    let mut most = 0;
    for number in 0..16 {
        let store = state.open();
        commit(&store, |batch| {
            batch.put_definition(&(0..16).flat_map(|part| noise(number * 16 + part)).collect::<Vec<u8>>());
        });
        drop(store);
        most = most.max(logs());
    }
    assert!((2 << 20..12 << 20).contains(&most), "{most} bytes");
    let store = state.open();
    commit(&store, |batch| batch.event(run(1), &event(1)));
    store.close().unwrap();
    assert!(logs() < 4096, "closing tidies: {} bytes", logs());
}

/// 64 KiB that no two numbers share and that cannot be compressed.
fn noise(number: u32) -> Vec<u8> {
    let mut state = u64::from(number) << 32 | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..1 << 13).flat_map(|_| step().to_le_bytes()).collect()
}

#[test]
fn a_place_where_no_state_folder_can_be_is_named() {
    let state = State::new();
    fs::write(state.path(), "a file").unwrap();
    for access in [Access::Write, Access::Read] {
        match open(&state.path(), access) {
            Err(error @ OpenError::NotAFolder { .. }) => {
                assert!(
                    error.to_string().contains(&*state.path().to_string_lossy()) && error.help().is_some()
                );
            }
            other => panic!("{other:?}"),
        }
    }
    match open(&state.path().join("below"), Access::Write) {
        Err(OpenError::Io { path, .. }) => assert_eq!(path, state.path().join("below")),
        other => panic!("{other:?}"),
    }
    let state = State::new();
    match open(&state.path().join("below"), Access::Write) {
        Err(error @ OpenError::Io { .. }) => assert!(error.help().is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_named_with_the_cause() {
    if rustix::process::geteuid().is_root() {
        return; // Permissions do not stop the superuser.
    }
    let state = State::new();
    drop(state.open());
    for folder in ["", "store"] {
        let path = state.file(folder);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        let error = state.try_open(Access::Write).unwrap_err();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(
            matches!(&error, OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
        );
        assert!(error.help().is_some());
    }
}

#[test]
fn the_state_folder_may_be_a_link_and_have_any_name() {
    let state = State::new();
    let elsewhere = state.path().with_file_name("else where é'\"");
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, state.path()).unwrap();
    fill(&state.open());
    let store = open(&elsewhere, Access::Write).unwrap();
    assert_eq!(Everything::of(&store).unwrap(), Everything::expected());
}
