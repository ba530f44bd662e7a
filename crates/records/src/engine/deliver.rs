//! Delivers batches: written down, delivered, confirmed.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use cairn_model::{CommitMode, Digest, RecordCounts, Records, SinkMode};

use super::ahead::{Ahead, Batch, Lent};
use super::course::Course;
use super::deltas::{self, Head, Written};
use super::error::EngineError;
use super::files::check_of;
use super::hand_over::{Deliveries, Handed};
use super::item::{Fate, Finished, Item, result_digest};
use super::marks::Spot;
use super::read::key_of_bad;
use super::{Hands, Names};
use crate::fields::key_text;
use crate::ledger::{Changes, Dead, Ledger, Letter, Scope};
use crate::sink::{BatchId, Delivery, Operation, Sink};
use crate::state::{Kept, Made, Place, State, Status};

/// Bytes of a batch that are hashed at once: they are still in the cache.
const HASHED: usize = 128 << 10;

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
    /// Who reads ahead encodes for the sink by this.
    pub lent: Lent,
    /// Records of this load whose fate is decided, by this run or one that was cut off, and those of them that failed. The scope
    /// has those of them that are kept.
    pub decided: u64,
    pub failed: u64,
    /// Records of the source that nothing was heard of yet, once it is known which those are.
    pub to_come: Option<u64>,
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
pub(super) struct Going {
    pub finished: Finished,
    pub results: Vec<Bytes>,
    pub made: Option<Made>,
    pub kept: Option<Kept>,
}

/// What the sinks get of a batch.
pub(super) struct Prepared {
    pub(super) deliveries: Vec<Delivery>,
    /// The index of each delivery's record.
    owners: Vec<usize>,
    digest: Digest,
    /// How many records there are.
    records: usize,
}

impl Prepared {
    /// Makes the deliveries of all results, for the scope of this token.
    pub(super) fn of<'i>(scope: &str, going: impl Iterator<Item = (&'i Item, &'i [Bytes])>) -> Self {
        let (mut deliveries, mut owners, mut records) = (Vec::new(), Vec::new(), 0);
        for (item, results) in going {
            for (index, result) in results.iter().enumerate() {
                let operation = if item.tombstone { Operation::Delete } else { Operation::Put };
                let known = item.known_as.filter(|_| index == 0);
                let idempotency_key = known.unwrap_or_else(|| item.idempotency_key(scope, index, result));
                let fresh = !item.was_delivered();
                deliveries.push(Delivery { operation, record: result.clone(), idempotency_key, fresh });
                owners.push(records);
            }
            records += 1;
        }
        let digest = digest_of(&deliveries);
        Self { deliveries, owners, digest, records }
    }
}

impl Going {
    fn state(&self) -> State<'_> {
        self.finished.item.state(Status::Delivered, self.made, self.kept)
    }

    /// Adds the row of its key, and the one of the bad record from which a person made it.
    fn encode(&self, names: &Names<'_>, to: &mut Vec<u8>) {
        self.state().encode(to);
        let Item { letter, place, line, .. } = &self.finished.item;
        if let Some(letter) = letter {
            encode_mended(letter, *place, *line, names, to);
        }
    }
}

/// Adds the row of a bad record that a person mended: it is dead no more. One that died with a key has no such row.
fn encode_mended(letter: &Letter, place: Place, line: u64, names: &Names<'_>, to: &mut Vec<u8>) {
    if !letter.key.is_empty() {
        return;
    }
    let key = key_of_bad(&letter.payload, names.path(place), line);
    let (status, version) = (Status::Delivered, &[]);
    let (made, kept, retry_at, before) = (None, None, None, None);
    State { key, status, tries: 0, digest: key, place, version, made, kept, retry_at, before }.encode(to);
}

/// Says that more than a tenth of `of` records failed, of which `died` are dead letters already.
pub(super) fn check_outage(
    failed: u64,
    of: u64,
    died: u64,
    first: impl FnOnce() -> String,
) -> Result<(), EngineError> {
    if failed >= OUTAGE_LEAST && failed * 10 > of {
        return Err(EngineError::Outage { failed, of, died, first: first(), help: None });
    }
    Ok(())
}

