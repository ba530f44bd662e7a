//! A store with something in every family, and all that can be read from it as one value.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_model::{
    AttemptId, Content, Counts, Digest, Domain, Event, FileContent, FixedClock, InputHash, InstanceEvent,
    InstanceName, Level, Manifest, Name, Output, ProjectPath, Reason, RunEvent, RunId, RunStatus, Timestamp,
};
use cairn_store::{
    Access, Attempt, Batch, Checkpoint, Demoted, Durability, Exit, FileKey, FileRow, Force, LogRef,
    OpenError, Placed, ProcessId, ReadError, RunOptions, RunRecord, Stamp, Store,
};

pub(crate) struct State {
    folder: tempfile::TempDir,
}

impl State {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(".cairn")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open(Access::Write).unwrap()
    }

    pub(crate) fn try_open(&self, access: Access) -> Result<Store, OpenError> {
        open(&self.path(), access)
    }

    /// Returns a copy of it.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        copy_folder(&self.path(), &copy.path());
        copy
    }
}

pub(crate) fn clock() -> FixedClock {
    FixedClock::new(Timestamp(1_700_000_000_000))
}

pub(crate) fn open(state: &Path, access: Access) -> Result<Store, OpenError> {
    Store::open(state, access, &clock())
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub(crate) fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) -> u64 {
    let mut batch = Batch::new();
    fill(&mut batch);
    store.commit(batch, Durability::Synced).unwrap().sequence
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn instance(stage: &str) -> InstanceName {
    InstanceName::new(name(stage), None)
}

pub(crate) fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

pub(crate) fn digest(text: &str) -> Digest {
    Domain::File.digest(text.as_bytes())
}

pub(crate) fn hash(number: u32) -> InputHash {
    InputHash::of_preimage(&preimage(number))
}

/// As long and as repetitive as real ones.
pub(crate) fn preimage(number: u32) -> Vec<u8> {
    format!("preimage {number} ").repeat(20).into_bytes()
}

pub(crate) fn checkpoint(number: u32, made: &str) -> Checkpoint {
    let content = FileContent { digest: digest(made), size: made.len() as u64, executable: false };
    let path = ProjectPath::parse(&format!("build/{number}.csv")).unwrap();
    Checkpoint {
        preimage: preimage(number),
        manifest: Manifest { outputs: vec![Output { path, content: Content::File(content) }] },
        level: Level::Private,
        made_by: attempt_id(1, "clean", 1),
        pipeline: name("flights"),
        finished: Timestamp(1_700_000_000_000 + i64::from(number)),
        took_ms: 1000,
        log: LogRef { path: format!("logs/{number}.log"), bytes: 12 },
        exit: Exit { code: 0, user_ms: 5, sys_ms: 6, max_rss_bytes: 1 << 20 },
    }
}

pub(crate) fn attempt_id(number: u8, stage: &str, attempt: u32) -> AttemptId {
    AttemptId { run: run(number), instance: instance(stage), number: attempt }
}

pub(crate) fn attempt(epoch: u64) -> Attempt {
    Attempt {
        input_hash: hash(1),
        epoch,
        started: Timestamp(5),
        process: ProcessId { boot_id: "b".to_owned(), pid: 7, start_ticks: 8 },
        folder: "staging/x".to_owned(),
        token: "token".to_owned(),
        in_project: Vec::new(),
    }
}

pub(crate) fn event(number: u32) -> Event {
    let event =
        InstanceEvent::AttemptStarted { attempt: number, input_hash: hash(number), reason: Reason::First };
    Event {
        at: Timestamp(i64::from(number)),
        what: RunEvent::Instance { instance: instance("clean"), event },
    }
}

pub(crate) fn run_record(definition: Digest) -> RunRecord {
    RunRecord {
        pipeline: name("flights"),
        file: "pipeline.toml".to_owned(),
        definition,
        params: vec![("year".to_owned(), "2013".to_owned())],
        logical_time: Timestamp(1),
        started: Timestamp(2),
        ended: None,
        status: RunStatus::Running,
        counts: Counts::default(),
        selection: Vec::new(),
        options: RunOptions { jobs: 2, keep_going: false, frozen: false, force: Force::Nothing },
        caller: None,
        command_line: vec!["cairn".to_owned(), "run".to_owned()],
        process: ProcessId { boot_id: "b".to_owned(), pid: 7, start_ticks: 8 },
        cairn_version: "0.1.0".to_owned(),
        saved_ms: 0,
    }
}

pub(crate) fn stamp(size: u64) -> Stamp {
    Stamp { size, mtime_ns: 1, ctime_ns: 2, mode: 0o100_644 }
}

pub(crate) fn placed(number: u32) -> Placed {
    Placed {
        content_digest: digest("placed"),
        pipeline: name("flights"),
        instance: instance("clean"),
        input_hash: hash(number),
    }
}

/// Instances that [`fill`] writes of.
pub(crate) const INSTANCES: u32 = 6;

/// Writes something to every family, in several batches.
pub(crate) fn fill(store: &Store) {
    commit(store, |batch| {
        let definition = batch.put_definition(b"[pipeline]\nname = \"flights\"\n");
        batch.put_run(run(1), &run_record(definition));
        batch.put_run(run(2), &run_record(definition));
    });
    for number in 1..=INSTANCES {
        commit(store, |batch| {
            batch.put_checkpoint(hash(number), &checkpoint(number, "first"));
            batch.event(run(1), &event(number));
            batch.attempt_started(&attempt_id(1, "clean", number), &attempt(u64::from(number)));
            batch.latest(&name("flights"), &instance("clean"), hash(number));
            batch.duration(&name("flights"), &instance(&format!("s{number}")), 100);
            let row = FileRow { stamp: stamp(u64::from(number)), digest: digest("row") };
            batch.file_row(FileKey { device: 1, inode: u64::from(number) }, &row);
            if number > 1 {
                batch.placed(&format!("build/{number}.csv"), &placed(number));
            }
        });
    }
    commit(store, |batch| {
        batch.put_checkpoint(hash(1), &checkpoint(1, "second"));
        batch.demote(hash(2), "`build/2.csv` is gone");
        batch.attempt_ended(&attempt_id(1, "clean", 1));
    });
}

/// All that [`fill`] wrote, as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Everything {
    pub(crate) runs: Vec<(RunId, RunRecord)>,
    pub(crate) definition: Option<Vec<u8>>,
    pub(crate) events: Vec<(u64, Event)>,
    pub(crate) checkpoints: Vec<Option<Checkpoint>>,
    pub(crate) recorded: Vec<Option<(Checkpoint, Option<Demoted>)>>,
    pub(crate) second_results: Vec<Checkpoint>,
    pub(crate) latest: Vec<InputHash>,
    pub(crate) durations: BTreeMap<InstanceName, u64>,
    pub(crate) attempts: Vec<(AttemptId, Attempt)>,
    pub(crate) file_rows: Vec<Option<FileRow>>,
    pub(crate) placed: Vec<Option<Placed>>,
}

