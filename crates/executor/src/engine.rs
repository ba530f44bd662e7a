//! The engine of one run: everything an instance needs, from its look-up to its commit.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use cairn_content::{Digests, FileError, ObjectError, Objects, PlaceError, Placer, Standing};
use cairn_dag::{Instance, Pipeline, World};
use cairn_model::{
    AttemptId, Clock, Digest, InputHash, InstanceName, Manifest, Output, Reason, RecordCounts, RunId,
    RunTrace, Timestamp, TraceParent,
};
use cairn_records::engine::Pause;
use cairn_store::{ReadError, Store};

use crate::attempt::{Hands, HeldAttempt};
use crate::committer::{Committer, Parts, shown};
use crate::effects::{Asides, LentSlot, Standing as EffectStanding};
use crate::failures::failures;
use crate::gather::{GatherError, Gathered, Gatherer, Scene};
use crate::index::Collector;
use crate::lookup::{Looked, lookup};
use crate::notes::{Server, Service, Writer};
use crate::ours::{is_ours, known_trees};
use crate::project::Project;
use crate::rows::{StoredObjects, StoredRows, stored_key, to_stored};
use crate::spares::Spares;

mod error;
mod texts;

pub use error::LookUpError;
pub use texts::stored_bytes;

/// Inputs up to this size are kept as texts: scripts and settings, not data.
const SOURCE_BYTES_MAX: u64 = 16 * 1024;

/// What an engine is made of.
pub struct Setup {
    /// The folders.
    pub project: Project,
    /// The pipeline.
    pub pipeline: Arc<Pipeline>,
    /// The disk, relative to the pipeline's folder.
    pub world: Arc<dyn World + Send + Sync>,
    /// The store; `None` where there is none yet and nothing may be written.
    pub store: Option<Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The caller's environment.
    pub caller_env: BTreeMap<String, String>,
    /// The run.
    pub run: RunId,
    /// Its logical time.
    pub logical_time: Timestamp,
    /// Decides which remembered digests are checked.
    pub seed: u64,
    /// Instances that earlier processes of this run executed.
    pub done_before: HashSet<InstanceName>,
    /// Whether what is forced does its effect again as well.
    pub force_effects: bool,
}

/// Everything an instance needs, shared by all of a run.
pub struct Engine {
    pub(crate) project: Project,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) gatherer: Gatherer,
    pub(crate) digests: Arc<Digests>,
    kept: Option<Kept>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) run: RunId,
    pub(crate) logical_time: Timestamp,
    manifests: Vec<OnceLock<Arc<Manifest>>>,
    gathered: Vec<Mutex<Option<Arc<Gathered>>>>,
    /// Instances whose result takes the place of a checkpoint that does not count.
    replacing: Vec<AtomicBool>,
    epoch: u64,
    done_before: HashSet<InstanceName>,
    /// What failed in earlier runs, once that was asked.
    failures: OnceLock<HashMap<InstanceName, String>>,
    /// Small inputs whose texts this run keeps.
    sources: Mutex<HashSet<Digest>>,
    spares: Spares,
    /// Those of all runs, where there are others.
    shared_spares: OnceLock<Arc<Spares>>,
    /// Is told how far the records of an instance are.
    pub(crate) on_records: OnceLock<OnRecords>,
    /// Is told that the records of an instance wait for a sink, and that they do no more.
    pub(crate) on_pause: OnceLock<OnPause>,
    pub(crate) force_effects: bool,
    /// Instances whose effect is to be done again although it is known to have taken place.
    insisted: Vec<AtomicBool>,
    /// The effects that attempts are doing, by key.
    pub(crate) acting: Mutex<HashMap<String, u32>>,
    /// Who runs commands beside attempts.
    pub(crate) lent: LentSlot,
    /// Keys of effects that were open when it was first asked, by their instances.
    pub(crate) open_effects: OnceLock<HashMap<InstanceName, String>>,
    /// Commands that run beside attempts.
    pub(crate) asides: Mutex<Asides>,
    /// How what was found fresh looks on disk.
    pub(crate) collector: Mutex<Collector>,
    /// Where the stages' own commands call, when somebody listens.
    notes: OnceLock<Listening>,
    /// Whether there may be dead letters of this pipeline.
    any_dead: AtomicBool,
    /// How often dead instances were tried again by themselves, as it was when the first one died.
    dead_retries: OnceLock<HashMap<InstanceName, u32>>,
    /// Where the run is in a trace, where it is traced.
    trace: OnceLock<RunTrace>,
    /// The span of who asked for the run.
    caller: OnceLock<TraceParent>,
    /// Attempts that a process before had started and a keeper holds, by their instances.
    pub(crate) held: Mutex<HashMap<u32, HeldAttempt>>,
    /// Failed attempts that a keeper holds until their failures are written down, by their instances.
    pub(crate) unsaid: Mutex<HashMap<u32, crate::attempt::Unsaid>>,
}

