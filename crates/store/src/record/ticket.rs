//! A run that the daemon was asked for.

use cairn_model::{Digest, Interval, Name, Timestamp, TraceParent};

use super::run::{RunOptions, v1 as run_v1};
use super::{Damage, Record, from_postcard, names, to_postcard, trace};

/// What a run that was asked for is to do, who asked, and how far it has come. It goes by the id of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The pipeline.
    pub pipeline: Name,
    /// Its file, relative to the project.
    pub file: String,
    /// Digest of the definition's text as it was when the run was asked for.
    pub definition: Digest,
    /// Params that were given.
    pub params: Vec<(String, String)>,
    /// Words that say which stages, as in a run's record.
    pub selection: Vec<String>,
    /// How it is to run; 0 jobs: as many as there are processors.
    pub options: RunOptions,
    /// The span that it was asked for in, of another program's trace.
    pub caller: Option<TraceParent>,
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// The stretch of time that it is about, where it has one.
    pub interval: Option<Interval>,
    /// Those with a greater one go first.
    pub priority: i64,
    /// Why there is this run.
    pub trigger: Trigger,
    /// When it was asked for.
    pub submitted: Timestamp,
    /// It does not start before.
    pub not_before: Option<Timestamp>,
    /// How often the run was tried before by itself.
    pub retries: u32,
    /// How far it has come.
    pub stage: TicketStage,
    /// Why it could not even begin, or was taken from the queue.
    pub error: Option<String>,
    /// Why it is to end, where somebody asked for that: it counts under the next daemon as well.
    pub cancel: Option<String>,
}

/// Why there is a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// What asked for it.
    pub kind: TriggerKind,
    /// More about that: the schedule's time, a sensor's name, the pipeline before it.
    pub detail: String,
}

/// What asked for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TriggerKind {
    /// A person at a terminal, or on a page.
    Hand,
    /// A program, by the API.
    Api,
    /// Its schedule.
    Schedule,
    /// A sensor.
    Sensor,
    /// The pipeline that it follows.
    After,
    /// A backfill.
    Backfill,
    /// The schedule's `retry_dead`.
    Retry,
    /// The schedule's `check_drift`.
    Drift,
}

impl TriggerKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Hand,
        Self::Api,
        Self::Schedule,
        Self::Sensor,
        Self::After,
        Self::Backfill,
        Self::Retry,
        Self::Drift,
    ];

    /// Returns the word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hand => "hand",
            Self::Api => "api",
            Self::Schedule => "schedule",
            Self::Sensor => "sensor",
            Self::After => "after",
            Self::Backfill => "backfill",
            Self::Retry => "retry",
            Self::Drift => "drift",
        }
    }
}

/// How far a run that was asked for has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketStage {
    /// It waits for its turn.
    Queued,
    /// It was begun.
    Running,
    /// It is over: its record says how it ended.
    Ended,
}

mod v1 {
    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{Digest, Timestamp};
    use crate::record::run::v1::RunOptions;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Ticket {
        pub(super) pipeline: String,
        pub(super) file: String,
        pub(super) definition: Digest,
        pub(super) params: Vec<(String, String)>,
        pub(super) selection: Vec<String>,
        pub(super) options: RunOptions,
        pub(super) logical_time: Timestamp,
        pub(super) interval: Option<(Timestamp, Timestamp)>,
        pub(super) priority: i64,
        pub(super) trigger: Trigger,
        pub(super) detail: String,
        pub(super) submitted: Timestamp,
        pub(super) not_before: Option<Timestamp>,
        pub(super) retries: u32,
        pub(super) stage: Stage,
        pub(super) error: Option<String>,
        pub(super) cancel: Option<String>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Trigger {
        Hand,
        Api,
        Schedule,
        Sensor,
        After,
        Backfill,
        /// Since the store's version 4, as is what comes after it.
        Retry,
        Drift,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) enum Stage {
        Queued,
        Running,
        Ended,
    }
}

mod v2 {
    use serde::{Deserialize, Serialize};

