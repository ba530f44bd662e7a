//! I3, as far as the store goes: kill -9 at any moment, and what was acknowledged is there.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use cairn_store::{Access, Batch, Durability, Store};

use crate::sample::{State, checkpoint, event, hash, open, run};

/// Commits number after number for as long as it lives, and says each one that was acknowledged.
#[test]
#[ignore = "a part of another test"]
fn child_that_commits() {
    let state = std::env::var_os("CAIRN_TEST_STATE").unwrap();
    let store = open(state.as_ref(), Access::Write).unwrap();
    let mut out = std::io::stdout();
    let first = store.events(run(1)).unwrap().len() as u32;
    writeln!(out, "open").unwrap();
    for number in first.. {
        let mut batch = Batch::new();
        batch.event(run(1), &event(number));
        batch.put_checkpoint(hash(number), &checkpoint(number, "made"));
        let durability = if number % 5 == 0 { Durability::Synced } else { Durability::Written };
        let _ = store.commit(batch, durability).unwrap();
        writeln!(out, "committed {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Checks that the store holds events and checkpoints 0 up to some number, whole, and returns how many.
fn committed(store: &Store) -> u32 {
    let events = store.events(run(1)).unwrap();
    for (at, (_, found)) in (0..).zip(&events) {
        assert_eq!(found, &event(at));
        assert_eq!(store.checkpoint(&hash(at)).unwrap(), Some(checkpoint(at, "made")));
    }
    events.len() as u32
}

#[test]
fn i3_what_was_acknowledged_outlives_kill_9() {
    let state = State::new();
    let mut acknowledged = 0;
    for round in 0..24_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "crash::child_that_commits", "--nocapture"])
            .env("CAIRN_TEST_STATE", state.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let number = |line: String| line.strip_prefix("committed ")?.parse::<u32>().ok();
        let mut numbers = lines.filter_map(number);
        // At first while the store is made and opened, then while it is written to.
        let before = match round {
            0..12 => {
                std::thread::sleep(Duration::from_millis(3 + 7 * round as u64));
                None
            }
            _ => numbers.by_ref().nth(round * round % 40),
        };
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(last) = numbers.last().or(before) {
            acknowledged = last + 1;
        }
        let found = match state.try_open(Access::Read) {
            Ok(store) => committed(&store),
            Err(error) => {
                assert!(matches!(error, cairn_store::OpenError::Absent { .. }), "{error}");
                0
            }
        };
        // The last one may have been committed and not yet been told.
        assert!(
            found == acknowledged || found == acknowledged + 1,
            "{found} of {acknowledged} after round {round}"
        );
        acknowledged = found;
    }
    assert!(acknowledged > 0, "nothing was ever committed");
    assert_eq!(committed(&state.open()), acknowledged);
}