/// Who listens to the stages' own commands.
pub(crate) struct Listening {
    pub(crate) service: Arc<Service>,
    pub(crate) socket: PathBuf,
    /// The folder in which they find `cairn`.
    pub(crate) folder: PathBuf,
}

/// Takes how far the records of an instance are.
pub type OnRecords = Box<dyn Fn(&InstanceName, &RecordCounts) + Send + Sync>;

/// Takes what the records of an instance wait for; `None` once they go on.
pub type OnPause = Box<dyn Fn(&InstanceName, Option<&Pause>) + Send + Sync>;

/// What is in the state folder.
pub(crate) struct Kept {
    pub(crate) store: Store,
    pub(crate) objects: Objects,
    pub(crate) placer: Arc<Placer>,
}

/// What a look-up found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A checkpoint holds, and its outputs are in place.
    Hit {
        /// The input-hash.
        input_hash: InputHash,
        /// Outputs that were put back, or would be; then they are not in place yet.
        restored: Vec<String>,
        /// Where files are now that stood in their places and were not cairn's.
        trashed: Vec<String>,
        /// What the execution took that need not be repeated.
        saved_ms: u64,
    },
    /// Its effect took place under its key: it is not executed, though there is no checkpoint under this very input-hash,
    /// or it is forced.
    Stands {
        /// The input-hash.
        input_hash: InputHash,
        /// The effect's key.
        key: String,
        /// Outputs that were put back, or would be.
        restored: Vec<String>,
        /// Where files are now that stood in their places and were not cairn's.
        trashed: Vec<String>,
        /// What the execution took that did it.
        saved_ms: u64,
    },
    /// The instance has to be executed.
    Miss {
        /// The input-hash.
        input_hash: InputHash,
        /// Why.
        reason: Reason,
    },
    /// Nobody can say whether its effect took place.
    InDoubt {
        /// The input-hash.
        input_hash: InputHash,
        /// Why.
        error: String,
        /// What to do.
        help: Option<String>,
    },
}

impl Engine {
    /// Makes the engine of a run.
    pub fn new(setup: Setup) -> Result<Self, FileError> {
        let Setup {
            project,
            pipeline,
            world,
            store,
            clock,
            caller_env,
            run,
            logical_time,
            seed,
            done_before,
            force_effects,
        } = setup;
        let digests = Arc::new(Digests::new(Box::new(StoredRows(store.clone())), seed));
        // Where nothing ran yet a plan leaves nothing behind either.
        let kept = match store.clone() {
            None => None,
            Some(store) => {
                let small = Arc::new(StoredObjects(store.clone()));
                let objects = Objects::open(project.state(), small)?;
                let placer = Placer::new(project.root(), project.state(), objects.clone(), &run.to_string())?;
                Some(Kept { store, objects, placer: Arc::new(placer) })
            }
        };
        let gatherer = Gatherer::new(Scene {
            project: project.clone(),
            pipeline: Arc::clone(&pipeline),
            world,
            digests: Arc::clone(&digests),
            store: store.clone(),
            caller_env,
            run,
            logical_time,
        });
        let manifests = pipeline.instances.iter().map(|_| OnceLock::new()).collect();
        let waiting = pipeline.instances.iter().map(|_| Mutex::new(None)).collect();
        let insisted = pipeline.instances.iter().map(|_| AtomicBool::new(false)).collect();
        let replacing = pipeline.instances.iter().map(|_| AtomicBool::new(false)).collect();
        // Every process that opened the store for writing began with a commit: no two share a head.
        let epoch = store.as_ref().map_or(0, |store| store.head().sequence);
        // What cannot be read now is told by those who need it.
        let any_dead = store.as_ref().is_some_and(|store| store.has_dead(&pipeline.name).unwrap_or(true));
        let any_dead = AtomicBool::new(any_dead);
        let collector = Mutex::new(Collector::new(clock.now()));
        Ok(Self {
            on_records: OnceLock::new(),
            on_pause: OnceLock::new(),
            spares: Spares::new(project.state().to_owned()),
            shared_spares: OnceLock::new(),
            force_effects,
            insisted,
            acting: Mutex::default(),
            lent: Mutex::default(),
            open_effects: OnceLock::new(),
            asides: Mutex::default(),
            project,
            pipeline,
            gatherer,
            digests,
            kept,
            clock,
            run,
            logical_time,
            manifests,
            gathered: waiting,
            replacing,
            epoch,
            done_before,
            failures: OnceLock::new(),
            sources: Mutex::default(),
            collector,
            notes: OnceLock::new(),
            any_dead,
            dead_retries: OnceLock::new(),
            trace: OnceLock::new(),
            caller: OnceLock::new(),
            held: Mutex::default(),
            unsaid: Mutex::default(),
        })
    }

