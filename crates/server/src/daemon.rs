//! The daemon: one process that holds the store of a project and runs its pipelines, asked by schedules, sensors, people
//! and programs.
//!
//! Whatever it decides is durable before it is told or acted upon, so that it may be killed at any moment: the next one
//! reads the tickets and goes on with each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use cairn_executor::isolation::Keeper;
use cairn_executor::notes::{Server, Service, Writer};
use cairn_executor::{HeldAttempt, Project, Spares};
use cairn_model::{Clock, Digest, Name, RunId, RunStatus, Timestamp};
use cairn_scheduler::definition::cpus;
use cairn_scheduler::launch::memory_bytes;
use cairn_scheduler::leases::Leases;
use cairn_scheduler::run::Signal;
use cairn_scheduler::spans::Export;
use cairn_store::{Batch, CommitError, Durability, ReadError, Store, TicketStage};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::carry_out::on_own_thread;
use crate::catalog::{Catalog, Located};
use crate::fire::Listed;
use crate::hub::{Change, Hub};
use crate::lineage::Lineage;
use crate::metrics::Metrics;
use crate::notify::Notify;
use crate::pauses::Pauses;
use crate::queue::{Queue, Waiting};
use crate::trouble::Troubles;

/// Lists the pipeline files of the project as they are now, or says why that cannot be done. Those that are given are known as
/// pipelines': they are listed as long as they are there, whatever is in them.
pub type Pipelines = Box<dyn Fn(&BTreeSet<PathBuf>) -> Result<Vec<Located>, String> + Send + Sync>;

/// What a daemon is made of.
pub struct Setup {
    /// The project's folder.
    pub root: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
    /// The store, open for writing.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where pipelines are.
    pub pipelines: Pipelines,
    /// Starts processes, and outlives this one.
    pub keeper: Keeper,
    /// Attempts of a daemon before that go on: this one takes them over.
    pub held: Vec<HeldAttempt>,
    /// Runs that go on at once.
    pub runs_max: usize,
    /// Cpus of all runs together; `None`: those of the machine.
    pub jobs: Option<u32>,
    /// Who outside is told of runs.
    pub telling: Telling,
    /// Takes the spans of runs, where they are traced.
    pub spans: Option<Arc<dyn Export>>,
}

/// Who outside is told of runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Telling {
    /// People, and what reaches them.
    pub notify: Notify,
    /// Who keeps the lineage.
    pub lineage: Option<Lineage>,
}

/// The daemon. All parts share it.
pub struct Daemon {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keeper: Keeper,
    pub(crate) jobs: Option<u32>,
    /// What the commands of all runs share.
    pub(crate) leases: Arc<Leases>,
    pub(crate) started: Timestamp,
    pub(crate) hub: Hub,
    pub(crate) metrics: Metrics,
    pub(crate) notify: Notify,
    pub(crate) lineage: Option<Lineage>,
    pub(crate) spans: Option<Arc<dyn Export>>,
    /// Told when there is something to be told outside: each recipient has somebody who waits for that.
    pub(crate) outbox: tokio::sync::watch::Sender<()>,
    /// Woken when a run may begin.
    pub(crate) work: tokio::sync::Notify,
    /// Woken when schedules changed.
    pub(crate) schedules: tokio::sync::Notify,
    /// What is in the way of sensors.
    pub(crate) troubles: Troubles,
    pipelines: Pipelines,
    /// Why the pipelines could not be listed the last time.
    pub(crate) unlisted: Mutex<Option<String>>,
    catalog: RwLock<Catalog>,
    /// Which text of each file was in force last, as the store has it: by the file's path relative to the project.
    in_force: Mutex<BTreeMap<PathBuf, Digest>>,
    /// One reads the files at a time.
    reloading: Mutex<()>,
    queue: Mutex<Queue>,
    /// Where the runs that go on are sent signals.
    signals: Mutex<HashMap<RunId, UnboundedSender<Signal>>>,
    /// Where the stages' own commands call; `None` where nobody can listen.
    pub(crate) notes: Option<Server>,
    /// Working folders of ended attempts, for those of all runs.
    pub(crate) spares: Arc<Spares>,
    /// Records that wait for a sink.
    pub(crate) pauses: Pauses,
    /// Attempts of a daemon before, until their runs take them over.
    pub(crate) held: Mutex<HashMap<RunId, Vec<HeldAttempt>>>,
    /// Idempotency keys that are being looked at.
    pub(crate) asking: Mutex<HashSet<cairn_model::Digest>>,
    /// What was told of lists of times, by pipeline.
    pub(crate) listed: Mutex<HashMap<Name, Listed>>,
    /// Held by who plans a backfill: each reads much, so it is one at a time.
    pub(crate) planning: Mutex<()>,
    /// Why nothing can be made durable any more.
    failed: Mutex<Option<Failed>>,
    /// Held by all who read how a schedule or a ticket stands and write what follows from that.
    pub(crate) deciding: Mutex<()>,
}

