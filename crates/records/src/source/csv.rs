//! Rows of a CSV file as JSON objects, every value a text.

use std::fmt;
use std::io::{self, Read};

use cairn_model::ProjectPath;
use csv_core::ReadRecordResult;

use super::lines::MARK;
use super::opened::Bytes;
use super::{BadClass, BadRecord, Position, SourceError};

const CHUNK: usize = 1 << 16;

pub(super) struct Rows {
    from: Bytes,
    parser: csv_core::Reader,
    input: Vec<u8>,
    unread: std::ops::Range<usize>,
    ended: bool,
    /// Bytes that were read from the file.
    bytes: u64,
    /// Lines that were passed.
    lines: u64,
    /// The row's fields one after the other, and where each ends.
    fields: Vec<u8>,
    ends: Vec<usize>,
    row: Row,
    /// `"name":` of each column.
    columns: Vec<Vec<u8>>,
    json: Vec<u8>,
    /// The row's first bytes as far as they are no longer in `input`.
    passed: Vec<u8>,
}

/// What is known of the current row beside its fields.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// The line it begins on.
    line: u64,
    /// Where in `input` it begins, or goes on behind `passed`, and ends.
    start: usize,
    end: usize,
    length: usize,
    count: usize,
    too_long: bool,
    unclosed: bool,
}

impl Rows {
    pub(super) fn new(path: &ProjectPath, from: Bytes) -> Result<Self, SourceError> {
        let mut rows = Self {
            from,
            parser: csv_core::Reader::new(),
            input: vec![0; CHUNK],
            unread: 0..0,
            ended: false,
            bytes: 0,
            lines: 0,
            fields: vec![0; CHUNK],
            ends: vec![0; 64],
            row: Row::default(),
            columns: Vec::new(),
            json: Vec::new(),
            passed: Vec::new(),
        };
        rows.read_header(path)?;
        Ok(rows)
    }

    pub(super) fn line(&self) -> u64 {
        self.row.line
    }

    fn read_header(&mut self, path: &ProjectPath) -> Result<(), SourceError> {
        let failed = |what: &str| SourceError::Header { path: path.clone(), what: what.to_owned() };
        while self.unread.len() < MARK.len() && self.fill().map_err(|error| self.error(path, error))? {}
        if self.input[self.unread.clone()].starts_with(MARK) {
            self.unread.start += MARK.len();
        }
        if !self.advance(path)? {
            return Ok(());
        }
        if self.row.too_long {
            return Err(failed("is longer than 16 MiB"));
        }
        if self.row.unclosed {
            return Err(failed("has a quote that is not closed"));
        }
        let mut names = std::collections::HashSet::new();
        let mut columns = Vec::new();
        for index in 0..self.row.count {
            let name = std::str::from_utf8(self.field(index)).map_err(|_| failed("is not UTF-8"))?;
            if !names.insert(name) {
                return Err(failed(&format!("names the column `{name}` twice")));
            }
            let mut column = serde_json::to_vec(name).expect("a text is JSON");
            column.push(b':');
            columns.push(column);
        }
        self.columns = columns;
        Ok(())
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.fields[start..self.ends[index]]
    }

    /// Goes to the next row that is not an empty line; false after the last.
    pub(super) fn advance(&mut self, path: &ProjectPath) -> Result<bool, SourceError> {
        self.read_row().map_err(|error| self.error(path, error))
    }

