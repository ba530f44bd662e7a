//! `inputs`, `outputs` and `stdout` of a stage.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::names::{list, show};
use super::reader::{Listed, Reader, Value, Wanted};
use super::stage::Run;
use super::text::{Span, Text};
use super::words;
use crate::code;
use crate::diagnostic::Diagnostic;

/// One declared input.
#[derive(Debug)]
pub(crate) struct InputSyntax<'a> {
    /// Its name in a table, empty in a list.
    pub name: Cow<'a, str>,
    pub optional: bool,
    pub subject: Subject<'a>,
    pub span: Span,
}

/// What an input names.
#[derive(Debug)]
pub(crate) enum Subject<'a> {
    /// A path or a pattern: which, is known when its template is filled.
    Path(Text<'a>),
    Environment(Text<'a>),
    Command(Run<'a>),
    Stage(Text<'a>),
}

/// One declared output.
#[derive(Debug)]
pub(crate) struct OutputSyntax<'a> {
    /// Its name in a table, empty in a list.
    pub name: Cow<'a, str>,
    pub path: Text<'a>,
}

const INPUTS_WANTED: &str = "an array, or a table of names";

impl<'a> Reader<'a> {
    pub(super) fn inputs(&mut self, value: &Value<'a>) -> Listed<InputSyntax<'a>> {
        let before = self.found.len();
        let mut inputs = Vec::new();
        match value.get_ref() {
            DeValue::Array(items) => {
                inputs
                    .extend(items.iter().filter_map(|item| self.input("an input", Cow::Borrowed(""), item)));
            }
            DeValue::Table(table) => {
                for (key, value) in Self::entries(table) {
                    let what = format!("the input `{}`", show(key.get_ref()));
                    let name = self.identifier("an input's name", key);
                    let input = self.input(&what, key.get_ref().clone(), value);
                    inputs.extend(name.and(input));
                }
            }
            _ => self.wrong_type("`inputs`", INPUTS_WANTED, Wanted::Texts, value),
        }
        Listed { good: inputs, whole: self.found.len() == before }
    }

    fn input(&mut self, what: &str, name: Cow<'a, str>, value: &Value<'a>) -> Option<InputSyntax<'a>> {
        let span = value.span();
        match value.get_ref() {
            DeValue::String(_) => {
                let subject = Subject::Path(self.filled_text(what, value)?);
                Some(InputSyntax { name, optional: false, subject, span })
            }
            DeValue::Table(table) => self.input_table(what, name, table, span),
            _ => {
                self.wrong_type(what, "a path, or a table such as `{ env = \"NAME\" }`", Wanted::Text, value);
                None
            }
        }
    }

    fn input_table(
        &mut self,
        what: &str,
        name: Cow<'a, str>,
        table: &DeTable<'a>,
        span: Span,
    ) -> Option<InputSyntax<'a>> {
        let before = self.found.len();
        let mut subjects: Vec<(Span, Subject<'a>)> = Vec::new();
        let mut optional = None;
        for (key, value) in Self::entries(table) {
            let subject = match key.get_ref().as_ref() {
                "path" => self.filled_text("`path`", value).map(Subject::Path),
                "env" => self.filled_text("`env`", value).and_then(|text| {
                    self.variable(&text.text, text.span.clone())?;
                    Some(Subject::Environment(text))
                }),
                "command" => self.run("`command`", value).map(Subject::Command),
                "stage" => self.filled_text("`stage`", value).map(Subject::Stage),
                "optional" => {
                    optional = self.boolean("`optional`", value).map(|value| (key.span(), value));
                    None
                }
                _ => {
                    self.unknown_key(&words::INPUT, key);
                    None
                }
            };
            subjects.extend(subject.map(|subject| (key.span(), subject)));
        }
        if subjects.len() > 1 {
            let diagnostic = Diagnostic::error(code::BAD_VALUE, format!("{what} is two things at once"))
                .at(subjects[1].0.clone(), "and this")
                .with(subjects[0].0.clone(), "this")
                .help("write two inputs");
            self.report(diagnostic);
        }
        if subjects.is_empty() && self.found.len() == before {
            let diagnostic = Diagnostic::error(code::MISSING_KEY, format!("{what} names nothing"))
                .at(span.clone(), "no input in this table")
                .help(format!("write one of {}", list(&["path", "env", "command", "stage"])));
            self.report(diagnostic);
        }
        let (_, subject) = subjects.into_iter().next()?;
        let optional = match (optional, &subject) {
            (Some((_, value)), Subject::Path(_)) => value,
            (Some((key, _)), _) => {
                let help = "remove it: an unset variable, what a command prints and a stage's outputs count as they are";
                self.bad_value("`optional` belongs to a `path`", "not for this kind of input", key, help);
                false
            }
            (None, _) => false,
        };
        (self.found.len() == before).then_some(InputSyntax { name, optional, subject, span })
    }

    pub(super) fn outputs(&mut self, value: &Value<'a>) -> Listed<OutputSyntax<'a>> {
        let before = self.found.len();
        let mut outputs = Vec::new();
        match value.get_ref() {
            DeValue::Array(items) => {
                for item in items {
                    if let Some(path) = self.output("an output", item) {
                        outputs.push(OutputSyntax { name: Cow::Borrowed(""), path });
                    }
                }
            }
            DeValue::Table(table) => {
                for (key, value) in Self::entries(table) {
                    let what = format!("the output `{}`", show(key.get_ref()));
                    let name = self.identifier("an output's name", key);
                    if key.get_ref() == "stdout" {
                        let help = "choose another name, or write `stdout = \"path\"` in the stage";
                        self.bad_value("`stdout` cannot be an output's name", "taken", key.span(), help);
                    }
                    if let (Some(name), Some(path)) = (name, self.output(&what, value)) {
                        outputs.push(OutputSyntax { name: name.value, path });
                    }
                }
            }
            _ => self.wrong_type("`outputs`", INPUTS_WANTED, Wanted::Texts, value),
        }
        Listed { good: outputs, whole: self.found.len() == before }
    }

    fn output(&mut self, what: &str, value: &Value<'a>) -> Option<Text<'a>> {
        if let DeValue::Table(_) = value.get_ref() {
            let diagnostic =
                Diagnostic::error(code::WRONG_TYPE, format!("{what} must be a path, not a table"))
                    .at(value.span(), "this is a table")
                    .help("write the path; a folder ends with `/`");
            self.report(diagnostic);
            return None;
        }
        self.filled_text(what, value)
    }
}
