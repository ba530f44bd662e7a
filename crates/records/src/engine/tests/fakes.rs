//! A ledger, sinks and workers in memory, which fail from a given call on: a process that is gone makes no more calls.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_model::{
    Address, CommitMode, Digest, FieldPath, OnChange, ProjectPath, RecordRetries, Records, Sink as Told,
    SinkMode, SinkPlace,
};
use serde_json::Value;

use crate::engine::{self, EngineError, Hands, Process, Report, Setup, Spawn, SpawnError};
use crate::ledger::{Asked, Changes, Dead, Ledger, LedgerError, Pages, Scope};
use crate::sink::{BatchId, Delivered, Delivery, Operation, RecordFault, Sink, SinkError};
use crate::source::SourceFile;

/// Counts calls, and says which fail.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Calls that are left; below zero there is no end.
    left: AtomicI64,
}

impl Cut {
    pub(super) fn after(calls: i64) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(calls) })
    }

    pub(super) fn never() -> Arc<Self> {
        Self::after(i64::MAX)
    }

    /// Returns whether the process is still there.
    pub(super) fn lives(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) > 0
    }

    pub(super) fn was_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    pub(super) fn calls(&self) -> i64 {
        i64::MAX - self.left.load(Ordering::SeqCst)
    }
}

/// What a store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    scope: Option<Scope>,
    pages: BTreeMap<u16, Vec<u8>>,
    deltas: BTreeMap<u64, Vec<u8>>,
    pub(super) dead: BTreeMap<(String, Vec<u8>), Dead>,
    /// Dead letters that a person wants tried again, with their edited payload.
    pub(super) asked: BTreeMap<(String, Vec<u8>), Option<Vec<u8>>>,
}

/// A store that keeps its states since the last durable one, so that a power cut may take some of them.
#[derive(Debug)]
pub(super) struct Memory {
    states: Mutex<Vec<Stored>>,
    cut: Mutex<Arc<Cut>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { states: Mutex::new(vec![Stored::default()]), cut: Mutex::new(Cut::never()) }
    }

    pub(super) fn now(&self) -> Stored {
        self.states.lock().unwrap().last().unwrap().clone()
    }

    pub(super) fn ask(&self, key: &str, payload: &[u8], edited: Option<&[u8]>) {
        let mut states = self.states.lock().unwrap();
        let stored = states.last_mut().unwrap();
        let letter = (key.to_owned(), payload.to_vec());
        assert!(stored.dead.contains_key(&letter), "no such letter");
        stored.asked.insert(letter, edited.map(<[u8]>::to_vec));
    }

    /// Loses what was written since the last durable change, but for the first `keep` parts in a hundred.
    pub(super) fn lose_power(&self, keep: usize) {
        let mut states = self.states.lock().unwrap();
        let last = (states.len() - 1) * keep / 100;
        states.truncate(last + 1);
    }

    fn with<T>(&self, look: impl FnOnce(&Stored) -> T) -> T {
        look(self.states.lock().unwrap().last().unwrap())
    }

    fn check(&self) -> Result<(), LedgerError> {
        let cut = Arc::clone(&self.cut.lock().unwrap());
        if cut.lives() { Ok(()) } else { Err(LedgerError { error: "cut".to_owned(), help: None }) }
    }
}

impl Ledger for Memory {
    fn scope(&self) -> Result<Option<Scope>, LedgerError> {
        Ok(self.with(|now| now.scope.clone()))
    }

