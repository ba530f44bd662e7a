//! Compares what the source holds with what is remembered: finds the newest record of each key, and what is to be done
//! with it.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{self, Receiver};

use cairn_model::RecordCounts;
use serde::{Deserialize, Serialize};

use super::entries::{AGAIN, BAD, Entries, Entry, PARTS, Sorted, UNNAMED};
use super::error::EngineError;
use super::marks::{Mark, Marks, Spot};
use super::walk::{Walk, WalkError, write_changed};
use super::{Hands, Numbers};
use crate::ledger::Ledger;
use crate::state::{Kept, Short, State, Status};

/// So many entries at most, and pages are read one by one.
const FEW: u64 = 4096;

/// What decides about a key, but for its records.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "five questions about a stage, each answered once")]
pub(super) struct Rules<'r> {
    /// Whether records have a version; else the last of the source is the newest.
    pub versioned: bool,
    /// Whether nothing but files is made of the records: then their states are written at once.
    pub direct: bool,
    /// Whether files are made of the records.
    pub files: bool,
    /// Whether a key that was delivered stays as it is.
    pub insert: bool,
    /// Whether anything outlives the source: a sink that is no file.
    pub outlives: bool,
    /// Digests of the dead letters that nobody has dropped.
    pub buried: &'r HashSet<Short>,
    /// The worker's code, when what it made of records before is to be made again.
    pub code: Option<u64>,
    /// Paths of files by their numbers, for those that were read before.
    pub paths: &'r [String],
    /// The numbers of this run's files.
    pub numbers: &'r Numbers,
}

/// What was known of a record that is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prior {
    pub spot: Spot,
    /// Whether its key was delivered before.
    pub delivered: bool,
    /// Whether the record is the one that was delivered, which the worker sees again.
    pub same: bool,
    /// Whether it is a dead letter.
    pub dead: bool,
    /// Tries of this very record.
    pub tries: u8,
    /// How often the key was delivered before the last delivery, modulo 256.
    pub generation: u8,
    /// What the worker made of it, the last time.
    pub result: Option<Short>,
    /// Where that is kept.
    pub kept: Option<Kept>,
    /// When it was to be tried again, in milliseconds since 1970.
    pub retry_at: Option<i64>,
}

impl Prior {
    /// Returns how often the key was delivered before, modulo 256.
    pub(super) fn next_generation(&self) -> u8 {
        if self.delivered { self.generation.wrapping_add(1) } else { 0 }
    }
}

/// What a comparison leads to.
#[derive(Debug)]
pub(super) struct Joined {
    pub marks: Marks,
    /// What was known, sorted by spot.
    pub priors: Vec<Prior>,
    /// Where results are kept of records that stand, for files that are made of them.
    pub kept: Vec<(Spot, Kept)>,
    /// Records that need nothing more, by what became of them.
    pub counts: RecordCounts,
}

/// Compares all entries with all states.
pub(super) fn join(
    mut entries: Entries,
    ledger: &dyn Ledger,
    rules: &Rules<'_>,
    files: usize,
    hands: &Hands<'_>,
) -> Result<Joined, EngineError> {
    let mut joined = Joined {
        marks: Marks::new(files),
        priors: Vec::new(),
        kept: Vec::new(),
        counts: RecordCounts::default(),
    };
    joined.counts.read = entries.count();
    let few = entries.count() <= FEW;
    std::thread::scope(|scope| {
        // While one part is compared, the next one is read and sorted, and pages of those before are written.
        let (parts, taken) = mpsc::sync_channel(0);
        scope.spawn(move || {
            let mut sorted = (0..PARTS).map(|part| Ok(Sorted::new(entries.take(part)?)));
            let _ = sorted.try_for_each(|part: io::Result<Sorted>| {
                let failed = part.is_err();
                parts.send(part).is_ok_and(|()| !failed).then_some(())
            });
        });
        let (writes, changed) = mpsc::sync_channel(1);
        let writing = scope.spawn(move || write_changed(ledger, &changed));
        let compared = joined.compare(taken, Walk::new(ledger, few, writes), rules, hands);
        // Why pages are not written comes before that they are not.
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        compared
    })?;
    joined.priors.sort_unstable_by_key(|prior| prior.spot);
    Ok(joined)
}

