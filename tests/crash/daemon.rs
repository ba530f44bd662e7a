//! The daemon is killed again and again under a load of short runs, and each next one goes on: all counts are exact.
//!
//! Clients ask for runs with idempotency keys, lose their answers, and ask again with the same key; schedules come due every
//! second, a webhook is called, runs follow others, commands and runs fail at first, some are cancelled. Meanwhile the daemon is killed with SIGKILL: after some seconds, or
//! while it begins; in some rounds its keeper too, so that commands are cut off. In the end:
//!
//! - each key has led to one run, and there is no other; each ended as it was to, or was cancelled,
//! - each second since a schedule was first seen has one run, or one reason why it has none,
//! - each run that is followed is followed once, each call of the webhook has one run,
//! - each command was executed once, unless a kill of its keeper cut it off,
//! - nothing is left: no working folder, no end that nobody acknowledged, no process.
//!
//! `CAIRN_PROOF=1` goes on for `CAIRN_PROOF_MINUTES`, 30 where that is not set.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::proof;

mod account;
mod load;

use load::Load;

/// Clients that ask at once.
const CLIENTS: usize = 4;

/// A moment at which the daemon is killed.
struct Kill {
    /// So long after its process was started.
    after: Duration,
    /// Whether its keeper is killed too, and with it all commands.
    keeper: bool,
}

/// Makes numbers that look random, the same ones from the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn kill(&mut self) -> Kill {
        // One in three hits a daemon that begins.
        let after = match self.below(3) {
            0 => self.below(400),
            1 => 400 + self.below(1200),
            _ => 1600 + self.below(3400),
        };
        Kill { after: Duration::from_millis(after), keeper: self.below(5) == 0 }
    }
}

/// The kills of the ordinary tests: some 8 s.
const FEW: [(u64, bool); 5] = [(1500, false), (60, false), (1800, false), (1300, true), (1500, false)];

fn killed_again_and_again(kills: impl Iterator<Item = Kill>) {
    let mut load = Load::new();
    let ended = AtomicBool::new(false);
    let clients = load.clients();
    let (asked, called): (Vec<_>, _) = std::thread::scope(|scope| {
        let (ended, clients) = (&ended, &clients);
        let asking: Vec<_> =
            (0..CLIENTS).map(|number| scope.spawn(move || clients.ask_until(ended, number))).collect();
        let calling = scope.spawn(move || clients.call_until(ended));
        let killed = catch_unwind(AssertUnwindSafe(|| {
            for Kill { after, keeper } in kills {
                load.start();
                sleep(after);
                load.kill(keeper);
                if asking.iter().any(std::thread::ScopedJoinHandle::is_finished) {
                    break;
                }
            }
            load.start();
            load.until_it_answers();
        }));
        ended.store(true, Ordering::Relaxed);
        let asked =
            asking.into_iter().flat_map(|asked| asked.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let asked = asked.collect();
        let called = calling.join().unwrap_or_else(|panic| resume_unwind(panic));
        killed.unwrap_or_else(|panic| resume_unwind(panic));
        (asked, called)
    });
    load.comes_to_rest();
    account::settle(&load, &asked, called);
    load.stop();
}

#[test]
fn the_daemon_is_killed_again_and_again_and_all_counts_are_exact() {
    if !proof() {
        let kill = |(after, keeper)| Kill { after: Duration::from_millis(after), keeper };
        return killed_again_and_again(FEW.into_iter().map(kill));
    }
    let minutes = std::env::var("CAIRN_PROOF_MINUTES").ok().map_or(30, |text| text.parse().unwrap());
    let seed = std::env::var("CAIRN_PROOF_SEED").ok().map(|text| text.parse().unwrap());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
    eprintln!("kills for {minutes} min by CAIRN_PROOF_SEED={seed}");
    let (mut numbers, began) = (Numbers(seed), Instant::now());
    let goes_on = move || began.elapsed() < Duration::from_secs(minutes * 60);
    killed_again_and_again(std::iter::from_fn(|| goes_on().then(|| numbers.kill())));
}
