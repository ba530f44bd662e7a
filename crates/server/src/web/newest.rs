//! The newest of many, without keeping the others meanwhile.

use std::collections::BTreeMap;

use cairn_model::Timestamp;

/// The newest `max` of what it is offered.
pub(super) struct Newest<T> {
    max: usize,
    offered: usize,
    /// By time and, where that is the same, by the turn of the offer.
    kept: BTreeMap<(Timestamp, usize), T>,
}

impl<T> Newest<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, offered: 0, kept: BTreeMap::new() }
    }

    /// Takes one in that is not older than all that are kept; only then it is made.
    pub(super) fn offer(&mut self, at: Timestamp, make: impl FnOnce() -> T) {
        self.offered += 1;
        let place = (at, self.offered);
        if self.kept.len() == self.max {
            if self.kept.first_key_value().is_none_or(|(oldest, _)| *oldest > place) {
                return;
            }
            self.kept.pop_first();
        }
        self.kept.insert(place, make());
    }

    /// Returns whether there were more.
    pub(super) fn left_out(&self) -> bool {
        self.offered > self.kept.len()
    }

    /// Returns them, the newest first.
    pub(super) fn into_vec(self) -> Vec<T> {
        self.kept.into_values().rev().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_no_other_is_made() {
        let mut newest = Newest::new(2);
        for at in [5, 9, 7] {
            newest.offer(Timestamp(at), || at);
        }
        newest.offer(Timestamp(1), || panic!("it is older than all that are kept"));
        assert!(newest.left_out());
        assert_eq!(newest.into_vec(), [9, 7]);
    }
}
