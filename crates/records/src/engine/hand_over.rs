//! Hands a batch over to the sinks: one after the other, each with its tries, or all in two phases.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use cairn_model::CommitMode;

use super::breaker::Setback;
use super::course::{Course, Refusal};
use super::deliver::Deliverer;
use super::error::EngineError;
use crate::ledger::{Changes, Trying};
use crate::sink::{BatchId, Delivery, Encoded, SinkError};

/// Bytes of receipts after which the older ones go.
const RECEIPTS_MAX: u64 = if cfg!(test) { 4 << 10 } else { 64 << 20 };

/// What the name of the older receipts ends with.
const OLDER: &str = "receipts.old";

/// What is handed over.
pub(super) struct Deliveries<'d> {
    pub all: &'d [Delivery],
    /// The index of each delivery's record.
    pub owners: &'d [usize],
    /// All of them, as the one sink's encoder has made them ahead.
    pub encoded: Option<Encoded>,
}

/// How far a batch came.
pub(super) enum Handed {
    /// All sinks have it.
    All,
    /// A sink refused these, by index of the record; those after it have seen nothing yet.
    Refused {
        /// The sink's number.
        sink: usize,
        /// Whether it has the others.
        taken: bool,
        faults: HashMap<usize, Refusal>,
    },
}

impl Deliverer<'_> {
    /// Hands a batch to the sinks that do not have it, as far as none refuses a record.
    pub(super) fn hand_over(
        &mut self,
        id: &BatchId,
        deliveries: Deliveries<'_>,
        asking: bool,
    ) -> Result<Handed, EngineError> {
        let Deliveries { all: deliveries, owners, mut encoded } = deliveries;
        // One that was begun each for itself is ended so, whatever the stage says by now.
        if self.records.commit == CommitMode::TwoPhase && !asking {
            return self.in_two_phases(id, deliveries, owners);
        }
        let trying = self.trying(id).cloned();
        // Those before the one that is to be tried have it; whoever can be asked may have lost it since.
        let first = trying.as_ref().map_or(0, |trying| trying.sink as usize);
        for sink in 0..self.sinks.len() {
            if sink < first && !(asking && self.sinks[sink].is_transactional()) {
                continue;
            }
            if asking && self.sinks[sink].last_applied(&id.scope)?.is_some_and(|last| last >= id.sequence) {
                continue;
            }
            let left = trying.clone().filter(|trying| trying.sink as usize == sink);
            let mut course = Course::new(deliveries.len(), left);
            let handed = self.hand_to(sink, id, deliveries, encoded.take(), &mut course);
            let taken = match handed {
                Ok(taken) => taken,
                Err(error) => {
                    self.leave(sink, id, &mut course);
                    return Err(error);
                }
            };
            let refused = course.into_refused();
            if !refused.is_empty() {
                return Ok(Handed::Refused { sink, taken, faults: by_record(refused, owners) });
            }
            if sink + 1 < self.sinks.len() && !self.sinks[sink].is_transactional() {
                // It cannot be asked: whatever happens to the next one, it is not told again.
                self.scope.trying = Some(Course::new(deliveries.len(), None).keep(sink + 1, id));
                self.ledger.apply(Changes { scope: Some(self.scope.clone()), ..Changes::default() })?;
            }
        }
        Ok(Handed::All)
    }

    /// Keeps how far a sink came that is left in the midst of a batch, so that the next run goes on there.
    fn leave(&mut self, sink: usize, id: &BatchId, course: &mut Course) {
        if let Some(setback) = course.take_setback() {
            self.note_setback(sink, setback);
        }
        self.scope.trying = Some(course.keep(sink, id));
        let kept = self.ledger.apply(Changes { scope: Some(self.scope.clone()), ..Changes::default() });
        if let Err(error) = kept {
            // Something else is told of already; what was delivered comes once more then, under the same keys.
            tracing::warn!(%error, "how far the sink came cannot be kept");
        }
    }

    /// Hands a batch to one sink, again while it is not available, and records again that it may take later. Returns whether it
    /// has those that it did not refuse.
    ///
    /// A record has its own tries; of the sink, only those in a row count in which it dealt with no record at all.
    fn hand_to(
        &mut self,
        number: usize,
        id: &BatchId,
        deliveries: &[Delivery],
        mut encoded: Option<Encoded>,
        course: &mut Course,
    ) -> Result<bool, EngineError> {
        let attempts = self.records.retries.attempts.max(1);
        self.wait_for(number)?;
        // A batch without deliveries is told of too: it has its number.
        loop {
            self.hands.check_stop()?;
            let sink = &mut self.sinks[number];
            let part = course.next(deliveries, sink.most());
            let delivered = match encoded.take().filter(|_| part.is_all()) {
                Some(encoded) => sink.deliver_encoded(id, &part.deliveries, encoded),
                None => sink.deliver(id, &part.deliveries),
            };
            let now = (self.hands.now)();
            let setback = match delivered {
                Ok(delivered) => {
                    let setback = course.take(&part, delivered.refused, delivered.open, now, attempts);
                    self.note_receipts(&part.deliveries, delivered.receipts)?;
                    if course.is_over() {
                        self.has_dealt(number);
                        return Ok(true);
                    }
                    let Some(setback) = setback else {
                        self.close_breaker(number);
                        continue;
                    };
                    setback
                }
                Err(SinkError::Unavailable { retry_after_ms, error, .. }) => {
                    // One pause for this and for what failed before.
                    let held = course.take_setback().unwrap_or_default();
                    Setback { error, idle: true, least_ms: held.least_ms.max(retry_after_ms), ..held }
                }
                Err(SinkError::Records(faults)) => {
                    self.has_dealt(number);
                    course.refuse(faults, now);
                    return Ok(false);
                }
                Err(error) => return Err(error.into()),
            };
            self.set_back(number, setback, Some(course.keep(number, id)))?;
        }
    }

    /// Notes that a sink has dealt with a batch.
    fn has_dealt(&mut self, number: usize) {
        self.close_breaker(number);
        self.scope.trying = None;
    }

    /// Returns how far a run before this one came with a batch.
    fn trying(&self, id: &BatchId) -> Option<&Trying> {
        let trying = self.scope.trying.as_ref()?;
        (trying.sequence == id.sequence && trying.batch == id.digest).then_some(trying)
    }

    /// Keeps what a sink answered, a line each: the key under which a record was sent, and the answer.
    fn note_receipts(
        &mut self,
        batch: &[Delivery],
        receipts: Vec<(usize, String)>,
    ) -> Result<(), EngineError> {
        if receipts.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for (index, receipt) in receipts {
            let key = batch.get(index).map(|delivery| delivery.idempotency_key.to_string());
            let line =
                serde_json::json!({ "idempotency_key": key, "at": (self.hands.now)(), "receipt": receipt });
            lines.extend_from_slice(line.to_string().as_bytes());
            lines.push(b'\n');
        }
        if append_receipts(self.receipts, &lines).map_err(EngineError::kept(self.receipts))? {
            let older = self.receipts.with_extension(OLDER);
            tracing::warn!(
                "older receipts were removed: `{}` holds the last {} MiB before `{}`; copy them away to keep them",
                older.display(),
                RECEIPTS_MAX >> 20,
                self.receipts.display(),
            );
        }
        Ok(())
    }

    fn in_two_phases(
        &mut self,
        id: &BatchId,
        deliveries: &[Delivery],
        owners: &[usize],
    ) -> Result<Handed, EngineError> {
        for number in 0..self.sinks.len() {
            self.wait_for(number)?;
        }
        let mut again = false;
        while let Err((number, error)) = self.prepare_in_all(id, deliveries, again) {
            for before in 0..number {
                self.close_breaker(before);
            }
            if let SinkError::Records(faults) = error {
                self.close_breaker(number);
                let prepared = if again { self.sinks.len() } else { number };
                for sink in &mut self.sinks[..prepared] {
                    sink.settle(id, false)?;
                }
                let now = (self.hands.now)();
                let refused = faults.into_iter().map(|fault| Refusal::of(fault, now)).collect();
                return Ok(Handed::Refused { sink: 0, taken: false, faults: by_record(refused, owners) });
            }
            // Nobody is kept from its rows while it is waited; what is not rolled back by this is before the next try.
            for sink in &mut self.sinks[..=number] {
                let _ = sink.settle(id, false);
            }
            self.set_back_by(number, error)?;
            again = true;
        }
        self.scope.decided = id.sequence;
        self.ledger.apply(Changes {
            scope: Some(self.scope.clone()),
            durable: true,
            ..Changes::default()
        })?;
        for number in 0..self.sinks.len() {
            while let Err(error) = self.sinks[number].settle(id, true) {
                self.set_back_by(number, error)?;
            }
            self.close_breaker(number);
        }
        Ok(Handed::All)
    }

    /// Prepares a batch in all sinks, `again` where one of an earlier try may be left. Returns the number of the sink that did
    /// not.
    fn prepare_in_all(
        &mut self,
        id: &BatchId,
        deliveries: &[Delivery],
        again: bool,
    ) -> Result<(), (usize, SinkError)> {
        for (number, sink) in self.sinks.iter_mut().enumerate() {
            let ready = if again { sink.settle(id, false) } else { Ok(()) };
            ready.and_then(|()| sink.prepare(id, deliveries)).map_err(|error| (number, error))?;
        }
        Ok(())
    }
}

