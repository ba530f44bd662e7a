//! One finding where many instances have the same fault.

use std::collections::HashMap;

use super::Diagnostic;

/// Findings of one stage: what is wrong in the same way at the same place, mostly with many instances, is told once.
#[derive(Default)]
pub(crate) struct Repeated {
    found: Vec<(Diagnostic, usize)>,
    places: HashMap<(&'static str, usize), usize>,
}

impl Repeated {
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        let place = (diagnostic.code, diagnostic.offset().unwrap_or(usize::MAX));
        if let Some(known) = self.places.get(&place) {
            self.found[*known].1 += 1;
        } else {
            self.places.insert(place, self.found.len());
            self.found.push((diagnostic, 0));
        }
    }

    pub(crate) fn finish(self) -> impl Iterator<Item = Diagnostic> {
        self.found.into_iter().map(|(diagnostic, others)| match others {
            0 => diagnostic,
            1 => diagnostic.note("the same is found once more in the stage"),
            others => diagnostic.note(format!("the same is found {others} more times in the stage")),
        })
    }
}
