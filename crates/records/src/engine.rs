//! The engine of a records stage: finds out which records are new or changed, has them worked on and delivered, and
//! remembers it, so that each version of each key reaches the sinks once, whatever is killed.
//!
//! 1. *Scan*: every record is read once; key, version and digest are kept apart from it (`entries`).
//! 2. *Join*: the newest of each key is compared with what is remembered of it (`join`); two bits a record say what is
//!    to be done (`marks`).
//! 3. *Deliver*: marked records are read again, pass through the worker where there is one (`work`), and go to the sinks
//!    in batches that are written down before and confirmed after (`deliver`, `hand_over`), each made ready while the one
//!    before is delivered (`ahead`); what was cut off is carried on first (`in_flight`). Where tables take them and there
//!    are many, they are first brought into the order of their keys (`sorted`).
//! 4. *Files*: sinks that are files are written anew from what the source holds (`files`); what workers made and nothing
//!    speaks of any more goes (`reclaim`).
//!
//! Memory does not grow with the source but for two bits a record, some 60 bytes for each record that was known before
//! and is to be delivered again, and 24 for each key while results are moved together (`reclaim`).

mod ahead;
mod breaker;
mod course;
mod deliver;
mod deltas;
mod entries;
mod error;
mod files;
mod hand_over;
mod in_flight;
mod item;
mod join;
mod marks;
mod read;
mod reclaim;
mod sorted;
mod walk;
mod work;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cairn_model::{
    Digest, Format, OnChange, RecordCounts, RecordRetries, Records, Sink, SinkMode, SinkPlace,
};

use crate::ledger::{Asked, Changes, Ledger, Scope, Weighed};
use crate::sink::{self, BatchId};
use crate::source::SourceFile;
use crate::state::Place;

pub use error::EngineError;
pub use reclaim::{copy_results, first_result, holds_result};
pub use work::{Process, Spawn, SpawnError};

/// All that a run of the engine needs.
pub struct Setup<'e> {
    /// What the stage is told to do.
    pub records: &'e Records,
    /// The source's files in the order of their paths.
    pub sources: Vec<SourceFile>,
    /// What is kept between runs.
    pub ledger: &'e dyn Ledger,
    /// Opens the sinks that are no files.
    pub open_sinks: &'e dyn Fn() -> Result<Vec<Box<dyn sink::Sink>>, sink::SinkError>,
    /// Where the sinks that are files are written, in the order of the sinks.
    pub files: Vec<(PathBuf, Format)>,
    /// A new token for a scope.
    pub new_token: String,
    /// Starts workers.
    pub spawn: Option<&'e dyn Spawn>,
    /// Digest of the worker's command, code and environment.
    pub code: Digest,
    /// An empty folder for what does not fit into memory.
    pub spool: PathBuf,
    /// The file that keeps what workers made, for sinks that are files.
    pub results: PathBuf,
    /// The file that keeps what sinks answer, a JSON object a line.
    pub receipts: PathBuf,
    /// Time, stopping, progress.
    pub hands: Hands<'e>,
}

/// What the engine needs of the world.
pub struct Hands<'e> {
    /// Is told of counts now and then.
    pub progress: &'e (dyn Fn(&RecordCounts) + Sync),
    /// Is told of a long pause before a sink is tried again, and with `None` that it is over.
    pub pauses: &'e (dyn Fn(Option<&Pause>) + Sync),
    /// Returns the time in milliseconds since 1970.
    pub now: &'e (dyn Fn() -> i64 + Sync),
    /// Whether the run is being stopped.
    pub stop: &'e (dyn Fn() -> bool + Sync),
    /// Grows with each process that opens the store for writing.
    pub fence: u64,
    /// What pauses are drawn with.
    pub seed: u64,
}

/// A pause before a sink is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Which sink, without a password.
    pub sink: String,
    /// When it is tried again, in milliseconds since 1970.
    pub until_ms: i64,
    /// Whether the sink asked for it.
    pub asked: bool,
    /// What it answered, or what happened.
    pub error: String,
}

impl Pause {
    /// Says who pauses.
    pub fn who(&self) -> String {
        if self.asked {
            format!("{} asked for a pause", self.sink)
        } else {
            format!("{} did not take all", self.sink)
        }
    }
}

