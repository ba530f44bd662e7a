//! What a `records` stage is told to do: the shared words between the definition, the engine and the sinks.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Command, ProjectPath};

/// A records stage, as its `[stages.NAME.records]` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Path or glob of the source files, relative to the pipeline's folder; always one of the inputs too.
    pub source: String,
    /// How the source is read; `None`: by each file's ending.
    pub format: Option<Format>,
    /// Fields of the idempotency key, nested ones by dots (`customer.id`); empty: a digest of the record.
    pub key: Vec<FieldPath>,
    /// The field that orders records of one key: the greatest wins.
    pub version: Option<FieldPath>,
    /// A field which, when it is neither false, null, 0 nor empty, has the record deleted from the sinks.
    pub tombstone: Option<FieldPath>,
    /// The long-lived process that transforms records; `None`: they pass as they are.
    pub worker: Option<Command>,
    /// How many workers run at once, at least 1.
    pub workers: u32,
    /// How long a worker may take for one record, in milliseconds.
    pub worker_timeout_ms: u64,
    /// The most records of one delivery, at least 1; `None`: as many as is quickest.
    pub batch: Option<u32>,
    /// What happens to records that were delivered when the worker, its code or its environment changes.
    pub on_change: OnChange,
    /// How a record that failed is tried again.
    pub retries: RecordRetries,
    /// Whether several PostgreSQL sinks commit together.
    pub commit: CommitMode,
    /// Where records go, at least one.
    pub sinks: Vec<Sink>,
}

/// A field of a record: the names from the outermost in, at least one, none empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FieldPath(pub Vec<String>);

impl FieldPath {
    /// Reads `a.b.c`; `None` when a name is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        names.iter().all(|name| !name.is_empty()).then_some(Self(names))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// The form of a source or of a file sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header line.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Returns the word that stands in a pipeline file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

/// What a change of the worker does to records that were delivered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnChange {
    /// All go through the worker again; those whose result is the same are not delivered again.
    Reprocess,
    /// They stay as they are; only new and changed records see the new worker.
    Keep,
}

/// How a record that failed is tried again: the pause before try `n + 1` is drawn from 0 to
/// `min(max_delay, delay · 2ⁿ⁻¹)`, or is `delay` when constant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRetries {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// The first pause, in milliseconds.
    pub delay_ms: u64,
    /// Whether pauses double.
    pub exponential: bool,
    /// The longest pause, in milliseconds.
    pub max_delay_ms: u64,
    /// Whether a pause is drawn from 0 to what the above gives.
    pub jitter: bool,
}

impl Default for RecordRetries {
    fn default() -> Self {
        Self { attempts: 3, delay_ms: 1_000, exponential: true, max_delay_ms: 60_000, jitter: true }
    }
}

/// How several sinks commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitMode {
    /// Each by itself, one after the other; each keeps its ledger.
    Each,
    /// All or none, by `PREPARE TRANSACTION`.
    TwoPhase,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sink {
    /// Where it is.
    pub place: SinkPlace,
    /// What happens to a key that the sink already has.
    pub mode: SinkMode,
    /// Fields that are unique in the sink; empty: those of [`Records::key`].
    pub key: Vec<FieldPath>,
    /// Types of columns by name, in the sink's own words, where they are not taken from the table or the records.
    pub columns: BTreeMap<String, String>,
}

/// Where a sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkPlace {
    /// A file of records that is an output of the stage.
    File {
        /// The output.
        path: ProjectPath,
        /// Its form.
        format: Format,
    },
    /// A table of a SQLite file.
    Sqlite {
        /// The file, relative to the pipeline's folder.
        path: Address,
        /// The table.
        table: String,
    },
    /// A table of a PostgreSQL server.
    Postgres {
        /// A connection URL.
        url: Address,
        /// The table, with its schema before a dot where it is not the default one.
        table: String,
    },
    /// An HTTP endpoint.
    Http {
        /// Where requests go.
        url: Address,
        /// `POST`, `PUT` or `PATCH`.
        method: String,
        /// Whether a request carries an array of up to `batch` records, not one record.
        batched: bool,
        /// Headers of each request.
        headers: BTreeMap<String, Address>,
    },
}

impl SinkPlace {
    /// Returns whether it is a file that is an output of the stage.
    pub const fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Returns the word that stands in a pipeline file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::File { format, .. } => format.as_str(),
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres { .. } => "postgres",
            Self::Http { .. } => "http",
        }
    }
}

/// A text in which `${NAME}` stands for a variable of the caller's environment, so that neither the store nor an
/// input-hash ever holds a password. It is filled in when the sink is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(pub String);

impl Address {
    /// Returns the text with its variables filled in, or the name of the first one that is not set.
    pub fn fill(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut filled = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                filled.push_str("${");
                rest = after;
                continue;
            };
            filled.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a key that the sink already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SinkMode {
    /// The newer record takes its place.
    Upsert,
    /// The first one stays.
    Insert,
    /// Each version of each key is one more row.
    Append,
}

impl SinkMode {
    /// Returns the word that stands in a pipeline file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Insert => "insert",
            Self::Append => "append",
        }
    }
}

/// The records of a stage by what became of them: disjoint, so that they add up to what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RecordCounts {
    /// Records read from the source, bad ones included.
    pub read: u64,
    /// Keys never delivered before, delivered.
    pub new: u64,
    /// Keys delivered before with other content, delivered.
    pub changed: u64,
    /// What the sinks already have.
    pub same: u64,
    /// Older than another record of the same key, in this source or seen before.
    pub late: u64,
    /// The worker said that they lead to nothing.
    pub dropped: u64,
    /// Failed, to be tried again. A run that went to its end has none: it tries each until it is delivered or dead.
    pub retrying: u64,
    /// Failed for good: dead letters.
    pub dead: u64,
}

impl RecordCounts {
    /// Returns how many were delivered.
    pub const fn delivered(&self) -> u64 {
        self.new + self.changed
    }

    /// Says in a line what became of them: "1200 new, 3 changed, 2 dead".
    pub fn text(&self) -> String {
        let Self { read, new, changed, same, late, dropped, retrying, dead } = *self;
        let named = [
            (new, "new"),
            (changed, "changed"),
            (same, "same"),
            (late, "late"),
            (dropped, "dropped"),
            (retrying, "retrying"),
            (dead, "dead"),
        ];
        let shown: Vec<String> = named
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        if shown.is_empty() { format!("{read} records") } else { shown.join(", ") }
    }

    /// Says in a line how far it is: "1200 read · 1000 new, 3 changed".
    pub fn progress(&self) -> String {
        let decided = Self { read: 0, ..*self };
        if decided == Self::default() {
            format!("{} read", self.read)
        } else {
            format!("{} read · {}", self.read, self.text())
        }
    }

    /// Returns how many are in one of the sets: of those that were read, the rest is still on its way.
    pub const fn decided(&self) -> u64 {
        let Self { read: _, new, changed, same, late, dropped, retrying, dead } = *self;
        new + changed + same + late + dropped + retrying + dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_filled_from_the_environment() {
        let variable = |name: &str| (name == "USER").then(|| "ada".to_owned());
        let fill = |text: &str| Address(text.to_owned()).fill(&variable);
        assert_eq!(fill("postgres://${USER}@h/d").as_deref(), Ok("postgres://ada@h/d"));
        assert_eq!(fill("a${").as_deref(), Ok("a${"));
        assert_eq!(fill("${PASSWORD}"), Err("PASSWORD".to_owned()));
    }
}
