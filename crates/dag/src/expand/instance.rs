//! One instance: its templates filled in.

use cairn_model::{Command, InstanceName, OutputKind, ProjectPath};
use minijinja::{Value, context};

use super::compiled::{InputTemplate, StageTemplates, path_names};
use super::paths::{self, PathOrGlob};
use super::records::{self, AddressBook};
use super::{RunTemplate, Shared, template_value};
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Run, Span, StageSyntax, Subject, Text, show};
use crate::template::{self, Names, Part, Template, Use, What};
use crate::{Declared, Effect, Input, InputKind, Instance, ParamValue};

/// Bytes of the longest argument that Linux takes (`MAX_ARG_STRLEN`), the NUL at its end not counted.
const ARGUMENT_BYTES_MAX: usize = 128 * 1024 - 1;

/// Bytes of the longest key of an effect.
const KEY_BYTES_MAX: usize = 512;

/// Which instance is filled.
pub(super) struct Place<'p> {
    pub name: InstanceName,
    pub stage: u32,
    pub matrix: &'p [(&'p str, &'p ParamValue)],
}

/// Fills one instance and says whether all its outputs are known.
///
/// What is wrong is reported; such an instance is never run, but its paths still serve to check the others.
pub(super) fn fill(
    stage: &StageSyntax<'_>,
    place: Place<'_>,
    templates: &StageTemplates<'_, '_>,
    axis_names: &[&str],
    shared: &Shared<'_>,
    report: &mut dyn FnMut(Diagnostic),
) -> (Instance, bool) {
    let uses = templates.uses;
    let mut values = Vec::new();
    if uses.anything {
        values.extend([("params", shared.values.clone()), ("run", shared.run.clone())]);
        values.push(("interval", shared.interval.value()));
    }
    if uses.matrix {
        let coordinates = place.matrix.iter().map(|(name, value)| (*name, template_value(value)));
        values.push(("matrix", template::table(coordinates)));
    }
    if uses.stage {
        let instance = place.name.to_string();
        values.push(("stage", context! { name => stage.name.as_str(), instance => instance }));
    }
    let mut filler = Filler {
        values: template::table(values.iter().cloned()),
        names: path_names("this place", shared.params, axis_names),
        shell: stage.shell.as_deref().unwrap_or(shared.shell),
        report: &mut *report,
    };

    let inputs = filler.inputs(stage, templates);
    let (outputs, outputs_known) = filler.outputs(stage, templates, shared.file.as_ref());

    let items = if uses.inputs { input_items(stage, &inputs) } else { Vec::new() };
    let list: Vec<What<'_>> = items.iter().map(|(_, what)| *what).collect();
    if uses.inputs {
        values.push(("inputs", inputs_value(&inputs, stage.inputs_named)));
        filler.names.inputs = if stage.inputs_named { Part::Table(&items) } else { Part::List(&list) };
    }
    if uses.outputs {
        let named = stage.outputs_named || stage.outputs.good.is_empty();
        values.push(("outputs", outputs_value(&outputs, named)));
        filler.names.outputs = Part::Unknown;
    }
    if uses.inputs || uses.outputs {
        filler.values = template::table(values.iter().cloned());
    }

    // Without all its inputs and outputs a command's templates would only echo the errors in those.
    let whole = outputs_known && stage.inputs.whole && inputs.iter().all(|input| !is_gap(input));
    let mut env = shared.env.clone();
    if uses.interval {
        env.extend(shared.interval.variables());
    }
    let mut command = Command::Argv(Vec::new());
    if whole {
        let own = stage.env.iter().zip(&templates.env);
        for ((name, _), template) in own {
            if let Some(value) = template.as_ref().and_then(|template| filler.text(template, Use::Plain)) {
                env.insert(name.value.clone().into_owned(), value);
            }
        }
        if let (Some(run), Some(syntax)) = (&templates.run, &stage.run)
            && let Some(filled) = filler.command(run, syntax.span())
        {
            filler.check_program(&filled, &outputs, syntax.span());
            command = filled;
        }
    }
    let mut pass_env: Vec<String> = stage.pass_env.iter().map(|name| name.text.to_string()).collect();
    pass_env.sort_unstable();
    pass_env.dedup();
    // The stage's own word counts more than the pipeline's.
    env.retain(|name, _| pass_env.binary_search(name).is_err());
    let mut tools: Vec<String> = filler.tools(stage, templates);
    tools.sort_unstable();
    tools.dedup();
    let salt = templates.salt.as_ref().and_then(|salt| filler.text(salt, Use::Plain));

    let effect = if whole { filler.effect(stage, templates) } else { None };

    let mut instance = Instance {
        name: place.name,
        stage: place.stage,
        command,
        env,
        pass_env,
        tools,
        salt,
        inputs,
        outputs,
        needs: Vec::new(),
        effect,
        policy: stage.policy.clone(),
        records: None,
    };
    let book = AddressBook { values: &values, params: shared.params, axes: axis_names };
    if whole {
        instance.records = records::fill(stage, templates, &book, &instance, report);
    }
    (instance, outputs_known)
}

