//! The last lines of a log, for the terminal.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::text;

/// Bytes that are read from a log's end: enough for 20 lines of any tool, and no burden when a log has gigabytes.
const READ_MAX: u64 = 64 * 1024;

/// The end of a log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The last lines, without control characters.
    pub(crate) lines: Vec<String>,
    /// Whether there is more before them.
    pub(crate) more: bool,
}

/// Reads at most `lines_max` lines from the end of a log. One that is not there has none: a job without output makes no
/// file.
pub(crate) fn tail(log: &Path, lines_max: usize) -> io::Result<Tail> {
    let mut file = match File::open(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Tail { lines: Vec::new(), more: false });
        }
        opened => opened?,
    };
    let size = file.metadata()?.len();
    let start = size.saturating_sub(READ_MAX);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.trim_end().lines().collect();
    if start > 0 && lines.len() > 1 {
        // The first one has lost its beginning.
        lines.remove(0);
    }
    let first = lines.len().saturating_sub(lines_max);
    Ok(Tail {
        more: first > 0 || start > 0,
        lines: lines[first..].iter().map(|line| text::clean(line)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(bytes: &[u8], lines_max: usize) -> Tail {
        let log = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(log.path(), bytes).unwrap();
        tail(log.path(), lines_max).unwrap()
    }

    #[test]
    fn only_the_end_is_read() {
        assert_eq!(tail_of(b"", 20), Tail { lines: vec![], more: false });
        assert_eq!(tail_of(b"one\ntwo\n", 20), Tail { lines: vec!["one".into(), "two".into()], more: false });
        assert_eq!(
            tail_of(b"one\ntwo\nthree", 2),
            Tail { lines: vec!["two".into(), "three".into()], more: true }
        );
        let long = "x".repeat(50).repeat(4000) + "\nlast\n";
        assert_eq!(tail_of(long.as_bytes(), 20), Tail { lines: vec!["last".into()], more: true });
    }

    #[test]
    fn a_job_without_output_has_no_log() {
        let none = Tail { lines: vec![], more: false };
        assert_eq!(tail(Path::new("/nowhere/x.log"), 20).unwrap(), none);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        assert_eq!(tail_of(b"\xff\x1b[2Jx\n", 20).lines, ["\u{fffd}x"]);
    }
}
