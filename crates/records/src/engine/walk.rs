//! Goes over the stored states in the order of their keys, and writes changed pages on the way.

use std::io;

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
    changed: Vec<(u16, Vec<u8>)>,
    changed_bytes: usize,
}

impl<'l> Walk<'l> {
    /// Starts before the first key. With `few` keys to be asked for, pages are read one by one.
    pub(super) fn new(ledger: &'l dyn Ledger, few: bool) -> Self {
        let pages = (!few).then(|| ledger.pages().peekable());
        Self { ledger, pages, page: None, at: 0, over: Vec::new(), changed: Vec::new(), changed_bytes: 0 }
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
        let pages = std::mem::take(&mut self.changed);
        self.ledger.apply(Changes { pages, ..Changes::default() })?;
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> Result<(), WalkError> {
        self.leave()?;
        if self.changed.is_empty() { Ok(()) } else { self.write() }
    }
}