impl Deliverer<'_> {
    /// Takes care of records with what became of them: all of it is kept when this returns.
    pub(super) fn take(&mut self, batch: Batch) -> Result<(), EngineError> {
        let Batch { finished, ahead } = batch;
        let (mut first, died, mut in_worker) = (None, self.failed, 0);
        for one in &finished {
            match &one.fate {
                Fate::Failed { class: "worker", error } => {
                    self.decided += 1;
                    in_worker += 1;
                    // That a dead letter dies once more says nothing of the others.
                    if one.item.letter.is_none() {
                        self.failed += 1;
                        first.get_or_insert(error);
                    }
                }
                // What is bad in itself was weighed when all was read.
                Fate::Failed { .. } | Fate::Retry { .. } => {}
                Fate::Results(_) | Fate::Dropped => self.decided += 1,
            }
        }
        let again = finished.iter().filter(|one| one.was_retrying()).count() as u64;
        let retrying = finished.iter().filter(|one| matches!(one.fate, Fate::Retry { .. })).count() as u64;
        // Each is heard of once, however often it is tried.
        let heard = finished.len() as u64 - again;
        self.counts.retrying = (self.counts.retrying + retrying)
            .checked_sub(again)
            .ok_or_else(|| EngineError::NotConserved(format!("{again} came again that were not retrying")))?;
        if let Some(to_come) = self.to_come {
            let left = to_come.checked_sub(heard);
            let fault = || EngineError::NotConserved(format!("{heard} came where {to_come} were to come"));
            self.to_come = Some(left.ok_or_else(fault)?);
        }
        // Those that were tried again and again come last, alone: only against all so far is their number one.
        if let Some(first) = first {
            check_outage(self.failed, self.decided, died, || first.clone())?;
        }
        self.scope.weighed.add(in_worker, self.failed - died);
        let mut going = Vec::with_capacity(finished.len());
        for mut one in finished {
            match std::mem::replace(&mut one.fate, Fate::Dropped) {
                Fate::Results(results) => going.extend(self.weigh(one, results)?),
                Fate::Dropped => {
                    self.counts.dropped += 1;
                    self.scope.weighed.add(1, 0);
                    self.exclude(&one.item);
                    let made = self.code.map(|code| Made { result: [0; 16], code });
                    one.item.state(Status::Dropped, made, None).encode(&mut self.rows);
                    self.revive(&one.item);
                }
                Fate::Failed { class, error } => {
                    self.bury(&one.item, &one.item.record, class, error, one.attempts);
                }
                Fate::Retry { at } => {
                    let tries = tries_of(&one.item, &one.attempts);
                    let state = one.item.state(Status::Retrying, None, None);
                    State { tries, retry_at: Some(at), ..state }.encode(&mut self.rows);
                }
            }
        }
        if !going.is_empty() && !self.sinks.is_empty() {
            self.deliver(going, ahead)?;
        } else {
            for one in &going {
                one.encode(self.names, &mut self.rows);
                self.count(&one.finished.item);
            }
            self.scope.weighed.add(going.len() as u64, 0);
            self.confirm()?;
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
            let state = one.item.state(Status::Delivered, made, prior.kept);
            // It is not delivered again.
            State { tries: prior.generation, ..state }.encode(&mut self.rows);
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
        let check = check_of(&bytes);
        file.write_all(&check).and_then(|()| file.write_all(&bytes)).map_err(EngineError::Spool)?;
        let offset = self.scope.results_bytes;
        self.scope.results_bytes += (check.len() + bytes.len()) as u64;
        let length = u32::try_from(bytes.len())
            .map_err(|_| EngineError::TooMuch("the results of one record are more than 4 GiB".to_owned()))?;
        Ok(Some(Kept { offset, length }))
    }

    fn count(&mut self, item: &Item) {
        *(if item.was_delivered() { &mut self.counts.changed } else { &mut self.counts.new }) += 1;
    }

    /// Lets go of a dead letter that was to be tried again and need not be. Where files alone are made of the source, what
    /// it died of is still in them.
    pub(super) fn supersede(&mut self, letter: Letter, place: Place, line: u64) {
        if !self.sinks.is_empty() {
            encode_mended(&letter, place, line, self.names, &mut self.rows);
        }
        self.revived.push(letter);
    }

    fn revive(&mut self, item: &Item) {
        self.revived.extend(self.letter_of(item));
    }

    /// Returns the dead letter that goes when the record is delivered.
    fn letter_of(&self, item: &Item) -> Option<Letter> {
        item.letter.clone().or_else(|| {
            item.prior.filter(|prior| prior.dead)?;
            Some(Letter { key: self.key_text(item), payload: item.record.to_vec() })
        })
    }

    /// Returns a record's key as people write it; where each version is one of its own, with the version.
    fn key_text(&self, item: &Item) -> String {
        let key = key_text(&item.record, &self.records.key);
        if self.records.sinks.iter().any(|sink| sink.mode != SinkMode::Append) {
            return key;
        }
        let version = match &self.records.version {
            Some(version) => key_text(&item.record, std::slice::from_ref(version)),
            None => format!("{:016x}", u64::from_be_bytes(*item.digest.first_chunk().expect("16 bytes"))),
        };
        format!("{key} @ {version}")
    }

    /// Makes a dead letter of a record, of which `sent` is the first that went to a sink.
    fn bury(
        &mut self,
        item: &Item,
        sent: &[u8],
        class: &str,
        error: String,
        mut attempts: Vec<(i64, String)>,
    ) {
        self.counts.dead += 1;
        self.exclude(item);
        let made = self.code.map(|code| Made { result: [0; 16], code });
        let tries = tries_of(item, &attempts);
        let state = item.state(Status::Dead, made, None);
        State { tries, ..state }.encode(&mut self.rows);
        if attempts.is_empty() {
            attempts.push(((self.hands.now)(), error.clone()));
        }
        let (key, payload) = match &item.letter {
            Some(letter) => (letter.key.clone(), letter.payload.clone()),
            // One whose key cannot be read is known by its bytes.
            None if matches!(class, "worker" | "sink") => (self.key_text(item), item.record.to_vec()),
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
            idempotency_key: item.idempotency_key(&self.scope.token, 0, sent),
        });
    }

    /// Delivers a batch, without the records that a sink refuses: such a one becomes a dead letter.
    fn deliver(&mut self, going: Vec<Going>, ahead: Option<Ahead>) -> Result<(), EngineError> {
        let sequence = self.scope.confirmed + 1;
        let must_remember = self.must_remember();
        let ahead = ahead.filter(|ahead| ahead.prepared.records == going.len());
        let ahead = ahead.unwrap_or_else(|| Ahead { prepared: self.prepare(&going), encoded: None });
        self.check_conserved(going.len())?;
        let number = self.write_down(sequence, &going, ahead.prepared.digest, None, must_remember)?;
        self.carry_on(sequence, number, going, Some(ahead), false)?;
        self.lend();
        Ok(())
    }

    /// Writes down what is about to be delivered, in the place of delta `before`, and with it what was decided since the
    /// last confirmation: that stands before it, since a record may have failed before it succeeded. Returns the number of
    /// the delta.
    fn write_down(
        &mut self,
        sequence: u64,
        going: &[Going],
        digest: Digest,
        before: Option<u64>,
        must_remember: bool,
    ) -> Result<u64, EngineError> {
        let mut changes = self.decided_since()?;
        let revived = going.iter().filter_map(|one| self.letter_of(&one.finished.item)).collect();
        let records = must_remember.then(|| going.iter().map(|one| self.written(one)).collect());
        let head = Head { sequence, digest, records, revived };
        let mut rows = Vec::new();
        for one in going {
            one.encode(self.names, &mut rows);
        }
        self.sync_results()?;
        self.scope.last_delta += 1;
        let number = self.scope.last_delta;
        changes.deltas.extend(deltas::entries(number, &head, &rows)?);
        changes.merged.extend(before.into_iter().flat_map(deltas::numbers_of));
        changes.scope = Some(self.scope.clone());
        changes.durable = true;
        self.ledger.apply(changes)?;
        Ok(number)
    }

    /// Hands over the batch that delta `number` holds, to the sinks that do not have it. With `asking`, it is not known
    /// which have it.
    pub(super) fn carry_on(
        &mut self,
        sequence: u64,
        mut number: u64,
        mut going: Vec<Going>,
        mut ahead: Option<Ahead>,
        asking: bool,
    ) -> Result<(), EngineError> {
        loop {
            let Ahead { prepared: Prepared { deliveries, owners, digest, .. }, encoded } =
                ahead.take().unwrap_or_else(|| Ahead { prepared: self.prepare(&going), encoded: None });
            let (scope, fence) = (self.scope.token.clone(), self.hands.fence);
            let id = BatchId { scope, sequence, digest, fence };
            let Handed::Refused { sink, taken, mut faults } =
                self.hand_over(&id, Deliveries { all: &deliveries, owners: &owners, encoded }, asking)?
            else {
                self.scope.confirmed = sequence;
                self.scope.weighed.add(going.len() as u64, 0);
                for one in &going {
                    self.count(&one.finished.item);
                    self.revive(&one.finished.item);
                }
                return self.confirm();
            };
            let died = self.failed;
            // That a dead letter dies once more says nothing of the others.
            let fresh = |index: &&usize| going[**index].finished.item.letter.is_none();
            self.failed += faults.keys().filter(fresh).count() as u64;
            let first = || faults.values().next().map(|fault| fault.error.clone()).unwrap_or_default();
            let outage = if self.failed > died {
                check_outage(self.failed, self.decided, died, first)
            } else {
                Ok(())
            };
            let must_remember = asking || self.must_remember();
            let (mut left, mut refused) = (Vec::with_capacity(going.len()), Vec::new());
            for (index, one) in going.into_iter().enumerate() {
                match faults.remove(&index) {
                    None => left.push(one),
                    Some(refusal) => refused.push((one, refusal)),
                }
            }
            // Those before this number have it.
            let from = sink + usize::from(taken);
            if let Err(outage) = outage {
                self.give_up(sequence, number, &left, from, must_remember)?;
                return Err(outage);
            }
            self.scope.weighed.add(refused.len() as u64, self.failed - died);
            for (Going { finished: Finished { item, mut attempts, .. }, results, .. }, refusal) in refused {
                let sent = results.first().unwrap_or(&item.record);
                attempts.extend(refusal.attempts);
                self.bury(&item, sent, "sink", refusal.error, attempts);
            }
            self.check_conserved(left.len())?;
            if left.is_empty() && from == 0 {
                return self.confirm_without(number);
            }
            if from == self.sinks.len() {
                // None is left that would be told. Cut off before this is kept, the same batch goes to the last one again.
                self.scope.confirmed = sequence;
                self.scope.weighed.add(left.len() as u64, 0);
                for one in &left {
                    one.encode(self.names, &mut self.rows);
                    self.count(&one.finished.item);
                    self.revive(&one.finished.item);
                }
                return self.confirm_without(number);
            }
            // Even with nothing left the others are told of the batch, so that all have the same number.
            let next = self.prepare(&left);
            self.scope.trying = (from > 0).then(|| {
                let digest = next.digest;
                let id = BatchId { digest, ..id };
                Course::new(next.deliveries.len(), None).keep(from, &id)
            });
            number = self.write_down(sequence, &left, next.digest, Some(number), must_remember)?;
            (going, ahead) = (left, Some(Ahead { prepared: next, encoded: None }));
        }
    }

    /// Gives the batch of delta `number` up in an outage. What all sinks have `taken` is remembered, the rest stays as it
    /// was before; sinks before number `from` know the batch.
    fn give_up(
        &mut self,
        sequence: u64,
        number: u64,
        taken: &[Going],
        from: usize,
        must_remember: bool,
    ) -> Result<(), EngineError> {
        self.scope.trying = None;
        if from > 0 && from < self.sinks.len() {
            return self.write_down(sequence, &[], digest_of(&[]), Some(number), must_remember).map(drop);
        }
        if from > 0 {
            self.scope.confirmed = sequence;
            self.scope.weighed.add(taken.len() as u64, 0);
            for one in taken {
                one.encode(self.names, &mut self.rows);
                self.revive(&one.finished.item);
            }
        }
        self.confirm_without(number)
    }

    /// Returns the deliveries of all results.
    fn prepare(&self, going: &[Going]) -> Prepared {
        let going = going.iter().map(|one| (&one.finished.item, one.results.as_slice()));
        Prepared::of(&self.scope.token, going)
    }

    /// Returns whether records have to be written down so that the very same batch can be delivered again: not where the
    /// one sink can tell whether it has it.
    fn must_remember(&self) -> bool {
        let asked = matches!(self.sinks.as_slice(), [sink] if sink.is_transactional());
        !asked && self.records.commit != CommitMode::TwoPhase
    }

    fn written(&self, one: &Going) -> Written {
        let item = &one.finished.item;
        let is_result = matches!(one.results.as_slice(), [result] if *result == item.record);
        Written {
            key: item.key,
            line: item.line,
            tombstone: item.tombstone,
            record: (!is_result).then(|| item.record.to_vec()),
            results: one.results.iter().map(|result| result.to_vec()).collect(),
            letter: self.letter_of(item),
        }
    }

    fn sync_results(&mut self) -> Result<(), EngineError> {
        match &self.results {
            Some(file) => file.sync_data().map_err(EngineError::Spool),
            None => Ok(()),
        }
    }

    /// Returns what was decided since the last confirmation.
    fn decided_since(&mut self) -> Result<Changes, EngineError> {
        let rows = std::mem::take(&mut self.rows);
        let mut changes = Changes {
            dead: std::mem::take(&mut self.dead),
            revived: std::mem::take(&mut self.revived),
            ..Changes::default()
        };
        if !rows.is_empty() {
            self.sync_results()?;
            self.scope.last_delta += 1;
            changes.deltas = deltas::chunks(self.scope.last_delta, &rows)?;
        }
        Ok(changes)
    }

    /// Holds the conservation law: each record that was read is in one of the sets, `on_the_way`, or still to come.
    pub(super) fn check_conserved(&self, on_the_way: usize) -> Result<(), EngineError> {
        let Some(to_come) = self.to_come else { return Ok(()) };
        if self.counts.read == self.counts.decided() + on_the_way as u64 + to_come {
            return Ok(());
        }
        let counts = self.counts;
        Err(EngineError::NotConserved(format!("{on_the_way} on the way, {to_come} to come, {counts:?}")))
    }

    /// Keeps what was decided since the last confirmation.
    pub(super) fn confirm(&mut self) -> Result<(), EngineError> {
        self.check_conserved(0)?;
        let changes = self.decided_since()?;
        Ok(self.ledger.apply(Changes { scope: Some(self.scope.clone()), ..changes })?)
    }

    /// The same, without delta `number`, which does not count.
    fn confirm_without(&mut self, number: u64) -> Result<(), EngineError> {
        let changes = self.decided_since()?;
        let merged = deltas::numbers_of(number).collect();
        Ok(self.ledger.apply(Changes { scope: Some(self.scope.clone()), merged, ..changes })?)
    }
}

/// Returns how often a record was tried, in this run and before.
fn tries_of(item: &Item, attempts: &[(i64, String)]) -> u8 {
    u8::try_from(attempts.len()).unwrap_or(u8::MAX).saturating_add(item.tries())
}

fn digest_of(deliveries: &[Delivery]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("cairn v1 record-batch");
    // Much at once is hashed several times as fast.
    let mut bytes = Vec::with_capacity(2 * HASHED);
    for delivery in deliveries {
        bytes.push(u8::from(delivery.operation == Operation::Delete));
        bytes.extend_from_slice(delivery.idempotency_key.as_bytes());
        bytes.extend_from_slice(&(delivery.record.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&delivery.record);
        if bytes.len() >= HASHED {
            hasher.update(&bytes);
            bytes.clear();
        }
    }
    hasher.update(&bytes);
    hasher.finalize().into()
}
