//! From stages to instances: the matrix multiplied out, every template filled in, every path parsed.

use std::collections::{BTreeMap, BTreeSet};

use cairn_model::{InstanceName, ProjectPath};
use minijinja::{Value, context};

use crate::code;
use crate::diagnostic::{Diagnostic, Repeated};
use crate::syntax::{Axis, File, Run, StageSyntax, Text};
use crate::template::{self, Names, Part, Template, Templates, Use};
use crate::{Instance, Options, ParamValue, Stage};

mod compiled;
mod instance;
mod interval;
mod paths;
mod records;

pub(crate) use instance::is_gap;

use compiled::StageTemplates;

/// Instances of the largest pipeline.
pub(crate) const INSTANCES_MAX: u64 = 1_000_000;

/// All instances, with paths but without what they wait for.
#[expect(clippy::struct_excessive_bools, reason = "four facts of a file, each asked for by itself")]
pub(crate) struct Expanded {
    pub stages: Vec<Stage>,
    pub instances: Vec<Instance>,
    /// Whether every output of every stage is known: false after an error in one.
    pub outputs_known: bool,
    /// Whether a template refers to `run` or `interval`.
    pub volatile: bool,
    /// Whether a template or a command refers to the interval.
    pub reads_interval: bool,
    /// Params that a template refers to.
    pub used_params: BTreeSet<String>,
    /// Whether a template refers to `params` as a whole, so that all may count.
    pub all_params_used: bool,
}

/// What the instances of all stages share.
struct Shared<'s> {
    params: Option<&'s [&'s str]>,
    values: Value,
    run: Value,
    interval: interval::Texts,
    /// `[env]`, filled in.
    env: BTreeMap<String, String>,
    shell: &'s [String],
    /// Whether the file has a schedule.
    scheduled: bool,
    /// The pipeline file, where it lies in the folder that paths are relative to.
    file: Option<ProjectPath>,
}

/// Expands all stages; what is wrong is added to `found`.
pub(crate) fn expand(
    file: &File<'_>,
    source: &str,
    params: &BTreeMap<String, ParamValue>,
    options: &Options,
    shown_path: &str,
    found: &mut Vec<Diagnostic>,
) -> Expanded {
    let mut expanded = Expanded {
        stages: Vec::new(),
        instances: Vec::new(),
        outputs_known: true,
        volatile: false,
        reads_interval: false,
        used_params: BTreeSet::new(),
        all_params_used: false,
    };
    if let Err(diagnostic) = count(file) {
        found.push(*diagnostic);
        expanded.outputs_known = false;
        return expanded;
    }
    let environment = template::environment();
    let mut templates = Templates::new(&environment, source);
    let param_names: Vec<&str> = params.keys().map(String::as_str).collect();
    let mut shared = Shared {
        params: file.params_known.then_some(&param_names),
        values: template::table(params.iter().map(|(name, value)| (name.as_str(), template_value(value)))),
        run: run_value(options),
        interval: interval::Texts::of(file, options),
        env: BTreeMap::new(),
        scheduled: file.schedule.is_some(),
        shell: file.shell.as_deref().unwrap_or(&options.default_shell),
        file: match file.workdir {
            None => shown_path.rsplit('/').next().and_then(|name| ProjectPath::parse(name).ok()),
            Some(_) => None,
        },
    };
    shared.env = fill_pipeline_env(file, &shared, &mut templates, &mut expanded, found);
    let lines = Lines::new(source);
    for (number, stage) in file.stages.iter().enumerate() {
        let first = u32::try_from(expanded.instances.len()).expect("counted before");
        expand_stage(stage, number, &shared, &mut templates, &mut expanded, found);
        let last = u32::try_from(expanded.instances.len()).expect("counted before");
        expanded.stages.push(Stage {
            name: stage.name.clone(),
            description: stage.description.clone(),
            instances: first..last,
            line: lines.of(stage.span.start),
        });
    }
    expanded
}

