//! Months of schedules under a clock that jumps, a daemon that is killed, and runs that end when they like.
//!
//! A seed makes a case: a schedule, a zone, and a sequence of steps. Afterwards every time of the schedule between the
//! first look and the last has one fate, and what was run is what the schedule's words promise.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_executor::isolation::Keeper;
use cairn_model::{FixedClock, Interval, Name, RunId, RunStatus, Timestamp};
use cairn_scheduler::launch::Asked;
use cairn_scheduler::schedule::Times;
use cairn_store::{Access, Fate, OpenError, Store, Trigger, TriggerKind};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::catalog::Located;
use crate::daemon::{Daemon, Setup};
use crate::submit::Order;

/// Zones whose clocks are set in different ways: by an hour, half an hour, at midnight, in both halves of the year, not at
/// all, and one that left out a day.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Santiago",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Pacific/Apia",
];
const CRONS: [&str; 6] =
    ["0 6 * * *", "30 2 * * *", "*/30 * * * *", "15 */4 * * 1-5", "0 0 1 * *", "59 23 * * 0"];

/// A run of `p` that a program asks for.
pub(crate) fn order_of_p() -> Order {
    Order {
        pipeline: "p".parse().unwrap(),
        asked: Asked::default(),
        logical_time: None,
        priority: 0,
        trigger: Trigger { kind: TriggerKind::Api, detail: String::new() },
        not_before: None,
    }
}

