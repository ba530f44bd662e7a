//! Reads a log.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use cairn_model::Timestamp;

use super::{RECORD, Record, Stream, index_path};

/// The most bytes a [`Chunk`] has.
const CHUNK_MAX: usize = 64 * 1024;

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// When it was read from the job.
    pub time: Timestamp,
    /// Who wrote it.
    pub stream: Stream,
    /// What was written, not empty: any bytes, cut anywhere.
    pub bytes: Vec<u8>,
}

/// Reads a log from its beginning to its present end, and on as it grows.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    files: Option<(File, File)>,
    position: u64,
    index_position: u64,
    record: Record,
}

impl Reader {
    /// Reads `log`, which need not be there yet.
    pub fn new(log: &Path) -> Self {
        let record = Record { time: Timestamp(0), stream: Stream::Unknown, length: 0 };
        Self { path: log.to_owned(), files: None, position: 0, index_position: 0, record }
    }

    /// Reads the last `lines` lines of `log`, and on.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn from_last_lines(log: &Path, lines: usize) -> io::Result<Self> {
        let mut reader = Self::new(log);
        if reader.open()? {
            let start = reader.start_of_last(lines)?;
            reader.skip_to(start)?;
        }
        Ok(reader)
    }

    /// Reads `log` from the byte at `position` on, or from its end where that is before.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn from_position(log: &Path, position: u64) -> io::Result<Self> {
        let mut reader = Self::new(log);
        if reader.open()? {
            let position = position.min(reader.end()?);
            reader.skip_to(position)?;
        }
        Ok(reader)
    }

    /// Returns how many bytes of the log are before the next piece.
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next piece; `None` when there is none now. There may be one later, if the job still runs.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        if !self.open()? {
            return Ok(None);
        }
        // The log's end before the index's: bytes that have no record by then never get one.
        let end = self.end()?;
        if self.record.length == 0 && !self.next_record()? {
            let beyond = u32::try_from(end.saturating_sub(self.position)).unwrap_or(u32::MAX);
            self.record = Record { stream: Stream::Unknown, length: beyond, ..self.record };
        }
        let mut bytes = vec![0; (self.record.length as usize).min(CHUNK_MAX)];
        let read = self.read_at(&mut bytes, self.position)?;
        if read == 0 {
            return Ok(None);
        }
        bytes.truncate(read);
        self.advance(read);
        Ok(Some(Chunk { time: self.record.time, stream: self.record.stream, bytes }))
    }

    /// Returns all bytes of `log`; none when it is not there, as for a job without output.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn text(log: &Path) -> io::Result<Vec<u8>> {
        match fs::read(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// Returns the last `lines` lines of `log`; the last of them may lack its line end.
    ///
    /// # Errors
    ///
    /// The log cannot be read.
    pub fn last_lines(log: &Path, lines: usize) -> io::Result<Vec<u8>> {
        let mut reader = Self::new(log);
        if !reader.open()? {
            return Ok(Vec::new());
        }
        let (start, end) = (reader.start_of_last(lines)?, reader.end()?);
        let mut bytes = vec![0; usize::try_from(end - start).map_err(|_| io::ErrorKind::FileTooLarge)?];
        let read = reader.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Opens the files unless they are; tells whether they are there.
    fn open(&mut self) -> io::Result<bool> {
        if self.files.is_none() {
            let open = |path: &Path| match File::open(path) {
                Ok(file) => Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            };
            let files = (open(&self.path)?, open(&index_path(&self.path))?);
            if let (Some(log), Some(index)) = files {
                self.files = Some((log, index));
            }
        }
        Ok(self.files.is_some())
    }

    fn log(&self) -> &File {
        &self.files.as_ref().expect("`open` comes first").0
    }

    fn end(&self) -> io::Result<u64> {
        Ok(self.log().metadata()?.len())
    }

    /// Reads until `bytes` is full or the log ends; returns how much.
    fn read_at(&self, bytes: &mut [u8], position: u64) -> io::Result<usize> {
        read_full(self.log(), bytes, position)
    }

    /// Goes to the next record of the index; tells whether there is one. One without bytes is passed over.
    fn next_record(&mut self) -> io::Result<bool> {
        let index = &self.files.as_ref().expect("`open` comes first").1;
        let mut bytes = [0; RECORD];
        while read_full(index, &mut bytes, self.index_position)? == RECORD {
            self.index_position += RECORD as u64;
            let record = Record::from_bytes(bytes);
            if record.length > 0 {
                self.record = record;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn advance(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.record.length -= u32::try_from(bytes).expect("never more than the record has");
    }

    /// Passes over the bytes before `position`, which is not beyond the log's end.
    fn skip_to(&mut self, position: u64) -> io::Result<()> {
        while self.position < position && (self.record.length > 0 || self.next_record()?) {
            let skip = u64::from(self.record.length).min(position - self.position);
            self.advance(usize::try_from(skip).expect("a record's length fits"));
        }
        // Only a damaged index ends before the log does.
        self.position = position;
        Ok(())
    }

    /// Returns where the last `lines` lines begin.
    fn start_of_last(&self, lines: usize) -> io::Result<u64> {
        let end = self.end()?;
        if lines == 0 {
            return Ok(end);
        }
        let mut block = vec![0; CHUNK_MAX];
        let mut start = end;
        let mut found = 0;
        while start > 0 {
            let length = start.min(CHUNK_MAX as u64);
            let block = &mut block[..usize::try_from(length).expect("no more than a block")];
            start -= length;
            let read = self.read_at(block, start)?;
            for (at, _) in block[..read].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = start + at as u64 + 1;
                // A line end that is the log's last byte ends the last line and begins none.
                if after < end {
                    found += 1;
                    if found == lines {
                        return Ok(after);
                    }
                }
            }
        }
        Ok(0)
    }
}

fn read_full(file: &File, bytes: &mut [u8], position: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], position + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
