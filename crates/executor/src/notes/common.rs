//! What the services of one process have in common: runs that go on at once share scopes, and callers.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex};

use cairn_store::{Generation, NoteKey, NoteScope};

#[derive(Debug, Default)]
pub(super) struct Common {
    /// Generations told apart so far.
    pub(super) generations: AtomicU64,
    /// Those whose records may yet count.
    pub(super) live: Mutex<HashSet<Generation>>,
    /// Commands that are being run.
    pub(super) running: Mutex<HashSet<(NoteScope, NoteKey)>>,
    /// Woken when one of them ended.
    pub(super) ended: Condvar,
    /// Between the look at which records were seen and the entry of those that pass.
    pub(super) seeing: Mutex<()>,
    /// Tokens of attempts that a process before had started and a run is about to take over.
    pub(super) expected: Mutex<BTreeSet<String>>,
    /// Woken when one of them is expected no more.
    pub(super) known: Condvar,
}
