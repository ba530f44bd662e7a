//! One file copied to another.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_model::Digest;

use crate::hash;

/// Bytes below which sharing a file's blocks costs more than copying them.
const REFLINK_MIN: u64 = 64 << 10;

/// Whether a filesystem answered that it cannot share blocks; then it is not asked for each file. Asked in vain it
/// costs little more than making a file, so that one answer does for all.
static NO_REFLINKS: AtomicBool = AtomicBool::new(false);

/// Makes the new file `to`, mode 0600, with the bytes of `from`: shared where the filesystem can, else copied. Returns
/// it with the digest and number of the bytes that are in it. Nothing is synced.
///
/// # Errors
/// `AlreadyExists` when `to` was there, and then it still is. After any other error there is no file `to`.
pub(crate) fn to_new_file(from: &File, to: &Path) -> io::Result<(File, Digest, u64)> {
    let size = from.metadata()?.len();
    let made = share(from, size, to).unwrap_or_else(|| {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(to)?;
        let (digest, size) = hash::copy(from, &file)?;
        Ok((file, digest, size))
    });
    if made.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        // Whatever is left of it is no more than a part.
        let _ = std::fs::remove_file(to);
    }
    made
}

/// Shares the blocks; `None` where that cannot be done.
fn share(from: &File, size: u64, to: &Path) -> Option<io::Result<(File, Digest, u64)>> {
    if size < REFLINK_MIN || NO_REFLINKS.load(Ordering::Relaxed) {
        return None;
    }
    match reflink_copy::reflink_file_to_path(from, to) {
        Ok(()) => {}
        Err(error) => {
            if error.kind() == io::ErrorKind::Unsupported {
                NO_REFLINKS.store(true, Ordering::Relaxed);
            }
            return None;
        }
    }
    let read = |file: File| {
        let (digest, size) = hash::file(&file, size)?;
        Ok((file, digest, size))
    };
    Some(File::open(to).and_then(read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Domain;

    #[test]
    fn copies_small_and_large_files_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for length in [0, 1, 70_000, 700_000] {
            let bytes = vec![7; length];
            std::fs::write(&from, &bytes).unwrap();
            let (_, digest, size) = to_new_file(&File::open(&from).unwrap(), &to).unwrap();
            assert_eq!((digest, size), (Domain::File.digest(&bytes), length as u64));
            assert_eq!(std::fs::read(&to).unwrap(), bytes);

            std::fs::write(&to, "mine").unwrap();
            let error = to_new_file(&File::open(&from).unwrap(), &to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(std::fs::read(&to).unwrap(), b"mine");
            std::fs::remove_file(&to).unwrap();
        }
    }

    #[test]
    fn on_a_full_disk_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        std::fs::write(&from, vec![7; 2 << 20]).unwrap();
        let small = folder.path().join("small");
        std::fs::create_dir(&small).unwrap();
        let Some(_mounted) = crate::mounted::Mounted::memory(1 << 20, &small) else { return };
        let error = to_new_file(&File::open(&from).unwrap(), &small.join("to")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    }
}
