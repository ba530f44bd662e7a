//! A world, drawn from a seed.

use cairn_model::{InstanceName, Timestamp};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::retry::{Backoff, History, Last, Policy};
use crate::step::{Facts, Input, Setup};

/// When a run begins.
pub(super) const START: Timestamp = Timestamp(1_000_000);

#[derive(Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) setup: Setup,
    /// What becomes of each instance, whenever it is its turn.
    pub(super) fates: Vec<Fate>,
    /// Interrupts and stops.
    pub(super) stops: Vec<(Timestamp, Input)>,
    /// Ticks that nobody asked for.
    pub(super) ticks: Vec<Timestamp>,
}

#[derive(Debug, Clone)]
pub(super) struct Fate {
    /// The answers to its look-ups, in order; after the last: a miss.
    pub(super) lookups: Vec<Answer>,
    /// How its attempts end, in order; after the last: well.
    pub(super) attempts: Vec<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Fresh,
    Restored,
    Miss,
    /// The attempt of before runs on what would be executed now.
    Held,
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Fails,
    FailsForGood,
    /// Somebody ends it from outside, though cairn did not ask.
    IsCut,
}

impl Case {
    pub(super) fn draw(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let count_max = one_of([3, 12, 40], &mut dice);
        let count = if dice.random_bool(0.02) { 0 } else { dice.random_range(1..=count_max) };
        let jobs = dice.random_range(1..=6);
        let pools: Vec<u32> = (0..dice.random_range(0..=3)).map(|_| dice.random_range(1..=3)).collect();
        let memory_bytes = dice.random_bool(0.5).then_some(100);
        let needs = needs(count, &mut dice);
        let partial = dice.random_bool(0.15);
        let resumed = dice.random_bool(0.3);
        let uneven = dice.random_bool(0.6);
        let instances = needs
            .into_iter()
            .enumerate()
            .map(|(number, needs)| Facts {
                name: InstanceName::new(format!("i{number}").parse().unwrap(), None),
                needs,
                selected: !partial || dice.random_bool(0.6),
                cpus: if uneven && dice.random_bool(0.3) { dice.random_range(0..=jobs + 2) } else { 1 },
                memory_bytes: if uneven { one_of([0, 0, 30, 60, 100, 150], &mut dice) } else { 0 },
                pool: if pools.is_empty() || dice.random_bool(0.5) {
                    None
                } else {
                    Some(dice.random_range(0..pools.len()))
                },
                priority: if dice.random_bool(0.8) { 0 } else { dice.random_range(-1..=1) },
                critical_path_ms: dice.random_range(0..5) * 100,
                retries: policy(&mut dice),
                history: if resumed { history(&mut dice) } else { History::default() },
                force: dice.random_bool(0.1),
                held: false,
            })
            .collect();
        let mut setup = Setup {
            instances,
            jobs,
            memory_bytes,
            pools,
            keep_going: dice.random_bool(0.5),
            frozen: dice.random_bool(0.1),
            seed: dice.random(),
            lookups_max: dice.random_range(1..=5),
        };
        let hit = one_of([0.0, 0.3, 0.9], &mut dice);
        let trouble = one_of([0.0, 0.1, 0.5], &mut dice);
        let mut fates: Vec<Fate> = (0..count).map(|_| Fate::draw(hit, trouble, &mut dice)).collect();
        for (facts, fate) in setup.instances.iter_mut().zip(&mut fates) {
            facts.held = facts.history.last == Last::Open && dice.random_bool(0.6);
            if facts.held && dice.random_bool(0.7) {
                fate.lookups[0] = Answer::Held;
            }
        }
        let stops = if dice.random_bool(0.35) { stops(&mut dice) } else { Vec::new() };
        let ticks = (0..dice.random_range(0..4)).map(|_| moment(&mut dice)).collect();
        Self { seed, setup, fates, stops, ticks }
    }
}

impl Fate {
    fn draw(hit: f64, trouble: f64, dice: &mut StdRng) -> Self {
        let first = if dice.random_bool(trouble / 10.0) {
            Answer::Broken
        } else if dice.random_bool(hit) {
            one_of([Answer::Fresh, Answer::Restored], dice)
        } else {
            Answer::Miss
        };
        let later = [Answer::Miss, Answer::Miss, Answer::Miss, Answer::Miss, Answer::Fresh, Answer::Broken];
        let lookups = std::iter::once(first).chain((0..3).map(|_| one_of(later, dice))).collect();
        let mut attempts = Vec::new();
        while attempts.len() < 8 && dice.random_bool(trouble) {
            attempts.push(match dice.random_range(0..20) {
                0 => Ending::IsCut,
                1 | 2 => Ending::FailsForGood,
                _ => Ending::Fails,
            });
        }
        Self { lookups, attempts }
    }
}

/// A graph without cycles whose order is not that of the numbers.
fn needs(count: usize, dice: &mut StdRng) -> Vec<Vec<u32>> {
    let mut order: Vec<usize> = (0..count).collect();
    if dice.random_bool(0.5) {
        order.shuffle(dice);
    }
    let degree = one_of([0, 1, 2, 5], dice);
    let mut needs = vec![Vec::new(); count];
    for place in 1..count {
        let mut of: Vec<u32> = (0..dice.random_range(0..=degree))
            .map(|_| u32::try_from(order[dice.random_range(0..place)]).unwrap())
            .collect();
        of.sort_unstable();
        of.dedup();
        needs[order[place]] = of;
    }
    needs
}

fn policy(dice: &mut StdRng) -> Policy {
    Policy {
        attempts: dice.random_range(0..=4),
        delay_ms: one_of([0, 1, 100, 300], dice),
        backoff: one_of([Backoff::Constant, Backoff::Exponential], dice),
        max_delay_ms: one_of([50, 500, u64::MAX], dice),
        jitter: dice.random_bool(0.5),
    }
}

fn history(dice: &mut StdRng) -> History {
    let attempts = dice.random_range(0..=5);
    let last = match dice.random_range(0..4) {
        _ if attempts == 0 => Last::None,
        0 => Last::Open,
        1 => Last::Done,
        2 => Last::Failed { error: "exit 1".into(), retry_at: None },
        _ => {
            let leap = if dice.random_bool(0.1) { 1_000_000_000 } else { 0 };
            let retry_at = Timestamp(START.0 + leap + dice.random_range(-300..600));
            Last::Failed { error: "exit 1".into(), retry_at: Some(retry_at) }
        }
    };
    let failures = if matches!(last, Last::Done) { 0 } else { dice.random_range(0..=attempts) };
    History { attempts, failures, last }
}

fn stops(dice: &mut StdRng) -> Vec<(Timestamp, Input)> {
    let count = dice.random_range(1..=4);
    (0..count)
        .map(|_| (moment(dice), if dice.random_bool(0.7) { Input::Interrupt } else { Input::Stop }))
        .collect()
}

fn moment(dice: &mut StdRng) -> Timestamp {
    let spread_ms = one_of([5, 300, 2_000], dice);
    Timestamp(START.0 + dice.random_range(0..spread_ms))
}

fn one_of<T: Copy, const N: usize>(choices: [T; N], dice: &mut StdRng) -> T {
    choices[dice.random_range(0..N)]
}