/// Brings dead letters that are tried again to where they belong among the records of their key: of equal versions, each
/// comes right after the record that it was, and before all when the source does not hold that any more. One that died
/// without a key was given it by a person just now, and stays last.
fn place_letters<'e>(group: &[Entry<'e>]) -> Vec<Entry<'e>> {
    let rank = |entry: &Entry<'e>| {
        if entry.flags & (AGAIN | BAD | UNNAMED) != AGAIN {
            return Some((entry.spot, false));
        }
        let was = group.iter().rfind(|other| other.flags & AGAIN == 0 && other.digest == entry.digest);
        was.map(|was| (was.spot, true))
    };
    let mut placed = group.to_vec();
    placed.sort_by(|left, right| left.version.cmp(right.version).then(rank(left).cmp(&rank(right))));
    placed
}

impl Joined {
    fn compare(
        &mut self,
        parts: Receiver<io::Result<Sorted>>,
        mut walk: Walk<'_>,
        rules: &Rules<'_>,
        hands: &Hands<'_>,
    ) -> Result<(), EngineError> {
        let mut count = 0;
        for part in parts {
            let part = part.map_err(EngineError::Spool)?;
            let mut group: Vec<Entry<'_>> = Vec::new();
            for entry in part.iter() {
                if group.last().is_some_and(|last| last.key != entry.key) {
                    self.group(&group, &mut walk, rules)?;
                    group.clear();
                }
                hands.check_stop_at(count)?;
                count += 1;
                group.push(entry);
            }
            if !group.is_empty() {
                self.group(&group, &mut walk, rules)?;
            }
        }
        Ok(walk.finish()?)
    }

    fn group(
        &mut self,
        group: &[Entry<'_>],
        walk: &mut Walk<'_>,
        rules: &Rules<'_>,
    ) -> Result<(), WalkError> {
        let placed: Vec<Entry<'_>>;
        let group = if group.len() > 1 && group.iter().any(|entry| entry.flags & AGAIN != 0) {
            placed = place_letters(group);
            &placed
        } else {
            group
        };
        let (mut newest, mut others) = group.split_last().expect("a group has a record");
        let state = walk.seek(&newest.key)?;
        // One that is tried again does not stand in the way of what was delivered since.
        while newest.flags & (AGAIN | BAD) == AGAIN && !others.is_empty() {
            let count = match decide(newest, state.as_ref(), rules) {
                Verdict::Same => &mut self.counts.same,
                Verdict::Late => &mut self.counts.late,
                Verdict::Deliver { .. } | Verdict::Dropped | Verdict::Dead => break,
            };
            *count += 1;
            (newest, others) = others.split_last().expect("there are others");
        }
        if newest.flags & BAD != 0 {
            let known = state.map(|state| state.status).filter(|_| newest.flags & AGAIN == 0);
            match known {
                // A person mended it, and it was delivered.
                Some(Status::Delivered) => self.counts.same += group.len() as u64,
                Some(Status::Dead) if rules.buried.contains(&newest.digest) => {
                    self.counts.dead += group.len() as u64;
                }
                // A person dropped its letter.
                Some(Status::Dead) => self.counts.dropped += group.len() as u64,
                _ => {
                    self.counts.dead += others.len() as u64;
                    self.marks.set(newest.spot, Mark::Bad);
                }
            }
            return Ok(());
        }
        for other in others {
            let same = other.digest == newest.digest;
            *(if same { &mut self.counts.same } else { &mut self.counts.late }) += 1;
        }
        let verdict = decide(newest, state.as_ref(), rules);
        // Of equal versions the place decides once its file is gone: this one's, for it is the same record.
        let moved = state.filter(|state| {
            let is_same = matches!(verdict, Verdict::Same | Verdict::Dead | Verdict::Dropped);
            is_same && rules.versioned && rules.outlives && !rules.numbers.is_read(state.place.file)
        });
        let moved = moved.map(|state| {
            let mut row = Vec::new();
            State { place: rules.numbers.place_of(newest.spot), ..state }.encode(&mut row);
            row
        });
        let delivered = state.is_some_and(|state| state.generation().is_some());
        match verdict {
            Verdict::Deliver { same, .. } if rules.direct => {
                let count = if delivered { &mut self.counts.changed } else { &mut self.counts.new };
                *count += u64::from(!same);
                self.counts.same += u64::from(same);
                walk.put(&delivered_state(newest, rules));
                self.marks.set(newest.spot, Mark::Stands);
            }
            Verdict::Deliver { tries, same } => {
                let result = state.and_then(|state| state.made).map(|made| made.result);
                self.marks.set(newest.spot, Mark::Deliver);
                let dead = state.is_some_and(|state| state.status == Status::Dead);
                if let Some(state) = state {
                    let State { kept, retry_at, .. } = state;
                    let generation = state.generation().unwrap_or(0);
                    // Another record does not wait for the one that failed.
                    let retry_at = retry_at.filter(|_| tries > 0);
                    let spot = newest.spot;
                    let prior =
                        Prior { spot, delivered, same, dead, tries, generation, result, kept, retry_at };
                    self.priors.push(prior);
                }
            }
            Verdict::Same | Verdict::Late => {
                *(if verdict == Verdict::Same { &mut self.counts.same } else { &mut self.counts.late }) += 1;
                if rules.files {
                    self.marks.set(newest.spot, Mark::Stands);
                    self.kept.extend(state.and_then(|state| state.kept).map(|kept| (newest.spot, kept)));
                }
            }
            Verdict::Dropped => self.counts.dropped += 1,
            Verdict::Dead => self.counts.dead += 1,
        }
        if let Some(row) = moved {
            walk.put_encoded(&row);
        }
        Ok(())
    }
}

fn delivered_state<'e>(entry: &Entry<'e>, rules: &Rules<'_>) -> State<'e> {
    State {
        key: entry.key,
        status: Status::Delivered,
        tries: 0,
        digest: entry.digest,
        place: rules.numbers.place_of(entry.spot),
        version: entry.version,
        made: None,
        kept: None,
        retry_at: None,
        before: None,
    }
}

/// What is to be done with a key's newest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Deliver { tries: u8, same: bool },
    Same,
    Late,
    Dropped,
    Dead,
}

