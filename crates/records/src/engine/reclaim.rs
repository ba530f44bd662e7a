//! Gives back the room that results take up which no row speaks of any more.
//!
//! Results are only ever appended, so that a row written before a crash always finds its own. When the file holds more than
//! twice what counts, all that counts is appended once more, the rows are told of the new places, and everything before is
//! given back to the disk: the file keeps its length, its beginning is a hole. Until that last step both places are good, so
//! that it does not matter where it is cut off; what was done is then done again.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::Setup;
use super::error::EngineError;
use super::files::{check_of, open_results};
use crate::ledger::{Changes, Scope};
use crate::state::{Kept, RowError, Rows, Short, State};

/// Room that is not worth the copying.
const SPARED: u64 = if cfg!(test) { 16 << 10 } else { 16 << 20 };

/// Bytes of changed pages that are written at once, and of results that are copied between two looks whether to stop.
const WRITE: usize = 4 << 20;

/// Bytes before each result: its check.
const CHECK: u64 = size_of::<Short>() as u64;

/// Gives room back where there is enough of it. `standing`: bytes of the results that this run's source speaks of. All
/// rows are in pages, and `scope` is the one that is kept.
pub(super) fn reclaim(setup: &Setup<'_>, scope: &Scope, standing: u64) -> Result<(), EngineError> {
    let path = setup.results.as_path();
    let too_much = |counts: u64, taken: u64| taken > counts.saturating_mul(2).saturating_add(SPARED);
    let taken = match std::fs::metadata(path) {
        Ok(found) => found.blocks() * 512,
        Err(_) => return Ok(()),
    };
    if !too_much(standing, taken) {
        return Ok(());
    }
    let before = scope.results_bytes;
    let mut file = open_results(path, before)?;
    if !can_give_back(&file, before).map_err(EngineError::kept(path))? {
        return Ok(());
    }
    // Keys that the source has no more may come back: theirs count as well. They are counted before they are gathered, which
    // takes memory.
    let mut counts = 0;
    each_kept(setup, &mut |kept| counts += CHECK + u64::from(kept.length))?;
    if !too_much(counts, taken) {
        return Ok(());
    }
    let mut moved = Vec::new();
    each_kept(setup, &mut |kept| moved.push(Moved { from: kept.offset, length: kept.length, to: 0 }))?;
    moved.sort_unstable_by_key(|one| one.from);
    let appended = append(setup, &mut file, before, &mut moved)
        .and_then(|after| file.sync_data().map(|()| after).map_err(EngineError::kept(path)));
    let after = appended.inspect_err(|_| {
        // What was appended so far counts for nobody. What is left of it goes when the file is next written to.
        let _ = file.set_len(before);
    })?;
    let scope = Scope { results_bytes: after, ..scope.clone() };
    setup.ledger.apply(Changes { scope: Some(scope), durable: true, ..Changes::default() })?;
    tell_rows(setup, &moved)?;
    setup.ledger.apply(Changes { durable: true, ..Changes::default() })?;
    give_back(&file, 0, before).map_err(|error| EngineError::kept(path)(error.into()))?;
    tracing::debug!(path = %path.display(), bytes = before, "results that nothing speaks of any more were removed");
    Ok(())
}

/// Where a result was and is.
struct Moved {
    from: u64,
    length: u32,
    to: u64,
}

/// Goes over the results that rows speak of.
fn each_kept(setup: &Setup<'_>, take: &mut dyn FnMut(Kept)) -> Result<(), EngineError> {
    for page in setup.ledger.pages() {
        setup.hands.check_stop()?;
        let (_, page) = page?;
        let mut rows = Rows::new(&page);
        while let Some((state, _)) = rows.next_row()? {
            state.kept.into_iter().for_each(&mut *take);
        }
    }
    Ok(())
}

