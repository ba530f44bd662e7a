//! One stage as it is written.

use std::borrow::Cow;

use cairn_model::Name;
use toml::de::DeValue;

use super::effect::EffectSyntax;
use super::inputs::{InputSyntax, OutputSyntax};
use super::names::show;
use super::reader::{Key, Listed, Reader, Value, Wanted, type_name};
use super::records::RecordsSyntax;
use super::text::{At, Span, Text};
use super::words;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::{ParamValue, Policy};

/// A stage.
#[derive(Debug)]
pub(crate) struct StageSyntax<'a> {
    pub name: Name,
    /// Where its name stands.
    pub span: Span,
    pub description: String,
    pub run: Option<Run<'a>>,
    pub inputs: Listed<InputSyntax<'a>>,
    /// Not whole after an error in `stdout` as well.
    pub outputs: Listed<OutputSyntax<'a>>,
    pub stdout: Option<Text<'a>>,
    /// Whether `inputs` are a table, so that templates name them.
    pub inputs_named: bool,
    /// Likewise for `outputs`.
    pub outputs_named: bool,
    pub env: Vec<(At<Cow<'a, str>>, Text<'a>)>,
    pub pass_env: Vec<Text<'a>>,
    pub tools: Vec<Text<'a>>,
    pub salt: Option<Text<'a>>,
    pub shell: Option<Vec<String>>,
    /// Empty for none, `None` after an error in it.
    pub matrix: Option<Vec<Axis<'a>>>,
    pub needs: Vec<Text<'a>>,
    pub pool: Option<Text<'a>>,
    pub effect: Option<EffectSyntax<'a>>,
    /// Where `cpus` stands.
    pub cpus_span: Option<Span>,
    pub policy: Policy,
    pub records: Option<RecordsSyntax<'a>>,
}

/// A command.
#[derive(Debug)]
pub(crate) enum Run<'a> {
    Shell(Text<'a>),
    Argv(Vec<Text<'a>>),
}

/// One list of a matrix.
#[derive(Debug)]
pub(crate) struct Axis<'a> {
    pub name: At<Cow<'a, str>>,
    pub values: Vec<At<ParamValue>>,
}

impl<'a> StageSyntax<'a> {
    /// Reads a stage, `None` where it has no name or is no table.
    pub(super) fn read(reader: &mut Reader<'a>, key: &Key<'a>, value: &Value<'a>) -> Option<Self> {
        let text = Text { text: key.get_ref().clone(), span: key.span() };
        let name = reader.name(&text);
        let table = match value.get_ref() {
            DeValue::Table(table) => table,
            _ if words::STAGE.known.contains(&key.get_ref().as_ref()) => {
                let message = format!("`{}` stands in `[stages]`, outside of any stage", key.get_ref());
                let diagnostic = Diagnostic::error(code::WRONG_TYPE, message)
                    .at(key.span(), "of which stage?")
                    .help("write it below a header such as `[stages.NAME]`");
                reader.report(diagnostic);
                return None;
            }
            _ => {
                let found = type_name(value.get_ref());
                let message = format!("the stage `{}` must be a table, not {found}", show(key.get_ref()));
                let header = name.as_ref().map_or("NAME", Name::as_str);
                let diagnostic = Diagnostic::error(code::WRONG_TYPE, message)
                    .at(value.span(), format!("this is {found}"))
                    .help(format!("write its keys below a header `[stages.{header}]`"));
                reader.report(diagnostic);
                return None;
            }
        };
        let mut stage = Self {
            name: name.unwrap_or_else(|| "unnamed".parse().expect("a name of letters")),
            span: key.span(),
            description: String::new(),
            run: None,
            inputs: Listed::EMPTY,
            outputs: Listed::EMPTY,
            stdout: None,
            inputs_named: false,
            outputs_named: false,
            env: Vec::new(),
            pass_env: Vec::new(),
            tools: Vec::new(),
            salt: None,
            shell: None,
            matrix: Some(Vec::new()),
            needs: Vec::new(),
            pool: None,
            effect: None,
            cpus_span: None,
            policy: Policy::default(),
            records: None,
        };
        let mut records_named = None;
        let mut run_named = false;
        for (key, value) in Reader::entries(table) {
            let name = key.get_ref().as_ref();
            run_named |= name == "run";
            if name == "records" {
                records_named = Some(key.span());
            }
            if !stage.read_key(reader, name, value) {
                let meant = reader.unknown_key(&words::STAGE, key);
                match meant {
                    Some("run") => run_named = true,
                    Some("inputs") => stage.inputs.whole = false,
                    Some("outputs" | "stdout") => stage.outputs.whole = false,
                    Some("matrix") => stage.matrix = None,
                    _ => {}
                }
            }
        }
        if let Some(span) = records_named {
            stage.take_records(reader, span);
        } else if !run_named {
            let diagnostic =
                Diagnostic::error(code::MISSING_KEY, format!("the stage `{}` has no `run`", stage.name))
                    .at(stage.span.clone(), "runs nothing")
                    .help("write `run = \"…\"` for a shell, or `run = [\"program\", \"argument\"]`");
            reader.report(diagnostic);
        }
        stage.check_variables(reader);
        Some(stage)
    }

