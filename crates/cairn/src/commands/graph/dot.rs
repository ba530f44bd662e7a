//! The picture in the language of Graphviz (<https://graphviz.org/doc/info/lang.html>).

use cairn_model::Outcome;

use super::Picture;
use crate::terminal::text::append;

/// Draws the picture.
pub(super) fn draw(picture: &Picture) -> String {
    let mut out = format!("digraph {} {{\n", quote(&picture.pipeline));
    out.push_str("  rankdir=LR;\n");
    out.push_str("  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];\n");
    for stage in &picture.stages {
        let (fill, word) = stage.outcome().map_or(("white", ""), |outcome| (fill(outcome), outcome.as_str()));
        let label = if word.is_empty() { stage.label() } else { format!("{}\n{word}", stage.label()) };
        let tooltip = if stage.description.is_empty() { &stage.name } else { &stage.description };
        append!(
            out,
            "  {} [label={}, tooltip={}, fillcolor=\"{fill}\"];\n",
            quote(&stage.name),
            quote(&label),
            quote(tooltip)
        );
    }
    for stage in &picture.stages {
        for need in &stage.drawn_needs {
            append!(out, "  {} -> {};\n", quote(&picture.stages[*need].name), quote(&stage.name));
        }
    }
    out.push_str("}\n");
    out
}

const fn fill(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ran => "#c8e6c9",
        Outcome::Restored => "#b2ebf2",
        Outcome::Fresh => "#eceff1",
        Outcome::Failed | Outcome::InDoubt => "#ffcdd2",
        Outcome::Blocked => "#fff3c4",
    }
}

/// Writes a text as an id of the language: in double quotes, `"` and `\` escaped, line breaks as `\n`.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
