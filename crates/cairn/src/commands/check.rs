//! `cairn check`: all errors of the definitions.

use std::collections::BTreeMap;

use cairn_dag::{Loaded, Pipeline, Report, Severity};
use cairn_model::{Clock as _, Name};

use super::Context;
use crate::args::{Params, examples};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::project::PipelineFile;
use crate::terminal::style;
use crate::terminal::text::count;
use crate::work::{Definition, Given};

/// Find all errors in pipeline files, each with its place and a mend; nothing is executed.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn check", "all pipelines of the project"),
    ("cairn check flights etl/pipeline.toml", "these"),
    ("cairn check --json", "for an editor or a script"),
]))]
pub(crate) struct Args {
    /// Pipelines: files, folders with a `pipeline.toml`, or names [default: all of the project]
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    params: Params,
    /// Print each finding, and a summary at the end, as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// What was checked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Tally {
    pipelines: usize,
    stages: usize,
    instances: usize,
    errors: usize,
    warnings: usize,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let given = Given {
        params: args.params.params.clone(),
        logical_time: context.clock.now(),
        interval: None,
        run: None,
    };
    let mut found = Vec::new();
    for file in files(&args.files, context)? {
        // Findings in the files before are told, whatever this one is.
        let definition = file.read();
        let loaded = definition.as_ref().ok().map(|definition| definition.load(&given));
        found.push((definition, loaded));
    }
    let after = after(&found, args, &given, context)?;
    let circles = cairn_dag::circles(&after);
    let mut tally = Tally::default();
    let mut drawn_before = false;
    for (definition, loaded) in found {
        let definition = definition?;
        let report = match loaded.unwrap_or_else(|| definition.load(&given)) {
            Ok(loaded) => {
                tally.add(&loaded.pipeline);
                let mut report = loaded.warnings;
                if let Some(circle) = circles.get(&loaded.pipeline.name) {
                    cairn_dag::warn_of_circle(&mut report, &definition.source(), circle);
                }
                report
            }
            Err(report) => {
                tally.pipelines += 1;
                report
            }
        };
        tally.errors += report.errors();
        tally.warnings += report.diagnostics.len() - report.errors();
        if args.json {
            context.print(&findings(&report, &definition))?;
        } else if !report.diagnostics.is_empty() {
            let drawn = report.render(&definition.source(), context.terminal.stderr.report_style());
            let gap = if std::mem::replace(&mut drawn_before, true) { "\n" } else { "" };
            crate::terminal::write_above(format!("{gap}{drawn}").as_bytes());
        }
    }
    let text = if args.json { json::line(&tally.wire()) } else { tally.sentence(context) };
    context.print(&text)?;
    Ok(if tally.errors == 0 { ExitStatus::Done } else { ExitStatus::Wrong })
}

type Found = (Result<Definition, Failure>, Option<Result<Loaded, Report>>);

/// Returns the pipelines that are run after others, with these; where files were named, those of the whole project.
fn after(
    found: &[Found],
    args: &Args,
    given: &Given,
    context: &Context,
) -> Result<BTreeMap<Name, Vec<Name>>, Failure> {
    let of = |loaded: &Loaded| {
        let after = loaded.pipeline.schedule.as_ref().map(|schedule| schedule.after.clone());
        after.filter(|after| !after.is_empty()).map(|after| (loaded.pipeline.name.clone(), after))
    };
    let loaded = found.iter().filter_map(|(_, loaded)| loaded.as_ref()?.as_ref().ok());
    let mut all: BTreeMap<Name, Vec<Name>> = loaded.filter_map(of).collect();
    if args.files.is_empty() || all.is_empty() {
        return Ok(all);
    }
    let given = Given { params: Vec::new(), ..given.clone() };
    for file in context.project()?.pipelines() {
        // What is wrong with a file that was not named is not asked.
        let loaded = file.read().ok().and_then(|definition| definition.load(&given).ok());
        if let Some((name, after)) = loaded.as_ref().and_then(of) {
            all.entry(name).or_insert(after);
        }
    }
    Ok(all)
}

/// Returns the files that were named, else all of the project.
fn files(named: &[String], context: &Context) -> Result<Vec<PipelineFile>, Failure> {
    if named.is_empty() {
        let all = context.project()?.pipelines_and_misses();
        // Asked in vain, it says what was looked for.
        return if all.is_empty() { Ok(vec![context.pipeline(None)?]) } else { Ok(all) };
    }
    named.iter().map(|name| context.pipeline(Some(name))).collect()
}

impl Tally {
    fn add(&mut self, pipeline: &Pipeline) {
        self.pipelines += 1;
        self.stages += pipeline.stages.len();
        self.instances += pipeline.instances.len();
    }

    fn sentence(self, context: &Context) -> String {
        let paint = context.terminal.stdout.paint;
        let checked = count(self.pipelines, "pipeline");
        let warned =
            if self.warnings == 0 { String::new() } else { format!(", {}", count(self.warnings, "warning")) };
        if self.errors > 0 {
            let errors = paint.with(style::ERROR, &count(self.errors, "error"));
            return format!("{checked}: {errors}{warned}\n");
        }
        let well = if self.warnings == 0 { "all well".to_owned() } else { count(self.warnings, "warning") };
        let contents = format!("{}, {}", count(self.stages, "stage"), count(self.instances, "instance"));
        format!("{checked}, {contents}: {}\n", paint.with(style::outcome(cairn_model::Outcome::Ran), &well))
    }

    fn wire(self) -> json::Check {
        let Self { pipelines, stages, instances, errors, warnings } = self;
        json::Check { schema: json::Check::SCHEMA, pipelines, stages, instances, errors, warnings }
    }
}

fn findings(report: &Report, definition: &Definition) -> String {
    let source = definition.source();
    let line = |finding: &cairn_dag::Diagnostic| {
        let place = finding.place(&source);
        let spans = finding.labels.iter().map(|label| json::Span {
            start: label.span.start,
            end: label.span.end,
            text: &label.text,
            primary: label.primary,
        });
        json::line(&json::Finding {
            schema: json::Finding::SCHEMA,
            file: source.path,
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            severity: match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            code: finding.code,
            message: &finding.message,
            spans: spans.collect(),
            notes: &finding.notes,
            help: finding.help.as_deref(),
            edit: finding.patch.as_ref().map(|patch| json::Edit {
                start: patch.span.start,
                end: patch.span.end,
                replacement: &patch.replacement,
            }),
        })
    };
    report.diagnostics.iter().map(line).collect()
}