fn decide(newest: &Entry<'_>, state: Option<&State<'_>>, rules: &Rules<'_>) -> Verdict {
    let Some(state) = state else { return Verdict::Deliver { tries: 0, same: false } };
    let same = state.digest == newest.digest;
    let fresh = Verdict::Deliver { tries: 0, same: false };
    if newest.flags & AGAIN != 0 {
        return match state.status {
            // A run was cut off after its delivery, and before its dead letter went.
            Status::Delivered if same => Verdict::Same,
            // Without versions nothing says that it is newer than what was delivered since it died.
            Status::Delivered if !rules.versioned => Verdict::Late,
            _ if !same && rules.versioned && newest.version < state.version => Verdict::Late,
            _ => fresh,
        };
    }
    // Another code may make something else of it.
    let outdated = rules.code.is_some_and(|code| state.made.is_none_or(|made| made.code != code));
    match state.status {
        Status::Retrying if same => Verdict::Deliver { tries: state.tries, same: false },
        Status::Dead if same && !outdated && rules.buried.contains(&newest.digest) => Verdict::Dead,
        // By the worker, or its letter by a person.
        Status::Dead | Status::Dropped if same && !outdated => Verdict::Dropped,
        // Where the first stays, what another code makes of it has no place.
        Status::Delivered if same && outdated && !rules.insert => Verdict::Deliver { tries: 0, same: true },
        Status::Delivered if same => Verdict::Same,
        Status::Delivered if rules.insert => Verdict::Late,
        // Whatever became of the newer one: while it is dead, no older one takes its place.
        _ if !same && rules.versioned && rules.outlives && is_older(newest, state, rules) => Verdict::Late,
        Status::Delivered | Status::Retrying | Status::Dead | Status::Dropped => fresh,
    }
}

/// Returns whether the record comes before the one that was looked at last. Of equal versions, what the source holds counts,
/// which is `newest`; where the file of the other one is gone, the later place does, in whichever order they came.
fn is_older(newest: &Entry<'_>, state: &State<'_>, rules: &Rules<'_>) -> bool {
    let path = |number: u32| rules.paths.get(number as usize).map_or("", String::as_str);
    let place = rules.numbers.place_of(newest.spot);
    newest.version.cmp(state.version).then_with(|| {
        if rules.numbers.is_read(state.place.file) {
            return Ordering::Equal;
        }
        path(place.file).cmp(path(state.place.file)).then(place.ordinal.cmp(&state.place.ordinal))
    }) == Ordering::Less
}
