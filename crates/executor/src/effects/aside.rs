//! Commands beside an attempt: probes and undos, each in a working folder of its own with the stage's inputs and
//! environment, run by the keeper as attempts are.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cairn_model::{AttemptId, Command, Level};
use tokio::runtime::{Handle, Runtime};

use crate::engine::Engine;
use crate::environment::{self, Context};
use crate::gather::Gathered;
use crate::isolation::{Ended, ExitKind, Job, Keeper, KeeperError, TOKEN_VARIABLE};
use crate::lookup::level_given;
use crate::project::Project;

/// How long a probe or an undo may take where its stage says nothing of time.
pub(super) const TIME_MAX_MS: u64 = 5 * 60_000;

/// Bytes that a probe may print: it is kept and compared as it is.
const PROBE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a log that are kept.
const LOG_MAX: u64 = 1024 * 1024;

/// Who runs the commands.
pub(crate) enum Lent {
    /// The keeper of the run that goes on, on the run's own runtime.
    OfRun(Keeper, Handle),
    /// One of its own, where only a look is taken.
    Own(Keeper, Runtime),
}

/// A command to run beside an attempt.
pub(super) struct Aside<'a> {
    pub(super) instance: u32,
    pub(super) gathered: &'a Gathered,
    pub(super) command: &'a Command,
    /// What it gets as `CAIRN_IDEMPOTENCY_KEY`.
    pub(super) key: &'a str,
    /// `probe` or `undo`.
    pub(super) what: &'static str,
    /// The attempt in whose log its output goes, `None` where there is none.
    pub(super) attempt: Option<&'a AttemptId>,
    pub(super) timeout_ms: Option<u64>,
}

/// What a command said.
pub(super) struct Answer {
    pub(super) printed: Vec<u8>,
    /// `None` for exit status 0, else what went wrong.
    pub(super) fault: Option<Fault>,
}

/// Why a command said nothing that counts.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What went wrong.
    pub(crate) what: String,
    /// Whether it was ended because the run is.
    pub(crate) stopped: bool,
    /// Whether anything of it may have been done.
    pub(crate) began: bool,
}

impl Fault {
    fn before(what: String) -> Self {
        Self { what, stopped: false, began: false }
    }

    fn answer(what: String) -> Self {
        Self { what, stopped: false, began: true }
    }
}

/// The commands that run, so that they can be stopped.
#[derive(Debug, Default)]
pub(crate) struct Asides {
    tokens: BTreeSet<String>,
    /// Whether the run is to end: no more questions are asked.
    stopping: bool,
}

impl Engine {
    /// Has the run's keeper run commands beside attempts. To be called on the run's runtime, before any look-up.
    pub fn lend(&self, keeper: Keeper) {
        *self.lent.lock().expect("no panic while it is held") = Some(Lent::OfRun(keeper, Handle::current()));
    }

    /// Gives back what [`Self::lend`] lent, so that the keeper can end.
    pub fn give_back(&self) {
        self.lent.lock().expect("no panic while it is held").take();
    }

    /// Ends the commands that run beside attempts, gently or `now`, and has no more questions asked: the run is to end.
    pub fn stop_asides(&self, now: bool) {
        let mut asides = self.asides();
        asides.stopping = true;
        let lent = self.lent.lock().expect("no panic while it is held");
        let Some(Lent::OfRun(keeper, _)) = &*lent else { return };
        for token in &asides.tokens {
            if now {
                keeper.kill(token);
            } else {
                keeper.terminate(token);
            }
        }
    }

    fn asides(&self) -> MutexGuard<'_, Asides> {
        self.asides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the probe of an instance's effect prints.
    pub(crate) fn probe(
        &self,
        instance: u32,
        gathered: &Gathered,
        key: &str,
        attempt: Option<&AttemptId>,
    ) -> Result<String, Fault> {
        if self.asides().stopping {
            return Err(Fault {
                what: "is not asked: the run is to end".to_owned(),
                stopped: true,
                began: false,
            });
        }
        let declared = self.instance(instance);
        let probe = declared.effect.as_ref().and_then(|effect| effect.probe.as_ref());
        let command = probe.expect("only an effect with a probe is asked");
        let timeout_ms = Some(declared.policy.timeout_ms.unwrap_or(TIME_MAX_MS));
        let aside = Aside { instance, gathered, command, key, what: "probe", attempt, timeout_ms };
        let Answer { printed, fault } = self.aside(&aside)?;
        if let Some(fault) = fault {
            return Err(fault);
        }
        if printed.len() > PROBE_BYTES_MAX {
            let bytes = printed.len();
            return Err(Fault::answer(format!(
                "it prints {bytes} bytes, and at most {PROBE_BYTES_MAX} are compared"
            )));
        }
        String::from_utf8(printed).map_err(|_| Fault::answer("it prints bytes that are not UTF-8".to_owned()))
    }

