//! What a records stage does, with its templates filled.

use cairn_model::{Address, Records, Sink, SinkPlace};
use minijinja::Value;

use super::compiled::{SinkTemplates, StageTemplates, address_names};
use crate::diagnostic::Diagnostic;
use crate::syntax::{SinkKind, SinkSyntax, StageSyntax};
use crate::template::{self, Names, Template, Use};
use crate::{Input, InputKind, Instance};

/// What the addresses of an instance's sinks are filled with.
pub(super) struct AddressBook<'v> {
    pub values: &'v [(&'static str, Value)],
    pub params: Option<&'v [&'v str]>,
    pub axes: &'v [&'v str],
}

/// Fills what a records stage does, `None` for a stage of another kind and after an error.
pub(super) fn fill(
    stage: &StageSyntax<'_>,
    templates: &StageTemplates<'_, '_>,
    book: &AddressBook<'_>,
    instance: &Instance,
    report: &mut dyn FnMut(Diagnostic),
) -> Option<Records> {
    let syntax = stage.records.as_ref()?;
    let source = source_of(instance.inputs.get(syntax.source_input)?)?;
    let mut sinks = Vec::with_capacity(syntax.sinks.len());
    for (sink, templates) in syntax.sinks.iter().zip(&templates.sinks) {
        let place = place(sink, templates, book, instance, report)?;
        sinks.push(Sink { place, mode: sink.mode, key: sink.key.clone(), columns: sink.columns.clone() });
    }
    Some(Records {
        source,
        format: syntax.format,
        key: syntax.key.clone(),
        version: syntax.version.clone(),
        tombstone: syntax.tombstone.clone(),
        worker: stage.run.is_some().then(|| instance.command.clone()),
        workers: syntax.workers,
        worker_timeout_ms: syntax.worker_timeout_ms,
        batch: syntax.batch,
        on_change: syntax.on_change,
        retries: syntax.retries,
        commit: syntax.commit,
        sinks,
    })
}

fn place(
    sink: &SinkSyntax<'_>,
    templates: &SinkTemplates<'_, '_>,
    book: &AddressBook<'_>,
    instance: &Instance,
    report: &mut dyn FnMut(Diagnostic),
) -> Option<SinkPlace> {
    let mut text = |template: &Option<Template<'_, '_>>| address(template.as_ref()?, book, report);
    let table = |text: Option<Address>| text.map(|text| text.0);
    Some(match sink.kind {
        SinkKind::File(format) => {
            SinkPlace::File { path: instance.outputs.get(sink.output)?.path.clone(), format }
        }
        SinkKind::Sqlite => {
            let path = if sink.path.is_some() { text(&templates.path) } else { text(&templates.url) };
            SinkPlace::Sqlite { path: path?, table: table(text(&templates.table))? }
        }
        SinkKind::Postgres => {
            SinkPlace::Postgres { url: text(&templates.url)?, table: table(text(&templates.table))? }
        }
        SinkKind::Http => {
            let url = text(&templates.url)?;
            let mut headers = std::collections::BTreeMap::new();
            for ((name, _), template) in sink.headers.iter().zip(&templates.headers) {
                headers.insert(name.clone(), text(template)?);
            }
            SinkPlace::Http { url, method: sink.method.clone(), batched: sink.batched, headers }
        }
    })
}

/// Fills an address; each variable of the caller's environment stands in it by its name, so that no password gets into
/// a plan.
fn address(
    template: &Template<'_, '_>,
    book: &AddressBook<'_>,
    report: &mut dyn FnMut(Diagnostic),
) -> Option<Address> {
    let variables = template.names_of("env").map(|name| (name, Value::from(format!("${{{name}}}"))));
    let environment = template::table(variables);
    let values = template::table(book.values.iter().cloned().chain([("env", environment)]));
    let names: Names<'_> = address_names(book.params, book.axes);
    match template.render(&values, &names, Use::Plain) {
        Ok(text) => Some(Address(text)),
        Err(diagnostics) => {
            diagnostics.into_iter().for_each(report);
            None
        }
    }
}

fn source_of(input: &Input) -> Option<String> {
    match &input.kind {
        InputKind::Path { path, .. } => Some(path.to_string()),
        InputKind::Glob { pattern, .. } => Some(pattern.clone()),
        InputKind::Environment { .. } | InputKind::Command { .. } | InputKind::Stage { .. } => None,
    }
}