/// Appends lines; a file that is full becomes the older one, whose lines go. Returns whether there were any.
fn append_receipts(path: &Path, lines: &[u8]) -> std::io::Result<bool> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut lost = false;
    if file.metadata()?.len() >= RECEIPTS_MAX {
        let older = path.with_extension(OLDER);
        lost = older.exists();
        #[expect(
            clippy::disallowed_methods,
            reason = "cairn itself reads neither: none has to outlive a power cut"
        )]
        std::fs::rename(path, older)?;
        file = OpenOptions::new().create(true).append(true).open(path)?;
    }
    file.write_all(lines)?;
    Ok(lost)
}

fn by_record(refused: Vec<Refusal>, owners: &[usize]) -> HashMap<usize, Refusal> {
    refused.into_iter().map(|refusal| (owners[refusal.index], refusal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_are_kept_up_to_a_limit_and_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.load.receipts");
        let line = |number: usize| format!("{number:0>99}\n");
        let lost: Vec<bool> =
            (0..1000).map(|number| append_receipts(&path, line(number).as_bytes()).unwrap()).collect();
        let (old, new) = (folder.path().join("p.load.receipts.old"), &path);
        let [old, new] = [old, new.clone()].map(|path| std::fs::read_to_string(path).unwrap());
        let kept = format!("{old}{new}");
        assert!(kept.len() <= 2 * (usize::try_from(RECEIPTS_MAX).unwrap() + 100), "{}", kept.len());
        let first = 1000 - kept.len() / 100;
        assert_eq!(kept, (first..1000).map(line).collect::<String>(), "no line is lost between the two");
        let told = lost.iter().filter(|lost| **lost).count();
        assert_eq!(told, first / old.lines().count(), "each time that older ones go is told");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
