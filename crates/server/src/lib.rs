//! Many runs: the daemon with its queue, its schedules, its API and its pages.
//!
//! - [`Daemon`]: the process that holds a project's store and runs its pipelines; [`Setup`]: what it is made of
//! - `sensors`: what starts a run when something outside has changed; `trouble`: what is in their way
//! - `sweeps`: dead letters that are tried again, effects that are asked after
//! - `fire`: which times of schedules become runs; `watch`: files that change
//! - [`catalog`]: the pipelines, read from their files; [`queue`]: which run begins next; [`hub`]: who looks is told
//! - [`api`]: what programs ask and are answered; `web`: the pages for people
//! - [`submit`]: asking for a run; `backfill`: for many, one an interval; `carry_out`: from its turn to its end; `settle`: what follows from that
//! - [`notify`], [`lineage`]: what is told outside of runs; [`mail`]: by mail; `outbox`: until it has been; `metrics`: what Prometheus is told
//! - `letters`: what people decide about dead letters and effects; `undo`: effects, undone
//!
//! What it does not do: decide what of a run is executed, which is the scheduler's, or open the store.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails where it should"))]

pub mod api;
mod backfill;
mod carry_out;
pub mod catalog;
mod crowd;
mod daemon;
mod fire;
pub mod gate;
pub mod hub;
mod letters;
pub mod lineage;
pub mod listen;
pub mod mail;
mod metrics;
pub mod notify;
mod outbox;
mod pauses;
pub mod queue;
mod schedules;
mod sensors;
mod settle;
pub mod submit;
mod sweeps;
mod trouble;
mod undo;
mod watch;
mod web;

pub use catalog::Located;
pub use daemon::{Daemon, Failed, Pipelines, Setup, StoreError, Telling};
pub use letters::{LetterError, SettleError};
pub use submit::{Ending, Order, Otherwise, Standing, SubmitError, Submitted};
pub use sweeps::{Looked, Stopping};
pub use undo::UndoneError;
