//! A records stage being verified: its records are passed on again, into copies, with a memory of its own.
//!
//! - *Elsewhere*: as if for the first time, everything anew. Files must have the recorded bytes; a copy of each SQLite
//!   database must hold what it held, since each record stands there already.
//! - *On top of itself*: everything anew once more, later (what a worker answers must be the same); then a run that
//!   remembers what the last one did: it must have nothing to deliver.
//! - *Cut off*: stopped at some moments, after which neither the memory nor a sink hears of it any more; then run to its end
//!   on what that left.
//!
//! Only files and SQLite databases can be copied. Where a PostgreSQL table or an HTTP endpoint is loaded anew, there is a
//! stand-in that takes everything; the run that remembers asks the server, and does not write to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_content::FileError;
use cairn_model::{
    Address, AttemptId, Digest, Format, InputHash, OnChange, RecordCounts, Records, Sink as Told, SinkMode,
    SinkPlace,
};
use cairn_records::database::{self, DatabaseDifference};
use cairn_records::engine::{self, EngineError, Hands, Setup};
use cairn_records::ledger::{Asked, Buried, Changes, Ledger, LedgerError, Pages, Scope};
use cairn_records::rehearsal::{Deliveries, RecordApart, Through, Watched};
use cairn_records::sink::{self, OpenContext, Sink, SinkError};
use cairn_records::source::SourceFile;
use cairn_records::state::Kept;
use cairn_store::{Access, Attempt, Batch, Durability, ProcessId, Store};

use super::finding::{Difference, Finding, Reason, Report, Step, Verdict};
use super::outside::server;
use super::place::{Place, Start, copy_database};
use super::subject::{By, Subject, check};
use super::{VerifyError, cause};
use crate::Engine;
use crate::isolation::{Job, Keeper};
use crate::records::{StoreLedger, Workers, code, sources};

/// What a load begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// No record was ever seen.
    Nothing,
    /// What the last run remembers.
    Recorded,
}

/// Why a check came to no end.
enum Broken {
    /// It cannot be told.
    NotVerified(Reason),
    Error(VerifyError),
}

impl From<VerifyError> for Broken {
    fn from(error: VerifyError) -> Self {
        Self::Error(error)
    }
}

/// A database that stands for one of the user's.
struct Copied {
    /// The user's, as the definition names it.
    shown: String,
    /// Its tables that are sinks: table, key columns, mode.
    tables: Vec<(String, Vec<String>, SinkMode)>,
    /// As it was.
    before: PathBuf,
    /// What is loaded into.
    copy: PathBuf,
}

impl Copied {
    /// Returns whether rows are added to it by each load that remembers nothing.
    fn grows(&self) -> bool {
        self.tables.iter().any(|(.., mode)| *mode == SinkMode::Append)
    }
}

/// One place with all that loads into it need.
struct Loading {
    place: Place,
    databases: Vec<Copied>,
    load: Load,
}

/// A load, with all that is its own: it goes on in a thread of its own.
#[derive(Clone)]
struct Load {
    engine: Arc<Engine>,
    keeper: Keeper,
    job: Job,
    records: Records,
    attempt: AttemptId,
    input_hash: InputHash,
    sources: Vec<SourceFile>,
    files: Vec<(PathBuf, Format)>,
    code: Digest,
    store: Store,
    folder: PathBuf,
    fence: u64,
    sinks: Vec<Opening>,
    notes: Arc<Mutex<Deliveries>>,
    cut: Arc<AtomicBool>,
}

/// How a sink that is no file is opened.
#[derive(Clone)]
enum Opening {
    Sink(Told),
    Asking(Told),
    Nothing(String),
}

/// Has a load end when whoever waits for it does so no more.
struct StopWithMe(Arc<AtomicBool>);

