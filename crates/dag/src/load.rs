//! From a file's bytes to a checked pipeline.

use cairn_model::{RunId, Timestamp};

use crate::diagnostic::{Diagnostic, Report};
use crate::{Pipeline, World};

/// A pipeline file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its path as people are shown it.
    pub path: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// What decides how a file is read beside what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The pipeline's name where the file has none: made a [`cairn_model::Name`], so any text will do.
    pub default_name: String,
    /// What the caller sets params to (`-p NAME=VALUE`), in order.
    pub params: Vec<(String, String)>,
    /// The run that templates may refer to.
    pub run: RunContext,
    /// The shell of stages where neither stage nor pipeline names one; never empty.
    pub default_shell: Vec<String>,
    /// Processors of this machine; a stage that asks for more is warned about.
    pub platform_cpus: u32,
}

/// The run that templates may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunContext {
    /// The run's logical time.
    pub logical_time: Timestamp,
    /// The run's id, `None` where nothing runs; a text of zeros stands for it.
    pub run_id: Option<RunId>,
}

/// A pipeline that may run.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// What may not be as meant.
    pub warnings: Report,
}

/// Reads a pipeline file and checks all that can be known before anything runs.
///
/// # Errors
///
/// All errors there are, sorted by place; where the file is no TOML, only those of the syntax.
pub fn load(source: Source<'_>, options: &Options, world: &dyn World) -> Result<Loaded, Report> {
    let _ = (source, options, world);
    Err(Report { diagnostics: vec![Diagnostic::error("CRN0101", "not built yet")] })
}
