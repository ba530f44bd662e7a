//! Hands a batch over to the sinks: one after the other, each with its tries, or all in two phases.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use cairn_model::CommitMode;

use super::Pause;
use super::deliver::Deliverer;
use super::error::EngineError;
use crate::ledger::Changes;
use crate::sink::{BatchId, Delivery, Encoded, RecordFault, SinkError};

/// Bytes of receipts after which the older ones go.
const RECEIPTS_MAX: u64 = if cfg!(test) { 4 << 10 } else { 64 << 20 };

/// What the name of the older receipts ends with.
const OLDER: &str = "receipts.old";

/// From this on a pause is told of: a person wonders.
const TOLD_MS: u64 = if cfg!(test) { 50 } else { 5_000 };

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
        faults: HashMap<usize, RecordFault>,
    },
}

impl Deliverer<'_> {
    /// Hands a batch to the sinks from number `from` on, as far as none refuses a record.
    pub(super) fn hand_over(
        &mut self,
        id: &BatchId,
        deliveries: Deliveries<'_>,
        from: usize,
        asking: bool,
    ) -> Result<Handed, EngineError> {
        let Deliveries { all: deliveries, owners, mut encoded } = deliveries;
        // One that was begun each for itself is ended so, whatever the stage says by now.
        if self.records.commit == CommitMode::TwoPhase && !asking {
            return self.in_two_phases(id, deliveries, owners);
        }
        for sink in from..self.sinks.len() {
            if asking && self.sinks[sink].last_applied(&id.scope)?.is_some_and(|last| last >= id.sequence) {
                continue;
            }
            let (taken, faults) = match self.hand_to(sink, id, deliveries, encoded.take()) {
                Ok(faults) if faults.is_empty() => continue,
                Ok(faults) => (true, faults),
                Err(EngineError::Sink(SinkError::Records(faults))) => (false, faults),
                Err(error) => return Err(error),
            };
            return Ok(Handed::Refused { sink, taken, faults: by_record(faults, owners) });
        }
        Ok(Handed::All)
    }

    /// Hands a batch to one sink, again while it is not available, and records again that it may take later. Returns those
    /// that it refused.
    ///
    /// A record has its own tries; of the sink, only those in a row count in which it dealt with no record at all.
    fn hand_to(
        &mut self,
        number: usize,
        id: &BatchId,
        deliveries: &[Delivery],
        mut encoded: Option<Encoded>,
    ) -> Result<Vec<RecordFault>, EngineError> {
        let attempts = self.records.retries.attempts.max(1);
        let mut indices: Vec<usize> = (0..deliveries.len()).collect();
        let (mut batch, mut refused) = (Cow::Borrowed(deliveries), Vec::new());
        // Tries of the sink in a row, and of each record that failed.
        let (mut idle, mut failures) = (0, HashMap::<usize, u32>::new());
        loop {
            self.hands.check_stop()?;
            let sink = &mut self.sinks[number];
            let delivered = match encoded.take() {
                Some(encoded) => sink.deliver_encoded(id, &batch, encoded),
                None => sink.deliver(id, &batch),
            };
            let (again, least_ms, tries, error) = match delivered {
                Ok(delivered) => {
                    self.note_receipts(&batch, delivered.receipts)?;
                    let (mut again, mut least, mut tries, mut unserved) = (Vec::new(), None, 0, None);
                    let mut why = String::new();
                    let mut dealt_with = batch.len();
                    for fault in delivered.refused {
                        let index = indices[fault.index];
                        if fault.of_sink {
                            dealt_with -= 1;
                            unserved.get_or_insert((fault.error, fault.retry_after_ms));
                        } else {
                            let failures = failures.entry(index).or_default();
                            *failures += 1;
                            if !fault.retry || *failures >= attempts {
                                refused.push(RecordFault { index, ..fault });
                                continue;
                            }
                            tries = tries.max(*failures);
                            why = fault.error;
                        }
                        least = least.max(fault.retry_after_ms);
                        again.push(index);
                    }
                    if again.is_empty() {
                        return Ok(refused);
                    }
                    if let Some((error, _)) = &unserved {
                        why.clone_from(error);
                    }
                    idle = if unserved.is_some() && dealt_with == 0 { idle + 1 } else { 0 };
                    if let Some((error, retry_after_ms)) = unserved.filter(|_| idle >= attempts) {
                        let sink = self.sinks[number].name();
                        return Err(SinkError::Unavailable { sink, error, retry_after_ms }.into());
                    }
                    (again, least, tries.max(idle).max(1), why)
                }
                Err(SinkError::Unavailable { retry_after_ms, error, sink }) if idle + 1 < attempts => {
                    idle += 1;
                    tracing::warn!(%sink, %error, tries = idle, "the sink is not available; trying again");
                    (indices, retry_after_ms, idle, error)
                }
                Err(SinkError::Records(mut faults)) => {
                    for fault in &mut faults {
                        fault.index = indices[fault.index];
                    }
                    return Err(SinkError::Records(faults).into());
                }
                Err(error) => return Err(error.into()),
            };
            batch = again.iter().map(|index| deliveries[*index].clone()).collect::<Vec<_>>().into();
            indices = again;
            let pause = self.hands.delay_ms(&self.records.retries, tries).max(least_ms.unwrap_or(0));
            if pause < TOLD_MS {
                self.hands.pause(pause)?;
                continue;
            }
            let (sink, asked) = (self.sinks[number].name(), least_ms >= Some(pause));
            let as_asked = if asked { ", as it asked for" } else { "" };
            tracing::warn!(seconds = pause / 1000, "{sink} is tried again after a pause{as_asked}");
            let until_ms = (self.hands.now)().saturating_add_unsigned(pause);
            (self.hands.pauses)(Some(&Pause { sink, until_ms, asked, error }));
            let waited = self.hands.pause(pause);
            (self.hands.pauses)(None);
            waited?;
        }
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
            let prepared = self.sinks[number].prepare(id, deliveries);
            if let Err(error) = prepared {
                for sink in &mut self.sinks[..number] {
                    sink.settle(id, false)?;
                }
                return match error {
                    SinkError::Records(faults) => {
                        Ok(Handed::Refused { sink: 0, taken: false, faults: by_record(faults, owners) })
                    }
                    error => Err(error.into()),
                };
            }
        }
        self.scope.decided = id.sequence;
        self.ledger.apply(Changes {
            scope: Some(self.scope.clone()),
            durable: true,
            ..Changes::default()
        })?;
        for sink in &mut self.sinks {
            sink.settle(id, true)?;
        }
        Ok(Handed::All)
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

fn by_record(faults: Vec<RecordFault>, owners: &[usize]) -> HashMap<usize, RecordFault> {
    faults.into_iter().map(|fault| (owners[fault.index], fault)).collect()
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
