//! Backfills: what a run of each interval would do today, and the runs that are asked for at once.

mod clock;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, MutexGuard, TryLockError};

use cairn_dag::instant;
use cairn_executor::LookUpError;
use cairn_model::{Digest, Interval, RunId, RunStatus};
use cairn_scheduler::backfill::{BackfillError, Reprocess, Would, intervals, is_asked, last_runs};
use cairn_scheduler::definition::{Checked, Given};
use cairn_scheduler::launch::{Asked, LaunchError, asked_for, selection};
use cairn_scheduler::plan::{Prediction, plan};
use cairn_scheduler::select::{Force, Request};
use cairn_store::{Batch, ReadError, Submission, Ticket, Trigger, TriggerKind};

pub(crate) use clock::Clock;

use crate::catalog::{Entry, PLAIN};
use crate::daemon::{Daemon, StoreError, lock};
use crate::hub::Change;
use crate::queue::Waiting;
use crate::submit::{Asking, Ending, Order, SubmitError, digest_of, enter, key_of};

/// Intervals that are planned at once: each is checked and looked up. A command line plans more.
pub(crate) const PLANNED_MAX: usize = 1_000;
/// Instances of all its intervals together that are looked up for one plan.
const LOOKED_UP_MAX: usize = 200_000;
/// Runs of a backfill give way to all that is asked for otherwise.
const PRIORITY: i64 = -1;

const CLOCK_STEP_MS: i64 = 60_000;

/// A backfill that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Backfill {
    /// Its intervals lie in here.
    pub(crate) stretch: Interval,
    /// Their length; `None`: the schedule's.
    pub(crate) every: Option<String>,
    pub(crate) reprocess: Reprocess,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) keep_going: bool,
    /// The stretch as people read it: what its runs say of why they are.
    pub(crate) words: String,
}

/// A backfill as it is asked for in words, by people and by programs.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    /// A date or a time by the pipeline's clock, or RFC 3339.
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// Empty: as the schedule has it.
    pub(crate) every: &'a str,
    /// Empty: those whose result would be another.
    pub(crate) reprocess: &'a str,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) keep_going: bool,
}

impl Words<'_> {
    /// Reads it.
    pub(crate) fn read(self, clock: &Clock) -> Result<Backfill, FillError> {
        let time = |name: &'static str, text: &str| {
            instant(text, &clock.zone).ok_or_else(|| FillError::NoTime { name, text: text.to_owned() })
        };
        let stretch = Interval { start: time("from", self.from.trim())?, end: time("to", self.to.trim())? };
        let every = self.every.trim();
        Ok(Backfill {
            stretch,
            every: (!every.is_empty()).then(|| every.to_owned()),
            reprocess: if self.reprocess.is_empty() {
                Reprocess::default()
            } else {
                self.reprocess.parse()?
            },
            params: self.params,
            keep_going: self.keep_going,
            words: format!("{} – {}", clock.field(stretch.start), clock.field(stretch.end)).replace('T', " "),
        })
    }
}

/// A backfill whose runs wait.
#[derive(Debug)]
pub(crate) struct Started {
    /// Its runs, the oldest interval first.
    pub(crate) runs: Vec<RunId>,
    /// Whether it had been asked for before, with the same idempotency key.
    pub(crate) existed: bool,
}

/// An interval, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Day {
    pub(crate) interval: Interval,
    pub(crate) would: Would,
    /// Why its result would be another; empty where it would not.
    pub(crate) why: String,
    pub(crate) last: Option<(RunId, RunStatus)>,
    /// A run of it that waits or goes on.
    pub(crate) open: Option<RunId>,
    /// Whether it is made.
    pub(crate) selected: bool,
}

