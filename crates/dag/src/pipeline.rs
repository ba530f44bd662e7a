//! The checked pipeline: what a definition says once all names are known, all templates filled, every path and
//! dependency resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use cairn_model::{Command, InstanceName, Level, Name, OutputKind, ProjectPath, Records, Schedule};
use serde::{Deserialize, Serialize};

use crate::Effect;

/// A pipeline that may run: names are unique, inputs exist or are made, the graph has no cycle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// `name`, else [`crate::Options::default_name`].
    pub name: Name,
    /// `description`, empty when there is none.
    pub description: String,
    /// `workdir` relative to the pipeline file's folder, `None` for that folder itself. All paths below are relative
    /// to it.
    pub workdir: Option<ProjectPath>,
    /// How far attempts are kept apart where the stage does not say.
    pub sandbox: SandboxChoice,
    /// The weakest isolation that is acceptable, `None` for any.
    pub sandbox_require: Option<Level>,
    /// How many instances that name a pool may run at once, each at least 1.
    pub pools: BTreeMap<String, u32>,
    /// The params in force: defaults and what the caller set.
    pub params: BTreeMap<String, ParamValue>,
    /// The stages in the order of the file.
    pub stages: Vec<Stage>,
    /// The instances, those of one stage together, in the order of the stages and of their matrix.
    pub instances: Vec<Instance>,
    /// Whether the effects of a run are undone when it fails for good.
    pub rollback: bool,
    /// When it is run by itself, `None` where the file does not say.
    pub schedule: Option<Schedule>,
    /// Whether a template or a command refers to the interval of the run.
    pub reads_interval: bool,
    /// Whether a template refers to `run` or `interval`, so that the same file makes another pipeline in another run.
    pub volatile: bool,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: Name,
    /// What it is for, empty when the file does not say.
    pub description: String,
    /// Its instances, as indices into [`Pipeline::instances`]; never empty.
    pub instances: Range<u32>,
    /// The line of its header in the file, from 1.
    pub line: u32,
}

/// One instance: a stage, or one element of its matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name, unique in the pipeline.
    pub name: InstanceName,
    /// Index into [`Pipeline::stages`].
    pub stage: u32,
    /// What is run.
    pub command: Command,
    /// The pipeline's `[env]`, then the stage's own.
    pub env: BTreeMap<String, String>,
    /// Variables taken from the caller's environment, sorted.
    pub pass_env: Vec<String>,
    /// Commands whose version counts, sorted.
    pub tools: Vec<String>,
    /// A text whose only use is to change the input-hash.
    pub salt: Option<String>,
    /// The inputs in the order of the file.
    pub inputs: Vec<Input>,
    /// The outputs in the order of the file, `stdout` last.
    pub outputs: Vec<Declared>,
    /// Every instance that must be done before: inferred from paths, by `{ stage = … }`, or named in `needs`. Indices
    /// into [`Pipeline::instances`], sorted, without repeats.
    pub needs: Vec<u32>,
    /// What it does to a system outside; boxed, for most do nothing.
    pub effect: Option<Box<Effect>>,
    /// How it is run: nothing here is in the input-hash.
    pub policy: Policy,
    /// What it does with records, for a stage that runs no command but passes records on; `command` is then its worker,
    /// without words when there is none.
    pub records: Option<Records>,
}

/// One declared input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in the inputs' table, empty in a list.
    pub name: String,
    /// Whether it may be missing.
    pub optional: bool,
    /// What it is.
    pub kind: InputKind,
}

/// What an input is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputKind {
    /// A file or a folder: which, the disk or its maker says.
    Path {
        /// Where.
        path: ProjectPath,
        /// Who makes it, `None` for a source.
        made_by: Option<Made>,
        /// Outputs that lie in it when it is a folder that no single instance makes.
        holds: Vec<Made>,
    },
    /// The files on disk that match and that no instance declares, with the matching files of `made_by`.
    Glob {
        /// The pattern, readable by [`crate::Glob::parse`].
        pattern: String,
        /// Outputs that match, and folders that may hold files that do.
        made_by: Vec<Made>,
    },
    /// A variable of the caller's environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A command, run in the pipeline's folder; what it prints counts.
    Command {
        /// The command.
        command: Command,
    },
    /// All outputs of a stage.
    Stage {
        /// Those outputs, by instance and output.
        outputs: Vec<Made>,
    },
}

