//! Where two files first differ.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::finding::Position;

/// Bytes of a line that are shown.
const SHOWN_MAX: usize = 120;
/// Bytes of a line that are remembered while a difference is looked for.
const LINE_MAX: usize = 64 * 1024;
/// Bytes of binary files that are shown.
const BINARY_SHOWN: usize = 16;
/// Files up to this size are compared as a whole, for a guess of the cause.
const WHOLE_MAX: u64 = 4 * 1024 * 1024;

/// Where two files first differ, and what is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Apart {
    pub(super) position: Position,
    /// The line in the first, or its bytes in hexadecimal.
    pub(super) left: String,
    pub(super) right: String,
    /// Both lines whole, where they are text.
    pub(super) lines: Option<(String, String)>,
}

/// Compares two files; `None` when they are the same.
pub(super) fn first_apart(left: &Path, right: &Path) -> io::Result<Option<Apart>> {
    let (mut left, mut right) = (BufReader::new(File::open(left)?), BufReader::new(File::open(right)?));
    let (mut offset, mut line) = (0_u64, 1_u64);
    let mut current = Vec::new();
    let mut cut = false;
    let (first, second) = loop {
        let (one, other) = (next(&mut left)?, next(&mut right)?);
        match (one, other) {
            (None, None) => return Ok(None),
            (Some(one), Some(other)) if one == other => {
                offset += 1;
                if one == b'\n' {
                    line += 1;
                    current.clear();
                    cut = false;
                } else if current.len() < LINE_MAX {
                    current.push(one);
                } else {
                    cut = true;
                }
            }
            (one, other) => break (one, other),
        }
    };
    let rest = |first: Option<u8>, from: &mut BufReader<File>| -> io::Result<Vec<u8>> {
        let mut bytes: Vec<u8> = first.into_iter().collect();
        let size = u64::try_from(LINE_MAX - bytes.len()).expect("it is small");
        from.take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let (left, right) = (rest(first, &mut left)?, rest(second, &mut right)?);
    let whole = |rest: &[u8]| {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let bytes: Vec<u8> = current.iter().chain(&rest[..end]).copied().collect();
        String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
    };
    if !cut && let (Some(one), Some(other)) = (whole(&left), whole(&right)) {
        let at = current.len();
        let shown = |line: &str, rest: &[u8]| {
            if rest.is_empty() && line.is_empty() { "nothing more".to_owned() } else { around(line, at) }
        };
        return Ok(Some(Apart {
            position: Position::Line(line),
            left: shown(&one, &left),
            right: shown(&other, &right),
            lines: Some((one, other)),
        }));
    }
    Ok(Some(Apart {
        position: Position::Offset(offset),
        left: hexadecimal(&left),
        right: hexadecimal(&right),
        lines: None,
    }))
}

fn next(from: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match from.read(&mut byte) {
            Ok(read) => return Ok((read == 1).then_some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the part of a line around byte `at`.
fn around(line: &str, at: usize) -> String {
    if line.len() <= SHOWN_MAX {
        return line.to_owned();
    }
    let (mut start, mut end) = (at.saturating_sub(SHOWN_MAX / 2), (at + SHOWN_MAX / 2).min(line.len()));
    while !line.is_char_boundary(start) {
        start -= 1;
    }
    while !line.is_char_boundary(end) {
        end += 1;
    }
    let (before, after) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
    format!("{before}{}{after}", &line[start..end])
}

fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing more".to_owned();
    }
    let shown: Vec<String> = bytes.iter().take(BINARY_SHOWN).map(|byte| format!("{byte:02x}")).collect();
    shown.join(" ") + if bytes.len() > BINARY_SHOWN { " …" } else { "" }
}

/// Returns both files as texts, where they are short enough.
pub(super) fn texts(left: &Path, right: &Path) -> Option<(String, String)> {
    let text = |path: &Path| {
        let size = std::fs::metadata(path).ok()?.len();
        (size <= WHOLE_MAX).then(|| std::fs::read_to_string(path).ok()).flatten()
    };
    Some((text(left)?, text(right)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use super::*;

    fn apart(left: &[u8], right: &[u8]) -> Option<(Position, String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("left"), left).unwrap();
        std::fs::write(path("right"), right).unwrap();
        first_apart(&path("left"), &path("right"))
            .unwrap()
            .map(|apart| (apart.position, apart.left, apart.right))
    }

    #[test]
    fn the_first_line_or_byte_that_differs_is_named() {
        let check = |left: &[u8], right: &[u8], position, one: &str, other: &str| {
            assert_eq!(apart(left, right), Some((position, one.to_owned(), other.to_owned())), "{left:?}");
        };
        assert_eq!(apart(b"a\nb\n", b"a\nb\n"), None);
        check(b"a\nb\nc\n", b"a\nx\nc\n", Position::Line(2), "b", "x");
        check(b"a\n", b"a\nb\n", Position::Line(2), "nothing more", "b");
        check(b"a\nbb", b"a\nb", Position::Line(2), "bb", "b");
        check(b"", b"a", Position::Line(1), "nothing more", "a");
        check(b"\x1f\x8b\x00\x01", b"\x1f\x8b\x00\x02", Position::Offset(3), "01", "02");
        check("é\n".as_bytes(), "è\n".as_bytes(), Position::Line(1), "é", "è");
        let (left, right) = ("x".repeat(500) + "1", "x".repeat(500) + "2");
        let (_, one, _) = apart(left.as_bytes(), right.as_bytes()).unwrap();
        assert!(one.starts_with('…') && one.ends_with('1') && one.len() < 80, "{one}");
    }
}
