//! What the other commands print.

use serde::Serialize;

use super::event::Outcomes;

/// `cairn.finding/1`: something that `check` found.
#[derive(Debug, Serialize)]
pub(crate) struct Finding<'a> {
    pub(crate) schema: &'static str,
    pub(crate) file: &'a str,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u32>,
    /// From 1, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<u32>,
    /// `error` or `warning`.
    pub(crate) severity: &'static str,
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
    pub(crate) spans: Vec<Span<'a>>,
    pub(crate) notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edit: Option<Edit<'a>>,
}

impl Finding<'_> {
    pub(crate) const SCHEMA: &'static str = "cairn.finding/1";
}

/// A marked part of a file, in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Span<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) text: &'a str,
    pub(crate) primary: bool,
}

/// The edit that mends a fault, in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Edit<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) replacement: &'a str,
}

/// `cairn.check/1`: the last line of `check`.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) schema: &'static str,
    pub(crate) pipelines: usize,
    pub(crate) stages: usize,
    pub(crate) instances: usize,
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
}

impl Check {
    pub(crate) const SCHEMA: &'static str = "cairn.check/1";
}

/// `cairn.run/1`: a run, as `runs` and `show` print it.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys are public: `run` is the run's id in every shape")]
pub(crate) struct Run {
    pub(crate) schema: &'static str,
    pub(crate) run: String,
    pub(crate) pipeline: String,
    pub(crate) file: String,
    /// `running`, `cut off`, `succeeded`, `failed`, `interrupted` or `frozen`.
    pub(crate) status: &'static str,
    pub(crate) started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<u64>,
    pub(crate) saved_ms: u64,
    pub(crate) outcomes: Outcomes,
    pub(crate) params: std::collections::BTreeMap<String, String>,
    pub(crate) selection: Vec<String>,
    pub(crate) logical_time: String,
    /// What it is about, where it is about a stretch of time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval_end: Option<String>,
    pub(crate) definition: String,
    pub(crate) command_line: Vec<String>,
    pub(crate) cairn_version: String,
}

impl Run {
    pub(crate) const SCHEMA: &'static str = "cairn.run/1";
}

/// `cairn.instance/1`: what became of an instance in a run.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys are public: `instance` is its name in every shape")]
pub(crate) struct Instance {
    pub(crate) schema: &'static str,
    pub(crate) run: String,
    pub(crate) instance: String,
    pub(crate) stage: String,
    /// An outcome, or `running`, `retrying`, `waiting`.
    pub(crate) state: &'static str,
    pub(crate) reason: String,
    pub(crate) attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) took_ms: Option<u64>,
    pub(crate) saved_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<String>,
    /// What was made, by `show RUN STAGE` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<Checkpoint>,
}

impl Instance {
    pub(crate) const SCHEMA: &'static str = "cairn.instance/1";
}

/// The result under an input-hash.
#[derive(Debug, Serialize)]
pub(crate) struct Checkpoint {
    pub(crate) made_by_run: String,
    pub(crate) made_by_attempt: u32,
    pub(crate) finished: String,
    pub(crate) took_ms: u64,
    pub(crate) user_ms: u64,
    pub(crate) sys_ms: u64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) sandbox: &'static str,
    /// Why it no longer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) demoted: Option<String>,
    pub(crate) command: Vec<String>,
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<OutputFile>,
}

/// An input as it was.
#[derive(Debug, Serialize)]
pub(crate) struct Input {
    /// Empty in a list.
    pub(crate) name: String,
    /// Its path, variable or command.
    pub(crate) subject: String,
    /// `file`, `folder`, `missing`, `env` or `command`.
    pub(crate) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// A variable's value, or what a command printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

/// An output as it was made.
#[derive(Debug, Serialize)]
pub(crate) struct OutputFile {
    pub(crate) path: String,
    /// `file` or `folder`.
    pub(crate) kind: &'static str,
    pub(crate) digest: String,
    pub(crate) bytes: u64,
}

/// `cairn.log/1`: a piece of what a command printed, as it was read from it.
#[derive(Debug, Serialize)]
pub(crate) struct LogPiece<'a> {
    pub(crate) schema: &'static str,
    pub(crate) run: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) attempt: u32,
    pub(crate) at: String,
    /// `stdout`, `stderr`, `mark` (by cairn, where something is missing) or `unknown`.
    pub(crate) stream: &'static str,
    /// Bytes that are not UTF-8 are replaced by U+FFFD.
    pub(crate) text: String,
}

