use std::path::PathBuf;

use cairn_model::{FixedClock, Timestamp};
use rocksdb::WriteBatch;

use super::*;
use crate::changes::Changes;
use crate::migrate::Step;
use crate::record::Blob;

fn state() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join(".cairn");
    (folder, state)
}

fn open(state: &Path) -> Result<Opened, OpenError> {
    for_writing(state, &FixedClock::new(Timestamp(0)))
}

#[test]
fn a_network_filesystem_is_refused_unless_it_is_allowed() {
    let state = Path::new("somewhere/.cairn");
    assert!(refuse_network(state, None, false).is_ok());
    assert!(refuse_network(state, Some("NFS"), true).is_ok());
    let error = refuse_network(state, Some("NFS"), false).unwrap_err();
    assert_eq!(error.to_string(), "the state folder `somewhere/.cairn` lies on a network filesystem (NFS)");
    let help = error.help().unwrap();
    assert!(help.contains("CAIRN_ALLOW_NETWORK_FS=1") && help.contains("--state"), "{help}");
}

fn definition(database: &Database, key: &[u8]) -> Option<Vec<u8>> {
    let read: Option<Blob> = database.get(Family::Definitions, key).unwrap();
    read.map(|Blob(text)| text)
}

/// A migration as a later version would have it.
#[expect(clippy::unnecessary_wraps, reason = "other steps read, and can fail")]
fn step(changes: &mut Changes<'_>) -> Result<(), ReadError> {
    changes.put(Family::Definitions, b"migrated", &Blob(b"new".to_vec()));
    Ok(())
}

fn failing(changes: &mut Changes<'_>) -> Result<(), ReadError> {
    step(changes)?;
    Err(changes.database.damaged(Family::Runs, b"k", &record::Damage::Key))
}

#[test]
fn a_migration_commits_data_and_version_in_one_batch_or_nothing() {
    let (_folder, state) = state();
    let Opened { database, syncing, lock } = open(&state).unwrap();
    let before = syncing.writer().head.clone();

    let next = format::VERSION + 1;
    let steps = [Step { from: format::VERSION, run: step }, Step { from: next, run: failing }];
    assert!(migrate::bring_up_to_date(&database, &syncing, &steps).is_err());
    assert_eq!(syncing.writer().head, before);
    assert_eq!(definition(&database, b"migrated"), None);
    let format: Option<Format> = database.get(Family::Meta, keys::FORMAT).unwrap();
    assert_eq!(format, Some(Format { version: format::VERSION }));

    let committed = migrate::bring_up_to_date(&database, &syncing, &steps[..1]).unwrap();
    assert_eq!(committed.sequence, before.sequence + 1);
    assert_eq!(definition(&database, b"migrated"), Some(b"new".to_vec()));
    let format: Option<Format> = database.get(Family::Meta, keys::FORMAT).unwrap();
    assert_eq!(format, Some(Format { version: next }));
    drop((database, lock));

    // For this cairn it is now a newer one, by what the database itself says.
    let newer =
        |error| matches!(error, OpenError::Newer { found, known: format::VERSION, .. } if found == next);
    assert!(open(&state).is_err_and(newer));
    assert!(for_reading(&state).is_err_and(newer));
}

#[test]
fn a_newer_format_with_families_of_its_own_is_newer_and_not_damaged() {
    let (_folder, state) = state();
    let Opened { mut database, syncing, lock } = open(&state).unwrap();
    database.add_family("later-v1");
    let steps = [Step { from: 8, run: step }];
    migrate::bring_up_to_date(&database, &syncing, &steps).unwrap();
    drop((database, lock));
    assert!(matches!(open(&state), Err(OpenError::Newer { found: 9, .. })));
    assert!(matches!(for_reading(&state), Err(OpenError::Newer { found: 9, .. })));
}

#[test]
fn an_unknown_family_in_a_known_format_is_damage() {
    let (_folder, state) = state();
    let Opened { mut database, lock, .. } = open(&state).unwrap();
    database.add_family("stray");
    drop((database, lock));
    assert!(matches!(open(&state), Err(OpenError::Damaged { .. })));
}

/// Changes the database behind the store's back.
fn tamper(state: &Path, change: impl FnOnce(&Database, &mut WriteBatch)) {
    let Opened { database, lock, .. } = open(state).unwrap();
    let mut batch = WriteBatch::default();
    change(&database, &mut batch);
    database.write(batch).unwrap();
    drop((database, lock));
}

#[test]
fn a_batch_that_is_missing_is_noticed_by_the_tallies() {
    for family in Family::ALL.into_iter().filter(|family| *family != Family::Meta) {
        let (_folder, state) = state();
        drop(open(&state).unwrap());
        tamper(&state, |database, batch| database.count(batch, family));
        for error in [open(&state).unwrap_err(), for_reading(&state).unwrap_err()] {
            let text = error.to_string();
            assert!(matches!(error, OpenError::Damaged { .. }));
            assert!(
                text.contains(family.name()) && text.contains("changed by 0 batches, and 1 are there"),
                "{text}"
            );
        }
    }
}

#[test]
fn a_database_that_does_not_say_its_format_is_damaged() {
    for key in [keys::FORMAT, keys::HEAD] {
        let (_folder, state) = state();
        drop(open(&state).unwrap());
        tamper(&state, |database, batch| database.delete(batch, Family::Meta, key));
        assert!(matches!(open(&state), Err(OpenError::Damaged { .. })));
        assert!(matches!(for_reading(&state), Err(OpenError::Damaged { .. })));
    }
}

#[test]
fn a_damaged_value_is_an_error_that_names_family_and_key() {
    let (_folder, state) = state();
    drop(open(&state).unwrap());
    tamper(&state, |database, batch| {
        let key = [0xab; 32];
        let mut value = record::seal(Family::Definitions, &key, &Blob(b"text".to_vec()));
        value[2] ^= 1;
        database.put(batch, Family::Definitions, &key, &value);
    });
    let (database, _) = for_reading(&state).unwrap();
    let error = database.get::<Blob>(Family::Definitions, &[0xab; 32]).unwrap_err();
    let many = database.get_many::<Blob>(Family::Definitions, &[[0xab; 32]]).unwrap_err();
    let scanned = database.scan::<Blob>(Family::Definitions, &[]).next().unwrap().unwrap_err();
    for error in [&error, &many, &scanned] {
        let text = error.to_string();
        assert!(text.contains("`definitions-v1`") && text.contains(&"ab".repeat(32)), "{text}");
        assert!(text.contains(state.to_str().unwrap()), "{text}");
        assert!(error.help().is_some());
    }
}

#[test]
fn an_event_that_is_missing_is_an_error() {
    let (_folder, state) = state();
    drop(open(&state).unwrap());
    let run = cairn_model::RunId::from_bytes([1; 16]);
    let event = cairn_model::Event {
        at: Timestamp(1),
        what: cairn_model::RunEvent::Started { instances: 1, resumed: false },
    };
    tamper(&state, |database, batch| {
        for number in [1, 3] {
            let key = keys::event(run, number);
            database.put(batch, Family::Events, &key, &record::seal(Family::Events, &key, &event));
        }
    });
    let store = crate::Store::open(&state, crate::Access::Read, &FixedClock::new(Timestamp(0))).unwrap();
    let error = store.events(run).unwrap_err();
    assert!(error.to_string().contains("the event before it is missing"), "{error}");
    assert_eq!(store.events_after(run, 2).unwrap(), [(3, event)]);
}
