//! Writes the sinks that are files, anew from what the source holds: in the order of the source, each key once.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use cairn_model::SinkPlace;

use super::Setup;
use super::error::EngineError;
use super::join::Joined;
use super::marks::{Mark, Spot};
use super::read::{self, Source};
use crate::file_sink::{FileWriter, WriteError};
use crate::source::BadRecord;
use crate::state::Short;

/// Opens the file of results so that what is written next stands after `length` bytes: what comes later was never
/// confirmed.
pub(super) fn open_results(path: &Path, length: u64) -> Result<File, EngineError> {
    let open = || {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    };
    open().map_err(EngineError::kept(path))
}

/// Writes all files.
pub(super) fn write(
    setup: &Setup<'_>,
    source: &Source<'_>,
    joined: &mut Joined,
    excluded: &HashSet<Spot>,
    worker: bool,
) -> Result<(), EngineError> {
    let sinks = setup.records.sinks.iter().filter(|sink| sink.place.is_file());
    let mut writers = Vec::with_capacity(setup.files.len());
    for (sink, (path, format)) in sinks.zip(&setup.files) {
        let writer = FileWriter::create(path, *format, &sink.columns).map_err(|error| failed(&error))?;
        writers.push((&sink.place, writer));
    }
    let mut put = |spot: Spot, record: &[u8]| -> Result<(), EngineError> {
        for (place, writer) in &mut writers {
            writer.write(record).map_err(|error| match &error {
                WriteError::Record(bad) => misfit(source, spot, place, bad),
                error => failed(error),
            })?;
        }
        Ok(())
    };
    if worker {
        write_results(setup, joined, excluded, &mut put)?;
    } else {
        let marks = &joined.marks;
        let wanted = |spot| matches!(marks.get(spot), Mark::Stands | Mark::Deliver);
        read::standing(source, &wanted, marks, &mut |spot, record| {
            if excluded.is_empty() || !excluded.contains(&spot) { put(spot, record) } else { Ok(()) }
        })?;
    }
    for (_, writer) in writers {
        writer.finish().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn write_results(
    setup: &Setup<'_>,
    joined: &mut Joined,
    excluded: &HashSet<Spot>,
    put: &mut read::Show<'_>,
) -> Result<(), EngineError> {
    if joined.kept.is_empty() {
        return Ok(());
    }
    joined.kept.sort_unstable_by_key(|(spot, _)| *spot);
    let mut file = BufReader::with_capacity(
        1 << 20,
        File::open(&setup.results).map_err(EngineError::kept(&setup.results))?,
    );
    let (mut at, mut bytes) = (0_u64, Vec::new());
    for (count, (spot, kept)) in joined.kept.iter().enumerate() {
        setup.hands.check_stop_at(count as u64)?;
        if excluded.contains(spot) {
            continue;
        }
        let away = i64::try_from(kept.offset).unwrap_or(i64::MAX) - i64::try_from(at).unwrap_or(0);
        file.seek_relative(away).map_err(EngineError::kept(&setup.results))?;
        let mut check = Short::default();
        bytes.resize(kept.length as usize, 0);
        file.read_exact(&mut check)
            .and_then(|()| file.read_exact(&mut bytes))
            .map_err(EngineError::kept(&setup.results))?;
        if check != check_of(&bytes) {
            return Err(damaged(&setup.results, kept.offset));
        }
        at = kept.offset + (check.len() + bytes.len()) as u64;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            put(*spot, line)?;
        }
    }
    Ok(())
}

/// Returns what stands before a result in the file of results, and tells whether it is still what was written.
pub(super) fn check_of(result: &[u8]) -> Short {
    let digest = blake3::hash(result);
    *digest.as_bytes().first_chunk().expect("a digest has 32 bytes")
}

pub(super) fn damaged(path: &Path, offset: u64) -> EngineError {
    EngineError::File {
        error: format!("`{}` is damaged at byte {offset}: it is not what was written there", path.display()),
        help: Some(format!(
            "remove it, and all records go through the worker again: `rm {}`",
            path.display()
        )),
    }
}

/// Says which record does not fit into which file.
fn misfit(source: &Source<'_>, spot: Spot, place: &SinkPlace, bad: &BadRecord) -> EngineError {
    let of = read::place_of(source, spot).map_or_else(String::new, |place| format!(" of `{place}`"));
    let into = match place {
        SinkPlace::File { path, .. } => path.as_str(),
        SinkPlace::Sqlite { .. } | SinkPlace::Postgres { .. } | SinkPlace::Http { .. } => "the file",
    };
    EngineError::File {
        error: format!("the record{of} does not fit into `{into}`: {bad}"),
        help: bad.help.clone(),
    }
}

fn failed(error: &WriteError) -> EngineError {
    EngineError::File { help: error.help(), error: error.to_string() }
}
