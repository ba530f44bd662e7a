//! The picture for a terminal: a line for each stage, as `git log --graph` has one for each commit; time runs down.

use cairn_model::Outcome;

use super::lanes::{self, Cell};
use super::{Picture, Stage};
use crate::terminal::style::{self, Paint};
use crate::terminal::{Stream, text};
use cairn_scheduler::history::count_words;

/// Draws the picture, its labels in columns.
pub(super) fn draw(picture: &Picture, stream: Stream) -> String {
    let needs: Vec<Vec<usize>> = picture.stages.iter().map(|stage| stage.drawn_needs.clone()).collect();
    let rows = lanes::rows(&needs);
    let lanes = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let label = picture.stages.iter().map(|stage| text::width(&stage.label())).max().unwrap_or(0);
    let state = picture.stages.iter().map(|stage| text::width(&state(stage))).max().unwrap_or(0);
    let mut out = String::new();
    for (row, stage) in rows.iter().zip(&picture.stages) {
        let mut line = String::new();
        for (cell, joined) in row.cells.iter().zip(&row.joined) {
            line.push_str(&cell_text(*cell, stage, stream.paint));
            line.push_str(&stream.paint.with(style::DIM, if *joined { "─" } else { " " }));
        }
        line.push_str(&" ".repeat(2 * (lanes - row.cells.len()) + 1));
        line.push_str(&stream.paint.with(style::BOLD, &stage.label()));
        line.push_str(&" ".repeat(label - text::width(&stage.label()) + 2));
        if state > 0 {
            let words = self::state(stage);
            let style = stage.outcome().map_or(style::DIM, style::outcome);
            line.push_str(&stream.paint.with(style, &words));
            line.push_str(&" ".repeat(state - text::width(&words) + 2));
        }
        let taken = 2 * lanes + 1 + label + 2 + if state > 0 { state + 2 } else { 0 };
        let room = stream.columns().map_or(usize::MAX, |columns| columns.saturating_sub(taken));
        // A few letters of a description help nobody.
        if room >= 12 {
            line.push_str(&stream.paint.with(style::DIM, &text::truncate(&stage.description, room)));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How the stage ended: one word where all its instances agree.
fn state(stage: &Stage) -> String {
    let Some(counts) = stage.outcomes else { return String::new() };
    let words = count_words(&counts);
    match (words.as_slice(), stage.outcome()) {
        ([_], Some(outcome)) if counts.total() as usize == stage.instances => outcome.to_string(),
        _ => words.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join(", "),
    }
}

fn cell_text(cell: Cell, stage: &Stage, paint: Paint) -> String {
    let line = match cell {
        Cell::Node => {
            let style = stage.outcome().map_or(style::BOLD, style::outcome);
            return match stage.outcome() {
                None | Some(Outcome::Blocked) => paint.with(style, "○"),
                Some(Outcome::InDoubt) => paint.with(style, "?"),
                Some(Outcome::Failed) => paint.with(style, "✗"),
                Some(Outcome::Ran | Outcome::Restored | Outcome::Fresh) => paint.with(style, "●"),
            };
        }
        Cell::Empty => " ",
        // The line from side to side passes below: it is broken for the other.
        Cell::Crossing => "│",
        Cell::Lines { up, down, left, right } => match (up, down, left, right) {
            (true, true, false, false) => "│",
            (true, true, false, true) => "├",
            (true, true, true, false) => "┤",
            (true, true, true, true) => "┼",
            (true, false, false, true) => "╰",
            (true, false, true, false) => "╯",
            (true, false, true, true) => "┴",
            (false, false, true, true) => "─",
            _ => " ",
        },
    };
    paint.with(style::DIM, line)
}
