//! That no two instances do what counts as one effect.

use std::collections::HashMap;

use super::Context;
use crate::code;
use crate::diagnostic::{Diagnostic, Repeated};

/// Reports effects of different instances under one key: the second would count as done by the first.
pub(super) fn check(context: &Context<'_, '_>, found: &mut Vec<Diagnostic>) {
    let mut repeated = Repeated::default();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for (number, instance) in (0..).zip(&context.expanded.instances) {
        let Some(key) = instance.effect.as_ref().and_then(|effect| effect.key.as_deref()) else { continue };
        let span = |stage: u32| context.file.stages[stage as usize].effect.as_ref().map(|e| e.span.clone());
        let Some(first) = seen.insert(key, number) else { continue };
        let (own, other) = (instance.stage, context.expanded.instances[first as usize].stage);
        let message = format!(
            "`{}` and `{}` have effects with the same key `{}`",
            context.name(first),
            context.name(number),
            crate::syntax::show(key),
        );
        let mut diagnostic = Diagnostic::error(code::SAME_EFFECT, message);
        if let Some(span) = span(own) {
            diagnostic = diagnostic.at(span, "the second would count as done");
        }
        if let Some(span) = span(other).filter(|_| other != own) {
            diagnostic = diagnostic.with(span, "the same key here");
        }
        repeated.add(diagnostic.help(if own == other {
            "put what tells its instances apart into the key, for example `{{ matrix.… }}` or `{{ stage.instance }}`"
        } else {
            "give each effect a key of its own"
        }));
    }
    found.extend(repeated.finish());
}