/// Why nothing is filled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FillError {
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    #[error("`{name}` = `{text}` is no date or time")]
    NoTime { name: &'static str, text: String },
    /// Its idempotency key does not do.
    #[error(transparent)]
    Key(#[from] SubmitError),
    #[error("{count} intervals are more than the {PLANNED_MAX} that are planned at once here")]
    TooMany { count: usize },
    #[error(
        "{count} instances of all intervals are more than the {LOOKED_UP_MAX} that are looked up at once here"
    )]
    TooMuch { count: usize },
    #[error("another backfill is being planned")]
    Planning,
    #[error("the pipeline cannot run as asked")]
    Wrong { report: String },
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("none of the intervals has anything to be made")]
    Nothing,
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for FillError {
    fn from(error: ReadError) -> Self {
        Self::Store(error.into())
    }
}

impl FillError {
    /// Says what to do.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Backfill(error) => Some(error.help()),
            Self::NoTime { .. } => {
                Some("write for example `2026-01-31`, or `2026-01-31T06:00:00`".to_owned())
            }
            Self::Planning => Some("one is planned at a time: ask again in a moment".to_owned()),
            Self::TooMany { .. } | Self::TooMuch { .. } => {
                Some("fill a shorter stretch at a time, or use `cairn backfill` at a terminal".to_owned())
            }
            Self::Launch(error) => error.help(),
            Self::Nothing => Some("ask for `all` to have them executed anew".to_owned()),
            Self::Key(_) | Self::Wrong { .. } | Self::LookUp(_) | Self::Store(_) => None,
        }
    }
}

