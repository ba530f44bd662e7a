//! Pipelines that are run after each other: `after` in `[schedule]`, over all files of a project.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cairn_model::Name;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Diagnostic, Report};
use crate::{Source, code};

/// Finds who follows itself: each pipeline with those that its `after` names. Returns for each pipeline in a circle a
/// shortest one, which begins with it: each follows the next, and the last the first.
pub fn circles(after: &BTreeMap<Name, Vec<Name>>) -> BTreeMap<Name, Vec<Name>> {
    // Who follows nobody is in no circle, and neither is who then follows nobody that is left.
    let mut left: BTreeMap<&Name, BTreeSet<&Name>> =
        after.iter().map(|(name, after)| (name, after.iter().collect())).collect();
    loop {
        let names: BTreeSet<&Name> = left.keys().copied().collect();
        let before = left.len();
        left.retain(|_, after| {
            after.retain(|name| names.contains(name));
            !after.is_empty()
        });
        if left.len() == before {
            break;
        }
    }
    left.keys().filter_map(|name| Some(((*name).clone(), circle(&left, name)?))).collect()
}

fn circle(after: &BTreeMap<&Name, BTreeSet<&Name>>, first: &Name) -> Option<Vec<Name>> {
    // From each the one that led to it.
    let mut from: BTreeMap<&Name, &Name> = BTreeMap::new();
    let mut next = VecDeque::from([first]);
    while let Some(name) = next.pop_front() {
        for followed in after.get(name).into_iter().flatten() {
            if *followed == first {
                let back = std::iter::successors(Some(name), |name| from.get(*name).copied());
                let mut circle: Vec<Name> = back.cloned().collect();
                circle.reverse();
                return Some(circle);
            }
            if !from.contains_key(*followed) {
                from.insert(followed, name);
                next.push_back(followed);
            }
        }
    }
    None
}

/// Writes a circle of [`circles`] as people read it: an arrow leads from a pipeline to the one that it is run after.
pub fn circle_text(circle: &[Name]) -> String {
    let names: Vec<&str> = circle.iter().chain(circle.first()).map(Name::as_str).collect();
    names.join(" → ")
}

/// Adds to the findings of a file that its pipeline, the first of a circle, follows itself.
pub fn warn_of_circle(report: &mut Report, source: &Source<'_>, circle: &[Name]) {
    let message = format!("pipelines are run after each other in a circle: {}", circle_text(circle));
    let mut warning = Diagnostic::warning(code::AFTER_CIRCLE, message);
    let followed = circle.get(1).or(circle.first());
    if let Some(span) = followed.and_then(|followed| place_of(source, followed)) {
        warning = warning.at(span, "this one leads back here");
    }
    let warning = warning
        .note("an arrow leads from a pipeline to the one that it is run after")
        .note("the daemon runs none of them for another one of them")
        .help("take one of the names out of `after`");
    report.diagnostics.push(warning);
    report.diagnostics.sort_by_key(Diagnostic::offset);
}

/// Finds where `after` names a pipeline.
fn place_of(source: &Source<'_>, followed: &Name) -> Option<std::ops::Range<usize>> {
    let table = DeTable::parse(std::str::from_utf8(source.bytes).ok()?).ok()?;
    let DeValue::Table(schedule) = table.get_ref().get("schedule")?.get_ref() else { return None };
    let DeValue::Array(items) = schedule.get("after")?.get_ref() else { return None };
    let is_it = |item: &DeValue<'_>| matches!(item, DeValue::String(text) if **text == *followed.as_str());
    items.iter().find(|item| is_it(item.get_ref())).map(toml::Spanned::span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(after: &[(&str, &[&str])]) -> Vec<String> {
        let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let after = after.iter().map(|(name, after)| (name.parse().unwrap(), names(after))).collect();
        circles(&after).values().map(|circle| circle_text(circle)).collect()
    }

    #[test]
    fn who_follows_itself_is_found_and_nobody_else() {
        assert_eq!(of(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b", "gone"])]), Vec::<String>::new());
        assert_eq!(of(&[("a", &["a"])]), ["a → a"]);
        // `d` follows a circle and `e` is followed by one: neither is in it.
        let circle: &[(&str, &[&str])] =
            &[("a", &["b", "e"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"]), ("e", &[])];
        assert_eq!(of(circle), ["a → b → c → a", "b → c → a → b", "c → a → b → c"]);
        // The way between two circles is in none.
        let two: &[(&str, &[&str])] = &[("a", &["a"]), ("b", &["a"]), ("c", &["b", "c"])];
        assert_eq!(of(two), ["a → a", "c → c"]);
        let short: &[(&str, &[&str])] = &[("a", &["b", "c"]), ("b", &["c"]), ("c", &["a"])];
        assert_eq!(of(short)[0], "a → c → a");
    }
}
