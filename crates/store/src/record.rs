//! What is stored.

mod attempt;
mod checkpoint;
mod file_row;
mod placed;
mod run;

pub use attempt::Attempt;
pub use checkpoint::{Checkpoint, Demoted, Exit, LogRef};
pub use file_row::{FileKey, FileRow, Stamp};
pub use placed::{Placed, PlacedFile};
pub use run::{Force, RunOptions, RunRecord};
