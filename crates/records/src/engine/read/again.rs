//! Reads the source again for what is marked, and hands it on to be delivered: as it comes, from its workers, or in the order
//! of its keys.

use std::iter::{Copied, Peekable};
use std::path::Path;
use std::slice;
use std::sync::mpsc;

use bytes::{Bytes, BytesMut};
use cairn_model::{Records, Sink, SinkPlace};

use super::{Block, Extracting, Seen, Source, kept_of_bad, key_of_bad, read_blocks, tellers};
use crate::engine::ahead::{self, Batch};
use crate::engine::deliver::Deliverer;
use crate::engine::error::EngineError;
use crate::engine::item::{Fate, Finished, Item};
use crate::engine::join::{Joined, Prior};
use crate::engine::marks::{Mark, Marks};
use crate::engine::sorted::Sorter;
use crate::engine::work::{self, Spawn};
use crate::ledger::Letter;

/// The most records of a batch where the stage does not say.
const BATCH: usize = 100_000;
/// The most bytes of a batch: there are three at a time, one being read, one waiting, one being delivered.
const BATCH_BYTES: usize = 8 << 20;

/// Fewer records than these are delivered as they come.
const SORTED_LEAST: u64 = 20_000;

/// Reads what is marked, has it worked on, and delivers it.
pub(in crate::engine) fn deliver(
    source: &Source<'_>,
    joined: &Joined,
    deliverer: &mut Deliverer<'_>,
    spawn: Option<&dyn Spawn>,
    spool: &Path,
) -> Result<(), EngineError> {
    let most = source.records.batch.map_or(BATCH, |batch| batch as usize);
    let (items, taken) = mpsc::sync_channel::<Batch>(1);
    let (records, hands) = (source.records, deliverer.hands);
    let sorted = spawn.is_none() && is_sorted(source.records, joined, most);
    if sorted {
        deliverer.lend();
    }
    let maker = ahead::Maker::new(deliverer);
    std::thread::scope(|scope| {
        // Whatever ends first closes its end of the channel, and so ends the others.
        let reading: std::thread::ScopedJoinHandle<'_, Result<(), EngineError>> = match spawn {
            None if sorted => scope.spawn(move || {
                read_sorted(source, joined, most, spool, &mut |batch| {
                    items.send(maker.make(batch)).map_err(|_| EngineError::Stopped)
                })
            }),
            None => scope.spawn(move || {
                read_marked(source, &joined.marks, &joined.priors, most, &mut |batch| {
                    items.send(maker.make(batch)).map_err(|_| EngineError::Stopped)
                })
            }),
            Some(spawn) => {
                scope.spawn(move || {
                    let (to_work, work) = mpsc::sync_channel::<Vec<Finished>>(1);
                    std::thread::scope(|inner| {
                        let reading = inner.spawn(move || {
                            // Workers want few at a time, so that the first results come soon.
                            read_marked(source, &joined.marks, &joined.priors, most.min(1000), &mut |batch| {
                                to_work.send(batch).map_err(|_| EngineError::Stopped)
                            })
                        });
                        let worked = work::work(work, spawn, records, hands, most, &mut |batch| {
                            items.send(Batch::plain(batch)).map_err(|_| EngineError::Stopped)
                        });
                        let read = reading.join().expect("reading does not panic");
                        worked.and(read)
                    })
                })
            }
        };
        let mut outcome = Ok(());
        for batch in &taken {
            outcome = deliverer.take(batch);
            if outcome.is_err() {
                break;
            }
        }
        drop(taken);
        let read = reading.join().expect("reading does not panic");
        // Where a delivery failed, reading was stopped by it.
        outcome.and(read)
    })
}

/// Takes a batch.
type Send<'s> = dyn FnMut(Vec<Finished>) -> Result<(), EngineError> + 's;

/// Puts records together into batches.
struct Batches<'s, 'f> {
    most: usize,
    send: &'s mut Send<'f>,
    batch: Vec<Finished>,
    bytes: usize,
}

