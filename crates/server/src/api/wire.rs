//! JSON types of the API: apart from the program's own, so that a change inside does not change them.
//!
//! Times are RFC 3339 in UTC, durations whole milliseconds in keys that end with `_ms`. Keys without a value are left out.

use cairn_model::{Counts, RunId, RunStatus, Timestamp};
use cairn_scheduler::launch::interval_of;
use cairn_store::{RunRecord, Ticket, TicketStage};
use serde::Serialize;
use utoipa::ToSchema;

/// Writes a time, always with its milliseconds: so texts sort as times do.
pub(crate) fn time(timestamp: Timestamp) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(timestamp.0).unwrap_or_default())
}

/// Instances by outcome.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Outcomes {
    pub(crate) ran: u32,
    pub(crate) restored: u32,
    pub(crate) fresh: u32,
    pub(crate) failed: u32,
    pub(crate) blocked: u32,
    pub(crate) in_doubt: u32,
}

impl From<Counts> for Outcomes {
    fn from(counts: Counts) -> Self {
        let Counts { ran, restored, fresh, failed, blocked, in_doubt } = counts;
        Self { ran, restored, fresh, failed, blocked, in_doubt }
    }
}

/// Why there is a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Trigger {
    /// `hand`, `api`, `schedule`, `sensor`, `after` or `backfill`.
    pub(crate) kind: &'static str,
    /// More about that; empty where there is no more to say.
    pub(crate) detail: String,
}

/// A stretch of time, without its end.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Interval {
    pub(crate) start: String,
    pub(crate) end: String,
}

impl From<cairn_model::Interval> for Interval {
    fn from(interval: cairn_model::Interval) -> Self {
        Self { start: time(interval.start), end: time(interval.end) }
    }
}

/// A run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Run {
    /// Its id, a UUID of version 7.
    pub(crate) id: String,
    /// What people type of it.
    pub(crate) short: String,
    pub(crate) pipeline: String,
    /// The pipeline's file, relative to the project.
    pub(crate) file: String,
    /// `queued`, `running`, `succeeded`, `failed`, `interrupted`, `frozen` or `in doubt`.
    pub(crate) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<Trigger>,
    pub(crate) params: std::collections::BTreeMap<String, String>,
    pub(crate) logical_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) submitted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcomes: Option<Outcomes>,
    /// Time that checkpoints saved.
    pub(crate) saved_ms: u64,
    /// Why it could not even begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Why it was asked to end, since it was last asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<String>,
}

/// The words for how a run stands.
pub(crate) const STATUSES: [&str; 7] =
    ["queued", "running", "succeeded", "failed", "interrupted", "frozen", "in doubt"];

/// The word for how a run stands.
pub(crate) fn status_word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running",
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed => "failed",
        RunStatus::Interrupted => "interrupted",
        RunStatus::Frozen => "frozen",
        RunStatus::InDoubt => "in doubt",
    }
}

/// The word for how a run stands, by what is known of it.
pub(crate) fn standing_word(record: Option<&RunRecord>, ticket: Option<&Ticket>) -> &'static str {
    match record {
        _ if ticket.is_some_and(|ticket| ticket.stage == TicketStage::Queued) => "queued",
        None => "running",
        Some(record) => status_word(record.status),
    }
}

impl Run {
    /// Describes a run by what is known of it: its ticket, its record, or both.
    pub(crate) fn of(id: RunId, record: Option<&RunRecord>, ticket: Option<&Ticket>) -> Option<Self> {
        let (pipeline, file, params, logical_time) = match (record, ticket) {
            (Some(record), _) => (&record.pipeline, &record.file, &record.params, record.logical_time),
            (None, Some(ticket)) => (&ticket.pipeline, &ticket.file, &ticket.params, ticket.logical_time),
            (None, None) => return None,
        };
        Some(Self {
            id: id.to_string(),
            short: id.short(),
            pipeline: pipeline.to_string(),
            file: file.clone(),
            status: standing_word(record, ticket),
            trigger: ticket.map(|ticket| Trigger {
                kind: ticket.trigger.kind.as_str(),
                detail: ticket.trigger.detail.clone(),
            }),
            params: params.iter().cloned().collect(),
            logical_time: time(logical_time),
            interval: ticket
                .and_then(|ticket| ticket.interval)
                // One that was started by hand has no ticket.
                .or_else(|| interval_of(&record?.selection))
                .map(Interval::from),
            submitted: ticket.map(|ticket| time(ticket.submitted)),
            started: record.map(|record| time(record.started)),
            ended: record.and_then(|record| record.ended).map(time),
            took_ms: record.and_then(|record| Some(record.ended?.millis_since(record.started))),
            outcomes: record.map(|record| record.counts.into()),
            saved_ms: record.map_or(0, |record| record.saved_ms),
            error: ticket.and_then(|ticket| ticket.error.clone()),
            cancelled: ticket.and_then(|ticket| ticket.cancel.clone()),
        })
    }
}
