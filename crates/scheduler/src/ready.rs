//! What is ready to run, in order, and which of it starts next.
//!
//! The first in order that fits is started. One that does not fit is passed over by those behind it, but not for ever:
//! once `passes_max` of them were started past it, the cpus or the memory it is short of are kept for it, and only those
//! may pass that take nothing of this. So one that waits for cpus stops everything until they are there, one that waits
//! for memory stops what takes memory, and one that waits for a place in a pool stops nobody.
//!
//! Instances of equal demand stand in one line, and only the first of a line is looked at: all of a line fit or none
//! does. Passes are counted by line, since one of it last started. A choice costs as much as there are lines ahead that
//! do not fit: a definition has few demands, be its instances ever so many.

use std::collections::{BTreeSet, HashMap};

use crate::pools::{Demand, Kept, Room};

/// The ready queue. An instance is known here by its rank: its place in the order of starting.
#[derive(Debug)]
pub(crate) struct Ready {
    lines: Vec<Line>,
    /// The line of each rank.
    line_of: Vec<usize>,
    /// The first rank of each line that is not empty.
    heads: BTreeSet<(u32, usize)>,
    passes_max: u32,
}

#[derive(Debug)]
struct Line {
    demand: Demand,
    waiting: BTreeSet<u32>,
    passes: u32,
}

impl Ready {
    /// Passes for each cpu: a command that does not fit waits for about two full machines of others.
    pub(crate) const PASSES_PER_CPU: u32 = 2;

    /// Makes an empty queue for instances whose demands, by rank, are these.
    pub(crate) fn new(demands: impl Iterator<Item = Demand>, passes_max: u32) -> Self {
        let mut lines = Vec::new();
        let mut known = HashMap::new();
        let line_of = demands
            .map(|demand| {
                *known.entry(demand).or_insert_with(|| {
                    lines.push(Line { demand, waiting: BTreeSet::new(), passes: 0 });
                    lines.len() - 1
                })
            })
            .collect();
        Self { lines, line_of, heads: BTreeSet::new(), passes_max }
    }

    /// Adds an instance.
    pub(crate) fn push(&mut self, rank: u32) {
        let number = self.line_of[rank as usize];
        let waiting = &mut self.lines[number].waiting;
        let head = waiting.first().copied();
        waiting.insert(rank);
        if head.is_none_or(|head| rank < head) {
            if let Some(head) = head {
                self.heads.remove(&(head, number));
            }
            self.heads.insert((rank, number));
        }
    }

    /// Takes out the one to start next, if any may start.
    pub(crate) fn pop(&mut self, room: &Room) -> Option<u32> {
        if room.is_full() {
            return None;
        }
        let mut kept = Kept::default();
        let &(rank, number) = self.heads.iter().find(|(_, number)| {
            let line = &self.lines[*number];
            if room.fits(line.demand) {
                return kept.allows(line.demand);
            }
            if line.passes >= self.passes_max {
                kept.keep(line.demand, room);
            }
            false
        })?;
        for (_, ahead) in self.heads.range(..(rank, number)) {
            self.lines[*ahead].passes += 1;
        }
        self.heads.remove(&(rank, number));
        let line = &mut self.lines[number];
        line.passes = 0;
        line.waiting.pop_first();
        if let Some(next) = line.waiting.first() {
            self.heads.insert((*next, number));
        }
        Some(rank)
    }

    /// Takes all out.
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.lines.iter_mut().for_each(|line| line.waiting.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue of instances that ask for (cpus, pool), on a machine of four cpus with pools of one, one pass allowed.
    fn queue(asked: &[(u32, Option<usize>)]) -> (Ready, Room) {
        let room = Room::new(4, None, &[1, 1]);
        let demands = asked.iter().map(|(cpus, pool)| room.demand(*cpus, 0, *pool));
        let mut ready = Ready::new(demands, 1);
        (0..asked.len()).rev().for_each(|rank| ready.push(u32::try_from(rank).unwrap()));
        (ready, room)
    }

    /// Starts all that may start, and returns their ranks.
    fn start(ready: &mut Ready, room: &mut Room) -> Vec<u32> {
        std::iter::from_fn(|| {
            let rank = ready.pop(room)?;
            room.take(ready.lines[ready.line_of[rank as usize]].demand);
            Some(rank)
        })
        .collect()
    }

    #[test]
    fn starts_in_order_and_past_what_does_not_fit() {
        let (mut ready, mut room) = queue(&[(3, None), (2, None), (1, None), (1, None)]);
        assert_eq!(start(&mut ready, &mut room), [0, 2]);
    }

    #[test]
    fn cpus_are_kept_for_one_passed_over_too_often() {
        let (mut ready, mut room) = queue(&[(1, None), (4, None), (1, None), (1, None), (1, None)]);
        assert_eq!(start(&mut ready, &mut room), [0, 2], "one pass allowed, and two cpus stay empty");
        let one = room.demand(1, 0, None);
        room.give_back(one);
        assert!(start(&mut ready, &mut room).is_empty());
        room.give_back(one);
        assert_eq!(start(&mut ready, &mut room), [1]);
        room.give_back(room.demand(4, 0, None));
        assert_eq!(start(&mut ready, &mut room), [3, 4]);
    }

    #[test]
    fn waiting_for_a_pool_stops_no_other() {
        let pool = |number| (1, Some(number));
        let (mut ready, mut room) = queue(&[pool(0), pool(0), (1, None), (1, None), pool(1), (1, None)]);
        assert_eq!(start(&mut ready, &mut room), [0, 2, 3, 4]);
        room.give_back(room.demand(1, 0, None));
        assert_eq!(start(&mut ready, &mut room), [5]);
        room.give_back(room.demand(1, 0, Some(0)));
        assert_eq!(start(&mut ready, &mut room), [1]);
    }

    #[test]
    fn a_cleared_queue_is_empty() {
        let (mut ready, mut room) = queue(&[(1, None), (2, None)]);
        ready.clear();
        assert!(start(&mut ready, &mut room).is_empty());
        ready.push(1);
        assert_eq!(start(&mut ready, &mut room), [1]);
    }
}
