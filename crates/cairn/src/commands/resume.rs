//! `cairn resume`: goes on with a run.

use cairn_model::RunStatus;
use cairn_scheduler::launch::{Asked, Resumed, asked_of};
use cairn_store::RunRecord;

use super::{Context, plan};
use crate::args::{Jobs, examples};
use crate::commands::run::tell_dead;
use crate::execute::{Manner, Otherwise, execute, interval_of, resume_remotely};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::past::{LATEST, Past, damaged};
use crate::remote::Writer;
use crate::terminal::style;
use crate::work::{self, Definition, Given, selection};

/// Go on with a run that failed, was interrupted or was cut off.
///
/// It goes on with that run's own definition, params and logical time, and executes nothing that is done.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(after_help = examples(&[
    ("cairn resume", "the latest run"),
    ("cairn resume 1a2b3c4d", "this one"),
    ("cairn resume --with-current", "with the pipeline file as it is now"),
]))]
pub(crate) struct Args {
    /// The run: the beginning or the end of its id [default: the latest]
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,
    /// Take the pipeline file as it is now, not as it was when the run was started
    #[arg(long)]
    pub(crate) with_current: bool,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    /// After a failure, make all that does not depend on it
    #[arg(short, long)]
    pub(crate) keep_going: bool,
    /// Show what would be done, and why, and do nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Print each event as a JSON object on a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let project = context.project()?;
    let past = Past::require(&project)?;
    let run = past.find(args.run.as_deref().unwrap_or(LATEST))?;
    let record = past.store.run(run).map_err(damaged)?.ok_or_else(|| Failure::wrong("the run is gone"))?;
    if record.status == RunStatus::Succeeded {
        let paint = context.terminal.stderr.paint;
        let word = paint.with(style::DIM, "nothing to do:");
        context.remark(&format!("  {word} run {} of `{}` succeeded\n", run.short(), record.pipeline));
        return Ok(ExitStatus::Done);
    }
    let definition = definition(&record, &past, args.with_current, &project.root_of(&past.state))?;
    drop(past);
    let given = Given {
        params: record.params.clone(),
        logical_time: record.logical_time,
        interval: interval_of(&record),
        run: Some(run),
    };
    let checked = work::check(definition, &given, context.terminal.stderr.report_style())?;
    context.warn(&checked);
    let asked = asked_of(&record);
    selection(&checked, &asked.request, asked.force_effects)?;
    if args.dry_run {
        return plan::show(
            &checked,
            (&asked.request, asked.force_effects),
            run,
            record.logical_time,
            args.json,
            context,
        );
    }
    let manner = Manner { terminal: context.terminal, json: args.json, quiet: context.globals.quiet };
    let store = match Writer::find(checked.project.state(), checked.project.root())? {
        Writer::Here(store) => store,
        Writer::There(remote) => {
            let asked = otherwise(asked, args);
            let told =
                Otherwise { current: args.with_current, jobs: args.jobs.jobs, keep_going: args.keep_going };
            return resume_remotely(&remote, (run, told), &checked, &asked, manner);
        }
    };
    // Another process may have gone on with it between the look and the lock.
    let record = store.run(run).map_err(damaged)?.unwrap_or(record);
    let asked = otherwise(asked_of(&record), args);
    let logical_time = record.logical_time;
    let resumed = Resumed::of(&store, run, record).map_err(damaged)?;
    let status = execute(&checked, &store, run, logical_time, &asked, Some(&resumed), manner)?;
    tell_dead(&store, &checked.pipeline.name, args.json, context)?;
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    Ok(status)
}

/// Returns what is asked of the rest of the run.
fn otherwise(asked: Asked, args: &Args) -> Asked {
    Asked { jobs: args.jobs.jobs.or(asked.jobs), keep_going: args.keep_going || asked.keep_going, ..asked }
}

/// Returns the definition that the run was started with, or the file as it is now.
pub(crate) fn definition(
    record: &RunRecord,
    past: &Past,
    current: bool,
    root: &std::path::Path,
) -> Result<Definition, Failure> {
    let file = root.join(&record.file);
    let bytes = if current {
        std::fs::read(&file).map_err(|error| crate::project::unreadable(&record.file, &error))?
    } else {
        past.store.definition(&record.definition).map_err(damaged)?.ok_or_else(|| {
            Failure::new(ExitStatus::Store, "the store no longer has the run's definition")
                .help("go on with the file as it is now: `cairn resume --with-current`")
        })?
    };
    Ok(Definition::of_run(root, &past.state, (&record.file, &record.pipeline), bytes))
}
