//! Delivers batches: written down, delivered, confirmed.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use cairn_model::{CommitMode, Digest, RecordCounts, Records};

use super::deltas::{self, Head};
use super::error::EngineError;
use super::item::{Fate, Finished, Item, result_digest};
use super::marks::Spot;
use super::{Hands, Names};
use crate::fields::key_text;
use crate::ledger::{Changes, Dead, Ledger, Letter, Scope};
use crate::sink::{BatchId, Delivery, Operation, RecordFault, Sink, SinkError};
use crate::state::{Kept, Made, State, Status};

/// Fewer failures than these are no outage.
const OUTAGE_LEAST: u64 = 20;

/// Delivers batches of one scope, one after the other.
pub(super) struct Deliverer<'e> {
    pub ledger: &'e dyn Ledger,
    pub scope: Scope,
    pub sinks: Vec<Box<dyn Sink>>,
    pub records: &'e Records,
    pub hands: &'e Hands<'e>,
    pub names: &'e Names<'e>,
    /// The worker's code, where there is a worker.
    pub code: Option<u64>,
    /// Keeps results for sinks that are files.
    pub results: Option<File>,
    pub counts: RecordCounts,
    /// The file that keeps what sinks answer.
    pub receipts: &'e Path,
    /// Records of this run whose fate is decided, and those of them that failed.
    pub decided: u64,
    pub failed: u64,
    /// Rows that need no delivery, of the next confirmation.
    pub rows: Vec<u8>,
    /// Records of this run of which no file is made.
    pub excluded: HashSet<Spot>,
    /// Where results of this run are kept.
    pub kept: Vec<(Spot, Kept)>,
    pub dead: Vec<Dead>,
    pub revived: Vec<Letter>,
}

/// A record whose results go to the sinks.
struct Going {
    finished: Finished,
    results: Vec<Bytes>,
    made: Option<Made>,
    kept: Option<Kept>,
}

/// How the sinks took a batch.
enum Taken {
    /// All have it, but for these, by index of the record.
    All(Vec<(usize, RecordFault)>),
    /// None has it, because of these.
    None(Vec<(usize, RecordFault)>),
}

/// Says that more than a tenth of `of` records failed.
pub(super) fn check_outage(failed: u64, of: u64, first: impl FnOnce() -> String) -> Result<(), EngineError> {
    if failed >= OUTAGE_LEAST && failed * 10 > of {
        return Err(EngineError::Outage { failed, of, first: first(), help: None });
    }
    Ok(())
}

