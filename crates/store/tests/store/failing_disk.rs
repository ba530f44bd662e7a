//! A disk that fails: the commit says so, and nothing is written after it.

use std::process::Command;

use cairn_store::{Access, Batch, CommitError, Durability};

use crate::sample::{State, event, open, run};

/// Runs [`child_whose_files_are_limited`] with the system's limit on the length of a file: writing beyond it fails.
#[test]
fn a_failed_write_is_an_error_and_the_last_thing_written() {
    let state = State::new();
    let program = std::env::current_exe().unwrap();
    let script = "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --ignored --exact failing_disk::child_whose_files_are_limited";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(program)
        .env("CAIRN_TEST_STATE", state.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    // With space again, all that was committed is there.
    let store = state.open();
    let committed: usize =
        std::fs::read_to_string(state.path().with_file_name("committed")).unwrap().parse().unwrap();
    let events = store.events(run(1)).unwrap();
    assert!(events.len() == committed || events.len() == committed + 1, "{} of {committed}", events.len());
    let mut batch = Batch::new();
    batch.event(run(1), &event(1));
    store.commit(batch, Durability::Synced).unwrap();
}

#[test]
#[ignore = "a part of another test"]
fn child_whose_files_are_limited() {
    let state = std::path::PathBuf::from(std::env::var_os("CAIRN_TEST_STATE").unwrap());
    let store = open(&state, Access::Write).unwrap();
    let commit = |number: u32| {
        let mut batch = Batch::new();
        batch.event(run(1), &event(number));
        batch.put_definition(&number.to_be_bytes().repeat(1 << 14));
        store.commit(batch, Durability::Synced)
    };
    let mut committed = 0;
    let error = loop {
        assert!(store.write_failure().is_none());
        match commit(committed) {
            Ok(_) => committed += 1,
            Err(error) => break error,
        }
        assert!(committed < 1000, "the limit is not in force");
    };
    assert!(committed > 0);
    assert_eq!(store.write_failure().map(|error| error.kind()), Some(std::io::ErrorKind::FileTooLarge));
    let head = store.head();
    match &error {
        CommitError::Failed { path, source } => {
            assert_eq!(path, &state.join("store"));
            assert_eq!(source.kind(), std::io::ErrorKind::FileTooLarge, "{source}");
            assert!(error.help().is_some());
        }
        other => panic!("{other:?}"),
    }
    // A small one would find room, but what the system holds of the file is not known any more.
    for durability in [Durability::Written, Durability::Synced] {
        let refused = store.commit(Batch::new(), durability);
        assert!(matches!(refused, Err(CommitError::Refused { .. })), "{refused:?}");
    }
    assert!(matches!(store.clone().close(), Err(CommitError::Refused { .. })));
    assert_eq!(store.head(), head);
    assert_eq!(store.events(run(1)).unwrap().len() as u32, committed, "reading goes on");
    std::fs::write(state.with_file_name("committed"), committed.to_string()).unwrap();
}
