//! `cairn logs`: what a run's commands printed.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use cairn_executor::isolation::log::{Chunk, Reader, Stream};
use cairn_executor::{Project as Folders, worker_log};
use cairn_model::{AttemptId, Event, InstanceEvent, RunEvent, RunId};
use jiff::tz::TimeZone;

use super::Context;
use crate::args::examples;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::past::{LATEST, Past, damaged, is_named};
use crate::terminal::style::{self, Paint};
use crate::terminal::time;

/// Show what a run's commands printed, of all attempts in the order in which they started.
#[derive(Debug, clap::Args)]
#[command(after_help = examples(&[
    ("cairn logs", "of the latest run"),
    ("cairn logs 1a2b3c4d report", "of one stage in a run"),
    ("cairn logs latest 'carrier[UA]' -f", "of one instance, and on as it prints"),
    ("cairn logs --timestamps", "each line with its time"),
]))]
pub(crate) struct Args {
    /// The run: the beginning or the end of its id, or `latest`; may be left out before STAGE
    #[arg(value_name = "RUN", default_value = LATEST)]
    run: String,
    /// A stage or an instance of it
    #[arg(value_name = "STAGE")]
    stage: Option<String>,
    /// Go on as more is printed, until the run ends
    #[arg(short, long)]
    follow: bool,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Print each piece as a JSON object on a line
    #[arg(long, conflicts_with = "timestamps")]
    json: bool,
}

/// How often a run that goes on is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Looks at the logs for each look at the store, which has to be opened anew.
const LOOKS_PER_OPEN: u32 = 5;

/// Does it.
pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitStatus, Failure> {
    let mut past = Past::require(&context.project()?)?;
    let (run, stage) = words(args, &past)?;
    let mut printer = Printer::new(args, run, context.terminal.stdout.paint);
    let mut reading = Reading::new(run, stage.clone());
    reading.add(&past)?;
    if let Some(name) = &stage
        && reading.logs.is_empty()
    {
        return elsewhere(&past, run, name, &mut printer, context);
    }
    reading.print(&mut printer)?;
    while args.follow && goes_on(&past, run)? {
        for _ in 0..LOOKS_PER_OPEN {
            reading.print(&mut printer)?;
            std::thread::sleep(POLL);
        }
        past = past.again()?;
        reading.add(&past)?;
    }
    reading.print(&mut printer)?;
    if printer.is_empty() {
        context.remark("nothing was printed\n");
    }
    Ok(ExitStatus::Done)
}

/// Settles what the words mean: a single one may be a stage of the latest run.
fn words(args: &Args, past: &Past) -> Result<(RunId, Option<String>), Failure> {
    if args.stage.is_none() && !past.is_run(&args.run) {
        let latest = past.find(LATEST)?;
        let run = past.run(latest)?;
        if run.history.instances.iter().any(|instance| is_named(&instance.name, &args.run)) {
            return Ok((latest, Some(args.run.clone())));
        }
    }
    Ok((past.find(&args.run)?, args.stage.clone()))
}

fn goes_on(past: &Past, run: RunId) -> Result<bool, Failure> {
    Ok(past.run(run)?.status() == "running")
}

/// Shows the log of an execution that the run did not have to repeat.
fn elsewhere(
    past: &Past,
    run: RunId,
    name: &str,
    printer: &mut Printer<'_>,
    context: &Context,
) -> Result<ExitStatus, Failure> {
    let run = past.run(run)?;
    let instances = run.instances(name)?;
    for instance in instances {
        let Some(hash) = instance.input_hash else { continue };
        let Some((checkpoint, _)) = past.store.recorded(&hash).map_err(damaged)? else { continue };
        let made_by = &checkpoint.made_by;
        context.remark(&format!(
            "{} was not executed in run {}; this is what it printed in run {}\n",
            instance.name,
            run.id.short(),
            made_by.run.short()
        ));
        let mut log = Log::new(past, made_by.clone());
        log.print(printer)?;
    }
    if printer.is_empty() {
        context.remark("nothing was printed\n");
    }
    Ok(ExitStatus::Done)
}

/// The logs of a run, in the order in which their attempts started.
struct Reading {
    run: RunId,
    stage: Option<String>,
    logs: Vec<Log>,
    known: HashMap<AttemptId, usize>,
    last_event: u64,
}

impl Reading {
    fn new(run: RunId, stage: Option<String>) -> Self {
        Self { run, stage, logs: Vec::new(), known: HashMap::new(), last_event: 0 }
    }

    /// Takes in the attempts that started since the last time.
    fn add(&mut self, past: &Past) -> Result<(), Failure> {
        for (number, event) in past.store.events_after(self.run, self.last_event).map_err(damaged)? {
            self.last_event = number;
            let Some(attempt) = started(self.run, &event) else { continue };
            if self.stage.as_ref().is_some_and(|name| !is_named(&attempt.instance, name)) {
                continue;
            }
            if !self.known.contains_key(&attempt) {
                self.known.insert(attempt.clone(), self.logs.len());
                self.logs.push(Log::new(past, attempt));
            }
        }
        Ok(())
    }

    fn print(&mut self, printer: &mut Printer<'_>) -> Result<(), Failure> {
        self.logs.iter_mut().try_for_each(|log| log.print(printer))
    }
}

