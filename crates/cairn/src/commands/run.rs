//! `cairn run`: makes what is not done.

use std::time::Instant;

use cairn_executor::index::{self, Index, Unchanged};
use cairn_model::{Clock as _, Name, RunId};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::select::{Force, Request};
use cairn_store::{DeadCounts, Store};

use super::{Context, dead, plan};
use crate::args::{Choice, Jobs, Params, Target, examples};
use crate::execute::{Manner, execute, execute_remotely};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::logical::Logical;
use crate::past;
use crate::remote::Writer;
use crate::telemetry;
use crate::terminal::{style, text, time};
use crate::work::{Checked, Definition, Given, caller_env, selection};

/// Make what is not done.
///
/// An instance whose inputs, command and environment are those of an earlier execution is not executed again: its
/// outputs are in place (FRESH) or are put back (RESTORED). What is executed (RAN) is recorded, so that the same command
/// after a crash, or `cairn resume`, goes on from there.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(after_help = examples(&[
    ("cairn run", "all of the only pipeline here"),
    ("cairn run -p year=2014 -j 8", "with another param, eight at once"),
    ("cairn run flights report", "of the pipeline `flights`, `report` and what it needs"),
    ("cairn run --from clean", "over again from `clean` on"),
    ("cairn run --frozen", "check that nothing is left to do"),
]))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) params: Params,
    #[command(flatten)]
    pub(crate) logical: Logical,
    #[command(flatten)]
    pub(crate) jobs: Jobs,
    /// After a failure, make all that does not depend on it
    #[arg(short, long)]
    pub(crate) keep_going: bool,
    /// Execute nothing: fail with status 3 when something would run
    #[arg(long)]
    pub(crate) frozen: bool,
    /// When a stage fails for good, undo the run's effects, the last one first
    #[arg(long)]
    pub(crate) rollback: bool,
    /// End with status 1 when the pipeline has dead records
    #[arg(long)]
    pub(crate) fail_on_dead: bool,
    /// Show what would be done, and why, and do nothing: as `cairn plan`
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Print each event as a JSON object on a line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) choice: Choice,
}

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let began = Instant::now();
    let settled = context.settle(&args.target.words())?;
    let definition = settled.pipeline.read()?;
    let request = args.choice.request(&settled.stages);
    // What follows is only wanted where there may be something to do.
    let force_effects = args.choice.force_effects;
    let plain = request == Request::default()
        && !force_effects
        && !args.json
        && !args.dry_run
        && !args.fail_on_dead
        && args.logical == Logical::default()
        && context.globals.verbose == 0;
    if plain && let Some(unchanged) = unchanged(&definition, &args.params.params, context) {
        context.remark(&nothing_to_do(unchanged, began, context));
        return Ok(ExitStatus::Done);
    }
    let now = context.clock.now();
    let run = RunId::generate(&context.clock);
    let given =
        Given { params: args.params.params.clone(), logical_time: now, interval: None, run: Some(run) };
    let (checked, given) = args.logical.check(definition, given, context.terminal)?;
    let logical_time = given.logical_time;
    context.warn(&checked);
    selection(&checked, &request, force_effects)?;
    if args.dry_run {
        return plan::show(&checked, (&request, force_effects), run, logical_time, args.json, context);
    }
    if request.force != Force::None && !force_effects && has_effects(&checked, &request)? {
        let note = context.terminal.stderr.paint.with(style::DIM, "note:");
        context.remark(&format!(
            "  {note} what took place outside is not done again by `--force`; `--force-effects` insists\n"
        ));
    }
    let asked = Asked {
        request,
        jobs: args.jobs.jobs.or(context.project()?.settings.jobs),
        keep_going: args.keep_going,
        frozen: args.frozen,
        force_effects,
        rollback: args.rollback,
        params: args.params.params.clone(),
        interval: given.interval,
        caller: telemetry::caller(),
    };
    let manner = Manner { terminal: context.terminal, json: args.json, quiet: context.globals.quiet };
    let writer = Writer::find(checked.project.state(), checked.project.root())?;
    let store = match writer {
        Writer::Here(store) => store,
        Writer::There(remote) => {
            let at = args.logical.at.is_some().then_some(logical_time);
            let (_, status) = execute_remotely(&remote, &checked, at, &asked, manner)?;
            let Some(past) = past::Past::open_state(checked.project.state())? else { return Ok(status) };
            let has_dead = tell_dead(&past.store, &checked.pipeline.name, args.json, context)?;
            return Ok(if has_dead && args.fail_on_dead && status == ExitStatus::Done {
                ExitStatus::StageFailed
            } else {
                status
            });
        }
    };
    let status = execute(&checked, &store, run, logical_time, &asked, None, manner)?;
    let has_dead = tell_dead(&store, &checked.pipeline.name, args.json, context)?;
    let status = if has_dead && args.fail_on_dead && status == ExitStatus::Done {
        ExitStatus::StageFailed
    } else {
        status
    };
    store.close().map_err(|error| Failure::of(ExitStatus::Store, &error).maybe_help(error.help()))?;
    Ok(status)
}

/// Returns whether something that is forced has an effect.
fn has_effects(checked: &Checked, request: &Request) -> Result<bool, Failure> {
    let forced = selection(checked, request, false)?.forced;
    let mut instances = checked.pipeline.instances.iter().zip(forced);
    Ok(instances.any(|(instance, forced)| forced && instance.effect.is_some()))
}

/// Says how many records of a pipeline are dead, if any are. Dead instances are told as what failed.
pub(crate) fn tell_dead(
    store: &Store,
    pipeline: &Name,
    json: bool,
    context: &Context,
) -> Result<bool, Failure> {
    let counts = store.dead_counts(pipeline).map_err(past::damaged)?;
    let records = DeadCounts { instances: 0, ..counts };
    if records.total() == 0 {
        return Ok(false);
    }
    if json {
        let line = json::DeadCounts { schema: Some(json::DeadCounts::SCHEMA), ..counts.into() };
        context.print(&json::line(&line))?;
    } else {
        let paint = context.terminal.stderr.paint;
        let command = paint.with(style::HELP, "cairn dead list");
        context.remark(&format!(
            "  {} {}  {command}\n",
            paint.with(style::ERROR, "dead:"),
            dead::count_words(&records)
        ));
    }
    Ok(true)
}

/// Asks the index whether everything looks as it did when it was last found in place.
fn unchanged(definition: &Definition, params: &[(String, String)], context: &Context) -> Option<Unchanged> {
    let folder = definition.plain_folder()?;
    let path = index::path(&definition.state, &definition.index_name(params));
    let index = Index::read(&path, &definition.index_key(params))?;
    let sequence = cairn_store::Store::sequence_on_disk(&definition.state)?;
    let env = caller_env();
    // Which files are read again need only differ from run to run.
    let seed = context.clock.now().0.unsigned_abs();
    index.check(&folder, sequence, |name| env.get(name).cloned(), seed)
}

fn nothing_to_do(unchanged: Unchanged, began: Instant, context: &Context) -> String {
    let paint = context.terminal.stderr.paint;
    let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let fresh =
        paint.with(style::outcome(cairn_model::Outcome::Fresh), &format!("{} FRESH", unchanged.instances));
    format!(
        "  {fresh} in {} · saved {}  {}\n",
        time::took(took),
        time::took(unchanged.saved_ms),
        paint.with(
            style::DIM,
            &format!("nothing changed: {} in place", text::count(unchanged.instances as usize, "instance"))
        ),
    )
}