/// The daemon cannot go on: the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl StoreError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Read(error) => error.help(),
            Self::Commit(error) => error.help(),
        }
    }
}

/// Why a daemon ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What is wrong.
    pub error: String,
    /// What to do.
    pub help: String,
}

impl Daemon {
    /// Takes up what an earlier daemon left: its tickets wait again, those that were running first.
    pub fn new(setup: Setup) -> Result<Arc<Self>, StoreError> {
        let Setup { root, state, store, clock, pipelines, keeper, held, runs_max, jobs, telling, spans } =
            setup;
        let spares = Arc::new(Spares::new(state.clone()));
        let tokens: Vec<String> = held.iter().map(|attempt| attempt.job.token.clone()).collect();
        let mut by_run: HashMap<RunId, Vec<HeldAttempt>> = HashMap::new();
        for attempt in held {
            by_run.entry(attempt.id.run).or_default().push(attempt);
        }
        let started = clock.now();
        let in_force = store.in_force()?;
        let notes = listen(&state, &store, &clock, &tokens)
            .inspect_err(|error| tracing::warn!(%error, "cannot listen to what stages have remembered"))
            .ok();
        let daemon = Arc::new(Self {
            root,
            state,
            store,
            clock,
            keeper,
            jobs,
            leases: Leases::new(jobs.unwrap_or_else(cpus), memory_bytes()),
            started,
            hub: Hub::default(),
            metrics: Metrics::default(),
            notify: telling.notify,
            lineage: telling.lineage,
            spans,
            outbox: tokio::sync::watch::Sender::new(()),
            work: tokio::sync::Notify::new(),
            schedules: tokio::sync::Notify::new(),
            troubles: Troubles::default(),
            pipelines,
            unlisted: Mutex::default(),
            catalog: RwLock::default(),
            in_force: Mutex::new(in_force),
            reloading: Mutex::default(),
            planning: Mutex::default(),
            failed: Mutex::default(),
            queue: Mutex::new(Queue::new(runs_max)),
            signals: Mutex::default(),
            notes,
            spares,
            pauses: Pauses::default(),
            held: Mutex::new(by_run),
            asking: Mutex::default(),
            listed: Mutex::default(),
            deciding: Mutex::default(),
        });
        daemon.reload();
        for (run, ticket) in daemon.store.open_tickets()? {
            let ended = daemon.store.run(run)?.filter(|record| record.status != RunStatus::Running);
            if let Some(record) = ended.filter(|_| ticket.stage == TicketStage::Running) {
                // It ended, and its daemon before it could say so.
                daemon.settle(run, &ticket, record.status)?;
                continue;
            }
            // What was begun goes on before anything new begins.
            let priority = if ticket.stage == TicketStage::Running { i64::MAX } else { ticket.priority };
            let not_before = ticket.not_before;
            daemon.queue().push(Waiting { run, pipeline: ticket.pipeline, priority, not_before });
        }
        Ok(daemon)
    }

