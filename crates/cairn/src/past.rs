//! Runs of the past: the store opened for reading.

use cairn_model::{InstanceName, Outcome, RunId, RunStatus, State, SystemClock};
use cairn_store::{Access, FindRunError, OpenError, ReadError, RunRecord, Store};
use std::path::{Path, PathBuf};

use crate::execute::{asked_words, interval_of};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::json;
use crate::project::Project;
use crate::terminal::{text, time};
use crate::work::Definition;
use cairn_scheduler::history::{History, InstanceHistory};

/// The word that stands for the newest run.
pub(crate) const LATEST: &str = "latest";

/// How a run stands whose process is gone and that did not end.
const CUT_OFF: &str = "cut off";
/// Digits of a shown id that name a run at least, as of a commit's: fewer are a slip of the finger.
const SHOWN_MIN: usize = 4;

/// A project's store, read as it stands at this moment.
#[derive(Debug)]
pub(crate) struct Past {
    /// The store.
    pub(crate) store: Store,
    /// Its state folder.
    pub(crate) state: PathBuf,
}

/// A run of the past.
#[derive(Debug)]
pub(crate) struct PastRun {
    /// Its id.
    pub(crate) id: RunId,
    /// Its head.
    pub(crate) record: RunRecord,
    /// What happened in it.
    pub(crate) history: History,
}

impl Past {
    /// Opens the project's store, `None` where nothing ran yet.
    pub(crate) fn open(project: &Project) -> Result<Option<Self>, Failure> {
        Self::open_state(&project.state()?)
    }

    /// Opens the store in a state folder, `None` where there is none.
    pub(crate) fn open_state(state: &Path) -> Result<Option<Self>, Failure> {
        match Store::open(state, Access::Read, &SystemClock) {
            Ok(store) => Ok(Some(Self { store, state: state.to_owned() })),
            Err(OpenError::Absent { .. }) => Ok(None),
            Err(error) => Err(Failure::of(ExitStatus::Store, &error).maybe_help(error.help())),
        }
    }

    /// Opens the project's store and fails where nothing ran yet.
    pub(crate) fn require(project: &Project) -> Result<Self, Failure> {
        Self::open(project)?.ok_or_else(|| nothing_ran(project))
    }

    /// Opens the store again, to see what was committed since.
    pub(crate) fn again(&self) -> Result<Self, Failure> {
        Self::open_state(&self.state)?.ok_or_else(|| {
            Failure::new(ExitStatus::Store, format!("the store in `{}` is gone", self.state.display()))
        })
    }

    /// Finds a run by the beginning or the end of its id, or the newest by `latest`.
    pub(crate) fn find(&self, text: &str) -> Result<RunId, Failure> {
        if text == LATEST {
            let newest = self.store.runs(1).map_err(damaged)?.into_iter().next();
            return newest
                .map(|(id, _)| id)
                .ok_or_else(|| Failure::wrong("there is no run yet").help("`cairn run` makes the first"));
        }
        self.look_for(text).map_err(|error| {
            let status =
                if matches!(error, FindRunError::Read(_)) { ExitStatus::Store } else { ExitStatus::Wrong };
            let help = error.help().or_else(|| Some("`cairn runs` lists them".to_owned()));
            Failure::of(status, &error).maybe_help(help)
        })
    }

    /// Returns whether a text names a run.
    pub(crate) fn is_run(&self, text: &str) -> bool {
        text == LATEST || !matches!(self.look_for(text), Err(FindRunError::Unknown { .. }))
    }

    /// Looks for a run by the beginning or the end of its id, or by the beginning of what is shown of it: those are the
    /// digits that people have before them.
    fn look_for(&self, text: &str) -> Result<RunId, FindRunError> {
        let unknown = match self.store.find_run(text) {
            Err(unknown @ FindRunError::Unknown { .. }) => unknown,
            found => return found,
        };
        if text.len() < SHOWN_MIN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown);
        }
        let runs = self.store.runs(usize::MAX)?;
        let wanted = text.to_ascii_lowercase();
        let candidates: Vec<RunId> =
            runs.iter().map(|(id, _)| *id).filter(|id| id.short().starts_with(&wanted)).collect();
        match candidates.as_slice() {
            [] => Err(unknown),
            [only] => Ok(*only),
            _ => Err(FindRunError::Ambiguous { text: text.to_owned(), candidates }),
        }
    }

    /// Reads a run.
    pub(crate) fn run(&self, id: RunId) -> Result<PastRun, Failure> {
        let record = self.store.run(id).map_err(damaged)?.ok_or_else(|| {
            Failure::new(ExitStatus::Store, format!("run {} has no head in the store", id.short()))
        })?;
        let events = self.store.events(id).map_err(damaged)?;
        let history = History::of(events.iter().map(|(_, event)| event));
        Ok(PastRun { id, record, history })
    }
}

