//! How findings look: rustc's way, by annotate-snippets.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};

use super::excerpt::{Excerpt, Lines};
use super::{Diagnostic, Label, Report, Severity, place as place_of};
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
    /// No colours, for a pipe or a file.
    pub const PLAIN: Self = Self { ansi: false, width: 120 };
}

/// Findings that are drawn; of more only the number is told.
const DRAWN_MAX: usize = 200;
/// Lines between two labels of one picture; beyond, each gets its own.
const GAP_MAX: usize = 50;

pub(super) fn render(report: &Report, source: &Source<'_>, style: Style) -> String {
    let renderer = if style.ansi { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(style.width.max(40));
    let lines = Lines::new(source.bytes);
    let mut drawn = String::new();
    for diagnostic in report.diagnostics.iter().take(DRAWN_MAX) {
        drawn.push_str(&draw(diagnostic, source, &lines, &renderer));
        drawn.push_str("\n\n");
    }
    let rest = report.diagnostics.len().saturating_sub(DRAWN_MAX);
    if rest > 0 {
        drawn.push_str(&plain(&renderer, Level::NOTE, &format!("{rest} more are not shown")));
        drawn.push_str("\n\n");
    }
    drawn.push_str(&total(report, source, &renderer));
    drawn.push('\n');
    drawn
}

fn total(report: &Report, source: &Source<'_>, renderer: &Renderer) -> String {
    let (errors, all) = (report.errors(), report.diagnostics.len());
    let counted = |number: usize, word: &str| match number {
        0 => None,
        1 => Some(format!("1 {word}")),
        number => Some(format!("{number} {word}s")),
    };
    let counts: Vec<String> =
        [counted(errors, "error"), counted(all - errors, "warning")].into_iter().flatten().collect();
    let level = if errors > 0 { Level::ERROR } else { Level::WARNING };
    plain(renderer, level, &format!("{} in `{}`", counts.join(" and "), source.path))
}

fn plain(renderer: &Renderer, level: Level<'_>, text: &str) -> String {
    renderer.render(&[Group::with_title(level.primary_title(text))])
}

fn draw(diagnostic: &Diagnostic, source: &Source<'_>, lines: &Lines<'_>, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    if diagnostic.labels.is_empty() {
        return draw_without_place(diagnostic, level, renderer);
    }
    // In a line that is cut the picture's columns are not the file's: what was drawn, and what is true.
    let mut columns: Vec<((usize, usize), (u32, u32))> = Vec::new();
    let mut group = Group::with_title(level.primary_title(&diagnostic.message).id(diagnostic.code));
    for labels in clusters(&diagnostic.labels, lines) {
        let spans: Vec<Range<usize>> = labels.iter().map(|label| label.span.clone()).collect();
        let excerpt = Excerpt::new(lines, &spans);
        if excerpt.is_cut {
            let label = labels.iter().find(|label| label.primary).or(labels.first());
            columns.extend(
                label.map(|label| {
                    (excerpt.shown_place(&label.span), place_of(source.bytes, label.span.start))
                }),
            );
        }
        let mut snippet =
            Snippet::source(excerpt.text.clone()).path(source.path).line_start(excerpt.first_line);
        for label in labels {
            let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            let annotation = kind.span(excerpt.place(&label.span));
            let text = (!label.text.is_empty()).then_some(label.text.as_str());
            snippet = snippet.annotation(annotation.label(text));
        }
        group = group.element(snippet);
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note));
    }
    let mut groups = vec![group];
    if let Some(help) = &diagnostic.help {
        match &diagnostic.patch {
            None => {
                let last = groups.pop().expect("pushed above");
                groups.push(last.element(Level::HELP.message(help)));
            }
            Some(patch) => {
                let excerpt = Excerpt::new(lines, std::slice::from_ref(&patch.span));
                let place = excerpt.place(&patch.span);
                let snippet = Snippet::source(excerpt.text)
                    .path(source.path)
                    .line_start(excerpt.first_line)
                    .patch(Patch::new(place, &patch.replacement));
                groups.push(Level::HELP.secondary_title(help).element(snippet));
            }
        }
    }
    let mut drawn = renderer.render(&groups);
    for ((line, column), (true_line, true_column)) in columns {
        let path = source.path;
        drawn = drawn.replacen(
            &format!("{path}:{line}:{column}"),
            &format!("{path}:{true_line}:{true_column}"),
            1,
        );
    }
    drawn
}

/// Draws what is not in the file: lines, as there is no picture whose frame could hold them.
fn draw_without_place(diagnostic: &Diagnostic, level: Level<'_>, renderer: &Renderer) -> String {
    let title = level.primary_title(&diagnostic.message).id(diagnostic.code);
    let mut lines = vec![renderer.render(&[Group::with_title(title)])];
    lines.extend(diagnostic.notes.iter().map(|note| plain(renderer, Level::NOTE, note)));
    lines.extend(diagnostic.help.iter().map(|help| plain(renderer, Level::HELP, help)));
    lines.join("\n")
}

/// Puts labels that stand close together into one picture, that of the fault first.
fn clusters<'l>(labels: &'l [Label], lines: &Lines<'_>) -> Vec<Vec<&'l Label>> {
    let mut sorted: Vec<&Label> = labels.iter().collect();
    sorted.sort_by_key(|label| label.span.start);
    let mut clusters: Vec<Vec<&Label>> = Vec::new();
    let mut last_line = 0;
    for label in sorted {
        let line = lines.number(label.span.start);
        match clusters.last_mut() {
            Some(cluster) if line - last_line <= GAP_MAX => cluster.push(label),
            _ => clusters.push(vec![label]),
        }
        last_line = line;
    }
    clusters.sort_by_key(|cluster| !cluster.iter().any(|label| label.primary));
    clusters
}
