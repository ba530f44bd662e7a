//! The machine against random worlds, by seed: random graphs, resources, durations, failures, retries, resumed runs and
//! interrupts, on a clock that only the simulation moves.
//!
//! [`case`] draws a world, [`world`] plays it, [`oracle`] holds every step against the rules, written a second time and
//! naively: it looks at all instances at every step, where the machine keeps queues. A failure names its seed and shows
//! the last steps; [`SEEDS_VARIABLE`] plays other seeds than the usual.

mod case;
mod large;
mod oracle;
mod predict;
mod seen;
mod world;

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use case::Case;
use seen::Seen;
use world::{Step, play};

/// Seeds played in every test run.
const SEEDS: Range<u64> = 0..3_000;

/// Environment variable with other seeds to play, `FIRST..END`.
const SEEDS_VARIABLE: &str = "CAIRN_SIMULATE_SEEDS";

/// Steps shown of a run that broke a rule.
const STEPS_SHOWN: usize = 12;

#[test]
fn every_rule_holds_in_random_worlds() {
    let asked = std::env::var(SEEDS_VARIABLE).ok();
    let seeds = asked.as_deref().map_or(SEEDS, |text| {
        let (first, end) = text.split_once("..").expect("seeds are `FIRST..END`");
        first.parse().unwrap()..end.parse().unwrap()
    });
    let mut seen = Seen::default();
    for seed in seeds {
        let case = Case::draw(seed);
        let mut steps = Vec::new();
        let result = catch_unwind(AssertUnwindSafe(|| play(&case, &mut steps, &mut seen)));
        if let Err(panic) = result {
            let shown: Vec<String> =
                steps.iter().rev().take(STEPS_SHOWN).rev().map(Step::to_string).collect();
            panic!("seed {seed}: {}\n{}", message(&*panic), shown.join("\n"));
        }
    }
    if asked.is_none() {
        seen.assert_everything_happened();
    }
}

#[test]
fn equal_inputs_give_equal_actions() {
    for seed in SEEDS.step_by(20) {
        let case = Case::draw(seed);
        let [first, second] = [(); 2].map(|()| {
            let mut steps = Vec::new();
            play(&case, &mut steps, &mut Seen::default());
            steps
        });
        assert!(first == second, "seed {seed}");
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}
