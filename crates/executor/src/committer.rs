//! The committer: the one way by which every result of a run becomes durable, on a thread of its own.
//!
//! It takes all that is pending, a group, and gives each step of the group one barrier (DESIGN: P3 to P6):
//!
//! 1. the bytes of all outputs are made durable where they were written; those of small ones go into the batch of 3,
//! 2. they are renamed into the content store, and copies are made beside their destinations; both become durable,
//! 3. one batch with every checkpoint of the group is committed, synced: the commit,
//! 4. the copies are renamed into place.
//!
//! A crash before 3 leaves no trace but files to be cleared away; one after it leaves a checkpoint whose outputs the next
//! run puts in place. The barrier that makes the renames of step 4 durable is shared with the next group, and
//! [`Committer::flush`] waits for the last.
//!
//! A run that hardly ever has two things to commit has no such thread: who hands one over [commits it](Committer::here).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cairn_content::durable::Barrier;
use cairn_content::{Digests, FileError, ObjectError, Objects, PlaceError, Placement, Placer, SMALL_MAX};
use cairn_model::{Digest, FileContent, Output};
use cairn_store::{Batch, Durability, Store};
use tokio::sync::oneshot;

use crate::ours::{is_ours, known_trees};

mod error;
mod here;

pub use error::PublishError;
use here::Here;

/// How long after a synced commit the next one waits for more to share it: syncs hold up the files that commands write.
/// Nothing waits when all that goes on is to be committed.
const PAUSE: Duration = Duration::from_millis(10);

/// How long what nobody waits for may wait for more to be written with it: less than who follows a run leaves it to be found.
const GATHER: Duration = Duration::from_millis(5);

/// Messages taken into one group at most: it bounds the memory of a group and how long its first waits for its last.
const GROUP_MAX: usize = 256;

/// A finished attempt's results, to be published.
pub struct Publication {
    /// What goes into the store with them: the checkpoint, the attempt's end, events.
    pub batch: Batch,
    /// The outputs, each with where its bytes lie now.
    pub outputs: Vec<(Output, PathBuf)>,
    /// Whether they stand in the project already (`sandbox = "off"`), so that the content store gets a copy.
    pub in_place: bool,
}

type Reply<T> = oneshot::Sender<Result<T, PublishError>>;

enum Message {
    Publish(Box<Publication>, Reply<Vec<String>>),
    Write(Batch),
    Written(Batch, Reply<()>),
    Flush(Batch, Durability, Reply<()>),
    Note(Batch, Reply<()>),
    /// The group is not to wait for more.
    Hurry,
}

/// A handle to the committer; dropping it waits until all that was handed over is done.
pub struct Committer {
    place: Place,
}

/// Where it is committed.
enum Place {
    Thread(Thread),
    Here(Box<Mutex<Here>>),
}

/// The committer's thread.
struct Thread {
    sender: Option<Sender<Message>>,
    /// Is closed at the worker's end.
    ended: Mutex<Receiver<()>>,
    /// Whether no group is to wait for more.
    hurry: Arc<AtomicBool>,
}

/// What the committer works with.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The content store.
    pub objects: Objects,
    /// Puts outputs in place.
    pub placer: Arc<Placer>,
    /// Learns what was placed.
    pub digests: Arc<Digests>,
    /// The pipeline's folder.
    pub folder: PathBuf,
    /// The project's folder; paths in the trash are told relative to it.
    pub root: PathBuf,
}