/// Opens the store, which a daemon before may just have left: a program that another test of this process starts at that moment
/// has its lock too, until it is executed.
fn open(state: &Path, clock: &FixedClock) -> Store {
    let began = Instant::now();
    loop {
        match Store::open(state, Access::Write, clock) {
            Err(OpenError::Locked { .. }) if began.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// A daemon of one pipeline, `p`, that is not told to work.
pub(crate) fn idle_daemon(folder: &Path, clock: Arc<FixedClock>) -> Arc<Daemon> {
    let root = folder.canonicalize().unwrap();
    let state = root.join(".cairn");
    let located = Located {
        file: root.join("p.toml"),
        shown: "p.toml".to_owned(),
        root: root.clone(),
        state: state.clone(),
        default_name: "p".to_owned(),
    };
    let store = open(&state, &clock);
    let setup = Setup {
        telling: crate::Telling::default(),
        spans: None,
        root,
        state,
        store,
        clock,
        pipelines: Box::new(move |_| Ok(vec![located.clone()])),
        // Nothing is started here: any program will do.
        keeper: Keeper::start(Path::new("/bin/true")).unwrap(),
        held: Vec::new(),
        runs_max: 1,
        jobs: None,
    };
    Daemon::new(setup).unwrap()
}

struct World {
    folder: tempfile::TempDir,
    clock: Arc<FixedClock>,
    daemon: Option<Arc<Daemon>>,
}

impl World {
    fn new(text: &str, now: Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.toml"), text).unwrap();
        let clock = Arc::new(FixedClock::new(now));
        let mut world = Self { folder, clock, daemon: None };
        world.start();
        world
    }

    /// Kills the daemon that runs, and starts another.
    fn start(&mut self) {
        self.daemon = None;
        self.daemon = Some(idle_daemon(self.folder.path(), Arc::clone(&self.clock)));
    }

    fn daemon(&self) -> &Arc<Daemon> {
        self.daemon.as_ref().unwrap()
    }

    /// Has the run at the head of the queue begin and end.
    fn end_one(&self, status: RunStatus) -> Option<RunId> {
        let daemon = self.daemon();
        let run = daemon.queue().begin_next(self.clock_now())?;
        let ticket = daemon.store().ticket(run).unwrap().unwrap();
        daemon.settle(run, &ticket, status).unwrap();
        daemon.queue().end(run);
        Some(run)
    }

    fn clock_now(&self) -> Timestamp {
        use cairn_model::Clock as _;
        self.clock.now()
    }
}

#[derive(Debug)]
struct Case {
    cron: &'static str,
    zone: &'static str,
    catchup: &'static str,
    overlap: &'static str,
    jitter: &'static str,
}

impl Case {
    fn any(random: &mut StdRng) -> Self {
        Self {
            cron: CRONS.choose(random).unwrap(),
            zone: ZONES.choose(random).unwrap(),
            catchup: ["none", "latest", "all"].choose(random).unwrap(),
            overlap: ["skip", "queue"].choose(random).unwrap(),
            jitter: ["0s", "10m"].choose(random).unwrap(),
        }
    }

    fn text(&self) -> String {
        let Self { cron, zone, catchup, overlap, jitter } = self;
        format!(
            "[stages.a]\nrun = 'true'\noutputs = []\n[schedule]\ncron = '{cron}'\ntimezone = '{zone}'\ncatchup = '{catchup}'\noverlap = '{overlap}'\njitter = '{jitter}'\n"
        )
    }
}

const MINUTE: i64 = 60_000;

fn simulate(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let case = Case::any(&mut random);
    let about = format!("seed {seed}: {case:?}");
    // Somewhere in 2025 or 2026: every transition of two years may be met.
    let begin = Timestamp(1_735_689_600_000 + random.random_range(0..700) * 1440 * MINUTE);
    let mut world = World::new(&case.text(), begin);
    let name: Name = "p".parse().unwrap();
    world.daemon().decide(None).unwrap();
    let mut latest = begin;
    for _ in 0..60 {
        match random.random_range(0..10) {
            0 => world.start(),
            // The clock is set back; what was decided stays decided.
            1 => world.clock.advance(-random.random_range(0..2 * 1440) * MINUTE),
            2 => world.clock.advance(random.random_range(0..5 * 1440) * MINUTE),
            3 | 4 => {
                let status = *[RunStatus::Succeeded, RunStatus::Failed].choose(&mut random).unwrap();
                let _ = world.end_one(status);
            }
            _ => world.clock.advance(random.random_range(0..180) * MINUTE),
        }
        latest = latest.max(world.clock_now());
        // Two that ask at once are as one.
        let wanted = if random.random_bool(0.5) { None } else { Some([name.clone()]) };
        for _ in 0..2 {
            world.daemon().decide(wanted.as_ref().map(<[_; 1]>::as_slice)).unwrap();
        }
    }
    check(&world, (&name, &case), (begin, latest), &about);
}

fn check(world: &World, (name, case): (&Name, &Case), (begin, latest): (Timestamp, Timestamp), about: &str) {
    let daemon = world.daemon();
    let decided = daemon.store().schedule(name).unwrap().decided_until.unwrap();
    let entry = daemon.entry("p").unwrap();
    let schedule = entry.schedule.clone().unwrap();
    let times = Times::new(name, &schedule).unwrap();
    assert!(decided <= latest, "{about}: decided ahead of time");
    let fates: BTreeMap<Timestamp, Fate> = daemon
        .store()
        .occurrences(name, usize::MAX)
        .unwrap()
        .into_iter()
        .map(|(time, _, occurrence)| (time, occurrence.fate))
        .collect();
    // Every time up to the last decided one, counted by itself.
    let mut at = Timestamp(begin.0 - 1);
    let mut expected = Vec::new();
    while let Some(next) = times.next_after(at).filter(|next| next.nominal <= decided) {
        expected.push(next.nominal);
        at = next.nominal;
    }
    let found: Vec<Timestamp> = fates.keys().copied().collect();
    assert_eq!(found, expected, "{about}: an occurrence was lost, made up or decided twice");
    let mut runs: Vec<RunId> = Vec::new();
    for fate in fates.values() {
        match fate {
            Fate::Run(run) => runs.push(*run),
            Fate::Dropped(why) => {
                assert!(case.catchup != "all" || why.contains("had not ended"), "{about}: {why}");
                assert!(case.overlap == "skip" || !why.contains("had not ended"), "{about}: {why}");
            }
        }
    }
    let distinct: std::collections::BTreeSet<&RunId> = runs.iter().collect();
    assert_eq!(distinct.len(), runs.len(), "{about}: two occurrences have one run");
    // Each run has its ticket, with the interval of its time, and no other run was made.
    for (time, fate) in &fates {
        let Fate::Run(run) = fate else { continue };
        let ticket = daemon.store().ticket(*run).unwrap().expect("it was made with its occurrence");
        let Interval { start, end } = ticket.interval.unwrap();
        assert!(start < end && end == *time && ticket.logical_time == *time, "{about}");
    }
    let waiting = daemon.store().open_tickets().unwrap();
    assert!(waiting.iter().all(|(run, _)| distinct.contains(run)), "{about}: a run without an occurrence");
}

#[test]
fn no_occurrence_is_lost_or_doubled() {
    let (first, count) = match std::env::var("CAIRN_SIMULATE").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => (seed, 1),
        None if std::env::var_os("CAIRN_PROOF").is_some() => (0, 2_000),
        None => (0, 24),
    };
    for seed in first..first + count {
        simulate(seed);
    }
}

#[test]
fn the_times_of_a_list_that_were_over_are_told_once_and_those_of_another_text_too() {
    let folder = tempfile::tempdir().unwrap();
    let write = |at: &str| {
        let text = format!("[schedule]\nat = [{at}]\n[stages.a]\nrun = 'true'\noutputs = []\n");
        std::fs::write(folder.path().join("p.toml"), text).unwrap();
    };
    write("2023-11-01T00:00:00Z, 2023-11-10T00:00:00Z, 2023-11-15T00:00:00Z");
    // 2023-11-14, late in the evening.
    let clock = Arc::new(FixedClock::new(Timestamp(1_700_000_000_000)));
    let daemon = idle_daemon(folder.path(), Arc::clone(&clock));
    let p: Name = "p".parse().unwrap();
    let fates = || -> Vec<bool> {
        let known = daemon.store().occurrences(&p, 99).unwrap();
        known.into_iter().rev().map(|(_, _, known)| matches!(known.fate, Fate::Run(_))).collect()
    };
    let told = || daemon.listed.lock().unwrap().get(&p).copied();
    daemon.decide(None).unwrap();
    assert_eq!(fates(), [false, false]);
    let first = told().unwrap();
    clock.advance(12 * 3_600_000);
    daemon.decide(None).unwrap();
    assert_eq!(fates(), [false, false, true], "what came due after that is run");
    let later = told().unwrap();
    daemon.decide(None).unwrap();
    assert!(told().unwrap().until > later.until, "and is known to have a fate from the next look on");
    // A clock that is set back asks for nothing anew.
    clock.advance(-30 * 24 * 3_600_000);
    daemon.decide(None).unwrap();
    assert_eq!((fates().len(), told().unwrap().until > first.until), (3, true));
    clock.advance(30 * 24 * 3_600_000);

    write("2023-11-02T00:00:00Z, 2023-11-10T00:00:00Z, 2023-11-15T00:00:00Z");
    daemon.reload();
    daemon.decide(None).unwrap();
    assert_eq!(fates(), [false, false, false, true], "one that the text before did not have");
}