impl Deliverer<'_> {
    /// Takes care of records with what became of them: all of it is kept when this returns.
    pub(super) fn take(&mut self, finished: Vec<Finished>) -> Result<(), EngineError> {
        let mut first = None;
        for one in &finished {
            match &one.fate {
                Fate::Failed { class: "worker", error } => {
                    self.failed += 1;
                    self.decided += 1;
                    first.get_or_insert(error);
                }
                // What is bad in itself was weighed when all was read.
                Fate::Failed { .. } | Fate::Retry { .. } => {}
                Fate::Results(_) | Fate::Dropped => self.decided += 1,
            }
        }
        // Those that were tried again and again come last, alone: only against all so far is their number one.
        if let Some(first) = first {
            check_outage(self.failed, self.decided, || first.clone())?;
        }
        let mut going = Vec::with_capacity(finished.len());
        for mut one in finished {
            match std::mem::replace(&mut one.fate, Fate::Dropped) {
                Fate::Results(results) => going.extend(self.weigh(one, results)?),
                Fate::Dropped => {
                    self.counts.dropped += 1;
                    self.exclude(&one.item);
                    let made = self.code.map(|code| Made { result: [0; 16], code });
                    one.item.state(Status::Dropped, made, None).encode(&mut self.rows);
                    self.revive(&one.item);
                }
                Fate::Failed { class, error } => self.bury(&one.item, class, error, one.attempts),
                Fate::Retry { at } => {
                    let tries = u8::try_from(one.attempts.len()).unwrap_or(u8::MAX);
                    let state = one.item.state(Status::Retrying, None, None);
                    State { tries, retry_at: Some(at), ..state }.encode(&mut self.rows);
                }
            }
        }
        if !going.is_empty() && !self.sinks.is_empty() {
            self.deliver(going)?;
        } else {
            for one in &going {
                one.finished.item.state(Status::Delivered, one.made, one.kept).encode(&mut self.rows);
                self.count(&one.finished.item);
            }
            self.confirm(false)?;
        }
        self.report();
        Ok(())
    }

    fn exclude(&mut self, item: &Item) {
        if self.records.sinks.len() > self.sinks.len() {
            self.excluded.insert(item.spot);
        }
    }

    fn report(&self) {
        (self.hands.progress)(&self.counts);
    }

    /// Decides whether results are to be delivered: the same ones as before are not.
    fn weigh(&mut self, one: Finished, results: Vec<Bytes>) -> Result<Option<Going>, EngineError> {
        let made = self.code.map(|code| Made { result: result_digest(&results), code });
        if let (Some(prior), Some(now)) = (one.item.prior, made)
            && prior.same
            && prior.result == Some(now.result)
        {
            self.counts.same += 1;
            one.item.state(Status::Delivered, made, prior.kept).encode(&mut self.rows);
            self.kept.extend(prior.kept.map(|kept| (one.item.spot, kept)));
            return Ok(None);
        }
        // Nothing of what is deleted stands in a file.
        let kept = if one.item.tombstone { None } else { self.keep(&results)? };
        self.kept.extend(kept.map(|kept| (one.item.spot, kept)));
        Ok(Some(Going { finished: one, results, made, kept }))
    }

    fn keep(&mut self, results: &[Bytes]) -> Result<Option<Kept>, EngineError> {
        let Some(file) = &mut self.results else { return Ok(None) };
        let mut bytes = Vec::new();
        for result in results {
            bytes.extend_from_slice(result);
            bytes.push(b'\n');
        }
        file.write_all(&bytes).map_err(EngineError::Spool)?;
        let offset = self.scope.results_bytes;
        self.scope.results_bytes += bytes.len() as u64;
        let length = u32::try_from(bytes.len())
            .map_err(|_| EngineError::TooMuch("the results of one record are more than 4 GiB".to_owned()))?;
        Ok(Some(Kept { offset, length }))
    }

    fn count(&mut self, item: &Item) {
        let same = item.prior.is_some_and(|prior| prior.same);
        match (item.was_delivered(), same) {
            (true, _) => self.counts.changed += 1,
            (false, _) => self.counts.new += 1,
        }
    }

    fn revive(&mut self, item: &Item) {
        if let Some(letter) = &item.letter {
            self.revived.push(letter.clone());
        } else if item.prior.is_some_and(|prior| prior.dead) {
            let key = key_text(&item.record, &self.records.key);
            self.revived.push(Letter { key, payload: item.record.to_vec() });
        }
    }

    /// Makes a dead letter of a record.
    fn bury(&mut self, item: &Item, class: &str, error: String, mut attempts: Vec<(i64, String)>) {
        self.counts.dead += 1;
        self.exclude(item);
        let made = self.code.map(|code| Made { result: [0; 16], code });
        let tries = u8::try_from(attempts.len()).unwrap_or(u8::MAX);
        let state = item.state(Status::Dead, made, None);
        State { tries, ..state }.encode(&mut self.rows);
        if attempts.is_empty() {
            attempts.push(((self.hands.now)(), error.clone()));
        }
        let (key, payload) = match &item.letter {
            Some(letter) => (letter.key.clone(), letter.payload.clone()),
            // One whose key cannot be read is known by its bytes.
            None if matches!(class, "worker" | "sink") => {
                (key_text(&item.record, &self.records.key), item.record.to_vec())
            }
            None => (String::new(), item.record.to_vec()),
        };
        self.dead.push(Dead {
            key,
            payload,
            file: self.names.path(item.place).to_owned(),
            line: item.line,
            class: class.to_owned(),
            error,
            attempts,
            idempotency_key: item.idempotency_key(&self.scope.token, 0),
        });
    }

    /// Delivers a batch, without the records that no sink takes.
    fn deliver(&mut self, mut going: Vec<Going>) -> Result<(), EngineError> {
        loop {
            let (deliveries, owners) = self.deliveries(&going);
            let sequence = self.scope.confirmed + 1;
            let id = self.batch_id(sequence, &deliveries);
            let number = self.scope.last_delta + 1;
            let head = Head { sequence, digest: id.digest, records: self.remembered(&deliveries) };
            let mut rows = Vec::new();
            for one in &going {
                one.finished.item.state(Status::Delivered, one.made, one.kept).encode(&mut rows);
            }
            self.sync_results()?;
            let intent = deltas::entries(number, &head, &rows)?;
            self.scope.last_delta = number;
            self.ledger.apply(Changes {
                scope: Some(self.scope.clone()),
                deltas: intent,
                durable: true,
                ..Changes::default()
            })?;
            match self.hand_over(&id, &deliveries, &owners)? {
                Taken::All(faults) => {
                    self.scope.confirmed = sequence;
                    let refused: HashSet<usize> = faults.iter().map(|(index, _)| *index).collect();
                    for (index, one) in going.iter().enumerate() {
                        if !refused.contains(&index) {
                            self.count(&one.finished.item);
                            self.revive(&one.finished.item);
                        }
                    }
                    for (index, fault) in faults {
                        let Finished { item, attempts, .. } = &going[index].finished;
                        self.bury(item, "sink", fault.error, attempts.clone());
                    }
                    return self.confirm(false);
                }
                Taken::None(faults) => {
                    let merged = deltas::numbers_of(number).collect();
                    self.ledger.apply(Changes { merged, ..Changes::default() })?;
                    let first = || faults.first().map(|(_, fault)| fault.error.clone()).unwrap_or_default();
                    self.failed += faults.len() as u64;
                    check_outage(self.failed, self.decided, first)?;
                    let mut left = Vec::with_capacity(going.len());
                    let faults: HashMap<usize, RecordFault> = faults.into_iter().collect();
                    for (index, one) in going.into_iter().enumerate() {
                        match faults.get(&index) {
                            None => left.push(one),
                            Some(fault) => {
                                let Finished { item, attempts, .. } = one.finished;
                                self.bury(&item, "sink", fault.error.clone(), attempts);
                            }
                        }
                    }
                    going = left;
                    if going.is_empty() {
                        return self.confirm(false);
                    }
                }
            }
        }
    }

    /// Returns the deliveries of all results, each with the index of its record.
    fn deliveries(&self, going: &[Going]) -> (Vec<Delivery>, Vec<usize>) {
        let mut deliveries = Vec::with_capacity(going.len());
        let mut owners = Vec::with_capacity(going.len());
        for (owner, one) in going.iter().enumerate() {
            let item = &one.finished.item;
            for (index, result) in one.results.iter().enumerate() {
                let operation = if item.tombstone { Operation::Delete } else { Operation::Put };
                let idempotency_key = item.idempotency_key(&self.scope.token, index);
                deliveries.push(Delivery { operation, record: result.clone(), idempotency_key });
                owners.push(owner);
            }
        }
        (deliveries, owners)
    }

    fn batch_id(&self, sequence: u64, deliveries: &[Delivery]) -> BatchId {
        let (scope, fence) = (self.scope.token.clone(), self.hands.fence);
        BatchId { scope, sequence, digest: digest_of(deliveries), fence }
    }

    /// Returns what has to be written down so that the very same batch can be delivered again: nothing where the one sink
    /// can tell whether it has it.
    fn remembered(&self, deliveries: &[Delivery]) -> Option<Vec<(bool, Digest, Vec<u8>)>> {
        if let [sink] = self.sinks.as_slice()
            && sink.is_transactional()
        {
            return None;
        }
        if self.records.commit == CommitMode::TwoPhase {
            return None;
        }
        let remembered = deliveries.iter().map(|delivery| {
            (delivery.operation == Operation::Delete, delivery.idempotency_key, delivery.record.to_vec())
        });
        Some(remembered.collect())
    }

    fn sync_results(&mut self) -> Result<(), EngineError> {
        match &self.results {
            Some(file) => file.sync_data().map_err(EngineError::Spool),
            None => Ok(()),
        }
    }

    /// Hands a batch to all sinks.
    fn hand_over(
        &mut self,
        id: &BatchId,
        deliveries: &[Delivery],
        owners: &[usize],
    ) -> Result<Taken, EngineError> {
        if self.records.commit == CommitMode::TwoPhase {
            return self.in_two_phases(id, deliveries, owners);
        }
        let mut refused = Vec::new();
        for number in 0..self.sinks.len() {
            match self.hand_to(number, id, deliveries) {
                Ok(faults) => refused.extend(by_record(faults, owners)),
                // The first sink: nobody has anything of it yet.
                Err(EngineError::Sink(SinkError::Records(faults))) if number == 0 => {
                    return Ok(Taken::None(by_record(faults, owners)));
                }
                Err(EngineError::Sink(SinkError::Records(faults))) => {
                    let bad = by_record(faults, owners);
                    let misfits: HashSet<usize> = bad.iter().map(|(record, _)| *record).collect();
                    let fits = |index: &usize| !misfits.contains(&owners[*index]);
                    let rest: Vec<Delivery> =
                        (0..deliveries.len()).filter(fits).map(|index| deliveries[index].clone()).collect();
                    let id = BatchId { digest: digest_of(&rest), ..id.clone() };
                    let _ = self.hand_to(number, &id, &rest)?;
                    refused.extend(bad);
                }
                Err(error) => return Err(error),
            }
        }
        refused.sort_by_key(|(record, _)| *record);
        refused.dedup_by_key(|(record, _)| *record);
        Ok(Taken::All(refused))
    }

    /// Hands a batch to one sink, again while it is not available, and records again that it may take later. Returns those
    /// that it refused.
    fn hand_to(
        &mut self,
        number: usize,
        id: &BatchId,
        deliveries: &[Delivery],
    ) -> Result<Vec<RecordFault>, EngineError> {
        let attempts = self.records.retries.attempts.max(1);
        let mut indices: Vec<usize> = (0..deliveries.len()).collect();
        let (mut batch, mut refused, mut tries) = (deliveries.to_vec(), Vec::new(), 0);
        loop {
            self.hands.check_stop()?;
            let delivered = self.sinks[number].deliver(id, &batch);
            tries += 1;
            let (again, least_ms) = match delivered {
                Ok(delivered) => {
                    self.note_receipts(&batch, delivered.receipts)?;
                    let (mut again, mut least) = (Vec::new(), None);
                    for fault in delivered.refused {
                        let index = indices[fault.index];
                        if fault.retry && tries < attempts {
                            least = least.max(fault.retry_after_ms);
                            again.push(index);
                        } else {
                            refused.push(RecordFault { index, ..fault });
                        }
                    }
                    if again.is_empty() {
                        return Ok(refused);
                    }
                    (again, least)
                }
                Err(SinkError::Unavailable { retry_after_ms, error, sink }) if tries < attempts => {
                    tracing::warn!(%sink, %error, tries, "the sink is not available; trying again");
                    (indices, retry_after_ms)
                }
                Err(SinkError::Records(mut faults)) => {
                    for fault in &mut faults {
                        fault.index = indices[fault.index];
                    }
                    return Err(SinkError::Records(faults).into());
                }
                Err(error) => return Err(error.into()),
            };
            batch = again.iter().map(|index| deliveries[*index].clone()).collect();
            indices = again;
            let pause = self.hands.delay_ms(&self.records.retries, tries).max(least_ms.unwrap_or(0));
            self.hands.pause(pause)?;
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
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(self.receipts);
        opened.and_then(|mut file| file.write_all(&lines)).map_err(EngineError::Spool)
    }

    fn in_two_phases(
        &mut self,
        id: &BatchId,
        deliveries: &[Delivery],
        owners: &[usize],
    ) -> Result<Taken, EngineError> {
        for number in 0..self.sinks.len() {
            let prepared = self.sinks[number].prepare(id, deliveries);
            if let Err(error) = prepared {
                for sink in &mut self.sinks[..number] {
                    sink.settle(id, false)?;
                }
                return match error {
                    SinkError::Records(faults) => Ok(Taken::None(by_record(faults, owners))),
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
        Ok(Taken::All(Vec::new()))
    }

    /// Keeps what was decided since the last confirmation.
    pub(super) fn confirm(&mut self, durable: bool) -> Result<(), EngineError> {
        let rows = std::mem::take(&mut self.rows);
        let mut changes = Changes {
            dead: std::mem::take(&mut self.dead),
            revived: std::mem::take(&mut self.revived),
            durable,
            ..Changes::default()
        };
        if !rows.is_empty() {
            self.sync_results()?;
            self.scope.last_delta += 1;
            changes.deltas = deltas::chunks(self.scope.last_delta, &rows)?;
        }
        changes.scope = Some(self.scope.clone());
        self.ledger.apply(changes)?;
        Ok(())
    }

    /// Finds out what became of a batch that was being delivered when the last run was cut off.
    pub(super) fn settle_in_flight(&mut self) -> Result<(), EngineError> {
        for (number, head) in deltas::heads(self.ledger)? {
            if head.sequence <= self.scope.confirmed {
                continue;
            }
            let (scope, fence) = (self.scope.token.clone(), self.hands.fence);
            let id = BatchId { scope, sequence: head.sequence, digest: head.digest, fence };
            let is_there = if self.records.commit == CommitMode::TwoPhase {
                let decided = self.scope.decided >= head.sequence;
                for sink in &mut self.sinks {
                    sink.settle(&id, decided)?;
                }
                decided
            } else if let Some(records) = head.records {
                let deliveries: Vec<Delivery> = records
                    .into_iter()
                    .map(|(delete, idempotency_key, record)| Delivery {
                        operation: if delete { Operation::Delete } else { Operation::Put },
                        record: record.into(),
                        idempotency_key,
                    })
                    .collect();
                self.hand_over_again(&id, &deliveries)?
            } else {
                let sink = self.sinks.first_mut();
                sink.map(|sink| sink.applied(&id)).transpose()?.flatten().unwrap_or(false)
            };
            tracing::info!(batch = head.sequence, is_there, "a delivery was cut off");
            let mut changes = Changes { durable: true, ..Changes::default() };
            if is_there {
                self.scope.confirmed = head.sequence;
            } else {
                changes.merged = deltas::numbers_of(number).collect();
            }
            changes.scope = Some(self.scope.clone());
            self.ledger.apply(changes)?;
        }
        Ok(())
    }

    /// Delivers again, under the same id and keys, what may not have reached all sinks. False when records do not fit: they
    /// are then taken in anew, which finds out which.
    fn hand_over_again(&mut self, id: &BatchId, deliveries: &[Delivery]) -> Result<bool, EngineError> {
        for number in 0..self.sinks.len() {
            let last = self.sinks[number].last_applied(&id.scope)?;
            if last.is_some_and(|last| last >= id.sequence) {
                continue;
            }
            match self.hand_to(number, id, deliveries) {
                Ok(refused) if refused.is_empty() => {}
                Ok(_) | Err(EngineError::Sink(SinkError::Records(_))) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn by_record(faults: Vec<RecordFault>, owners: &[usize]) -> Vec<(usize, RecordFault)> {
    let mut faults: Vec<(usize, RecordFault)> =
        faults.into_iter().map(|fault| (owners[fault.index], fault)).collect();
    faults.sort_by_key(|(record, _)| *record);
    faults.dedup_by_key(|(record, _)| *record);
    faults
}

fn digest_of(deliveries: &[Delivery]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("cairn v1 record-batch");
    for delivery in deliveries {
        hasher.update(&[u8::from(delivery.operation == Operation::Delete)]);
        hasher.update(delivery.idempotency_key.as_bytes());
        hasher.update(&(delivery.record.len() as u64).to_le_bytes());
        hasher.update(&delivery.record);
    }
    hasher.finalize().into()
}
