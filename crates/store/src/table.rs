//! The families, one a file: what can be read from each, and what a batch does to it.

mod attempts;
pub(crate) mod checkpoints;
mod dead;
mod effects;
mod events;
mod file_rows;
mod instances;
mod notes;
mod outbox;
mod placed;
mod records;
mod runs;
mod schedules;
mod tickets;

pub use dead::{DeadCounts, DeadOf, FindDeadError};
pub use notes::NoteKey;
pub use records::RecordsOf;
pub use runs::FindRunError;
