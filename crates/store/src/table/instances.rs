//! What is remembered of instances from run to run.

use std::collections::HashMap;

use cairn_model::{InputHash, InstanceName, Name};

use crate::keys::{self, Family};
use crate::record::{Damage, Duration, History};
use crate::{ReadError, Store};

impl Store {
    /// Returns the input-hashes that an instance last had, newest first, at most 8.
    pub fn latest(&self, pipeline: &Name, instance: &InstanceName) -> Result<Vec<InputHash>, ReadError> {
        let history = self.inner.database.get(Family::Latest, &keys::instance(pipeline, instance))?;
        Ok(history.map_or_else(Vec::new, |History { hashes }| hashes))
    }

    /// Returns what the instances of a pipeline take, in milliseconds: a mean in which the last execution weighs half.
    pub fn durations(&self, pipeline: &Name) -> Result<HashMap<InstanceName, u64>, ReadError> {
        let database = &self.inner.database;
        let rows = database.scan(Family::Durations, &keys::pipeline(pipeline)).map(|row| {
            let (key, Duration { mean_ms }) = row?;
            let (_, instance) = keys::read_instance(&key)
                .ok_or_else(|| database.damaged(Family::Durations, &key, &Damage::Key))?;
            Ok((instance, mean_ms))
        });
        rows.collect()
    }
}
