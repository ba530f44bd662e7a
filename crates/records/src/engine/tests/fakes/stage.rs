//! Workers in threads, and stages with all that is theirs.

use super::*;

/// Stands among the requests where a worker was ended.
pub(in crate::engine::tests) const KILLED: &str = "killed";

/// The code of a worker that ends badly even with nothing to do.
pub(in crate::engine::tests) const BROKEN: u64 = 13;

/// A worker in a thread. What it does a record says itself, in `w`; it adds `by`, which is the worker's code.
pub(in crate::engine::tests) struct Worker {
    pub(in crate::engine::tests) by: u64,
    /// Requests that were answered, over all starts.
    pub(in crate::engine::tests) asked: Mutex<Vec<String>>,
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
pub(in crate::engine::tests) struct Stage {
    pub(in crate::engine::tests) records: Records,
    pub(in crate::engine::tests) memory: Memory,
    pub(in crate::engine::tests) tables: Vec<(String, Nature, Arc<Mutex<Table>>)>,
    pub(in crate::engine::tests) worker: Option<Arc<Worker>>,
    /// How often a run asks whether it is to stop before it is.
    pub(in crate::engine::tests) stop_after: i64,
    folder: tempfile::TempDir,
    /// What it was told that it waits for.
    pub(in crate::engine::tests) pauses: Mutex<Vec<engine::Pause>>,
    runs: Cell<u64>,
    /// What time it is, in milliseconds; each look at it takes one.
    pub(in crate::engine::tests) clock: Rc<AtomicI64>,
}

pub(in crate::engine::tests) fn field(name: &str) -> FieldPath {
    FieldPath(vec![name.to_owned()])
}

impl Stage {
    pub(in crate::engine::tests) fn new(mode: SinkMode, versioned: bool, natures: &[Nature]) -> Self {
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
            pauses: Mutex::default(),
            runs: Cell::new(0),
            clock: Rc::default(),
        }
    }

    pub(in crate::engine::tests) fn two_phase(mut self) -> Self {
        self.records.commit = CommitMode::TwoPhase;
        self
    }

    pub(in crate::engine::tests) fn with_worker(mut self, by: u64) -> Self {
        let command = cairn_model::Command::Argv(vec!["worker".to_owned()]);
        self.records.worker = Some(command);
        self.worker = Some(Arc::new(Worker { by, asked: Mutex::default() }));
        self
    }

    pub(in crate::engine::tests) fn with_file(mut self) -> Self {
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

    pub(in crate::engine::tests) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it over files of lines.
    pub(in crate::engine::tests) fn run(&self, files: &[(&str, Vec<String>)]) -> Result<Report, EngineError> {
        self.run_cut(files, &Cut::never())
    }

    pub(in crate::engine::tests) fn run_cut(
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
        let pauses = &self.pauses;
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
                pauses: &|pause| pauses.lock().unwrap().extend(pause.cloned()),
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
    pub(in crate::engine::tests) fn rows(&self, sink: usize) -> BTreeMap<String, Vec<Value>> {
        let mut rows = self.tables[sink].2.lock().unwrap().rows.clone();
        rows.retain(|_, rows| !rows.is_empty());
        rows
    }

    pub(in crate::engine::tests) fn output(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path().join("out")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The keys of all dead letters.
    pub(in crate::engine::tests) fn dead(&self) -> BTreeSet<String> {
        self.memory.now().dead.into_keys().map(|(key, _)| key).collect()
    }

    /// Holds what each sink owes whatever was cut off: an idempotency key stands for one record, and one with
    /// transactions applied it once.
    pub(in crate::engine::tests) fn check_once(&self) {
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