struct Filler<'f> {
    values: Value,
    names: Names<'f>,
    shell: &'f [String],
    report: &'f mut dyn FnMut(Diagnostic),
}

impl Filler<'_> {
    fn text(&mut self, template: &Template<'_, '_>, to: Use) -> Option<String> {
        match template.render(&self.values, &self.names, to) {
            Ok(text) => Some(text),
            Err(diagnostics) => {
                diagnostics.into_iter().for_each(&mut *self.report);
                None
            }
        }
    }

    fn good<T>(&mut self, result: Result<T, Box<Diagnostic>>) -> Option<T> {
        result.map_err(|diagnostic| (self.report)(*diagnostic)).ok()
    }

    /// Fills the inputs; one that is wrong leaves a gap, so that their order is the stage's.
    fn inputs(&mut self, stage: &StageSyntax<'_>, templates: &StageTemplates<'_, '_>) -> Vec<Input> {
        let syntax = &stage.inputs.good;
        let mut inputs = Vec::with_capacity(syntax.len());
        for (input, template) in syntax.iter().zip(&templates.inputs) {
            let kind = match (&input.subject, template) {
                (Subject::Environment(name), _) => {
                    Some(InputKind::Environment { variable: name.text.clone().into_owned() })
                }
                (Subject::Stage(_), _) => Some(InputKind::Stage { outputs: Vec::new() }),
                (Subject::Path(text), Some(InputTemplate::Path(template))) => {
                    self.text(template, Use::Plain).and_then(|filled| {
                        self.good(paths::input(&filled, &text.span)).map(|path| match path {
                            PathOrGlob::Path(path) => {
                                InputKind::Path { path, made_by: None, holds: Vec::new() }
                            }
                            PathOrGlob::Glob(glob) => {
                                InputKind::Glob { pattern: glob.as_str().to_owned(), made_by: Vec::new() }
                            }
                        })
                    })
                }
                (Subject::Command(run), Some(InputTemplate::Command(template))) => {
                    self.command(template, run.span()).map(|command| InputKind::Command { command })
                }
                (Subject::Path(_) | Subject::Command(_), _) => None,
            };
            inputs.push(Input {
                name: input.name.clone().into_owned(),
                optional: input.optional,
                kind: kind.unwrap_or_else(gap),
            });
        }
        inputs
    }

    /// Fills the outputs; when one is wrong there are none, and the answer is false.
    fn outputs(
        &mut self,
        stage: &StageSyntax<'_>,
        templates: &StageTemplates<'_, '_>,
        file: Option<&ProjectPath>,
    ) -> (Vec<Declared>, bool) {
        let mut outputs = Vec::new();
        let mut known = stage.outputs.whole;
        for (syntax, template) in stage.outputs.good.iter().zip(&templates.outputs) {
            let filled = template.as_ref().and_then(|template| self.text(template, Use::Plain));
            match filled.and_then(|text| self.good(paths::output(&text, &syntax.path.span))) {
                Some((path, folder)) => {
                    self.check_reserved(&path, file, &syntax.path);
                    let kind = if folder { OutputKind::Folder } else { OutputKind::File };
                    outputs.push(Declared { name: syntax.name.clone().into_owned(), path, kind });
                }
                None => known = false,
            }
        }
        if let Some(syntax) = &stage.stdout {
            let filled = templates.stdout.as_ref().and_then(|template| self.text(template, Use::Plain));
            match filled.and_then(|text| self.good(paths::output(&text, &syntax.span))) {
                Some((path, false)) => {
                    self.check_reserved(&path, file, syntax);
                    outputs.push(Declared { name: "stdout".to_owned(), path, kind: OutputKind::Stdout });
                }
                Some((path, true)) => {
                    let message = format!("`stdout` is `{path}/`, a folder");
                    let diagnostic = Diagnostic::error(code::BAD_VALUE, message)
                        .at(syntax.span.clone(), "a folder")
                        .help("name a file, without the closing `/`");
                    (self.report)(diagnostic);
                    known = false;
                }
                None => known = false,
            }
        }
        if !known {
            outputs.clear();
        }
        (outputs, known)
    }

    /// Fills the effect, `None` where the stage has none or one that is wrong.
    fn effect(&mut self, stage: &StageSyntax<'_>, templates: &StageTemplates<'_, '_>) -> Option<Box<Effect>> {
        let syntax = stage.effect.as_ref()?;
        let compiled = &templates.effect;
        let key = match (&syntax.key, &compiled.key) {
            (None, _) => None,
            (Some(text), template) => {
                let key = self.text(template.as_ref()?, Use::Plain)?;
                self.check_key(&key, &text.span)?;
                Some(key)
            }
        };
        let mut command = |run: &Option<Run<'_>>, template: &Option<RunTemplate<'_, '_>>| match run {
            None => Some(None),
            Some(run) => self.command(template.as_ref()?, run.span()).map(Some),
        };
        let confirm = command(&syntax.confirm, &compiled.confirm)?;
        let probe = command(&syntax.probe, &compiled.probe)?;
        let undo = command(&syntax.undo, &compiled.undo)?;
        let (mode, on_uncertain) = (syntax.mode, syntax.on_uncertain);
        Some(Box::new(Effect { mode, key, confirm, probe, undo, on_uncertain }))
    }

    /// A key goes into the environment, over the network, and onto a line that a person reads and types.
    fn check_key(&mut self, key: &str, span: &Span) -> Option<()> {
        let fault = if key.trim().is_empty() {
            "is empty"
        } else if key.len() > KEY_BYTES_MAX {
            "is longer than 512 bytes"
        } else if key.chars().any(char::is_control) {
            "holds a control character"
        } else {
            return Some(());
        };
        let message = format!("the key `{}` of the effect {fault}", show(key));
        let diagnostic = Diagnostic::error(code::BAD_VALUE, message)
            .at(span.clone(), "not a key")
            .help("write one line of text that says which effect it is");
        (self.report)(diagnostic);
        None
    }

    fn tools(&mut self, stage: &StageSyntax<'_>, templates: &StageTemplates<'_, '_>) -> Vec<String> {
        let mut tools = Vec::new();
        for (syntax, template) in stage.tools.iter().zip(&templates.tools) {
            let Some(tool) = template.as_ref().and_then(|template| self.text(template, Use::Plain)) else {
                continue;
            };
            if !tool.is_empty() && !tool.contains(char::is_whitespace) {
                tools.push(tool);
                continue;
            }
            let diagnostic = Diagnostic::error(code::BAD_VALUE, format!("`{}` is no command", show(&tool)))
                .at(syntax.span.clone(), "not a name")
                .help("name a command alone, its version is asked for; any other question is an input `{ command = \"…\" }`");
            (self.report)(diagnostic);
        }
        tools
    }

    fn check_reserved(&mut self, path: &ProjectPath, file: Option<&ProjectPath>, text: &Text<'_>) {
        let Some(file) = file else { return };
        // What is in the file has its name as the first part; the file itself has no other.
        let (first, below) = path.as_str().split_once('/').unwrap_or((path.as_str(), ""));
        if file.as_str().eq_ignore_ascii_case(first) {
            let fault = if below.is_empty() { "is" } else { "lies in" };
            let diagnostic =
                Diagnostic::error(code::RESERVED_OUTPUT, format!("the output `{path}` {fault} this file"))
                    .at(text.span.clone(), "the pipeline file itself")
                    .help("write to another path");
            (self.report)(diagnostic);
        }
    }

    fn command(&mut self, template: &RunTemplate<'_, '_>, span: Span) -> Option<Command> {
        let command = match template {
            RunTemplate::Shell(template) => {
                Command::Shell { shell: self.shell.to_vec(), script: self.text(template, Use::Shell)? }
            }
            RunTemplate::Argv(words) => {
                let filled: Vec<String> =
                    words.iter().filter_map(|word| self.text(word, Use::Plain)).collect();
                if filled.len() < words.len() {
                    return None;
                }
                Command::Argv(filled)
            }
        };
        let argv = command.argv();
        if let Some(long) = argv.iter().find(|word| word.len() > ARGUMENT_BYTES_MAX) {
            let message = format!("a command of {} bytes", long.len());
            let diagnostic = Diagnostic::error(code::COMMAND_TOO_LONG, message)
                .at(span, format!("the system takes {ARGUMENT_BYTES_MAX} in one argument"))
                .help("put it in a script file, and name that in `inputs`");
            (self.report)(diagnostic);
            return None;
        }
        if let Command::Argv(words) = &command
            && words[0].trim().is_empty()
        {
            let diagnostic = Diagnostic::error(code::BAD_VALUE, "the program's name is empty")
                .at(span, "no program")
                .help("write the program first");
            (self.report)(diagnostic);
            return None;
        }
        Some(command)
    }

    /// Refuses an output that is the program by which the instance makes it.
    fn check_program(&mut self, command: &Command, outputs: &[Declared], span: Span) {
        let program = match command {
            Command::Shell { script, .. } => script.split_whitespace().next(),
            Command::Argv(words) => words.first().map(String::as_str),
        };
        let Some(path) =
            program.filter(|program| program.contains('/')).and_then(|p| ProjectPath::parse(p).ok())
        else {
            return;
        };
        if outputs.iter().any(|output| output.path == path) {
            let message = format!("the output `{path}` is the program that makes it");
            let diagnostic = Diagnostic::error(code::RESERVED_OUTPUT, message)
                .at(span, format!("runs `{}`", show(path.as_str())))
                .help("write to another path");
            (self.report)(diagnostic);
        }
    }
}