impl Committer {
    /// Starts on one of the runtime's threads that may wait for the disk, which a run after this one is given again.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn start(parts: Parts) -> Self {
        let (sender, receiver) = channel();
        let hurry = Arc::new(AtomicBool::new(true));
        let (worker, is_hurried) = (Worker::new(parts), Arc::clone(&hurry));
        let (end, ended) = channel();
        tokio::task::spawn_blocking(move || {
            let _end: Sender<()> = end;
            worker.run(&receiver, &is_hurried);
        });
        Self { place: Place::Thread(Thread { sender: Some(sender), ended: Mutex::new(ended), hurry }) }
    }

    /// Commits on the threads of those who hand something over, while they wait: all its calls block. What nobody waits for is
    /// written with what is waited for next, or by [`Self::write_out`]. [`Self::note`] is not for the thread that drives the run.
    #[must_use]
    pub fn here(parts: Parts) -> Self {
        Self { place: Place::Here(Box::new(Mutex::new(Here::new(Worker::new(parts))))) }
    }

    /// Says whether nothing but commits is under way, so that to wait for more to commit with them is to lose time.
    pub fn set_hurry(&self, hurry: bool) {
        let Place::Thread(thread) = &self.place else { return };
        if thread.hurry.swap(hurry, Ordering::Relaxed) != hurry && hurry {
            self.send(Message::Hurry);
        }
    }

    fn send(&self, message: Message) {
        match &self.place {
            Place::Thread(thread) => {
                let sender = thread.sender.as_ref().expect("there until it is dropped");
                // The thread ends only after the sender: a send can fail only while it panics, and then replies tell.
                let _ = sender.send(message);
            }
            Place::Here(here) => here.lock().expect("a commit that panics ends the run").take(message),
        }
    }

    /// Writes what nobody waits for, after all else on this thread had its turn: what is waited for meanwhile is written in one
    /// batch with it. A thread of its own does so by itself.
    pub async fn write_out(&self) {
        let Place::Here(here) = &self.place else { return };
        let here = || here.lock().expect("a commit that panics ends the run");
        if here().holds_back() {
            tokio::task::yield_now().await;
            here().write_out();
        }
    }

    /// Writes `batch` in its turn, without waiting and without a sync: a later commit or flush makes it durable.
    pub fn write(&self, batch: Batch) {
        self.send(Message::Write(batch));
    }

    /// Publishes results; returns the paths in the trash of files that stood in their places and were not cairn's.
    pub async fn publish(&self, publication: Publication) -> Result<Vec<String>, PublishError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Publish(Box::new(publication), reply));
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Writes `batch` and makes it durable, without waiting for outputs to be in their places. It blocks: it is for threads
    /// of their own.
    pub fn note(&self, batch: Batch) -> Result<(), PublishError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Note(batch, reply));
        answer.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Writes `batch` so that it survives the end of this process; a later commit or flush makes it durable.
    pub async fn written(&self, batch: Batch) -> Result<(), PublishError> {
        self.write_and_tell(batch).await
    }

    /// The same, in its turn among what is handed over after this call, whenever it is waited for.
    pub fn write_and_tell(
        &self,
        batch: Batch,
    ) -> impl Future<Output = Result<(), PublishError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Written(batch, reply));
        async { answer.await.unwrap_or_else(|_| Err(gone())) }
    }

    /// Writes `batch` and makes it, and all before it, durable.
    pub async fn flush(&self, batch: Batch) -> Result<(), PublishError> {
        self.finish(batch, Durability::Synced).await
    }

    /// Writes `batch`, and returns when all outputs before it are in their places for good; whether the batch is durable by then
    /// is up to `durability`.
    pub async fn finish(&self, batch: Batch, durability: Durability) -> Result<(), PublishError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Flush(batch, durability, reply));
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> PublishError {
    PublishError::Fatal { text: "the committer thread ended before its time".to_owned(), help: None }
}

impl Drop for Committer {
    fn drop(&mut self) {
        match &mut self.place {
            Place::Thread(thread) => {
                drop(thread.sender.take());
                let ended = thread.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
                let _ = ended.recv();
            }
            Place::Here(here) => {
                // After a panic it is not known how far it came.
                if let Ok(here) = here.get_mut() {
                    here.write_out();
                }
            }
        }
    }
}

struct Worker {
    parts: Parts,
    /// Folders whose latest renames are not durable yet.
    unsynced: Barrier,
    /// When the last synced commit was done.
    synced: Option<Instant>,
    /// Why nothing more can be made durable.
    broken: Option<PublishError>,
}

