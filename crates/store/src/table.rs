//! The families, one a file: what can be read from each, and what a batch does to it.

mod attempts;
pub(crate) mod checkpoints;
mod effects;
mod events;
mod file_rows;
mod instances;
mod placed;
mod runs;

pub use runs::FindRunError;
