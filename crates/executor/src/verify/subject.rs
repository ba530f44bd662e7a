//! One instance being verified: its executions, and how what they made is compared with what is recorded.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use cairn_content::FileError;
use cairn_dag::Instance;
use cairn_model::{AttemptId, Content, EntryKind, FileContent, Level, Manifest, Output, TreeEntry};
use cairn_records::database::{self, DatabaseDifference};
use cairn_records::rehearsal;
use cairn_store::Checkpoint;

use super::cause::{self, Cause, Known};
use super::place::{self, Large, Place, Start, Wanted};
use super::surroundings::{Became, Surroundings};
use super::{
    Check, Difference, Finding, PlaceError, Position, Report, Step, Verdict, Verifier, VerifyError, bytes,
    effect_key,
};
use crate::collect::collect;
use crate::environment::{self, Context};
use crate::gather::{Gathered, stdout_path};
use crate::isolation::{Ended, ExitKind, Job, TOKEN_VARIABLE};

/// Bytes of one execution's output that are kept.
const LOG_MAX: u64 = 1024 * 1024;

/// How long after the recorded execution the next one starts at least, so that a time in whole seconds is another.
pub(super) const LATER_MS: u64 = 1_100;

/// One instance being verified.
pub(super) struct Subject<'a> {
    pub(super) verifier: &'a Verifier,
    pub(super) instance: &'a Instance,
    pub(super) gathered: &'a Gathered,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) level: Level,
    pub(super) cuts: u32,
    pub(super) large: &'a Large,
    pub(super) on_step: &'a (dyn Fn(Step) + Send + Sync),
}

/// Whether outputs are compared by their bytes alone, or databases among them by their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Bytes,
    Rows,
}

