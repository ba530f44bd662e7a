//! Effects in systems outside.

use cairn_model::Name;

use crate::keys::{self, Family};
use crate::record::Damage;
use crate::{Effect, ReadError, Store};

impl Store {
    /// Returns what is known of the effect with this key in a pipeline.
    pub fn effect(&self, pipeline: &Name, key: &str) -> Result<Option<Effect>, ReadError> {
        self.inner.database.get(Family::Effects, &keys::effect(pipeline, key))
    }

    /// Returns all effects with their pipelines and keys, in the order of these.
    pub fn effects(&self) -> Result<Vec<(Name, String, Effect)>, ReadError> {
        self.each_effect().collect()
    }

    /// Reads the effects with their pipelines and keys, in the order of these, one after the other.
    pub fn each_effect(&self) -> impl Iterator<Item = Result<(Name, String, Effect), ReadError>> + use<'_> {
        let database = &self.inner.database;
        database.scan(Family::Effects, &[]).map(|row| {
            let (key, effect) = row?;
            let (pipeline, name) = keys::read_effect(&key)
                .ok_or_else(|| database.damaged(Family::Effects, &key, &Damage::Key))?;
            Ok((pipeline, name, effect))
        })
    }

    /// Reads the effects of a pipeline with their keys, in the order of these, one after the other; those of others are not
    /// touched.
    pub fn effects_of(
        &self,
        pipeline: &Name,
    ) -> impl Iterator<Item = Result<(String, Effect), ReadError>> + use<'_> {
        let database = &self.inner.database;
        database.scan(Family::Effects, &keys::effect(pipeline, "")).map(|row| {
            let (key, effect) = row?;
            let (_, name) = keys::read_effect(&key)
                .ok_or_else(|| database.damaged(Family::Effects, &key, &Damage::Key))?;
            Ok((name, effect))
        })
    }
}
