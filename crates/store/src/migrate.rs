//! Bringing a store of an older format up to date.
//!
//! A migration is a step from one version to the next. It puts what it changes into a batch, which the caller commits
//! together with the new version: a store is at one version or at the next, never between them. A step of a later
//! version is a file in `migrate/` and a row in [`STEPS`].

use crate::changes::Changes;
use crate::commit::{CommitError, Committed, Durability};
use crate::database::Database;
use crate::format;
use crate::keys::{self, Family};
use crate::read::ReadError;
use crate::record::Format;
use crate::sync::Syncing;

/// One migration.
pub(crate) struct Step {
    /// The version it starts from; it ends at the next.
    pub(crate) from: u32,
    /// Puts what changes into the batch.
    pub(crate) run: fn(&mut Changes<'_>) -> Result<(), ReadError>,
}

/// All migrations, the oldest first: one for each version before [`format::VERSION`].
pub(crate) const STEPS: &[Step] = &[
    // The new families are empty, and opening for writing has made them.
    Step { from: 1, run: |_| Ok(()) },
    Step { from: 2, run: |_| Ok(()) },
    // Values of before are read as they are.
    Step { from: 3, run: |_| Ok(()) },
    Step { from: 4, run: |_| Ok(()) },
    Step { from: 5, run: |_| Ok(()) },
];

/// Returns the migrations that lead from `found` to [`format::VERSION`].
pub(crate) fn steps_from(found: u32) -> &'static [Step] {
    let first = STEPS.iter().position(|step| step.from == found).unwrap_or(STEPS.len());
    &STEPS[first..]
}

/// Commits what `steps` change together with the version they lead to; without steps, the version alone.
pub(crate) fn bring_up_to_date(
    database: &Database,
    syncing: &Syncing,
    steps: &[Step],
) -> Result<Committed, CommitError> {
    syncing.commit(database, Durability::Synced, |changes| {
        let mut version = format::VERSION;
        for step in steps {
            tracing::info!(from = step.from, "bringing the store up to date");
            (step.run)(changes)?;
            version = step.from + 1;
        }
        changes.put(Family::Meta, keys::FORMAT, &Format { version });
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_step_from_each_older_version() {
        let from: Vec<u32> = STEPS.iter().map(|step| step.from).collect();
        assert_eq!(from, (1..format::VERSION).collect::<Vec<_>>());
        assert!(steps_from(format::VERSION).is_empty());
    }
}
