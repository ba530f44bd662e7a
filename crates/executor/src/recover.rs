//! What a killed run left: processes, working folders, outputs set aside, temporary files beside outputs.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use cairn_content::{FileError, Placer, durable, gc, left};
use cairn_model::{AttemptId, ProjectPath, RunStatus};
use cairn_store::{Attempt, Batch, Durability, Store};

use crate::attempt::HeldAttempt;
use crate::isolation::{Held, Keeper, strays};
use crate::notes::Service;
use crate::project::Project;
use crate::staging::{TOLD, put_back};
use crate::verify::AtWork;

/// What was found and cleared away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Processes that still ran and were ended.
    pub processes: u32,
    /// Attempts that were cut off.
    pub attempts: u32,
    /// Working folders and temporary files removed.
    pub leftovers: u32,
}

/// Why recovery failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] cairn_store::ReadError),
    /// The store cannot be written.
    #[error(transparent)]
    Commit(#[from] cairn_store::CommitError),
    /// Processes of a killed run cannot be ended.
    #[error("{count} processes of a killed run cannot be ended")]
    Strays {
        /// How many are left.
        count: u32,
    },
    /// What is left cannot be removed.
    #[error(transparent)]
    Clear(#[from] FileError),
}

/// Ends and clears away all that an earlier process left; the caller holds the store, so no other cairn runs here, but perhaps
/// one that verifies: what is its is left alone.
///
/// `folders` are those in which outputs are placed.
pub fn recover(
    project: &Project,
    store: &Store,
    folders: &BTreeSet<PathBuf>,
) -> Result<Recovered, RecoverError> {
    clear(project, store, folders, &BTreeSet::new())
}

/// Returns whether something is left that a run could not remove, although it succeeded.
pub fn left_something(state: &Path) -> bool {
    left::any(state)
}

/// Removes what a run could not remove although it succeeded. What still cannot be is warned of, and tried again.
pub fn clear_left(project: &Project) {
    let removed = left::clean(project.state(), project.root());
    if removed > 0 {
        tracing::info!(removed, "removed what an earlier run could not");
    }
}

/// Returns whether something is in `staging/` but notes on what could not be removed.
pub fn is_anything_staged(state: &Path) -> bool {
    let entries = std::fs::read_dir(state.join("staging")).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| !left::is_note(&entry.file_name()))
}

/// What [`take_over`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TakenOver {
    /// What was cleared away.
    pub recovered: Recovered,
    /// The attempts that go on, or ended meanwhile: those of runs that have not ended.
    pub attempts: Vec<HeldAttempt>,
}

/// The same for a process whose [`Keeper`] outlives it and `held` jobs of a process before: those that a run can go on with are
/// left as they are, and all else is ended and cleared away. `folders` are those of all pipelines whose runs may have been
/// cut off ([`Project::output_folders`]).
///
/// It needs no runtime, and looks at files while it is polled.
pub async fn take_over(
    project: &Project,
    store: &Store,
    folders: &BTreeSet<PathBuf>,
    keeper: &Keeper,
    held: Vec<Held>,
) -> Result<TakenOver, RecoverError> {
    let mut open: HashMap<String, (AttemptId, Attempt)> =
        store.attempts_open()?.into_iter().map(|(id, record)| (record.token.clone(), (id, record))).collect();
    let mut attempts = Vec::new();
    for Held { job, .. } in held {
        let known = open.remove(&job.token);
        let known = known.filter(|(id, record)| id.slug() == job.token && record.token == job.token);
        match known {
            Some((id, record)) if goes_on(project, store, &id, &record)? => {
                attempts.push(HeldAttempt { id, record, job });
            }
            // Its result is durable and that was not acknowledged; or nobody can go on with it.
            _ => keeper.discard(&job.token).await,
        }
    }
    let tokens = attempts.iter().map(|attempt| attempt.job.token.clone()).collect();
    let recovered = clear(project, store, folders, &tokens)?;
    Ok(TakenOver { recovered, attempts })
}

