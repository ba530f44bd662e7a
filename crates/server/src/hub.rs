//! Tells all who look that something changed; what it is they read in the store.

use cairn_model::{Name, RunId};
use tokio::sync::broadcast;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A run has new events, or its place in the queue changed.
    Run {
        /// The run.
        run: RunId,
        /// Its pipeline.
        pipeline: Name,
    },
    /// Pipelines are new, changed or gone, or a schedule was paused or taken up again.
    Pipelines,
}

/// Changes that one who looks may be behind; who is further behind looks at everything again.
const BEHIND_MAX: usize = 1024;

/// Passes changes on to all who look.
#[derive(Debug)]
pub struct Hub(broadcast::Sender<Change>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND_MAX).0)
    }
}

impl Hub {
    /// Tells all who look now.
    pub fn tell(&self, change: Change) {
        // Nobody may be looking.
        let _ = self.0.send(change);
    }

    /// Returns where the changes from now on are heard.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
