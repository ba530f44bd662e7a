//! Room that is given up when the disk is full, so that what is under way can be written down and recovery fits.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::FileError;
use crate::file_error::cannot;

/// Bytes in the ballast: several times what the store holds in memory.
pub const BYTES: u64 = 64 << 20;

const NAME: &str = "ballast";

/// Sees to it that the ballast is in the state folder `state`. Returns `false` where there is no room for it, or the
/// filesystem cannot reserve any: a run goes on without.
pub fn ensure(state: &Path) -> Result<bool, FileError> {
    let path = state.join(NAME);
    // A file with holes of that size would hold no room.
    if fs::metadata(&path).is_ok_and(|data| data.len() == BYTES && data.blocks() * 512 >= BYTES) {
        return Ok(true);
    }
    let file = File::options().write(true).create(true).truncate(true).open(&path);
    let reserved = file
        .and_then(|file| Ok(rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES)?))
        .map_err(cannot("reserve room in", &path));
    match reserved {
        Ok(()) => Ok(true),
        Err(error) => {
            release(state)?;
            if error.is_disk_full() || error.is_unsupported() { Ok(false) } else { Err(error) }
        }
    }
}

/// Gives the room up; returns whether there was any.
pub fn release(state: &Path) -> Result<bool, FileError> {
    let path = state.join(NAME);
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot("remove", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounted::Mounted;

    #[test]
    fn holds_room_until_it_is_released() {
        let state = tempfile::tempdir().unwrap();
        if ensure(state.path()).unwrap() {
            let data = fs::metadata(state.path().join(NAME)).unwrap();
            assert!(data.blocks() * 512 >= BYTES);
            assert!(ensure(state.path()).unwrap());
            assert!(release(state.path()).unwrap());
        }
        assert!(!release(state.path()).unwrap());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_with_holes_is_no_ballast() {
        let state = tempfile::tempdir().unwrap();
        File::create(state.path().join(NAME)).unwrap().set_len(BYTES).unwrap();
        if ensure(state.path()).unwrap() {
            assert!(fs::metadata(state.path().join(NAME)).unwrap().blocks() * 512 >= BYTES);
        }
    }

    #[test]
    fn released_on_a_full_disk_it_makes_room_and_without_room_there_is_none() {
        let state = tempfile::tempdir().unwrap();
        let Some(_mounted) = Mounted::memory(BYTES + (1 << 20), state.path()) else { return };
        assert!(ensure(state.path()).unwrap());
        let large = state.path().join("large");
        let full = fs::write(&large, vec![1; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert!(release(state.path()).unwrap());
        fs::write(&large, vec![1; 2 << 20]).unwrap();
        assert!(!ensure(state.path()).unwrap());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }
}
