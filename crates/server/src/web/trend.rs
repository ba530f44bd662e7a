//! How long the runs of a pipeline took, as a picture.

use super::markup::Markup;
use super::runs::Row;
use super::words;

/// Draws durations, the oldest first; a link each.
pub(super) fn draw(rows: &[Row]) -> Markup {
    let mut svg = Markup::default();
    let timed: Vec<(&Row, u64)> = rows.iter().rev().filter_map(|row| Some((row, row.took_ms?))).collect();
    let Some(longest) = timed.iter().map(|(_, took)| *took).max().filter(|_| timed.len() > 1) else {
        return svg;
    };
    let (step, height) = (26_u32, 120.0);
    let width = step * u32::try_from(timed.len()).unwrap_or(30) + 70;
    svg.html("<svg class=\"trend\" role=\"group\" aria-label=\"Durations of the last runs\"");
    svg.attribute("width", width)
        .attribute("height", height + 24.0)
        .attribute("viewBox", format!("0 0 {width} {}", height + 24.0));
    svg.html("><g aria-hidden=\"true\">");
    for (share, took) in [(1.0, longest), (0.5, longest / 2)] {
        let y = 12.0 + height - height * share;
        svg.html("<line class=\"rule\" x1=\"0\"")
            .attribute("x2", width - 68)
            .attribute("y1", y)
            .attribute("y2", y)
            .html("/><text");
        svg.attribute("x", width - 62)
            .attribute("y", y + 4.0)
            .html(">")
            .text(words::took(took))
            .html("</text>");
    }
    svg.html("</g>");
    for (at, (row, took)) in (0_u32..).zip(&timed) {
        let tall = (share(*took, longest) * height).max(3.0);
        svg.html("<a")
            .attribute("href", &row.href)
            .attribute("aria-label", row.label())
            .html("><title>")
            .text(row.label());
        svg.html("</title><rect class=\"ground\"")
            .attribute("x", at * step)
            .attribute("y", 12)
            .attribute("width", step)
            .attribute("height", height);
        svg.html("/><rect class=\"bar ")
            .html(row.look.class)
            .html("\" rx=\"3\"")
            .attribute("x", at * step + 4);
        svg.attribute("y", format!("{:.1}", 12.0 + height - tall))
            .attribute("width", step - 8)
            .attribute("height", format!("{tall:.1}"))
            .html("/></a>");
    }
    svg.html("</svg>");
    svg
}

#[expect(clippy::cast_precision_loss, reason = "it is drawn on 120 pixels")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
