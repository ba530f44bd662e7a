//! From the text of a pipeline file to a checked graph of instances; no I/O.
//!
//! [`load`] takes the bytes of a TOML file and answers with a [`Pipeline`] that may run, or with a [`Report`] of all that
//! is wrong, each finding with its place and a mend. What it must know of the disk it asks a [`World`].
//!
//! - what comes out: [`Pipeline`] of [`Stage`]s of [`Instance`]s, each with its [`Input`]s, [`Declared`] outputs, [`Effect`], [`Policy`]
//! - what is wrong: [`Diagnostic`], its [`mod@code`], drawn in a [`Style`]
//! - who waits for whom: [`graph::Graph`]
//! - patterns of paths: [`Glob`]
//! - pipelines that are run after each other: [`circles`]
//!
//! The way through: `syntax` turns bytes into stages with a span for every value, `template` fills in params, `expand`
//! makes instances of stages, `check` resolves paths and dependencies.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::format_collect, reason = "a test may panic, and need not be fast")
)]

mod check;
mod diagnostic;
mod effect;
mod expand;
mod follow;
mod glob;
mod load;
mod pipeline;
mod syntax;
mod template;
mod time;
mod world;

#[cfg(test)]
mod tests;

pub mod code;
pub mod graph;

pub use diagnostic::{Diagnostic, Label, Patch, Report, Severity, Style};
pub use effect::{Effect, OnUncertain};
pub use follow::{circle_text, circles, warn_of_circle};
pub use glob::{Glob, GlobError};
pub use load::{Loaded, Options, RunContext, Source, load};
pub use pipeline::{
    Backoff, Cache, Declared, Input, InputKind, Instance, Made, ParamValue, Pipeline, Policy, Retries,
    SandboxChoice, Stage,
};
pub use time::{instant, nearest_zone, rfc3339_in};
pub use world::{Entry, Unlisted, World};
