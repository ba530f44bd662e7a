//! Reads the source: once to see what there is, and again (`again`) for what is to be delivered.

mod again;

use std::cell::Cell;
use std::collections::HashSet;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use cairn_model::{RecordCounts, Records, SinkMode};

use super::entries::{AGAIN, BAD, Entries, Entry, UNNAMED};
use super::error::EngineError;
use super::marks::{Mark, Marks, ORDINAL_MAX, Spot};
use super::{Hands, Names};
use crate::fields::{Extracted, Extractor, record_digest};
use crate::ledger::{Asked, Buried, Ledger, Letter};
use crate::source::{BadRecord, Reader, SourceFile, is_untyped};
use crate::state::{Place, Short};

pub(super) use again::deliver;

/// Where records come from: files, and dead letters that are to be tried again.
pub(super) struct Source<'s> {
    pub files: &'s [SourceFile],
    pub asked: &'s [Asked],
    pub records: &'s Records,
    pub names: &'s Names<'s>,
    pub hands: &'s Hands<'s>,
}

/// A record as it was read.
struct Seen<'r> {
    spot: Spot,
    line: u64,
    body: Result<&'r [u8], BadRecord>,
    /// The dead letter that it is.
    asked: Option<&'r Asked>,
    /// Whether its file has no types.
    untyped: bool,
}

impl Source<'_> {
    /// Shows the records that are wanted, in the order of the source.
    fn each(
        &self,
        wanted: &dyn Fn(Spot) -> bool,
        touched: &dyn Fn(usize) -> bool,
        show: &mut dyn FnMut(Seen<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for (number, file) in self.files.iter().enumerate() {
            if !touched(number) {
                continue;
            }
            let mut reader = Reader::open(file, self.records.format)?;
            let untyped = reader.is_untyped();
            let stopped = Cell::new(false);
            // Most may be passed over.
            let is_wanted = |ordinal| {
                stopped.set(self.hands.check_stop_at(ordinal).is_err());
                stopped.get() || wanted(Spot::new(number, ordinal))
            };
            while let Some(raw) = reader.next_if(is_wanted)? {
                if stopped.get() {
                    return Err(EngineError::Stopped);
                }
                if raw.ordinal >= ORDINAL_MAX {
                    return Err(EngineError::TooMuch(format!(
                        "`{}` has more than {ORDINAL_MAX} records",
                        file.path
                    )));
                }
                let spot = Spot::new(number, raw.ordinal);
                show(Seen { spot, line: raw.line, body: raw.body, asked: None, untyped })?;
            }
        }
        for (ordinal, asked) in self.asked.iter().enumerate() {
            let spot = Spot::new(self.files.len(), ordinal as u64);
            if wanted(spot) {
                let body = Ok(asked.edited.as_deref().unwrap_or(&asked.payload));
                let untyped = is_untyped(&asked.file, self.records.format);
                show(Seen { spot, line: asked.line, body, asked: Some(asked), untyped })?;
            }
        }
        Ok(())
    }

    fn extractor(&self) -> Extracting {
        let Records { key, version, tombstone, .. } = self.records;
        let make = || Extractor::new(key, version.as_ref(), tombstone.as_ref());
        let append = self.records.sinks.iter().all(|sink| sink.mode == SinkMode::Append);
        Extracting { typed: make(), untyped: make().untyped(true), append }
    }
}

/// Reads keys and versions.
struct Extracting {
    typed: Extractor,
    untyped: Extractor,
    append: bool,
}

impl Extracting {
    fn extract(&mut self, seen: &Seen<'_>) -> Result<Extracted, BadRecord> {
        let body = seen.body.as_ref().map_err(Clone::clone)?;
        let mut extracted =
            if seen.untyped { self.untyped.extract(body)? } else { self.typed.extract(body)? };
        if let Some(asked) = seen.asked {
            // What is remembered is the record that the source holds, whatever a person made of it.
            extracted.digest = crate::fields::record_digest(&asked.payload);
        }
        if self.append {
            // Each version of a key is one of its own.
            let version = extracted.version.as_ref().map_or(extracted.digest.as_slice(), |v| v.as_bytes());
            extracted.key = short("cairn v1 record-key-version", &[&extracted.key, version]);
        }
        Ok(extracted)
    }
}

fn short(context: &str, parts: &[&[u8]]) -> Short {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes")
}

/// Returns what is kept of a record that has no key: its first bytes when it is too long.
fn kept_of_bad<'b>(seen: &'b Seen<'_>, bad: &'b BadRecord) -> &'b [u8] {
    match (seen.asked, &seen.body) {
        (Some(asked), _) => &asked.payload,
        (None, Ok(body)) if body.len() <= BadRecord::EXCERPT * 16 => body,
        (None, _) => &bad.excerpt,
    }
}

