//! The picture in the language of Mermaid (<https://mermaid.js.org/syntax/flowchart.html>).

use cairn_model::Outcome;

use super::Picture;
use crate::terminal::text::append;

/// Draws the picture.
pub(super) fn draw(picture: &Picture) -> String {
    let mut out = String::from("flowchart LR\n");
    for (at, stage) in picture.stages.iter().enumerate() {
        // Ids are numbers: a stage may be called `end`, which is a word of the language.
        let class = stage.outcome().map_or_else(String::new, |outcome| format!(":::{}", class(outcome)));
        append!(out, "  s{at}[\"{}\"]{class}\n", escape(&stage.label()));
    }
    for (at, stage) in picture.stages.iter().enumerate() {
        for need in &stage.drawn_needs {
            append!(out, "  s{need} --> s{at}\n");
        }
    }
    for outcome in Outcome::ALL {
        if picture.stages.iter().any(|stage| stage.outcome() == Some(outcome)) {
            append!(out, "  classDef {} {}\n", class(outcome), look(outcome));
        }
    }
    out
}

const fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ran => "ran",
        Outcome::Restored => "restored",
        Outcome::Fresh => "fresh",
        Outcome::Failed => "failed",
        Outcome::Blocked => "blocked",
        Outcome::InDoubt => "in-doubt",
    }
}

const fn look(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ran => "fill:#c8e6c9,stroke:#2e7d32,color:#000",
        Outcome::Restored => "fill:#b2ebf2,stroke:#00838f,color:#000",
        Outcome::Fresh => "fill:#eceff1,stroke:#78909c,color:#000",
        Outcome::Failed => "fill:#ffcdd2,stroke:#c62828,color:#000",
        Outcome::Blocked => "fill:#fff3c4,stroke:#b28704,color:#000",
        Outcome::InDoubt => "fill:#ffcdd2,stroke:#c62828,color:#000,stroke-dasharray:4",
    }
}

/// Writes a text inside double quotes, where Mermaid knows HTML's entities.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\n', " ")
}
