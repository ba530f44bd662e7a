//! Idempotency keys that count no more: they are removed.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::Digest;
use cairn_store::Batch;

use super::Stopping;
use crate::carry_out::blocking;
use crate::daemon::{Daemon, StoreError};
use crate::submit::{Asking, counts};

/// How often all are looked through.
const EVERY: Duration = Duration::from_hours(1);
/// Keys that are looked at by one step: it bounds the batch.
const STEP: usize = 1_000;
/// What lies between two steps. Ten thousand keys a second are more than requests that can come.
const PAUSE: Duration = Duration::from_millis(100);

impl Daemon {
    /// Has idempotency keys removed that count no more, until the daemon is to end.
    pub async fn keep_keys(self: &Arc<Self>, mut stopping: Stopping) {
        let mut after = None;
        loop {
            let daemon = Arc::clone(self);
            match blocking(move || daemon.forget_keys(after.as_ref(), STEP)).await {
                Ok(next) => after = next,
                Err(error) => {
                    tracing::warn!(%error, "old idempotency keys cannot be removed; it is tried again");
                    after = None;
                }
            }
            let pause = if after.is_some() { PAUSE } else { EVERY };
            let ends = tokio::select! {
                () = tokio::time::sleep(pause) => *stopping.borrow(),
                changed = stopping.changed() => changed.is_err() || *stopping.borrow(),
            };
            if ends {
                return;
            }
        }
    }

    /// Looks at so many keys from after one on, and removes those that count no more. Returns the last one that it looked
    /// at; `None` where that was the last there is.
    pub(crate) fn forget_keys(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Option<Digest>, StoreError> {
        let now = self.clock.now();
        let rows = self.store.submissions_after(after, limit)?;
        let last = rows.last().map(|(key, _)| *key).filter(|_| rows.len() == limit);
        let old = rows.into_iter().filter(|(_, submission)| !counts(submission, now));
        // One that a request has in its hands is about to be made anew; no request takes up the others meanwhile.
        let asking: Vec<Asking<'_>> =
            old.filter_map(|(key, _)| Asking::begin(&self.asking, key).ok()).collect();
        let mut batch = Batch::new();
        for key in asking.iter().map(Asking::key) {
            if self.store.submission(key)?.is_some_and(|submission| !counts(&submission, now)) {
                batch.remove_submission(key);
            }
        }
        if !batch.is_empty() {
            // Removed once more after a power cut, it is the same.
            let _ = self.write(batch)?;
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{FixedClock, Timestamp};

    use super::*;
    use crate::fire::simulate::{idle_daemon, order_of_p};
    use crate::submit::{SubmitError, key_of};

    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_key_counts_for_a_day_and_is_removed_after_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("p.toml"), "[stages.a]\nrun = \"true\"\noutputs = []\n").unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp(1_700_000_000_000)));
        let daemon = idle_daemon(folder.path(), Arc::clone(&clock));
        let submit = |key: &str| daemon.submit(&order_of_p(), Some(key)).unwrap();
        let names: Vec<String> = (0..7).map(|number| format!("early {number}")).collect();
        let early: Vec<_> = names.iter().map(|name| submit(name).run).collect();
        clock.advance(HOUR_MS);
        let late = submit("late").run;
        clock.advance(23 * HOUR_MS - 1);
        let all = || -> usize {
            let (mut after, mut steps) = (None, 1);
            while let Some(next) = daemon.forget_keys(after.as_ref(), 3).unwrap() {
                (after, steps) = (Some(next), steps + 1);
            }
            assert_eq!(steps, 3, "eight by three");
            daemon.store.submissions_after(None, 99).unwrap().len()
        };
        assert_eq!(all(), 8, "a moment is left");
        assert_eq!((submit(&names[0]).run, submit(&names[0]).existed), (early[0], true));

        clock.advance(1);
        // It counts no more whether or not it was removed, whatever is asked for.
        let other = crate::submit::Order { priority: 1, ..order_of_p() };
        let again = daemon.submit(&other, Some(&names[0])).unwrap();
        assert!(!again.existed && again.run != early[0]);
        assert!(matches!(daemon.submit(&order_of_p(), Some(&names[0])), Err(SubmitError::KeyReused)));
        let held = Asking::begin(&daemon.asking, key_of(&names[1])).unwrap();
        assert_eq!(all(), 3, "the new one, the late one, and the one that a request has in its hands");
        drop(held);
        assert_eq!(submit("late").run, late);
        assert!(!submit(&names[1]).existed);
        // A clock that is set back removes nothing.
        clock.advance(-9_000 * HOUR_MS);
        daemon.forget_keys(None, 99).unwrap();
        assert_eq!(daemon.store.submissions_after(None, 99).unwrap().len(), 3);
    }
}
