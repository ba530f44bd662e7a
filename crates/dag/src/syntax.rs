//! From bytes to stages, each value with its place in the file: the shape of the language, nothing of its meaning.
//!
//! Converted by hand from toml's own tables rather than by serde: those keep the span of every key and value, and all
//! errors of a file are collected, not only the first.

mod bytes;
mod effect;
mod file;
mod inputs;
mod names;
mod params;
mod policy;
mod reader;
mod records;
mod schedule;
mod sensors;
mod stage;
mod text;
mod toml_error;
mod units;
mod values;
mod words;

pub(crate) use bytes::parse;
pub(crate) use file::File;
pub(crate) use inputs::{InputSyntax, Subject};
pub(crate) use names::{nearest, show};
pub(crate) use params::Param;
pub(crate) use records::{SinkKind, SinkSyntax};
pub(crate) use stage::{Axis, Run, StageSyntax};
pub(crate) use text::{At, Span, Text};
pub(crate) use values::override_param;
