//! The words of cairn, shared by all its crates: no I/O, nothing async, nothing that waits.
//!
//! - what is computed: [`Recipe`], whose digest is the [`InputHash`]; [`Manifest`], the outputs an execution made
//! - what happens: [`Event`], [`InstanceEvent`], and the [`State`] folded from them, up to an [`Outcome`]
//! - what things are called: [`Name`], [`InstanceName`], [`ProjectPath`], [`RunId`], [`AttemptId`], [`Digest`]
//! - where a run is in a trace: [`RunTrace`]
//! - time: [`Clock`]; when pipelines run by themselves: [`Schedule`], [`Cron`], [`Occurrence`]
//!
//! What it does not do: read a file, ask the system (but for [`SystemClock`]), know TOML, a database or a process.

mod canonical;
mod clock;
mod cron;
mod digest;
mod effect;
mod event;
mod id;
mod level;
mod manifest;
mod name;
mod occurrence;
mod path;
mod recipe;
mod records;
mod schedule;
mod state;
mod trace;

pub use canonical::{DecodeError, Encoder, Part, Value, decode};
pub use clock::{Clock, FixedClock, SystemClock, Timestamp};
pub use cron::{Cron, CronError, CronFault, Nth};
pub use digest::{Digest, DigestError, Domain};
pub use effect::{EffectMode, EffectState};
pub use event::{AttemptId, Counts, Event, RunEvent, RunStatus};
pub use id::{RunId, RunIdError};
pub use level::Level;
pub use manifest::{Content, EntryKind, FileContent, Manifest, Output, Tree, TreeEntry};
pub use name::{InstanceName, Name, NameError};
pub use occurrence::{DropReason, Occurrence, OccurrenceId};
pub use path::{PathError, ProjectPath};
pub use recipe::{
    Command, Difference, InputHash, InputKey, KEY_VERSION, OutputKind, Recipe, RecipeInput, differences,
};
pub use records::{
    Address, CommitMode, FieldPath, Format, OnChange, RecordCounts, RecordRetries, Records, Sink, SinkMode,
    SinkPlace,
};
pub use schedule::{Catchup, Interval, Overlap, RunRetries, Schedule, Sensor, SensorKind, Trigger};
pub use state::{Blocker, IllegalEvent, InstanceEvent, Outcome, Reason, State};
pub use trace::{RunTrace, SpanId, TraceParent, TraceParentError};
