//! Room for recovery.
use std::io;
use std::path::Path;

/// Bytes in the ballast file.
pub const BYTES: u64 = 64 << 20;

/// Sees to it that the ballast is there; `false` where the filesystem cannot reserve room.
pub fn ensure(state: &Path) -> io::Result<bool> {
    let _ = state;
    unimplemented!()
}
/// Gives the room up; `false` when there was none.
pub fn release(state: &Path) -> io::Result<bool> {
    let _ = state;
    unimplemented!()
}