impl Subject<'_> {
    pub(super) fn failed(&self, cause: impl Into<PlaceError>) -> VerifyError {
        VerifyError::Place { instance: self.instance.name.to_string(), cause: cause.into() }
    }

    /// All checks of an instance of its kind.
    pub(super) async fn checked_all(&self) -> Result<Report, VerifyError> {
        match &self.instance.records {
            Some(records) => self.loaded_again(records).await,
            None => self.checked().await,
        }
    }

    /// The three checks in their order, to the first difference.
    async fn checked(&self) -> Result<Report, VerifyError> {
        let mut report = Report::none(Verdict::Verified);
        report.starts_empty = self.level != Level::Off;
        let (found, took_ms) = self.elsewhere().await?;
        report.elsewhere = check(found.as_ref());
        if let Some(found) = found {
            report.verdict = Verdict::NotIdempotent(Box::new(found));
            return Ok(report);
        }
        let found = self.on_top().await?;
        report.on_top = check(found.as_ref());
        if let Some(found) = found {
            report.verdict = Verdict::NotIdempotent(Box::new(found));
            return Ok(report);
        }
        for number in 1..=self.cuts {
            // Spread over what it takes, its beginning and end left out.
            let after_ms = (took_ms * u64::from(number) / u64::from(self.cuts + 1)).max(1);
            let step = Step::CutOff { after_ms, number, of: self.cuts };
            let (found, was_cut) = self.cut_off(step, after_ms).await?;
            report.cuts = (report.cuts.0 + u32::from(was_cut), number);
            report.cut_off = check(found.as_ref());
            if let Some(found) = found {
                report.verdict = Verdict::NotIdempotent(Box::new(found));
                return Ok(report);
            }
        }
        Ok(report)
    }

    async fn elsewhere(&self) -> Result<(Option<Finding>, u64), VerifyError> {
        self.wait_since_recorded().await;
        let step = Step::Elsewhere;
        (self.on_step)(step);
        let mut place = self.place(Start::Nothing)?;
        let (ended, found) = self.execute(&mut place, None).await?;
        let found = match found {
            Some(difference) => Some(Finding { step, difference, cause: None }),
            None => self.compare(&mut place, step, By::Bytes)?,
        };
        place.remove().map_err(|error| self.failed(error))?;
        Ok((found, ended.took_ms))
    }

    /// Waits until a time in whole seconds is another one than at the recorded execution's end.
    pub(super) async fn wait_since_recorded(&self) {
        let clock = &self.verifier.engine.clock;
        let since_ms = clock.now().millis_since(self.checkpoint.finished);
        tokio::time::sleep(Duration::from_millis(LATER_MS.saturating_sub(since_ms))).await;
    }

    async fn on_top(&self) -> Result<Option<Finding>, VerifyError> {
        let mut place = self.place(Start::Standing)?;
        for time in 1..=2 {
            let step = Step::OnTop { time };
            (self.on_step)(step);
            let (_, failed) = self.execute(&mut place, None).await?;
            if let Some(difference) = failed {
                return Ok(Some(Finding { step, difference, cause: None }));
            }
            let outputs = self.compare(&mut place, step, By::Rows)?;
            if outputs.is_some() {
                return Ok(outputs);
            }
            // A file that is new may have been removed from the project since the run; the second time it is known.
            if let Some(difference) = self.compare_rest(&mut place, time == 2)? {
                let cause = repeated(&difference);
                return Ok(Some(Finding { step, difference, cause }));
            }
        }
        place.remove().map_err(|error| self.failed(error))?;
        Ok(None)
    }

    /// Also returns whether the command was killed and had not ended before.
    async fn cut_off(&self, step: Step, after_ms: u64) -> Result<(Option<Finding>, bool), VerifyError> {
        (self.on_step)(step);
        let mut place = self.place(Start::Nothing)?;
        let (ended, failed) = self.execute(&mut place, Some(after_ms)).await?;
        let was_cut = ended.stopped;
        let failed =
            if was_cut || failed.is_none() { self.execute(&mut place, None).await?.1 } else { failed };
        if let Some(difference) = failed {
            return Ok((Some(Finding { step, difference, cause: None }), was_cut));
        }
        let mut found = self.compare(&mut place, step, By::Rows)?;
        if found.is_none() {
            // What a cut leaves beside is no harm by itself: cairn removes it with the working folder.
            let difference = self.compare_rest(&mut place, false)?;
            found = difference.map(|difference| Finding { step, cause: repeated(&difference), difference });
        }
        place.remove().map_err(|error| self.failed(error))?;
        Ok((found, was_cut))
    }

    pub(super) fn place(&self, start: Start) -> Result<Place, VerifyError> {
        let number = self.verifier.attempts.fetch_add(1, Ordering::Relaxed);
        let folder = self.verifier.scratch.folder().join(format!("place-{number}"));
        let wanted = Wanted {
            engine: &self.verifier.engine,
            instance: self.instance,
            gathered: self.gathered,
            recorded: &self.checkpoint.manifest,
            level: self.level,
            start,
            large: self.large,
        };
        Place::make(folder, &wanted).map_err(|error| self.failed(error))
    }

    /// Executes the command to its end, or kills it and all it started `after_ms`; returns how it failed, if it did.
    async fn execute(
        &self,
        place: &mut Place,
        after_ms: Option<u64>,
    ) -> Result<(Ended, Option<Difference>), VerifyError> {
        let (_, job) = self.job(place)?;
        let (keeper, token, log) = (&self.verifier.keeper, job.token.clone(), job.log.clone());
        let running = keeper.run(job);
        tokio::pin!(running);
        let ended = match after_ms {
            None => running.await?,
            Some(after_ms) => tokio::select! {
                ended = &mut running => ended?,
                () = tokio::time::sleep(Duration::from_millis(after_ms)) => {
                    keeper.kill(&token);
                    running.await?
                }
            },
        };
        let error = match ended.status {
            _ if ended.stopped => None,
            _ if ended.timed_out => Some("timed out".to_owned()),
            ExitKind::Code(0) => None,
            ExitKind::Code(code) => Some(format!("exit status {code}")),
            ExitKind::Signal(signal) => Some(format!("ended by signal {signal}")),
        };
        let failed = error.map(|error| Difference::Failed { error, said: last_line(&log) });
        Ok((ended, failed))
    }

    /// Returns what is executed in a place, and as which attempt.
    pub(super) fn job(&self, place: &mut Place) -> Result<(AttemptId, Job), VerifyError> {
        let engine = &self.verifier.engine;
        let number = self.verifier.attempts.fetch_add(1, Ordering::Relaxed);
        // A command that names the run's id has it in its input-hash: there it must stay the same.
        let run = if engine.gatherer.depends_on_run(self.instance) { engine.run } else { self.verifier.run };
        let attempt = AttemptId { run, instance: self.instance.name.clone(), number };
        let (home, temporary) = self.own_folders(place)?;
        let passed = engine.gatherer.passed(self.instance);
        let key = effect_key(self.instance, self.gathered);
        let context = Context {
            attempt: &attempt,
            key: &key,
            logical_time: engine.logical_time,
            passed: &passed,
            home: &home,
            temporary: &temporary,
            // What a run remembers for its commands is not to be changed: those that ask for it are refused.
            notes: None,
            trace: None,
        };
        let token = self.verifier.scratch.token(&attempt.slug());
        let mut env = environment::of_attempt(&engine.project, self.instance, &context);
        for (name, value) in &mut env {
            if name == TOKEN_VARIABLE {
                value.clone_from(&token);
            }
        }
        let job = Job {
            token,
            argv: self.instance.command.argv().into_iter().map(str::to_owned).collect(),
            env,
            cwd: place.base.clone(),
            stdin: None,
            stdout: stdout_path(self.instance).map(|path| path.below(&place.base)),
            log: home.with_extension("log"),
            log_max: LOG_MAX,
            timeout_ms: self.instance.policy.timeout_ms,
            kill_after_ms: self.instance.policy.kill_after_ms,
            tied: true,
        };
        Ok((attempt, job))
    }

    /// Makes a `HOME` and a `TMPDIR` for one execution.
    fn own_folders(&self, place: &mut Place) -> Result<(PathBuf, PathBuf), VerifyError> {
        let mut make = |name: &str| place.folder(name).map_err(|error| self.failed(error));
        Ok((make("home")?, make("tmp")?))
    }

    /// Compares the outputs with what is recorded.
    pub(super) fn compare(
        &self,
        place: &mut Place,
        step: Step,
        by: By,
    ) -> Result<Option<Finding>, VerifyError> {
        let digests = &self.verifier.engine.digests;
        let made = match collect(&place.base, self.instance, self.gathered, digests) {
            Ok(collected) => collected.manifest,
            Err(error) => {
                let difference = Difference::Outputs(error.to_string());
                return Ok(Some(Finding { step, difference, cause: None }));
            }
        };
        for (path, recorded, found) in apart(&self.checkpoint.manifest, &made) {
            let (difference, cause) = match (recorded, found) {
                (Some(Entry::File(recorded)), Some(Entry::File(found))) => {
                    let Some(told) = self.compare_file(place, &path, &recorded, &found, by)? else {
                        continue;
                    };
                    told
                }
                (recorded, found) => {
                    let how = match (recorded, found) {
                        (_, None) => "is missing",
                        (None, _) => "is new",
                        (Some(Entry::Other(_)), Some(Entry::Other(_))) => "is a link to something else",
                        (Some(_), Some(_)) => "is of another kind",
                    };
                    (Difference::Entry { path, how }, None)
                }
            };
            return Ok(Some(Finding { step, difference, cause }));
        }
        Ok(None)
    }

    fn compare_file(
        &self,
        place: &mut Place,
        path: &str,
        recorded: &FileContent,
        found: &FileContent,
        by: By,
    ) -> Result<Option<(Difference, Option<Cause>)>, VerifyError> {
        let path = path.to_owned();
        if recorded.digest == found.digest {
            let word = |is: bool| if is { "executable" } else { "not executable" }.to_owned();
            let (recorded, found) = (word(recorded.executable), word(found.executable));
            let place = Position::Mode;
            return Ok(Some((Difference::Bytes { path, place, recorded, found }, None)));
        }
        let engine = &self.verifier.engine;
        let there = place.base.join(&path);
        let before = place.folder("recorded").map_err(|error| self.failed(error))?.join("database");
        let on_disk = engine.project.folder().join(&path);
        if let Err(error) = place::copy_file(engine, &on_disk, recorded, None, &before) {
            tracing::warn!(%error, "the recorded bytes of an output are lost");
            let (recorded, found) =
                (format!("digest {}", recorded.digest), format!("digest {}", found.digest));
            let place = Position::Offset(0);
            return Ok(Some((Difference::Bytes { path, place, recorded, found }, None)));
        }
        let read = |cause: io::Error| self.failed(FileError { action: "read", path: there.clone(), cause });
        let are_databases =
            database::is_database(&before).map_err(read)? && database::is_database(&there).map_err(read)?;
        if are_databases {
            let below = there.strip_prefix(&place.top).map_or_else(|_| PathBuf::from(&path), Path::to_owned);
            let copied = place.copy_database(&below).map_err(|error| self.failed(error))?;
            match database::first_difference(&before, &copied) {
                Ok(Some(how)) => {
                    let difference = Difference::Database { path, how, declared: true };
                    let cause = repeated(&difference);
                    return Ok(Some((difference, cause)));
                }
                // The bytes tell of each time it was written to.
                Ok(None) if by == By::Rows => return Ok(None),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "compared by bytes"),
            }
        }
        let Some(apart) = bytes::first_apart(&before, &there).map_err(read)? else { return Ok(None) };
        let cause = apart.lines.as_ref().and_then(|(one, other)| {
            let texts = bytes::texts(&before, &there);
            let texts = texts.as_ref().map(|(one, other)| (one.as_str(), other.as_str()));
            cause::guess(texts, (one, other), &self.known())
        });
        // A line of a file of records is told by its key.
        let key = self.instance.records.as_ref().map(|records| &records.key);
        let named = key
            .zip(apart.lines.as_ref())
            .and_then(|(key, (one, other))| rehearsal::record_apart(one.as_bytes(), other.as_bytes(), key));
        if let Some(apart) = named {
            return Ok(Some((Difference::Record { sink: format!("`{path}`"), apart }, cause)));
        }
        let (place, recorded, found) = (apart.position, apart.left, apart.right);
        Ok(Some((Difference::Bytes { path, place, recorded, found }, cause)))
    }

    /// What differs between executions because cairn has it so.
    pub(super) fn known(&self) -> Known {
        let verifier = self.verifier;
        Known {
            folders: vec![verifier.scratch.folder().to_string_lossy().into_owned()],
            ids: vec![verifier.run.to_string()],
        }
    }

    /// Compares what is beside the outputs with what was there before; files that are new count with `also_new`, and are
    /// known from then on without.
    pub(super) fn compare_rest(
        &self,
        place: &mut Place,
        also_new: bool,
    ) -> Result<Option<Difference>, VerifyError> {
        if let Some(path) = self.large.first_written() {
            return Ok(Some(Difference::Undeclared { path }));
        }
        let own = place.own(self.instance);
        let top = place.top.clone();
        let look = Surroundings::look(&top, Some(&place.before), &own);
        let after =
            look.map_err(|cause| self.failed(FileError { action: "read", path: top.clone(), cause }))?;
        let is_database = |path: &Path| {
            place.databases.contains_key(path) || database::is_database(&top.join(path)).unwrap_or(false)
        };
        for (path, became) in place.before.became(&after, &is_database) {
            let shown = path.to_string_lossy().into_owned();
            match became {
                Became::New if also_new => {
                    let how = "is new each time, and is not one of its outputs";
                    return Ok(Some(Difference::Entry { path: shown, how }));
                }
                Became::New => {}
                Became::Missing => {
                    let how = "is removed by it, and is not one of its outputs";
                    return Ok(Some(Difference::Entry { path: shown, how }));
                }
                Became::Changed => match place.databases.get(&path).cloned() {
                    Some(before) => {
                        let copied = place.copy_database(&path).map_err(|error| self.failed(error))?;
                        // The copy of before is opened, and closed, as it is compared: it stays the same.
                        match database::first_difference(&before, &copied) {
                            Ok(None) => {}
                            Ok(Some(how)) => {
                                return Ok(Some(Difference::Database { path: shown, how, declared: false }));
                            }
                            Err(error) => {
                                tracing::warn!(%error, "compared by bytes");
                                return Ok(Some(Difference::Undeclared { path: shown }));
                            }
                        }
                    }
                    None => return Ok(Some(Difference::Undeclared { path: shown })),
                },
            }
        }
        if !also_new {
            place.before.extend(after);
        }
        Ok(None)
    }
}