impl Drop for StopWithMe {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Subject<'_> {
    /// The three checks of a records stage in their order, to the first difference.
    pub(super) async fn loaded_again(&self, records: &Records) -> Result<Report, VerifyError> {
        let mut report = Report::none(Verdict::Verified);
        report.starts_empty = false;
        let checked = self.load_checks(records, &mut report).await;
        match checked {
            Ok(Some(found)) => report.verdict = Verdict::NotIdempotent(Box::new(found)),
            Ok(None) => {}
            Err(Broken::NotVerified(reason)) => report.verdict = Verdict::NotVerified(reason),
            Err(Broken::Error(error)) => return Err(error),
        }
        Ok(report)
    }

    async fn load_checks(&self, records: &Records, report: &mut Report) -> Result<Option<Finding>, Broken> {
        self.wait_since_recorded().await;
        // What a worker made before it was changed stays on purpose.
        let is_kept = records.worker.is_some() && records.on_change == OnChange::Keep;
        let step = Step::Elsewhere;
        (self.on_step)(step);
        let mut first = self.loading(records, Memory::Nothing, 0)?;
        let started = Instant::now();
        let loaded = self.load(&first, None).await?;
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut found = failed(step, loaded)?;
        if found.is_none() && !is_kept {
            found = self.compare_load(&mut first, step)?;
        }
        report.elsewhere = check(found.as_ref());
        if found.is_some() {
            return Ok(found);
        }
        let is_external = records.sinks.iter().any(|sink| !sink.place.is_file());
        if records.worker.is_some() && (is_external || is_kept) {
            let later = Duration::from_millis(super::subject::LATER_MS).saturating_sub(started.elapsed());
            tokio::time::sleep(later).await;
            let step = Step::OnTop { time: 1 };
            (self.on_step)(step);
            let mut second = self.loading(records, Memory::Nothing, 1)?;
            let loaded = self.load(&second, None).await?;
            found = failed(step, loaded)?;
            if found.is_none() {
                found = self.compare_deliveries(&first, &second, step)?;
            }
            if found.is_none() && !is_kept {
                found = self.compare_load(&mut second, step)?;
            }
            self.remove(second)?;
        }
        if found.is_none() {
            found = self.run_again(records, is_kept).await?;
        }
        report.on_top = check(found.as_ref());
        if found.is_some() {
            return Ok(found);
        }
        let has_copies = records.sinks.iter().any(|sink| is_copied(&sink.place));
        for number in 1..=if has_copies { self.cuts } else { 0 } {
            let after_ms = (took_ms * u64::from(number) / u64::from(self.cuts + 1)).max(1);
            let step = Step::CutOff { after_ms, number, of: self.cuts };
            (self.on_step)(step);
            let mut cut = self.loading(records, Memory::Nothing, 1 + number)?;
            let loaded = self.load(&cut, Some(after_ms)).await?;
            let was_cut = cut.load.cut.swap(false, Ordering::SeqCst) && loaded.is_err();
            report.cuts = (report.cuts.0 + u32::from(was_cut), number);
            let loaded = if was_cut {
                cut.load.fence += 1;
                self.load(&cut, None).await?
            } else {
                loaded
            };
            found = failed(step, loaded)?;
            if found.is_none() && !is_kept {
                found = self.compare_load(&mut cut, step)?;
            }
            if found.is_none() {
                found = self.compare_counts(&first, &cut, step)?;
            }
            report.cut_off = check(found.as_ref());
            if found.is_some() {
                return Ok(found);
            }
            self.remove(cut)?;
        }
        self.remove(first)?;
        Ok(None)
    }

