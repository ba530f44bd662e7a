//! `cairn status`: how each pipeline stands.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cairn_model::{Clock as _, InstanceName, Outcome, RunId, RunStatus, State};
use cairn_scheduler::plan::Prediction;
use cairn_scheduler::select::Request;
use cairn_store::{DeadCounts, RunRecord};
use jiff::tz::TimeZone;

use super::runs::status_style;
use super::{Context, dead, plan};
use crate::args::examples;
use crate::execute::interval_of;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{self, Past, PastRun};
use crate::project::PipelineFile;
use crate::terminal::text::append;
use crate::terminal::{Stream, line::quoted, style, text, time};
use crate::work::{self, Given};
use cairn_scheduler::history::count_words;

/// Show how each pipeline stands: its last run, what failed in it, and what would run now.
///
/// Ends with 3 when anything would be executed or put back, and with 4 when an effect is in doubt, so that a script can
/// ask.
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

/// Stale instances that are named; the others are counted.
const STALE_SHOWN_MAX: usize = 5;

/// How a pipeline stands.
struct Standing {
    pipeline: PipelineFile,
    last: Option<PastRun>,
    now: Now,
    dead: DeadCounts,
}

/// What would happen to a pipeline now.
enum Now {
    /// A run of it goes on.
    Running,
    /// Its definition is wrong: the findings, drawn.
    Broken(Failure),
    /// The instances that are not as they should be, each with a word and why; none: all is in place.
    Stale(Vec<Stale>),
}

/// An instance that is not as it should be.
struct Stale {
    name: String,
    /// `stale`, `drifted` or `in doubt`.
    word: &'static str,
    why: String,
}

const STALE: &str = "stale";
const DRIFTED: &str = "drifted";
const IN_DOUBT: &str = "in doubt";

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let project = context.project()?;
    let pipelines = project.pipelines();
    if pipelines.is_empty() {
        // Asked in vain, it says what was looked for.
        context.pipeline(None)?;
    }
    let standings = standings(pipelines, context)?;
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
    let is_broken = |standing: &Standing| matches!(standing.now, Now::Broken(_));
    let is_stale = |standing: &Standing| matches!(&standing.now, Now::Stale(stale) if !stale.is_empty());
    let is_in_doubt = |standing: &Standing| matches!(&standing.now, Now::Stale(stale) if stale.iter().any(|stale| stale.word == IN_DOUBT));
    Ok(if standings.iter().any(is_broken) {
        ExitStatus::Wrong
    } else if standings.iter().any(is_in_doubt) {
        ExitStatus::InDoubt
    } else if standings.iter().any(is_stale) {
        ExitStatus::WouldRun
    } else {
        ExitStatus::Done
    })
}

fn standings(pipelines: Vec<PipelineFile>, context: &Context) -> Result<Vec<Standing>, Failure> {
    let mut pasts: HashMap<PathBuf, Option<Past>> = HashMap::new();
    let mut standings = Vec::new();
    for pipeline in pipelines {
        if !pasts.contains_key(&pipeline.state) {
            pasts.insert(pipeline.state.clone(), Past::open_state(&pipeline.state)?);
        }
        let (last, dead) = match &pasts[&pipeline.state] {
            Some(past) => {
                let last = last_run(past, &pipeline)?;
                let dead = last.as_ref().map(|run| past.store.dead_counts(&run.record.pipeline));
                (last, dead.transpose().map_err(past::damaged)?.unwrap_or_default())
            }
            None => (None, DeadCounts::default()),
        };
        let now = now(&pipeline, last.as_ref(), context)?;
        standings.push(Standing { pipeline, last, now, dead });
    }
    Ok(standings)
}