impl Everything {
    pub(crate) fn of(store: &Store) -> Result<Self, ReadError> {
        let hashes: Vec<InputHash> = (1..=INSTANCES).map(hash).collect();
        let paths: Vec<String> = (1..=INSTANCES).map(|number| format!("build/{number}.csv")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let files: Vec<FileKey> =
            (1..=INSTANCES).map(|number| FileKey { device: 1, inode: u64::from(number) }).collect();
        let runs = store.runs(10)?;
        Ok(Self {
            definition: store.definition(&runs.first().map_or(digest(""), |(_, run)| run.definition))?,
            runs,
            events: store.events(run(1))?,
            checkpoints: store.checkpoints(&hashes)?,
            recorded: hashes.iter().map(|hash| store.recorded(hash)).collect::<Result<_, _>>()?,
            second_results: store.second_results(&hash(1))?,
            latest: store.latest(&name("flights"), &instance("clean"))?,
            durations: store.durations(&name("flights"))?.into_iter().collect(),
            attempts: store.attempts_open()?,
            file_rows: store.file_rows(&files)?,
            placed: store.placed_many(&paths)?,
        })
    }

    /// What [`fill`] must have left.
    pub(crate) fn expected() -> Self {
        let definition = Domain::Definition.digest(b"[pipeline]\nname = \"flights\"\n");
        let row = |size| FileRow { stamp: stamp(size), digest: digest("row") };
        let demoted = |number| (number == 2).then(|| Demoted { why: "`build/2.csv` is gone".to_owned() });
        Self {
            runs: vec![(run(2), run_record(definition)), (run(1), run_record(definition))],
            definition: Some(b"[pipeline]\nname = \"flights\"\n".to_vec()),
            events: (1..=INSTANCES).map(|number| (u64::from(number), event(number))).collect(),
            checkpoints: (1..=INSTANCES)
                .map(|number| (number != 2).then(|| checkpoint(number, "first")))
                .collect(),
            recorded: (1..=INSTANCES)
                .map(|number| Some((checkpoint(number, "first"), demoted(number))))
                .collect(),
            second_results: vec![checkpoint(1, "second")],
            latest: (1..=INSTANCES).rev().map(hash).collect(),
            durations: (1..=INSTANCES).map(|number| (instance(&format!("s{number}")), 100)).collect(),
            attempts: (2..=INSTANCES)
                .map(|number| (attempt_id(1, "clean", number), attempt(u64::from(number))))
                .collect(),
            file_rows: (1..=INSTANCES).map(|number| Some(row(u64::from(number)))).collect(),
            placed: (1..=INSTANCES).map(|number| (number != 1).then(|| placed(number))).collect(),
        }
    }
}