    fn pages(&self) -> Pages<'_> {
        Box::new(self.now().pages.into_iter().map(Ok))
    }

    fn page(&self, prefix: u16) -> Result<Vec<u8>, LedgerError> {
        Ok(self.with(|now| now.pages.get(&prefix).cloned().unwrap_or_default()))
    }

    fn deltas(&self) -> Result<Vec<u64>, LedgerError> {
        Ok(self.with(|now| now.deltas.keys().copied().collect()))
    }

    fn delta(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        Ok(self.with(|now| now.deltas.get(&number).cloned().unwrap_or_default()))
    }

    fn asked(&self) -> Result<Vec<Asked>, LedgerError> {
        let now = self.now();
        let asked = now.asked.into_iter().map(|((key, payload), edited)| {
            let Dead { file, line, .. } = now.dead[&(key.clone(), payload.clone())].clone();
            Asked { key, payload, edited, file, line }
        });
        Ok(asked.collect())
    }

    fn apply(&self, changes: Changes) -> Result<(), LedgerError> {
        self.check()?;
        let mut stored = self.now();
        let Changes { scope, pages, deltas, merged, dead, revived, durable } = changes;
        if scope.is_some() {
            stored.scope = scope;
        }
        for (prefix, page) in pages {
            if page.is_empty() {
                stored.pages.remove(&prefix);
            } else {
                stored.pages.insert(prefix, page);
            }
        }
        stored.deltas.extend(deltas);
        for number in merged {
            stored.deltas.remove(&number);
        }
        for letter in revived {
            let letter = (letter.key, letter.payload);
            stored.dead.remove(&letter);
            stored.asked.remove(&letter);
        }
        for dead in dead {
            let letter = (dead.key.clone(), dead.payload.clone());
            stored.asked.remove(&letter);
            stored.dead.insert(letter, dead);
        }
        let mut states = self.states.lock().unwrap();
        if durable {
            states.clear();
        }
        states.push(stored);
        drop(states);
        // The change is there, and whoever made it does not learn of it.
        self.check()
    }
}

/// What a sink holds; it outlives whoever writes to it.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: BTreeMap<String, Vec<Value>>,
    /// The last batch of each scope.
    pub(super) last: HashMap<String, (u64, Digest)>,
    /// What was applied under each idempotency key.
    pub(super) applied: HashMap<Digest, Vec<Bytes>>,
    prepared: BTreeMap<(String, u64), Vec<Delivery>>,
    pub(super) batches: usize,
    /// What came under each number, to one that knows nothing but idempotency keys.
    pub(super) sent: BTreeMap<(String, u64), BTreeSet<Vec<Bytes>>>,
    /// How many records it takes before it is busy, and how many after that, one that is not transactional.
    pub(super) patience: Option<u32>,
    pub(super) calm: Option<u32>,
}

/// How a sink keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Whole batches with a ledger.
    Transactional,
    /// Record by record, knowing nothing but idempotency keys.
    Keyed,
}

pub(super) struct Fake {
    pub(super) name: String,
    pub(super) nature: Nature,
    pub(super) mode: SinkMode,
    pub(super) table: Arc<Mutex<Table>>,
    cut: Arc<Cut>,
}

impl Fake {
    fn gone(&self) -> SinkError {
        SinkError::Unavailable { sink: self.name.clone(), error: "cut".to_owned(), retry_after_ms: None }
    }

    fn check(&self) -> Result<(), SinkError> {
        if self.cut.lives() { Ok(()) } else { Err(self.gone()) }
    }

    /// A record says itself which sink does not take it.
    fn faults(&self, records: &[Delivery]) -> Vec<RecordFault> {
        let misfits = records.iter().enumerate().filter(|(_, delivery)| {
            let record: Value = serde_json::from_slice(&delivery.record).unwrap();
            record["misfit"] == self.name.as_str()
        });
        let fault = |index| RecordFault {
            index,
            error: "misfit".into(),
            retry: false,
            of_sink: false,
            retry_after_ms: None,
        };
        misfits.map(|(index, _)| fault(index)).collect()
    }

    fn put(&self, table: &mut Table, delivery: &Delivery) {
        let seen = table.applied.entry(delivery.idempotency_key).or_default();
        seen.push(delivery.record.clone());
        if self.nature == Nature::Keyed && seen.len() > 1 {
            return;
        }
        let record: Value = serde_json::from_slice(&delivery.record).unwrap();
        let rows = table.rows.entry(record["id"].to_string()).or_default();
        match (delivery.operation, self.mode) {
            (Operation::Delete, _) => rows.clear(),
            (Operation::Put, SinkMode::Append) => rows.push(record),
            (Operation::Put, SinkMode::Insert) if !rows.is_empty() => {}
            (Operation::Put, _) => *rows = vec![record],
        }
    }
}

impl Sink for Fake {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_transactional(&self) -> bool {
        self.nature == Nature::Transactional
    }

    fn last_applied(&mut self, scope: &str) -> Result<Option<u64>, SinkError> {
        self.check()?;
        let last = self.table.lock().unwrap().last.get(scope).map_or(0, |(last, _)| *last);
        Ok((self.nature == Nature::Transactional).then_some(last))
    }

