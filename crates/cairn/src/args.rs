//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anstyle::{AnsiColor, Effects, Style};
use cairn_scheduler::select::{self, Request};
use clap::builder::{StyledStr, Styles};
use clap::{ArgAction, Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::commands;
use crate::exit::ExitStatus;
use crate::terminal::text::append;

/// Idempotent pipelines: what is done is not done again, and what was cut off goes on where it stopped.
#[derive(Debug, Parser)]
#[command(
    name = "cairn",
    version,
    styles = STYLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    infer_long_args = false,
    after_help = first_steps(),
    after_long_help = exit_statuses(),
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What may stand before and after any command.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// The project's folder [default: the nearest one with a `cairn.toml`]
    #[arg(long, global = true, value_name = "DIR", env = "CAIRN_PROJECT", hide_env = true)]
    pub(crate) project: Option<PathBuf>,
    /// Where state is kept [default: `.cairn` in the project] [env: `CAIRN_STATE`]
    #[arg(long, global = true, value_name = "DIR", env = "CAIRN_STATE", hide_env = true)]
    pub(crate) state: Option<PathBuf>,
    /// When to colour: auto, always or never; `NO_COLOR` and pipes turn auto off
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub(crate) color: Color,
    /// Show failures only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log what is decided and why; twice, thrice: more. `CAIRN_LOG=cairn_store=debug` chooses parts
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Also into a pipe.
    Always,
    /// Not at all.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a small working project
    Init(commands::init::Args),
    /// Find all errors in pipeline files
    Check(commands::check::Args),
    /// Show what `run` would do, and why
    Plan(commands::plan::Args),
    /// Make what is not done
    Run(commands::run::Args),
    /// Go on with a run that failed or was cut off
    Resume(commands::resume::Args),
    /// Show how each pipeline stands
    Status(commands::status::Args),
    /// List runs
    Runs(commands::runs::Args),
    /// Show a run, or one instance of it
    Show(commands::show::Args),
    /// Show what a run's commands printed
    Logs(commands::logs::Args),
    /// Tell which part of an input-hash changed
    Why(commands::why::Args),
    /// Draw a pipeline with its states
    Graph(commands::graph::Args),
    /// Find out whether stages are idempotent
    Verify(commands::verify::Args),
    /// Tell when pipelines run by themselves
    Schedule(commands::schedule::Args),
    /// Run a pipeline for each interval of a stretch of time
    Backfill(commands::backfill::Args),
    /// Show effects in outside systems; settle those in doubt, undo them
    Effects(commands::effects::Args),
    /// Show, try again or drop what failed for good
    Dead(commands::dead::Args),
    /// Run pipelines by their schedules, with a queue, an API and pages
    Serve(commands::serve::Args),
    /// Ask the daemon for a run
    Submit(commands::submit::Args),
    /// Take a run from the daemon's queue, or end it
    Cancel(commands::cancel::Args),
    /// Have a pipeline's schedule start nothing
    Pause(commands::pause::Args),
    /// Have a pipeline's schedule go on
    Unpause(commands::unpause::Args),
    /// Run a command unless it is known to have succeeded
    Once(commands::once::Args),
    /// Pass on records that were not had before
    Seen(commands::seen::Args),
    /// Keep a value for the next attempt
    Mark(commands::mark::Args),
    /// Make records dead letters
    Reject(commands::reject::Args),
}

/// Reads the command line; help, version and errors in it are printed, and end the process.
///
/// `--color` is looked for before all else: it counts for these as well.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Cli {
    let words: Vec<OsString> = words.collect();
    if let Some(cli) = parse_note(&words) {
        return cli;
    }
    let chosen = words.iter().enumerate().find_map(|(at, word)| match word.to_str()? {
        "--color" => words.get(at + 1)?.to_str(),
        word => word.strip_prefix("--color="),
    });
    let color = match chosen {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    };
    let matches = Cli::command().color(color).get_matches_from(words);
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Reads the command line of what a stage's own commands call, without making the definition of all the others, which
/// takes longer than all that is then done. Where that does not go well, the whole definition tells what is wrong.
fn parse_note(words: &[OsString]) -> Option<Cli> {
    fn parse<A: clap::Args>(
        name: &'static str,
        words: &[OsString],
        command: fn(A) -> Command,
    ) -> Option<Cli> {
        let subcommand = A::augment_args(clap::Command::new(name)).disable_help_flag(true);
        let whole = Globals::augment_args(clap::Command::new("cairn")).subcommand(subcommand);
        let mut matches = whole.try_get_matches_from(words).ok()?;
        let globals = Globals::from_arg_matches(&matches).ok()?;
        let (_, mut matches) = matches.remove_subcommand()?;
        Some(Cli { globals, command: Some(command(A::from_arg_matches_mut(&mut matches).ok()?)) })
    }
    match words.get(1)?.to_str()? {
        "once" => parse("once", words, Command::Once),
        "seen" => parse("seen", words, Command::Seen),
        "mark" => parse("mark", words, Command::Mark),
        "reject" => parse("reject", words, Command::Reject),
        _ => None,
    }
}

/// `[FILE] [STAGE]…`: which of the two the first word is, [`crate::project::Project::settle`] decides.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Target {
    /// The pipeline: a file, a folder with a `pipeline.toml`, or a name; not needed where there is only one
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Stages to make, with all they need; one instance of a matrix as `STAGE[COORDINATES]` [default: all]
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
}

impl Target {
    /// Returns the words as they were typed.
    pub(crate) fn words(&self) -> Vec<String> {
        self.file.iter().chain(&self.stages).cloned().collect()
    }
}