/// What those wait for who have nothing published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Nothing,
    /// That the batch is durable.
    Batch,
    /// That outputs are in their places for good.
    Places,
    /// Both.
    All,
}

/// A publication on its way through a group.
struct Pending {
    outputs: Vec<(Output, PathBuf)>,
    in_place: bool,
    batch: Batch,
    /// Durable files that are to be objects.
    ready: Vec<(PathBuf, FileContent)>,
    /// Each with the trees that may go when they stand in its place.
    placements: Vec<(Placement, Vec<Digest>)>,
    reply: Reply<Vec<String>>,
}

impl Worker {
    fn new(parts: Parts) -> Self {
        Self { parts, unsynced: Barrier::new(), synced: None, broken: None }
    }

    fn run(mut self, receiver: &Receiver<Message>, hurry: &AtomicBool) {
        while let Ok(first) = receiver.recv() {
            let began = Instant::now();
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = receiver.recv_timeout(self.pause(&group, began, hurry))
            {
                group.push(next);
            }
            self.commit(group);
        }
    }

    /// Returns how long to wait for another message.
    fn pause(&self, group: &[Message], began: Instant, hurry: &AtomicBool) -> Duration {
        if group.iter().all(|message| matches!(message, Message::Write(_))) {
            return GATHER.saturating_sub(began.elapsed());
        }
        let is_waited_for = hurry.load(Ordering::Relaxed)
            || matches!(group.last(), Some(Message::Written(..) | Message::Flush(..) | Message::Note(..)));
        let since = self.synced.map_or(PAUSE, |synced| synced.elapsed());
        if is_waited_for { Duration::ZERO } else { PAUSE.saturating_sub(since) }
    }

    fn commit(&mut self, group: Vec<Message>) {
        if let Some(error) = self.broken.clone() {
            return refuse(group, &error);
        }
        let mut batch = Batch::new();
        let mut pending = Vec::new();
        let mut flushes = Vec::new();
        let mut notes = Vec::new();
        let mut durable = false;
        let mut written = Vec::new();
        for message in group {
            match message {
                Message::Hurry => {}
                Message::Write(write) => batch.append(write),
                Message::Written(write, reply) => {
                    batch.append(write);
                    written.push(reply);
                }
                Message::Flush(write, durability, reply) => {
                    batch.append(write);
                    durable |= durability == Durability::Synced;
                    flushes.push(reply);
                }
                Message::Note(write, reply) => {
                    batch.append(write);
                    durable = true;
                    notes.push(reply);
                }
                Message::Publish(publication, reply) => {
                    let Publication { batch, outputs, in_place } = *publication;
                    let (ready, placements) = (Vec::new(), Vec::new());
                    pending.push(Pending { outputs, in_place, batch, ready, placements, reply });
                }
            }
        }
        if batch.is_empty() && pending.is_empty() && flushes.is_empty() && notes.is_empty() {
            return;
        }
        let wanted = match (flushes.is_empty(), durable) {
            (false, true) => Wanted::All,
            (false, false) => Wanted::Places,
            (true, true) => Wanted::Batch,
            (true, false) => Wanted::Nothing,
        };
        match self.make_durable(&mut batch, pending, wanted) {
            Ok(published) => {
                for reply in written.into_iter().chain(notes) {
                    let _ = reply.send(Ok(()));
                }
                for pending in published {
                    self.put_in_place(pending);
                }
                // Success is told only when the renames of step 4 are durable too.
                let synced = if flushes.is_empty() {
                    Ok(())
                } else {
                    std::mem::replace(&mut self.unsynced, Barrier::new())
                        .sync()
                        .map_err(|error| sync_error(&error))
                };
                for reply in flushes {
                    let _ = reply.send(synced.clone());
                }
            }
            Err(error) => {
                tracing::error!(%error, "nothing more is made durable");
                for reply in flushes.into_iter().chain(notes).chain(written) {
                    let _ = reply.send(Err(error.clone()));
                }
                self.broken = Some(error);
            }
        }
    }