impl LogPiece<'_> {
    pub(crate) const SCHEMA: &'static str = "cairn.log/1";
}

/// `cairn.status/1`: how a pipeline stands.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    pub(crate) schema: &'static str,
    pub(crate) pipeline: String,
    pub(crate) file: String,
    /// Its last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_run: Option<Run>,
    /// Instances that failed in it.
    pub(crate) failed: Vec<String>,
    /// Instances that would be executed or put back now.
    pub(crate) stale: Vec<String>,
    /// Those of them of whose effect nobody can say whether it took place.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) in_doubt: Vec<String>,
    /// Those of them whose effect is not as it was left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) drifted: Vec<String>,
    /// Its dead letters, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dead: Option<DeadCounts>,
}

impl Status {
    pub(crate) const SCHEMA: &'static str = "cairn.status/1";
}

/// `cairn.graph/1`: a pipeline's stages in the order in which they can run.
#[derive(Debug, Serialize)]
pub(crate) struct Graph {
    pub(crate) schema: &'static str,
    pub(crate) pipeline: String,
    pub(crate) nodes: Vec<Node>,
}

impl Graph {
    pub(crate) const SCHEMA: &'static str = "cairn.graph/1";
}

/// A stage.
#[derive(Debug, Serialize)]
pub(crate) struct Node {
    pub(crate) stage: String,
    pub(crate) description: String,
    pub(crate) instances: usize,
    /// Stages it waits for directly.
    pub(crate) needs: Vec<String>,
    /// Its instances by outcome in the pipeline's last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcomes: Option<Outcomes>,
}

/// `cairn.dead/1`: a dead letter.
#[derive(Debug, Serialize)]
pub(crate) struct Dead {
    pub(crate) schema: &'static str,
    pub(crate) id: String,
    /// `record`, `rejected` or `instance`.
    pub(crate) kind: &'static str,
    pub(crate) pipeline: String,
    pub(crate) stage: String,
    pub(crate) instance: String,
    pub(crate) key: String,
    /// The record as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<String>,
    /// Its bytes in hexadecimal digits, where it is no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payload_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    pub(crate) class: String,
    pub(crate) error: String,
    pub(crate) attempts: Vec<DeadAttempt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input_hash: Option<String>,
    pub(crate) run: String,
    pub(crate) idempotency_key: String,
    pub(crate) died: String,
    /// When it was asked that the next run takes it in again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_asked: Option<String>,
    /// The record as it is taken in again, where it was edited; it stays when it died once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) edited: Option<String>,
    /// How often the daemon had it tried again by itself.
    pub(crate) retries: u32,
}

impl Dead {
    pub(crate) const SCHEMA: &'static str = "cairn.dead/1";
}

/// One try of what is a dead letter now.
#[derive(Debug, Serialize)]
pub(crate) struct DeadAttempt {
    pub(crate) at: String,
    pub(crate) error: String,
}

/// `cairn.dead_retry/1`: what `dead retry` did with a dead letter.
#[derive(Debug, Serialize)]
pub(crate) struct DeadRetry {
    pub(crate) schema: &'static str,
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    /// Whether the next run takes it in again.
    pub(crate) taken_in: bool,
    pub(crate) edited: bool,
    /// What runs it again, where it is not taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<String>,
}

impl DeadRetry {
    pub(crate) const SCHEMA: &'static str = "cairn.dead_retry/1";
}

/// `cairn.dead_drop/1`: a dead letter that was dropped.
#[derive(Debug, Serialize)]
pub(crate) struct DeadDrop {
    pub(crate) schema: &'static str,
    pub(crate) id: String,
}

impl DeadDrop {
    pub(crate) const SCHEMA: &'static str = "cairn.dead_drop/1";
}

/// `cairn.dead_counts/1`: the last line of a run that leaves dead records; within `cairn.status/1` without `schema`.
#[derive(Debug, Serialize)]
pub(crate) struct DeadCounts {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema: Option<&'static str>,
    pub(crate) records: u64,
    pub(crate) rejected: u64,
    pub(crate) instances: u64,
}

impl DeadCounts {
    pub(crate) const SCHEMA: &'static str = "cairn.dead_counts/1";
}

impl From<cairn_store::DeadCounts> for DeadCounts {
    fn from(counts: cairn_store::DeadCounts) -> Self {
        let cairn_store::DeadCounts { records, rejected, instances } = counts;
        Self { schema: None, records, rejected, instances }
    }
}
