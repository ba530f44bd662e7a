//! The templates of one stage, compiled once for all its instances.

use super::{RunTemplate, compile};
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Run, SinkKind, StageSyntax, Subject, Text};
use crate::template::{Names, Part, Template, Templates, What};

/// Every template of a stage; what could not be compiled is `None`.
pub(super) struct StageTemplates<'e, 't> {
    /// In the order of the stage's inputs.
    pub inputs: Vec<Option<InputTemplate<'e, 't>>>,
    /// In the order of the stage's outputs.
    pub outputs: Vec<Option<Template<'e, 't>>>,
    pub stdout: Option<Template<'e, 't>>,
    /// Whether every path of an output could be compiled.
    pub outputs_compiled: bool,
    pub run: Option<RunTemplate<'e, 't>>,
    pub env: Vec<Option<Template<'e, 't>>>,
    pub tools: Vec<Option<Template<'e, 't>>>,
    pub salt: Option<Template<'e, 't>>,
    pub effect: EffectTemplates<'e, 't>,
    /// In the order of the records' sinks.
    pub sinks: Vec<SinkTemplates<'e, 't>>,
    pub uses: Uses,
}

/// The templates of a sink outside of the project's files.
pub(super) struct SinkTemplates<'e, 't> {
    pub path: Option<Template<'e, 't>>,
    pub url: Option<Template<'e, 't>>,
    pub table: Option<Template<'e, 't>>,
    pub headers: Vec<Option<Template<'e, 't>>>,
}

/// Which values the templates of a stage need: none is made that none looks at.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a set of six names, looked at for each instance")]
pub(super) struct Uses {
    pub anything: bool,
    pub matrix: bool,
    pub stage: bool,
    pub inputs: bool,
    pub outputs: bool,
    /// Also where a command names one of its variables.
    pub interval: bool,
}

/// The templates of an effect; what is not there, or could not be compiled, is `None`.
#[derive(Default)]
pub(super) struct EffectTemplates<'e, 't> {
    pub key: Option<Template<'e, 't>>,
    pub confirm: Option<RunTemplate<'e, 't>>,
    pub probe: Option<RunTemplate<'e, 't>>,
    pub undo: Option<RunTemplate<'e, 't>>,
}

pub(super) enum InputTemplate<'e, 't> {
    Path(Template<'e, 't>),
    Command(RunTemplate<'e, 't>),
    /// A variable or a stage, named without a template.
    Fixed,
}

/// What may be referred to in paths, before inputs and outputs are known.
pub(super) fn path_names<'n>(
    place: &'static str,
    params: Option<&'n [&'n str]>,
    matrix: &'n [&'n str],
) -> Names<'n> {
    let (inputs, outputs) = (Part::NotHere, Part::NotHere);
    Names { place, params, matrix: Some(matrix), inputs, outputs, stage: true, environment: false }
}