/// What a run of the engine led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Records by what became of them.
    pub counts: RecordCounts,
    /// Whether everything was delivered anew, because a sink, or the file of results, has less than was put there: which.
    pub began_anew: Option<String>,
}

/// The paths of files by their numbers.
pub(crate) struct Names<'e> {
    pub(crate) paths: &'e [String],
    pub(crate) numbers: &'e Numbers,
}

/// The numbers of this run's paths.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Of its files.
    files: Vec<u32>,
    /// The same, to look one up.
    known: HashSet<u32>,
    /// Of the files that its dead letters came from, which may be gone.
    asked: Vec<u32>,
}

impl Numbers {
    /// Returns whether the file of that number is one of this run's.
    fn is_read(&self, file: u32) -> bool {
        self.known.contains(&file)
    }

    /// Returns what a spot is called for good. A dead letter stands at the beginning of its file: where versions are
    /// equal, what the file holds now is the newer.
    fn place_of(&self, spot: marks::Spot) -> Place {
        match self.files.get(spot.file()) {
            Some(file) => Place { file: *file, ordinal: spot.ordinal() },
            None => {
                Place { file: self.asked[usize::try_from(spot.ordinal()).unwrap_or(usize::MAX)], ordinal: 0 }
            }
        }
    }
}

impl Names<'_> {
    pub(crate) fn path(&self, place: Place) -> &str {
        self.paths.get(place.file as usize).map_or("", String::as_str)
    }
}

impl Hands<'_> {
    pub(crate) fn check_stop(&self) -> Result<(), EngineError> {
        if (self.stop)() { Err(EngineError::Stopped) } else { Ok(()) }
    }

    /// The same, now and then: number `count` of what comes by the million.
    pub(crate) fn check_stop_at(&self, count: u64) -> Result<(), EngineError> {
        if count.is_multiple_of(1 << 16) { self.check_stop() } else { Ok(()) }
    }

    /// Waits, unless the run is being stopped.
    pub(crate) fn pause(&self, ms: u64) -> Result<(), EngineError> {
        let until = Instant::now() + Duration::from_millis(ms);
        loop {
            self.check_stop()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }

    /// Returns the pause after try number `tries`, from 1: drawn from 0 to what grows ("full jitter").
    pub(crate) fn delay_ms(&self, retries: &RecordRetries, tries: u32) -> u64 {
        let doubled = 1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX);
        let grown =
            if retries.exponential { retries.delay_ms.saturating_mul(doubled) } else { retries.delay_ms };
        let most = grown.min(retries.max_delay_ms.max(retries.delay_ms));
        if !retries.jitter || most == 0 {
            return most;
        }
        let draw = DRAWS.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&draw.to_le_bytes());
        bytes[16..].copy_from_slice(&u64::from(tries).to_le_bytes());
        let drawn = blake3::hash(&bytes);
        let drawn = u64::from_le_bytes(*drawn.as_bytes().first_chunk().expect("32 bytes"));
        drawn % (most + 1)
    }
}

/// How many pauses were drawn: each is drawn anew.
static DRAWS: AtomicU64 = AtomicU64::new(0);

/// Runs the engine to its end.
pub fn run(setup: &Setup<'_>) -> Result<Report, EngineError> {
    go(setup).map_err(|error| error.in_folder(&setup.spool))
}

