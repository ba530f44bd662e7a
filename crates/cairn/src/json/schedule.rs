//! What the commands about logical time print.

use serde::Serialize;

/// `cairn.occurrence/1`: a time of a schedule; times are by the clock of its zone.
#[derive(Debug, Serialize)]
pub(crate) struct Occurrence {
    pub(crate) schema: &'static str,
    pub(crate) id: String,
    pub(crate) nominal: String,
    /// The nominal time and its jitter.
    pub(crate) fires_at: String,
    pub(crate) interval_start: String,
    pub(crate) interval_end: String,
}

impl Occurrence {
    pub(crate) const SCHEMA: &'static str = "cairn.occurrence/1";
}

/// `cairn.backfill/1`: what a backfill would do, or did, with an interval.
#[derive(Debug, Serialize)]
pub(crate) struct Backfill {
    pub(crate) schema: &'static str,
    pub(crate) interval_start: String,
    pub(crate) interval_end: String,
    /// What a run would do: `RUN`, `RESTORE`, `FRESH`, `FAIL`.
    pub(crate) plan: &'static str,
    /// Instances that would be executed.
    pub(crate) would_run: usize,
    /// How the last run of the interval stands, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// Whether it is among those to be made.
    pub(crate) selected: bool,
    /// The run that was made for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<String>,
    /// How that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
}

impl Backfill {
    pub(crate) const SCHEMA: &'static str = "cairn.backfill/1";
}
