//! From a file's bytes to a checked pipeline.

use std::collections::BTreeMap;

use cairn_model::{Interval, Name, RunId, Timestamp};

use crate::diagnostic::{Diagnostic, Report};
use crate::expand::{self, Expanded};
use crate::syntax::{self, File, Param, nearest, override_param, show};
use crate::{ParamValue, Pipeline, SandboxChoice, World, check, code};

/// A pipeline file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its path as people are shown it.
    pub path: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// What decides how a file is read beside what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The pipeline's name where the file has none: made a [`cairn_model::Name`], so any text will do.
    pub default_name: String,
    /// What the caller sets params to (`-p NAME=VALUE`), in order.
    pub params: Vec<(String, String)>,
    /// The run that templates may refer to.
    pub run: RunContext,
    /// The shell of stages where neither stage nor pipeline names one; never empty.
    pub default_shell: Vec<String>,
    /// Processors of this machine; a stage that asks for more is warned about.
    pub platform_cpus: u32,
}

/// The run that templates may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunContext {
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// The stretch of logical time that the run is about, `None` where none is given: the day of its logical time, in UTC,
    /// stands for it.
    pub interval: Option<Interval>,
    /// The run's id, `None` where nothing runs; a text of zeros stands for it.
    pub run_id: Option<RunId>,
}

/// A pipeline that may run.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// What may not be as meant.
    pub warnings: Report,
}

/// Reads a pipeline file and checks all that can be known before anything runs.
///
/// # Errors
///
/// All errors there are, sorted by place; where the file is no TOML, only those of the syntax.
pub fn load(source: Source<'_>, options: &Options, world: &dyn World) -> Result<Loaded, Report> {
    let (text, table) = syntax::parse(source.bytes).map_err(report)?;
    let (file, mut found) = File::read(text, &table);
    let params = params_in_force(&file, options, &mut found);
    let mut expanded = expand::expand(&file, text, &params, options, source.path, &mut found);
    check::check(&file, &mut expanded, world, &mut found);
    warn(&file, &expanded, options, &mut found);
    let report = report(found);
    if report.errors() > 0 {
        return Err(report);
    }
    let pipeline = Pipeline {
        name: file.name.unwrap_or_else(|| name_from(&options.default_name)),
        description: file.description,
        workdir: file.workdir.map(|workdir| workdir.value),
        sandbox: file.sandbox.unwrap_or(SandboxChoice::Auto),
        sandbox_require: file.sandbox_require,
        pools: file.pools,
        params,
        stages: expanded.stages,
        instances: expanded.instances,
        rollback: file.rollback,
        schedule: file.schedule.map(|schedule| schedule.value),
        reads_interval: expanded.reads_interval,
        volatile: expanded.volatile,
    };
    Ok(Loaded { pipeline, warnings: report })
}

/// Sorts by place; what has none comes first.
fn report(mut diagnostics: Vec<Diagnostic>) -> Report {
    diagnostics.sort_by_key(|diagnostic| (diagnostic.offset(), diagnostic.code));
    Report { diagnostics }
}

/// Puts the caller's values over the defaults.
fn params_in_force(
    file: &File<'_>,
    options: &Options,
    found: &mut Vec<Diagnostic>,
) -> BTreeMap<String, ParamValue> {
    let default = |param: &Param<'_>| (param.name.value.clone().into_owned(), param.default.value.clone());
    let mut params: BTreeMap<String, ParamValue> = file.params.iter().map(default).collect();
    for (name, text) in &options.params {
        let option = format!("`-p {}={}`", show(name), show(text));
        let Some(param) = file.params.iter().find(|param| param.name.value == *name) else {
            // After an error in the params it may well be there.
            if file.params_known {
                found.push(unknown_param(file, name, &option));
            }
            continue;
        };
        let default = &param.default.value;
        let Some(value) = override_param(default, text) else {
            let message = format!("{option}: the param `{name}` is {}", default.type_name());
            let help = format!("write a value like its default, `-p {name}={}`", show(&default.to_string()));
            found.push(Diagnostic::error(code::PARAM_TYPE, message).help(help));
            continue;
        };
        if !param.choices.is_empty() && !param.choices.iter().any(|choice| choice.value == value) {
            let choices: Vec<String> = param
                .choices
                .iter()
                .take(20)
                .map(|choice| format!("`{}`", show(&choice.value.to_string())))
                .collect();
            let message = format!("{option}: not a choice of the param `{name}`");
            let help = format!("take one of {}", choices.join(", "));
            found.push(Diagnostic::error(code::PARAM_CHOICE, message).help(help));
            continue;
        }
        params.insert(name.clone(), value);
    }
    params
}

fn unknown_param(file: &File<'_>, name: &str, option: &str) -> Diagnostic {
    let names: Vec<&str> = file.params.iter().map(|param| param.name.value.as_ref()).collect();
    let diagnostic =
        Diagnostic::error(code::UNKNOWN_PARAM, format!("{option}: there is no param `{}`", show(name)));
    match (nearest(name, names.iter().copied()), names.as_slice()) {
        (Some(near), _) => diagnostic.help(format!("did you mean `{near}`?")),
        (None, []) => diagnostic.help("the file has no params"),
        (None, names) => {
            let shown: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
            diagnostic.help(format!("the params are {}", shown.join(", ")))
        }
    }
}

fn warn(file: &File<'_>, expanded: &Expanded, options: &Options, found: &mut Vec<Diagnostic>) {
    // After an error, who uses what is not known.
    let all_known = found.is_empty();
    for param in &file.params {
        if all_known && !expanded.all_params_used && !expanded.used_params.contains(param.name.value.as_ref())
        {
            let name = &param.name.value;
            let diagnostic =
                Diagnostic::warning(code::UNUSED_PARAM, format!("the param `{name}` is not used"))
                    .at(param.name.span.clone(), "no template refers to it")
                    .help(format!("write `{{{{ params.{name} }}}}` where it counts, or remove it"));
            found.push(diagnostic);
        }
    }
    for stage in &file.stages {
        let Some(span) = stage.cpus_span.clone().filter(|_| stage.policy.cpus > options.platform_cpus) else {
            continue;
        };
        let message = format!(
            "the stage `{}` asks for {} processors, this machine has {}",
            stage.name, stage.policy.cpus, options.platform_cpus
        );
        let diagnostic = Diagnostic::warning(code::MORE_CPUS, message)
            .at(span, "more than there are")
            .help("it will run alone, with those there are");
        found.push(diagnostic);
    }
    crate::check::sinks::warn(file, expanded, found);
}

/// Makes a name of any text.
fn name_from(text: &str) -> Name {
    let plain: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .collect();
    let plain: String = plain.trim_matches(['-', '_']).chars().take(Name::LENGTH_MAX).collect();
    plain.parse().unwrap_or_else(|_| "pipeline".parse().expect("a name of letters"))
}
