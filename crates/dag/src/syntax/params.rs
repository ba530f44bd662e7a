//! `[params]`.

use std::borrow::Cow;

use toml::de::{DeTable, DeValue};

use super::file::File;
use super::names::show;
use super::reader::{Key, Reader, Value, Wanted};
use super::text::At;
use super::values::{same_kind, show_value};
use super::words;
use crate::ParamValue;
use crate::code;
use crate::diagnostic::Diagnostic;

/// One param.
#[derive(Debug)]
pub(crate) struct Param<'a> {
    pub name: At<Cow<'a, str>>,
    pub default: At<ParamValue>,
    pub choices: Vec<At<ParamValue>>,
}

impl<'a> File<'a> {
    pub(super) fn read_params(&mut self, reader: &mut Reader<'a>, value: &Value<'a>) {
        let Some(table) = reader.table("`params`", "{ year = 2024 }", value) else { return };
        for (key, value) in Reader::entries(table) {
            let name = reader.identifier("a param's name", key);
            let what = format!("the param `{}`", show(key.get_ref()));
            let read = match value.get_ref() {
                DeValue::Table(table) => read_param_table(reader, &what, key, table),
                DeValue::Array(_) => {
                    let diagnostic = Diagnostic::error(code::WRONG_TYPE, format!("{what} cannot be an array"))
                        .at(value.span(), "this is an array")
                        .help("for allowed values write `{ default = …, choices = […] }`; for a run of each, write a `matrix` in the stage");
                    reader.report(diagnostic);
                    None
                }
                _ => reader.scalar(&what, value).map(|default| (default, Vec::new())),
            };
            if let (Some(name), Some((default, choices))) = (name, read) {
                self.params.push(Param { name, default, choices });
            }
        }
    }
}

fn read_param_table<'a>(
    reader: &mut Reader<'a>,
    what: &str,
    key: &Key<'a>,
    table: &DeTable<'a>,
) -> Option<(At<ParamValue>, Vec<At<ParamValue>>)> {
    let (mut default, mut choices, mut default_named) = (None, Vec::new(), false);
    for (key, value) in Reader::entries(table) {
        match key.get_ref().as_ref() {
            "default" => {
                default_named = true;
                default = reader.scalar(&format!("the default of {what}"), value);
            }
            "choices" => {
                let DeValue::Array(items) = value.get_ref() else {
                    reader.wrong_type("`choices`", "an array", Wanted::Other, value);
                    continue;
                };
                choices = items.iter().filter_map(|item| reader.scalar("a choice", item)).collect();
                if items.is_empty() {
                    let help = "list the allowed values, or remove the key";
                    reader.bad_value("`choices` is empty", "no choice", value.span(), help);
                }
            }
            "help" => {
                reader.text("`help`", value);
            }
            _ => default_named |= reader.unknown_key(&words::PARAM, key) == Some("default"),
        }
    }
    if !default_named {
        let diagnostic = Diagnostic::error(code::MISSING_KEY, format!("{what} has no default"))
            .at(key.span(), "no `default` in this table")
            .help("write `{ default = … }`: a param has the type of its default");
        reader.report(diagnostic);
    }
    let default = default?;
    for choice in &choices {
        if !same_kind(&choice.value, &default.value) {
            let message = format!("a choice of {what} is not {} like its default", default.value.type_name());
            let diagnostic = Diagnostic::error(code::WRONG_TYPE, message)
                .at(choice.span.clone(), format!("this is {}", choice.value.type_name()))
                .with(default.span.clone(), format!("this is {}", default.value.type_name()))
                .help("give all choices the type of the default");
            reader.report(diagnostic);
        }
    }
    if !choices.is_empty() && !choices.iter().any(|choice| choice.value == default.value) {
        let message = format!("the default of {what} is not among its choices");
        let listed: Vec<String> = choices.iter().take(20).map(|choice| show_value(&choice.value)).collect();
        let diagnostic = Diagnostic::error(code::PARAM_CHOICE, message)
            .at(default.span.clone(), "not a choice")
            .help(format!("take one of {}", listed.join(", ")));
        reader.report(diagnostic);
    }
    Some((default, choices))
}