    fn read_row(&mut self) -> io::Result<bool> {
        if !self.pass_line_ends()? {
            return Ok(false);
        }
        self.row = Row { line: self.lines + 1, start: self.unread.start, ..Row::default() };
        self.passed.clear();
        let (mut length, mut count) = (0, 0);
        loop {
            if self.unread.is_empty() {
                let room = BadRecord::EXCERPT.saturating_sub(self.passed.len());
                let rest = &self.input[self.row.start..self.unread.start];
                self.passed.extend_from_slice(&rest[..rest.len().min(room)]);
                self.row.start = 0;
            }
            let at_end = self.unread.is_empty() && !self.fill()?;
            // One line end more ends the last row; only within quotes it does not. Nothing then says that the file ends.
            let input = match (at_end, self.row.unclosed) {
                (false, _) => &self.input[self.unread.clone()],
                (true, false) => b"\n",
                (true, true) => b"",
            };
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut self.fields[length..], &mut self.ends[count..]);
            length += written;
            count += ended;
            if at_end {
                self.row.unclosed |= read > 0 && matches!(result, ReadRecordResult::InputEmpty);
            } else {
                self.lines += memchr::memchr_iter(b'\n', &input[..read]).count() as u64;
                self.unread.start += read;
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.fields.len() < BadRecord::LONGEST => {
                    self.fields.resize((self.fields.len() * 2).min(BadRecord::LONGEST), 0);
                }
                ReadRecordResult::OutputFull => {
                    // The start stays for the excerpt.
                    self.row.too_long = true;
                    length = BadRecord::EXCERPT;
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < BadRecord::LONGEST / 4 => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    self.row.too_long = true;
                    count = 0;
                }
                ReadRecordResult::Record => {
                    self.row.length = length;
                    self.row.count = count;
                    self.row.end = self.unread.start;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// Passes the ends of lines before a row, so that its line is known; false at the end of the file.
    fn pass_line_ends(&mut self) -> io::Result<bool> {
        loop {
            if self.unread.is_empty() && !self.fill()? {
                return Ok(false);
            }
            match self.input[self.unread.start] {
                b'\n' => self.lines += 1,
                b'\r' => {}
                _ => return Ok(true),
            }
            self.unread.start += 1;
        }
    }

    /// Reads more once all is used, or behind it before anything is.
    fn fill(&mut self) -> io::Result<bool> {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        while !self.ended {
            match self.from.read(&mut self.input[self.unread.end..]) {
                Ok(read) => {
                    self.ended = read == 0;
                    self.unread.end += read;
                    self.bytes += read as u64;
                    return Ok(read > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn error(&self, path: &ProjectPath, error: io::Error) -> SourceError {
        SourceError::from_io(path, Position::Text { lines: self.lines, bytes: self.bytes }, error)
    }

    /// Returns the current row as it stands in the file, or its first bytes.
    fn as_written(&self) -> Vec<u8> {
        let mut row = self.passed.clone();
        row.extend_from_slice(self.input.get(self.row.start..self.row.end).unwrap_or_default());
        let length = row.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        row.truncate(length);
        row
    }

    /// Returns the current row as a JSON object.
    pub(super) fn body(&mut self) -> Result<&[u8], BadRecord> {
        let Row { length, count, too_long, unclosed, .. } = self.row;
        let fields = &self.fields[..length];
        if too_long {
            return Err(BadRecord::too_long(fields)
                .help("look for a quote that is not closed: all that follows it is one value"));
        }
        if unclosed {
            let error = "the file ends within a quote that this row opens";
            return Err(BadRecord::new(BadClass::Row, error, &self.as_written())
                .help("close the quote; a quote within quotes is written twice"));
        }
        if count != self.columns.len() {
            let error = format!("the row has {count} fields, the header {}", self.columns.len());
            return Err(BadRecord::new(BadClass::Row, error, &self.as_written())
                .help("put quotes around values that hold commas, quotes or line ends"));
        }
        BadRecord::check_text(fields)?;
        self.json.clear();
        let mut start = 0;
        for (column, end) in self.columns.iter().zip(&self.ends[..count]) {
            self.json.push(if start == 0 && self.json.is_empty() { b'{' } else { b',' });
            self.json.extend_from_slice(column);
            // A cut within a character makes two broken fields of one good row.
            let Ok(value) = std::str::from_utf8(&self.fields[start..*end]) else {
                return Err(BadRecord::new(BadClass::Encoding, "a field of the row is not UTF-8", fields));
            };
            serde_json::to_writer(&mut self.json, value).expect("a text is JSON");
            start = *end;
        }
        self.json.push(b'}');
        Ok(&self.json)
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").field("row", &self.row).finish_non_exhaustive()
    }
}