/// Appends all that counts; returns how long the file is then.
fn append(setup: &Setup<'_>, file: &mut File, before: u64, moved: &mut [Moved]) -> Result<u64, EngineError> {
    let path = setup.results.as_path();
    let kept = || EngineError::kept(path);
    let mut read = BufReader::with_capacity(1 << 20, File::open(path).map_err(kept())?);
    let mut write = BufWriter::with_capacity(1 << 20, file);
    let (mut at, mut end, mut bytes, mut looked) = (0_u64, before, Vec::new(), before);
    for one in moved {
        if end - looked >= WRITE as u64 {
            looked = end;
            setup.hands.check_stop()?;
        }
        let away = i64::try_from(one.from).unwrap_or(i64::MAX) - i64::try_from(at).unwrap_or(0);
        read.seek_relative(away).map_err(kept())?;
        let mut check = Short::default();
        bytes.resize(one.length as usize, 0);
        read.read_exact(&mut check).and_then(|()| read.read_exact(&mut bytes)).map_err(kept())?;
        if check != check_of(&bytes) {
            return Err(super::files::damaged(path, one.from));
        }
        write.write_all(&check).and_then(|()| write.write_all(&bytes)).map_err(kept())?;
        at = one.from + CHECK + u64::from(one.length);
        one.to = end;
        end += CHECK + u64::from(one.length);
    }
    write.flush().map_err(kept())?;
    Ok(end)
}

/// Writes the new places into the rows.
fn tell_rows(setup: &Setup<'_>, moved: &[Moved]) -> Result<(), EngineError> {
    let (mut pages, mut size) = (Vec::new(), 0);
    for page in setup.ledger.pages() {
        let (prefix, page) = page?;
        let (mut rows, mut told) = (Rows::new(&page), Vec::with_capacity(page.len()));
        while let Some((state, bytes)) = rows.next_row()? {
            let found = state.kept.and_then(|kept| {
                let at = moved.binary_search_by_key(&kept.offset, |one| one.from).ok()?;
                Some(Kept { offset: moved[at].to, ..kept })
            });
            match found {
                Some(kept) => State { kept: Some(kept), ..state }.encode(&mut told),
                None => told.extend_from_slice(bytes),
            }
        }
        if told != page {
            size += told.len();
            pages.push((prefix, told));
        }
        if size >= WRITE {
            size = 0;
            setup.ledger.apply(Changes { pages: std::mem::take(&mut pages), ..Changes::default() })?;
        }
    }
    Ok(setup.ledger.apply(Changes { pages, ..Changes::default() })?)
}

fn give_back(file: &File, from: u64, length: u64) -> Result<(), Errno> {
    fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, length)
}

/// Returns whether the file system takes parts of files back. Nothing stands behind byte `end`.
fn can_give_back(file: &File, end: u64) -> std::io::Result<bool> {
    match give_back(file, end, 4096) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Returns the first of the results in the file that a page's rows speak of.
///
/// # Errors
///
/// When the page cannot be read.
pub fn first_result(page: &[u8]) -> Result<Option<Kept>, RowError> {
    let (mut rows, mut first) = (Rows::new(page), None);
    while let Some((state, _)) = rows.next_row()? {
        first = first.into_iter().chain(state.kept).min_by_key(|kept| kept.offset);
    }
    Ok(first)
}

/// Returns whether a result is where a row says. When the first that any row speaks of is, none was moved since the rows
/// were read: moving takes all that was there.
///
/// # Errors
///
/// When the file cannot be read.
pub fn holds_result(path: &Path, kept: Kept) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(kept.offset))?;
    let mut check = Short::default();
    let mut bytes = vec![0; kept.length as usize];
    match file.read_exact(&mut check).and_then(|()| file.read_exact(&mut bytes)) {
        Ok(()) => Ok(check == check_of(&bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies a file of results with its holes.
///
/// # Errors
///
/// When one cannot be read or the other not be written; it must not be there yet.
pub fn copy_results(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut original, mut copy) = (File::open(from)?, File::create_new(to)?);
    let length = original.metadata()?.len();
    copy.set_len(length)?;
    let mut at = 0;
    while at < length {
        let from = match rustix::fs::seek(&original, rustix::fs::SeekFrom::Data(at)) {
            Ok(from) => from,
            // No more but a hole.
            Err(Errno::NXIO) => break,
            // Of a file system that knows no holes, all is copied.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(error) => return Err(error.into()),
        };
        let to = rustix::fs::seek(&original, rustix::fs::SeekFrom::Hole(from)).unwrap_or(length);
        original.seek(SeekFrom::Start(from))?;
        copy.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut (&original).take(to - from), &mut copy)?;
        at = to;
    }
    Ok(())
}
