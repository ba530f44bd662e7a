//! That no two stages load into one table.

use std::collections::HashMap;

use cairn_model::SinkPlace;

use crate::code;
use crate::diagnostic::{Diagnostic, Repeated};
use crate::expand::Expanded;
use crate::syntax::{File, show};

/// Warns of two stages that load into one table. Each remembers what it delivered and knows nothing of the other: a record
/// of a key that both have goes to and fro, and what one deletes the other does not deliver again. Instances of one stage
/// share a source.
pub(crate) fn warn(file: &File<'_>, expanded: &Expanded, found: &mut Vec<Diagnostic>) {
    let mut repeated = Repeated::default();
    let mut seen: HashMap<(&str, &str), (u32, usize)> = HashMap::new();
    for instance in &expanded.instances {
        let sinks = instance.records.iter().flat_map(|records| records.sinks.iter().enumerate());
        for (number, sink) in sinks {
            let (SinkPlace::Sqlite { path: place, table } | SinkPlace::Postgres { url: place, table }) =
                &sink.place
            else {
                continue;
            };
            let (other, other_number) =
                *seen.entry((place.0.as_str(), table.as_str())).or_insert((instance.stage, number));
            if other == instance.stage {
                continue;
            }
            let stage = |number: u32| &file.stages[number as usize];
            let span = |of: u32, sink: usize| {
                stage(of)
                    .records
                    .as_ref()
                    .and_then(|records| records.sinks.get(sink))
                    .map(|sink| sink.span.clone())
            };
            let message = format!(
                "the stages `{}` and `{}` load into the same table `{}`",
                stage(other).name,
                stage(instance.stage).name,
                show(table)
            );
            let mut diagnostic = Diagnostic::warning(code::SAME_TABLE, message);
            if let Some(span) = span(instance.stage, number) {
                diagnostic = diagnostic.at(span, "of a key that both have, the last one stays");
            }
            if let Some(span) = span(other, other_number) {
                diagnostic = diagnostic.with(span, "the same table here");
            }
            repeated.add(diagnostic.help(
                "make one stage of them, with a pattern as its `source`; two are right where they have no key in common",
            ));
        }
    }
    found.extend(repeated.finish());
}
