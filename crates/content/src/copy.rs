//! One file copied to another, and the digest of what was copied.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_model::Digest;

use crate::file_error::cannot;
use crate::{FileError, hash, open};

/// Bytes below which sharing a file's blocks costs more than copying them.
const REFLINK_MIN: u64 = 64 << 10;

/// Bytes from which on a copy for which the system's cache has no use goes past it.
const DIRECT_MIN: u64 = 32 << 20;

/// Whether a filesystem answered that it cannot share blocks; then it is not asked for each file. One answer does for
/// all: where it was wrong, files are copied, which is slower and no more.
static NO_REFLINKS: AtomicBool = AtomicBool::new(false);

/// A new file.
#[derive(Debug)]
pub struct Copied {
    /// The file, open; its mode is 0600 or that of what was copied.
    pub file: File,
    /// Digest of the bytes that were written to it.
    pub digest: Digest,
    /// Number of those bytes.
    pub size: u64,
}

/// Makes the new file `to` with the bytes of the file `from`, or of that to which the link `from` leads: shared where
/// the filesystem can, else copied. Nothing is synced.
///
/// # Errors
/// The kind is `AlreadyExists` when `to` was there, and then it still is. After any other error there is no file `to`.
pub fn file(from: &Path, to: &Path) -> Result<Copied, FileError> {
    let original = open::file(from).map_err(cannot("read", from))?;
    open_file(&original, to).map_err(cannot("write", to))
}

/// Makes the new file `to` with the bytes of `from`, as [`file()`].
pub(crate) fn open_file(from: &File, to: &Path) -> io::Result<Copied> {
    make(from, to, hash::copy)
}

/// As [`open_file`], for a copy that is not read soon: a large one leaves the system's cache to what is. It is then made
/// faster too, and is all but durable.
pub(crate) fn open_file_past_cache(from: &File, to: &Path) -> io::Result<Copied> {
    make(from, to, |from, file| {
        let size = from.metadata()?.len();
        match if size < DIRECT_MIN { None } else { open::past_cache(to) } {
            Some(direct) => hash::copy_direct(from, size, file, &|bytes, at| direct.write_all_at(bytes, at)),
            None => hash::copy(from, file),
        }
    })
}

fn make(
    from: &File,
    to: &Path,
    copy: impl FnOnce(&File, &File) -> io::Result<(Digest, u64)>,
) -> io::Result<Copied> {
    let size = from.metadata()?.len();
    let made = share(from, size, to).unwrap_or_else(|| {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(to)?;
        let (digest, size) = copy(from, &file)?;
        Ok(Copied { file, digest, size })
    });
    if made.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
        // Whatever is left of it is no more than a part.
        let _ = std::fs::remove_file(to);
    }
    made
}

/// Shares the blocks; `None` where that cannot be done.
fn share(from: &File, size: u64, to: &Path) -> Option<io::Result<Copied>> {
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
        Ok(Copied { file, digest, size })
    };
    Some(File::open(to).and_then(read))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounted::Mounted;
    use cairn_model::Domain;

    #[test]
    fn copies_small_and_large_files_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for length in [0, 1, 70_000, 700_000] {
            let bytes = vec![7; length];
            std::fs::write(&from, &bytes).unwrap();
            let copied = file(&from, &to).unwrap();
            assert_eq!((copied.digest, copied.size), (Domain::File.digest(&bytes), length as u64));
            assert_eq!(std::fs::read(&to).unwrap(), bytes);

            std::fs::write(&to, "mine").unwrap();
            assert_eq!(file(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(std::fs::read(&to).unwrap(), b"mine");
            std::fs::remove_file(&to).unwrap();
        }
        let error = file(&folder.path().join("missing"), &to).unwrap_err();
        assert!(error.path.ends_with("missing") && !to.exists(), "{error}");
    }

    #[test]
    fn a_large_copy_past_the_cache_has_the_same_bytes_or_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to, small) =
            (folder.path().join("from"), folder.path().join("to"), folder.path().join("small"));
        let length = usize::try_from(DIRECT_MIN).unwrap() + 5000;
        let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at / 1000 % 251).unwrap()).collect();
        std::fs::write(&from, &bytes).unwrap();
        let original = open::file(&from).unwrap();
        let copied = open_file_past_cache(&original, &to).unwrap();
        assert_eq!((copied.digest, copied.size), (Domain::File.digest(&bytes), length as u64));
        assert!(std::fs::read(&to).unwrap() == bytes);
        assert_eq!(open_file_past_cache(&original, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        std::fs::create_dir(&small).unwrap();
        let Some(_mounted) = Mounted::memory(4 << 20, &small) else { return };
        let error = open_file_past_cache(&original, &small.join("to")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    }

    #[test]
    fn on_a_full_disk_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (from, small) = (folder.path().join("from"), folder.path().join("small"));
        std::fs::write(&from, vec![7; 2 << 20]).unwrap();
        std::fs::create_dir(&small).unwrap();
        let Some(_mounted) = Mounted::memory(1 << 20, &small) else { return };
        let error = file(&from, &small.join("to")).unwrap_err();
        assert!(error.is_disk_full() && error.path.ends_with("small/to"), "{error}");
        assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    }
}