fn go(setup: &Setup<'_>) -> Result<Report, EngineError> {
    let records = setup.records;
    if setup.sources.len() >= marks::FILES_MAX {
        return Err(EngineError::TooMuch(format!("more than {} source files", marks::FILES_MAX - 1)));
    }
    let sinks = (setup.open_sinks)()?;
    let asked = setup.ledger.asked()?;
    let (scope, sinks, began_anew) = begin(setup, sinks)?;
    let (paths, numbers) = name_files(&scope, setup, &asked);
    let names = Names { paths: &paths, numbers: &numbers };
    let scope = Scope { files: paths.clone(), ..scope };
    let worker = records.worker.is_some();
    let code = worker.then(|| code_of(&setup.code));
    let Weighed { decided, failed } = scope.weighed;
    let mut deliverer = deliver::Deliverer {
        ledger: setup.ledger,
        scope,
        sinks,
        records,
        hands: &setup.hands,
        names: &names,
        code,
        results: None,
        counts: RecordCounts::default(),
        rows: Vec::new(),
        receipts: &setup.receipts,
        lent: ahead::Lent::default(),
        decided,
        failed,
        to_come: None,
        excluded: HashSet::new(),
        kept: Vec::new(),
        dead: Vec::new(),
        revived: Vec::new(),
    };
    deliverer.settle_in_flight()?;
    deltas::merge_all(setup.ledger, &deliverer.scope)?;
    // The scope is known to the sinks only from here on.
    setup.ledger.apply(Changes {
        scope: Some(deliverer.scope.clone()),
        durable: true,
        ..Changes::default()
    })?;

    let source =
        read::Source { files: &setup.sources, asked: &asked, records, names: &names, hands: &setup.hands };
    let scanned = read::scan(&source, &setup.spool)?;
    let buried = read::buried(setup.ledger)?;
    let rules = join::Rules {
        buried: &buried,
        versioned: records.version.is_some(),
        direct: deliverer.sinks.is_empty() && !worker,
        files: !setup.files.is_empty(),
        outlives: !deliverer.sinks.is_empty(),
        insert: records.sinks.iter().all(|sink| sink.mode == SinkMode::Insert),
        code: code.filter(|_| records.on_change == OnChange::Reprocess),
        paths: &paths,
        numbers: &numbers,
    };
    let mut joined = join::join(scanned, setup.ledger, &rules, setup.sources.len() + 1, &setup.hands)?;
    let first = || read::first_bad(&source, &joined.marks);
    deliver::check_outage(joined.marks.bad(), joined.counts.read, 0, first)?;
    deliverer.counts = joined.counts;
    for (letter, place, line) in read::superseded(&source, &joined.marks) {
        deliverer.supersede(letter, place, line);
    }
    if !setup.files.is_empty() && worker {
        deliverer.results = Some(files::open_results(&setup.results, deliverer.scope.results_bytes)?);
    }
    let total = joined.marks.to_deliver() + joined.marks.bad();
    deliverer.to_come = Some(total);
    deliverer.check_conserved(0)?;
    if total > 0 {
        read::deliver(&source, &joined, &mut deliverer, setup.spawn, &setup.spool)?;
    }
    deliverer.to_come = Some(0);
    deliverer.confirm()?;
    deltas::merge_all(setup.ledger, &deliverer.scope)?;
    if !setup.files.is_empty() {
        joined.kept.append(&mut deliverer.kept);
        files::write(setup, &source, &mut joined, &deliverer.excluded, worker)?;
    }
    let counts = deliverer.counts;
    deliverer.scope.counts = Some(counts);
    deliverer.scope.weighed = Weighed::default();
    setup.ledger.apply(Changes {
        scope: Some(deliverer.scope.clone()),
        durable: true,
        ..Changes::default()
    })?;
    (setup.hands.progress)(&counts);
    let standing = joined.kept.iter().map(|(_, kept)| u64::from(kept.length)).sum();
    tidy_results(setup, &deliverer.scope, standing)?;
    Ok(Report { counts, began_anew })
}

