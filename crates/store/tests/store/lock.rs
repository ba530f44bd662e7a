//! I9: one process writes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cairn_store::{Access, Batch, CommitError, Durability, OpenError, Store};

use crate::sample::{State, commit, event, run};

#[test]
fn i9_a_second_writer_is_refused_and_told_who_holds_it() {
    let state = State::new();
    let store = state.open();
    let error = state.try_open(Access::Write).unwrap_err();
    let pid = std::process::id();
    let text = error.to_string();
    assert!(
        text.contains(state.path().to_str().unwrap()) && text.contains(&format!("process {pid} ")),
        "{text}"
    );
    assert!(error.help().unwrap().contains(&format!("kill {pid}")));
    match error {
        OpenError::Locked { holder: Some(holder), .. } => {
            assert!(holder.process.is_alive());
            assert!(holder.command.contains("store"), "{}", holder.command);
        }
        other => panic!("{other:?}"),
    }
    assert!(Store::is_held(&state.path()));
    let clone = store.clone();
    drop(store);
    assert!(Store::is_held(&state.path()), "a clone still holds it");
    drop(clone);
    assert!(!Store::is_held(&state.path()));
    state.open();
}

#[test]
fn what_a_lock_file_says_does_not_lock() {
    let state = State::new();
    drop(state.open());
    let signed = fs::read_to_string(state.file("lock")).unwrap();
    assert!(signed.contains(&format!("pid {}\n", std::process::id())), "{signed}");
    for left_over in [signed.as_str(), "", "pid 1\n", "\0\0\0"] {
        fs::write(state.file("lock"), left_over).unwrap();
        drop(state.open());
    }
}

/// Runs [`child_that_holds_the_store`] in a process of its own.
fn holder(state: &State) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "lock::child_that_holds_the_store", "--nocapture"])
        .env("CAIRN_TEST_STATE", state.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map(Result::unwrap).any(|line| line.ends_with("store is held"));
    assert!(ready);
    child
}

#[test]
#[ignore = "a part of other tests"]
#[expect(clippy::print_stdout, reason = "tells the parent")]
fn child_that_holds_the_store() {
    let state = std::env::var_os("CAIRN_TEST_STATE").unwrap();
    let store = crate::sample::open(state.as_ref(), Access::Write).unwrap();
    commit(&store, |batch| batch.event(run(1), &event(1)));
    println!("store is held");
    // Until the parent closes its end, or kills.
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn i9_the_lock_is_between_processes_and_ends_with_a_killed_one() {
    let state = State::new();
    let mut child = holder(&state);
    match state.try_open(Access::Write) {
        Err(OpenError::Locked { holder: Some(holder), .. }) => assert_eq!(holder.process.pid, child.id()),
        other => panic!("{other:?}"),
    }
    let reader = state.try_open(Access::Read).unwrap();
    assert_eq!(reader.events(run(1)).unwrap(), [(1, event(1))], "reading needs no lock");
    child.kill().unwrap();
    child.wait().unwrap();
    let store = state.open();
    assert_eq!(store.events(run(1)).unwrap(), [(1, event(1))], "what was committed outlives the process");
}

#[test]
fn looking_whether_it_is_held_keeps_no_one_out() {
    let state = State::new();
    drop(state.open());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                Store::is_held(&state.path());
            }
        });
        for _ in 0..20 {
            drop(state.open());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn i9_another_program_that_has_the_database_open_keeps_it() {
    let state = State::new();
    drop(state.open());
    let path = state.file("store");
    let families = rocksdb::DB::list_cf(&rocksdb::Options::default(), &path).unwrap();
    let other = rocksdb::DB::open_cf(&rocksdb::Options::default(), &path, families).unwrap();
    let error = state.try_open(Access::Write).unwrap_err();
    assert!(matches!(error, OpenError::Locked { holder: None, .. }), "{error:?}");
    assert!(error.help().is_some());
    drop(other);
}

fn moved(state: &State) -> PathBuf {
    state.path().with_file_name("moved")
}

#[expect(clippy::disallowed_methods, reason = "a person does it by hand")]
fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}

/// What a person does to a state folder.
type Done = fn(&State);

#[test]
fn nothing_is_committed_once_the_folder_or_its_lock_is_another() {
    let changes: [(&str, Done); 4] = [
        ("renamed", |state| rename(&state.path(), &moved(state))),
        ("replaced", |state| {
            rename(&state.path(), &moved(state));
            fs::create_dir(state.path()).unwrap();
        }),
        ("held by another", |state| {
            rename(&state.path(), &moved(state));
            fs::create_dir(state.path()).unwrap();
            fs::write(state.file("lock"), "").unwrap();
        }),
        ("without its lock", |state| fs::remove_file(state.file("lock")).unwrap()),
    ];
    for (what, change) in changes {
        let state = State::new();
        let store = state.open();
        commit(&store, |batch| batch.event(run(1), &event(1)));
        store.in_place().unwrap();
        change(&state);
        assert!(matches!(store.in_place(), Err(CommitError::Displaced { .. })), "{what}");
        let mut batch = Batch::new();
        batch.event(run(1), &event(2));
        let error = store.commit(batch, Durability::Written).unwrap_err();
        assert!(
            error.to_string().contains("is no longer the one that this process holds"),
            "{what}: {error}"
        );
        assert!(error.help().is_some_and(|help| help.contains("put the folder back")), "{what}");
    }
    // Put back, it is the one that is held.
    let state = State::new();
    let store = state.open();
    rename(&state.path(), &moved(&state));
    rename(&moved(&state), &state.path());
    commit(&store, |batch| batch.event(run(1), &event(1)));
}
