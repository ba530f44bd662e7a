//! What is looked up and started next, in order and within the limits of what may be under way at once.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use cairn_model::Timestamp;

use super::{Facts, Setup};
use crate::pools::{Demand, Room};
use crate::ready::Ready;

/// Results that are being made durable at once, at most: enough that many share one sync, and a bound on the staging
/// folders and open work that a slow disk can pile up behind fast commands.
pub const SETTLING_MAX: u32 = 256;

/// The queues of a run, and how much of it is under way.
#[derive(Debug)]
pub(super) struct Agenda {
    /// The instances by rank. The rank is the place in the order of look-ups and starts; all queues hold ranks.
    order: Vec<u32>,
    /// The rank of each instance.
    ranks: Vec<u32>,
    demands: Vec<Demand>,
    delayed: BTreeSet<(Timestamp, u32)>,
    due: BTreeSet<u32>,
    ready: Ready,
    room: Room,
    /// Instances that run and for which no room was taken.
    without_room: BTreeSet<u32>,
    looking_up: usize,
    lookups_max: usize,
    running: u32,
    settling: u32,
    /// The time last asked for.
    wake_at: Option<Timestamp>,
}

impl Agenda {
    pub(super) fn new(setup: &Setup) -> Self {
        let facts = |instance: &u32| &setup.instances[*instance as usize];
        let count = u32::try_from(setup.instances.len()).expect("the language allows a million instances");
        let mut order: Vec<u32> = (0..count).collect();
        order.sort_by_key(|instance| {
            let Facts { priority, critical_path_ms, .. } = facts(instance);
            (Reverse(*priority), Reverse(*critical_path_ms), *instance)
        });
        let mut ranks = vec![0; setup.instances.len()];
        for (rank, instance) in (0..).zip(&order) {
            ranks[*instance as usize] = rank;
        }
        let room = Room::new(setup.jobs, setup.memory_bytes, &setup.pools);
        let demand = |facts: &Facts| room.demand(facts.cpus, facts.memory_bytes, facts.pool);
        let demands: Vec<Demand> = setup.instances.iter().map(demand).collect();
        let by_rank = order.iter().map(|instance| demands[*instance as usize]);
        let passes_max = setup.jobs.max(1).saturating_mul(Ready::PASSES_PER_CPU);
        Self {
            ready: Ready::new(by_rank, passes_max),
            order,
            ranks,
            demands,
            delayed: BTreeSet::new(),
            due: BTreeSet::new(),
            room,
            without_room: BTreeSet::new(),
            looking_up: 0,
            lookups_max: setup.lookups_max.max(1),
            running: 0,
            settling: 0,
            wake_at: None,
        }
    }

    /// Queues an instance for a look-up, not before `at`.
    pub(super) fn add(&mut self, instance: u32, at: Option<Timestamp>) {
        let rank = self.ranks[instance as usize];
        match at {
            Some(at) => self.delayed.insert((at, rank)),
            None => self.due.insert(rank),
        };
    }

    /// Queues an instance for a start.
    pub(super) fn add_ready(&mut self, instance: u32) {
        self.ready.push(self.ranks[instance as usize]);
    }

    /// Empties the queues, but for look-ups of `kept`.
    pub(super) fn clear_but(&mut self, kept: &BTreeSet<u32>) {
        let is_kept = |rank: &u32| kept.contains(&self.order[*rank as usize]);
        self.delayed.retain(|(_, rank)| is_kept(rank));
        self.due.retain(is_kept);
        self.ready.clear();
    }

    /// Returns the instance to look up now, if there is one: its look-up is under way.
    pub(super) fn next_lookup(&mut self, now: Timestamp) -> Option<u32> {
        while let Some((_, rank)) = self.delayed.first().filter(|(at, _)| *at <= now).copied() {
            self.delayed.pop_first();
            self.due.insert(rank);
        }
        if self.looking_up >= self.lookups_max {
            return None;
        }
        let rank = self.due.pop_first()?;
        self.looking_up += 1;
        Some(self.order[rank as usize])
    }

    /// Notes that a look-up is under way no more.
    pub(super) fn looked_up(&mut self) {
        self.looking_up -= 1;
    }

    /// Returns the instance to start now, if there is one: it runs.
    pub(super) fn next_start(&mut self) -> Option<u32> {
        if self.settling >= SETTLING_MAX {
            return None;
        }
        let rank = self.ready.pop(&self.room)?;
        let instance = self.order[rank as usize];
        self.room.take(self.demands[instance as usize]);
        self.running += 1;
        Some(instance)
    }

    /// Takes the room of an instance whose attempt goes on since before the run began. Where there is not as much, one of those
    /// that are held has ended: another one was started in its room.
    pub(super) fn hold(&mut self, instance: u32) {
        let demand = self.demands[instance as usize];
        if self.room.fits(demand) {
            self.room.take(demand);
        } else {
            self.without_room.insert(instance);
        }
    }

    /// Gives up the room of an instance that is held, and still is.
    pub(super) fn yield_room(&mut self, instance: u32) {
        if self.without_room.insert(instance) {
            self.room.give_back(self.demands[instance as usize]);
        }
    }

    /// Gives the room back of an instance that was held.
    pub(super) fn let_go(&mut self, instance: u32) {
        if !self.without_room.remove(&instance) {
            self.room.give_back(self.demands[instance as usize]);
        }
    }

    /// Notes that an instance runs whose room was taken before.
    pub(super) fn adopted(&mut self) {
        self.running += 1;
    }

    /// Notes that an instance's command has ended, and gives its room back.
    pub(super) fn exited(&mut self, instance: u32) {
        self.let_go(instance);
        self.running -= 1;
        self.settling += 1;
    }

    /// Notes that an attempt is over.
    pub(super) fn settled(&mut self) {
        self.settling -= 1;
    }

    /// Returns the time to be woken at, if it is another than was asked for last.
    pub(super) fn wake_at(&mut self) -> Option<Timestamp> {
        let at = self.delayed.first().map(|(at, _)| *at);
        let asked = std::mem::replace(&mut self.wake_at, at);
        at.filter(|_| at != asked)
    }

    /// Notes that the time asked for may have come: if it has not, it is asked for again.
    pub(super) fn woken(&mut self) {
        self.wake_at = None;
    }

    /// Returns whether look-ups or attempts are under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.looking_up > 0 || self.running > 0 || self.settling > 0
    }

    /// Returns whether nothing is under way but results that are made durable.
    pub(super) fn only_settles(&self) -> bool {
        self.looking_up == 0 && self.running == 0
    }

    /// Returns whether a retry waits for its time.
    pub(super) fn is_waiting(&self) -> bool {
        !self.delayed.is_empty()
    }
}
