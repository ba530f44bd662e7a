//! Records stages: instances that pass records on instead of running a command.

mod ledger;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use cairn_dag::{Glob, Instance};
use cairn_model::{
    AttemptId, Content, Digest, InstanceName, ProjectPath, Reason, RecordCounts, Records, SinkPlace, decode,
};
use cairn_records::engine::{self, EngineError, Setup};
use cairn_records::sink::{self, OpenContext, Sink, SinkError};
use cairn_records::source::SourceFile;
use cairn_store::RecordsOf;

use crate::attempt::{AttemptError, Prepared};
use crate::engine::{Engine, LookUpError};
use crate::gather::Gathered;
use crate::isolation::{Ended, ExitKind, Keeper};
use ledger::{letters, scope_of};

pub(crate) use ledger::StoreLedger;
pub(crate) use workers::Workers;
pub use workers::worker_log;

/// Returns whether a path is of the source.
fn is_source(records: &Records, path: &ProjectPath) -> bool {
    let source = records.source.trim_end_matches('/');
    if path.as_str() == source {
        return true;
    }
    Glob::is_glob(&records.source) && Glob::parse(&records.source).is_ok_and(|glob| glob.is_match(path))
}

/// A file in a folder that is a source, whose name cairn cannot keep.
#[derive(Debug, thiserror::Error)]
#[error("`{}`, a file of the source, has a name that cannot be kept: {why}", path.escape_debug())]
pub(crate) struct BadName {
    path: String,
    why: String,
}

impl BadName {
    pub(crate) const HELP: &str = "rename the file";
}

/// Returns the files of the source in the order of their paths, where the attempt sees them.
pub(crate) fn sources(
    records: &Records,
    gathered: &Gathered,
    base: &std::path::Path,
) -> Result<Vec<SourceFile>, BadName> {
    let mut sources = Vec::new();
    for input in gathered.files.iter().filter(|input| is_source(records, &input.path)) {
        match &input.content {
            Content::File(_) => {
                sources.push(SourceFile { path: input.path.clone(), disk: input.path.below(base) });
            }
            Content::Folder(_) => {
                for (below, _) in input.content.files() {
                    let path = path_of(&input.path, below)?;
                    sources.push(SourceFile { disk: path.below(base), path });
                }
            }
        }
    }
    sources.sort_by(|left, right| left.path.as_str().as_bytes().cmp(right.path.as_str().as_bytes()));
    sources.dedup_by(|left, right| left.path == right.path);
    Ok(sources)
}

fn path_of(folder: &ProjectPath, below: &[u8]) -> Result<ProjectPath, BadName> {
    let bad = |below: &str, why: String| BadName { path: format!("{folder}/{below}"), why };
    let below = std::str::from_utf8(below)
        .map_err(|_| bad(&String::from_utf8_lossy(below), "it is not UTF-8".to_owned()))?;
    ProjectPath::parse(&format!("{folder}/{below}")).map_err(|error| bad(below, error.to_string()))
}

/// Returns a digest of what decides what a worker makes of a record: all of the recipe but the source, the sinks and the
/// outputs.
pub(crate) fn code(records: &Records, gathered: &Gathered) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("cairn v1 record-worker");
    for part in decode(&gathered.preimage).unwrap_or_default() {
        let tags: Vec<&str> = part.tags.iter().map(String::as_str).collect();
        let counts = match tags.as_slice() {
            ["records" | "outputs", ..] => false,
            ["inputs", _, subject, ..] => {
                !ProjectPath::parse(subject).is_ok_and(|path| is_source(records, &path))
            }
            _ => true,
        };
        if counts {
            for tag in &tags {
                hasher.update(&(tag.len() as u64).to_le_bytes());
                hasher.update(tag.as_bytes());
            }
            let value = format!("{:?}", part.value);
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value.as_bytes());
        }
    }
    hasher.finalize().into()
}

