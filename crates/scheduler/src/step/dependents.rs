//! Who waits for whom: needs turned round.

use std::ops::Range;

/// For each instance, those that need it, in definition order.
#[derive(Debug)]
pub(crate) struct Dependents {
    /// Instance `i`'s are `targets[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    targets: Vec<u32>,
}

impl Dependents {
    /// Turns the needs of `count` instances round. `needs` are pairs of (instance, one that it needs).
    pub(crate) fn new(count: usize, needs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0; count + 1];
        needs.clone().for_each(|(_, need)| starts[need as usize + 1] += 1);
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut targets = vec![0; starts[count]];
        for (instance, need) in needs {
            targets[next[need as usize]] = instance;
            next[need as usize] += 1;
        }
        Self { starts, targets }
    }

    /// Returns where those that need `instance` stand, for [`Self::at`]: so that a caller can change itself meanwhile.
    pub(crate) fn range(&self, instance: u32) -> Range<usize> {
        self.starts[instance as usize]..self.starts[instance as usize + 1]
    }

    /// Returns the instance at a place of a [`Self::range`].
    pub(crate) fn at(&self, place: usize) -> u32 {
        self.targets[place]
    }

    /// Returns those that need `instance`.
    pub(crate) fn of(&self, instance: u32) -> &[u32] {
        &self.targets[self.range(instance)]
    }
}