    /// Runs it as the next run would, which remembers all.
    async fn run_again(&self, records: &Records, is_kept: bool) -> Result<Option<Finding>, Broken> {
        let step = Step::OnTop { time: 2 };
        (self.on_step)(step);
        let mut again = self.loading(records, Memory::Recorded, 0)?;
        let before = again.load.fingerprints().await?;
        let loaded = self.load(&again, None).await?;
        let after = again.load.fingerprints().await?;
        let mut found = failed(step, loaded)?;
        let failed_to_read =
            |cause| self.failed(FileError { action: "read", path: again.load.folder.clone(), cause });
        let (count, key) = {
            let mut notes = again.load.notes.lock().unwrap_or_else(PoisonError::into_inner);
            (notes.count(), notes.first_key().map_err(failed_to_read)?)
        };
        if let (None, Some(key)) = (&found, key) {
            let difference = Difference::Redelivered { count: count as u64, key };
            found = Some(Finding { step, difference, cause: None });
        }
        if found.is_none() && before != after {
            return Err(Broken::NotVerified(Reason {
                text: "a table that it delivers to changed while it was asked what it holds".to_owned(),
                help: Some("verify again when nobody writes to it".to_owned()),
            }));
        }
        if found.is_none() {
            // Files are made of what is remembered: here also what a changed worker is not asked for again.
            found = self.compare(&mut again.place, step, By::Bytes)?;
        }
        if found.is_none() && !is_kept {
            found = self.compare_load(&mut again, step)?;
        }
        self.remove(again)?;
        Ok(found)
    }

    fn remove(&self, loading: Loading) -> Result<(), VerifyError> {
        let Loading { place, load, .. } = loading;
        drop(load);
        place.remove().map_err(|error| self.failed(error))
    }

    /// Makes a place to load into.
    fn loading(&self, records: &Records, memory: Memory, fence: u32) -> Result<Loading, VerifyError> {
        let engine = &self.verifier.engine;
        let mut place = self.place(Start::Nothing)?;
        let (attempt, job) = self.job(&mut place)?;
        let folder = place.folder("load").map_err(|error| self.failed(error))?;
        let at = |path: &Path| {
            let path = path.to_owned();
            move |cause| self.failed(FileError { action: "make the folder", path, cause })
        };
        for name in ["state", "spool"] {
            fs::create_dir(folder.join(name)).map_err(at(&folder))?;
        }
        let store = Store::open(&folder.join("state"), Access::Write, engine.clock.as_ref())
            .map_err(|error| self.failed(super::PlaceError::Memory(error.to_string())))?;
        let (databases, sinks) = self.scratch_sinks(records, memory, &folder)?;
        let key = records.sinks.iter().find(|sink| !sink.place.is_file()).map(|sink| &sink.key);
        let key = key.filter(|key| !key.is_empty()).unwrap_or(&records.key);
        let notes = Deliveries::create(&folder.join("deliveries"), key).map_err(at(&folder))?;
        let files = records.sinks.iter().filter_map(|sink| match &sink.place {
            SinkPlace::File { path, format } => Some((path.below(&place.base), *format)),
            _ => None,
        });
        let load = Load {
            engine: Arc::clone(engine),
            keeper: self.verifier.keeper.clone(),
            job,
            records: records.clone(),
            attempt,
            input_hash: self.gathered.input_hash,
            sources: sources(records, self.gathered, &place.base)
                .map_err(|error| self.failed(super::PlaceError::Memory(error.to_string())))?,
            files: files.collect(),
            code: code(records, self.gathered),
            store,
            fence: engine.epoch() + 1 + 2 * u64::from(fence),
            folder,
            sinks,
            notes: Arc::new(Mutex::new(notes)),
            cut: Arc::default(),
        };
        if memory == Memory::Recorded {
            load.remember().map_err(|error| self.failed(error))?;
        }
        Ok(Loading { place, databases, load })
    }