pub(super) fn check(found: Option<&Finding>) -> Check {
    if found.is_some() { Check::Differs } else { Check::Same }
}

/// A table that has more rows than before was added to.
fn repeated(difference: &Difference) -> Option<Cause> {
    let Difference::Database { how: DatabaseDifference::Count { before, after, .. }, .. } = difference else {
        return None;
    };
    (after > before).then_some(Cause::Repeated)
}

/// What stands at one path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File(FileContent),
    /// A folder or a link.
    Other(EntryKind),
}

/// Returns the paths at which two results of one instance differ, with what is there.
fn apart(recorded: &Manifest, found: &Manifest) -> Vec<(String, Option<Entry>, Option<Entry>)> {
    let of = |manifest: &Manifest| -> std::collections::BTreeMap<String, Entry> {
        manifest.outputs.iter().flat_map(entries).collect()
    };
    let (recorded, found) = (of(recorded), of(found));
    let paths: std::collections::BTreeSet<&String> = recorded.keys().chain(found.keys()).collect();
    let differ = paths.into_iter().filter(|path| recorded.get(*path) != found.get(*path));
    differ.map(|path| (path.clone(), recorded.get(path).cloned(), found.get(path).cloned())).collect()
}

fn entries(output: &Output) -> Vec<(String, Entry)> {
    match &output.content {
        Content::File(file) => vec![(output.path.to_string(), Entry::File(*file))],
        Content::Folder(tree) => {
            let of = |TreeEntry { path, kind }: &TreeEntry| {
                let path = format!("{}/{}", output.path, String::from_utf8_lossy(path));
                let entry = match kind {
                    EntryKind::File(file) => Entry::File(*file),
                    EntryKind::Folder | EntryKind::Link(_) => Entry::Other(kind.clone()),
                };
                (path, entry)
            };
            tree.entries.iter().map(of).collect()
        }
    }
}

/// Returns the last line of a log that has something in it.
fn last_line(log: &Path) -> Option<String> {
    let bytes = fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(200).collect())
}
