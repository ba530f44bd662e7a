//! Paths and dependencies: who writes what, who reads it, and that nobody waits for themselves.

use cairn_model::ProjectPath;

use crate::World;
use crate::diagnostic::Diagnostic;
use crate::expand::Expanded;
use crate::graph::Graph;
use crate::syntax::File;

mod cycles;
mod inputs;
mod outputs;
mod stages;

/// What the checks share.
struct Context<'c, 'a> {
    file: &'c File<'a>,
    expanded: &'c Expanded,
    world: &'c dyn World,
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
    let context = Context { file, expanded, world };
    let outputs = outputs::Outputs::new(&expanded.instances);
    outputs.check(&context, found);
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

impl Context<'_, '_> {
    /// Returns a path as the world knows it.
    fn in_world(&self, path: &ProjectPath) -> ProjectPath {
        match &self.file.workdir {
            None => path.clone(),
            // Both are good paths, and together longer than the limit only where the disk has no such path either.
            Some(workdir) => workdir.join(path.as_str()).unwrap_or_else(|_| path.clone()),
        }
    }

    /// Returns an instance's name for a message.
    fn name(&self, instance: u32) -> String {
        self.expanded.instances[instance as usize].name.to_string()
    }
}
