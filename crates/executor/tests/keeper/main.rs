//! The keeper with real processes. The keeper and, where it is to be killed, its caller are `examples/keeper.rs`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod death;
mod end;
mod outliving;
mod output;
mod start;
mod strays;
mod support;
