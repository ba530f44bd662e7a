//! Leftovers.
use std::io;
use std::path::Path;

/// Removes from `staging/` all but the attempts that are `live`; returns how many.
pub fn clean_staging(state: &Path, live: impl Fn(&str) -> bool) -> io::Result<u32> {
    let _ = (state, live(""));
    unimplemented!()
}
/// Removes all in `tmp/`; returns how many entries.
pub fn clean_tmp(state: &Path) -> io::Result<u32> {
    let _ = state;
    unimplemented!()
}
