//! What is to be done with each record of the source: two bits each, so that millions fit.

use serde::{Deserialize, Serialize};

/// Where a record stands in the source of this run: the number of its file, and how many records come before it there.
/// The order of spots is the order of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Spot(pub u64);

const ORDINAL_BITS: u32 = 40;

/// Files of one source, at most.
pub(super) const FILES_MAX: usize = 1 << 24;
/// Records of one file, at most.
pub(super) const ORDINAL_MAX: u64 = (1 << ORDINAL_BITS) - 1;

impl Spot {
    pub(super) fn new(file: usize, ordinal: u64) -> Self {
        Self(((file as u64) << ORDINAL_BITS) | ordinal)
    }

    pub(super) fn file(self) -> usize {
        usize::try_from(self.0 >> ORDINAL_BITS).expect("24 bits")
    }

    pub(super) fn ordinal(self) -> u64 {
        self.0 & ORDINAL_MAX
    }
}

/// What is to be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing: there is a newer one, or the sinks have it and no file is made of it.
    None,
    /// It is its key's newest, and the sinks have it.
    Stands,
    /// It is to be delivered.
    Deliver,
    /// It becomes a dead letter.
    Bad,
}

/// The marks of all records.
#[derive(Debug, Default)]
pub(super) struct Marks {
    files: Vec<Vec<u8>>,
    deliver: u64,
    bad: u64,
}

impl Marks {
    pub(super) fn new(files: usize) -> Self {
        Self { files: vec![Vec::new(); files], ..Self::default() }
    }

    pub(super) fn set(&mut self, spot: Spot, mark: Mark) {
        let bits = match mark {
            Mark::None => return,
            Mark::Stands => 1,
            Mark::Deliver => {
                self.deliver += 1;
                2
            }
            Mark::Bad => {
                self.bad += 1;
                3
            }
        };
        let (byte, shift) = place(spot.ordinal());
        let file = &mut self.files[spot.file()];
        if file.len() <= byte {
            file.resize(byte + 1, 0);
        }
        file[byte] |= bits << shift;
    }

    pub(super) fn get(&self, spot: Spot) -> Mark {
        let (byte, shift) = place(spot.ordinal());
        match self.files[spot.file()].get(byte).map_or(0, |bits| bits >> shift & 3) {
            0 => Mark::None,
            1 => Mark::Stands,
            2 => Mark::Deliver,
            _ => Mark::Bad,
        }
    }

    /// Returns whether any record of the file has a mark.
    pub(super) fn any(&self, file: usize) -> bool {
        self.files[file].iter().any(|bits| *bits != 0)
    }

    /// Returns how many are to be delivered.
    pub(super) fn to_deliver(&self) -> u64 {
        self.deliver
    }

    /// Returns how many become dead letters before anything is done with them.
    pub(super) fn bad(&self) -> u64 {
        self.bad
    }
}

fn place(ordinal: u64) -> (usize, u32) {
    (usize::try_from(ordinal / 4).expect("fewer than 2⁴⁰"), (ordinal % 4) as u32 * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_record_has_a_mark_of_its_own() {
        let mut marks = Marks::new(2);
        let all = [Mark::None, Mark::Stands, Mark::Deliver, Mark::Bad];
        for ordinal in 0..1000 {
            marks.set(Spot::new(1, ordinal), all[(ordinal % 4) as usize]);
        }
        for ordinal in 0..1000 {
            assert_eq!(marks.get(Spot::new(1, ordinal)), all[(ordinal % 4) as usize]);
        }
        assert_eq!(marks.get(Spot::new(1, 5_000)), Mark::None);
        assert_eq!(marks.get(Spot::new(0, 2)), Mark::None);
        assert_eq!((marks.to_deliver(), marks.bad()), (250, 250));
        assert!(marks.any(1) && !marks.any(0));
    }

    #[test]
    fn spots_sort_as_the_source() {
        assert!(Spot::new(0, ORDINAL_MAX) < Spot::new(1, 0));
        let spot = Spot::new(FILES_MAX - 1, ORDINAL_MAX);
        assert_eq!((spot.file(), spot.ordinal()), (FILES_MAX - 1, ORDINAL_MAX));
    }
}