    fn applied(&mut self, batch: &BatchId) -> Result<Option<bool>, SinkError> {
        Ok(self.last_applied(&batch.scope)?.map(|last| last >= batch.sequence))
    }

    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError> {
        self.check()?;
        let faults = self.faults(records);
        let table = Arc::clone(&self.table);
        let mut table = table.lock().unwrap();
        table.batches += 1;
        if self.nature == Nature::Keyed {
            let mut faults = faults;
            let sent = records.iter().map(|delivery| delivery.record.clone()).collect();
            table.sent.entry((batch.scope.clone(), batch.sequence)).or_default().insert(sent);
            for (index, delivery) in records.iter().enumerate() {
                if table.patience == Some(0) {
                    let fault = |index| RecordFault {
                        index,
                        error: "busy".into(),
                        retry: true,
                        of_sink: true,
                        retry_after_ms: None,
                    };
                    faults.extend((index..records.len()).map(fault));
                    table.patience = table.calm;
                    if faults.len() == records.len() && index == 0 {
                        return Err(self.gone());
                    }
                    break;
                }
                table.patience = table.patience.map(|left| left - 1);
                if faults.iter().all(|fault| fault.index != index) {
                    self.check()?;
                    self.put(&mut table, delivery);
                }
            }
            self.check()?;
            return Ok(Delivered { refused: faults, receipts: Vec::new() });
        }
        let last = table.last.get(&batch.scope).copied();
        match last {
            Some((last, digest)) if last == batch.sequence => {
                assert_eq!(digest, batch.digest, "{}: batch {last} comes with other content", self.name);
                return Ok(Delivered::default());
            }
            last => assert_eq!(last.map_or(0, |(last, _)| last) + 1, batch.sequence, "{}", self.name),
        }
        if !faults.is_empty() {
            return Err(SinkError::Records(faults));
        }
        for delivery in records {
            self.put(&mut table, delivery);
        }
        table.last.insert(batch.scope.clone(), (batch.sequence, batch.digest));
        drop(table);
        self.check()?;
        Ok(Delivered::default())
    }

    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError> {
        Ok(None)
    }

