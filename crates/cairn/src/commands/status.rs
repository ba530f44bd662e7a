//! `cairn status`: how each pipeline stands.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cairn_model::{Outcome, RunId, RunStatus};
use cairn_store::RunRecord;
use jiff::tz::TimeZone;

use super::Context;
use super::runs::status_style;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::history::count_words;
use crate::json;
use crate::past::{self, Past, PastRun};
use crate::project::PipelineFile;
use crate::terminal::text::append;
use crate::terminal::{Stream, line::quoted, style, text, time};

/// Show how each pipeline stands: its last run, and what failed in it.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn status", "all pipelines of the project"),
    ("cairn status --json", "each as a JSON object on a line"),
]))]
pub(crate) struct Args {
    /// Print each pipeline as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// How a pipeline stands.
struct Standing {
    pipeline: PipelineFile,
    last: Option<PastRun>,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let project = context.project()?;
    let pipelines = project.pipelines();
    if pipelines.is_empty() {
        // Asked in vain, it says what was looked for.
        context.pipeline(None)?;
    }
    let standings = standings(pipelines)?;
    let mut out = String::new();
    for (at, standing) in standings.iter().enumerate() {
        if args.json {
            out.push_str(&json::line(&standing.wire()));
        } else {
            if at > 0 {
                out.push('\n');
            }
            let file = project.shown(&standing.pipeline.path);
            out.push_str(&standing.draw(&file, context.terminal.stdout, &time::zone()));
        }
    }
    context.print(&out)?;
    Ok(ExitStatus::Done)
}

fn standings(pipelines: Vec<PipelineFile>) -> Result<Vec<Standing>, Failure> {
    let mut pasts: HashMap<PathBuf, Option<Past>> = HashMap::new();
    let mut standings = Vec::new();
    for pipeline in pipelines {
        if !pasts.contains_key(&pipeline.state) {
            pasts.insert(pipeline.state.clone(), Past::open_state(&pipeline.state)?);
        }
        let last = match &pasts[&pipeline.state] {
            Some(past) => last_run(past, &pipeline)?,
            None => None,
        };
        standings.push(Standing { pipeline, last });
    }
    Ok(standings)
}

/// Returns the last run of a pipeline's file: its name may have changed meanwhile.
fn last_run(past: &Past, pipeline: &PipelineFile) -> Result<Option<PastRun>, Failure> {
    let relative = pipeline.path.strip_prefix(&pipeline.root).unwrap_or(&pipeline.path);
    let of_file = |(_, record): &(RunId, RunRecord)| Path::new(&record.file) == relative;
    let newest = past.store.runs(usize::MAX).map_err(past::damaged)?.into_iter().find(of_file);
    newest.map(|(id, _)| past.run(id)).transpose()
}

impl Standing {
    fn draw(&self, file: &str, stream: Stream, zone: &TimeZone) -> String {
        let paint = stream.paint;
        let Some(run) = &self.last else {
            let name = crate::project::name(&self.pipeline);
            return format!(
                "{}  {file}\n  never ran; next: {}\n",
                paint.with(style::BOLD, &name),
                paint.with(style::HELP, &format!("cairn run {}", quoted(file)))
            );
        };
        let record = &run.record;
        let mut out = format!(
            "{}  {}\n",
            paint.with(style::BOLD, record.pipeline.as_str()),
            paint.with(style::DIM, file)
        );
        let status = run.status();
        let took = run.took_ms().map_or_else(String::new, |took| format!(" in {}", time::took(took)));
        let counts: Vec<String> = count_words(&run.history.counts())
            .into_iter()
            .map(|(outcome, words)| {
                outcome.map_or(words.clone(), |outcome| paint.with(style::outcome(outcome), &words))
            })
            .collect();
        append!(
            out,
            "  {}{took} · {} · run {} · {}\n",
            paint.with(status_style(status), status),
            counts.join(", "),
            run.id.short(),
            time::date_time(record.started, zone)
        );
        for instance in run.history.ended_as(Outcome::Failed) {
            let reason = instance.reason.lines().next().unwrap_or_default();
            let room = stream.columns().map_or(usize::MAX, |columns| columns.saturating_sub(10));
            let text = text::truncate(&format!("{}: {reason}", instance.name), room);
            append!(out, "  {} {text}\n", paint.with(style::ERROR, "failed:"));
        }
        let next = match record.status {
            RunStatus::Running if status == "running" => Some(format!("cairn logs {} -f", run.id.short())),
            RunStatus::Running | RunStatus::Failed | RunStatus::Interrupted => {
                Some(format!("cairn resume {}", run.id.short()))
            }
            RunStatus::Frozen => Some("cairn plan".to_owned()),
            RunStatus::Succeeded => None,
        };
        if let Some(next) = next {
            append!(out, "  next: {}\n", paint.with(style::HELP, &next));
        }
        out
    }

    fn wire(&self) -> json::Status {
        let failed = self.last.iter().flat_map(|run| run.history.ended_as(Outcome::Failed));
        json::Status {
            schema: json::Status::SCHEMA,
            pipeline: self
                .last
                .as_ref()
                .map_or_else(|| crate::project::name(&self.pipeline), |run| run.record.pipeline.to_string()),
            file: self.pipeline.shown.clone(),
            failed: failed.map(|instance| instance.name.to_string()).collect(),
            last_run: self.last.as_ref().map(PastRun::wire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::show::tests::past_run;

    fn draw(last: Option<PastRun>, columns: usize) -> String {
        let pipeline = PipelineFile {
            path: "/p/pipeline.toml".into(),
            shown: "pipeline.toml".into(),
            folder: "/p".into(),
            root: "/p".into(),
            state: "/p/.cairn".into(),
            default_name: "flights".into(),
        };
        let stream = Stream::fixed(Some(columns), false);
        Standing { pipeline, last }.draw("pipeline.toml", stream, &TimeZone::UTC)
    }

    #[test]
    fn a_failed_run_says_what_failed_and_what_to_type() {
        insta::assert_snapshot!(draw(Some(past_run(RunStatus::Failed)), 80), @r"
        flights  pipeline.toml
          failed in 2.00 s · 1 RAN, 1 FRESH, 1 FAILED, 1 BLOCKED · run 1a2b3c4d · 2026-11-25 12:00:00
          failed: weather: exit status 2
          next: cairn resume 1a2b3c4d
        ");
    }

    #[test]
    fn a_run_whose_process_is_gone_was_cut_off() {
        let text = draw(Some(past_run(RunStatus::Running)), 80);
        assert!(text.contains("  cut off"), "{text}");
        assert!(text.ends_with("next: cairn resume 1a2b3c4d\n"), "{text}");
    }

    #[test]
    fn a_pipeline_that_never_ran() {
        insta::assert_snapshot!(draw(None, 80), @r"
        flights  pipeline.toml
          never ran; next: cairn run pipeline.toml
        ");
    }
}