    use super::v1;
    use crate::record::trace::v1::TraceParent;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Ticket {
        pub(super) before: v1::Ticket,
        pub(super) caller: Option<TraceParent>,
    }
}

impl Record for Ticket {
    const VERSION: u8 = 2;

    fn body(&self) -> Vec<u8> {
        let before = v1::Ticket {
            pipeline: self.pipeline.to_string(),
            file: self.file.clone(),
            definition: *self.definition.as_bytes(),
            params: self.params.clone(),
            selection: self.selection.clone(),
            options: run_v1::RunOptions::from(&self.options),
            logical_time: self.logical_time.0,
            interval: self.interval.map(|interval| (interval.start.0, interval.end.0)),
            priority: self.priority,
            trigger: match self.trigger.kind {
                TriggerKind::Hand => v1::Trigger::Hand,
                TriggerKind::Api => v1::Trigger::Api,
                TriggerKind::Schedule => v1::Trigger::Schedule,
                TriggerKind::Sensor => v1::Trigger::Sensor,
                TriggerKind::After => v1::Trigger::After,
                TriggerKind::Backfill => v1::Trigger::Backfill,
                TriggerKind::Retry => v1::Trigger::Retry,
                TriggerKind::Drift => v1::Trigger::Drift,
            },
            detail: self.trigger.detail.clone(),
            submitted: self.submitted.0,
            not_before: self.not_before.map(|time| time.0),
            retries: self.retries,
            stage: match self.stage {
                TicketStage::Queued => v1::Stage::Queued,
                TicketStage::Running => v1::Stage::Running,
                TicketStage::Ended => v1::Stage::Ended,
            },
            error: self.error.clone(),
            cancel: self.cancel.clone(),
        };
        to_postcard(&v2::Ticket { before, caller: self.caller.map(Into::into) })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        match version {
            1 => from_postcard::<v1::Ticket>(body)?.try_into(),
            2 => {
                let v2::Ticket { before, caller } = from_postcard(body)?;
                let caller = caller.map(TryInto::try_into).transpose()?;
                Ok(Self { caller, ..before.try_into()? })
            }
            version => Err(Damage::Version { version }),
        }
    }
}

impl TryFrom<v1::Ticket> for Ticket {
    type Error = Damage;

    fn try_from(mut stored: v1::Ticket) -> Result<Self, Damage> {
        let caller = trace::taken_from(&mut stored.selection);
        Ok(Self {
            pipeline: names::name(&stored.pipeline)?,
            file: stored.file,
            definition: Digest::from_bytes(stored.definition),
            params: stored.params,
            selection: stored.selection,
            options: stored.options.into(),
            caller,
            logical_time: Timestamp(stored.logical_time),
            interval: stored
                .interval
                .map(|(start, end)| Interval { start: Timestamp(start), end: Timestamp(end) }),
            priority: stored.priority,
            trigger: Trigger {
                kind: match stored.trigger {
                    v1::Trigger::Hand => TriggerKind::Hand,
                    v1::Trigger::Api => TriggerKind::Api,
                    v1::Trigger::Schedule => TriggerKind::Schedule,
                    v1::Trigger::Sensor => TriggerKind::Sensor,
                    v1::Trigger::After => TriggerKind::After,
                    v1::Trigger::Backfill => TriggerKind::Backfill,
                    v1::Trigger::Retry => TriggerKind::Retry,
                    v1::Trigger::Drift => TriggerKind::Drift,
                },
                detail: stored.detail,
            },
            submitted: Timestamp(stored.submitted),
            not_before: stored.not_before.map(Timestamp),
            retries: stored.retries,
            stage: match stored.stage {
                v1::Stage::Queued => TicketStage::Queued,
                v1::Stage::Running => TicketStage::Running,
                v1::Stage::Ended => TicketStage::Ended,
            },
            error: stored.error,
            cancel: stored.cancel,
        })
    }
}