/// Gives the disk back what the file of results no longer needs, of which `standing` bytes count. All is delivered by now.
fn tidy_results(setup: &Setup<'_>, scope: &Scope, standing: u64) -> Result<(), EngineError> {
    if setup.records.worker.is_none() || setup.files.is_empty() {
        if scope.results_bytes == 0 {
            // Of a time when files were made of what workers made.
            let _ = std::fs::remove_file(&setup.results);
        }
        return Ok(());
    }
    match reclaim::reclaim(setup, scope, standing) {
        // What is left for the next time harms nobody.
        Err(error @ (EngineError::Kept { .. } | EngineError::File { .. })) => {
            tracing::warn!(%error, "results that count no more stay where they are");
            Ok(())
        }
        Err(EngineError::Stopped) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A scope, the sinks, and which sink it was for which everything begins anew.
type Begun = (Scope, Vec<Box<dyn sink::Sink>>, Option<String>);

/// Takes up the scope of before, or begins a new one: after a change of what decides where records go, and when a sink, or
/// the file of what workers made, has less than was put there.
fn begin(setup: &Setup<'_>, mut sinks: Vec<Box<dyn sink::Sink>>) -> Result<Begun, EngineError> {
    let wanted = setup_of(setup.records);
    let (mut began_anew, mut changes) = (None, Changes::default());
    if let Some(scope) = setup.ledger.scope()? {
        if scope.setup == wanted {
            if setup.spawn.is_some() && !setup.files.is_empty() && scope.results_bytes > 0 {
                let length = std::fs::metadata(&setup.results).map_or(0, |results| results.len());
                began_anew = (length < scope.results_bytes).then(|| format!("`{}`", setup.results.display()));
            }
            for sink in &mut sinks {
                let last = sink.last_applied(&scope.token)?;
                if last.is_some_and(|last| last < scope.confirmed) {
                    began_anew.get_or_insert(sink.name());
                }
            }
            if began_anew.is_none() {
                return Ok((scope, sinks, None));
            }
        }
        for sink in &mut sinks {
            for sequence in sink.prepared(&scope.token)? {
                let (commit, digest) = (scope.decided >= sequence, scope.setup);
                let id = BatchId { scope: scope.token.clone(), sequence, digest, fence: setup.hands.fence };
                sink.settle(&id, commit)?;
            }
        }
        changes = forget(setup.ledger)?;
    }
    let scope = Scope::new(setup.new_token.clone(), wanted);
    // What was known goes together with what it was known of.
    setup.ledger.apply(Changes { scope: Some(scope.clone()), durable: true, ..changes })?;
    Ok((scope, sinks, began_anew))
}

/// Returns the changes that remove all pages and deltas.
fn forget(ledger: &dyn Ledger) -> Result<Changes, EngineError> {
    let mut pages = Vec::new();
    for page in ledger.pages() {
        pages.push((page?.0, Vec::new()));
    }
    let merged = ledger.deltas()?;
    Ok(Changes { pages, merged, ..Changes::default() })
}

/// Returns a digest of what decides where records go, and which of them are one.
fn setup_of(records: &Records) -> Digest {
    let Records {
        source: _,
        format: _,
        key,
        version,
        tombstone,
        worker: _,
        workers: _,
        worker_timeout_ms: _,
        batch: _,
        on_change: _,
        retries: _,
        commit: _,
        sinks,
    } = records;
    let worker = records.worker.is_some();
    let external: Vec<_> = sinks.iter().filter(|sink| !sink.place.is_file()).map(without_headers).collect();
    let files = external.len() < sinks.len();
    let parts = (key, version, tombstone, worker, files && worker, external);
    let bytes = postcard::to_stdvec(&parts).expect("writing to memory cannot fail");
    blake3::Hasher::new_derive_key("cairn v1 record-setup").update(&bytes).finalize().into()
}

/// Another token in a header takes the records nowhere else.
fn without_headers(sink: &Sink) -> Sink {
    let mut sink = sink.clone();
    if let SinkPlace::Http { headers, .. } = &mut sink.place {
        headers.clear();
    }
    sink
}

fn code_of(digest: &Digest) -> u64 {
    u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

/// Gives each path a number for good; returns all paths, and the numbers of this run's.
fn name_files(scope: &Scope, setup: &Setup<'_>, asked: &[Asked]) -> (Vec<String>, Numbers) {
    let mut paths = scope.files.clone();
    let mut known: HashMap<String, u32> = paths.iter().cloned().zip(0..).collect();
    let mut number_of = |path: &str| {
        *known.entry(path.to_owned()).or_insert_with(|| {
            paths.push(path.to_owned());
            u32::try_from(paths.len() - 1).expect("fewer than 2³² files")
        })
    };
    let files: Vec<u32> = setup.sources.iter().map(|source| number_of(source.path.as_str())).collect();
    let asked = asked.iter().map(|asked| number_of(&asked.file)).collect();
    let numbers = Numbers { known: files.iter().copied().collect(), files, asked };
    (paths, numbers)
}

#[cfg(test)]
mod tests;
