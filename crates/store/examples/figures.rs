//! Measures what the store costs: `cargo run --release -p cairn-store --example figures [FOLDER]`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement: it prints, or fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_model::{
    AttemptId, Content, Event, FileContent, InputHash, InstanceEvent, InstanceName, Level, Manifest, Name,
    Output, ProjectPath, RunEvent, RunId, SystemClock, Timestamp,
};
use cairn_store::{Access, Batch, Checkpoint, Durability, Exit, FileKey, FileRow, LogRef, Stamp, Store};

const CHECKPOINTS: u32 = 10_000;

fn main() {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into());
    let folder = tempfile::tempdir_in(parent).unwrap();
    let state = folder.path().join(".cairn");
    let open = |access| Store::open(&state, access, &SystemClock).unwrap();

    report("make a store", 1, || drop(open(Access::Write)));
    report("open for writing, nothing in the logs but one batch", 1, || drop(open(Access::Write)));

    let store = open(Access::Write);
    let (mut unsynced, mut synced) = (Vec::new(), Vec::new());
    for number in 0..CHECKPOINTS {
        let durability = if number % 100 == 0 { Durability::Synced } else { Durability::Written };
        let batch = batch(number);
        let start = Instant::now();
        let _ = store.commit(batch, durability).unwrap();
        if durability == Durability::Synced { &mut synced } else { &mut unsynced }.push(start.elapsed());
    }
    print("commit of a checkpoint and what goes with it, written", unsynced);
    print("the same with 99 before it, synced", synced);
    let events = (0..CHECKPOINTS).map(|number| {
        let mut batch = Batch::new();
        batch.event(RunId::from_bytes([1; 16]), &event(number));
        let start = Instant::now();
        let _ = store.commit(batch, Durability::Written).unwrap();
        start.elapsed()
    });
    print("commit of one event, written", events.collect());

    let hashes: Vec<InputHash> = (0..CHECKPOINTS).map(|number| checkpoint(number).0).collect();
    read("from memory", &store, &hashes);
    report("close, with all that in the logs", 1, || store.clone().close().unwrap());
    drop(store);
    for _ in 0..2 {
        report("open for writing, all in tables", 1, || drop(open(Access::Write)));
    }
    for _ in 0..2 {
        report("open for reading, all in tables", 1, || drop(open(Access::Read)));
    }
    let store = open(Access::Read);
    read("from tables", &store, &hashes);
    let name: Name = "flights".parse().unwrap();
    report("durations of all instances", 1, || {
        assert_eq!(store.durations(&name).unwrap().len(), hashes.len());
    });
    report("events of a run of 20 000", 1, || {
        assert_eq!(store.events(RunId::from_bytes([1; 16])).unwrap().len(), 2 * hashes.len());
    });
    let files: Vec<FileKey> =
        (0..CHECKPOINTS).map(|inode| FileKey { device: 1, inode: u64::from(inode) }).collect();
    report("10 000 file rows in one call", 1, || {
        assert!(store.file_rows(&files).unwrap().iter().all(Option::is_some));
    });
    println!("{:<60} {} KiB", "bytes on disk", bytes_in(&state.join("store")) / 1024);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let memory = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{:<60} {}", "largest resident set", memory.trim_start_matches("VmHWM:").trim());
}

fn read(place: &str, store: &Store, hashes: &[InputHash]) {
    for _ in 0..2 {
        report(&format!("10 000 checkpoints in one call, {place}"), 1, || {
            assert!(store.checkpoints(hashes).unwrap().iter().all(Option::is_some));
        });
    }
    let each = hashes.iter().step_by(7).map(|hash| {
        let start = Instant::now();
        assert!(store.checkpoint(hash).unwrap().is_some());
        start.elapsed()
    });
    print(&format!("one checkpoint, {place}"), each.collect());
    let absent = hashes.iter().map(|hash| InputHash::of_preimage(hash.digest().as_bytes()));
    let each = absent.map(|hash| {
        let start = Instant::now();
        assert!(store.checkpoint(&hash).unwrap().is_none());
        start.elapsed()
    });
    print(&format!("a checkpoint that is not there, {place}"), each.collect());
}

fn report(what: &str, times: u32, mut run: impl FnMut()) {
    let start = Instant::now();
    for _ in 0..times {
        run();
    }
    println!("{what:<60} {:>10.1?}", start.elapsed() / times);
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what:<60} {:>10.1?} (median), {:.1?} (99 of 100), {:.1?} (most)", at(50), at(99), at(100));
}

fn bytes_in(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn instance(number: u32) -> InstanceName {
    InstanceName::new("stage".parse().unwrap(), Some(number.to_string()))
}

fn event(number: u32) -> Event {
    let (input_hash, _) = checkpoint(number);
    let event = InstanceEvent::Committed { attempt: 1, input_hash, took_ms: 5 };
    Event { at: Timestamp(1), what: RunEvent::Instance { instance: instance(number), event } }
}

/// A preimage of some 700 bytes: a command, two inputs, an output.
fn checkpoint(number: u32) -> (InputHash, Checkpoint) {
    let digest = |what: &str| cairn_model::Domain::File.digest(format!("{what} {number}").as_bytes());
    let mut preimage = b"python3 clean.py data/input.csv > build/output.csv ".repeat(8);
    for what in ["script", "data", "tree"] {
        preimage.extend_from_slice(format!("data/{what}-{number}.csv").as_bytes());
        preimage.extend_from_slice(digest(what).as_bytes());
    }
    let path = ProjectPath::parse(&format!("build/output-{number}.csv")).unwrap();
    let content = Content::File(FileContent { digest: digest("output"), size: 1000, executable: false });
    let checkpoint = Checkpoint {
        manifest: Manifest { outputs: vec![Output { path, content }] },
        level: Level::Private,
        made_by: AttemptId { run: RunId::from_bytes([1; 16]), instance: instance(number), number: 1 },
        pipeline: "flights".parse().unwrap(),
        finished: Timestamp(1_700_000_000_000),
        took_ms: 5,
        log: LogRef {
            path: format!("logs/018bcfe5-687b-7000-8000-00000000abcd/stage.{number}.log"),
            bytes: 0,
        },
        exit: Exit::default(),
        preimage,
    };
    (InputHash::of_preimage(&checkpoint.preimage), checkpoint)
}

fn batch(number: u32) -> Batch {
    let (hash, checkpoint) = checkpoint(number);
    let name: Name = "flights".parse().unwrap();
    let stamp = Stamp { size: 1000, mtime_ns: 1, ctime_ns: 2, mode: 0o100_644 };
    let mut batch = Batch::new();
    batch.put_checkpoint(hash, &checkpoint);
    batch.event(RunId::from_bytes([1; 16]), &event(number));
    batch.latest(&name, &instance(number), hash);
    batch.duration(&name, &instance(number), 5);
    batch.file_row(
        FileKey { device: 1, inode: u64::from(number) },
        &FileRow { stamp, digest: *hash.digest() },
    );
    batch
}
