//! What failed in earlier runs, so that an instance without a checkpoint is not told to be new.

use std::collections::HashMap;

use cairn_model::{Event, InstanceEvent, InstanceName, Name, RunEvent};
use cairn_store::{ReadError, Store};

/// Recent runs whose heads are read.
const RUNS_MAX: usize = 64;
/// Runs of a pipeline with failures whose events are read.
const FAILED_RUNS_MAX: usize = 8;

/// Returns the instances of a pipeline that failed lately, each with the first line of its last error. What failed
/// before its command was started is not among them.
pub(crate) fn failures(store: &Store, pipeline: &Name) -> Result<HashMap<InstanceName, String>, ReadError> {
    let runs = store.runs(RUNS_MAX)?;
    let failed = runs.iter().filter(|(_, run)| run.pipeline == *pipeline && run.counts.failed > 0);
    let mut failures = HashMap::new();
    for (run, _) in failed.take(FAILED_RUNS_MAX) {
        // The newest first, as the runs are.
        for (_, Event { what, .. }) in store.events(*run)?.into_iter().rev() {
            if let RunEvent::Instance {
                instance,
                event: InstanceEvent::Failed { attempts: 1.., error, .. },
            } = what
            {
                let first_line = error.lines().next().unwrap_or_default().to_owned();
                failures.entry(instance).or_insert(first_line);
            }
        }
    }
    Ok(failures)
}
