//! The API as its clients see it: the router over a real daemon on a temporary project, asked without a network.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#![allow(clippy::disallowed_methods, reason = "tests break what the program must not")]

mod backfills;
mod bad_input;
mod daemon;
mod gate;
mod letters;
mod listing;
mod looking;
mod runs;
mod streams;
mod submit;
mod sweeps;
mod telling;
