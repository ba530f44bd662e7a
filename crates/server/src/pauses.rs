//! Records that wait because a sink asked for a pause: of runs that go on, and only as long as they wait. Nothing of it is
//! kept: whoever takes such a run over asks the sink anew.

use std::collections::HashMap;
use std::sync::Mutex;

use cairn_executor::Pause;
use cairn_model::{InstanceName, RunId, Timestamp};

use crate::daemon::lock;

/// The pauses of all runs.
#[derive(Debug, Default)]
pub(crate) struct Pauses(Mutex<HashMap<RunId, HashMap<InstanceName, Pause>>>);

impl Pauses {
    /// Takes in that an instance pauses, or goes on.
    pub(crate) fn set(&self, run: RunId, instance: &InstanceName, pause: Option<&Pause>) {
        let mut all = lock(&self.0);
        match pause {
            Some(pause) => drop(all.entry(run).or_default().insert(instance.clone(), pause.clone())),
            None => {
                if let Some(of_run) = all.get_mut(&run) {
                    of_run.remove(instance);
                }
            }
        }
    }

    /// Forgets a run that goes on no more.
    pub(crate) fn end(&self, run: RunId) {
        lock(&self.0).remove(&run);
    }

    /// Returns the pause of an instance.
    pub(crate) fn of(&self, run: RunId, instance: &InstanceName) -> Option<Pause> {
        lock(&self.0).get(&run)?.get(instance).cloned()
    }
}

/// Says what a pause is for, and until when.
pub(crate) fn words(pause: &Pause, until: &str) -> String {
    format!("{} until {until}: {}", pause.who(), pause.error)
}

/// Returns when a pause ends.
pub(crate) fn until(pause: &Pause) -> Timestamp {
    Timestamp(pause.until_ms)
}