/// Looks at what a run would do, with the params that are in the file.
fn now(pipeline: &PipelineFile, last: Option<&PastRun>, context: &Context) -> Result<Now, Failure> {
    if last.is_some_and(|run| run.status() == "running") {
        return Ok(Now::Running);
    }
    let (at, run) = (context.clock.now(), RunId::generate(&context.clock));
    // What reads its interval stands as it does for that of the last run.
    let interval = last.and_then(|run| interval_of(&run.record));
    let given = Given { params: Vec::new(), logical_time: at, interval, run: Some(run) };
    let checked = match work::check(pipeline.read()?, &given, context.terminal.stderr.report_style()) {
        Ok(checked) => checked,
        Err(failure) => return Ok(Now::Broken(failure)),
    };
    let predictions = plan::predict(&checked, (&Request::default(), false), run, at)?;
    let instances = checked.pipeline.instances.iter().zip(&predictions);
    let stale = instances.filter(|(_, prediction)| prediction.is_stale());
    let stale = stale.map(|(instance, prediction)| {
        let why = last.and_then(|run| unfinished(run, &instance.name));
        let word = match prediction {
            Prediction::Drifted { .. } => DRIFTED,
            Prediction::InDoubt { .. } => IN_DOUBT,
            _ => STALE,
        };
        // What an effect's state says is newer than the last run.
        let why = why.filter(|_| word == STALE).unwrap_or_else(|| plan::reason(prediction));
        Stale { name: instance.name.to_string(), word, why }
    });
    Ok(Now::Stale(stale.collect()))
}

