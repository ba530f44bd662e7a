//! Lines as slices of one buffer: nothing is copied but what a refill moves, nothing is allocated for a line.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use cairn_model::ProjectPath;

use super::opened::Bytes;
use super::{BadRecord, Position, SourceError};

/// Bytes read at once: enough that neither the calls nor what is moved to the front show.
const CHUNK: usize = 1 << 20;

/// The UTF-8 byte order mark, which some programs begin a text with.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) struct Lines {
    from: Bytes,
    /// The bytes at `unread` are those from the file that no line was made of yet.
    buffer: Vec<u8>,
    unread: Range<usize>,
    /// Where in the file the buffer begins.
    offset: u64,
    ended: bool,
    /// Lines that were passed, the current one included.
    line: u64,
    /// The current line, or the start of one that is too long.
    current: Range<usize>,
    too_long: bool,
}

impl Lines {
    pub(super) fn new(from: Bytes) -> Self {
        Self {
            from,
            buffer: vec![0; CHUNK],
            unread: 0..0,
            offset: 0,
            ended: false,
            line: 0,
            current: 0..0,
            too_long: false,
        }
    }

    /// Returns the number of the current line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Returns the current line, checked.
    pub(super) fn body(&self) -> Result<&[u8], BadRecord> {
        let line = &self.buffer[self.current.clone()];
        if self.too_long {
            return Err(BadRecord::too_long(line));
        }
        BadRecord::check_text(line)?;
        Ok(line)
    }

    /// Says where reading failed.
    pub(super) fn error(&self, path: &ProjectPath, error: io::Error) -> SourceError {
        let bytes = self.offset + self.unread.end as u64;
        SourceError::from_io(path, Position::Text { lines: self.line, bytes }, error)
    }

    /// Goes to the next line that is not empty; false after the last.
    pub(super) fn advance(&mut self) -> io::Result<bool> {
        loop {
            if !self.next_line()? {
                return Ok(false);
            }
            if self.line == 1 && self.buffer[self.current.clone()].starts_with(MARK) {
                self.current.start += MARK.len();
            }
            // Nearly all lines begin with a brace: only others are looked at for more than their first byte.
            let line = &self.buffer[self.current.clone()];
            if line.first() == Some(&b'{') || self.too_long || !line.iter().all(u8::is_ascii_whitespace) {
                return Ok(true);
            }
        }
    }

    fn next_line(&mut self) -> io::Result<bool> {
        self.too_long = false;
        let mut searched = 0;
        loop {
            let unread = &self.buffer[self.unread.clone()];
            if let Some(at) = memchr::memchr(b'\n', &unread[searched..]) {
                let start = self.unread.start;
                let end = start + searched + at;
                self.unread.start = end + 1;
                self.line += 1;
                self.set_current(start..end);
                return Ok(true);
            }
            searched = unread.len();
            if searched > BadRecord::LONGEST + 1 {
                return self.pass_over();
            }
            if !self.fill()? {
                if self.unread.is_empty() {
                    return Ok(false);
                }
                self.line += 1;
                let last = self.unread.clone();
                self.unread.start = self.unread.end;
                self.set_current(last);
                return Ok(true);
            }
        }
    }

    fn set_current(&mut self, line: Range<usize>) {
        let without_return = self.buffer[line.clone()].strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
        self.current = line.start..line.start + without_return;
        if without_return > BadRecord::LONGEST {
            self.too_long = true;
            self.current.end = self.current.start + BadRecord::EXCERPT;
        }
    }

    /// Reads to the end of a line that is too long and keeps its start.
    fn pass_over(&mut self) -> io::Result<bool> {
        self.too_long = true;
        // What is unread begins with the line: its excerpt stays at the front, the rest is read over.
        self.buffer.copy_within(self.unread.clone(), 0);
        self.offset += self.unread.start as u64;
        let mut end = self.unread.len();
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[BadRecord::EXCERPT..end]) {
                self.unread = BadRecord::EXCERPT + at + 1..end;
                break;
            }
            self.offset += (end - BadRecord::EXCERPT) as u64;
            end = BadRecord::EXCERPT;
            let read = self.read_at(end)?;
            if read == 0 {
                self.unread = end..end;
                break;
            }
            end += read;
        }
        self.line += 1;
        self.current = 0..BadRecord::EXCERPT;
        Ok(true)
    }

    /// Reads more behind what is unread, after moving that to the front; false at the end of the file.
    fn fill(&mut self) -> io::Result<bool> {
        if self.unread.start > 0 {
            self.buffer.copy_within(self.unread.clone(), 0);
            self.offset += self.unread.start as u64;
            self.unread = 0..self.unread.len();
        }
        if self.unread.end == self.buffer.len() {
            let larger = (self.buffer.len() * 2).min(BadRecord::LONGEST + CHUNK);
            self.buffer.reserve_exact(larger - self.buffer.len());
            self.buffer.resize(larger, 0);
        }
        let read = self.read_at(self.unread.end)?;
        self.unread.end += read;
        Ok(read > 0)
    }

    fn read_at(&mut self, start: usize) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        loop {
            match self.from.read(&mut self.buffer[start..]) {
                Ok(read) => {
                    self.ended = read == 0;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity()
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("line", &self.line).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `total` bytes, all `x`, a few at a time, then `rest`.
    struct Long {
        total: usize,
        rest: &'static [u8],
    }

    impl Read for Long {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.total > 0 {
                let read = buffer.len().min(self.total).min(100_003);
                buffer[..read].fill(b'x');
                self.total -= read;
                return Ok(read);
            }
            let read = buffer.len().min(self.rest.len());
            buffer[..read].copy_from_slice(&self.rest[..read]);
            self.rest = &self.rest[read..];
            Ok(read)
        }
    }

    #[test]
    fn a_line_of_50_mb_takes_bounded_memory_and_the_next_is_read() {
        let mut lines = Lines::new(Box::new(Long { total: 50_000_000, rest: b"\n{\"a\":1}\n{\"a\":2}" }));
        assert!(lines.advance().unwrap());
        let bad = lines.body().unwrap_err();
        assert_eq!(bad.class, super::super::BadClass::TooLong);
        assert_eq!(bad.excerpt, vec![b'x'; BadRecord::EXCERPT]);
        assert_eq!(lines.line(), 1);
        assert!(lines.advance().unwrap());
        assert_eq!(lines.body().unwrap(), b"{\"a\":1}");
        assert_eq!(lines.line(), 2);
        assert!(lines.advance().unwrap());
        assert_eq!(lines.body().unwrap(), b"{\"a\":2}");
        assert!(!lines.advance().unwrap());
        assert!(!lines.advance().unwrap());
        assert!(lines.memory() <= BadRecord::LONGEST + CHUNK, "{}", lines.memory());
    }

    #[test]
    fn the_longest_line_is_whole_and_one_more_byte_is_too_long() {
        let check = |total: usize, rest: &'static [u8], whole: bool| {
            let mut lines = Lines::new(Box::new(Long { total, rest }));
            assert!(lines.advance().unwrap());
            assert_eq!(lines.body().map(<[u8]>::len).ok(), whole.then_some(total), "{total} {rest:?}");
            assert_eq!(lines.advance().unwrap(), rest.ends_with(b"{}"));
        };
        for rest in [&b""[..], b"\n{}", b"\r\n{}"] {
            check(BadRecord::LONGEST, rest, true);
            check(BadRecord::LONGEST + 1, rest, false);
            check(BadRecord::LONGEST + 2, rest, false);
        }
    }
}
