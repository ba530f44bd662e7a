//! Stages named as a whole: by `needs`, and by `{ stage = … }`.

use super::inputs::{DEPENDENCIES_MAX, Resolver};
use crate::Made;
use crate::code;
use crate::diagnostic::Diagnostic;
use crate::syntax::{Span, StageSyntax, Subject, nearest, show};

impl<'r, 'a> Resolver<'r, 'a> {
    /// Counts what stages name as a whole, before any list is made.
    pub(super) fn stage_with_too_many(&self) -> Option<&'r StageSyntax<'a>> {
        let size = |stage: u32| self.context.expanded.stages[stage as usize].instances.len();
        let mut total = 0_usize;
        (0..).zip(&self.context.file.stages).find_map(|(number, stage)| {
            let read = stage.inputs.good.iter().filter_map(|input| match &input.subject {
                Subject::Stage(name) => Some(name),
                Subject::Path(_) | Subject::Environment(_) | Subject::Command(_) => None,
            });
            for name in read.chain(&stage.needs) {
                let other = self.stages.get(name.text.as_ref()).map_or(0, |other| size(*other));
                total = total.saturating_add(size(number).saturating_mul(other));
            }
            (total > DEPENDENCIES_MAX).then_some(stage)
        })
    }

    /// Returns all outputs of a stage.
    pub(super) fn stage_outputs(&mut self, number: u32, name: &str, span: &Span) -> Vec<Made> {
        let Some(other) = self.named_stage(number, name, span) else { return Vec::new() };
        let mut outputs = Vec::new();
        for instance in self.context.expanded.stages[other as usize].instances.clone() {
            let declared = self.context.expanded.instances[instance as usize].outputs.len();
            let declared = u32::try_from(declared).expect("fewer outputs than bytes of the file");
            outputs.extend((0..declared).map(|output| Made { instance, output }));
        }
        let known = self.context.file.stages[other as usize].outputs.whole;
        if outputs.is_empty() && known && self.context.expanded.outputs_known {
            let diagnostic =
                Diagnostic::error(code::BAD_VALUE, format!("the stage `{name}` has no outputs to read"))
                    .at(span.clone(), "nothing to read")
                    .with(self.context.file.stages[other as usize].span.clone(), "no `outputs` here")
                    .help(format!("write `needs = [\"{name}\"]` to wait for it"));
            self.found.add(diagnostic);
        }
        outputs
    }

    /// Finds a stage by name, another than the instance's own.
    pub(super) fn named_stage(&mut self, number: u32, name: &str, span: &Span) -> Option<u32> {
        let own = self.stage(number);
        match self.stages.get(name) {
            Some(_) if own.name.as_str() == name => {
                let diagnostic =
                    Diagnostic::error(code::SELF_DEPENDENCY, format!("the stage `{name}` waits for itself"))
                        .at(span.clone(), "the stage itself")
                        .help("remove it");
                self.found.add(diagnostic);
                None
            }
            Some(stage) => Some(*stage),
            None => {
                let diagnostic =
                    Diagnostic::error(code::UNKNOWN_STAGE, format!("there is no stage `{}`", show(name)))
                        .at(span.clone(), "unknown stage");
                let bare = name.split_once('[').map(|(bare, _)| bare);
                let near = match bare.filter(|bare| self.stages.contains_key(bare)) {
                    Some(bare) => Some(bare),
                    None if self.may_suggest() => nearest(name, self.stages.keys().copied()),
                    None => None,
                };
                self.found.add(match near {
                    Some(near) if bare == Some(near) => diagnostic
                        .help(format!("write `{near}`: all its instances are waited for"))
                        .patch(span.clone(), format!("\"{near}\"")),
                    Some(near) => {
                        diagnostic.help(format!("did you mean `{near}`?")).patch(span.clone(), format!("\"{near}\""))
                    }
                    None if name.contains(['/', '.']) => {
                        diagnostic.help("is it a path? write it in `inputs`; stages that make it are waited for by themselves")
                    }
                    None => diagnostic.help("write the name of a stage of this file"),
                });
                None
            }
        }
    }
}
