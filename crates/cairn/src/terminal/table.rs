//! Columns without borders, that fit the width.

use anstyle::Style;

use super::Stream;
use super::text;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// What stands above it.
    pub(crate) title: &'static str,
    /// Whether it gives way when the width does not suffice: the last such column is cut first.
    pub(crate) gives: bool,
    /// Whether its cells end at the right.
    pub(crate) right: bool,
}

impl Column {
    /// A column that keeps its width.
    pub(crate) const fn new(title: &'static str) -> Self {
        Self { title, gives: false, right: false }
    }

    /// A column of numbers.
    pub(crate) const fn right(title: &'static str) -> Self {
        Self { right: true, ..Self::new(title) }
    }

    /// A column of long texts.
    pub(crate) const fn giving(title: &'static str) -> Self {
        Self { gives: true, ..Self::new(title) }
    }
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A plain cell.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    /// A coloured cell.
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// Columns a giving column keeps at least.
const GIVING_MIN: usize = 8;
/// Between two columns.
const GAP: usize = 2;

/// Lays out `rows` under their titles, each line ending with a line feed. Rows must have a cell for each column.
pub(crate) fn table(columns: &[Column], rows: &[Vec<Cell>], stream: Stream) -> String {
    let mut widths: Vec<usize> = columns.iter().map(|column| text::width(column.title)).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(text::width(&cell.text));
        }
    }
    if let Some(room) = stream.columns() {
        let total: usize = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        let mut excess = total.saturating_sub(room);
        for (width, _) in widths.iter_mut().zip(columns).rev().filter(|(_, column)| column.gives) {
            let cut = excess.min(width.saturating_sub(GIVING_MIN));
            *width -= cut;
            excess -= cut;
        }
    }
    let titles = columns.iter().map(|column| Cell::styled(column.title, super::style::DIM)).collect();
    let mut out = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let cells = row.iter().zip(columns).zip(&widths).map(|((cell, column), width)| {
            let cut = if column.gives { text::truncate(&cell.text, *width) } else { cell.text.clone() };
            let padding = " ".repeat(width.saturating_sub(text::width(&cut)));
            let painted = stream.paint.with(cell.style, &cut);
            if column.right { padding + &painted } else { painted + &padding }
        });
        let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(width: Option<usize>) -> String {
        let columns =
            [Column::new("RUN"), Column::giving("PIPELINE"), Column::right("TOOK"), Column::giving("REASON")];
        let row = |cells: [&str; 4]| cells.map(Cell::new).to_vec();
        let rows = [
            row(["1a2b3c4d", "flights", "12.3 s", "input `data/flights-2013.csv.gz` changed"]),
            row(["99aabbcc", "a-pipeline-of-a-long-name", "0.04 s", ""]),
        ];
        table(&columns, &rows, Stream::fixed(width, false))
    }

    #[test]
    fn columns_are_aligned() {
        insta::assert_snapshot!(draw(None), @r"
        RUN       PIPELINE                     TOOK  REASON
        1a2b3c4d  flights                    12.3 s  input `data/flights-2013.csv.gz` changed
        99aabbcc  a-pipeline-of-a-long-name  0.04 s
        ");
    }

    #[test]
    fn long_texts_give_way_the_last_first() {
        insta::assert_snapshot!(draw(Some(60)), @r"
        RUN       PIPELINE                     TOOK  REASON
        1a2b3c4d  flights                    12.3 s  input `data/fl…
        99aabbcc  a-pipeline-of-a-long-name  0.04 s
        ");
        insta::assert_snapshot!(draw(Some(40)), @r"
        RUN       PIPELINE        TOOK  REASON
        1a2b3c4d  flights       12.3 s  input `…
        99aabbcc  a-pipeline-…  0.04 s
        ");
    }
}