    /// Reads one key; false when it is none of a stage's.
    fn read_key(&mut self, reader: &mut Reader<'a>, name: &str, value: &Value<'a>) -> bool {
        match name {
            "description" => {
                self.description =
                    reader.text("`description`", value).map_or_else(String::new, |t| t.text.into());
            }
            "run" => self.run = reader.run("`run`", value),
            "inputs" => {
                self.inputs_named = value.get_ref().is_table();
                self.inputs = reader.inputs(value);
            }
            "outputs" => {
                self.outputs_named = value.get_ref().is_table();
                let outputs = reader.outputs(value);
                // An error in `stdout` before stays one.
                self.outputs = Listed { whole: self.outputs.whole && outputs.whole, ..outputs };
            }
            "stdout" => {
                self.stdout = reader.filled_text("`stdout`", value);
                if self.stdout.is_none() {
                    self.outputs.whole = false;
                }
            }
            "env" => self.env = reader.variables(value),
            "pass_env" => {
                let names = reader.texts("`pass_env`", value).good;
                let good = |name: &Text<'a>| reader.variable(&name.text, name.span.clone()).is_some();
                self.pass_env = names.into_iter().filter(good).collect();
            }
            "tools" => self.tools = reader.texts("`tools`", value).good,
            "salt" => self.salt = reader.text("`salt`", value),
            "shell" => self.shell = reader.shell(value),
            "matrix" => self.matrix = reader.matrix(value),
            "needs" => self.needs = reader.texts("`needs`", value).good,
            "retries" => self.policy.retries = reader.retries(value),
            "timeout" => self.policy.timeout_ms = reader.duration("`timeout`", 1, value),
            "kill_after" => {
                let own = reader.duration("`kill_after`", 0, value);
                self.policy.kill_after_ms = own.unwrap_or(Policy::KILL_AFTER_MS);
            }
            "cache" => self.policy.cache = reader.cache(value),
            "resources" => {
                let resources = reader.resources(value);
                if let Some((cpus, span)) = resources.cpus {
                    self.policy.cpus = cpus;
                    self.cpus_span = Some(span);
                }
                self.policy.memory_bytes = resources.memory_bytes;
                self.policy.pool = resources.pool.as_ref().map(|pool| pool.text.to_string());
                self.pool = resources.pool;
            }
            "priority" => {
                self.policy.priority = reader.integer("`priority`", i64::MIN, i64::MAX, value).unwrap_or(0);
            }
            "effect" => self.effect = reader.effect(value),
            "on_failure" => self.policy.rollback = reader.on_failure(value),
            "records" => self.records = reader.records(value),
            "sandbox" => self.policy.sandbox = reader.sandbox("`sandbox`", value),
            _ => return false,
        }
        true
    }

    /// Makes the records' worker the stage's command, their source one of its inputs, file sinks outputs of it.
    fn take_records(&mut self, reader: &mut Reader<'a>, span: Span) {
        if let Some(run) = &self.run {
            let diagnostic = Diagnostic::error(code::BAD_VALUE, "a stage has `run` or `records`, not both")
                .at(run.span(), "runs a command")
                .with(span.clone(), "passes records on")
                .help("make two stages of them; a process that transforms records is `worker` in `records`");
            reader.report(diagnostic);
        }
        if let Some(stdout) = &self.stdout {
            let diagnostic = Diagnostic::error(code::BAD_VALUE, "a records stage has no `stdout`")
                .at(stdout.span.clone(), "not here")
                .help("write `sink = { type = \"jsonl\", path = \"…\" }` in `records`");
            reader.report(diagnostic);
        }
        let Some(records) = &mut self.records else { return };
        self.run = records.worker.take();
        records.join(&mut self.inputs, self.inputs_named, &mut self.outputs, self.outputs_named);
    }

