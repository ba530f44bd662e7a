//! Schedules under the daemon: pausing them and taking them up again.

use cairn_model::Name;
use cairn_store::Batch;

use crate::daemon::{Daemon, StoreError, lock};
use crate::hub::Change;

impl Daemon {
    /// Has a pipeline's schedule start nothing by itself.
    pub fn pause(&self, pipeline: &Name, why: String) -> Result<(), StoreError> {
        self.set_paused(pipeline, Some(why))
    }

    /// Has a pipeline's schedule go on.
    pub fn unpause(&self, pipeline: &Name) -> Result<(), StoreError> {
        self.set_paused(pipeline, None)
    }

    fn set_paused(&self, pipeline: &Name, why: Option<String>) -> Result<(), StoreError> {
        let _deciding = lock(&self.deciding);
        let mut standing = self.store.schedule(pipeline)?;
        if why.is_none() {
            standing.failures = 0;
        }
        standing.paused = why.map(|why| (self.clock.now(), why));
        let mut batch = Batch::new();
        batch.put_schedule(pipeline, &standing);
        self.commit(batch)?;
        self.hub.tell(Change::Pipelines);
        self.schedules.notify_one();
        Ok(())
    }
}