impl Daemon {
    /// Has one backfill planned at a time: it reads much, and the daemon has other things to do.
    fn plans(&self) -> Result<MutexGuard<'_, ()>, FillError> {
        match self.planning.try_lock() {
            Ok(held) => Ok(held),
            Err(TryLockError::Poisoned(held)) => Ok(held.into_inner()),
            Err(TryLockError::WouldBlock) => Err(FillError::Planning),
        }
    }

    /// Finds out what would be done with each interval, by content; nothing is started.
    pub(crate) fn plan_backfill(&self, entry: &Entry, asked: &Backfill) -> Result<Vec<Day>, FillError> {
        let _planning = self.plans()?;
        let (checked, _) = self.checked(entry, asked, None)?;
        let found = intervals(&checked.pipeline, asked.stretch, asked.every.as_deref())?;
        if found.len() > PLANNED_MAX {
            return Err(FillError::TooMany { count: found.len() });
        }
        let count = found.len().saturating_mul(checked.pipeline.instances.len());
        if count > LOOKED_UP_MAX {
            return Err(FillError::TooMuch { count });
        }
        let last = last_runs(&self.store, &entry.located.shown)?;
        let open = self.open_intervals(entry, asked)?;
        let request = request(asked);
        let mut days = Vec::with_capacity(found.len());
        for interval in found {
            let (checked, run) = self.checked(entry, asked, Some(interval))?;
            let selection = selection(&checked, &request, false)?;
            let (store, clock) = (Some(self.store.clone()), Arc::clone(&self.clock));
            let engine = checked
                .engine(store, clock, run, interval.end, HashSet::new(), false)
                .map_err(|source| LaunchError::State { state: self.state.display().to_string(), source })?;
            let predictions = plan(&engine, &checked.graph, &selection.selected, &selection.forced)?;
            let would = Would::of(&predictions);
            let (last, open) = (last.get(&interval).copied(), open.get(&interval).copied());
            let status = last.map(|(_, status)| status);
            days.push(Day {
                interval,
                would,
                // The first instance that is not as it should be tells why.
                why: predictions.iter().find(|one| one.is_stale()).map_or_else(String::new, Prediction::why),
                last,
                open,
                selected: open.is_none() && is_asked(asked.reprocess, would, status),
            });
        }
        Ok(days)
    }

    /// Has a run wait for each interval that is to be made, the oldest first: all of them, or none, are durable when this
    /// returns. An interval that has a run already that waits or goes on gets no second one. With an idempotency key the same
    /// request is taken once, however often it comes.
    pub(crate) fn start_backfill(
        &self,
        entry: &Entry,
        asked: &Backfill,
        key: Option<&str>,
    ) -> Result<Started, FillError> {
        let key = key.map(key_of);
        let _asking = key.map(|key| Asking::begin(&self.asking, key)).transpose()?;
        let fingerprint = fingerprint(entry, asked);
        if let Some(key) = &key
            && let Some(first) = self.asked_before(key, fingerprint)?
        {
            let runs = self.backfill_of(first)?.into_iter().map(|(run, _)| run).collect();
            return Ok(Started { runs, existed: true });
        }
        let days = self.plan_backfill(entry, asked)?;
        let _deciding = lock(&self.deciding);
        // Whoever pressed the button twice planned twice as well.
        let open = self.open_intervals(entry, asked)?;
        let now = self.clock.now();
        let mut batch = Batch::new();
        let mut all = Vec::new();
        for day in days.iter().filter(|day| day.selected && !open.contains_key(&day.interval)) {
            let order = Order {
                pipeline: entry.name.clone(),
                asked: Asked {
                    request: request(asked),
                    keep_going: asked.keep_going,
                    params: asked.params.clone(),
                    interval: Some(day.interval),
                    ..Asked::default()
                },
                logical_time: Some(day.interval.end),
                priority: PRIORITY,
                trigger: Trigger { kind: TriggerKind::Backfill, detail: asked.words.clone() },
                not_before: None,
            };
            let run = RunId::generate(&*self.clock);
            all.push((run, enter(&mut batch, run, entry, &order, now)));
        }
        let Some((first, _)) = all.first() else { return Err(FillError::Nothing) };
        if let Some(key) = &key {
            batch.put_submission(key, &Submission { fingerprint, run: *first, at: now });
        }
        self.commit(batch)?;
        tracing::info!(pipeline = %entry.name, runs = all.len(), stretch = asked.words, "a backfill waits");
        let has_waiting = |(run, waiting)| {
            self.has_waiting(waiting);
            run
        };
        Ok(Started { runs: all.into_iter().map(has_waiting).collect(), existed: false })
    }

    /// Returns the runs of the backfill that a run is part of, the oldest first; none where it is part of none.
    pub(crate) fn backfill_of(&self, run: RunId) -> Result<Vec<(RunId, Ticket)>, ReadError> {
        let Some(first) =
            self.store.ticket(run)?.filter(|ticket| ticket.trigger.kind == TriggerKind::Backfill)
        else {
            return Ok(Vec::new());
        };
        // They were asked for at one moment, and ids are in the order of time.
        let is_one = |ticket: &Ticket| {
            (&ticket.pipeline, &ticket.trigger, ticket.submitted)
                == (&first.pipeline, &first.trigger, first.submitted)
        };
        // An id begins with its milliseconds; a clock may have been set back a little between the two.
        let earliest =
            u64::try_from(first.submitted.0.saturating_sub(CLOCK_STEP_MS)).unwrap_or(0).to_be_bytes();
        let mut found: HashMap<RunId, Ticket> = HashMap::new();
        for (run, ticket) in self.store.open_tickets()? {
            if is_one(&ticket) {
                found.insert(run, ticket);
            }
        }
        for row in self.store.runs_before(None) {
            let (id, _) = row?;
            if id.as_bytes()[..6] < earliest[2..] {
                break;
            }
            if let Some(ticket) = self.store.ticket(id)?.filter(is_one) {
                found.insert(id, ticket);
            }
        }
        let mut found: Vec<(RunId, Ticket)> = found.into_iter().collect();
        found.sort_by_key(|(run, _)| *run);
        Ok(found)
    }

    /// Takes what waits of a backfill from the queue, all of it or nothing, and asks what goes on of it to end. That they are
    /// to end is durable when this returns.
    pub(crate) fn cancel_backfill(&self, runs: &[RunId], why: &str) -> Result<(), SubmitError> {
        let _deciding = lock(&self.deciding);
        // What goes on of one under the keeper is taken over first, and then ended.
        let free: Vec<RunId> = {
            let held = lock(&self.held);
            runs.iter().copied().filter(|run| !held.contains_key(run)).collect()
        };
        let waiting: Vec<Waiting> = {
            let mut queue = self.queue();
            free.into_iter().filter_map(|run| queue.remove(run)).collect()
        };
        let cancelled = self.cancel_all(waiting.iter().map(|waiting| waiting.run), why);
        if let Err(error) = cancelled {
            let mut queue = self.queue();
            for waiting in waiting {
                queue.push(waiting);
            }
            return Err(error.into());
        }
        for waiting in &waiting {
            self.hub.tell(Change::Run { run: waiting.run, pipeline: waiting.pipeline.clone() });
        }
        let ended: HashSet<RunId> = waiting.iter().map(|waiting| waiting.run).collect();
        for run in runs.iter().filter(|run| !ended.contains(run)) {
            match self.cancel_decided(*run, Ending::Gently, why) {
                // It is over.
                Ok(()) | Err(SubmitError::NotNow { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends runs that nobody can begin any more, in one batch.
    fn cancel_all(&self, runs: impl Iterator<Item = RunId>, why: &str) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        for run in runs {
            if let Some(ticket) = self.store.ticket(run)? {
                self.put_cancelled(&mut batch, run, &ticket, why)?;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.commit(batch) }
    }

    /// Returns the intervals of which a run waits or goes on that does what is asked for.
    fn open_intervals(&self, entry: &Entry, asked: &Backfill) -> Result<HashMap<Interval, RunId>, ReadError> {
        let (wanted, params) = (request(asked), given(entry, &asked.params));
        let is_same = |ticket: &Ticket| {
            let of = asked_for(&ticket.selection, &ticket.options, &ticket.params);
            ticket.pipeline == entry.name
                && of.request == wanted
                && !of.frozen
                && !of.rollback
                && given(entry, &of.params) == params
        };
        let open = self.store.open_tickets()?.into_iter().filter(|(_, ticket)| is_same(ticket));
        Ok(open.filter_map(|(run, ticket)| Some((ticket.interval?, run))).collect())
    }

    fn checked(
        &self,
        entry: &Entry,
        asked: &Backfill,
        interval: Option<Interval>,
    ) -> Result<(Checked, RunId), FillError> {
        let run = RunId::generate(&*self.clock);
        let given = Given {
            params: asked.params.clone(),
            logical_time: interval.map_or_else(|| self.clock.now(), |interval| interval.end),
            interval,
            run: Some(run),
        };
        let definition = entry.located.with_text(entry.text.to_vec());
        let checked = definition.check(&given).map_err(|wrong| FillError::Wrong {
            report: wrong.report.render(&wrong.definition.source(), PLAIN),
        })?;
        Ok((checked, run))
    }
}

/// Returns the params that are not given as they are by default.
fn given<'p>(entry: &Entry, params: &'p [(String, String)]) -> BTreeMap<&'p str, &'p str> {
    let is_default =
        |name: &str, value: &str| entry.params.get(name).is_some_and(|default| default.to_string() == value);
    let all = params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, value)| !is_default(name, value)).collect()
}

fn request(asked: &Backfill) -> Request {
    let force = if asked.reprocess == Reprocess::All { Force::All } else { Force::None };
    Request { force, ..Request::default() }
}

/// A digest of all that a request asks for.
fn fingerprint(entry: &Entry, asked: &Backfill) -> Digest {
    // The words follow from the stretch.
    let Backfill { stretch, every, reprocess, params, keep_going, words: _ } = asked;
    let mut parts = vec!["backfill".to_owned(), entry.name.to_string(), reprocess.to_string()];
    parts.push(format!("{} {} {every:?} {keep_going}", stretch.start.0, stretch.end.0));
    for (name, value) in params {
        parts.extend([name.clone(), value.clone()]);
    }
    digest_of(&parts)
}