    /// Listens to what the stages' own commands have to say, until the server is dropped; at most once.
    pub fn listen(&self, hands: &Arc<Hands>) -> std::io::Result<Server> {
        let writer = Writer::Run(Arc::downgrade(hands));
        let service = Service::new(self.kept().store.clone(), writer, Arc::clone(&self.clock));
        let mut server = Server::start(self.project.state(), &self.project.state_id(), Arc::new(service))?;
        if hands.keeper.outlives() {
            server.stay();
        }
        self.listen_at(&server);
        Ok(server)
    }

    /// The same by a server that listens for other runs as well.
    pub fn listen_at(&self, server: &Server) {
        let service = Arc::clone(server.service());
        for token in self.held_tokens() {
            service.expect(&token);
        }
        let (socket, folder) = (server.socket(), server.folder().to_owned());
        // A second one would listen for nobody.
        let _ = self.notes.set(Listening { service, socket, folder });
    }

    pub(crate) fn listening(&self) -> Option<&Listening> {
        self.notes.get()
    }

    /// Has the commands be told their spans in a trace. The first one stays.
    pub fn trace_in(&self, trace: RunTrace) {
        let _ = self.trace.set(trace);
    }

    /// Has the commands be told the span of who asked for the run, where they have none of their own. The first one stays.
    pub fn pass_on(&self, caller: TraceParent) {
        let _ = self.caller.set(caller);
    }

    pub(crate) fn span_of(&self, attempt: &AttemptId) -> Option<TraceParent> {
        self.trace.get().map(|trace| trace.told(attempt)).or_else(|| self.caller.get().copied())
    }

    /// Has `batch` say that an instance is dead.
    pub fn bury(
        &self,
        batch: &mut cairn_store::Batch,
        letter: cairn_store::DeadLetter,
    ) -> Result<(), ReadError> {
        let retries = if let Some(retries) = self.dead_retries.get() {
            retries
        } else {
            let known = self.store().filter(|_| self.any_dead.load(Ordering::Relaxed));
            let retries = known.map(|store| store.dead_retries(&self.pipeline.name)).transpose()?;
            self.dead_retries.get_or_init(|| retries.unwrap_or_default())
        };
        let retries = retries.get(&letter.instance).copied().unwrap_or(0);
        self.any_dead.store(true, Ordering::Relaxed);
        batch.put_dead(&cairn_store::DeadLetter { retries, ..letter });
        Ok(())
    }

    /// Has `batch` say that an instance is no longer dead, if it was.
    pub fn revive(&self, batch: &mut cairn_store::Batch, instance: &InstanceName) -> Result<(), ReadError> {
        let (Some(store), pipeline) = (self.store(), &self.pipeline.name) else { return Ok(()) };
        // Nearly always there is none at all, and nothing is to be asked for each instance.
        if self.any_dead.load(Ordering::Relaxed) && store.is_dead(pipeline, instance)? {
            batch.remove_dead_instance(pipeline, instance);
        }
        Ok(())
    }

    /// Has `told` called now and then with how far the records of an instance are. The first one stays.
    pub fn on_records(&self, told: OnRecords) {
        let _ = self.on_records.set(told);
    }