    /// Runs a command beside an attempt; to be called from a thread that may wait.
    pub(super) fn aside(&self, aside: &Aside<'_>) -> Result<Answer, Fault> {
        let declared = self.instance(aside.instance);
        let attempt = aside.attempt.cloned().unwrap_or_else(|| self.attempt_id(aside.instance, 0));
        let slug = format!("{}-{}", attempt.slug(), aside.what);
        let folder = self.project.state().join("staging").join(&slug);
        let cannot = |error: &dyn std::fmt::Display| Fault::before(format!("it cannot be prepared: {error}"));
        std::fs::create_dir_all(self.project.state().join("staging")).map_err(|error| cannot(&error))?;
        let mut staging = self.spares().take(folder).map_err(|error| cannot(&error))?;
        let level = level_given(&self.pipeline, declared);
        let filled = if level == Level::Off {
            Ok(self.project.folder().to_owned())
        } else {
            staging
                .fill(&self.project, declared, aside.gathered, &self.kept().objects, &self.digests)
                .map(|()| staging.work())
        };
        let answered = filled.map_err(|error| cannot(&error)).and_then(|cwd| {
            let passed = self.gatherer.passed(declared);
            let context = Context {
                attempt: &attempt,
                key: aside.key,
                logical_time: self.logical_time,
                passed: &passed,
                home: &staging.home(),
                temporary: &staging.temporary(),
                // What it says of records would count for no result.
                notes: None,
                trace: aside.attempt.and_then(|attempt| self.span_of(attempt)),
            };
            let mut env = environment::of_attempt(&self.project, declared, &context);
            for (name, value) in &mut env {
                if name == TOKEN_VARIABLE {
                    value.clone_from(&slug);
                }
            }
            let printed = staging.folder().join("printed");
            let log = match aside.attempt {
                Some(attempt) => self.project.state().join(Project::log_path(attempt)),
                None => staging.folder().join("log"),
            };
            let job = Job {
                token: slug.clone(),
                argv: aside.command.argv().into_iter().map(str::to_owned).collect(),
                env,
                cwd,
                stdin: None,
                stdout: Some(printed.clone()),
                log: log.clone(),
                log_max: LOG_MAX,
                timeout_ms: aside.timeout_ms,
                kill_after_ms: declared.policy.kill_after_ms,
                tied: true,
            };
            self.asides().tokens.insert(slug.clone());
            let ended = self.keep(job);
            self.asides().tokens.remove(&slug);
            let ended = ended.map_err(|error| Fault {
                what: match error.help() {
                    Some(help) => format!("{error}; {help}"),
                    None => error.to_string(),
                },
                stopped: false,
                began: !matches!(error, KeeperError::Start(_) | KeeperError::Spawn { .. }),
            })?;
            let printed = std::fs::read(&printed).unwrap_or_default();
            Ok(Answer { printed, fault: fault(&ended, &log) })
        });
        self.spares().remove(&staging);
        answered
    }

    fn keep(&self, job: Job) -> Result<Ended, KeeperError> {
        let mut lent = self.lent.lock().expect("no panic while it is held");
        if let Some(Lent::OfRun(keeper, runtime)) = &*lent {
            let (keeper, runtime) = (keeper.clone(), runtime.clone());
            drop(lent);
            return runtime.block_on(keeper.run(job));
        }
        if lent.is_none() {
            let spawn = |program: PathBuf, source| KeeperError::Spawn { program, source };
            let program = std::env::current_exe().map_err(|source| spawn(PathBuf::from("cairn"), source))?;
            let keeper = Keeper::start(&program)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            *lent = Some(Lent::Own(keeper, runtime.map_err(|source| spawn(program, source))?));
        }
        let Some(Lent::Own(keeper, runtime)) = &*lent else {
            unreachable!("it was found not to be the run's, and made if it was none")
        };
        runtime.block_on(keeper.run(job))
    }
}

/// Says what went wrong with a command.
fn fault(ended: &Ended, log: &std::path::Path) -> Option<Fault> {
    let what = match ended.status {
        _ if ended.timed_out => format!("timed out after {} ms", ended.took_ms),
        _ if ended.stopped => "stopped".to_owned(),
        ExitKind::Code(0) => return None,
        ExitKind::Code(code) => format!("exit status {code}"),
        ExitKind::Signal(signal) => format!("ended by signal {signal}"),
    };
    let said = std::fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let what = match last {
        Some(last) => format!("{what}: {}", super::shortened(last)),
        None => what,
    };
    Some(Fault { what, stopped: ended.stopped, began: true })
}

/// Keeps the type of a lock in one place.
pub(crate) type LentSlot = Mutex<Option<Lent>>;
