//! What commands take while they run: cpus, memory, a place in a pool.

/// What one command takes. Made by [`Room::demand`], so it never asks for more than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Demand {
    cpus: u32,
    memory_bytes: u64,
    pool: Option<usize>,
}

/// What is free.
#[derive(Debug)]
pub(crate) struct Room {
    cpus: u32,
    cpus_max: u32,
    memory_bytes: u64,
    /// `None`: memory is not counted.
    memory_max: Option<u64>,
    pools: Vec<u32>,
}

/// What is kept for commands which have waited long enough. A place in a pool need not be: as long as one waits for it,
/// nobody has one to take.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    cpus: bool,
    memory: bool,
}

impl Room {
    /// Makes an empty room. A number of 0 counts as 1, or nothing could ever run.
    pub(crate) fn new(cpus: u32, memory_bytes: Option<u64>, pools: &[u32]) -> Self {
        Self {
            cpus: cpus.max(1),
            cpus_max: cpus.max(1),
            memory_bytes: memory_bytes.unwrap_or(0),
            memory_max: memory_bytes,
            pools: pools.iter().map(|&size| size.max(1)).collect(),
        }
    }

    /// Returns what a command that asks for this takes. One that asks for more cpus or memory than there is takes
    /// everything, and so runs alone; each takes at least one cpu, so that `-j` bounds the commands at once.
    pub(crate) fn demand(&self, cpus: u32, memory_bytes: u64, pool: Option<usize>) -> Demand {
        let alone = cpus > self.cpus_max || self.memory_max.is_some_and(|max| memory_bytes > max);
        Demand {
            cpus: if alone { self.cpus_max } else { cpus.max(1) },
            memory_bytes: self.memory_max.map_or(0, |max| memory_bytes.min(max)),
            pool,
        }
    }

    /// Returns whether nothing fits any more.
    pub(crate) fn is_full(&self) -> bool {
        self.cpus == 0
    }

    /// Returns whether a command fits now.
    pub(crate) fn fits(&self, demand: Demand) -> bool {
        let Demand { cpus, memory_bytes, pool } = demand;
        cpus <= self.cpus && memory_bytes <= self.memory_bytes && pool.is_none_or(|pool| self.pools[pool] > 0)
    }

    /// Takes what a command that fits needs.
    pub(crate) fn take(&mut self, demand: Demand) {
        assert!(
            self.fits(demand),
            "a command was started for which there is no room: {demand:?} in {self:?}"
        );
        self.cpus -= demand.cpus;
        self.memory_bytes -= demand.memory_bytes;
        if let Some(pool) = demand.pool {
            self.pools[pool] -= 1;
        }
    }

    /// Gives back what a command took.
    pub(crate) fn give_back(&mut self, demand: Demand) {
        self.cpus += demand.cpus;
        self.memory_bytes += demand.memory_bytes;
        if let Some(pool) = demand.pool {
            self.pools[pool] += 1;
        }
    }
}

impl Kept {
    /// Keeps what `demand` is short of in `room`.
    pub(crate) fn keep(&mut self, demand: Demand, room: &Room) {
        self.cpus |= demand.cpus > room.cpus;
        self.memory |= demand.memory_bytes > room.memory_bytes;
    }

    /// Returns whether a command takes nothing that is kept; each takes a cpu.
    pub(crate) fn allows(&self, demand: Demand) -> bool {
        !(self.cpus || self.memory && demand.memory_bytes > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_more_than_there_is_runs_alone() {
        let room = Room::new(4, Some(100), &[]);
        assert_eq!(room.demand(9, 10, None), Demand { cpus: 4, memory_bytes: 10, pool: None });
        assert_eq!(room.demand(1, 101, None), Demand { cpus: 4, memory_bytes: 100, pool: None });
        assert_eq!(room.demand(0, 0, None), Demand { cpus: 1, memory_bytes: 0, pool: None });
        let uncounted = Room::new(4, None, &[]);
        assert_eq!(uncounted.demand(1, u64::MAX, None), Demand { cpus: 1, memory_bytes: 0, pool: None });
    }

    #[test]
    fn room_is_taken_and_given_back() {
        let mut room = Room::new(3, Some(100), &[1]);
        let demand = room.demand(2, 60, Some(0));
        room.take(demand);
        for (what, cpus, memory, pool, fits) in [
            ("the rest", 1, 40, None, true),
            ("too many cpus", 2, 0, None, false),
            ("too much memory", 1, 41, None, false),
            ("a full pool", 1, 0, Some(0), false),
        ] {
            assert_eq!(room.fits(room.demand(cpus, memory, pool)), fits, "{what}");
        }
        room.give_back(demand);
        assert!(room.fits(room.demand(3, 100, Some(0))));
    }

    #[test]
    fn nothing_of_size_zero_blocks_a_run() {
        let room = Room::new(0, None, &[0]);
        assert!(room.fits(room.demand(1, 0, Some(0))));
    }
}