    /// Has `told` called when the records of an instance wait for a sink, and when they go on. The first one stays.
    pub fn on_pause(&self, told: OnPause) {
        let _ = self.on_pause.set(told);
    }

    /// Starts what makes results durable: a thread, or nothing but who hands them over [`here`](Committer::here).
    pub fn committer(&self, here: bool) -> std::io::Result<Committer> {
        for folder in ["staging", "trash"] {
            std::fs::create_dir_all(self.project.state().join(folder))?;
        }
        let Kept { store, objects, placer } = self.kept();
        let parts = Parts {
            store: store.clone(),
            objects: objects.clone(),
            placer: Arc::clone(placer),
            digests: Arc::clone(&self.digests),
            folder: self.project.folder().to_owned(),
            root: self.project.root().to_owned(),
        };
        Ok(if here { Committer::here(parts) } else { Committer::start(parts) })
    }

    /// Returns the pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Returns the folders.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Returns the digests of files.
    pub fn digests(&self) -> &Digests {
        &self.digests
    }

    /// Returns the store.
    pub fn store(&self) -> Option<&Store> {
        self.kept.as_ref().map(|kept| &kept.store)
    }

    /// Only with a store is anything found, executed or placed.
    pub(crate) fn kept(&self) -> &Kept {
        self.kept.as_ref().expect("a run opens its store first")
    }

    /// Returns the id of an attempt of this run.
    pub fn attempt_id(&self, instance: u32, number: u32) -> AttemptId {
        AttemptId { run: self.run, instance: self.instance(instance).name.clone(), number }
    }

    pub(crate) fn instance(&self, instance: u32) -> &Instance {
        &self.pipeline.instances[instance as usize]
    }

    /// Returns what an instance that is done produced.
    pub fn manifest(&self, instance: u32) -> Option<&Arc<Manifest>> {
        self.manifests[instance as usize].get()
    }

    /// Remembers what an instance produced, for those that need it.
    pub(crate) fn set_manifest(&self, instance: u32, manifest: Manifest) {
        // The first stays: an instance ends once, and a plan looks up before a run does.
        let _ = self.manifests[instance as usize].set(Arc::new(manifest));
    }

