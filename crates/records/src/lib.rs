//! Records with idempotency keys: read from sources, told apart by key and version, passed through workers, delivered to
//! sinks once.
//!
//! - [`sink`]: where records go: SQLite, PostgreSQL, HTTP, each with what it can promise
//!
//! It knows neither TOML nor the store: what was delivered before it is told.

pub mod sink;