/// Says what follows when a sink cannot be asked what it has: one that may come back counts as it was; one that a person has
/// to mend does not, and the run tells what is wrong with it.
fn cannot_tell(of: RecordsOf<'_>, error: &SinkError) -> Option<String> {
    if matches!(error, SinkError::Unavailable { .. }) {
        tracing::warn!(instance = %of.instance, %error, "the sink cannot be asked what it has");
        return None;
    }
    Some(error.to_string())
}

impl Engine {
    /// Opens the sinks that are no files.
    fn open_sinks(&self, records: &Records) -> Result<Vec<Box<dyn Sink>>, SinkError> {
        let variable = |name: &str| self.gatherer.variable(name).cloned();
        let context = self.open_context(&variable);
        let external = records.sinks.iter().filter(|sink| !sink.place.is_file());
        external.map(|sink| sink::open(sink, &records.key, records.version.as_ref(), &context)).collect()
    }

    fn open_context<'c>(&'c self, variable: &'c dyn Fn(&str) -> Option<String>) -> OpenContext<'c> {
        OpenContext { folder: self.project.folder(), variable, clock: &self.clock }
    }

    /// Says why a records stage must run although there is a checkpoint for its inputs.
    pub(crate) fn records_pending(
        &self,
        instance: &Instance,
        gathered: &Gathered,
    ) -> Result<Option<Reason>, LookUpError> {
        let (Some(records), Some(store)) = (&instance.records, self.store()) else { return Ok(None) };
        let of = RecordsOf { pipeline: &self.pipeline.name, instance: &instance.name };
        let mut asked = 0_u64;
        for letter in letters(store, of) {
            asked += u64::from(letter?.retry.is_some());
        }
        if asked > 0 {
            let letters = if asked == 1 { "dead letter is" } else { "dead letters are" };
            return Ok(Some(Reason::Again(format!("{asked} {letters} to be tried again"))));
        }
        if records.sinks.iter().all(|sink| sink.place.is_file()) {
            return Ok(None);
        }
        let latest = store.latest(&self.pipeline.name, &instance.name)?;
        if latest.first() != Some(&gathered.input_hash) {
            return Ok(Some(Reason::Again("the sinks hold the records of other inputs".to_owned())));
        }
        Ok(self.sink_behind(records, of).map(Reason::Again))
    }

    /// Says which sink has less than was delivered to it. One that is not there to be asked counts as it was.
    fn sink_behind(&self, records: &Records, of: RecordsOf<'_>) -> Option<String> {
        let scope = scope_of(self.store()?, of).ok()??;
        let variable = |name: &str| self.gatherer.variable(name).cloned();
        let context = self.open_context(&variable);
        if let Some(gone) = records.sinks.iter().find_map(|sink| sink::missing_file(sink, &context))
            && scope.confirmed > 0
        {
            return Some(format!("`{}` is gone", gone.display()));
        }
        let mut sinks = match self.open_sinks(records) {
            Ok(sinks) => sinks,
            Err(error) => return cannot_tell(of, &error),
        };
        sinks.iter_mut().find_map(|sink| match sink.last_applied(&scope.token) {
            Ok(Some(last)) if last < scope.confirmed => {
                Some(format!("{} has less than was delivered to it", sink.name()))
            }
            Ok(_) => None,
            Err(error) => cannot_tell(of, &error),
        })
    }

    /// Returns the file that keeps what an instance's workers made.
    pub(crate) fn results_of(&self, instance: &InstanceName) -> PathBuf {
        self.project.state().join("records").join(format!("{}.results", self.records_place(instance)))
    }

    /// Returns what the files of an instance's records begin with. No name holds a dot: no two instances have one place.
    fn records_place(&self, instance: &InstanceName) -> String {
        format!("{}.{}", self.pipeline.name, instance.slug())
    }

