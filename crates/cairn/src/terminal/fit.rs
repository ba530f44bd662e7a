//! The columns of a progress line: outcome, instance, duration, reason.

use anstyle::Style;

use super::style::{self, Paint};
use super::text;

/// Where the columns stand: settled once a run, so that its lines form a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fit {
    /// Columns of the terminal, `None` when nothing limits a line.
    pub(crate) columns: Option<usize>,
    /// Columns for the instance's name.
    name: usize,
    /// Columns for the duration.
    took: usize,
}

/// Indent of a line.
const INDENT: usize = 2;
/// Columns for the longest outcome, `RESTORED`, and two spaces.
const WORD: usize = 10;
/// Columns that a reason needs to stand beside the rest; with fewer it goes below.
const REASON_MIN: usize = 20;
/// Columns for the longest name that others are aligned with.
const NAME_MAX: usize = 32;

/// One line's contents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// `RAN`, `running`, …
    pub(crate) word: &'a str,
    /// The word's style.
    pub(crate) style: Style,
    /// The instance's name.
    pub(crate) name: &'a str,
    /// Its duration, empty when there is none to tell.
    pub(crate) took: &'a str,
    /// The reason.
    pub(crate) reason: &'a str,
    /// Whether the whole line matters less.
    pub(crate) dim: bool,
}