impl Past {
    /// Returns the definition that a run was started with, `None` where it is gone. `root` is its project.
    pub(crate) fn definition(&self, run: &PastRun, root: &Path) -> Option<Definition> {
        let record = &run.record;
        let bytes = self.store.definition(&record.definition).ok()??;
        Some(Definition::of_run(root, &self.state, (&record.file, &record.pipeline), bytes))
    }
}

impl PastRun {
    /// Returns the instances of a stage, or the one instance, that `name` names, and fails with the nearest names.
    pub(crate) fn instances(&self, name: &str) -> Result<Vec<&InstanceHistory>, Failure> {
        let found: Vec<&InstanceHistory> =
            self.history.instances.iter().filter(|instance| is_named(&instance.name, name)).collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let mut known: Vec<String> = Vec::new();
        for instance in &self.history.instances {
            known.push(instance.name.stage().to_string());
            known.push(instance.name.to_string());
        }
        known.sort();
        known.dedup();
        let near = text::nearest(name, known.iter().map(String::as_str));
        let help = if near.is_empty() {
            format!("`cairn show {}` lists them", self.id.short())
        } else {
            format!("did you mean {}?", text::list(&near))
        };
        Err(Failure::wrong(format!("run {} has no stage or instance `{name}`", self.id.short())).help(help))
    }

    /// Returns how it stands: `cut off` where its process is gone and it did not end.
    pub(crate) fn status(&self) -> &'static str {
        match self.record.status {
            RunStatus::Running if !self.record.process.is_alive() => CUT_OFF,
            status => status.as_str(),
        }
    }

    /// Returns the word for where an instance stands: nothing runs in a run whose process is gone.
    pub(crate) fn state_word(&self, instance: &InstanceHistory) -> &'static str {
        match &instance.state {
            State::Running { .. } | State::Retrying { .. } if self.status() == CUT_OFF => CUT_OFF,
            State::Waiting => "waiting",
            State::Running { .. } => "running",
            State::Retrying { .. } => "retrying",
            State::Fresh
            | State::Restored
            | State::Ran { .. }
            | State::Failed { .. }
            | State::Blocked
            | State::InDoubt { .. } => instance.state.outcome().map_or("", Outcome::as_str),
        }
    }

    /// Returns what it took, the time between its parts left out; `None` while it goes on or nothing is known.
    pub(crate) fn took_ms(&self) -> Option<u64> {
        self.history.ended.map(|_| self.history.took_in_all_ms())
    }

    /// Returns the shape that `--json` prints.
    pub(crate) fn wire(&self) -> json::Run {
        let record = &self.record;
        let interval = interval_of(record);
        json::Run {
            schema: json::Run::SCHEMA,
            run: self.id.to_string(),
            pipeline: record.pipeline.to_string(),
            file: record.file.clone(),
            status: self.status(),
            started: time::rfc3339(record.started),
            ended: record.ended.map(time::rfc3339),
            took_ms: self.took_ms(),
            saved_ms: record.saved_ms,
            outcomes: self.history.counts().into(),
            params: record.params.iter().cloned().collect(),
            selection: asked_words(record),
            logical_time: time::rfc3339(record.logical_time),
            interval_start: interval.map(|interval| time::rfc3339(interval.start)),
            interval_end: interval.map(|interval| time::rfc3339(interval.end)),
            definition: record.definition.to_string(),
            command_line: record.command_line.clone(),
            cairn_version: record.cairn_version.clone(),
        }
    }

    /// Returns the shape of one of its instances.
    pub(crate) fn instance_wire(&self, instance: &InstanceHistory, log: Option<String>) -> json::Instance {
        json::Instance {
            schema: json::Instance::SCHEMA,
            run: self.id.to_string(),
            instance: instance.name.to_string(),
            stage: instance.name.stage().to_string(),
            state: self.state_word(instance),
            reason: instance.reason.clone(),
            attempts: instance.attempts,
            started: instance.started.map(time::rfc3339),
            took_ms: instance.took_ms,
            saved_ms: instance.saved_ms,
            input_hash: instance.input_hash.map(|hash| hash.to_string()),
            help: instance.help.clone(),
            log,
            checkpoint: None,
        }
    }
}

/// Returns whether `name` names an instance: it itself, or its stage.
pub(crate) fn is_named(instance: &InstanceName, name: &str) -> bool {
    instance.stage().as_str() == name || instance.to_string() == name
}

/// Says that the store cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` takes")]
pub(crate) fn damaged(error: ReadError) -> Failure {
    Failure::of(ExitStatus::Store, &error).maybe_help(error.help())
}

fn nothing_ran(project: &Project) -> Failure {
    let state = project.states().first().map_or_else(String::new, |state| project.shown(state));
    Failure::wrong("there is no run yet")
        .note(format!("looked in `{state}`"))
        .help("`cairn run` makes the first")
}