    /// Steps 1 to 3. Returns what was committed; what failed alone was told so.
    fn make_durable(
        &mut self,
        batch: &mut Batch,
        pending: Vec<Pending>,
        wanted: Wanted,
    ) -> Result<Vec<Pending>, PublishError> {
        let mut bytes = std::mem::replace(&mut self.unsynced, Barrier::new());
        let pending = each(pending, &mut bytes, |pending, bytes| self.prepare(pending, bytes));
        if !pending.is_empty() || matches!(wanted, Wanted::Places | Wanted::All) {
            if let Err(error) = bytes.sync() {
                return Err(fail_all(pending, &sync_error(&error)));
            }
        } else {
            self.unsynced = bytes;
        }
        let mut names = Barrier::new();
        let mut pending = each(pending, &mut names, |pending, names| self.enter(pending, names));
        if let Err(error) = names.sync() {
            return Err(fail_all(pending, &sync_error(&error)));
        }
        // A batch may build on one that was written in this very group: an attempt's start, its end.
        if !pending.is_empty() && !batch.is_empty() {
            let written = self.parts.store.commit(std::mem::take(batch), Durability::Written);
            if let Err(error) = written {
                return Err(fail_all(pending, &PublishError::fatal(&error, error.help())));
            }
        }
        for pending in &mut pending {
            batch.append(std::mem::take(&mut pending.batch));
        }
        let durability = match wanted {
            Wanted::Nothing | Wanted::Places if pending.is_empty() => Durability::Written,
            Wanted::Nothing | Wanted::Places | Wanted::Batch | Wanted::All => Durability::Synced,
        };
        let committed = self.parts.store.commit(std::mem::take(batch), durability);
        self.parts.objects.forget_taken();
        if durability == Durability::Synced {
            self.synced = Some(Instant::now());
        }
        match committed {
            Ok(committed) => {
                for input_hash in committed.disputed {
                    tracing::warn!(%input_hash, "a second execution made other bytes: the stage is not deterministic");
                }
                Ok(pending)
            }
            Err(error) => Err(fail_all(pending, &PublishError::fatal(&error, error.help()))),
        }
    }

    /// Step 1 for one publication.
    fn prepare(&self, pending: &mut Pending, bytes: &mut Barrier) -> Result<(), PublishError> {
        let objects = &self.parts.objects;
        for (output, staged) in &pending.outputs {
            let failed = |error: ObjectError| PublishError::output(output, "keep", &error, error.help());
            for (below, file) in output.content.files() {
                let mut path = inside(staged, below);
                if file.size <= SMALL_MAX {
                    if objects.small(&file.digest).is_none() {
                        let bytes = objects.take_in(&path, file).map_err(failed)?;
                        pending.batch.put_object(file.digest, &bytes);
                    }
                    continue;
                }
                if !pending.in_place {
                    // A process that was killed here had moved it there already.
                    if objects.contains(&file.digest, file.size) && path.symlink_metadata().is_err() {
                        continue;
                    }
                    objects.prepare(&path, file, bytes).map_err(failed)?;
                } else if objects.contains(&file.digest, file.size) {
                    continue;
                } else {
                    path = objects.copy_in(&path, file, bytes).map_err(failed)?;
                }
                pending.ready.push((path, *file));
            }
        }
        Ok(())
    }

