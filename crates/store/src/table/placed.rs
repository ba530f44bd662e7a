//! What was put in the project.

use crate::keys::{self, Family};
use crate::{Placed, ReadError, Store};

impl Store {
    /// Returns what was put at `path`, relative to the project.
    pub fn placed(&self, path: &str) -> Result<Option<Placed>, ReadError> {
        self.inner.database.get(Family::Placed, keys::placed(path))
    }

    /// Returns [`Store::placed`] of each path, in one call.
    pub fn placed_many(&self, paths: &[&str]) -> Result<Vec<Option<Placed>>, ReadError> {
        let keys: Vec<&[u8]> = paths.iter().map(|path| keys::placed(path)).collect();
        self.inner.database.get_many(Family::Placed, &keys)
    }
}
