//! `cairn backfill`: a run for each interval of a stretch of time.

mod layout;

use cairn_dag::instant;
use cairn_model::{Clock as _, Counts, Interval, RunId, RunStatus};
use cairn_scheduler::backfill::{self, BackfillError, Would};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::plan::Prediction;
use cairn_scheduler::select::{Force, Request};
use cairn_store::Store;

use super::{Context, plan};
use crate::args::{Jobs, Params, examples};
use crate::execute::{Manner, execute, execute_remotely};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::logical::{no_time, zone_of};
use crate::past::{Past, damaged};
use crate::remote::{Remote, Writer};
use crate::terminal::style;
use crate::work::{self, Checked, Definition, Given};

/// Run a pipeline for each interval of a stretch of time.
///
/// What would be done is found out by content first: an interval whose result is that of its inputs as they are today is
/// passed over. Each of the others gets a run of its own, the oldest first. The same command again goes on where it was cut
/// off.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn backfill daily --from 2026-01-01 --to 2026-02-01 --plan", "which days of January would give another result"),
    ("cairn backfill daily --from 2026-01-01 --to 2026-02-01", "make those"),
    ("cairn backfill daily --from 2026-01-01 --to 2026-02-01 --reprocess failed", "only what failed, and what never ran"),
    ("cairn backfill weekly --every 7d --from 2026-01-05 --to 2026-03-02", "without a schedule"),
]))]
pub(crate) struct Args {
    /// The pipeline: a file, a folder with a `pipeline.toml`, or a name; not needed where there is only one
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Where the first interval may begin: a date or a time by the schedule's clock, or RFC 3339
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Where the last interval may end: itself no longer a part, so that two stretches meet
    #[arg(long, value_name = "TIME")]
    to: String,
    /// Intervals of this length from `--from` on, in the place of the schedule's
    #[arg(long, value_name = "DURATION")]
    every: Option<String>,
    /// Which intervals: stale, whose result would be another today; missing, that never ran; failed, or whose last run did
    /// not succeed; all, executed anew
    #[arg(long, value_name = "WHICH", value_enum, default_value_t, hide_possible_values = true)]
    reprocess: Reprocess,
    /// Show what would be done, and why, and do nothing
    #[arg(long, visible_alias = "dry-run")]
    plan: bool,
    #[command(flatten)]
    params: Params,
    #[command(flatten)]
    jobs: Jobs,
    /// After a failure, make all that does not depend on it, and the other intervals
    #[arg(short, long)]
    keep_going: bool,
    /// Print events, and at the end each interval, as JSON objects on lines
    #[arg(long)]
    json: bool,
}

/// `--reprocess`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Reprocess {
    /// Whose result would be another today.
    #[default]
    Stale,
    /// That never ran.
    Missing,
    /// That never ran, or whose last run did not succeed.
    Failed,
    /// All, executed anew.
    All,
}

impl From<Reprocess> for backfill::Reprocess {
    fn from(asked: Reprocess) -> Self {
        match asked {
            Reprocess::Stale => Self::Stale,
            Reprocess::Missing => Self::Missing,
            Reprocess::Failed => Self::Failed,
            Reprocess::All => Self::All,
        }
    }
}

/// An interval, what would be done with it and what was.
struct Day {
    interval: Interval,
    predictions: Vec<Prediction>,
    /// The last run of this interval.
    last: Option<RunStatus>,
    selected: bool,
    made: Option<Made>,
}

/// A run of a backfill.
struct Made {
    run: RunId,
    status: RunStatus,
    counts: Counts,
}

impl Day {
    /// Returns how many instances would be executed.
    fn would_run(&self) -> usize {
        self.predictions.iter().filter(|prediction| backfill::is_run(prediction)).count()
    }

    /// Returns what a run would do, in the words of a plan.
    fn word(&self) -> &'static str {
        Would::of(&self.predictions).as_str()
    }
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let definition = context.pipeline(args.file.as_ref())?.read()?;
    let given = Given {
        params: args.params.params.clone(),
        logical_time: context.clock.now(),
        interval: None,
        run: None,
    };
    let style = context.terminal.stderr.report_style();
    let checked = work::check(definition.clone(), &given, style)?;
    context.warn(&checked);
    let zone = zone_of(&checked)?;
    let time = |option: &str, text: &str| instant(text, &zone).ok_or_else(|| no_time(option, text));
    let stretch = Interval { start: time("--from", &args.from)?, end: time("--to", &args.to)? };
    let intervals = backfill::intervals(&checked.pipeline, stretch, args.every.as_deref())
        .map_err(|error| wrong(&error))?;
    let filling = Backfill { args, context, definition, zone };
    if args.plan {
        let past = Past::open_state(&filling.definition.state)?;
        let days = filling.look(intervals, past.as_ref().map(|past| &past.store))?;
        context.print(&filling.told(&days))?;
        return Ok(ExitStatus::Done);
    }
    let store = match Writer::find(checked.project.state(), checked.project.root())? {
        Writer::Here(store) => store,
        Writer::There(remote) => {
            let past = Past::open_state(&filling.definition.state)?;
            let mut days = filling.look(intervals, past.as_ref().map(|past| &past.store))?;
            drop(past);
            let status = filling.make(&mut days, &Maker::Daemon(remote))?;
            context.print(&filling.told(&days))?;
            return Ok(status);
        }
    };
    let mut days = filling.look(intervals, Some(&store))?;
    let status = filling.make(&mut days, &Maker::Here(store.clone()))?;
    context.print(&filling.told(&days))?;
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    Ok(status)
}

