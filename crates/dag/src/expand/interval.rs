//! The interval of a run: for templates, for commands, and what is doubtful in its use.

use cairn_model::{Interval, Timestamp};
use jiff::tz::TimeZone;
use minijinja::{Value, context};

use super::Expanded;
use super::compiled::StageTemplates;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{File, Run, StageSyntax};
use crate::{Options, rfc3339_in};

const VARIABLES: [&str; 2] = ["CAIRN_INTERVAL_START", "CAIRN_INTERVAL_END"];

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Start and end as RFC 3339 by the clock of the schedule's zone, so that their dates are those of its days.
pub(super) struct Texts {
    start: String,
    end: String,
}

impl Texts {
    pub(super) fn of(file: &File<'_>, options: &Options) -> Self {
        let name = file.schedule.as_ref().map(|schedule| schedule.value.timezone.as_str());
        let zone = name.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        let Interval { start, end } = options.run.interval.unwrap_or_else(|| {
            let start = options.run.logical_time.0.div_euclid(DAY_MS) * DAY_MS;
            Interval { start: Timestamp(start), end: Timestamp(start.saturating_add(DAY_MS)) }
        });
        Self { start: rfc3339_in(start, &zone), end: rfc3339_in(end, &zone) }
    }

    pub(super) fn value(&self) -> Value {
        context! { start => self.start.as_str(), end => self.end.as_str() }
    }

    /// Returns the variables of a stage that refers to the interval. No other stage has them: what is not in the
    /// input-hash a command cannot see.
    pub(super) fn variables(&self) -> [(String, String); 2] {
        let [start, end] = VARIABLES.map(str::to_owned);
        [(start, self.start.clone()), (end, self.end.clone())]
    }
}

/// Returns whether a command of the stage names a variable of the interval.
pub(super) fn is_named(stage: &StageSyntax<'_>) -> bool {
    let names = |text: &str| VARIABLES.iter().any(|variable| text.contains(variable));
    match &stage.run {
        Some(Run::Shell(text)) => names(&text.text),
        Some(Run::Argv(words)) => words.iter().any(|word| names(&word.text)),
        None => false,
    }
}

/// Notes that a stage reads the interval; where one interval's outputs would take the place of another's, that is said.
pub(super) fn check(
    stage: &StageSyntax<'_>,
    templates: &StageTemplates<'_, '_>,
    expanded: &mut Expanded,
    scheduled: bool,
    found: &mut Vec<Diagnostic>,
) {
    if !templates.uses.interval {
        return;
    }
    expanded.reads_interval = true;
    expanded.volatile = true;
    let mut outputs = templates.outputs.iter().flatten().chain(&templates.stdout).peekable();
    let has_outputs = outputs.peek().is_some();
    if !scheduled || !has_outputs || outputs.any(|output| output.refers_to("interval")) {
        return;
    }
    let span = stage.outputs.good.first().map(|output| &output.path).or(stage.stdout.as_ref());
    let message = format!("the stage `{}` reads its interval, but no output names it", stage.name);
    let diagnostic = Diagnostic::warning(code::INTERVAL_UNNAMED, message)
        .at(span.map_or(stage.span.clone(), |path| path.span.clone()), "the same path for each interval")
        .help("write for example `build/{{ interval.start | date }}.csv`, so that no interval takes another's place");
    found.push(diagnostic);
}
