//! How a backfill is shown.

use cairn_dag::rfc3339_in;
use cairn_model::{Outcome, RunStatus};
use jiff::tz::TimeZone;

use super::Day;
use crate::commands::{Context, plan, runs};
use crate::json;
use crate::logical;
use crate::terminal::table::{Cell, Column, table};
use crate::terminal::text::append;
use crate::terminal::{style, text};
use cairn_scheduler::history::count_words;

/// Intervals above which those that nothing is done with are only counted.
const PASSED_OVER_SHOWN_MAX: usize = 40;

/// Returns an interval and all that is known of it, as JSON.
pub(super) fn wire(day: &Day, zone: &TimeZone) -> json::Backfill {
    json::Backfill {
        schema: json::Backfill::SCHEMA,
        interval_start: rfc3339_in(day.interval.start, zone),
        interval_end: rfc3339_in(day.interval.end, zone),
        plan: day.word(),
        would_run: day.would_run(),
        last: day.last.map(|status| word(status).to_owned()),
        selected: day.selected,
        run: day.made.as_ref().map(|made| made.run.to_string()),
        status: day.made.as_ref().map(|made| word(made.status).to_owned()),
    }
}

fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Running => "cut off",
        RunStatus::Interrupted => "interrupted",
        RunStatus::Frozen => "frozen",
        RunStatus::InDoubt => "in doubt",
    }
}

/// Draws the table of a plan, or of what was done.
pub(super) fn drawn(days: &[Day], zone: &TimeZone, planned: bool, context: &Context) -> String {
    let fold = days.len() > PASSED_OVER_SHOWN_MAX;
    let rows = days
        .iter()
        .filter(|day| day.selected || !fold)
        .map(|day| if planned { planned_row(day, zone) } else { made_row(day, zone) });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let columns = if planned {
        [Column::new("  interval"), Column::new("would"), Column::new("last run"), Column::giving("why")]
    } else {
        [Column::new("  interval"), Column::new("run"), Column::new("status"), Column::giving("instances")]
    };
    let mut out =
        if rows.is_empty() { String::new() } else { table(&columns, &rows, context.terminal.stdout) + "\n" };
    let selected = days.iter().filter(|day| day.selected).count();
    let passed_over = days.len() - selected;
    let paint = context.terminal.stdout.paint;
    let mut parts = Vec::new();
    if planned {
        let count = text::count(selected, "interval");
        parts.push(paint.with(style::outcome(Outcome::Ran), &format!("{count} would run")));
    } else {
        let of = |wanted: fn(RunStatus) -> bool| {
            days.iter().filter_map(|day| day.made.as_ref()).filter(|made| wanted(made.status)).count()
        };
        let (succeeded, made) = (of(|status| status == RunStatus::Succeeded), of(|_| true));
        parts.push(
            paint.with(style::outcome(Outcome::Ran), &format!("{} done", text::count(succeeded, "interval"))),
        );
        if made > succeeded {
            parts.push(paint.with(style::outcome(Outcome::Failed), &format!("{} not", made - succeeded)));
        }
        if selected > made {
            parts.push(paint.with(style::outcome(Outcome::Blocked), &format!("{} left", selected - made)));
        }
    }
    if passed_over > 0 {
        parts.push(paint.with(style::outcome(Outcome::Fresh), &format!("{passed_over} passed over")));
    }
    append!(out, "  {}\n", parts.join(", "));
    out
}

fn planned_row(day: &Day, zone: &TimeZone) -> Vec<Cell> {
    let style = match (day.selected, day.word()) {
        (false, _) => style::DIM,
        (true, "FAIL") => style::outcome(Outcome::Failed),
        (true, "RUN") => style::outcome(Outcome::Ran),
        (true, "RESTORE") => style::outcome(Outcome::Restored),
        (true, _) => style::outcome(Outcome::Fresh),
    };
    // The first instance that is not as it should be tells why.
    let first = day.predictions.iter().find(|prediction| prediction.is_stale());
    let why = first.map_or_else(String::new, plan::reason);
    vec![
        Cell::new(format!("  {}", logical::shown(day.interval, zone))),
        Cell::styled(day.word(), style),
        Cell::new(day.last.map_or("none", word)),
        Cell::styled(why, style::DIM),
    ]
}

fn made_row(day: &Day, zone: &TimeZone) -> Vec<Cell> {
    let interval = Cell::new(format!("  {}", logical::shown(day.interval, zone)));
    let Some(made) = &day.made else {
        let (status, style) = if day.selected {
            ("left", style::outcome(Outcome::Blocked))
        } else {
            ("passed over", style::DIM)
        };
        return vec![interval, Cell::new(""), Cell::styled(status, style), Cell::new("")];
    };
    let status = word(made.status);
    let counts: Vec<String> = count_words(&made.counts).into_iter().map(|(_, words)| words).collect();
    vec![
        interval,
        Cell::new(made.run.short()),
        Cell::styled(status, runs::status_style(status)),
        Cell::new(counts.join(", ")),
    ]
}
