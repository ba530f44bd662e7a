//! What an instance is made of: command, environment, inputs and outputs; as recorded, or as declared where nothing was.

use cairn_dag::{InputKind, Instance};
use cairn_model::{Command, InstanceName, OutputKind};

use super::details::{Found, kind};
use crate::past::{Past, PastRun};
use crate::project::Project;
use crate::terminal::line::quoted;
use crate::terminal::style::{self, Paint};
use crate::terminal::text::{self, append};
use crate::work::Given;

/// What an instance is made of, as lines of cells.
#[derive(Debug)]
pub(super) struct Contents {
    command: Command,
    /// `None` for a variable that was unset.
    environment: Vec<(String, Option<String>)>,
    /// Commands whose version counts, and what they printed.
    tools: Vec<(String, String)>,
    salt: Option<String>,
    /// Name and subject, kind, digest or value.
    inputs: Vec<[String; 3]>,
    /// Path, kind, digest and size.
    outputs: Vec<[String; 3]>,
}

/// Columns of the longest first cell that others are aligned with.
const ALIGNED_MAX: usize = 48;

impl Contents {
    /// What was recorded under the input-hash.
    pub(super) fn recorded(found: &Found) -> Self {
        let Found { checkpoint, recipe, .. } = found;
        let inputs = recipe.inputs.iter().map(|((name, subject), input)| {
            let what = match (&input.digest, &input.value) {
                (Some(digest), _) => digest.chars().take(12).collect(),
                (None, Some(value)) => text::truncate(&value.replace('\n', " "), 60),
                (None, None) => "-".to_owned(),
            };
            [named(name, subject), input.kind.clone(), what]
        });
        let outputs = checkpoint.manifest.outputs.iter().map(|output| {
            let content = &output.content;
            let what = format!("{}  {}", content.digest().short(), text::bytes(content.size()));
            [output.path.to_string(), kind(content).to_owned(), what]
        });
        Self {
            command: recipe.command(),
            environment: recipe.environment.clone(),
            tools: recipe.tools.clone(),
            salt: recipe.salt.clone(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    /// What the run's own definition declares, `None` where that no longer makes the instance.
    pub(super) fn declared(
        past: &Past,
        run: &PastRun,
        name: &InstanceName,
        project: &Project,
    ) -> Option<Self> {
        let definition = past.definition(run, &project.root_of(&past.state))?;
        let given = Given {
            params: run.record.params.clone(),
            logical_time: run.record.logical_time,
            interval: crate::execute::interval_of(&run.record),
            run: Some(run.id),
        };
        let pipeline = definition.load(&given).ok()?.pipeline;
        let instance = pipeline.instances.iter().find(|instance| instance.name == *name)?;
        Some(Self::of(instance))
    }

    fn of(instance: &Instance) -> Self {
        let inputs = instance.inputs.iter().map(|input| {
            let (subject, kind) = match &input.kind {
                InputKind::Path { path, .. } => (path.to_string(), "path"),
                InputKind::Glob { pattern, .. } => (pattern.clone(), "pattern"),
                InputKind::Environment { variable } => (variable.clone(), "env"),
                InputKind::Command { command } => (command.to_string(), "command"),
                InputKind::Stage { outputs } => (text::count(outputs.len(), "output"), "stage"),
            };
            [named(&input.name, &subject), kind.to_owned(), String::new()]
        });
        let outputs = instance.outputs.iter().map(|output| {
            let kind = match output.kind {
                OutputKind::File => "file",
                OutputKind::Folder => "folder",
                OutputKind::Stdout => "stdout",
            };
            [output.path.to_string(), kind.to_owned(), String::new()]
        });
        let environment = instance.env.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        Self {
            command: instance.command.clone(),
            environment: environment.collect(),
            tools: instance.tools.iter().map(|tool| (tool.clone(), String::new())).collect(),
            salt: instance.salt.clone(),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    /// Draws a section for each that is not empty.
    pub(super) fn draw(&self, paint: Paint) -> String {
        let mut out = String::new();
        let mut section = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                append!(out, "\n  {}\n", paint.with(style::BOLD, title));
                for line in lines {
                    append!(out, "    {}\n", line.trim_end());
                }
            }
        };
        let command = match &self.command {
            Command::Shell { script, .. } => script.trim().lines().map(str::to_owned).collect(),
            Command::Argv(argv) => vec![argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")],
        };
        section("command", command);
        let environment = self.environment.iter().map(|(name, value)| match value {
            Some(value) => format!("{name}={}", quoted(value)),
            None => format!("{name} {}", paint.with(style::DIM, "(unset)")),
        });
        section("environment", environment.collect());
        let tools = self.tools.iter().map(|(tool, printed)| {
            format!("{tool}  {}", paint.with(style::DIM, printed.lines().next().unwrap_or_default()))
        });
        section("tools", tools.collect());
        section("salt", self.salt.iter().cloned().collect());
        section("inputs", aligned(&self.inputs));
        section("outputs", aligned(&self.outputs));
        out
    }
}

fn named(name: &str, subject: &str) -> String {
    if name.is_empty() { subject.to_owned() } else { format!("{name} = {subject}") }
}

fn aligned(rows: &[[String; 3]]) -> Vec<String> {
    let widest = rows.iter().map(|[first, ..]| text::width(first)).max().unwrap_or(0).min(ALIGNED_MAX);
    rows.iter()
        .map(|[first, kind, rest]| format!("{}  {}  {rest}", text::pad(first, widest), text::pad(kind, 7)))
        .collect()
}
