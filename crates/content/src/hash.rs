//! Digests of files, in [`Domain::File`], equal to those of BLAKE3's plain hasher.
//!
//! A file of up to [`LEAF`] bytes is read into a buffer of the thread's own. A larger one is cut along BLAKE3's tree:
//! each leaf is read by `pread` and hashed while it is in the processor's cache, on all threads of rayon's pool, and
//! the leaves' chaining values are merged. There is no memory map, for a file that another process truncates would end
//! this one by SIGBUS.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use blake3::hazmat::{self, ChainingValue, ContextKey, HasherExt, Mode};
use cairn_model::{Digest, Domain};

/// Bytes that one thread reads and hashes at once: a power of two chunks of 1024 bytes, so that each is a subtree,
/// and small enough to stay in a core's second-level cache between the two.
const LEAF: u64 = 256 << 10;

/// Bytes within which the threads work at the same time: they stay together in the file, so that the system's
/// read-ahead sees one reader going forward and not one for each half. A power of two leaves.
const WINDOW: u64 = 64 << 20;

static CONTEXT_KEY: LazyLock<ContextKey> =
    LazyLock::new(|| hazmat::hash_derive_key_context(Domain::File.context()));

thread_local! {
    /// Grows to what the thread's largest read needed; never borrowed while the thread waits for another.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes bytes as they are read, with their offset in the file.
type Sink<'a> = &'a (dyn Fn(&[u8], u64) -> io::Result<()> + Sync);

/// Returns the digest of `file` and how many bytes it has. `size_hint` is what its metadata says.
///
/// The file's own position is neither used nor moved.
///
/// # Errors
/// `UnexpectedEof` when a large file's size is not `size_hint`: it was changed since the hint was taken.
pub fn file(file: &File, size_hint: u64) -> io::Result<(Digest, u64)> {
    read(file, size_hint, &|_, _| Ok(()))
}

/// Copies the bytes of `from` to `to`, which is empty, and returns their digest and number. Nothing is synced.
///
/// # Errors
/// As [`file`], and what writing gave.
pub fn copy(from: &File, to: &File) -> io::Result<(Digest, u64)> {
    read(from, from.metadata()?.len(), &|bytes, offset| to.write_all_at(bytes, offset))
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
            sink(&buffer[..read], offset)?;
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
    if length > LEAF {
        let (left, right) = halves(file, offset, length, sink)?;
        return Ok(hazmat::merge_subtrees_non_root(&left, &right, Mode::DeriveKeyMaterial(&CONTEXT_KEY)));
    }
    with_buffer(usize::try_from(length).expect("a leaf fits into memory"), |buffer| {
        file.read_exact_at(buffer, offset)?;
        sink(buffer, offset)?;
        let mut hasher = blake3::Hasher::new_from_context_key(&CONTEXT_KEY);
        Ok(hasher.set_input_offset(offset).update(buffer).finalize_non_root())
    })
}

fn with_buffer<T>(length: usize, run: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        run(&mut buffer[..length])
    })
}
