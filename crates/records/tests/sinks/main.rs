//! The sinks outside of cairn's own files, each against a real one.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

mod http;
mod postgres;
mod proxy;
mod sqlite;
mod support;