/// Says that an instance was tried in the last run and did not end well: it has no checkpoint, but it did run.
fn unfinished(run: &PastRun, name: &InstanceName) -> Option<String> {
    match run.history.instance(name)?.state {
        State::Failed { .. } => Some("it failed in the last run".to_owned()),
        State::Running { .. } | State::Retrying { .. } => Some("it was cut off in the last run".to_owned()),
        State::Waiting
        | State::Fresh
        | State::Restored
        | State::Ran { .. }
        | State::Blocked
        | State::InDoubt { .. } => None,
    }
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
        // Those that failed in the last run stand above.
        let told = run.history.ended_as(Outcome::Failed).count() as u64;
        let dead = DeadCounts { instances: self.dead.instances.saturating_sub(told), ..self.dead };
        if dead.total() > 0 {
            let words = format!("{}; `cairn dead list`", dead::count_words(&dead));
            append!(out, "  {} {words}\n", paint.with(style::ERROR, "dead:"));
        }
        let next = match record.status {
            RunStatus::Running if status == "running" => Some(format!("cairn logs {} -f", run.id.short())),
            RunStatus::Running | RunStatus::Failed | RunStatus::Interrupted => {
                Some(format!("cairn resume {}", run.id.short()))
            }
            RunStatus::Frozen => Some("cairn plan".to_owned()),
            // Once it is settled the pipeline can run again.
            RunStatus::InDoubt if !self.named(IN_DOUBT).is_empty() => Some("cairn effects list".to_owned()),
            RunStatus::InDoubt => Some(format!("cairn resume {}", run.id.short())),
            RunStatus::Succeeded => None,
        };
        self.draw_now(stream, &mut out);
        let is_stale = matches!(&self.now, Now::Stale(stale) if !stale.is_empty());
        let next = next.or_else(|| is_stale.then(|| format!("cairn run {}", quoted(file))));
        if let Some(next) = next {
            append!(out, "  next: {}\n", paint.with(style::HELP, &next));
        }
        out
    }

    fn draw_now(&self, stream: Stream, out: &mut String) {
        let paint = stream.paint;
        match &self.now {
            Now::Running => {}
            Now::Broken(failure) => out.push_str(&failure.render(paint)),
            Now::Stale(stale) if stale.is_empty() => {
                append!(out, "  {}\n", paint.with(style::DIM, "all in place"));
            }
            Now::Stale(stale) => {
                // Those that need a person come first.
                let mut stale: Vec<&Stale> = stale.iter().collect();
                stale.sort_by_key(|stale| {
                    [IN_DOUBT, DRIFTED, STALE].iter().position(|word| *word == stale.word)
                });
                for Stale { name, word, why } in stale.iter().take(STALE_SHOWN_MAX) {
                    let taken = word.len() + 4;
                    let room = stream.columns().map_or(usize::MAX, |columns| columns.saturating_sub(taken));
                    let text = text::truncate(&format!("{name}: {why}"), room);
                    append!(out, "  {} {text}\n", paint.with(style::WARNING, &format!("{word}:")));
                }
                if stale.len() > STALE_SHOWN_MAX {
                    let more = stale.len() - STALE_SHOWN_MAX;
                    append!(out, "  {} and {more} more\n", paint.with(style::WARNING, "stale:"));
                }
            }
        }
    }

    /// Returns the instances that are not as they should be with this word.
    fn named(&self, word: &str) -> Vec<String> {
        let Now::Stale(stale) = &self.now else { return Vec::new() };
        stale.iter().filter(|stale| stale.word == word).map(|stale| stale.name.clone()).collect()
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
            stale: match &self.now {
                Now::Stale(stale) => stale.iter().map(|stale| stale.name.clone()).collect(),
                Now::Running | Now::Broken(_) => Vec::new(),
            },
            in_doubt: self.named(IN_DOUBT),
            drifted: self.named(DRIFTED),
            dead: (self.dead.total() > 0).then(|| self.dead.into()),
            last_run: self.last.as_ref().map(PastRun::wire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::show::tests::past_run;

    fn draw(last: Option<PastRun>, stale: &[(&str, &str)], columns: usize) -> String {
        let pipeline = PipelineFile {
            path: "/p/pipeline.toml".into(),
            shown: "pipeline.toml".into(),
            folder: "/p".into(),
            root: "/p".into(),
            state: "/p/.cairn".into(),
            default_name: "flights".into(),
        };
        let stream = Stream::fixed(Some(columns), false);
        let stale = stale
            .iter()
            .map(|(name, why)| Stale { name: (*name).to_owned(), word: STALE, why: (*why).to_owned() })
            .collect();
        Standing { pipeline, last, now: Now::Stale(stale), dead: DeadCounts::default() }.draw(
            "pipeline.toml",
            stream,
            &TimeZone::UTC,
        )
    }

    #[test]
    fn a_failed_run_says_what_failed_and_what_to_type() {
        let stale = [("weather", "never ran before"), ("report", "`weather` before it would fail")];
        insta::assert_snapshot!(draw(Some(past_run(RunStatus::Failed)), &stale, 80), @r"
        flights  pipeline.toml
          failed in 2.00 s · 1 RAN, 1 FRESH, 1 FAILED, 1 BLOCKED · run 1a2b3c4d · 2026-11-25 12:00:00
          failed: weather: exit status 2
          stale: weather: never ran before
          stale: report: `weather` before it would fail
          next: cairn resume 1a2b3c4d
        ");
    }

    #[test]
    fn all_in_place_and_a_crowd_that_is_not() {
        insta::assert_snapshot!(draw(Some(past_run(RunStatus::Succeeded)), &[], 80), @r"
        flights  pipeline.toml
          succeeded in 2.00 s · 1 RAN, 1 FRESH, 1 FAILED, 1 BLOCKED · run 1a2b3c4d · 2026-11-25 12:00:00
          failed: weather: exit status 2
          all in place
        ");
        let crowd = [("a-stage", "input `data/a-file-with-a-long-name.csv` changed"); 7];
        insta::assert_snapshot!(draw(Some(past_run(RunStatus::Succeeded)), &crowd, 40), @r"
        flights  pipeline.toml
          succeeded in 2.00 s · 1 RAN, 1 FRESH, 1 FAILED, 1 BLOCKED · run 1a2b3c4d · 2026-11-25 12:00:00
          failed: weather: exit status 2
          stale: a-stage: input `data/a-file-wi…
          stale: a-stage: input `data/a-file-wi…
          stale: a-stage: input `data/a-file-wi…
          stale: a-stage: input `data/a-file-wi…
          stale: a-stage: input `data/a-file-wi…
          stale: and 2 more
          next: cairn run pipeline.toml
        ");
    }

    #[test]
    fn a_run_whose_process_is_gone_was_cut_off() {
        let text = draw(Some(past_run(RunStatus::Running)), &[], 80);
        assert!(text.contains("  cut off"), "{text}");
        assert!(text.ends_with("next: cairn resume 1a2b3c4d\n"), "{text}");
    }

    #[test]
    fn a_pipeline_that_never_ran() {
        insta::assert_snapshot!(draw(None, &[], 80), @r"
        flights  pipeline.toml
          never ran; next: cairn run pipeline.toml
        ");
    }
}