/// Counts the instances without making any.
fn count(file: &File<'_>) -> Result<(), Box<Diagnostic>> {
    let mut total = 0_u64;
    for stage in &file.stages {
        let axes = stage.matrix.as_deref().unwrap_or_default();
        let own = axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.values.len() as u64));
        total = own.and_then(|own| total.checked_add(own)).unwrap_or(u64::MAX);
        if total <= INSTANCES_MAX {
            continue;
        }
        let sizes: Vec<String> = axes.iter().map(|axis| axis.values.len().to_string()).collect();
        let own = own.map_or("more than can be counted".to_owned(), |own| format!("{own} instances"));
        let label = if axes.len() > 1 { format!("{} = {own}", sizes.join(" × ")) } else { own };
        let message =
            format!("up to the stage `{}` there are more than {INSTANCES_MAX} instances", stage.name);
        let mut diagnostic =
            Diagnostic::error(code::TOO_MANY_INSTANCES, message).at(stage.span.clone(), label);
        for axis in axes {
            diagnostic = diagnostic.with(axis.name.span.clone(), format!("{} values", axis.values.len()));
        }
        return Err(Box::new(
            diagnostic.help("let one instance do a range of the work, or split the pipeline"),
        ));
    }
    Ok(())
}

fn fill_pipeline_env<'t>(
    file: &'t File<'t>,
    shared: &Shared<'_>,
    templates: &mut Templates<'_, 't>,
    expanded: &mut Expanded,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, String> {
    let names = Names {
        place: "`[env]`",
        params: shared.params,
        matrix: None,
        inputs: Part::NotHere,
        outputs: Part::NotHere,
        stage: false,
        environment: false,
    };
    let values = context! { params => shared.values.clone(), run => shared.run.clone(), interval => shared.interval.value() };
    let mut env = BTreeMap::new();
    for (name, text) in &file.env {
        match templates.compile(text, &names) {
            Ok(template) => {
                expanded.note_use(&template);
                match template.render(&values, &names, Use::Plain) {
                    Ok(value) => {
                        env.insert(name.value.clone().into_owned(), value);
                    }
                    Err(diagnostics) => found.extend(diagnostics),
                }
            }
            Err(diagnostics) => found.extend(diagnostics),
        }
    }
    env
}

fn expand_stage<'t>(
    stage: &'t StageSyntax<'t>,
    number: usize,
    shared: &Shared<'_>,
    templates: &mut Templates<'_, 't>,
    expanded: &mut Expanded,
    found: &mut Vec<Diagnostic>,
) {
    let Some(axes) = &stage.matrix else {
        expanded.outputs_known = false;
        return;
    };
    expanded.outputs_known &= stage.outputs.whole;
    let axis_names: Vec<&str> = axes.iter().map(|axis| axis.name.value.as_ref()).collect();
    let compiled = match StageTemplates::compile(stage, &axis_names, shared.params, templates) {
        (compiled, diagnostics) if diagnostics.is_empty() => compiled,
        (compiled, diagnostics) => {
            found.extend(diagnostics);
            expanded.outputs_known &= compiled.outputs_compiled;
            compiled
        }
    };
    compiled.each(|template| expanded.note_use(template));
    interval::check(stage, &compiled, expanded, shared.scheduled, found);
    let rows: usize = axes.iter().map(|axis| axis.values.len()).product();
    let mut repeated = Repeated::default();
    expanded.instances.reserve(rows);
    for row in 0..rows {
        let coordinates = coordinates(axes, row);
        let place = instance::Place {
            name: InstanceName::new(stage.name.clone(), coordinates_text(&coordinates)),
            stage: u32::try_from(number).expect("fewer stages than bytes"),
            matrix: &coordinates,
        };
        let (instance, outputs_known) =
            instance::fill(stage, place, &compiled, &axis_names, shared, &mut |diagnostic| {
                repeated.add(diagnostic);
            });
        expanded.outputs_known &= outputs_known;
        expanded.instances.push(instance);
    }
    found.extend(repeated.finish());
}