/// Stands for an input that is wrong.
fn gap() -> InputKind {
    InputKind::Environment { variable: String::new() }
}

/// Returns whether an input stands for one that is wrong.
pub(crate) fn is_gap(input: &Input) -> bool {
    matches!(&input.kind, InputKind::Environment { variable } if variable.is_empty())
}

/// Returns the inputs by name, each with what it is for a template.
fn input_items<'i>(stage: &'i StageSyntax<'_>, inputs: &'i [Input]) -> Vec<(&'i str, What<'i>)> {
    let subjects = stage.inputs.good.iter().map(|input| &input.subject);
    let what = |(input, subject): (&'i Input, &'i Subject<'_>)| {
        let what = match (subject, &input.kind) {
            (Subject::Path(_), InputKind::Glob { pattern, .. }) => What::Glob(pattern),
            (Subject::Path(_), _) => What::Path,
            (Subject::Environment(name), _) => What::Environment(&name.text),
            (Subject::Command(_), _) => What::Command,
            (Subject::Stage(name), _) => What::Stage(&name.text),
        };
        (input.name.as_str(), what)
    };
    inputs.iter().zip(subjects).map(what).collect()
}

fn inputs_value(inputs: &[Input], named: bool) -> Value {
    let value = |input: &Input| match &input.kind {
        InputKind::Path { path, .. } => Value::from(path.as_str()),
        _ => Value::UNDEFINED,
    };
    if named {
        template::table(inputs.iter().map(|input| (input.name.as_str(), value(input))))
    } else {
        Value::from(inputs.iter().map(value).collect::<Vec<Value>>())
    }
}

fn outputs_value(outputs: &[Declared], named: bool) -> Value {
    if named {
        template::table(
            outputs.iter().map(|output| (output.name.as_str(), Value::from(output.path.as_str()))),
        )
    } else {
        let listed = outputs.iter().filter(|output| output.kind != OutputKind::Stdout);
        Value::from(listed.map(|output| Value::from(output.path.as_str())).collect::<Vec<Value>>())
    }
}
