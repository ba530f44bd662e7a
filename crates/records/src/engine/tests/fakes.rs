//! A ledger, sinks and workers in memory, which fail from a given call on: a process that is gone makes no more calls.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use cairn_model::{
    Address, CommitMode, Digest, FieldPath, OnChange, ProjectPath, RecordRetries, Records, Sink as Told,
    SinkMode, SinkPlace,
};
use serde_json::Value;

use crate::engine::{self, EngineError, Hands, Process, Report, Setup, Spawn, SpawnError};
use crate::ledger::{Asked, Buried, Changes, Dead, Ledger, LedgerError, Pages, Scope};
use crate::sink::{BatchId, Delivered, Delivery, Operation, RecordFault, Sink, SinkError};
use crate::source::SourceFile;

mod sink;
mod stage;

pub(super) use sink::*;
pub(super) use stage::*;

/// Counts calls, and says which fail.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Calls that are left; below zero there is no end.
    left: AtomicI64,
}

impl Cut {
    pub(super) fn after(calls: i64) -> Arc<Self> {
        Arc::new(Self { left: AtomicI64::new(calls) })
    }

    pub(super) fn never() -> Arc<Self> {
        Self::after(i64::MAX)
    }

    /// Returns whether the process is still there.
    pub(super) fn lives(&self) -> bool {
        self.left.fetch_sub(1, Ordering::SeqCst) > 0
    }

    pub(super) fn was_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    pub(super) fn calls(&self) -> i64 {
        i64::MAX - self.left.load(Ordering::SeqCst)
    }
}

/// What a store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    scope: Option<Scope>,
    pages: BTreeMap<u16, Vec<u8>>,
    deltas: BTreeMap<u64, Vec<u8>>,
    pub(super) dead: BTreeMap<(String, Vec<u8>), Dead>,
    /// Dead letters that a person wants tried again, with their edited payload.
    pub(super) asked: BTreeMap<(String, Vec<u8>), Option<Vec<u8>>>,
}

/// A store that keeps its states since the last durable one, so that a power cut may take some of them.
#[derive(Debug)]
pub(super) struct Memory {
    states: Mutex<Vec<Stored>>,
    cut: Mutex<Arc<Cut>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { states: Mutex::new(vec![Stored::default()]), cut: Mutex::new(Cut::never()) }
    }

    pub(super) fn now(&self) -> Stored {
        self.states.lock().unwrap().last().unwrap().clone()
    }

    pub(super) fn ask(&self, key: &str, payload: &[u8], edited: Option<&[u8]>) {
        let mut states = self.states.lock().unwrap();
        let stored = states.last_mut().unwrap();
        let letter = (key.to_owned(), payload.to_vec());
        assert!(stored.dead.contains_key(&letter), "no such letter");
        stored.asked.insert(letter, edited.map(<[u8]>::to_vec));
    }

    /// Loses what was written since the last durable change, but for the first `keep` parts in a hundred.
    pub(super) fn lose_power(&self, keep: usize) {
        let mut states = self.states.lock().unwrap();
        let last = (states.len() - 1) * keep / 100;
        states.truncate(last + 1);
    }

    fn with<T>(&self, look: impl FnOnce(&Stored) -> T) -> T {
        look(self.states.lock().unwrap().last().unwrap())
    }

    fn check(&self) -> Result<(), LedgerError> {
        let cut = Arc::clone(&self.cut.lock().unwrap());
        if cut.lives() { Ok(()) } else { Err(LedgerError { error: "cut".to_owned(), help: None }) }
    }
}

impl Ledger for Memory {
    fn scope(&self) -> Result<Option<Scope>, LedgerError> {
        Ok(self.with(|now| now.scope.clone()))
    }

    fn pages(&self) -> Pages<'_> {
        Box::new(self.now().pages.into_iter().map(Ok))
    }

    fn page(&self, prefix: u16) -> Result<Vec<u8>, LedgerError> {
        Ok(self.with(|now| now.pages.get(&prefix).cloned().unwrap_or_default()))
    }

    fn deltas(&self) -> Result<Vec<u64>, LedgerError> {
        Ok(self.with(|now| now.deltas.keys().copied().collect()))
    }

    fn delta(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        Ok(self.with(|now| now.deltas.get(&number).cloned().unwrap_or_default()))
    }

    fn asked(&self) -> Result<Vec<Asked>, LedgerError> {
        let now = self.now();
        let asked = now.asked.into_iter().map(|((key, payload), edited)| {
            let Dead { file, line, .. } = now.dead[&(key.clone(), payload.clone())].clone();
            Asked { key, payload, edited, file, line }
        });
        Ok(asked.collect())
    }

    fn letters(&self, each: &mut dyn FnMut(Buried<'_>)) -> Result<(), LedgerError> {
        for letter in self.now().dead.values() {
            let Dead { key, payload, file, line, .. } = letter;
            each(Buried { key, payload, file, line: *line });
        }
        Ok(())
    }

    fn apply(&self, changes: Changes) -> Result<(), LedgerError> {
        self.check()?;
        let mut stored = self.now();
        let Changes { scope, pages, deltas, merged, dead, revived, durable } = changes;
        if scope.is_some() {
            stored.scope = scope;
        }
        for (prefix, page) in pages {
            if page.is_empty() {
                stored.pages.remove(&prefix);
            } else {
                stored.pages.insert(prefix, page);
            }
        }
        stored.deltas.extend(deltas);
        for number in merged {
            stored.deltas.remove(&number);
        }
        for letter in revived {
            let letter = (letter.key, letter.payload);
            stored.dead.remove(&letter);
            stored.asked.remove(&letter);
        }
        for dead in dead {
            let letter = (dead.key.clone(), dead.payload.clone());
            stored.asked.remove(&letter);
            stored.dead.insert(letter, dead);
        }
        let mut states = self.states.lock().unwrap();
        if durable {
            states.clear();
        }
        states.push(stored);
        drop(states);
        // The change is there, and whoever made it does not learn of it.
        self.check()
    }
}