    /// Step 2 for one publication.
    fn enter(&self, pending: &mut Pending, names: &mut Barrier) -> Result<(), PublishError> {
        let Parts { store, objects, placer, folder, root, .. } = &self.parts;
        let adopt = |path: &Path, file: &FileContent, names: &mut Barrier| {
            objects.adopt(path, &file.digest, names).map_err(|cause| PublishError::Output {
                text: format!("cannot enter `{}` in the content store: {cause}", path.display()),
                help: None,
            })
        };
        for (path, file) in &pending.ready {
            if !objects.contains(&file.digest, file.size) {
                adopt(path, file, names)?;
            } else if pending.in_place {
                // A copy that another of the group made as well.
                let _ = std::fs::remove_file(path);
            }
        }
        if pending.in_place {
            return Ok(());
        }
        for (output, _) in &pending.outputs {
            let failed =
                |error: PlaceError| PublishError::output(output, "put in place", &error, error.help());
            let mut staged = Barrier::new();
            let placement = match placer.stage(folder, output, &mut staged) {
                Err(PlaceError::Object(
                    ObjectError::Damaged { digest, .. } | ObjectError::Missing { digest },
                )) => {
                    // An object of an earlier run had rotted; the attempt's own bytes take its place.
                    for (path, file) in pending.ready.iter().filter(|(_, file)| file.digest == digest) {
                        adopt(path, file, names)?;
                    }
                    staged.forget_files();
                    placer.stage(folder, output, &mut staged).map_err(failed)?
                }
                other => other.map_err(failed)?,
            };
            names.append(staged);
            // Asked before the commit, which writes down the new tree.
            let key = shown(&output.path.below(folder), root);
            let known = known_trees(store, &key, placement.destination());
            pending.placements.push((placement, known));
        }
        Ok(())
    }

    /// Step 4 for one publication, and the answer.
    fn put_in_place(&mut self, pending: Pending) {
        let mut trashed = Vec::new();
        let Pending { placements, reply, .. } = pending;
        for (placement, known) in placements {
            let Parts { digests, objects, placer, .. } = &self.parts;
            let ours = |stands: &Path| is_ours(stands, &known, digests, objects);
            let swapped = placer.swap(placement, ours, &mut self.unsynced);
            match swapped {
                Ok(moved) => {
                    trashed.extend(moved.trashed.iter().map(|path| shown(path, &self.parts.root)));
                    for file in &moved.files {
                        digests.learn(file);
                    }
                }
                Err(error) => {
                    let text = format!("its result is committed, but not in its place: {error}");
                    let _ = reply.send(Err(PublishError::NotPlaced { text, help: error.help() }));
                    return;
                }
            }
        }
        let _ = reply.send(Ok(trashed));
    }
}

/// Returns a file of an output: the output itself, or one below its folder.
fn inside(staged: &Path, below: &[u8]) -> PathBuf {
    let below: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(below);
    if below.is_empty() { staged.to_owned() } else { staged.join(below) }
}

pub(crate) fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

fn sync_error(error: &FileError) -> PublishError {
    let text = format!("the disk refused to make results durable: {error}");
    PublishError::Fatal {
        text,
        help: Some("see the system's log for errors of the disk, then run again".to_owned()),
    }
}

/// Does `step` for each, and enters in `barrier` what it entered; one that fails is told so and left out.
fn each(
    pending: Vec<Pending>,
    barrier: &mut Barrier,
    mut step: impl FnMut(&mut Pending, &mut Barrier) -> Result<(), PublishError>,
) -> Vec<Pending> {
    let mut kept = Vec::with_capacity(pending.len());
    for mut pending in pending {
        let mut own = Barrier::new();
        match step(&mut pending, &mut own) {
            Ok(()) => kept.push(pending),
            Err(error) => {
                drop(pending.placements);
                // Objects stay that others may refer to, so their names count; its files go away and would fail the sync.
                own.forget_files();
                let _ = pending.reply.send(Err(error));
            }
        }
        barrier.append(own);
    }
    kept
}

/// Answers all that wait for an answer.
fn refuse(group: Vec<Message>, error: &PublishError) {
    for message in group {
        match message {
            Message::Publish(_, reply) => drop(reply.send(Err(error.clone()))),
            Message::Written(_, reply) | Message::Flush(_, _, reply) | Message::Note(_, reply) => {
                drop(reply.send(Err(error.clone())));
            }
            Message::Write(_) | Message::Hurry => {}
        }
    }
}

fn fail_all(pending: Vec<Pending>, error: &PublishError) -> PublishError {
    for pending in pending {
        let _ = pending.reply.send(Err(error.clone()));
    }
    error.clone()
}