/// Which instances take part, and which of them are executed whatever the checkpoints say.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct Choice {
    /// Execute what is selected, or STAGE of it, although it has a checkpoint
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true, default_missing_value = "", action = ArgAction::Append)]
    pub(crate) force: Vec<String>,
    /// Do effects again that took place: those of what --force names, else all that are selected
    #[arg(long)]
    pub(crate) force_effects: bool,
    /// Execute STAGE and all that depends on it, and make what these need
    #[arg(long, value_name = "STAGE")]
    pub(crate) from: Vec<String>,
    /// Make STAGE and nothing else: what it needs must be done
    #[arg(long, value_name = "STAGE", conflicts_with = "stages")]
    pub(crate) only: Vec<String>,
}

impl Choice {
    /// Turns the options, and the stages that [`Target`] names, into a request.
    pub(crate) fn request(&self, stages: &[String]) -> Request {
        let target = if !self.only.is_empty() {
            select::Target::Only(self.only.clone())
        } else if stages.is_empty() {
            select::Target::All
        } else {
            select::Target::Named(stages.to_vec())
        };
        // `--force` alone stands for everything, whatever else is named.
        let force = if self.force.iter().any(String::is_empty) {
            select::Force::All
        } else if self.force.is_empty() {
            select::Force::None
        } else {
            select::Force::Named(self.force.clone())
        };
        Request { target, from: self.from.clone(), force }
    }
}

/// `-j`: how much runs at once.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Jobs {
    /// Instances that run at once [default: `jobs` in `cairn.toml`, else the processors]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) jobs: Option<u32>,
}

/// `-p NAME=VALUE`, as often as there are params to set.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Params {
    /// Set a param to another value than the file does
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) params: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE, for example `-p year=2014`".to_owned()),
    }
}

const HEADING: Style = AnsiColor::Green.on_default().effects(Effects::BOLD);
const LITERAL: Style = AnsiColor::Cyan.on_default();

const STYLES: Styles = Styles::styled()
    .header(HEADING)
    .usage(HEADING)
    .literal(LITERAL)
    .placeholder(Style::new())
    .error(AnsiColor::Red.on_default().effects(Effects::BOLD))
    .valid(LITERAL)
    .invalid(AnsiColor::Yellow.on_default());

/// Lays out the examples at the end of a command's help: each what to type, and what it does.
pub(crate) fn examples(examples: &[(&str, &str)]) -> StyledStr {
    let widest = examples.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let mut text = format!("{HEADING}Examples:{HEADING:#}");
    for (command, does) in examples {
        let gap = " ".repeat(widest - command.len() + 2);
        append!(text, "\n  {LITERAL}{command}{LITERAL:#}{gap}{does}");
    }
    StyledStr::from(text)
}

fn first_steps() -> StyledStr {
    examples(&[
        ("cairn init", "a first pipeline to play with"),
        ("cairn run", "make what is not done; again: nothing is left to do"),
        ("cairn COMMAND --help", "more on a command"),
    ])
}

fn exit_statuses() -> StyledStr {
    let mut text = format!("{HEADING}Exit status:{HEADING:#}");
    for status in ExitStatus::ALL {
        append!(text, "\n  {LITERAL}{:>3}{LITERAL:#}  {}", status.code(), status.meaning());
    }
    StyledStr::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_ends_its_help_with_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let (first, rest) = help.split_once('\n').unwrap_or_default();
            assert_eq!(first, "Examples:", "{}", command.get_name());
            assert!((2..=5).contains(&rest.lines().count()), "{}: {help}", command.get_name());
            assert!(rest.lines().all(|line| line.trim_start().starts_with("cairn ")), "{help}");
        }
    }

    #[test]
    fn what_stages_call_is_read_in_short_as_it_is_in_whole() {
        for line in [
            "cairn once k -- curl -sf --help",
            "cairn once --hold --scope mine k -- true",
            "cairn once -q k --color never -- true",
            "cairn seen --key id customer.day --state elsewhere",
            "cairn mark a=b=c",
            "cairn mark --get a",
            "cairn reject --reason no -vv",
        ] {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let short = parse_note(&words).unwrap_or_else(|| panic!("{line}"));
            let whole = Cli::try_parse_from(&words).unwrap();
            assert_eq!(format!("{short:?}"), format!("{whole:?}"), "{line}");
        }
        for line in
            ["cairn once --help", "cairn once k", "cairn mark a", "cairn run once", "cairn seen --nothing"]
        {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(parse_note(&words).is_none(), "{line}");
        }
    }

    fn request(line: &str) -> Request {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Some(Command::Run(args)) = cli.command else { panic!("{line}") };
        args.choice.request(&args.target.words())
    }

    #[test]
    fn selections() {
        use select::{Force, Target};
        let all = Request::default();
        assert_eq!(request("cairn run"), all);
        assert_eq!(request("cairn run a b").target, Target::Named(vec!["a".into(), "b".into()]));
        assert_eq!(request("cairn run --only a").target, Target::Only(vec!["a".into()]));
        assert_eq!(request("cairn run --force").force, Force::All);
        assert_eq!(
            request("cairn run --force=a --force=b").force,
            Force::Named(vec!["a".into(), "b".into()])
        );
        assert_eq!(request("cairn run --force=a --force").force, Force::All);
        // A word after `--force` is no value of it.
        assert_eq!(request("cairn run --force a").target, Target::Named(vec!["a".into()]));
        assert_eq!(request("cairn run --from a").from, ["a"]);
    }

    #[test]
    fn params_are_split_at_the_first_equals_sign() {
        assert_eq!(name_and_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(name_and_value("a="), Ok(("a".into(), String::new())));
        assert!(name_and_value("a").is_err());
        assert!(name_and_value("=b").is_err());
    }
}
