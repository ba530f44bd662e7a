//! The checkpoint store on RocksDB: keys, records, batches, format and lock.

mod batch;
mod commit;
mod error;
mod process;
mod record;
mod store;

pub use batch::Batch;
pub use commit::{CommitError, Committed, Durability};
pub use error::{FindRunError, Holder, OpenError, ReadError};
pub use process::ProcessId;
pub use record::{
    Attempt, Checkpoint, Demoted, Exit, FileKey, FileRow, Force, LogRef, Placed, PlacedFile, RunOptions, RunRecord,
    Stamp,
};
pub use store::{Access, Head, Store};
