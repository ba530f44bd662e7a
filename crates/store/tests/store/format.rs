//! Formats: a newer one is refused by name.

use std::fs;

use cairn_store::{Access, OpenError};

use crate::sample::{State, fill};

#[test]
fn a_store_of_a_newer_cairn_is_refused_and_left_as_it_is() {
    let state = State::new();
    fill(&state.open());
    // Its `HEAD` says so before RocksDB is asked.
    let mut head = fs::read(state.file("HEAD")).unwrap();
    for slot in head.chunks_mut(512) {
        slot[8..12].copy_from_slice(&7_u32.to_be_bytes());
        let checksum = blake3::hash(&slot[..52]);
        slot[52..60].copy_from_slice(&checksum.as_bytes()[..8]);
    }
    fs::write(state.file("HEAD"), &head).unwrap();
    for access in [Access::Read, Access::Write] {
        let error = state.try_open(access).unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 7, known: 6, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("format 7") && text.contains("formats up to 6"), "{text}");
        assert!(text.contains(state.path().to_str().unwrap()), "{text}");
    }
    assert_eq!(fs::read(state.file("HEAD")).unwrap(), head);
}
