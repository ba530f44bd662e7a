//! Records with idempotency keys: read from sources, told apart by key and version, passed through workers, delivered to
//! sinks once.
//!
//! - [`sink`]: where records go: SQLite, PostgreSQL, HTTP, each with what it can promise
//! - [`database`]: whether two SQLite databases hold the same
//!
//! It knows neither TOML nor the store: what was delivered before it is told.

pub mod database;
pub mod sink;
