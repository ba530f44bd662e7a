//! Goes over the stored states in the order of their keys, and hands on changed pages.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender};

use crate::ledger::{Changes, Ledger, LedgerError, Pages};
use crate::state::{RowError, Rows, Short, State, merge, prefix_of};

/// Bytes of changed pages that are written at once.
const WRITE: usize = 4 << 20;

/// Why the states cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A row is damaged.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A file of entries failed.
    #[error("cannot keep what was read: {0}")]
    Spool(#[from] io::Error),
    /// Who writes pages takes no more; it says why.
    #[error("pages are no longer written")]
    Cut,
}

/// Pages that are written at once.
pub(super) type Changed = Vec<(u16, Vec<u8>)>;

/// Writes changed pages as they come, up to the first that cannot be.
pub(super) fn write_changed(ledger: &dyn Ledger, changed: &Receiver<Changed>) -> Result<(), LedgerError> {
    changed.iter().try_for_each(|pages| ledger.apply(Changes { pages, ..Changes::default() }))
}

/// A walk: keys are asked for in ascending order.
pub(super) struct Walk<'l> {
    ledger: &'l dyn Ledger,
    /// All pages in order; `None`: each page is asked for alone.
    pages: Option<std::iter::Peekable<Pages<'l>>>,
    page: Option<(u16, Vec<u8>)>,
    /// Bytes of the page before the next row.
    at: usize,
    /// Rows for the current page.
    over: Vec<u8>,
    changed: Changed,
    changed_bytes: usize,
    writes: SyncSender<Changed>,
}

impl<'l> Walk<'l> {
    /// Starts before the first key. With `few` keys to be asked for, pages are read one by one. Changed ones go to `writes`.
    pub(super) fn new(ledger: &'l dyn Ledger, few: bool, writes: SyncSender<Changed>) -> Self {
        let pages = (!few).then(|| ledger.pages().peekable());
        let (over, changed) = (Vec::new(), Vec::new());
        Self { ledger, pages, page: None, at: 0, over, changed, changed_bytes: 0, writes }
    }

    /// Returns the state of a key.
    pub(super) fn seek(&mut self, key: &Short) -> Result<Option<State<'_>>, WalkError> {
        self.turn_to(prefix_of(key))?;
        let Some((_, page)) = &self.page else { return Ok(None) };
        let mut rows = Rows::new(&page[self.at..]);
        while let Some((state, bytes)) = rows.next_row()? {
            if state.key > *key {
                return Ok(None);
            }
            self.at += bytes.len();
            if state.key == *key {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// Sets the state of the key that was asked for last.
    pub(super) fn put(&mut self, state: &State<'_>) {
        state.encode(&mut self.over);
    }

    /// The same, of a state as [`State::encode`] wrote it.
    pub(super) fn put_encoded(&mut self, state: &[u8]) {
        self.over.extend_from_slice(state);
    }

    fn turn_to(&mut self, prefix: u16) -> Result<(), WalkError> {
        if self.page.as_ref().is_some_and(|(current, _)| *current == prefix) {
            return Ok(());
        }
        self.leave()?;
        self.at = 0;
        let bytes = match &mut self.pages {
            None => self.ledger.page(prefix)?,
            Some(pages) => {
                let mut found = Vec::new();
                while let Some(page) =
                    pages.next_if(|page| !matches!(page, Ok((number, _)) if *number > prefix))
                {
                    let (number, bytes) = page?;
                    if number == prefix {
                        found = bytes;
                        break;
                    }
                }
                found
            }
        };
        self.page = Some((prefix, bytes));
        Ok(())
    }

    /// Merges what was set into the current page.
    fn leave(&mut self) -> Result<(), WalkError> {
        if let Some((prefix, page)) = &self.page
            && !self.over.is_empty()
        {
            let merged =
                if page.is_empty() { std::mem::take(&mut self.over) } else { merge(page, &self.over)? };
            self.over.clear();
            self.changed_bytes += merged.len();
            self.changed.push((*prefix, merged));
            if self.changed_bytes >= WRITE {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), WalkError> {
        self.changed_bytes = 0;
        self.writes.send(std::mem::take(&mut self.changed)).map_err(|_| WalkError::Cut)
    }

    /// Hands on what is left.
    pub(super) fn finish(mut self) -> Result<(), WalkError> {
        self.leave()?;
        if self.changed.is_empty() { Ok(()) } else { self.write() }
    }
}
