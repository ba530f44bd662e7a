//! One instance: gather its inputs, look its checkpoint up, run it apart, collect and commit what it made.
//!
//! - [`Engine`]: everything an instance needs, shared by all of a run; [`DiskWorld`]: the disk as the language asks about it
//! - [`gather`]: from declared inputs to a recipe, `answers`: of commands that are inputs; [`lookup`]: from its hash to a
//!   checkpoint, or a reason why not
//! - [`staging`]: the private folder, `spares`: those of ended attempts; [`environment`]: the made-up environment;
//!   [`isolation`]: the process
//! - `records`: stages that pass records on instead of running a command
//! - [`collect`]: what the command made; [`committer`]: the one thread through which results become durable; `ours`: what
//!   may be replaced by them
//! - [`notes`]: what the stage's own commands have remembered
//! - [`attempt`]: these in their order; `effects`: what it does to systems outside; [`recover`]: what a killed run left
//! - [`verify`]: the same command once more, in copies: is it idempotent?
//!
//! What it does not do: decide what runs when, or how often it is tried: that is the scheduler's.

mod answers;
pub mod attempt;
pub mod collect;
pub mod committer;
mod disk_world;
mod effects;
mod engine;
pub mod environment;
mod failures;
mod footprint;
pub mod gather;
mod hint;
pub mod index;
pub mod isolation;
pub mod lookup;
pub mod notes;
mod ours;
mod project;
mod records;
pub mod recover;
mod rows;
mod spares;
pub mod staging;
pub mod verify;

pub use cairn_content::FileError;

pub use attempt::{AttemptError, AttemptErrorKind, Done, Hands, HeldAttempt, Unsaid};
pub use cairn_records::engine::Pause;
pub use committer::{Committer, PublishError};
pub use disk_world::DiskWorld;
pub use effects::UndoError;
pub use engine::{Engine, LookUpError, OnPause, OnRecords, Setup, Verdict, stored_bytes};
pub use project::Project;
pub use records::worker_log;
pub use spares::Spares;