    fn check_variables(&self, reader: &mut Reader<'a>) {
        for passed in &self.pass_env {
            if let Some((name, _)) = self.env.iter().find(|(name, _)| name.value == passed.text) {
                let message = format!("the variable `{}` is both passed on and set", passed.text);
                let diagnostic = Diagnostic::error(code::BAD_VALUE, message)
                    .at(passed.span.clone(), "taken from the caller here")
                    .with(name.span.clone(), "set here")
                    .help("remove one of the two");
                reader.report(diagnostic);
            }
        }
    }
}

impl<'a> Reader<'a> {
    /// Reads a command: a text for a shell, or an array of a program and its arguments.
    pub(super) fn run(&mut self, what: &str, value: &Value<'a>) -> Option<Run<'a>> {
        match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                let help = "write `[\"program\", \"argument\"]`";
                self.bad_value(format!("{what} names no program"), "no program", value.span(), help);
                None
            }
            DeValue::Array(items) => {
                let words = self.texts(what, value).whole()?;
                if words.first().is_none_or(|program| program.text.trim().is_empty()) {
                    let help = "write the program first";
                    self.bad_value(format!("{what} names no program"), "no program", items[0].span(), help);
                    return None;
                }
                Some(Run::Argv(words))
            }
            DeValue::String(_) => self.filled_text(what, value).map(Run::Shell),
            _ => {
                self.wrong_type(what, "a string or an array of strings", Wanted::Text, value);
                None
            }
        }
    }

    fn matrix(&mut self, value: &Value<'a>) -> Option<Vec<Axis<'a>>> {
        let DeValue::Table(table) = value.get_ref() else {
            let wanted = "a table of arrays such as `{ carrier = [\"UA\", \"AA\"] }`";
            self.wrong_type("`matrix`", wanted, Wanted::Other, value);
            return None;
        };
        let before = self.found.len();
        if table.is_empty() {
            self.empty_matrix("`matrix` has no values", value.span());
        }
        let mut axes = Vec::new();
        for (key, value) in Self::entries(table) {
            let what = format!("`{}` of the matrix", show(key.get_ref()));
            let name = self.identifier("a name in a matrix", key);
            let DeValue::Array(items) = value.get_ref() else {
                self.wrong_type(&what, "an array of values", Wanted::Texts, value);
                continue;
            };
            if items.is_empty() {
                self.empty_matrix(&format!("{what} has no values"), value.span());
                continue;
            }
            let item = format!("a value of {what}");
            let values: Vec<At<ParamValue>> =
                items.iter().filter_map(|value| self.scalar(&item, value)).collect();
            self.check_values(&what, &values);
            axes.extend(name.map(|name| Axis { name, values }));
        }
        (self.found.len() == before).then_some(axes)
    }

    fn empty_matrix(&mut self, message: &str, span: Span) {
        let diagnostic = Diagnostic::error(code::EMPTY_MATRIX, message)
            .at(span, "no instance comes of this")
            .help("list at least one value, or remove the matrix");
        self.report(diagnostic);
    }

    /// Refuses values that cannot be told apart by their text, and those that look like templates but are none.
    fn check_values(&mut self, what: &str, values: &[At<ParamValue>]) {
        let mut seen = std::collections::HashMap::new();
        for value in values {
            let text = value.value.to_string();
            if text.contains("{{") {
                let help =
                    "write the values themselves; a param can be combined with them where they are used";
                self.bad_value(
                    format!("a value of {what} cannot be a template"),
                    "taken as it is",
                    value.span.clone(),
                    help,
                );
            }
            if let Some(first) = seen.insert(text, value.span.clone()) {
                let message = format!("`{}` stands twice in {what}", show(&value.value.to_string()));
                let diagnostic = Diagnostic::error(code::REPEATED_VALUE, message)
                    .at(value.span.clone(), "again")
                    .with(first, "first here")
                    .help("remove one: values are told apart by their text");
                self.report(diagnostic);
            }
        }
    }
}

impl Run<'_> {
    /// Returns where it stands; an array from its first element to its last.
    pub(crate) fn span(&self) -> Span {
        match self {
            Self::Shell(text) => text.span.clone(),
            Self::Argv(words) => match (words.first(), words.last()) {
                (Some(first), Some(last)) => first.span.start..last.span.end,
                _ => 0..0,
            },
        }
    }
}