    /// Copies what can be copied, and returns how each sink that is no file is opened.
    fn scratch_sinks(
        &self,
        records: &Records,
        memory: Memory,
        folder: &Path,
    ) -> Result<(Vec<Copied>, Vec<Opening>), VerifyError> {
        let engine = &self.verifier.engine;
        let variable = |name: &str| engine.gatherer.variable(name).cloned();
        let (mut databases, mut openings) = (Vec::<Copied>::new(), Vec::new());
        for told in records.sinks.iter().filter(|sink| !sink.place.is_file()) {
            let SinkPlace::Sqlite { path, table } = &told.place else {
                let is_server = matches!(told.place, SinkPlace::Postgres { .. });
                openings.push(match memory {
                    Memory::Recorded if is_server => Opening::Asking(told.clone()),
                    Memory::Recorded | Memory::Nothing => Opening::Nothing(named(&told.place)),
                });
                continue;
            };
            let context =
                OpenContext { folder: engine.project.folder(), variable: &variable, clock: &engine.clock };
            // A variable that is not set is told of when the sink is opened.
            let Some(original) = sink::file_of(told, &context) else {
                openings.push(Opening::Sink(told.clone()));
                continue;
            };
            let shown = path.to_string();
            let number = databases.iter().position(|known| known.shown == shown);
            let number = if let Some(number) = number {
                number
            } else {
                let number = databases.len();
                let before = folder.join(format!("before-{number}.db"));
                let copy = folder.join(format!("sink-{number}.db"));
                for to in [&before, &copy] {
                    copy_database(&original, to).map_err(|error| self.failed(error))?;
                }
                databases.push(Copied { shown, tables: Vec::new(), before, copy });
                number
            };
            let known = &mut databases[number];
            if memory == Memory::Nothing && told.mode == SinkMode::Append {
                database::clear(&known.copy, table)
                    .map_err(|error| self.failed(super::PlaceError::Memory(error.to_string())))?;
            }
            let key = if told.key.is_empty() { &records.key } else { &told.key };
            let columns = key.iter().map(ToString::to_string).collect();
            known.tables.push((table.clone(), columns, told.mode));
            let path = Address(known.copy.to_string_lossy().into_owned());
            let place = SinkPlace::Sqlite { path, table: table.clone() };
            openings.push(Opening::Sink(Told { place, ..told.clone() }));
        }
        Ok((databases, openings))
    }

