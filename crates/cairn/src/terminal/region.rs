//! The lines at the bottom of a terminal that are drawn again and again, with finished text scrolling away above them.
//!
//! indicatif was tried first: it fills each line with spaces up to the right margin, so that a window made narrower
//! wraps them all; its count of rows is then wrong, old lines stay behind and finished ones are lost. Here lines end
//! where their text ends, and the rows to erase are counted anew for the width there is now.

use std::fmt::Write as _;

use super::text;

/// The lines that are on the screen now.
#[derive(Debug, Default)]
pub(crate) struct Region {
    /// The columns that each of them takes.
    drawn: Vec<usize>,
}

/// Begins and ends an update that the terminal shows all at once, where it knows how; others pass it over.
/// (<https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036>)
const SYNC_BEGIN: &str = "\u{1b}[?2026h";
const SYNC_END: &str = "\u{1b}[?2026l";

impl Region {
    /// Returns what to write so that `above` scrolls away (whole lines) and `lines` are drawn below it in place of
    /// the ones before. The cursor stands at the start of the line below them, then as now. `columns` and `rows` are
    /// those of the terminal; lines must be shorter than `columns` and fewer than `rows`.
    pub(crate) fn draw(&mut self, above: &str, lines: &[String], columns: usize, rows: usize) -> String {
        let mut out = String::from(SYNC_BEGIN);
        self.erase(&mut out, columns, rows);
        out.push_str(above);
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(SYNC_END);
        self.drawn =
            lines.iter().map(|line| text::width(&anstream::adapter::strip_str(line).to_string())).collect();
        out
    }

    fn erase(&self, out: &mut String, columns: usize, rows: usize) {
        let taken: usize = self.drawn.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum();
        // What has left the screen at the top cannot be reached.
        let up = taken.min(rows.saturating_sub(1));
        if up > 0 {
            write!(out, "\u{1b}[{up}A").expect("a String takes all");
        }
        if !self.drawn.is_empty() {
            out.push_str("\r\u{1b}[J");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visible(text: &str) -> String {
        text.replace(SYNC_BEGIN, "").replace(SYNC_END, "").replace('\u{1b}', "^")
    }

    #[test]
    fn lines_are_erased_and_drawn_below_what_scrolls_away() {
        let mut region = Region::default();
        let lines = ["\u{1b}[34ma\u{1b}[0m".to_owned(), "b".to_owned()];
        assert_eq!(visible(&region.draw("", &lines, 80, 24)), "^[34ma^[0m\nb\n");
        assert_eq!(visible(&region.draw("done\n", &lines[1..], 80, 24)), "^[2A\r^[Jdone\nb\n");
        assert_eq!(visible(&region.draw("", &[], 80, 24)), "^[1A\r^[J");
        assert_eq!(visible(&region.draw("", &[], 80, 24)), "");
    }

    #[test]
    fn a_narrower_window_has_wrapped_the_lines() {
        let mut region = Region::default();
        region.draw("", &["x".repeat(50), "y".repeat(10)], 80, 24);
        assert_eq!(visible(&region.draw("", &[], 20, 24)), "^[4A\r^[J");
        region.draw("", &["x".repeat(79)], 80, 24);
        assert_eq!(visible(&region.draw("", &[], 20, 3)), "^[2A\r^[J", "no further than the screen reaches");
    }
}