impl Fit {
    /// Settles the columns for `names`, the longest of which is expected to take `longest_ms`.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a str>, longest_ms: u64) -> Self {
        let name = names.map(text::width).max().unwrap_or(0).clamp(8, NAME_MAX);
        Self { columns: None, name, took: if longest_ms < 59_950 { 6 } else { 10 } }
    }

    /// Returns the same columns in a terminal that is `columns` wide.
    pub(crate) fn within(self, columns: Option<usize>) -> Self {
        Self { columns, ..self }
    }

    /// Returns the column in which reasons begin, `None` when they go below because there is no room beside.
    fn reason_column(self) -> Option<usize> {
        let column = INDENT + WORD + self.name + 2 + self.took + 2;
        self.columns.is_none_or(|columns| column + REASON_MIN <= columns).then_some(column)
    }

    /// Lays out a line that may become several, each ending with a line feed: nothing is cut off.
    pub(crate) fn full(self, line: &Line<'_>, paint: Paint) -> String {
        let mut out = self.head(line, paint);
        let (indent, reasons) = match (self.reason_column(), self.columns) {
            (Some(column), Some(columns)) => (column, text::wrap(line.reason, columns - column)),
            (Some(column), None) => (column, line.reason.lines().map(str::to_owned).collect()),
            (None, columns) => {
                out.truncate(out.trim_end().len());
                out.push('\n');
                let indent = INDENT + 2;
                (indent, text::wrap(line.reason, columns.unwrap_or(80).saturating_sub(indent)))
            }
        };
        for (at, reason) in reasons.iter().enumerate() {
            if at > 0 || self.reason_column().is_none() {
                out.push_str(&" ".repeat(indent));
            }
            out.push_str(&dimmed(line.dim, reason, paint));
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        if reasons.is_empty() {
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        out
    }

    /// Lays out one line that is cut to fit and has no line feed.
    pub(crate) fn cut(self, line: &Line<'_>, paint: Paint) -> String {
        let (Some(columns), Some(column)) = (self.columns, self.reason_column()) else {
            let columns = self.columns.unwrap_or(80);
            let beside = |took: usize| columns.saturating_sub(INDENT + WORD + 2 + took + 1);
            // Where there is not even room for a few letters of the name, the duration goes.
            let (took, room) =
                if beside(self.took) < 6 { (0, beside(0)) } else { (self.took, beside(self.took)) };
            let shown = if took == 0 { "" } else { line.took };
            let line = Line { name: &text::truncate(line.name, room), took: shown, ..*line };
            return Self { name: self.name.min(room), took, ..self }.head(&line, paint).trim_end().to_owned();
        };
        let line = Line { name: &text::truncate(line.name, self.name), ..*line };
        // The last column stays free: some terminals wrap when it is filled.
        let reason = text::truncate(line.reason, columns - column - 1);
        format!("{}{}", self.head(&line, paint), dimmed(true, &reason, paint)).trim_end().to_owned()
    }

    /// Lays out text that belongs to the line above it: under the name, or indented where there is little room.
    pub(crate) fn below(self, lead: &str, text_below: &str, style: Style, paint: Paint) -> String {
        let indent = self.below_indent();
        let room = self.columns.map(|columns| columns.saturating_sub(indent + text::width(lead)));
        let lines = match room {
            Some(room) => text::wrap(text_below, room),
            None => text_below.lines().map(str::to_owned).collect(),
        };
        let mut out = String::new();
        for (at, line) in lines.iter().enumerate() {
            let lead = if at == 0 { lead.to_owned() } else { " ".repeat(text::width(lead)) };
            let line =
                format!("{}{}{}", " ".repeat(indent), paint.with(style::DIM, &lead), paint.with(style, line));
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Lays out one line of a command's output below a line: cut to fit, since output is read by its beginning.
    pub(crate) fn below_cut(self, lead: &str, output: &str, paint: Paint) -> String {
        let indent = self.below_indent();
        let room = self.columns.map(|columns| columns.saturating_sub(indent + text::width(lead)));
        let output = room.map_or_else(|| output.to_owned(), |room| text::truncate(output, room));
        let line = format!("{}{}{output}", " ".repeat(indent), paint.with(style::DIM, lead));
        format!("{}\n", line.trim_end())
    }

    fn below_indent(self) -> usize {
        if self.reason_column().is_some() { INDENT + WORD } else { INDENT + 2 }
    }

    fn head(self, line: &Line<'_>, paint: Paint) -> String {
        let word = paint.with(line.style, line.word);
        let gap = " ".repeat(WORD.saturating_sub(text::width(line.word)));
        let name = dimmed(line.dim, &text::pad(line.name, self.name), paint);
        let took = dimmed(line.dim, &text::pad_left(line.took, self.took), paint);
        format!("{}{word}{gap}{name}  {took}  ", " ".repeat(INDENT))
    }
}

fn dimmed(dim: bool, text: &str, paint: Paint) -> String {
    if dim { paint.with(style::DIM, text) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Outcome;

    fn line<'a>(name: &'a str, reason: &'a str) -> Line<'a> {
        let style = style::outcome(Outcome::Ran);
        Line { word: "RAN", style, name, took: "0.42 s", reason, dim: false }
    }

    fn full(columns: Option<usize>, reason: &str) -> String {
        let fit = Fit::new(["clean", "by-carrier[UA]"].into_iter(), 0).within(columns);
        fit.full(&line("clean", reason), Paint::new(false))
    }

    #[test]
    fn a_pipe_limits_nothing() {
        let reason =
            "input `data/a-rather-long-name.csv` changed, input `data/another-long-name.csv` changed";
        assert_eq!(full(None, reason), format!("  RAN       clean           0.42 s  {reason}\n"));
        assert_eq!(full(None, ""), "  RAN       clean           0.42 s\n");
    }

    #[test]
    fn a_long_reason_goes_on_below_its_column() {
        insta::assert_snapshot!(full(Some(60), "input `data/raw.csv` changed, and 2 more"), @r"
          RAN       clean           0.42 s  input `data/raw.csv`
                                            changed, and 2 more
        ");
    }

    #[test]
    fn in_a_narrow_window_the_reason_goes_to_the_next_line() {
        let text = full(Some(40), "input `data/raw.csv` changed, and 2 more");
        assert!(text.lines().all(|line| text::width(line) <= 40), "{text}");
        insta::assert_snapshot!(text, @r"
          RAN       clean           0.42 s
            input `data/raw.csv` changed, and 2
            more
        ");
    }

    #[test]
    fn a_cut_line_is_one_line_and_fits_at_any_width() {
        let fit = Fit::new(["clean", "by-carrier[UA]", &"x".repeat(90)].into_iter(), 70_000);
        for columns in 20..140 {
            for name in ["clean", &"x".repeat(90)] {
                let cut = fit.within(Some(columns)).cut(&line(name, &"why ".repeat(40)), Paint::new(false));
                assert!(text::width(&cut) < columns, "{columns}: {cut}");
                assert!(!cut.contains('\n'), "{cut}");
            }
        }
    }
}
