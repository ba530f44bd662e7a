//! Paths and dependencies: who writes what, who reads it, and that nobody waits for themselves.

use cairn_model::ProjectPath;

use crate::code;
use crate::diagnostic::Diagnostic;
use crate::expand::Expanded;
use crate::graph::Graph;
use crate::syntax::{At, File, show};
use crate::{Entry, World};

mod cycles;
mod effects;
mod inputs;
mod outputs;
pub(crate) mod sinks;
mod stages;

/// What the checks share.
struct Context<'c, 'a> {
    file: &'c File<'a>,
    expanded: &'c Expanded,
    world: &'c dyn World,
    /// Whether the folder is there that paths are relative to. Where it is not, the files in it are nobody's fault.
    folder_known: bool,
}

/// Fills in what each instance waits for; what is wrong is added to `found`.
pub(crate) fn check(
    file: &File<'_>,
    expanded: &mut Expanded,
    world: &dyn World,
    found: &mut Vec<Diagnostic>,
) {
    let mut inputs: Vec<_> =
        expanded.instances.iter_mut().map(|instance| std::mem::take(&mut instance.inputs)).collect();
    let fault = file.workdir.as_ref().and_then(|workdir| no_workdir(workdir, world));
    let context = Context { file, expanded, world, folder_known: file.workdir_known && fault.is_none() };
    found.extend(fault);
    let outputs = outputs::Outputs::new(&expanded.instances);
    outputs.check(&context, found);
    effects::check(&context, found);
    let needs = inputs::resolve(&context, &outputs, &mut inputs, found);
    let lists: Vec<&[u32]> = needs.iter().map(Vec::as_slice).collect();
    for cycle in Graph::from_needs(&lists).cycles() {
        found.push(cycles::describe(&context, &inputs, &cycle));
    }
    drop(lists);
    for ((instance, inputs), needs) in expanded.instances.iter_mut().zip(inputs).zip(needs) {
        instance.inputs = inputs;
        instance.needs = needs;
    }
}

/// Says why the folder that paths are relative to cannot be used.
fn no_workdir(workdir: &At<ProjectPath>, world: &dyn World) -> Option<Diagnostic> {
    let (path, span) = (show(workdir.value.as_str()), workdir.span.clone());
    match world.entry(&workdir.value) {
        Entry::Folder => None,
        Entry::Missing => Some(
            Diagnostic::error(code::NO_WORKDIR, format!("the folder `{path}` does not exist"))
                .at(span, "no such folder")
                .help("create it, or mend its name: all paths in this file are relative to it"),
        ),
        Entry::File => Some(
            Diagnostic::error(code::NO_WORKDIR, format!("`workdir` is `{path}`, a file"))
                .at(span, "no folder")
                .help("name the folder that all paths in this file are relative to"),
        ),
        entry => outputs::unusable("workdir", workdir.value.as_str(), &entry, span),
    }
}

impl Context<'_, '_> {
    /// Returns what stands at a path.
    fn entry(&self, path: &ProjectPath) -> Entry {
        match &self.file.workdir {
            _ if !self.folder_known => Entry::Missing,
            None => self.world.entry(path),
            // Both are good paths, and together longer than the limit only where the disk has no such path either.
            Some(workdir) => {
                workdir.value.join(path.as_str()).map_or(Entry::Missing, |path| self.world.entry(&path))
            }
        }
    }

    /// Returns whether what is neither on disk nor an output is nowhere.
    fn all_known(&self) -> bool {
        self.folder_known && self.expanded.outputs_known
    }

    /// Returns an instance's name for a message.
    fn name(&self, instance: u32) -> String {
        self.expanded.instances[instance as usize].name.to_string()
    }
}
