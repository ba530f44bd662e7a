//! Digests of files, in [`Domain::File`], equal to those of BLAKE3's plain hasher.
//!
//! A file of up to 256 KiB is read into a buffer of the thread's own. A larger one is cut along BLAKE3's tree:
//! each leaf is read by `pread` and hashed while it is in the processor's cache, on all threads of rayon's pool, and
//! the leaves' chaining values are merged. There is no memory map, for a file that another process truncates would end
//! this one by SIGBUS.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use blake3::hazmat::{self, ChainingValue, ContextKey, HasherExt, Mode};
use cairn_model::{Digest, Domain};

/// Bytes that one thread reads and hashes at once: a power of two chunks of 1024 bytes, so that each is a subtree,
/// and small enough to stay in a core's second-level cache between the two.
const LEAF: u64 = 256 << 10;

/// Bytes within which the threads work at the same time: they stay together in the file, so that the system's
/// read-ahead sees one reader going forward and not one for each half. A power of two leaves.
const WINDOW: u64 = 64 << 20;

/// Bytes that are written at once past the system's cache, where each write waits for the disk.
const DIRECT: u64 = 1 << 20;

/// Buffers begin at a multiple of this. Some processors (AMD's Zen 3) copy to one that begins 16 bytes into a page, as
/// large allocations do, at a fifth of the speed.
const PAGE: usize = 4096;

static CONTEXT_KEY: LazyLock<ContextKey> =
    LazyLock::new(|| hazmat::hash_derive_key_context(Domain::File.context()));

thread_local! {
    /// Grows to what the thread's largest read needed; never borrowed while the thread waits for another.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes bytes with their offset in the file.
pub(crate) type Take<'a> = &'a (dyn Fn(&[u8], u64) -> io::Result<()> + Sync);

/// Takes bytes as they are read.
#[derive(Clone, Copy)]
struct Sink<'a> {
    /// Most bytes that it takes at once, of a large file: a power of two leaves.
    most: u64,
    take: Take<'a>,
}

/// Returns the digest of `file` and how many bytes it has. `size_hint` is what its metadata says.
///
/// The file's own position is neither used nor moved.
///
/// # Errors
/// `UnexpectedEof` when a large file's size is not `size_hint`: it was changed since the hint was taken.
pub fn file(file: &File, size_hint: u64) -> io::Result<(Digest, u64)> {
    read(file, size_hint, Sink { most: LEAF, take: &|_, _| Ok(()) })
}

/// Copies the bytes of `from` to `to`, which is empty, and returns their digest and number. Nothing is synced.
///
/// # Errors
/// As [`file()`], and what writing gave.
pub fn copy(from: &File, to: &File) -> io::Result<(Digest, u64)> {
    read(
        from,
        from.metadata()?.len(),
        Sink { most: LEAF, take: &|bytes, offset| to.write_all_at(bytes, offset) },
    )
}

/// As [`copy()`], of a file of `size` bytes: whole pages go through `direct`, which writes bytes at an offset, past the
/// system's cache. Once it says `InvalidInput` it is not asked again.
pub(crate) fn copy_direct(from: &File, size: u64, to: &File, direct: Take<'_>) -> io::Result<(Digest, u64)> {
    let refused = AtomicBool::new(false);
    let take = |bytes: &[u8], offset: u64| {
        let mut pages = bytes.len() - bytes.len() % PAGE;
        if pages == 0 || refused.load(Ordering::Relaxed) {
            return to.write_all_at(bytes, offset);
        }
        match direct(&bytes[..pages], offset) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                refused.store(true, Ordering::Relaxed);
                pages = 0;
            }
            written => written?,
        }
        to.write_all_at(&bytes[pages..], offset + pages as u64)
    };
    read(from, size, Sink { most: DIRECT, take: &take })
}

fn read(file: &File, size_hint: u64, sink: Sink<'_>) -> io::Result<(Digest, u64)> {
    if size_hint <= LEAF { read_small(file, size_hint, sink) } else { read_large(file, size_hint, sink) }
}

fn read_small(file: &File, size_hint: u64, sink: Sink<'_>) -> io::Result<(Digest, u64)> {
    // One byte more than there should be: a read that leaves it empty has seen the end.
    let length = usize::try_from(size_hint + 1).expect("a leaf fits into memory");
    with_buffer(length, |buffer| {
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT_KEY);
        let mut offset = 0;
        loop {
            let read = match file.read_at(buffer, offset) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&buffer[..read]);
            (sink.take)(&buffer[..read], offset)?;
            offset += read as u64;
            // What says it is empty may not be, as the files of /proc.
            if read == 0 || (offset == size_hint && read < buffer.len()) {
                return Ok((hasher.finalize().into(), offset));
            }
        }
    })
}

fn read_large(file: &File, size: u64, sink: Sink<'_>) -> io::Result<(Digest, u64)> {
    let (left, right) = halves(file, 0, size, sink)?;
    if file.read_at(&mut [0], size)? != 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file grew while it was read"));
    }
    let root = hazmat::merge_subtrees_root(&left, &right, Mode::DeriveKeyMaterial(&CONTEXT_KEY));
    Ok((root.into(), size))
}

/// Returns the chaining values of the two subtrees that the bytes `offset .. offset + length` consist of.
fn halves(
    file: &File,
    offset: u64,
    length: u64,
    sink: Sink<'_>,
) -> io::Result<(ChainingValue, ChainingValue)> {
    let left_length = hazmat::left_subtree_len(length);
    let left = || subtree(file, offset, left_length, sink);
    let right = || subtree(file, offset + left_length, length - left_length, sink);
    let (left, right) = if length > WINDOW { (left(), right()) } else { rayon::join(left, right) };
    Ok((left?, right?))
}

