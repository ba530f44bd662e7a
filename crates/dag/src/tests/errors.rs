//! How each fault looks. Every code of [`crate::code`] is drawn here at least once.

mod effects;
mod file;
mod graph;
mod keys;
mod matrix;
mod params;
mod paths;
mod records;
mod schedule;
mod templates;

use super::*;

/// One stage without fault, for faults elsewhere.
const GOOD: &str = "[stages.good]\nrun = \"true\"\n";

#[test]
fn every_code_has_a_picture_and_a_line_in_the_manual() {
    let pictures = [
        include_str!("errors/effects.rs"),
        include_str!("errors/file.rs"),
        include_str!("errors/graph.rs"),
        include_str!("errors/keys.rs"),
        include_str!("errors/matrix.rs"),
        include_str!("errors/params.rs"),
        include_str!("errors/paths.rs"),
        include_str!("errors/schedule.rs"),
        include_str!("errors/records.rs"),
        include_str!("errors/templates.rs"),
    ];
    let manual = include_str!("../../../../docs/pipeline-file.md");
    for (code, sentence) in crate::code::ALL {
        assert!(pictures.iter().any(|file| file.contains(&format!("[{code}]"))), "{code} has no picture");
        assert!(manual.contains(&format!("| `{code}` | {sentence} |\n")), "{code} is not in the manual");
    }
}
