//! Room and order, counted anew each time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::seen::Seen;
use crate::step::Setup;

/// Cpus, memory, pool.
type Demand = (u32, u64, Option<usize>);

pub(super) struct Room<'a> {
    setup: &'a Setup,
    /// Starts past a demand, since one of it last started.
    passes: BTreeMap<Demand, u32>,
    /// Starts past an instance while there were too few cpus for it, since one of its demand last started.
    waits_for_cpus: BTreeMap<u32, u32>,
}

impl<'a> Room<'a> {
    pub(super) fn new(setup: &'a Setup) -> Self {
        Self { setup, passes: BTreeMap::new(), waits_for_cpus: BTreeMap::new() }
    }

    /// The order of look-ups and starts.
    pub(super) fn key(&self, instance: u32) -> (Reverse<i64>, Reverse<u64>, u32) {
        let facts = &self.setup.instances[instance as usize];
        (Reverse(facts.priority), Reverse(facts.critical_path_ms), instance)
    }

    /// The one that must be started next.
    pub(super) fn choice(
        &self,
        ready: &BTreeSet<u32>,
        running: &BTreeSet<u32>,
        seen: &mut Seen,
    ) -> Option<u32> {
        let free = self.free(running);
        let (mut cpus_kept, mut memory_kept) = (false, false);
        for instance in self.in_order(ready) {
            let demand @ (cpus, memory, _) = self.demand(instance);
            if fits(demand, &free) {
                if !(cpus_kept || memory_kept && memory > 0) {
                    return Some(instance);
                }
                seen.note("something was kept for one passed over too often");
            } else if self.passes_of(demand) >= self.passes_max() {
                cpus_kept |= cpus > free.0;
                memory_kept |= memory > free.1;
            }
        }
        None
    }

    pub(super) fn has_room(&self, instance: u32, taking: &BTreeSet<u32>) -> bool {
        fits(self.demand(instance), &self.free(taking))
    }

    /// Notes a start, before it takes its room.
    pub(super) fn start(&mut self, started: u32, ready: &BTreeSet<u32>, running: &BTreeSet<u32>) {
        let free = self.free(running);
        let own = self.demand(started);
        let ahead: Vec<u32> =
            self.in_order(ready).into_iter().take_while(|instance| *instance != started).collect();
        let demands: BTreeSet<Demand> = ahead.iter().map(|instance| self.demand(*instance)).collect();
        for demand in demands {
            *self.passes.entry(demand).or_default() += 1;
        }
        for instance in ahead {
            if self.demand(instance).0 > free.0 {
                let waits = self.waits_for_cpus.entry(instance).or_default();
                *waits += 1;
                assert!(*waits <= self.setup.jobs * 2, "{instance} starves");
            }
        }
        self.passes.remove(&own);
        let setup = self.setup;
        self.waits_for_cpus.retain(|instance, _| demand(setup, *instance) != own);
    }

    /// No more runs than there is room for.
    pub(super) fn check_limits(&self, running: &BTreeSet<u32>, seen: &mut Seen) {
        let facts = || running.iter().map(|instance| &self.setup.instances[*instance as usize]);
        let memory_max = self.setup.memory_bytes.unwrap_or(u64::MAX);
        if facts().any(|facts| facts.cpus > self.setup.jobs || facts.memory_bytes > memory_max) {
            assert_eq!(running.len(), 1, "runs beside one that must run alone");
            seen.note("ran alone");
            return;
        }
        assert!(facts().map(|facts| facts.cpus.max(1)).sum::<u32>() <= self.setup.jobs, "too many cpus");
        if self.setup.memory_bytes.is_some() {
            assert!(facts().map(|facts| facts.memory_bytes).sum::<u64>() <= memory_max, "too much memory");
        }
        for (pool, size) in self.setup.pools.iter().enumerate() {
            let taken = facts().filter(|facts| facts.pool == Some(pool)).count();
            assert!(taken <= *size as usize, "pool {pool} overflows");
        }
    }

    fn in_order(&self, ready: &BTreeSet<u32>) -> Vec<u32> {
        let mut ready: Vec<u32> = ready.iter().copied().collect();
        ready.sort_by_key(|instance| self.key(*instance));
        ready
    }

    fn demand(&self, instance: u32) -> Demand {
        demand(self.setup, instance)
    }

    fn free(&self, running: &BTreeSet<u32>) -> (u32, u64, Vec<u32>) {
        let (mut cpus, mut memory, mut pools) =
            (self.setup.jobs, self.setup.memory_bytes.unwrap_or(0), self.setup.pools.clone());
        for instance in running {
            let (taken_cpus, taken_memory, pool) = self.demand(*instance);
            cpus -= taken_cpus;
            memory -= taken_memory;
            if let Some(pool) = pool {
                pools[pool] -= 1;
            }
        }
        (cpus, memory, pools)
    }

    fn passes_of(&self, demand: Demand) -> u32 {
        self.passes.get(&demand).copied().unwrap_or(0)
    }

    fn passes_max(&self) -> u32 {
        self.setup.jobs * 2
    }
}

fn demand(setup: &Setup, instance: u32) -> Demand {
    let facts = &setup.instances[instance as usize];
    let memory_max = setup.memory_bytes.unwrap_or(u64::MAX);
    let alone = facts.cpus > setup.jobs || facts.memory_bytes > memory_max;
    let cpus = if alone { setup.jobs } else { facts.cpus.max(1) };
    let memory = if setup.memory_bytes.is_none() { 0 } else { facts.memory_bytes.min(memory_max) };
    (cpus, memory, facts.pool)
}

fn fits((cpus, memory, pool): Demand, free: &(u32, u64, Vec<u32>)) -> bool {
    cpus <= free.0 && memory <= free.1 && pool.is_none_or(|pool| free.2[pool] > 0)
}
