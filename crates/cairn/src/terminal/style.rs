//! Colours: few, and never the only sign.

use anstyle::{AnsiColor, Color, Effects, Style};
use cairn_model::Outcome;

const fn color(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(color)))
}

/// Things that matter less.
pub(crate) const DIM: Style = Style::new().effects(Effects::DIMMED);
/// Things that matter more.
pub(crate) const BOLD: Style = Style::new().effects(Effects::BOLD);
/// The word `error`.
pub(crate) const ERROR: Style = color(AnsiColor::Red).effects(Effects::BOLD);
/// The word `warning`.
pub(crate) const WARNING: Style = color(AnsiColor::Yellow).effects(Effects::BOLD);
/// The word `help`, and commands to type.
pub(crate) const HELP: Style = color(AnsiColor::Cyan);
/// What goes on now.
pub(crate) const RUNNING: Style = color(AnsiColor::Blue);

/// Returns the style of an outcome's word.
pub(crate) const fn outcome(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Ran => color(AnsiColor::Green),
        Outcome::Restored => color(AnsiColor::Cyan),
        Outcome::Fresh => DIM,
        Outcome::Failed | Outcome::InDoubt => ERROR,
        Outcome::Blocked => color(AnsiColor::Yellow),
    }
}

/// Colours text, or leaves it alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Colours when `on`.
    pub(crate) const fn new(on: bool) -> Self {
        Self(on)
    }

    /// Returns whether it colours.
    pub(crate) const fn is_on(self) -> bool {
        self.0
    }

    /// Puts `style` around `text`. Pad before painting: escape sequences have no width.
    pub(crate) fn with(self, style: Style, text: &str) -> String {
        if self.0 && !text.trim().is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