    /// Returns the project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the pipelines as they are now.
    pub fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub(crate) fn signals(&self) -> MutexGuard<'_, HashMap<RunId, UnboundedSender<Signal>>> {
        lock(&self.signals)
    }

    /// Reads the pipeline files that changed.
    pub fn reload(&self) {
        // Files are read and checked while all others go on with the catalog of before.
        let _reloading = lock(&self.reloading);
        let before = self.catalog().clone();
        let mut known: BTreeSet<PathBuf> = before.entries().map(|entry| entry.located.file.clone()).collect();
        known.extend(lock(&self.in_force).keys().map(|file| self.root.join(file)));
        let located = match (self.pipelines)(&known) {
            Ok(located) => {
                *lock(&self.unlisted) = None;
                located
            }
            Err(why) => {
                tracing::warn!(%why, "the pipelines cannot be listed; those of before stay");
                *lock(&self.unlisted) = Some(why);
                return;
            }
        };
        let mut catalog = before.clone();
        let mut changed = catalog.reload(&located, self.clock.now());
        changed.extend(self.fall_back(&mut catalog));
        catalog.tell_news(&before);
        if let Err(error) = self.remember_in_force(&catalog, &located) {
            tracing::warn!(%error, "which text of a file is in force cannot be written down; it is tried again");
        }
        *self.catalog.write().unwrap_or_else(PoisonError::into_inner) = catalog;
        if !changed.is_empty() {
            tracing::info!(pipelines = ?changed.iter().map(Name::as_str).collect::<Vec<_>>(), "read anew");
            self.hub.tell(Change::Pipelines);
            self.schedules.notify_one();
        }
    }

    /// Has files with errors fall back on the texts that a daemon before had in force.
    fn fall_back(&self, catalog: &mut Catalog) -> BTreeSet<Name> {
        let files: Vec<PathBuf> = catalog.broken().map(|broken| broken.located.file.clone()).collect();
        let mut changed = BTreeSet::new();
        for file in files {
            let digest = lock(&self.in_force).get(self.relative(&file)).copied();
            match digest.map(|digest| self.store.definition(&digest)).transpose() {
                Ok(text) => {
                    let text = text.flatten();
                    changed.extend(
                        text.into_iter().flat_map(|text| catalog.fall_back(&file, text, self.clock.now())),
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, file = %file.display(), "the text that was in force cannot be read");
                }
            }
        }
        changed
    }

    /// Writes down which texts are in force now, where that changed.
    fn remember_in_force(&self, catalog: &Catalog, located: &[Located]) -> Result<(), StoreError> {
        let mut in_force = lock(&self.in_force);
        let mut batch = Batch::new();
        let mut now = BTreeMap::new();
        for entry in catalog.entries() {
            let file = self.relative(&entry.located.file).to_owned();
            if in_force.get(&file) != Some(&entry.digest) {
                batch.put_in_force(&file, &entry.text);
            }
            now.insert(file, entry.digest);
        }
        let there: BTreeSet<&Path> = located.iter().map(|located| self.relative(&located.file)).collect();
        for (file, digest) in in_force.iter() {
            if now.contains_key(file) {
                continue;
            }
            if there.contains(file.as_path()) {
                // It has errors, and so has the text of before by now.
                now.insert(file.clone(), *digest);
            } else {
                batch.remove_in_force(file);
            }
        }
        if !batch.is_empty() {
            self.commit(batch)?;
            *in_force = now;
        }
        Ok(())
    }

    /// Returns a file's path relative to the project, where it is in it.
    fn relative<'f>(&self, file: &'f Path) -> &'f Path {
        file.strip_prefix(&self.root).unwrap_or(file)
    }

    /// Ends the daemon: nothing can be made durable any more, and the next one goes on with what there is.
    pub(crate) fn fail(&self, error: &str) {
        if !self.may_begin() {
            return;
        }
        tracing::error!(%error, "the store cannot be used: the daemon ends");
        let help = "what runs goes on; start the daemon again once the store can be written".to_owned();
        lock(&self.failed).get_or_insert_with(|| Failed { error: error.to_owned(), help });
        self.work.notify_one();
    }

    /// Returns whether anything may be begun: not once the state folder at its path is another than the one that is held, or
    /// none. What is begun then could be begun by another daemon too, and could not be committed: this one ends.
    pub(crate) fn may_begin(&self) -> bool {
        let Err(error) = self.store.in_place() else { return self.failed().is_none() };
        let mut failed = lock(&self.failed);
        if failed.is_none() {
            tracing::error!(%error, "the daemon ends, and begins nothing more; what runs is left as it is");
            let help = "start the daemon again, with the folder put back if what it knows is to count; commands that still \
                        run belong to the folder that was there"
                .to_owned();
            *failed = Some(Failed { error: error.to_string(), help });
            self.work.notify_one();
        }
        false
    }

    /// Returns whether the state folder is still the one that is held: what is in the folder at its path is otherwise not this
    /// daemon's to remove.
    pub fn is_in_place(&self) -> bool {
        self.store.in_place().is_ok()
    }

    /// Returns why nothing can be made durable any more, where that is so.
    pub fn failed(&self) -> Option<Failed> {
        lock(&self.failed).clone()
    }

    /// Reads the pipeline files that changed, and `file` whether or not it looks as if it did.
    pub(crate) fn read_again(&self, file: &Path) {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner).forget(file);
        self.reload();
    }

    /// Makes a batch durable.
    pub(crate) fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let _ = self.store.commit(batch, Durability::Synced)?;
        Ok(())
    }

    /// Writes a batch, so that it survives the end of this process. Returns its number, for
    /// [`Store::sync`](cairn_store::Store::sync).
    pub(crate) fn write(&self, batch: Batch) -> Result<u64, StoreError> {
        Ok(self.store.commit(batch, Durability::Written)?.sequence)
    }

    /// Begins runs as they get their turn, until `stopping`; then returns once no run goes on, and no effect is being
    /// undone. Runs that still go on after `within` are left to the next daemon, with what runs of them.
    pub async fn serve(self: &Arc<Self>, mut stopping: tokio::sync::watch::Receiver<bool>, within: Duration) {
        let mut runs = tokio::task::JoinSet::new();
        loop {
            let now = self.clock.now();
            while !*stopping.borrow() && self.queue().is_due(now) && self.may_begin() {
                let Some((run, signals)) = self.begin_next(now) else { break };
                let daemon = Arc::clone(self);
                runs.spawn(on_own_thread(move || daemon.carry_out(run, signals)));
            }
            let until = self.queue().next_time(now);
            let pause = until.map_or(LOOK, |time| Duration::from_millis(time.millis_since(now)).min(LOOK));
            tokio::select! {
                () = self.work.notified() => {}
                () = tokio::time::sleep(pause) => {}
                Some(ended) = runs.join_next(), if !runs.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a run was given up");
                    }
                }
                _ = stopping.changed() => {}
            }
            if *stopping.borrow() || !self.may_begin() {
                break;
            }
        }
        if self.failed().is_some() {
            return;
        }
        let all = async {
            while runs.join_next().await.is_some() {}
            while self.queue().occupied().next().is_some() {
                self.work.notified().await;
            }
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::info!("runs go on without this daemon; the next one takes them over");
            for pipeline in self.queue().occupied() {
                tracing::warn!(%pipeline, "an undo ends with this daemon: its effect is in doubt");
            }
            // A run that leaves drops what its command takes, and the command goes on.
            self.leases.close();
            self.signal_all(Signal::Leave);
            while runs.join_next().await.is_some() {}
        }
        self.spares.clear();
    }

    /// Chooses the run that begins now. From the moment that it no longer waits it can be sent signals.
    fn begin_next(&self, now: Timestamp) -> Option<(RunId, UnboundedReceiver<Signal>)> {
        let mut queue = self.queue();
        let run = queue.begin_next(now)?;
        let (sender, signals) = unbounded_channel();
        self.signals().insert(run, sender);
        Some((run, signals))
    }

    /// Asks all runs that go on to end.
    pub fn interrupt_all(&self) {
        self.signal_all(Signal::Interrupt);
    }

    fn signal_all(&self, signal: Signal) {
        for sender in self.signals().values() {
            // One that is over needs none.
            let _ = sender.send(signal);
        }
    }
}

/// Listens to the stages' own commands of all runs. It stays where it is when the daemon ends: they call the next one.
/// Attempts with these tokens may call before they are taken over: they wait until then.
fn listen(state: &Path, store: &Store, clock: &Arc<dyn Clock>, tokens: &[String]) -> std::io::Result<Server> {
    let service = Arc::new(Service::new(store.clone(), Writer::Alone, Arc::clone(clock)));
    for token in tokens {
        service.expect(token);
    }
    let state_id = Project::new(state.to_owned(), state.to_owned(), state.to_owned()).state_id();
    let mut server = Server::start(state, &state_id, service)?;
    server.stay();
    Ok(server)
}

/// The wall clock may be set, and a timer of the system follows it: how often times are compared with it anew.
const LOOK: Duration = Duration::from_secs(1);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
