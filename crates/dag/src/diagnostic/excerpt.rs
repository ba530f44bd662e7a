//! The few lines of a file that a picture shows, and never more of a line than fits.

use std::ops::Range;

/// Bytes of a line that is shown whole.
const WHOLE_MAX: usize = 400;
/// Bytes shown on either side of a mark in a longer line.
const MARGIN: usize = 100;
/// Bytes of a mark that are shown in a longer line.
const MARK_MAX: usize = 160;

/// A file cut into lines.
pub(super) struct Lines<'a> {
    bytes: &'a [u8],
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let breaks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        Self { bytes, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Returns the number of the line in which a byte stands, from 0.
    pub(super) fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// Returns a line's bytes without its break.
    fn range(&self, number: usize) -> Range<usize> {
        let start = self.starts[number];
        let end = self.starts.get(number + 1).map_or(self.bytes.len(), |next| next - 1);
        let end = if self.bytes[start..end].ends_with(b"\r") { end - 1 } else { end };
        start..end
    }
}

/// Lines of a file as they are shown, long ones cut around the marks.
pub(super) struct Excerpt {
    pub text: String,
    /// The first line's number, from 1.
    pub first_line: usize,
    /// Whether a line with a mark begins in its middle.
    pub is_cut: bool,
    /// Pieces of the file and where they begin in `text`, in order.
    pieces: Vec<(Range<usize>, usize)>,
}

impl Excerpt {
    /// Takes the lines from the first mark to the last.
    pub(super) fn new(lines: &Lines<'_>, marks: &[Range<usize>]) -> Self {
        let first = marks.iter().map(|mark| lines.number(mark.start)).min().unwrap_or(0);
        let last = marks.iter().map(|mark| lines.number(mark.start)).max().unwrap_or(0);
        let mut excerpt =
            Self { text: String::new(), first_line: first + 1, is_cut: false, pieces: Vec::new() };
        for number in first..=last {
            let line = lines.range(number);
            if line.len() <= WHOLE_MAX {
                excerpt.push(lines.bytes, line);
            } else {
                excerpt.push_cut(lines.bytes, &line, marks);
            }
            excerpt.text.push('\n');
        }
        excerpt
    }

    /// Returns where a mark is in the text: only its first line, and what of it is shown.
    pub(super) fn place(&self, mark: &Range<usize>) -> Range<usize> {
        let start = self.place_of(mark.start);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        start..self.place_of(mark.end).clamp(start, line_end)
    }

    /// Returns the line and column, from 1, that a picture of the text says of a mark.
    pub(super) fn shown_place(&self, mark: &Range<usize>) -> (usize, usize) {
        let before = &self.text[..self.place_of(mark.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.first_line + before.matches('\n').count();
        (line, before[line_start..].chars().count() + 1)
    }

    fn place_of(&self, at: usize) -> usize {
        let after = self.pieces.partition_point(|(piece, _)| piece.start <= at);
        let Some((piece, start)) = self.pieces[..after].last() else { return 0 };
        start + (at - piece.start).min(piece.len())
    }

    /// Adds what is around the marks of one line.
    fn push_cut(&mut self, bytes: &[u8], line: &Range<usize>, marks: &[Range<usize>]) {
        let own = marks.iter().filter(|mark| line.start <= mark.start && mark.start <= line.end);
        let mut windows: Vec<Range<usize>> = own
            .map(|mark| {
                let end = mark.end.min(mark.start + MARK_MAX) + MARGIN;
                mark.start.saturating_sub(MARGIN).max(line.start)..end.min(line.end)
            })
            .collect();
        if windows.is_empty() {
            windows.push(line.start..line.start + MARGIN);
        }
        windows.sort_by_key(|window| window.start);
        self.is_cut |= windows[0].start > line.start;
        let mut done = line.start;
        for window in windows {
            let start = boundary(bytes, window.start.max(done));
            let end = boundary(bytes, window.end);
            if end <= start {
                continue;
            }
            if start > done {
                self.text.push('…');
            }
            self.push(bytes, start..end);
            done = end;
        }
        if done < line.end {
            self.text.push('…');
        }
    }

    /// Adds bytes as they are; those that are no UTF-8 become `�`.
    fn push(&mut self, bytes: &[u8], range: Range<usize>) {
        let mut at = range.start;
        if range.is_empty() {
            self.pieces.push((range, self.text.len()));
            return;
        }
        for chunk in bytes[range].utf8_chunks() {
            let valid = chunk.valid();
            self.pieces.push((at..at + valid.len(), self.text.len()));
            self.text.push_str(valid);
            at += valid.len();
            if !chunk.invalid().is_empty() {
                self.pieces.push((at..at + chunk.invalid().len(), self.text.len()));
                self.text.push(char::REPLACEMENT_CHARACTER);
                at += chunk.invalid().len();
                self.pieces.push((at..at, self.text.len()));
            }
        }
    }
}

/// Moves back to where a character begins.
fn boundary(bytes: &[u8], mut at: usize) -> usize {
    while at > 0 && bytes.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_lines_are_whole_and_marks_stay_on_their_words() {
        let bytes = b"one\r\ntwo words\nthree\n";
        let excerpt = Excerpt::new(&Lines::new(bytes), &[9..14, 15..20]);
        assert_eq!((excerpt.text.as_str(), excerpt.first_line), ("two words\nthree\n", 2));
        assert_eq!(&excerpt.text[excerpt.place(&(9..14))], "words");
        assert_eq!(&excerpt.text[excerpt.place(&(15..20))], "three");
    }

    #[test]
    fn a_mark_of_several_lines_is_cut_to_its_first() {
        let excerpt = Excerpt::new(&Lines::new(b"a = [\n1,\n]\n"), std::slice::from_ref(&(4..10)));
        assert_eq!(&excerpt.text[excerpt.place(&(4..10))], "[");
    }

    #[test]
    fn long_lines_are_cut_around_each_mark() {
        let line = format!("{}BAD{}WORSE{}", "ä".repeat(100_000), "x".repeat(100_000), "y".repeat(100_000));
        let (bad, worse) = (line.find("BAD").unwrap(), line.find("WORSE").unwrap());
        let marks = [bad..bad + 3, worse..worse + 5];
        let excerpt = Excerpt::new(&Lines::new(line.as_bytes()), &marks);
        assert!(excerpt.text.len() < 1_000, "{}", excerpt.text.len());
        assert_eq!(&excerpt.text[excerpt.place(&marks[0])], "BAD");
        assert_eq!(&excerpt.text[excerpt.place(&marks[1])], "WORSE");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let bytes = b"name = \"caf\xe9 au lait\"";
        let excerpt = Excerpt::new(&Lines::new(bytes), std::slice::from_ref(&(11..12)));
        assert_eq!(excerpt.text, "name = \"caf\u{fffd} au lait\"\n");
        assert_eq!(&excerpt.text[excerpt.place(&(11..12))], "\u{fffd}");
        assert_eq!(&excerpt.text[excerpt.place(&(13..15))], "au");
    }
}
