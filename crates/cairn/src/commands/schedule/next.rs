//! `cairn schedule next`: the times to come.

use cairn_dag::{instant, nearest_zone, rfc3339_in};
use cairn_model::{Clock as _, Cron, Name, Occurrence, Schedule, Timestamp, Trigger};
use cairn_scheduler::schedule::{Times, describe};
use jiff::tz::TimeZone;

use crate::args::examples;
use crate::commands::Context;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::logical::{no_time, shown};
use crate::terminal::style;
use crate::terminal::table::{Cell, Column, table};
use crate::work::{self, Given};

/// Print the next times of a schedule, and the interval that each run is about.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn schedule next", "of the only pipeline here"),
    ("cairn schedule next flights -n 3 --from 2026-03-28", "three of `flights`, after a date"),
    ("cairn schedule next --cron \"30 2 * * *\" --timezone Europe/Berlin", "of an expression"),
    ("cairn schedule next --json | jq -r .nominal", "the times alone"),
]))]
pub(super) struct Args {
    /// The pipeline: a file, a folder with a `pipeline.toml`, or a name; not needed where there is only one
    #[arg(value_name = "FILE", conflicts_with = "cron")]
    file: Option<String>,
    /// A cron expression in the place of a pipeline's schedule
    #[arg(long, value_name = "EXPR")]
    cron: Option<String>,
    /// The time zone in which the expression is read [default: UTC]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    timezone: Option<String>,
    /// How many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    number: usize,
    /// Those after this time: a date or a time by the schedule's clock, or RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Print each as a JSON object on a line
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let (name, schedule) = match &args.cron {
        Some(text) => of_cron(text, args.timezone.as_deref())?,
        None => of_pipeline(args.file.as_ref(), context)?,
    };
    let times =
        Times::new(&name, &schedule).map_err(|error| Failure::wrong(error.to_string()).help(error.help()))?;
    let from = match &args.from {
        Some(text) => instant(text, times.zone()).ok_or_else(|| no_time("--from", text))?,
        None => context.clock.now(),
    };
    let next = |after: &Occurrence| times.next_after(after.nominal);
    let found: Vec<Occurrence> =
        std::iter::successors(times.next_after(from), next).take(args.number).collect();
    if args.json {
        let lines: String = found.iter().map(|next| json::line(&wire(next, times.zone()))).collect();
        context.print(&lines)?;
        return Ok(ExitStatus::Done);
    }
    let subject = if args.cron.is_some() { String::new() } else { format!("`{name}` ") };
    context.remark(&format!("  {subject}runs {}\n", describe(&schedule)));
    if !found.is_empty() {
        context.print(&drawn(&found, times.zone(), context))?;
    }
    if found.len() < args.number {
        let why = if schedule.trigger.is_none() { "at no time of its own" } else { "no more comes" };
        let word = context
            .terminal
            .stderr
            .paint
            .with(style::DIM, &format!("{why}{}", ended(&schedule, times.zone())));
        context.remark(&format!("  {word}\n"));
    }
    Ok(ExitStatus::Done)
}

fn ended(schedule: &Schedule, zone: &TimeZone) -> String {
    schedule.end.map_or_else(String::new, |end| format!(": the schedule ends at {}", rfc3339_in(end, zone)))
}

fn drawn(found: &[Occurrence], zone: &TimeZone, context: &Context) -> String {
    let columns = [Column::new("  TIME"), Column::new("DAY"), Column::giving("INTERVAL")];
    let day = |time: Timestamp| {
        jiff::Timestamp::from_millisecond(time.0)
            .map_or_else(|_| String::new(), |time| time.to_zoned(zone.clone()).strftime("%a").to_string())
    };
    let rows: Vec<Vec<Cell>> = found
        .iter()
        .map(|next| {
            vec![
                Cell::new(format!("  {}", rfc3339_in(next.nominal, zone))),
                Cell::new(day(next.nominal)),
                Cell::styled(shown(next.interval, zone), style::DIM),
            ]
        })
        .collect();
    table(&columns, &rows, context.terminal.stdout)
}

fn wire(next: &Occurrence, zone: &TimeZone) -> json::Occurrence {
    json::Occurrence {
        schema: json::Occurrence::SCHEMA,
        id: next.id.to_string(),
        nominal: rfc3339_in(next.nominal, zone),
        fires_at: rfc3339_in(next.fires_at, zone),
        interval_start: rfc3339_in(next.interval.start, zone),
        interval_end: rfc3339_in(next.interval.end, zone),
    }
}

fn of_pipeline(file: Option<&String>, context: &Context) -> Result<(Name, Schedule), Failure> {
    let definition = context.pipeline(file)?.read()?;
    let given = Given { params: Vec::new(), logical_time: context.clock.now(), interval: None, run: None };
    let checked = work::check(definition, &given, context.terminal.stderr.report_style())?;
    let name = checked.pipeline.name.clone();
    let schedule = checked.pipeline.schedule.clone().ok_or_else(|| {
        Failure::wrong(format!("the pipeline `{name}` has no schedule"))
            .help("write for example `[schedule]` and below it `cron = \"0 6 * * *\"`")
    })?;
    Ok((name, schedule))
}

fn of_cron(text: &str, zone: Option<&str>) -> Result<(Name, Schedule), Failure> {
    let cron = text.parse::<Cron>().map_err(|error| {
        let failure = Failure::wrong(format!("`{text}` is no cron expression"));
        error.faults.iter().fold(failure, |failure, fault| {
            let part = text.get(fault.span.clone()).unwrap_or_default();
            let message = &fault.message;
            let whole = part.is_empty() || part == text;
            let note = if whole { message.clone() } else { format!("`{part}`: {message}") };
            // One mend is the mend; of several each stands with its fault.
            match error.faults.as_slice() {
                [_] => failure.note(note).help(&fault.help),
                _ => failure.note(format!("{note}; {}", fault.help)),
            }
        })
    })?;
    let zone = zone.unwrap_or(Schedule::UTC);
    if TimeZone::get(zone).is_err() {
        let help = nearest_zone(zone).map_or_else(
            || "write a name such as `Europe/Berlin`, `America/New_York` or `UTC`".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failure::wrong(format!("there is no time zone `{zone}`")).help(help));
    }
    let name = "cron".parse().expect("a name of letters");
    Ok((name, Schedule::of(Trigger::Cron(cron), zone)))
}