impl<'s, 'f> Batches<'s, 'f> {
    fn new(most: usize, send: &'s mut Send<'f>) -> Self {
        Self { most, send, batch: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, finished: Finished) -> Result<(), EngineError> {
        self.bytes += finished.item.record.len() + size_of::<Finished>();
        self.batch.push(finished);
        if self.batch.len() < self.most && self.bytes < BATCH_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        (self.send)(std::mem::take(&mut self.batch))
    }

    fn finish(self) -> Result<(), EngineError> {
        if self.batch.is_empty() { Ok(()) } else { (self.send)(self.batch) }
    }
}

/// Returns whether records are to be brought into the order of their keys: tables want that, when there is more than one
/// batch.
fn is_sorted(records: &Records, joined: &Joined, most: usize) -> bool {
    let table = |sink: &Sink| matches!(sink.place, SinkPlace::Sqlite { .. } | SinkPlace::Postgres { .. });
    records.sinks.iter().any(table) && joined.marks.to_deliver() > (most as u64).min(SORTED_LEAST)
}

/// Reads the marked records in batches, in the order of their keys.
fn read_sorted(
    source: &Source<'_>,
    joined: &Joined,
    most: usize,
    spool: &Path,
    send: &mut Send<'_>,
) -> Result<(), EngineError> {
    let records = source.records;
    let own = records.sinks.iter().map(|sink| &sink.key).find(|key| !key.is_empty());
    let mut sorter = Sorter::new(spool, own.unwrap_or(&records.key));
    read_marked(source, &joined.marks, &joined.priors, most, &mut |batch| {
        let mut left = Vec::new();
        for finished in batch {
            left.extend(sorter.push(finished)?);
        }
        if left.is_empty() { Ok(()) } else { send(left) }
    })?;
    let (mut batches, mut count) = (Batches::new(most, send), 0);
    sorter.finish(&mut |finished| {
        source.hands.check_stop_at(count)?;
        count += 1;
        batches.push(finished)
    })?;
    batches.finish()
}

/// Reads the marked records in batches, in the order of the source: one thread reads, others make of it what is delivered.
fn read_marked(
    source: &Source<'_>,
    marks: &Marks,
    priors: &[Prior],
    most: usize,
    send: &mut Send<'_>,
) -> Result<(), EngineError> {
    let mut batches = Batches::new(most, send);
    std::thread::scope(|scope| {
        // Blocks are given to one after the other, and what comes of them is taken from one after the other.
        let (mut given, mut made) = (Vec::new(), Vec::new());
        for _ in 0..tellers() {
            let (give, blocks) = mpsc::sync_channel::<Block<'_>>(1);
            let (hand_out, take) = mpsc::sync_channel::<Vec<Finished>>(0);
            given.push(give);
            made.push(take);
            scope.spawn(move || {
                let mut making = Making::new(source, priors);
                for block in blocks {
                    let finished = (0..block.records.len()).map(|index| making.finished(&block.seen(index)));
                    if hand_out.send(finished.collect()).is_err() {
                        break;
                    }
                }
            });
        }
        let reading = scope.spawn(move || {
            let wanted = |spot| matches!(marks.get(spot), Mark::Deliver | Mark::Bad);
            let mut turns = given.iter().cycle();
            read_blocks(source, &wanted, &|file| marks.any(file), &mut |block| {
                let next = turns.next().expect("there is one at least");
                next.send(block).map_err(|_| EngineError::Stopped)
            })
        });
        // Where a batch is not taken, all end for want of who takes what they made.
        for take in made.iter().cycle() {
            let Ok(finished) = take.recv() else { break };
            for one in finished {
                batches.push(one)?;
            }
        }
        drop(made);
        reading.join().expect("reading does not panic")
    })?;
    batches.finish()
}

/// Makes of records as they were read what is delivered.
struct Making<'m> {
    source: &'m Source<'m>,
    extracting: Extracting,
    /// What was known of records that are to come, to this thread or another.
    priors: Peekable<Copied<slice::Iter<'m, Prior>>>,
    arena: BytesMut,
}

impl<'m> Making<'m> {
    fn new(source: &'m Source<'m>, priors: &'m [Prior]) -> Self {
        let priors = priors.iter().copied().peekable();
        Self { source, extracting: source.extractor(), priors, arena: BytesMut::new() }
    }

    /// Makes it of a record after those before.
    fn finished(&mut self, seen: &Seen<'_>) -> Finished {
        let Self { source, extracting, priors, arena } = self;
        while priors.next_if(|prior| prior.spot < seen.spot).is_some() {}
        let prior = priors.next_if(|prior| prior.spot == seen.spot);
        let extracted = extracting.extract(seen);
        let mut keep = |record: &[u8]| -> Bytes {
            if arena.capacity() < record.len() {
                arena.reserve(record.len().max(1 << 20));
            }
            arena.extend_from_slice(record);
            arena.split().freeze()
        };
        let place = source.names.numbers.place_of(seen.spot);
        let letter =
            seen.asked.map(|asked| Letter { key: asked.key.clone(), payload: asked.payload.clone() });
        match extracted {
            Ok(extracted) => {
                let record = seen.body.as_ref().map_or(&[][..], |body| *body);
                let record = keep(record);
                let item = Item {
                    key: extracted.key,
                    digest: extracted.digest,
                    version: extracted.version.map_or(Vec::new(), |version| version.as_bytes().to_vec()),
                    spot: seen.spot,
                    place,
                    line: seen.line,
                    tombstone: extracted.tombstone,
                    generation: prior.map_or(0, |prior| prior.next_generation()),
                    record: record.clone(),
                    prior,
                    letter,
                    known_as: None,
                };
                Finished { item, fate: Fate::Results(vec![record]), attempts: Vec::new() }
            }
            Err(bad) => {
                let kept = kept_of_bad(seen, &bad);
                let key = key_of_bad(kept, source.names.path(place), seen.line);
                let whole = keep(kept);
                let item = Item {
                    key,
                    digest: key,
                    version: Vec::new(),
                    spot: seen.spot,
                    place,
                    line: seen.line,
                    tombstone: false,
                    generation: 0,
                    record: whole,
                    prior,
                    letter,
                    known_as: None,
                };
                let error = match &bad.help {
                    Some(help) => format!("{}; {help}", bad.error),
                    None => bad.error.clone(),
                };
                Finished {
                    item,
                    fate: Fate::Failed { class: bad.class.as_str(), error },
                    attempts: Vec::new(),
                }
            }
        }
    }
}
