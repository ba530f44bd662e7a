//! A store of each released format still opens and gives the same values: they lie in `tests/formats/` of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_store::{Access, OpenError, Store};

use crate::sample::{Everything, State, commit, copy_folder, event, fill, run};

fn format_folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/formats/v{version}/state"))
}

#[track_caller]
fn check(version: u32) {
    let state = State::new();
    copy_folder(&format_folder(version), &state.path());
    // It is brought up to date by who may write.
    let error = state.try_open(Access::Read).unwrap_err();
    assert!(matches!(error, OpenError::Older { found, .. } if found == version), "{error:?}");
    let store = state.try_open(Access::Write).unwrap();
    assert_eq!(Everything::of(&store).unwrap(), Everything::expected());
    assert_eq!(store.events(run(2)).unwrap(), [(1, event(7)), (2, event(8))]);
    // Twelve batches, and the one of the migration.
    assert_eq!(store.head().sequence, 13);
    assert_eq!(commit(&store, |batch| batch.event(run(2), &event(9))), 14);
    store.close().unwrap();
    let store = state.try_open(Access::Read).unwrap();
    assert_eq!(Everything::of(&store).unwrap(), Everything::expected());
}

#[test]
fn a_store_of_format_1_gives_what_was_put_into_it() {
    check(1);
}

#[test]
fn a_store_of_format_2_gives_what_was_put_into_it() {
    check(2);
}

#[test]
fn a_store_of_format_3_gives_what_was_put_into_it() {
    check(3);
}

#[test]
fn a_store_of_format_4_gives_what_was_put_into_it() {
    check(4);
}

#[test]
fn a_store_of_format_5_gives_what_was_put_into_it() {
    check(5);
}

/// Writes a store of the current format to `tests/formats/new/`, part of it in tables and part in a log. When the format
/// has a new version, the folder is given its name and a test like the one above.
#[test]
#[ignore = "writes into the source tree"]
fn write_a_store_of_the_current_format() {
    let state = State::new();
    let store = state.open();
    fill(&store);
    commit(&store, |batch| batch.event(run(2), &event(7)));
    flush(store);
    let store = state.open();
    commit(&store, |batch| batch.event(run(2), &event(8)));
    store.close().unwrap();

    let to = format_folder(1).parent().unwrap().with_file_name("new").join("state");
    copy_folder(&state.path(), &to);
    for entry in fs::read_dir(to.join("store")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // Not read when a store is opened.
        if name.starts_with("OPTIONS") || name.starts_with("LO") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    for name in ["lock", ".gitignore"] {
        fs::remove_file(to.join(name)).unwrap();
    }
}

/// Closing moves what is in the logs into tables once they are long enough.
fn flush(store: Store) {
    commit(&store, |batch| {
        batch.put_definition(&b" ".repeat(1 << 20));
    });
    store.close().unwrap();
}