fn started(run: RunId, event: &Event) -> Option<AttemptId> {
    match &event.what {
        RunEvent::Instance { instance, event: InstanceEvent::AttemptStarted { attempt, .. } } => {
            Some(AttemptId { run, instance: instance.clone(), number: *attempt })
        }
        RunEvent::Started { .. } | RunEvent::Ended { .. } | RunEvent::Instance { .. } => None,
    }
}

/// One attempt's log: of its command, or of its workers, each of which has a file.
struct Log {
    attempt: AttemptId,
    path: PathBuf,
    readers: Vec<(PathBuf, Reader)>,
}

impl Log {
    fn new(past: &Past, attempt: AttemptId) -> Self {
        let path = past.state.join(Folders::log_path(&attempt));
        Self { readers: vec![(path.clone(), Reader::new(&path))], path, attempt }
    }

    /// Prints what has come since the last time.
    fn print(&mut self, printer: &mut Printer<'_>) -> Result<(), Failure> {
        // Workers are numbered from 0, and the first one's log is the attempt's.
        loop {
            let path = worker_log(&self.path, self.readers.len());
            if !path.exists() {
                break;
            }
            self.readers.push((path.clone(), Reader::new(&path)));
        }
        for (path, reader) in &mut self.readers {
            loop {
                let chunk = reader.next_chunk().map_err(|error| {
                    Failure::new(ExitStatus::Store, format!("cannot read the log `{}`", path.display()))
                        .because_of(Some(&error))
                })?;
                match chunk {
                    Some(chunk) => printer.chunk(&self.attempt, &chunk)?,
                    None => break,
                }
            }
        }
        Ok(())
    }
}

/// Prints pieces of logs, with a heading wherever the attempt changes.
struct Printer<'a> {
    args: &'a Args,
    paint: Paint,
    zone: TimeZone,
    run: String,
    last: Option<AttemptId>,
    at_line_start: bool,
}

impl<'a> Printer<'a> {
    fn new(args: &'a Args, run: RunId, paint: Paint) -> Self {
        Self { args, paint, zone: time::zone(), run: run.to_string(), last: None, at_line_start: true }
    }

    fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn chunk(&mut self, attempt: &AttemptId, chunk: &Chunk) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        if self.args.json {
            self.last = Some(attempt.clone());
            let piece = json::LogPiece {
                schema: json::LogPiece::SCHEMA,
                run: &self.run,
                instance: &attempt.instance.to_string(),
                attempt: attempt.number,
                at: time::rfc3339(chunk.time),
                stream: stream_word(chunk.stream),
                text: String::from_utf8_lossy(&chunk.bytes).into_owned(),
            };
            out.write_all(json::line(&piece).as_bytes())?;
            return Ok(out.flush()?);
        }
        out.write_all(&self.lay_out(attempt, chunk))?;
        Ok(out.flush()?)
    }

    /// Returns the bytes to print: those of the log, with a heading before the first of an attempt.
    fn lay_out(&mut self, attempt: &AttemptId, chunk: &Chunk) -> Vec<u8> {
        let mut out = Vec::new();
        if self.last.as_ref() != Some(attempt) {
            if !self.at_line_start {
                out.push(b'\n');
            }
            let number =
                if attempt.number > 1 { format!(" · attempt {}", attempt.number) } else { String::new() };
            let heading = format!("── {}{number} ──", attempt.instance);
            out.extend_from_slice(self.paint.with(style::BOLD, &heading).as_bytes());
            out.push(b'\n');
            self.at_line_start = true;
            self.last = Some(attempt.clone());
        }
        for line in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.args.timestamps && self.at_line_start {
                let stamp = format!("{}  ", time::time_of_day_ms(chunk.time, &self.zone));
                out.extend_from_slice(self.paint.with(style::DIM, &stamp).as_bytes());
            }
            out.extend_from_slice(line);
            self.at_line_start = line.ends_with(b"\n");
        }
        out
    }
}

fn stream_word(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
        Stream::Mark => "mark",
        Stream::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{InstanceName, Timestamp};

    #[test]
    fn headings_and_times_stand_at_the_beginnings_of_lines() {
        let args = Args { run: LATEST.into(), stage: None, follow: false, timestamps: true, json: false };
        let run = RunId::from_bytes([1; 16]);
        let mut printer = Printer::new(&args, run, Paint::new(false));
        printer.zone = TimeZone::UTC;
        let attempt = |stage: &str, number| AttemptId {
            run,
            instance: InstanceName::new(stage.parse().unwrap(), None),
            number,
        };
        let mut text = String::new();
        for (stage, number, ms, bytes) in [
            ("a", 1, 0, "one\ntw"),
            ("a", 1, 250, "o\nthree\n"),
            ("b", 1, 300, "no line end"),
            ("b", 2, 400, "x\n"),
        ] {
            let chunk = Chunk { time: Timestamp(ms), stream: Stream::Stdout, bytes: bytes.into() };
            text.push_str(std::str::from_utf8(&printer.lay_out(&attempt(stage, number), &chunk)).unwrap());
        }
        insta::assert_snapshot!(text, @r"
        ── a ──
        00:00:00.000  one
        00:00:00.000  two
        00:00:00.250  three
        ── b ──
        00:00:00.300  no line end
        ── b · attempt 2 ──
        00:00:00.400  x
        ");
    }
}