/// Returns the digests of all dead letters, as rows of states have them.
pub(super) fn buried(ledger: &dyn Ledger) -> Result<HashSet<Short>, EngineError> {
    let mut buried = HashSet::new();
    ledger.letters(&mut |Buried { key, payload, file, line }| {
        buried.insert(if key.is_empty() { key_of_bad(payload, file, line) } else { record_digest(payload) });
    })?;
    Ok(buried)
}

/// Returns what stands for the key of a record that has none: of what is `kept` of it, and of where it was read when that
/// is not all of it.
pub(super) fn key_of_bad(kept: &[u8], file: &str, line: u64) -> Short {
    let mut parts = vec![kept];
    let line = line.to_le_bytes();
    if kept.len() == BadRecord::EXCERPT {
        parts.extend([file.as_bytes(), &line]);
    }
    short("cairn v1 record-bad", &parts)
}

/// Records that were read and are to be told apart: by other threads, while one reads on.
#[derive(Default)]
struct Block<'s> {
    bytes: Vec<u8>,
    records: Vec<BlockRecord<'s>>,
    /// Bytes that are kept of bad ones, beside `bytes`.
    of_bad: usize,
}

struct BlockRecord<'s> {
    spot: Spot,
    line: u64,
    /// Where its bytes begin; they end where the next one's begin.
    start: usize,
    /// What is wrong with it: rare, and large.
    bad: Option<Box<BadRecord>>,
    asked: Option<&'s Asked>,
    untyped: bool,
}

impl Block<'_> {
    fn seen(&self, index: usize) -> Seen<'_> {
        let BlockRecord { spot, line, start, ref bad, asked, untyped } = self.records[index];
        let end = self.records.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        let body = match bad {
            None => Ok(&self.bytes[start..end]),
            Some(bad) => Err((**bad).clone()),
        };
        Seen { spot, line, body, asked, untyped }
    }
}

/// Bytes of a block.
const BLOCK: usize = 1 << 20;

/// Threads that tell records apart at most: what one thread reads keeps no more of them busy.
const TELLERS: usize = 4;

fn tellers() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(TELLERS)
}

/// Takes blocks as they are read.
type TakeBlock<'t, 's> = dyn FnMut(Block<'s>) -> Result<(), EngineError> + 't;

/// Reads everything once.
pub(super) fn scan(source: &Source<'_>, spool: &Path) -> Result<Entries, EngineError> {
    let entries = Mutex::new(Entries::new(spool.to_owned()));
    let tellers = tellers();
    let (blocks, taken) = mpsc::sync_channel::<Block<'_>>(tellers + 1);
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            read_blocks(source, &|_| true, &|_| true, &mut |block| {
                blocks.send(block).map_err(|_| EngineError::Stopped)
            })
        });
        // The last of them closes the channel, which stops reading where telling apart failed.
        let taken = Arc::new(Mutex::new(taken));
        let telling: Vec<_> = (0..tellers)
            .map(|_| {
                let taken = Arc::clone(&taken);
                let (entries, failed) = (&entries, &failed);
                scope.spawn(move || {
                    let told = tell_apart(source, &taken, entries, failed);
                    failed.fetch_or(told.is_err(), Ordering::Relaxed);
                    told
                })
            })
            .collect();
        drop(taken);
        let told = telling.into_iter().map(|one| one.join().expect("telling apart does not panic"));
        // All are waited for.
        let outcome = told.fold(Ok(()), Result::and);
        let read = reading.join().expect("reading does not panic");
        outcome.and(read)
    })?;
    Ok(entries.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Takes blocks until there are no more, or another thread has `failed`.
fn tell_apart(
    source: &Source<'_>,
    blocks: &Mutex<mpsc::Receiver<Block<'_>>>,
    entries: &Mutex<Entries>,
    failed: &AtomicBool,
) -> Result<(), EngineError> {
    let mut extracting = source.extractor();
    let mut told = Vec::new();
    while !failed.load(Ordering::Relaxed) {
        let next = blocks.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(block) = next else { break };
        source.hands.check_stop()?;
        told.clear();
        for index in 0..block.records.len() {
            tell(&block.seen(index), source.names, &mut extracting, &mut told);
        }
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.extend(&told).map_err(EngineError::Spool)?;
        (source.hands.progress)(&RecordCounts { read: entries.count(), ..RecordCounts::default() });
    }
    Ok(())
}

fn read_blocks<'s>(
    source: &'s Source<'_>,
    wanted: &dyn Fn(Spot) -> bool,
    touched: &dyn Fn(usize) -> bool,
    take: &mut TakeBlock<'_, 's>,
) -> Result<(), EngineError> {
    let mut block = Block::default();
    source.each(wanted, touched, &mut |seen| {
        let start = block.bytes.len();
        let asked = seen
            .asked
            .and_then(|_| source.asked.get(usize::try_from(seen.spot.ordinal()).unwrap_or(usize::MAX)));
        let bad = match seen.body {
            Ok(body) => {
                block.bytes.extend_from_slice(body);
                None
            }
            Err(bad) => {
                block.of_bad += bad.excerpt.len() + bad.error.len();
                Some(Box::new(bad))
            }
        };
        block.records.push(BlockRecord {
            spot: seen.spot,
            line: seen.line,
            start,
            bad,
            asked,
            untyped: seen.untyped,
        });
        if block.bytes.len() + block.of_bad >= BLOCK || block.records.len() >= BLOCK / 64 {
            take(std::mem::take(&mut block))?;
        }
        Ok(())
    })?;
    take(block)
}