    /// Tells this process's attempts from those of any other.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn replaces(&self, instance: u32) -> bool {
        self.replacing[instance as usize].load(Ordering::Relaxed)
    }

    /// Has the next attempt do its effect although it is known to have taken place.
    pub(crate) fn insist(&self, instance: u32) {
        self.insisted[instance as usize].store(true, Ordering::Relaxed);
    }

    /// Returns whether that was asked for, once.
    pub(crate) fn is_insisted(&self, instance: u32) -> bool {
        self.insisted[instance as usize].swap(false, Ordering::Relaxed)
    }

    /// Gathers the inputs of an instance all of whose needs are done.
    pub fn gather(&self, instance: u32) -> Result<Arc<Gathered>, GatherError> {
        let made = |index: u32| self.manifests[index as usize].get().cloned();
        let gathered = Arc::new(self.gatherer.gather(self.instance(instance), &made)?);
        *self.gathered[instance as usize].lock().expect("no panic while it is held") =
            Some(Arc::clone(&gathered));
        Ok(gathered)
    }

    /// Returns what the look-up gathered, once.
    pub(crate) fn take_gathered(&self, instance: u32) -> Option<Arc<Gathered>> {
        self.gathered[instance as usize].lock().expect("no panic while it is held").take()
    }

    /// Looks up an instance all of whose needs are done, and puts back outputs that are missing or changed; with `dry`
    /// only says which.
    pub fn look_up(&self, instance: u32, force: bool, dry: bool) -> Result<Verdict, LookUpError> {
        let verdict = self.verdict(instance, force, dry)?;
        if let Verdict::Miss { reason, .. } = &verdict {
            let replaces = !matches!(reason, Reason::First | Reason::Failed(_) | Reason::Changed(_));
            self.replacing[instance as usize].store(replaces, Ordering::Relaxed);
        }
        Ok(verdict)
    }

    /// Notes whether the result of an attempt that goes on takes the place of a checkpoint that does not count.
    pub(crate) fn note_replaced(
        &self,
        instance: u32,
        gathered: &Gathered,
        force: bool,
    ) -> Result<(), LookUpError> {
        let replaces = match self.checkpoint(instance, gathered)? {
            // It stands, and was to be made again.
            Looked::Hit(_) => force || self.instance(instance).effect.is_some(),
            Looked::Miss(reason) => !matches!(reason, Reason::First | Reason::Failed(_) | Reason::Changed(_)),
        };
        self.replacing[instance as usize].store(replaces, Ordering::Relaxed);
        Ok(())
    }

    fn verdict(&self, instance: u32, force: bool, dry: bool) -> Result<Verdict, LookUpError> {
        let gathered = self.gather(instance)?;
        let input_hash = gathered.input_hash;
        let (checkpoint, effect_stands) = match self.effect_standing(instance, &gathered, force, dry)? {
            EffectStanding::Verdict(verdict) => return Ok(verdict),
            EffectStanding::Stands(Some(checkpoint), key) => (checkpoint, Some(key)),
            // It has no outputs: that it took place is all there is to it.
            EffectStanding::Stands(None, key) => {
                self.set_manifest(instance, Manifest { outputs: Vec::new() });
                self.take_gathered(instance);
                let (restored, trashed) = (Vec::new(), Vec::new());
                return Ok(Verdict::Stands { input_hash, key, restored, trashed, saved_ms: 0 });
            }
            EffectStanding::Unknown if force => {
                return Ok(Verdict::Miss { input_hash, reason: Reason::Forced });
            }
            EffectStanding::Unknown => match self.checkpoint(instance, &gathered)? {
                Looked::Miss(reason) => return Ok(Verdict::Miss { input_hash, reason }),
                Looked::Hit(checkpoint) => (checkpoint, None),
            },
        };
        if let Some(reason) = self.records_pending(self.instance(instance), &gathered)? {
            return Ok(Verdict::Miss { input_hash, reason });
        }
        let (mut restored, mut trashed) = (Vec::new(), Vec::new());
        let outputs: Vec<&Output> = checkpoint.manifest.outputs.iter().collect();
        let standings = self.kept().placer.check_all(self.project.folder(), &outputs, &self.digests);
        let mut lost = Vec::new();
        for (output, standing) in outputs.into_iter().zip(standings) {
            // What cannot be read is not the output.
            if matches!(standing, Ok(Standing::InPlace)) {
                continue;
            }
            restored.push(output.path.to_string());
            lost.push(output);
        }
        // `confirm` may make the outputs of an effect that stands.
        let confirms = self.instance(instance).effect.as_ref().is_some_and(|effect| effect.confirm.is_some());
        let effect_keeps = effect_stands.as_ref().filter(|_| !confirms);
        if let Some(reason) = self.content_lost(&lost) {
            if let Some(key) = effect_keeps {
                return Err(effect_lost(key.clone(), &lost));
            }
            return Ok(Verdict::Miss { input_hash, reason });
        }
        if !dry && !lost.is_empty() {
            match self.put_back(&lost) {
                Ok(moved) => trashed = moved,
                Err(LookUpError::Place(PlaceError::Object(
                    error @ (ObjectError::Missing { .. } | ObjectError::Damaged { .. }),
                ))) => {
                    if let Some(key) = effect_keeps {
                        return Err(effect_lost(key.clone(), &lost));
                    }
                    tracing::warn!(%error, "a stored output is lost; its stage runs again");
                    let path = lost.first().map(|output| output.path.to_string()).unwrap_or_default();
                    return Ok(Verdict::Miss { input_hash, reason: Reason::ContentLost(path) });
                }
                Err(error) => return Err(error),
            }
        }
        if restored.is_empty() {
            self.note_fresh(instance, &gathered, &checkpoint);
        }
        // What has no other reason to be passed over than its effect says so.
        let own = !force && checkpoint.preimage == gathered.preimage;
        let saved_ms = checkpoint.took_ms;
        self.set_manifest(instance, checkpoint.manifest);
        self.take_gathered(instance);
        Ok(match effect_stands.filter(|_| !own) {
            Some(key) => Verdict::Stands { input_hash, key, restored, trashed, saved_ms },
            None => Verdict::Hit { input_hash, restored, trashed, saved_ms },
        })
    }

    /// Looks for a checkpoint that holds.
    fn checkpoint(&self, instance: u32, gathered: &Gathered) -> Result<Looked, LookUpError> {
        let declared = self.instance(instance);
        let now = self.clock.now();
        let done_before = self.done_before.contains(&declared.name);
        Ok(match lookup(self.store(), &self.pipeline, declared, gathered, now, done_before)? {
            Looked::Miss(Reason::First) => {
                let failed = self.failed_before(instance)?;
                Looked::Miss(failed.map_or(Reason::First, |error| Reason::Failed(error.to_owned())))
            }
            looked => looked,
        })
    }

    /// Returns how an instance failed in an earlier run, the last time.
    pub fn failed_before(&self, instance: u32) -> Result<Option<&str>, ReadError> {
        let Some(store) = self.store() else { return Ok(None) };
        let failures = if let Some(failures) = self.failures.get() {
            failures
        } else {
            let found = failures(store, &self.pipeline.name)?;
            self.failures.get_or_init(|| found)
        };
        Ok(failures.get(&self.instance(instance).name).map(String::as_str))
    }

    /// Returns whether an instance has a result of before, under whichever input-hash.
    pub fn has_result(&self, instance: u32) -> Result<bool, ReadError> {
        let Some(store) = self.store() else { return Ok(false) };
        Ok(!store.latest(&self.pipeline.name, &self.instance(instance).name)?.is_empty())
    }

    /// Says which output cannot be put back because its bytes are gone from the content store.
    fn content_lost(&self, outputs: &[&Output]) -> Option<Reason> {
        let gone = |output: &&&Output| {
            output.content.files().any(|(_, file)| !self.kept().objects.contains(&file.digest, file.size))
        };
        outputs.iter().find(gone).map(|output| Reason::ContentLost(output.path.to_string()))
    }

    /// Puts outputs back from the content store; returns where files are now that stood there and were not cairn's.
    pub(crate) fn put_back(&self, outputs: &[&Output]) -> Result<Vec<String>, LookUpError> {
        let folder = self.project.folder();
        let mut barrier = cairn_content::durable::Barrier::new();
        let mut placements = Vec::with_capacity(outputs.len());
        for output in outputs {
            placements.push(self.kept().placer.stage(folder, output, &mut barrier)?);
        }
        barrier.sync().map_err(LookUpError::Sync)?;
        let mut barrier = cairn_content::durable::Barrier::new();
        let mut trashed = Vec::new();
        let Kept { store, objects, placer } = self.kept();
        for (placement, output) in placements.into_iter().zip(outputs) {
            let known = known_trees(store, &self.project.store_key(&output.path), placement.destination());
            let ours = |stands: &Path| is_ours(stands, &known, &self.digests, objects);
            let placed = placer.swap(placement, ours, &mut barrier)?;
            for file in &placed.files {
                self.digests.learn(file);
            }
            trashed.extend(placed.trashed.iter().map(|path| shown(path, self.project.root())));
        }
        barrier.sync().map_err(LookUpError::Sync)?;
        Ok(trashed)
    }

    /// Adds what was learnt of files to `batch`, so that later runs need not read them.
    pub fn save_rows(&self, batch: &mut cairn_store::Batch) {
        for (key, row) in self.digests.take_new_rows() {
            batch.file_row(stored_key(key), &to_stored(&row));
        }
    }

    /// Has working folders of ended attempts be kept for all runs that share them, beyond the end of this one. To be called
    /// before any attempt.
    pub fn share_spares(&self, spares: &Arc<Spares>) {
        let _ = self.shared_spares.set(Arc::clone(spares));
    }

    pub(crate) fn spares(&self) -> &Spares {
        self.shared_spares.get().map_or(&self.spares, |shared| shared)
    }

    /// Removes what was kept for further attempts of this run, of which there will be none.
    pub fn clear(&self) {
        self.spares.clear();
        self.give_back();
    }

    /// Returns the folders in which outputs are placed, where a crash may have left temporary files.
    pub fn output_folders(&self) -> BTreeSet<PathBuf> {
        self.project.output_folders(&self.pipeline)
    }
}

/// An effect that took place is not done again only to have its outputs.
fn effect_lost(key: String, lost: &[&Output]) -> LookUpError {
    LookUpError::EffectLost {
        key,
        path: lost.first().map(|output| output.path.to_string()).unwrap_or_default(),
    }
}
