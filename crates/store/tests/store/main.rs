//! Promises of the store, tested from outside on real folders.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test that fails says where")]

mod sample;

mod access;
mod commits;
mod crash;
mod daemon;
mod damage;
mod failing_disk;
mod format;
mod golden;
mod lock;
mod model;
mod reach;