/// What may be referred to in the address of a sink.
pub(super) fn address_names<'n>(params: Option<&'n [&'n str]>, matrix: &'n [&'n str]) -> Names<'n> {
    Names { environment: true, ..path_names("the address of a sink", params, matrix) }
}

impl<'e, 't> StageTemplates<'e, 't> {
    pub(super) fn compile(
        stage: &'t StageSyntax<'t>,
        matrix: &[&str],
        params: Option<&[&str]>,
        templates: &mut Templates<'e, 't>,
    ) -> (Self, Vec<Diagnostic>) {
        let mut found = Vec::new();
        let in_input = path_names("an input", params, matrix);
        let in_output = path_names("an output's path", params, matrix);
        let in_other = path_names("this place", params, matrix);
        let (inputs, outputs) = (&stage.inputs.good, &stage.outputs.good);
        let input_templates = inputs
            .iter()
            .map(|input| match &input.subject {
                Subject::Path(text) => {
                    compile(text, &in_input, templates, &mut found).map(InputTemplate::Path)
                }
                Subject::Command(run) => {
                    RunTemplate::compile(run, &in_input, templates, &mut found).map(InputTemplate::Command)
                }
                Subject::Environment(_) | Subject::Stage(_) => Some(InputTemplate::Fixed),
            })
            .collect();
        let output_templates: Vec<_> =
            outputs.iter().map(|output| compile(&output.path, &in_output, templates, &mut found)).collect();
        let stdout = stage.stdout.as_ref().and_then(|text| compile(text, &in_output, templates, &mut found));
        let outputs_compiled =
            output_templates.iter().all(Option::is_some) && stdout.is_some() == stage.stdout.is_some();
        let input_items: Vec<(&str, What<'_>)> =
            inputs.iter().map(|input| (input.name.as_ref(), What::Path)).collect();
        let mut output_items: Vec<(&str, What<'_>)> =
            outputs.iter().map(|output| (output.name.as_ref(), What::Path)).collect();
        if stage.stdout.is_some() {
            output_items.push(("stdout", What::Path));
        }
        let (input_list, output_list) = (vec![What::Path; inputs.len()], vec![What::Path; outputs.len()]);
        let names = Names {
            inputs: match (stage.inputs.whole, stage.inputs_named) {
                (false, _) => Part::Unknown,
                (_, true) => Part::Table(&input_items),
                (_, false) => Part::List(&input_list),
            },
            outputs: match (stage.outputs.whole, stage.outputs_named || outputs.is_empty()) {
                (false, _) => Part::Unknown,
                (_, true) => Part::Table(&output_items),
                (_, false) => Part::List(&output_list),
            },
            ..path_names("a command", params, matrix)
        };
        let address = address_names(params, matrix);
        let sinks = stage.records.iter().flat_map(|records| &records.sinks).map(|sink| {
            let external = !matches!(sink.kind, SinkKind::File(_));
            let mut optional = |text: &'t Option<Text<'t>>| {
                text.as_ref()
                    .filter(|_| external)
                    .and_then(|text| compile(text, &address, templates, &mut found))
            };
            let (path, url, table) = (optional(&sink.path), optional(&sink.url), optional(&sink.table));
            let headers = &sink.headers;
            let headers =
                headers.iter().map(|(_, text)| compile(text, &address, templates, &mut found)).collect();
            SinkTemplates { path, url, table, headers }
        });
        let sinks = sinks.collect();
        let mut compiled = Self {
            sinks,
            inputs: input_templates,
            outputs: output_templates,
            stdout,
            outputs_compiled,
            run: stage.run.as_ref().and_then(|run| RunTemplate::compile(run, &names, templates, &mut found)),
            env: stage.env.iter().map(|(_, text)| compile(text, &names, templates, &mut found)).collect(),
            tools: stage.tools.iter().map(|text| compile(text, &in_other, templates, &mut found)).collect(),
            salt: stage.salt.as_ref().and_then(|text| compile(text, &in_other, templates, &mut found)),
            effect: EffectTemplates::compile(stage, &names, &in_other, templates, &mut found),
            uses: Uses::default(),
        };
        let mut uses = Uses::default();
        compiled.each(|template| {
            uses.anything |= template.is_dynamic();
            uses.matrix |= template.refers_to("matrix");
            uses.stage |= template.refers_to("stage");
            uses.inputs |= template.refers_to("inputs");
            uses.outputs |= template.refers_to("outputs");
            uses.interval |= template.refers_to("interval");
        });
        uses.interval |= super::interval::is_named(stage);
        compiled.uses = uses;
        (compiled, found)
    }

    /// Visits every template.
    pub(super) fn each(&self, mut visit: impl FnMut(&Template<'e, 't>)) {
        let mut each_of_run = |run: &RunTemplate<'e, 't>| match run {
            RunTemplate::Shell(template) => visit(template),
            RunTemplate::Argv(words) => words.iter().for_each(&mut visit),
        };
        let EffectTemplates { key, confirm, probe, undo } = &self.effect;
        [&self.run, confirm, probe, undo].into_iter().flatten().for_each(&mut each_of_run);
        for input in self.inputs.iter().flatten() {
            if let InputTemplate::Command(run) = input {
                each_of_run(run);
            }
        }
        for input in self.inputs.iter().flatten() {
            if let InputTemplate::Path(template) = input {
                visit(template);
            }
        }
        for sink in &self.sinks {
            let texts = [&sink.path, &sink.url, &sink.table];
            texts.into_iter().chain(&sink.headers).flatten().for_each(&mut visit);
        }
        let listed = self.outputs.iter().chain(&self.env).chain(&self.tools).flatten();
        listed.chain(&self.stdout).chain(&self.salt).chain(key).for_each(visit);
    }
}

impl<'e, 't> EffectTemplates<'e, 't> {
    fn compile(
        stage: &'t StageSyntax<'t>,
        in_command: &Names<'_>,
        in_key: &Names<'_>,
        templates: &mut Templates<'e, 't>,
        found: &mut Vec<Diagnostic>,
    ) -> Self {
        let Some(effect) = &stage.effect else { return Self::default() };
        let key = effect.key.as_ref().and_then(|text| {
            let key = compile(text, in_key, templates, found)?;
            if key.names_of("run").any(|name| name == "id") || key.refers_to_all("run") {
                let diagnostic =
                    Diagnostic::error(code::NAME_NOT_HERE, "the key of an effect holds the run's id")
                        .at(text.span.clone(), "another key in each run: nothing would ever count as done")
                        .help("name what the effect is about: a param, the matrix, `run.logical_time`");
                found.push(diagnostic);
                return None;
            }
            Some(key)
        });
        let mut command = |run: &'t Option<Run<'t>>| {
            run.as_ref().and_then(|run| RunTemplate::compile(run, in_command, templates, found))
        };
        let (confirm, probe, undo) =
            (command(&effect.confirm), command(&effect.probe), command(&effect.undo));
        Self { key, confirm, probe, undo }
    }
}
