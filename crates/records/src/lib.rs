//! Records with idempotency keys: read from sources, told apart by key and version, passed through workers, delivered to
//! sinks once.
//!
//! - [`source`]: where records come from: JSON Lines, CSV, Parquet, one at a time
//! - [`fields`]: what a record says about itself: key, version, tombstone, digest
//! - [`order`]: which of two versions is the newer
//! - [`file_sink`]: records written to a file that is an output of the stage
//! - [`engine`]: a records stage from its source to its sinks
//! - [`ledger`]: what it needs to have kept between runs, and [`state`]: in which form
//! - [`sink`]: where records go: SQLite, PostgreSQL, HTTP, each with what it can promise
//! - [`rehearsal`]: loads that are only rehearsed, and compared
//! - [`database`]: whether two SQLite databases hold the same
//!
//! It knows neither TOML nor the store: what was delivered before it is told.

pub mod database;
pub mod engine;
pub mod fields;
pub mod file_sink;
pub mod ledger;
mod object;
pub mod order;
pub mod rehearsal;
mod scan;
pub mod sink;
pub mod source;
pub mod state;