fn subtree(file: &File, offset: u64, length: u64, sink: Sink<'_>) -> io::Result<ChainingValue> {
    if length > sink.most {
        let (left, right) = halves(file, offset, length, sink)?;
        return Ok(merge(&left, &right));
    }
    with_buffer(usize::try_from(length).expect("what is taken at once fits into memory"), |buffer| {
        let value = leaves(file, offset, buffer)?;
        (sink.take)(buffer, offset)?;
        Ok(value)
    })
}

/// Fills `buffer` from `offset` on, and returns the chaining value of the subtree that it is.
fn leaves(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<ChainingValue> {
    let length = buffer.len() as u64;
    if length > LEAF {
        let left_length = hazmat::left_subtree_len(length);
        let middle = usize::try_from(left_length).expect("it is less than the buffer's length");
        let (left, right) = buffer.split_at_mut(middle);
        return Ok(merge(&leaves(file, offset, left)?, &leaves(file, offset + left_length, right)?));
    }
    file.read_exact_at(buffer, offset)?;
    let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT_KEY);
    Ok(hasher.set_input_offset(offset).update(buffer).finalize_non_root())
}

fn merge(left: &ChainingValue, right: &ChainingValue) -> ChainingValue {
    hazmat::merge_subtrees_non_root(left, right, Mode::DeriveKeyMaterial(&CONTEXT_KEY))
}

fn with_buffer<T>(length: usize, run: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length + PAGE {
            buffer.resize(length + PAGE, 0);
        }
        let start = buffer.as_ptr().align_offset(PAGE);
        run(&mut buffer[start..start + length])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    /// No two chunks are alike, so that none can take another's place.
    fn pattern(length: u64) -> Vec<u8> {
        let mut bytes = vec![b'x'; usize::try_from(length).unwrap()];
        for (number, chunk) in bytes.chunks_mut(1024).enumerate() {
            let name = number.to_le_bytes();
            let length = chunk.len().min(name.len());
            chunk[..length].copy_from_slice(&name[..length]);
        }
        bytes
    }

    fn open(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn check(bytes: &[u8]) {
        let expect = (Domain::File.digest(bytes), bytes.len() as u64);
        let original = open(bytes);
        assert_eq!(file(&original, expect.1).unwrap(), expect, "{} bytes", bytes.len());
        let copied = open(b"");
        assert_eq!(copy(&original, &copied).unwrap(), expect, "{} bytes", bytes.len());
        assert_eq!(file(&copied, expect.1).unwrap(), expect, "{} bytes", bytes.len());
        // Direct writes that are taken, refused at once, and refused from some moment on.
        for most in [u64::MAX, 0, 2 * DIRECT] {
            let copied = open(b"");
            let direct = |bytes: &[u8], offset: u64| {
                assert!(bytes.len().is_multiple_of(PAGE) && bytes.as_ptr().addr().is_multiple_of(PAGE));
                assert!(offset.is_multiple_of(PAGE as u64));
                if offset < most {
                    copied.write_all_at(bytes, offset)
                } else {
                    Err(io::ErrorKind::InvalidInput.into())
                }
            };
            assert_eq!(
                copy_direct(&original, expect.1, &copied, &direct).unwrap(),
                expect,
                "{} bytes",
                bytes.len()
            );
            assert_eq!(file(&copied, expect.1).unwrap(), expect, "{} bytes, {most}", bytes.len());
        }
    }

    #[test]
    fn equals_the_plain_hasher_at_every_boundary() {
        let chunk = 1024;
        let mebibyte = 1 << 20;
        let around = [chunk, 2 * chunk, 3 * chunk, LEAF, 2 * LEAF, 3 * LEAF, mebibyte, 16 * mebibyte, WINDOW];
        check(b"");
        check(b"x");
        for boundary in around {
            // One buffer for the three: it takes longer to make than to hash.
            let bytes = pattern(boundary + 1);
            let length = bytes.len();
            (0..3).for_each(|less| check(&bytes[..length - less]));
        }
        check(&pattern(2 * WINDOW + LEAF + chunk + 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 50, ..ProptestConfig::default() })]
        #[test]
        fn equals_the_plain_hasher(length in 0..6 * LEAF) {
            check(&pattern(length));
        }
    }

    #[test]
    fn a_wrong_hint_gives_no_wrong_digest() {
        let small = open(b"abc");
        for hint in [0, 1, 2, 3, 4, 100] {
            assert_eq!(file(&small, hint).unwrap(), (Domain::File.digest(b"abc"), 3), "{hint}");
        }
        let large = open(&pattern(2 * LEAF));
        for hint in [LEAF + 1, 2 * LEAF - 1, 2 * LEAF + 1, 100 * LEAF] {
            assert_eq!(file(&large, hint).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{hint}");
        }
        let expect = (Domain::File.digest(&pattern(2 * LEAF)), 2 * LEAF);
        assert_eq!(file(&large, 0).unwrap(), expect);
    }

    #[test]
    fn what_says_that_it_is_empty_is_read_all_the_same() {
        let Ok(version) = File::open("/proc/version") else { return };
        let bytes = std::fs::read("/proc/version").unwrap();
        assert_eq!(version.metadata().unwrap().len(), 0);
        assert_eq!(file(&version, 0).unwrap(), (Domain::File.digest(&bytes), bytes.len() as u64));
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        for length in [1, 3 * LEAF] {
            let error = copy(&open(&pattern(length)), &full).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{length}");
        }
    }
}
