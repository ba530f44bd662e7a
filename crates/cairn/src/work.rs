//! Definitions, checked and put to work, with failures as this program shows them.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_dag::Style;
use cairn_executor::Engine;
use cairn_model::{Clock, InstanceName, RunId, Timestamp};
use cairn_scheduler::definition::Wrong;
use cairn_scheduler::launch::LaunchError;
use cairn_scheduler::select::{Request, Selection};
use cairn_store::Store;

pub(crate) use cairn_scheduler::definition::{Checked, Definition, Given, caller_env, cpus};

use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Checks a definition; all errors are drawn at once.
pub(crate) fn check(definition: Definition, given: &Given, style: Style) -> Result<Checked, Failure> {
    definition.check(given).map_err(|wrong| {
        let Wrong { definition, report } = *wrong;
        Failure::drawn(ExitStatus::Wrong, report.render(&definition.source(), style))
    })
}

/// Makes the engine of a run, or of a look at what a run would do.
pub(crate) fn engine(
    checked: &Checked,
    store: Option<Store>,
    clock: Arc<dyn Clock>,
    (run, logical_time): (RunId, Timestamp),
    done_before: HashSet<InstanceName>,
    force_effects: bool,
) -> Result<Engine, Failure> {
    checked.engine(store, clock, run, logical_time, done_before, force_effects).map_err(|source| {
        let state = checked.project.state().display().to_string();
        LaunchError::State { state, source }.into()
    })
}

/// Settles which instances a request is about.
pub(crate) fn selection(
    checked: &Checked,
    request: &Request,
    force_effects: bool,
) -> Result<Selection, Failure> {
    Ok(cairn_scheduler::launch::selection(checked, request, force_effects)?)
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        let status = match error {
            LaunchError::Select(_) => ExitStatus::Wrong,
            LaunchError::Read(_)
            | LaunchError::Commit(_)
            | LaunchError::State { .. }
            | LaunchError::Recover(_) => ExitStatus::Store,
        };
        Self::of(status, &error).maybe_help(error.help())
    }
}