/// Returns whether a run can go on with a held attempt.
fn goes_on(
    project: &Project,
    store: &Store,
    id: &AttemptId,
    record: &Attempt,
) -> Result<bool, cairn_store::ReadError> {
    let runs = store.run(id.run)?.is_some_and(|run| run.status == RunStatus::Running);
    let folder = project.state().join(&record.folder);
    // What it told of records was in the memory of the process that ended.
    Ok(runs && folder.is_dir() && !folder.join(TOLD).exists())
}

/// Ends a held attempt that nobody goes on with, and clears away what is left of it. Where `notes` [expected](Service::expect)
/// it, those that wait to call for it are told that it has ended.
pub async fn give_up(
    project: &Project,
    store: &Store,
    keeper: &Keeper,
    notes: Option<&Service>,
    attempt: &HeldAttempt,
) -> Result<(), RecoverError> {
    if let Some(notes) = notes {
        notes.give_up(&attempt.job.token);
    }
    keeper.discard(&attempt.job.token).await;
    let mut recovered = Recovered::default();
    put_back_outputs(project, &attempt.record, &mut recovered)?;
    let mut batch = Batch::new();
    batch.attempt_ended(&attempt.id);
    let _ = store.commit(batch, Durability::Written)?;
    let folder = project.state().join(&attempt.record.folder);
    if folder.is_dir() && !has_files(&folder.join("before")) {
        durable::remove_tree(project.state(), &folder)?;
    }
    Ok(())
}

/// Clears away all but what attempts with these tokens have.
fn clear(
    project: &Project,
    store: &Store,
    folders: &BTreeSet<PathBuf>,
    tokens: &BTreeSet<String>,
) -> Result<Recovered, RecoverError> {
    let mut recovered = Recovered::default();
    // Attempts first start and are then written down: a run that was cut off may have processes that no record names.
    let verifying = AtWork::in_state(project.state());
    let is_stray = |token: &str| !tokens.contains(token) && !verifying.is_theirs(token);
    let ended = strays::end_strays_if(&project.state_id(), &is_stray);
    recovered.processes = ended.ended;
    if ended.left > 0 {
        return Err(RecoverError::Strays { count: ended.left });
    }
    let open = store.attempts_open()?;
    let mut batch = Batch::new();
    for (id, attempt) in open.iter().filter(|(_, attempt)| !tokens.contains(&attempt.token)) {
        put_back_outputs(project, attempt, &mut recovered)?;
        batch.attempt_ended(id);
        recovered.attempts += 1;
    }
    if !batch.is_empty() {
        let _ = store.commit(batch, Durability::Written)?;
    }
    let is_kept = |folder: &OsStr| {
        folder.to_str().is_some_and(|folder| tokens.contains(folder) || verifying.is_theirs(folder))
    };
    keep_unnamed(project, &is_kept)?;
    recovered.leftovers += left::clean(project.state(), project.root());
    recovered.leftovers += gc::clean_staging(project.state(), is_kept)?;
    recovered.leftovers += gc::clean_tmp(project.state())?;
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        recovered.leftovers += Placer::clean_leftovers(folder)?;
    }
    Ok(recovered)
}

/// Puts back the outputs that stood in the project before an attempt that was cut off.
fn put_back_outputs(
    project: &Project,
    attempt: &Attempt,
    recovered: &mut Recovered,
) -> Result<(), FileError> {
    let before = project.state().join(&attempt.folder).join("before");
    let paths: Vec<ProjectPath> =
        attempt.in_project.iter().filter_map(|path| ProjectPath::parse(path).ok()).collect();
    put_back(project, &before, &paths, Some("recovered"))?;
    // Beside what was set aside, only parts of what is whole elsewhere: it was on its way from or to another disk.
    for aside in paths.iter().map(|path| path.below(&before)) {
        let folder = aside.parent().expect("it lies in `before`");
        recovered.leftovers += Placer::clean_leftovers(folder)?;
    }
    Ok(())
}

