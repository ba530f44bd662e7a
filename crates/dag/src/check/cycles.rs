//! Says which inputs close a circle.

use super::Context;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Span, show};
use crate::{Input, InputKind, Made};

/// Members of a circle that are named, and inputs that are marked.
const SHOWN_MAX: usize = 8;

/// Describes a circle in which each instance waits for the next, and the last for the first.
pub(super) fn describe(context: &Context<'_, '_>, inputs: &[Vec<Input>], cycle: &[u32]) -> Diagnostic {
    let mut names: Vec<String> =
        cycle.iter().take(SHOWN_MAX).map(|instance| context.name(*instance)).collect();
    if cycle.len() > SHOWN_MAX {
        names.push(format!("… {} more …", cycle.len() - SHOWN_MAX));
    }
    names.push(context.name(cycle[0]));
    let message = format!("stages wait for each other: {}", names.join(" → "));
    let mut diagnostic = Diagnostic::error(code::CYCLE, message);
    for (at, instance) in cycle.iter().enumerate().take(SHOWN_MAX) {
        let next = cycle[(at + 1) % cycle.len()];
        let (span, text) = edge(context, &inputs[*instance as usize], *instance, next);
        diagnostic = if at == 0 { diagnostic.at(span, text) } else { diagnostic.with(span, text) };
    }
    diagnostic
        .note("an arrow leads from a stage to the one it waits for")
        .help("remove one of these dependencies, or split a stage in two")
}

/// Finds why `instance` waits for `next`.
fn edge(context: &Context<'_, '_>, inputs: &[Input], instance: u32, next: u32) -> (Span, String) {
    let (name, next_name) = (context.name(instance), context.name(next));
    let stage = &context.file.stages[context.expanded.instances[instance as usize].stage as usize];
    let of_next = |list: &[Made]| list.iter().find(|made| made.instance == next).copied();
    for (input, syntax) in inputs.iter().zip(&stage.inputs.good) {
        let made = match &input.kind {
            InputKind::Path { made_by, holds, .. } => {
                made_by.filter(|made| made.instance == next).or_else(|| of_next(holds))
            }
            InputKind::Glob { made_by, .. } => of_next(made_by),
            InputKind::Stage { outputs } => of_next(outputs),
            InputKind::Environment { .. } | InputKind::Command { .. } => None,
        };
        if let Some(made) = made {
            let path = &context.expanded.instances[next as usize].outputs[made.output as usize].path;
            let text = format!("`{name}` reads `{}`, which `{next_name}` writes", show(path.as_str()));
            return (syntax.span.clone(), text);
        }
    }
    let next_stage = &context.expanded.stages[context.expanded.instances[next as usize].stage as usize].name;
    let named = stage.needs.iter().find(|name| name.text == next_stage.as_str());
    let span = named.map_or(stage.span.clone(), |name| name.span.clone());
    (span, format!("`{name}` waits for `{next_name}`"))
}