/// Adds the entry of a record.
fn tell(seen: &Seen<'_>, names: &Names<'_>, extracting: &mut Extracting, to: &mut Vec<u8>) {
    let again = match seen.asked {
        Some(asked) if asked.key.is_empty() => AGAIN | UNNAMED,
        Some(_) => AGAIN,
        None => 0,
    };
    let spot = seen.spot;
    match extracting.extract(seen) {
        Ok(extracted) => {
            let version = extracted.version.as_ref().map_or(&[][..], |version| version.as_bytes());
            Entry { key: extracted.key, digest: extracted.digest, spot, flags: again, version }.encode(to);
        }
        Err(bad) => {
            let file = names.path(names.numbers.place_of(spot));
            let key = key_of_bad(kept_of_bad(seen, &bad), file, seen.line);
            Entry { key, digest: key, spot, flags: again | BAD, version: &[] }.encode(to);
        }
    }
}

/// Says what is wrong with the first bad record.
pub(super) fn first_bad(source: &Source<'_>, marks: &Marks) -> String {
    let mut first = String::new();
    let mut extracting = source.extractor();
    let _ = source.each(&|spot| marks.get(spot) == Mark::Bad, &|file| marks.any(file), &mut |seen| {
        if let Err(bad) = extracting.extract(&seen) {
            let path = source.names.path(source.names.numbers.place_of(seen.spot));
            first = format!("{path}:{}: {}", seen.line, bad.error);
        }
        Err(EngineError::Stopped)
    });
    first
}

/// Returns the dead letters that were to be tried again and need not be, with where they stood: what they became, or
/// something newer, is delivered.
pub(super) fn superseded(source: &Source<'_>, marks: &Marks) -> Vec<(Letter, Place, u64)> {
    let asked = source.asked.iter().enumerate().filter_map(|(ordinal, asked)| {
        let spot = Spot::new(source.files.len(), ordinal as u64);
        let letter = Letter { key: asked.key.clone(), payload: asked.payload.clone() };
        matches!(marks.get(spot), Mark::None | Mark::Stands)
            .then(|| (letter, source.names.numbers.place_of(spot), asked.line))
    });
    asked.collect()
}

/// Takes a record.
pub(super) type Show<'s> = dyn FnMut(Spot, &[u8]) -> Result<(), EngineError> + 's;

/// Shows the spots and bytes of all records that stand in files: tombstones do not.
pub(super) fn standing(
    source: &Source<'_>,
    wanted: &dyn Fn(Spot) -> bool,
    marks: &Marks,
    show: &mut Show<'_>,
) -> Result<(), EngineError> {
    let mut extracting = source.records.tombstone.is_some().then(|| source.extractor());
    source.each(wanted, &|file| marks.any(file), &mut |seen| {
        let extracted = extracting.as_mut().map(|extracting| extracting.extract(&seen));
        let is_tombstone = matches!(extracted, Some(Ok(Extracted { tombstone: true, .. })));
        match seen.body {
            Ok(body) if !is_tombstone => show(seen.spot, body),
            _ => Ok(()),
        }
    })
}

/// Returns where a record stands, as `path:line`; `None` where it is not there any more.
pub(super) fn place_of(source: &Source<'_>, spot: Spot) -> Option<String> {
    let mut place = None;
    let found = source.each(&|other| other == spot, &|file| file == spot.file(), &mut |seen| {
        let path = match seen.asked {
            Some(asked) => &asked.file,
            None => source.files[spot.file()].path.as_str(),
        };
        place = Some(format!("{path}:{}", seen.line));
        Ok(())
    });
    found.ok().and(place)
}
