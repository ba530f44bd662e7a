//! The last lines of a run: how it ended, what was saved, what to type next.

use anstyle::Style;
use cairn_model::{Outcome, RunId, RunStatus};

use super::line::quoted;
use super::style::{self, Paint};
use super::text::append;
use super::{text, time};
use cairn_scheduler::history::{History, count_words};

/// Failed instances that are named; the others are counted.
const FAILED_MAX: usize = 5;
/// Before every line.
const INDENT: usize = 2;

/// Draws the summary of a run whose events are folded, with an empty line before it.
pub(crate) fn summary(history: &History, run: RunId, paint: Paint, columns: Option<usize>) -> String {
    let mut out = format!("\n{}", facts(history, run, paint, columns));
    let failed: Vec<_> = history.ended_as(Outcome::Failed).collect();
    let mut failure = |text: &str| {
        let room = columns.map_or(usize::MAX, |columns| columns - INDENT - "failed: ".len());
        let line = format!("  {} {}\n", paint.with(style::ERROR, "failed:"), text::truncate(text, room));
        out.push_str(&line);
    };
    for instance in failed.iter().take(FAILED_MAX) {
        let reason = instance.reason.lines().next().unwrap_or_default();
        failure(&format!("{}: {reason}", instance.name));
    }
    if failed.len() > FAILED_MAX {
        failure(&format!("and {} more", failed.len() - FAILED_MAX));
    }
    let logs = failed.first().map(|first| {
        let command = format!("cairn logs {} {}", run.short(), quoted(&first.name.to_string()));
        (command, "what it said")
    });
    let resume = || ("cairn resume".to_owned(), "goes on from here");
    let commands: Vec<(String, &str)> = match history.status {
        Some(RunStatus::Failed) => logs.into_iter().chain([resume()]).collect(),
        Some(RunStatus::Interrupted) => vec![resume()],
        Some(RunStatus::InDoubt) => {
            vec![(
                "cairn effects list".to_owned(),
                "what is in doubt; `cairn effects settle` says what happened",
            )]
        }
        Some(RunStatus::Frozen) => vec![("cairn plan".to_owned(), "what would run, and why")],
        Some(RunStatus::Succeeded | RunStatus::Running) | None => Vec::new(),
    };
    let widest = commands.iter().map(|(command, _)| text::width(command)).max().unwrap_or(0);
    for (at, (command, does)) in commands.iter().enumerate() {
        let lead = if at == 0 { "next:" } else { "     " };
        append!(out, "  {lead} {}", paint.with(style::HELP, command));
        let beside = INDENT + "next: ".len() + widest + 2 + text::width(does);
        if columns.is_none_or(|columns| beside <= columns) {
            let gap = " ".repeat(2 + widest - text::width(command));
            append!(out, "{gap}{}", paint.with(style::DIM, does));
        }
        out.push('\n');
    }
    out
}

/// Counts, duration, what was saved and the run's id: on one line, or on as many as the width asks for.
fn facts(history: &History, run: RunId, paint: Paint, columns: Option<usize>) -> String {
    let plain = Style::new();
    // Each with what joins it to the one before.
    let mut parts: Vec<(&str, Style, String)> = count_words(&history.counts())
        .into_iter()
        .map(|(outcome, words)| (", ", outcome.map_or(plain, style::outcome), words))
        .collect();
    let (joint, ended) = match history.status {
        Some(RunStatus::Interrupted) => (", ", "interrupted after"),
        Some(RunStatus::Frozen) => (", ", "frozen after"),
        Some(RunStatus::Succeeded | RunStatus::Failed | RunStatus::InDoubt | RunStatus::Running) | None => {
            (" ", "in")
        }
    };
    parts.push((joint, plain, format!("{ended} {}", time::took(history.took_ms().unwrap_or(0)))));
    if history.saved_ms() >= 10 {
        parts.push((" · ", plain, format!("saved {} (work not repeated)", time::took(history.saved_ms()))));
    }
    parts.push((" · ", style::DIM, format!("run {}", run.short())));

    let mut out = String::new();
    let mut taken = 0;
    for (joint, style, words) in parts {
        let with_joint = text::width(joint) + text::width(&words);
        if taken == 0 {
            out.push_str("  ");
            taken = INDENT + text::width(&words);
        } else if columns.is_none_or(|columns| taken + with_joint <= columns) {
            out.push_str(joint);
            taken += with_joint;
        } else {
            out.push_str(joint.trim_end());
            out.push_str("\n  ");
            taken = INDENT + text::width(&words);
        }
        out.push_str(&paint.with(style, &words));
    }
    out.push('\n');
    out
}