/// Says what is wrong with what was asked for, by the names of the options.
fn wrong(error: &BackfillError) -> Failure {
    let option = |text: String| {
        ["from", "to"]
            .iter()
            .fold(text, |text, name| text.replace(&format!("`{name}`"), &format!("`--{name}`")))
    };
    let help = match error {
        BackfillError::NoSchedule { .. } => {
            "say it: `--every 1d`, or write `[schedule]` with `cron = \"@daily\"`".to_owned()
        }
        other => option(other.help()),
    };
    Failure::wrong(option(error.to_string())).help(help)
}

/// Who makes the runs.
enum Maker {
    /// This process.
    Here(Store),
    /// The daemon that holds the store.
    Daemon(Remote),
}

/// What all intervals share.
struct Backfill<'a> {
    args: &'a Args,
    context: &'a Context,
    definition: Definition,
    zone: jiff::tz::TimeZone,
}

impl Backfill<'_> {
    fn checked(&self, interval: Interval) -> Result<(Checked, RunId), Failure> {
        let run = RunId::generate(&self.context.clock);
        let given = Given {
            params: self.args.params.params.clone(),
            logical_time: interval.end,
            interval: Some(interval),
            run: Some(run),
        };
        let style = self.context.terminal.stderr.report_style();
        Ok((work::check(self.definition.clone(), &given, style)?, run))
    }

    fn request(&self) -> Request {
        let force = if self.args.reprocess == Reprocess::All { Force::All } else { Force::None };
        Request { force, ..Request::default() }
    }

    /// Finds out what would be done with each interval.
    fn look(&self, intervals: Vec<Interval>, store: Option<&Store>) -> Result<Vec<Day>, Failure> {
        let file = self.definition.relative();
        let last = store.map(|store| backfill::last_runs(store, &file)).transpose().map_err(damaged)?;
        let last = last.unwrap_or_default();
        let mut days = Vec::with_capacity(intervals.len());
        for interval in intervals {
            let (checked, run) = self.checked(interval)?;
            let request = (&self.request(), false);
            let predictions = plan::predict_in(&checked, request, run, interval.end, store.cloned())?;
            let last = last.get(&interval).map(|(_, status)| *status);
            let would = Would::of(&predictions);
            let selected = backfill::is_asked(self.args.reprocess.into(), would, last);
            let day = Day { interval, predictions, last, selected, made: None };
            days.push(day);
        }
        Ok(days)
    }

    /// Makes the intervals that are selected, the oldest first.
    fn make(&self, days: &mut [Day], maker: &Maker) -> Result<ExitStatus, Failure> {
        let (args, context) = (self.args, self.context);
        let jobs = args.jobs.jobs.or(context.project()?.settings.jobs);
        let total = days.iter().filter(|day| day.selected).count();
        let mut worst = ExitStatus::Done;
        for (number, day) in days.iter_mut().filter(|day| day.selected).enumerate() {
            // Loaded again: what an interval before has made may be an input of this one.
            let (checked, run) = self.checked(day.interval)?;
            let of = format!("{} of {total}", number + 1);
            let shown = crate::logical::shown(day.interval, &self.zone);
            let dim = context.terminal.stderr.paint.with(style::DIM, &of);
            context.remark(&format!("  {shown}  {dim}\n"));
            let asked = Asked {
                request: self.request(),
                jobs,
                keep_going: args.keep_going,
                frozen: false,
                force_effects: false,
                rollback: false,
                params: args.params.params.clone(),
                interval: Some(day.interval),
                caller: crate::telemetry::caller(),
            };
            let manner = Manner { terminal: context.terminal, json: args.json, quiet: context.globals.quiet };
            let at = day.interval.end;
            let (run, status, record) = match maker {
                Maker::Here(store) => {
                    let status = execute(&checked, store, run, at, &asked, None, manner)?;
                    (run, status, store.run(run).map_err(damaged)?)
                }
                Maker::Daemon(remote) => {
                    let (run, status) = execute_remotely(remote, &checked, Some(at), &asked, manner)?;
                    let past = Past::open_state(&self.definition.state)?;
                    let record = past.map(|past| past.store.run(run)).transpose().map_err(damaged)?;
                    (run, status, record.flatten())
                }
            };
            day.made = record.map(|record| Made { run, status: record.status, counts: record.counts });
            if worst == ExitStatus::Done {
                worst = status;
            }
            if status == ExitStatus::Interrupted || (status != ExitStatus::Done && !args.keep_going) {
                return Ok(status);
            }
        }
        Ok(worst)
    }

    fn told(&self, days: &[Day]) -> String {
        if self.args.json {
            days.iter().map(|day| json::line(&layout::wire(day, &self.zone))).collect()
        } else {
            layout::drawn(days, &self.zone, self.args.plan, self.context)
        }
    }
}
