//! What the delivery of a batch needs and does not depend on those before it is made ahead, by the thread that reads, while
//! the batch before is delivered: the keys under which records are known to sinks, the batch's digest, and the form in which
//! the sink takes them.

use std::sync::{Arc, Mutex, PoisonError};

use cairn_model::CommitMode;

use super::deliver::{Deliverer, Prepared};
use super::item::{Fate, Finished};
use crate::sink::{Encode, Encoded};

/// Records with what became of them, on their way to their delivery.
pub(super) struct Batch {
    pub(super) finished: Vec<Finished>,
    pub(super) ahead: Option<Ahead>,
}

/// What was made ahead of those records of a batch that are to be delivered.
pub(super) struct Ahead {
    pub(super) prepared: Prepared,
    pub(super) encoded: Option<Encoded>,
}

impl Batch {
    /// Of which nothing was made ahead.
    pub(super) fn plain(finished: Vec<Finished>) -> Self {
        Self { finished, ahead: None }
    }
}

/// The encoder that the one sink has lent, as of its last delivery.
pub(super) type Lent = Arc<Mutex<Option<Arc<dyn Encode>>>>;

/// Makes ahead what a batch needs.
pub(super) struct Maker {
    /// `None` where there is no sink.
    scope: Option<String>,
    lent: Lent,
}

impl Maker {
    pub(super) fn new(deliverer: &Deliverer<'_>) -> Self {
        let scope = (!deliverer.sinks.is_empty()).then(|| deliverer.scope.token.clone());
        Self { scope, lent: Arc::clone(&deliverer.lent) }
    }

    /// Makes it of records without a worker, whose results are themselves.
    pub(super) fn make(&self, mut finished: Vec<Finished>) -> Batch {
        let Some(scope) = &self.scope else { return Batch::plain(finished) };
        for one in &mut finished {
            one.make_known(scope);
        }
        let going = finished.iter().filter_map(|one| match &one.fate {
            Fate::Results(results) => Some((&one.item, results.as_slice())),
            Fate::Dropped | Fate::Failed { .. } | Fate::Retry { .. } => None,
        });
        let prepared = Prepared::of(scope, going);
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let encoded = lent.map(|encoder| encoder.encode(&prepared.deliveries));
        Batch { finished, ahead: Some(Ahead { prepared, encoded }) }
    }
}

impl Deliverer<'_> {
    /// Has records encoded from here on as the one sink wants them now; in two phases each is encoded when it is prepared.
    pub(super) fn lend(&mut self) {
        let encoder = match self.sinks.as_mut_slice() {
            [sink] if self.records.commit != CommitMode::TwoPhase => sink.encoder(),
            _ => None,
        };
        *self.lent.lock().unwrap_or_else(PoisonError::into_inner) = encoder;
    }
}
