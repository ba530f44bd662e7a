//! One run, and when the next comes: what is selected, what would happen, and the loop that makes it happen.
//!
//! - [`definition`]: a pipeline file, read and checked; [`launch`]: from there to a run that only has to be driven
//! - [`select`]: which instances take part; [`facts`]: what the machine needs to know of them
//! - [`step`]: the pure core that decides; [`pools`], [`retry`]: its parts
//! - [`leases`]: what the commands of many runs share
//! - [`run`]: the loop that does what the core asks for; [`plan`]: the same look-ups without the doing; [`rollback`]: the
//!   effects of a run, undone
//! - [`spans`]: a run's events as the spans of a trace
//! - [`letters`], [`outside`]: dead letters and effects, and what people decide about them
//! - [`backfill`]: a stretch of time, interval by interval
//! - [`schedule`]: when runs begin by themselves, and what becomes of times that passed
//! - [`history`]: a run as its events tell it, [`recorded`]: what an execution was made of, for all who show one;
//!   [`json_text`]: JSON laid out for people
//!
//! What it does not do: parse, hash, start a process or write a file itself.

pub mod backfill;
mod dead;
pub mod definition;
pub mod facts;
pub mod history;
pub mod json_text;
pub mod launch;
pub mod leases;
pub mod letters;
pub mod outside;
pub mod plan;
pub mod pools;
mod ready;
pub mod recorded;
pub mod retry;
pub mod rollback;
pub mod run;
pub mod schedule;
pub mod select;
#[cfg(test)]
mod simulate;
pub mod spans;
pub mod step;