/// Files that were set aside and that no open attempt names were settled, all but perhaps the last step: none is removed.
fn keep_unnamed(project: &Project, is_kept: &dyn Fn(&OsStr) -> bool) -> Result<(), FileError> {
    let Ok(entries) = std::fs::read_dir(project.state().join("staging")) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| !is_kept(&entry.file_name())) {
        let before = ProjectPath::parse("before").expect("a path");
        if has_files(&entry.path().join("before")) {
            cairn_content::trash::move_to_trash(project.state(), "recovered", &entry.path(), &before)?;
        }
    }
    Ok(())
}

fn has_files(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries
        .flatten()
        .any(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()) || has_files(&entry.path()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use cairn_model::{AttemptId, FixedClock, InputHash, InstanceName, RunId, Timestamp};
    use cairn_store::{Access, Attempt, ProcessId};

    use super::*;
    use crate::isolation::Job;
    use crate::notes::Writer;

    fn attempt(folder: &str) -> (AttemptId, Attempt) {
        let attempt = Attempt {
            input_hash: InputHash::from_digest(cairn_model::Domain::File.digest(b"")),
            epoch: 0,
            started: Timestamp(0),
            process: ProcessId { boot_id: "b".to_owned(), pid: 1, start_ticks: 1 },
            folder: folder.to_owned(),
            token: "token".to_owned(),
            in_project: vec!["data/out".to_owned()],
        };
        let id = AttemptId {
            run: RunId::from_bytes([1; 16]),
            instance: InstanceName::new("s".parse().unwrap(), None),
            number: 1,
        };
        (id, attempt)
    }

    #[test]
    fn what_was_set_aside_is_put_back_and_parts_of_it_fill_no_trash() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        let project = Project::new(top.path().to_owned(), path(".cairn"), top.path().to_owned());
        let store = Store::open(project.state(), Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
        let (id, attempt) = attempt("staging/x");
        let mut batch = Batch::new();
        batch.attempt_started(&id, &attempt);
        let _ = store.commit(batch, Durability::Written).unwrap();
        let part = ".cairn/staging/x/before/data/.cairn-0123456789abcdef.tmp";
        fs::create_dir_all(path(part)).unwrap();
        fs::write(path(part).join("a"), "a part").unwrap();
        fs::write(path(".cairn/staging/x/before/data/out"), "mine").unwrap();

        let recovered = recover(&project, &store, &BTreeSet::new()).unwrap();
        assert_eq!((recovered.attempts, recovered.leftovers), (1, 2));
        assert_eq!(fs::read(path("data/out")).unwrap(), b"mine");
        assert!(!path(".cairn/trash").exists() && !path(".cairn/staging/x").exists());
    }

    #[tokio::test]
    async fn an_attempt_that_is_given_up_is_expected_no_more() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        let project = Project::new(top.path().to_owned(), path(".cairn"), top.path().to_owned());
        let clock = Arc::new(FixedClock::new(Timestamp(0)));
        let store = Store::open(project.state(), Access::Write, &*clock).unwrap();
        let service = Service::new(store.clone(), Writer::Alone, clock);
        // Nothing is started: any program will do.
        let keeper = Keeper::start(Path::new("/bin/true")).unwrap();
        let (id, record) = attempt("staging/y");
        let (token, cwd) = (record.token.clone(), top.path().to_owned());
        let job = Job {
            token: token.clone(),
            argv: vec!["true".to_owned()],
            env: Vec::new(),
            cwd,
            stdin: None,
            stdout: None,
            log: path("log"),
            log_max: 0,
            timeout_ms: None,
            kill_after_ms: 0,
            tied: false,
        };
        service.expect(&token);
        assert!(service.knows(&token));
        let held = HeldAttempt { id, record, job };
        give_up(&project, &store, &keeper, Some(&service), &held).await.unwrap();
        assert!(!service.knows(&token));
    }
}
