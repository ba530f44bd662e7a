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
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let state = folder.path().join(".cairn");
    let open = |access| Store::open(&state, access, &SystemClock).unwrap();
    let store = open(Access::Write);
    for number in 0..CHECKPOINTS {
        let _ = store.commit(batch(number), Durability::Written).unwrap();
    }
    store.close().unwrap();
    let hashes: Vec<InputHash> = (0..CHECKPOINTS).map(|number| checkpoint(number).0).collect();
    let many: u32 = std::env::args().nth(1).map_or(0, |s| s.parse().unwrap());
    let store = open(Access::Write);
    for number in 0..many {
        let _ = store.commit(batch(CHECKPOINTS + number), Durability::Written).unwrap();
    }
    store.close().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    println!("{} KiB", bytes_in(&state.join("store")) / 1024);
    let mut sorted = hashes.clone();
    sorted.sort();
    let files: Vec<FileKey> =
        (0..CHECKPOINTS).map(|inode| FileKey { device: 1, inode: u64::from(inode) }).collect();
    let mut open_times = vec![];
    for _ in 0..30 {
        let s = Instant::now();
        drop(open(Access::Read));
        open_times.push(s.elapsed());
    }
    println!("open ro min {:?}", open_times.iter().min());
    let mut open_times = vec![];
    for _ in 0..30 {
        let s = Instant::now();
        drop(open(Access::Write));
        open_times.push(s.elapsed());
    }
    println!("open rw min {:?}", open_times.iter().min());
    let store = open(Access::Read);
    let min = |what: &str, f: &dyn Fn()| {
        let mut best = Duration::MAX;
        for _ in 0..60 {
            let s = Instant::now();
            f();
            best = best.min(s.elapsed());
        }
        println!("{what} min {best:?}");
    };
    min("checkpoints", &|| assert!(store.checkpoints(&hashes).unwrap().iter().all(Option::is_some)));
    min("checkpoints sorted", &|| assert!(store.checkpoints(&sorted).unwrap().iter().all(Option::is_some)));
    min("checkpoints single", &|| {
        for h in &hashes {
            assert!(store.checkpoint(h).unwrap().is_some())
        }
    });
    min("checkpoints single sorted", &|| {
        for h in &sorted {
            assert!(store.checkpoint(h).unwrap().is_some())
        }
    });
    min("file rows", &|| assert!(store.file_rows(&files).unwrap().iter().all(Option::is_some)));
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
    let event = InstanceEvent::Committed { attempt: 1, input_hash, took_ms: 5, trashed: Vec::new() };
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