    /// Passes the records on: what an attempt of a records stage does instead of running a command. To be called where
    /// waiting is allowed.
    pub(crate) fn pass_records(
        self: &Arc<Self>,
        keeper: &Keeper,
        is_stopped: &(dyn Fn() -> bool + Sync),
        instance: u32,
        attempt: &AttemptId,
        prepared: &Prepared,
    ) -> Result<(Ended, RecordCounts), AttemptError> {
        let started = Instant::now();
        let instance = self.instance(instance);
        let records = instance.records.as_ref().expect("only such stages pass records on");
        let spool = prepared.staging.temporary().join("records");
        let state = self.project.state().join("records");
        for folder in [&spool, &state] {
            std::fs::create_dir_all(folder).map_err(|error| {
                AttemptError::new(format!("cannot make the folder `{}`: {error}", folder.display()), None)
            })?;
        }
        let files = records.sinks.iter().filter_map(|sink| match &sink.place {
            SinkPlace::File { path, format } => Some((path.below(&prepared.base), *format)),
            _ => None,
        });
        let ledger = StoreLedger {
            store: &self.kept().store,
            pipeline: &self.pipeline.name,
            attempt,
            epoch: self.epoch(),
            input_hash: prepared.gathered.input_hash,
            clock: self.clock.as_ref(),
        };
        let workers = Workers {
            keeper: keeper.clone(),
            job: prepared.job.clone(),
            folder: spool.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let place = self.records_place(&instance.name);
        let limit = instance.policy.timeout_ms;
        let is_late = || limit.is_some_and(|limit| started.elapsed().as_millis() > u128::from(limit));
        let setup = Setup {
            records,
            sources: sources(records, &prepared.gathered, &prepared.base).map_err(|error| {
                AttemptError::permanent(error.to_string(), Some(BadName::HELP.to_owned()))
            })?,
            ledger: &ledger,
            open_sinks: &|| self.open_sinks(records),
            files: files.collect(),
            // New in each attempt, also of a run that is resumed: one that was given up may have begun anew itself.
            new_token: format!(
                "{}/{}/{}/{}.{}",
                self.run,
                self.pipeline.name,
                instance.name,
                self.epoch(),
                attempt.number
            ),
            spawn: records.worker.is_some().then_some(&workers as _),
            code: code(records, &prepared.gathered),
            spool,
            receipts: state.join(format!("{place}.receipts")),
            results: self.results_of(&instance.name),
            hands: engine::Hands {
                progress: &|counts| {
                    if let Some(told) = self.on_records.get() {
                        told(&instance.name, counts);
                    }
                },
                pauses: &|pause| {
                    if let Some(told) = self.on_pause.get() {
                        told(&instance.name, pause);
                    }
                },
                now: &|| self.clock.now().0,
                stop: &|| is_stopped() || is_late(),
                fence: self.epoch(),
                seed: self.epoch(),
            },
        };
        let report = engine::run(&setup).map_err(|error| match error {
            EngineError::Stopped if is_late() => {
                let help = "raise `timeout`: what was delivered is not delivered again".to_owned();
                AttemptError::new("timed out", Some(help))
            }
            EngineError::Stopped => AttemptError::stopped(),
            error if error.is_permanent() => AttemptError::permanent(error.to_string(), error.help()),
            error => AttemptError::new(error.to_string(), error.help()),
        })?;
        if let Some(sink) = &report.began_anew {
            tracing::warn!(instance = %instance.name, "{sink} had less than was put there: everything was delivered anew");
        }
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ended = Ended {
            status: ExitKind::Code(0),
            timed_out: false,
            stopped: false,
            strays: 0,
            survivors: 0,
            took_ms,
            user_ms: 0,
            sys_ms: 0,
            max_rss_bytes: 0,
            log_bytes: std::fs::metadata(&prepared.job.log).map_or(0, |log| log.len()),
            log_dropped: 0,
            log_error: None,
        };
        Ok((ended, report.counts))
    }
}