    /// Executes a load to its end, or cuts it off `after_ms`.
    async fn load(
        &self,
        loading: &Loading,
        after_ms: Option<u64>,
    ) -> Result<Result<RecordCounts, EngineError>, VerifyError> {
        let load = loading.load.clone();
        let cut = StopWithMe(Arc::clone(&load.cut));
        let running = tokio::task::spawn_blocking(move || load.run());
        tokio::pin!(running);
        let ended = match after_ms {
            None => running.await,
            Some(after_ms) => tokio::select! {
                ended = &mut running => ended,
                () = tokio::time::sleep(Duration::from_millis(after_ms)) => {
                    cut.0.store(true, Ordering::SeqCst);
                    running.await
                }
            },
        };
        let was_cut = cut.0.load(Ordering::SeqCst);
        drop(cut);
        loading.load.cut.store(was_cut, Ordering::SeqCst);
        match ended {
            Ok(ended) => Ok(ended),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Compares files with what is recorded, and databases with what they were.
    fn compare_load(&self, loading: &mut Loading, step: Step) -> Result<Option<Finding>, VerifyError> {
        let found = self.compare(&mut loading.place, step, By::Bytes)?;
        if found.is_some() {
            return Ok(found);
        }
        for known in &loading.databases {
            // What a load adds to a table that grows is compared with what another one added.
            if known.grows() && step != (Step::OnTop { time: 2 }) {
                continue;
            }
            let failed =
                |error: database::DatabaseError| self.failed(super::PlaceError::Memory(error.to_string()));
            let how = database::first_difference_but_ledgers(&known.before, &known.copy).map_err(failed)?;
            let Some(how) = how else { continue };
            for (table, key, _) in &known.tables {
                let apart = database::first_row_apart(&known.before, &known.copy, table, key);
                if let Some(apart) = apart.map_err(failed)? {
                    return Ok(Some(self.of_record(step, format!("`{}`", known.shown), apart)));
                }
            }
            let difference = Difference::Database { path: known.shown.clone(), how, declared: true };
            return Ok(Some(Finding { step, difference, cause: None }));
        }
        // What a worker changes beside is compared as what a command does.
        let rest = self.compare_rest(&mut loading.place, false)?;
        Ok(rest.map(|difference| Finding { step, difference, cause: None }))
    }

    /// Compares how many rows two loads added to tables that grow.
    fn compare_counts(
        &self,
        first: &Loading,
        cut: &Loading,
        step: Step,
    ) -> Result<Option<Finding>, VerifyError> {
        for (one, other) in first.databases.iter().zip(&cut.databases).filter(|(one, _)| one.grows()) {
            let how = database::first_difference_but_ledgers(&one.copy, &other.copy)
                .map_err(|error| self.failed(super::PlaceError::Memory(error.to_string())))?;
            if let Some(how @ DatabaseDifference::Count { .. }) = how {
                let difference = Difference::Database { path: one.shown.clone(), how, declared: true };
                return Ok(Some(Finding { step, difference, cause: None }));
            }
        }
        Ok(None)
    }

    /// Compares what two loads delivered.
    fn compare_deliveries(
        &self,
        first: &Loading,
        second: &Loading,
        step: Step,
    ) -> Result<Option<Finding>, VerifyError> {
        let of = |loading: &Loading| Arc::clone(&loading.load.notes);
        let (first, later) = (of(first), of(second));
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        let mut later = later.lock().unwrap_or_else(PoisonError::into_inner);
        let apart = first.first_apart(&mut later).map_err(|cause| {
            self.failed(FileError { action: "read", path: second.load.folder.clone(), cause })
        })?;
        Ok(apart.map(|apart| self.of_record(step, "what it delivers".to_owned(), apart)))
    }

    fn of_record(&self, step: Step, sink: String, apart: RecordApart) -> Finding {
        let cause = cause::guess(None, (&apart.before, &apart.after), &self.known());
        Finding { step, difference: Difference::Record { sink, apart }, cause }
    }
}

/// How often what is remembered is read again when results were moved meanwhile: they are moved once in many runs.
const MOVED_TRIES: u32 = 3;

/// Returns what a load that failed means.
fn failed(step: Step, loaded: Result<RecordCounts, EngineError>) -> Result<Option<Finding>, Broken> {
    let Err(error) = loaded else { return Ok(None) };
    let text = match &error {
        EngineError::Sink(_) => format!("a sink cannot be asked: {error}"),
        // Those that died one by one, over many runs, look like an outage together.
        EngineError::Outage { .. } => format!("it cannot be loaded anew: {error}"),
        _ => {
            let difference = Difference::Failed { error: error.to_string(), said: None };
            return Ok(Some(Finding { step, difference, cause: None }));
        }
    };
    Err(Broken::NotVerified(Reason { text, help: error.help() }))
}

/// Returns whether there is a copy of a sink that loads go into.
fn is_copied(place: &SinkPlace) -> bool {
    matches!(place, SinkPlace::File { .. } | SinkPlace::Sqlite { .. })
}

/// Returns what a sink outside of the machine is called, without a password.
fn named(place: &SinkPlace) -> String {
    match place {
        SinkPlace::Postgres { table, .. } => format!("postgres table `{table}`"),
        SinkPlace::Http { url, .. } => {
            let server = url.0.split_once("://").map_or("", |(_, rest)| server(rest));
            format!("the endpoint at `{server}`")
        }
        SinkPlace::Sqlite { table, .. } => format!("sqlite table `{table}`"),
        SinkPlace::File { path, .. } => format!("`{path}`"),
    }
}

/// Returns what is not looked at of a records stage: what sinks that cannot be copied make of a load.
pub(super) fn unseen(records: &Records) -> Vec<String> {
    let outside = records.sinks.iter().filter(|sink| !is_copied(&sink.place));
    let mut unseen: Vec<String> =
        outside.map(|sink| format!("what {} makes of a load", named(&sink.place))).collect();
    if records.worker.is_some() && records.on_change == OnChange::Keep {
        unseen.push("records from before the worker was changed (`on_change = \"keep\"`)".to_owned());
    }
    unseen
}

impl Load {
    fn ledger<'s>(&'s self, store: &'s Store) -> StoreLedger<'s> {
        StoreLedger {
            store,
            pipeline: &self.engine.pipeline.name,
            attempt: &self.attempt,
            epoch: self.fence,
            input_hash: self.input_hash,
            clock: self.engine.clock.as_ref(),
        }
    }

    /// Returns where what workers made is kept.
    fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    /// Writes down that it is this load whose memory counts.
    fn begin(&self) -> Result<(), LedgerError> {
        let mut batch = Batch::new();
        let record = Attempt {
            input_hash: self.input_hash,
            epoch: self.fence,
            started: self.engine.clock.now(),
            process: ProcessId::current(),
            folder: String::new(),
            token: self.attempt.slug(),
            in_project: Vec::new(),
        };
        batch.attempt_started(&self.attempt, &record);
        let begun = self.store.commit(batch, Durability::Written);
        begun.map(drop).map_err(|error| LedgerError { error: error.to_string(), help: None })
    }

    /// Takes over what the last run remembers.
    fn remember(&self) -> Result<(), super::PlaceError> {
        let memory = |error: LedgerError| super::PlaceError::Memory(error.to_string());
        self.begin().map_err(memory)?;
        let mut store = self.engine.kept().store.clone();
        let mut tries = 0;
        // A daemon may move results between the moment at which the store was read and this one: both are read again.
        while !self.remember_from(&store)? {
            if tries == MOVED_TRIES {
                let moved = "a daemon moved what workers made each time that it was read: verify again later";
                return Err(super::PlaceError::Memory(moved.to_owned()));
            }
            tries += 1;
            store = Store::open(self.engine.project.state(), Access::Read, self.engine.clock.as_ref())
                .map_err(|error| super::PlaceError::Memory(error.to_string()))?;
        }
        Ok(())
    }

    /// Takes over what `store` remembers. Returns whether the results that it speaks of are where it says.
    fn remember_from(&self, store: &Store) -> Result<bool, super::PlaceError> {
        let memory = |error: LedgerError| super::PlaceError::Memory(error.to_string());
        let (recorded, own) = (self.ledger(store), self.ledger(&self.store));
        let put = |changes: Changes| own.apply(changes).map_err(memory);
        // Of what was read before it was moved.
        put(Changes { merged: own.deltas().map_err(memory)?, ..Changes::default() })?;
        put(Changes { scope: recorded.scope().map_err(memory)?, ..Changes::default() })?;
        let mut first: Option<Kept> = None;
        for page in recorded.pages() {
            let page = page.map_err(memory)?;
            let of_page = engine::first_result(&page.1)
                .map_err(|error| super::PlaceError::Memory(error.to_string()))?;
            first = first.into_iter().chain(of_page).min_by_key(|kept| kept.offset);
            put(Changes { pages: vec![page], ..Changes::default() })?;
        }
        for number in recorded.deltas().map_err(memory)? {
            let delta = recorded.delta(number).map_err(memory)?;
            put(Changes { deltas: vec![(number, delta)], ..Changes::default() })?;
        }
        let (kept, copy) = (self.engine.results_of(&self.attempt.instance), self.results());
        if !kept.exists() {
            return Ok(true);
        }
        let copied = || {
            if copy.exists() {
                fs::remove_file(&copy)?;
            }
            engine::copy_results(&kept, &copy)?;
            // In the original, and after it was copied: what was moved while it was copied counts as well.
            first.map_or(Ok(true), |first| engine::holds_result(&kept, first))
        };
        copied().map_err(|cause| FileError { action: "copy", path: kept.clone(), cause }.into())
    }

    fn open(&self) -> Result<Vec<Box<dyn Sink>>, SinkError> {
        let variable = |name: &str| self.engine.gatherer.variable(name).cloned();
        let context = OpenContext {
            folder: self.engine.project.folder(),
            variable: &variable,
            clock: &self.engine.clock,
        };
        let mut opened: Vec<Box<dyn Sink>> = Vec::with_capacity(self.sinks.len());
        for opening in &self.sinks {
            let open =
                |told: &Told| sink::open(told, &self.records.key, self.records.version.as_ref(), &context);
            let through = match opening {
                Opening::Sink(told) => Through::Sink(open(told)?),
                Opening::Asking(told) => Through::Asking(open(told)?),
                Opening::Nothing(name) => Through::Nothing(name.clone()),
            };
            // All are given the same.
            let notes = opened.is_empty().then(|| Arc::clone(&self.notes));
            opened.push(Box::new(Watched::new(through, notes, Arc::clone(&self.cut))));
        }
        Ok(opened)
    }

    /// Returns what the tables hold.
    async fn fingerprints(&self) -> Result<Vec<Option<Digest>>, Broken> {
        let load = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            load.open()?.iter_mut().map(|sink| sink.fingerprint()).collect::<Result<Vec<_>, SinkError>>()
        });
        match read.await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => {
                let error = EngineError::from(error);
                let text = format!("a sink cannot be asked: {error}");
                Err(Broken::NotVerified(Reason { text, help: error.help() }))
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn run(&self) -> Result<RecordCounts, EngineError> {
        self.begin()?;
        let ledger = CutLedger { inner: self.ledger(&self.store), cut: &self.cut };
        let spool = self.folder.join("spool").join(self.fence.to_string());
        fs::create_dir_all(&spool).map_err(EngineError::Spool)?;
        let workers = Workers {
            keeper: self.keeper.clone(),
            job: self.job.clone(),
            folder: spool.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let report = engine::run(&Setup {
            records: &self.records,
            sources: self.sources.clone(),
            ledger: &ledger,
            open_sinks: &|| self.open(),
            files: self.files.clone(),
            new_token: format!("{}/{}/{}", self.attempt.run, self.attempt.instance, self.fence),
            spawn: self.records.worker.is_some().then_some(&workers as _),
            code: self.code,
            spool,
            receipts: self.folder.join("receipts"),
            results: self.results(),
            hands: Hands {
                progress: &|_| {},
                pauses: &|_| {},
                now: &|| self.engine.clock.now().0,
                stop: &|| self.cut.load(Ordering::SeqCst),
                fence: self.fence,
                seed: self.fence,
            },
        })?;
        Ok(report.counts)
    }
}

/// A memory that nothing gets into any more once it is cut off.
struct CutLedger<'l> {
    inner: StoreLedger<'l>,
    cut: &'l AtomicBool,
}

impl Ledger for CutLedger<'_> {
    fn scope(&self) -> Result<Option<Scope>, LedgerError> {
        self.inner.scope()
    }

    fn pages(&self) -> Pages<'_> {
        self.inner.pages()
    }

    fn page(&self, prefix: u16) -> Result<Vec<u8>, LedgerError> {
        self.inner.page(prefix)
    }

    fn deltas(&self) -> Result<Vec<u64>, LedgerError> {
        self.inner.deltas()
    }

    fn delta(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        self.inner.delta(number)
    }

    fn asked(&self) -> Result<Vec<Asked>, LedgerError> {
        self.inner.asked()
    }

    fn letters(&self, each: &mut dyn FnMut(Buried<'_>)) -> Result<(), LedgerError> {
        self.inner.letters(each)
    }

    fn apply(&self, changes: Changes) -> Result<(), LedgerError> {
        if self.cut.load(Ordering::SeqCst) {
            return Err(LedgerError { error: "it was cut off".to_owned(), help: None });
        }
        self.inner.apply(changes)
    }
}
