//! How findings look.

use super::Report;
use crate::Source;

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether to colour by ANSI escapes.
    pub ansi: bool,
    /// Columns of the terminal.
    pub width: usize,
}

impl Style {
    /// No colours, for a pipe.
    pub const PLAIN: Self = Self { ansi: false, width: 120 };
}

pub(super) fn render(report: &Report, _source: &Source<'_>, _style: Style) -> String {
    report.to_string()
}