    fn prepare(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<(), SinkError> {
        self.check()?;
        let faults = self.faults(records);
        if !faults.is_empty() {
            return Err(SinkError::Records(faults));
        }
        let id = (batch.scope.clone(), batch.sequence);
        let known = self.table.lock().unwrap().prepared.insert(id, records.to_vec());
        assert!(known.is_none(), "{}: it is prepared already", self.name);
        self.check()
    }

    fn settle(&mut self, batch: &BatchId, commit: bool) -> Result<(), SinkError> {
        self.check()?;
        let table = Arc::clone(&self.table);
        let mut table = table.lock().unwrap();
        let prepared = table.prepared.remove(&(batch.scope.clone(), batch.sequence));
        for delivery in prepared.iter().flatten().filter(|_| commit) {
            self.put(&mut table, delivery);
        }
        if prepared.is_some() && commit {
            table.last.insert(batch.scope.clone(), (batch.sequence, batch.digest));
        }
        drop(table);
        self.check()
    }

    fn prepared(&mut self, scope: &str) -> Result<Vec<u64>, SinkError> {
        self.check()?;
        let table = self.table.lock().unwrap();
        let of_scope = table.prepared.keys().filter(|(known, _)| known == scope);
        Ok(of_scope.map(|(_, sequence)| *sequence).collect())
    }
}

impl Table {
    pub(super) fn has_prepared(&self) -> bool {
        !self.prepared.is_empty()
    }
}

/// Stands among the requests where a worker was ended.
pub(super) const KILLED: &str = "killed";

/// The code of a worker that ends badly even with nothing to do.
pub(super) const BROKEN: u64 = 13;

/// A worker in a thread. What it does a record says itself, in `w`; it adds `by`, which is the worker's code.
pub(super) struct Worker {
    pub(super) by: u64,
    /// Requests that were answered, over all starts.
    pub(super) asked: Mutex<Vec<String>>,
}

impl Spawn for Arc<Worker> {
    fn spawn(&self, _: usize) -> Result<Process, SpawnError> {
        let (requests, stdin) = std::io::pipe().unwrap();
        let (stdout, answers) = std::io::pipe().unwrap();
        let worker = Arc::clone(self);
        let killed = Arc::new(AtomicBool::new(false));
        let is_killed = Arc::clone(&killed);
        let working = std::thread::spawn(move || worker.work(requests, answers, &is_killed));
        let told = Arc::clone(self);
        Ok(Process {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            wait: Box::new(|| working.join().unwrap()),
            kill: Box::new(move || {
                killed.store(true, Ordering::SeqCst);
                told.asked.lock().unwrap().push(KILLED.to_owned());
            }),
        })
    }
}

impl Worker {
    fn work(
        &self,
        requests: std::io::PipeReader,
        mut answers: std::io::PipeWriter,
        killed: &AtomicBool,
    ) -> Option<String> {
        for line in BufReader::new(requests).lines() {
            let request: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let (key, attempt, mut record) =
                (request["key"].clone(), request["attempt"].as_u64().unwrap(), request["record"].clone());
            let action = record["w"].as_str().unwrap_or_default().to_owned();
            self.asked.lock().unwrap().push(record.to_string());
            record["by"] = self.by.into();
            if action == "slow" {
                std::thread::sleep(Duration::from_millis(20));
            }
            while action == "hang" && !killed.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let answer = match action.as_str() {
                "hang" | "crash" => return Some("was ended by signal 9".to_owned()),
                "drop" => serde_json::json!({"key": key, "drop": true}),
                "error" => serde_json::json!({"key": key, "error": "no", "retry": false}),
                "never" => serde_json::json!({"key": key, "error": "not yet"}),
                "once" if attempt == 1 => serde_json::json!({"key": key, "error": "not yet", "retry": true}),
                "none" => serde_json::json!({"key": key, "records": []}),
                _ => serde_json::json!({"key": key, "record": record}),
            };
            if writeln!(answers, "{answer}").is_err() {
                break;
            }
        }
        (self.by == BROKEN).then(|| "ended with exit status 1".to_owned())
    }
}

/// A stage, its store and its sinks.
pub(super) struct Stage {
    pub(super) records: Records,
    pub(super) memory: Memory,
    pub(super) tables: Vec<(String, Nature, Arc<Mutex<Table>>)>,
    pub(super) worker: Option<Arc<Worker>>,
    /// How often a run asks whether it is to stop before it is.
    pub(super) stop_after: i64,
    folder: tempfile::TempDir,
    runs: Cell<u64>,
    clock: Rc<AtomicI64>,
}

pub(super) fn field(name: &str) -> FieldPath {
    FieldPath(vec![name.to_owned()])
}

impl Stage {
    pub(super) fn new(mode: SinkMode, versioned: bool, natures: &[Nature]) -> Self {
        let told = |number: usize| Told {
            place: SinkPlace::Sqlite { path: Address("fake.db".to_owned()), table: format!("sink{number}") },
            mode,
            key: Vec::new(),
            columns: BTreeMap::new(),
        };
        let records = Records {
            source: "*.jsonl".to_owned(),
            format: None,
            key: vec![field("id")],
            version: versioned.then(|| field("v")),
            tombstone: None,
            worker: None,
            workers: 1,
            worker_timeout_ms: 10_000,
            batch: Some(3),
            on_change: OnChange::Reprocess,
            retries: RecordRetries { attempts: 2, delay_ms: 0, ..RecordRetries::default() },
            commit: CommitMode::Each,
            sinks: (0..natures.len()).map(told).collect(),
        };
        let tables = natures
            .iter()
            .enumerate()
            .map(|(number, nature)| (format!("sink{number}"), *nature, Arc::default()));
        Self {
            records,
            memory: Memory::new(),
            tables: tables.collect(),
            worker: None,
            stop_after: i64::MAX,
            folder: tempfile::tempdir().unwrap(),
            runs: Cell::new(0),
            clock: Rc::default(),
        }
    }

    pub(super) fn two_phase(mut self) -> Self {
        self.records.commit = CommitMode::TwoPhase;
        self
    }

    pub(super) fn with_worker(mut self, by: u64) -> Self {
        let command = cairn_model::Command::Argv(vec!["worker".to_owned()]);
        self.records.worker = Some(command);
        self.worker = Some(Arc::new(Worker { by, asked: Mutex::default() }));
        self
    }

