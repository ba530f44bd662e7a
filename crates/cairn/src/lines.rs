//! Lines of standard input, as many at a time as have come: who writes slowly is answered at once, and memory is bounded.

use std::io::{self, Read};

/// Bytes that are read at once.
const READ: usize = 256 << 10;
/// Bytes of one line at most.
pub(crate) const LINE_MAX: usize = 16 << 20;

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinesError {
    /// The input cannot be read.
    #[error("standard input cannot be read")]
    Read(#[from] io::Error),
    /// A line is too long to be a record.
    #[error("line {line} of standard input is longer than {} MiB", LINE_MAX >> 20)]
    TooLong {
        /// Which, from 1.
        line: u64,
    },
}

/// Reads lines.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out.
    taken: usize,
    /// Lines that were handed out.
    number: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Reads from `from`, which need not be buffered.
    pub(crate) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), taken: 0, number: 0, ended: false }
    }

    /// Returns the lines that are there, at least one, each with its number from 1 and without its line feed; none at the
    /// end. Empty lines are left out.
    pub(crate) fn next(&mut self) -> Result<Vec<(u64, &[u8])>, LinesError> {
        loop {
            self.buffer.drain(..self.taken);
            self.taken = 0;
            self.fill()?;
            let whole = match self.buffer.iter().rposition(|byte| *byte == b'\n') {
                Some(last) => last + 1,
                None if self.ended => self.buffer.len(),
                None if self.buffer.len() > LINE_MAX => {
                    return Err(LinesError::TooLong { line: self.number + 1 });
                }
                None => continue,
            };
            self.taken = whole;
            let first = self.number;
            let found = self.buffer[..whole].iter().filter(|byte| **byte == b'\n').count() as u64;
            // What a last line lacks is its line feed.
            self.number += found + u64::from(whole > 0 && self.buffer[whole - 1] != b'\n');
            let text = self.buffer[..whole].strip_suffix(b"\n").unwrap_or(&self.buffer[..whole]);
            let any = text.iter().any(|byte| !byte.is_ascii_whitespace());
            if any || (whole == 0 && self.ended) {
                let lines = self.buffer[..whole].strip_suffix(b"\n").unwrap_or(&self.buffer[..whole]);
                let lines = lines.split(|byte| *byte == b'\n').zip(first + 1..);
                let lines = lines.map(|(line, number)| (number, line.strip_suffix(b"\r").unwrap_or(line)));
                return Ok(lines.filter(|(_, line)| !line.trim_ascii().is_empty()).collect());
            }
        }
    }

    /// Reads more, unless there is a whole line or the end.
    fn fill(&mut self) -> Result<(), LinesError> {
        if self.ended {
            return Ok(());
        }
        let before = self.buffer.len();
        self.buffer.resize(before + READ, 0);
        let read = loop {
            match self.from.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        self.ended = read? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(into.len());
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn all(text: &[u8], step: usize) -> Vec<(u64, String)> {
        let mut lines = Lines::new(Slow(text, step));
        let mut found = Vec::new();
        loop {
            let next = lines.next().unwrap();
            if next.is_empty() {
                return found;
            }
            let next =
                next.into_iter().map(|(number, line)| (number, String::from_utf8(line.to_vec()).unwrap()));
            found.extend(next);
        }
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let expect = [(1, "a"), (3, "bc"), (5, "d")].map(|(number, text)| (number, text.to_owned()));
        for step in 1..12 {
            assert_eq!(all(b"a\n\nbc\r\n \nd", step), expect, "{step}");
            assert_eq!(all(b"a\n\nbc\r\n \nd\n", step), expect, "{step}");
            assert_eq!(all(b"", step), []);
            assert_eq!(all(b"\n\n\n", step), []);
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::new(io::repeat(b'x'));
        assert!(matches!(lines.next(), Err(LinesError::TooLong { line: 1 })));
        assert!(lines.buffer.len() < LINE_MAX + 2 * READ);
    }
}
