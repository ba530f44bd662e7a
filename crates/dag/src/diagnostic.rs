//! What is wrong with a definition, and where.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

mod excerpt;
mod render;
mod repeated;

pub use render::Style;
pub(crate) use repeated::Repeated;

use crate::Source;

/// All that was found, sorted by place in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The findings; at least one where this is an error.
    pub diagnostics: Vec<Diagnostic>,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Its code, for example `CRN0201`; see [`crate::code`].
    pub code: &'static str,
    /// Whether the pipeline may run all the same.
    pub severity: Severity,
    /// What is wrong, in one line: lower case, no full stop.
    pub message: String,
    /// Where; none for what is not in the file, such as a value from the command line.
    pub labels: Vec<Label>,
    /// Further facts.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
    /// The edit that does it, where that is mechanical.
    pub patch: Option<Patch>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// It can, but perhaps not as meant.
    Warning,
}

/// A marked part of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Bytes of the file.
    pub span: Range<usize>,
    /// What to say there, empty for a bare mark.
    pub text: String,
    /// Whether this is the place of the fault, not what it clashes with.
    pub primary: bool,
}

/// An edit that mends the fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Patch {
    /// Bytes of the file to replace; empty to insert.
    pub span: Range<usize>,
    /// What stands there then.
    pub replacement: String,
}

impl Diagnostic {
    /// Makes an error without a place.
    pub(crate) fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            help: None,
            patch: None,
        }
    }

    /// Makes a warning without a place.
    pub(crate) fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Marks the place of the fault.
    pub(crate) fn at(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), primary: true });
        self
    }

    /// Marks what the fault has to do with.
    pub(crate) fn with(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into(), primary: false });
        self
    }

    /// Adds a fact.
    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// Says what to do.
    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Gives the edit that does it.
    pub(crate) fn patch(mut self, span: Range<usize>, replacement: impl Into<String>) -> Self {
        self.patch = Some(Patch { span, replacement: replacement.into() });
        self
    }

    /// Returns where the fault is: the first byte of the first primary label.
    pub fn offset(&self) -> Option<usize> {
        let primary = self.labels.iter().find(|label| label.primary);
        primary.or(self.labels.first()).map(|label| label.span.start)
    }

    /// Returns the fault's line and column in `source`, both from 1; columns count characters.
    pub fn place(&self, source: &Source<'_>) -> Option<(u32, u32)> {
        Some(place(source.bytes, self.offset()?))
    }
}

impl Report {
    /// Draws all findings as rustc does, one after the other, and at the end how many there are.
    pub fn render(&self, source: &Source<'_>, style: Style) -> String {
        render::render(self, source, style)
    }

    /// Returns the number of errors.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }
}

/// Shows one line a finding, without places.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.diagnostics.iter().enumerate() {
            let line_break = if at == 0 { "" } else { "\n" };
            write!(f, "{line_break}{}: {}", diagnostic.code, diagnostic.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Returns line and column, from 1, of a byte; columns count characters, and bytes where the text is not UTF-8.
pub(crate) fn place(bytes: &[u8], offset: usize) -> (u32, u32) {
    let before = &bytes[..offset.min(bytes.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.split(|byte| *byte == b'\n').count();
    let in_line = &before[line_start..];
    let column = std::str::from_utf8(in_line).map_or(in_line.len(), |text| text.chars().count()) + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