    pub(super) fn with_file(mut self) -> Self {
        self.records.sinks.push(Told {
            place: SinkPlace::File {
                path: ProjectPath::parse("out.jsonl").unwrap(),
                format: cairn_model::Format::Jsonl,
            },
            mode: SinkMode::Upsert,
            key: Vec::new(),
            columns: BTreeMap::new(),
        });
        self
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it over files of lines.
    pub(super) fn run(&self, files: &[(&str, Vec<String>)]) -> Result<Report, EngineError> {
        self.run_cut(files, &Cut::never())
    }

    pub(super) fn run_cut(
        &self,
        files: &[(&str, Vec<String>)],
        cut: &Arc<Cut>,
    ) -> Result<Report, EngineError> {
        *self.memory.cut.lock().unwrap() = Arc::clone(cut);
        let run = self.runs.get() + 1;
        self.runs.set(run);
        let sources = files.iter().map(|(name, lines)| {
            let disk = self.path().join(name);
            let text: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            std::fs::write(&disk, text).unwrap();
            SourceFile { path: ProjectPath::parse(name).unwrap(), disk }
        });
        let spool = self.path().join(format!("spool-{run}"));
        std::fs::create_dir(&spool).unwrap();
        let mode = self.records.sinks.first().map_or(SinkMode::Upsert, |sink| sink.mode);
        let open_sinks = || {
            let sinks = self.tables.iter().map(|(name, nature, table)| {
                let (name, table, cut) = (name.clone(), Arc::clone(table), Arc::clone(cut));
                Box::new(Fake { name, nature: *nature, mode, table, cut }) as Box<dyn Sink>
            });
            Ok(sinks.collect())
        };
        let files = self.records.sinks.iter().filter(|sink| matches!(sink.place, SinkPlace::File { .. }));
        let output = || (self.path().join("out"), cairn_model::Format::Jsonl);
        let stops = AtomicI64::new(self.stop_after);
        let clock = AtomicI64::new(self.clock.load(Ordering::SeqCst));
        let by = self.worker.as_ref().map_or(0, |worker| worker.by);
        let setup = Setup {
            records: &self.records,
            sources: sources.collect(),
            ledger: &self.memory,
            open_sinks: &open_sinks,
            files: files.map(|_| output()).collect(),
            new_token: format!("scope {run}"),
            spawn: self.worker.as_ref().map(|worker| worker as &dyn Spawn),
            code: Digest::from_bytes([u8::try_from(by).unwrap(); 32]),
            spool,
            results: self.path().join("results"),
            receipts: self.path().join("receipts"),
            hands: Hands {
                progress: &|_| {},
                now: &|| clock.fetch_add(1, Ordering::SeqCst),
                stop: &|| stops.fetch_sub(1, Ordering::SeqCst) <= 0,
                fence: run,
                seed: 1,
            },
        };
        let report = engine::run(&setup);
        self.clock.store(clock.load(Ordering::SeqCst), Ordering::SeqCst);
        report
    }

    /// What a sink holds, key by key.
    pub(super) fn rows(&self, sink: usize) -> BTreeMap<String, Vec<Value>> {
        let mut rows = self.tables[sink].2.lock().unwrap().rows.clone();
        rows.retain(|_, rows| !rows.is_empty());
        rows
    }

    pub(super) fn output(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join("out")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The keys of all dead letters.
    pub(super) fn dead(&self) -> BTreeSet<String> {
        self.memory.now().dead.into_keys().map(|(key, _)| key).collect()
    }

    /// Holds what each sink owes whatever was cut off: an idempotency key stands for one record, and one with
    /// transactions applied it once.
    pub(super) fn check_once(&self) {
        for (name, nature, table) in &self.tables {
            let table = table.lock().unwrap();
            assert!(!table.has_prepared(), "{name}: a prepared transaction is left");
            for bodies in table.applied.values() {
                assert!(
                    bodies.iter().all(|body| *body == bodies[0]),
                    "{name}: one key, two records: {bodies:?}"
                );
                assert!(*nature == Nature::Keyed || bodies.len() == 1, "{name}: applied twice: {bodies:?}");
            }
        }
    }
}