impl Expanded {
    fn note_use(&mut self, template: &Template<'_, '_>) {
        self.reads_interval |= template.refers_to("interval");
        self.volatile |= template.refers_to("run") || template.refers_to("interval");
        self.all_params_used |= template.refers_to_all("params");
        for name in template.names_of("params") {
            if !self.used_params.contains(name) {
                self.used_params.insert(name.to_owned());
            }
        }
    }
}

/// Returns names and values of instance `row`, the last list running fastest.
fn coordinates<'a>(axes: &'a [Axis<'_>], row: usize) -> Vec<(&'a str, &'a ParamValue)> {
    let mut rest = row;
    let mut values: Vec<_> = axes
        .iter()
        .rev()
        .map(|axis| {
            let value = &axis.values[rest % axis.values.len()];
            rest /= axis.values.len();
            (axis.name.value.as_ref(), &value.value)
        })
        .collect();
    values.reverse();
    values
}

/// Returns what stands in the brackets of an instance's name.
fn coordinates_text(coordinates: &[(&str, &ParamValue)]) -> Option<String> {
    let texts: Vec<String> = coordinates.iter().map(|(_, value)| coordinate(value)).collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

/// Returns a value's text in an instance's name: in quotes where it would not be told apart without.
fn coordinate(value: &ParamValue) -> String {
    let text = value.to_string();
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, ',' | '[' | ']' | '"' | '\\');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("{text:?}") }
}

fn template_value(value: &ParamValue) -> Value {
    match value {
        ParamValue::Integer(number) => Value::from(*number),
        ParamValue::Float(number) => Value::from(*number),
        ParamValue::Boolean(value) => Value::from(*value),
        ParamValue::String(text)
        | ParamValue::OffsetDatetime(text)
        | ParamValue::LocalDatetime(text)
        | ParamValue::LocalDate(text)
        | ParamValue::LocalTime(text) => Value::from(text.as_str()),
    }
}

fn run_value(options: &Options) -> Value {
    let time = jiff::Timestamp::from_millisecond(options.run.logical_time.0).unwrap_or_default();
    let id = options.run.run_id.map_or_else(|| NO_RUN.to_owned(), |id| id.to_string());
    context! { logical_time => time.to_string(), id => id }
}

/// Stands for a run's id where nothing runs.
const NO_RUN: &str = "00000000-0000-0000-0000-000000000000";

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    /// Returns the line of a byte, from 1.
    fn of(&self, at: usize) -> u32 {
        u32::try_from(self.0.partition_point(|newline| *newline < at) + 1).unwrap_or(u32::MAX)
    }
}

/// Compiled text of a command.
enum RunTemplate<'e, 't> {
    Shell(Template<'e, 't>),
    Argv(Vec<Template<'e, 't>>),
}

impl<'e, 't> RunTemplate<'e, 't> {
    fn compile(
        run: &'t Run<'t>,
        names: &Names<'_>,
        templates: &mut Templates<'e, 't>,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        match run {
            Run::Shell(text) => compile(text, names, templates, found).map(Self::Shell),
            Run::Argv(words) => {
                let compiled: Vec<_> =
                    words.iter().filter_map(|word| compile(word, names, templates, found)).collect();
                (compiled.len() == words.len()).then_some(Self::Argv(compiled))
            }
        }
    }
}

fn compile<'e, 't>(
    text: &'t Text<'t>,
    names: &Names<'_>,
    templates: &mut Templates<'e, 't>,
    found: &mut Vec<Diagnostic>,
) -> Option<Template<'e, 't>> {
    match templates.compile(text, names) {
        Ok(template) => Some(template),
        Err(diagnostics) => {
            found.extend(diagnostics);
            None
        }
    }
}