/// An output of an instance. Where an input names a path, the output may be a folder in which that path lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Made {
    /// Index into [`Pipeline::instances`].
    pub instance: u32,
    /// Index into [`Instance::outputs`].
    pub output: u32,
}

/// One declared output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Its name in the outputs' table, empty in a list, `stdout` for the standard output.
    pub name: String,
    /// Where it belongs.
    pub path: ProjectPath,
    /// Whether it is a file, a folder or the standard output.
    pub kind: OutputKind,
}

/// How an instance is run, none of which can change its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How often, and how long after each other, it is tried.
    pub retries: Retries,
    /// How long an attempt may take, `None` for ever.
    pub timeout_ms: Option<u64>,
    /// How long after SIGTERM comes SIGKILL.
    pub kill_after_ms: u64,
    /// Whether a checkpoint makes execution unnecessary.
    pub cache: Cache,
    /// Processors it takes, at least 1.
    pub cpus: u32,
    /// Memory it takes, `None` when not said.
    pub memory_bytes: Option<u64>,
    /// The pool it takes a place of, a key of [`Pipeline::pools`].
    pub pool: Option<String>,
    /// Greater is started first.
    pub priority: i64,
    /// The stage's own sandbox, `None` for the pipeline's.
    pub sandbox: Option<SandboxChoice>,
    /// Whether the effects of a run are undone when this instance fails for good.
    pub rollback: bool,
}

impl Policy {
    /// Time from SIGTERM to SIGKILL where a stage does not say.
    pub const KILL_AFTER_MS: u64 = 10_000;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            retries: Retries::default(),
            timeout_ms: None,
            kill_after_ms: Self::KILL_AFTER_MS,
            cache: Cache::Always,
            cpus: 1,
            memory_bytes: None,
            pool: None,
            priority: 0,
            sandbox: None,
            rollback: false,
        }
    }
}

/// How a failed instance is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The pause before the second try.
    pub delay_ms: u64,
    /// How pauses grow.
    pub backoff: Backoff,
    /// The longest pause.
    pub max_delay_ms: u64,
    /// Whether a pause is drawn from 0 to what the above gives.
    pub jitter: bool,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 1,
            delay_ms: 1_000,
            backoff: Backoff::Exponential,
            max_delay_ms: 5 * 60_000,
            jitter: true,
        }
    }
}

/// How the pauses between tries grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// All alike.
    Constant,
    /// Each twice the one before.
    Exponential,
}

/// Whether a checkpoint counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cache {
    /// For good.
    Always,
    /// Never: the instance is executed in each run.
    Never,
    /// For some time after it was made.
    Ttl {
        /// How long.
        ms: u64,
    },
}

/// The sandbox that a pipeline or a stage asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxChoice {
    /// The strongest there is without asking more of the system.
    Auto,
    /// [`Level::Off`].
    Off,
    /// [`Level::Private`].
    Private,
    /// [`Level::Confine`].
    Confine,
    /// [`Level::Hermetic`].
    Hermetic,
}

impl SandboxChoice {
    /// Returns the word that stands in a pipeline file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Private => "private",
            Self::Confine => "confine",
            Self::Hermetic => "hermetic",
        }
    }
}

impl fmt::Display for SandboxChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A param's value; its default's type is the param's type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ParamValue {
    /// A text.
    String(String),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A point in time with its offset, RFC 3339.
    OffsetDatetime(String),
    /// A date and time of no zone.
    LocalDatetime(String),
    /// A date.
    LocalDate(String),
    /// A time of day.
    LocalTime(String),
}

impl ParamValue {
    /// Returns the type's name, with its article.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::OffsetDatetime(_) => "a date-time with an offset",
            Self::LocalDatetime(_) => "a local date-time",
            Self::LocalDate(_) => "a date",
            Self::LocalTime(_) => "a time",
        }
    }
}

/// Shows the text that a template inserts.
impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            // `{:?}` keeps `1.0` a float, as it was written.
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => value.fmt(f),
            Self::String(text)
            | Self::OffsetDatetime(text)
            | Self::LocalDatetime(text)
            | Self::LocalDate(text)
            | Self::LocalTime(text) => f.write_str(text),
        }
    }
}
