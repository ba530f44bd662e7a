//! What is in the way of sensors, until it is out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use cairn_model::Name;

use crate::daemon::lock;

/// What is in a sensor's way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Trouble {
    /// Why it cannot look.
    pub(crate) cannot_look: Option<String>,
    /// What it passes over while it looks at all else.
    pub(crate) passed_over: PassedOver,
}

/// Files that are passed over and named, of one sensor.
const NAMED_MAX: usize = 20;

/// Files that a sensor passes over: a folder may be full of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PassedOver {
    /// The first in the order of their names, [`NAMED_MAX`] at most, each with the reason.
    pub(crate) named: Vec<String>,
    /// How many there are.
    pub(crate) count: usize,
}

impl PassedOver {
    /// Names the first of all.
    pub(crate) fn of(mut all: Vec<String>) -> Self {
        let count = all.len();
        all.sort_unstable();
        all.truncate(NAMED_MAX);
        all.shrink_to_fit();
        Self { named: all, count }
    }

    /// Returns how many are not named.
    pub(crate) fn unnamed(&self) -> usize {
        self.count - self.named.len()
    }
}

/// What is in the way of each sensor, by pipeline and by the sensor's name.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<(Name, String), Trouble>>);

impl Troubles {
    /// Takes down what a look met. Returns whether that is another than the look before met.
    pub(crate) fn met(&self, pipeline: &Name, sensor: &str, trouble: &Trouble) -> bool {
        let key = (pipeline.clone(), sensor.to_owned());
        let mut troubles = lock(&self.0);
        if *trouble == Trouble::default() {
            return troubles.remove(&key).is_some();
        }
        troubles.insert(key, trouble.clone()).as_ref() != Some(trouble)
    }

    /// Forgets the sensors that look no more.
    pub(crate) fn keep(&self, looking: &BTreeSet<(Name, String)>) {
        lock(&self.0).retain(|key, _| looking.contains(key));
    }

    /// Returns those of a pipeline's sensors that something is in the way of, by their names.
    pub(crate) fn of(&self, pipeline: &Name) -> Vec<(String, Trouble)> {
        let troubles = lock(&self.0);
        let of = troubles.iter().filter(|((of, _), _)| of == pipeline);
        of.map(|((_, sensor), trouble)| (sensor.clone(), trouble.clone())).collect()
    }

    /// Returns how many sensors cannot look, and how many pass something over.
    pub(crate) fn count(&self) -> (usize, usize) {
        let troubles = lock(&self.0);
        let blind = troubles.values().filter(|trouble| trouble.cannot_look.is_some()).count();
        (blind, troubles.len() - blind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_very_many_the_first_are_named_and_all_are_counted() {
        let names = |count: usize| (0..count).rev().map(|number| format!("{number:05}")).collect();
        let few = PassedOver::of(names(NAMED_MAX));
        assert_eq!((few.named.len(), few.count, few.unnamed()), (NAMED_MAX, NAMED_MAX, 0));
        let many = PassedOver::of(names(10_000));
        assert_eq!((&many.named, many.count, many.unnamed()), (&few.named, 10_000, 10_000 - NAMED_MAX));
        assert_ne!(PassedOver::of(names(10_001)), many, "one more is news");
    }

    #[test]
    fn each_trouble_is_news_once_until_it_was_out_of_the_way() {
        let troubles = Troubles::default();
        let name: Name = "p".parse().unwrap();
        let blind = |why: &str| Trouble { cannot_look: Some(why.to_owned()), ..Trouble::default() };
        let passed_over = PassedOver::of(vec!["a link".to_owned()]);
        let odd = Trouble { passed_over, ..Trouble::default() };
        let met = |trouble: &Trouble| troubles.met(&name, "files *", trouble);
        assert_eq!((met(&blind("a")), met(&blind("a")), met(&blind("b"))), (true, false, true));
        assert_eq!((met(&odd), met(&odd), troubles.count()), (true, false, (0, 1)));
        assert_eq!(troubles.of(&name), [("files *".to_owned(), odd.clone())]);
        assert_eq!((met(&Trouble::default()), met(&Trouble::default()), met(&odd)), (true, false, true));
        troubles.keep(&BTreeSet::new());
        assert_eq!((troubles.count(), troubles.of(&name)), ((0, 0), Vec::new()));
    }
}
