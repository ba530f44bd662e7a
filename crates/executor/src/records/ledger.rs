//! What the engine of records keeps, in the store.

use cairn_model::{AttemptId, Clock, InputHash, Name, Timestamp};
use cairn_records::ledger::{Asked, Buried, Changes, Dead, Ledger, LedgerError, Pages, Scope};
use cairn_store::{
    Batch, CommitError, DeadKind, DeadLetter, DeadOf, Durability, ReadError, RecordsOf, Store,
};

/// The ledger of one instance's records.
pub(crate) struct StoreLedger<'s> {
    pub(crate) store: &'s Store,
    pub(crate) pipeline: &'s Name,
    pub(crate) attempt: &'s AttemptId,
    pub(crate) epoch: u64,
    pub(crate) input_hash: InputHash,
    pub(crate) clock: &'s dyn Clock,
}

fn unread(error: &ReadError) -> LedgerError {
    LedgerError { help: error.help(), error: error.to_string() }
}

fn unwritten(error: &CommitError) -> LedgerError {
    LedgerError { error: error.to_string(), help: None }
}

/// Returns the dead letters of an instance's records.
pub(crate) fn letters(
    store: &Store,
    of: RecordsOf<'_>,
) -> impl Iterator<Item = Result<DeadLetter, ReadError>> {
    let dead = store.dead(DeadOf { pipeline: Some(of.pipeline), instance: Some(of.instance) });
    dead.filter(|letter| !matches!(letter, Ok(letter) if letter.kind != DeadKind::Record))
}

/// Reads a stored scope.
pub(crate) fn scope_of(store: &Store, of: RecordsOf<'_>) -> Result<Option<Scope>, LedgerError> {
    let Some(bytes) = store.record_scope(of).map_err(|error| unread(&error))? else { return Ok(None) };
    Scope::decode(&bytes).map(Some)
}

impl StoreLedger<'_> {
    fn of(&self) -> RecordsOf<'_> {
        RecordsOf { pipeline: self.pipeline, instance: &self.attempt.instance }
    }

    fn letter(&self, dead: Dead) -> DeadLetter {
        let Dead { key, payload, file, line, class, error, attempts, idempotency_key } = dead;
        DeadLetter {
            kind: DeadKind::Record,
            pipeline: self.pipeline.clone(),
            instance: self.attempt.instance.clone(),
            key,
            digest: DeadLetter::digest_of(&payload),
            payload,
            source: Some((file, line)),
            class,
            error,
            attempts: attempts.into_iter().map(|(at, how)| (Timestamp(at), how)).collect(),
            input_hash: Some(self.input_hash),
            run: self.attempt.run,
            idempotency_key: idempotency_key.to_string(),
            died: self.clock.now(),
            retry: None,
            edited: None,
            retries: 0,
        }
    }
}

impl Ledger for StoreLedger<'_> {
    fn scope(&self) -> Result<Option<Scope>, LedgerError> {
        scope_of(self.store, self.of())
    }

    fn pages(&self) -> Pages<'_> {
        Box::new(self.store.record_pages(self.of()).map(|page| page.map_err(|error| unread(&error))))
    }

    fn page(&self, prefix: u16) -> Result<Vec<u8>, LedgerError> {
        self.store.record_page(self.of(), prefix).map_err(|error| unread(&error))
    }

    fn deltas(&self) -> Result<Vec<u64>, LedgerError> {
        self.store.record_deltas(self.of()).map_err(|error| unread(&error))
    }

    fn delta(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        self.store.record_delta(self.of(), number).map_err(|error| unread(&error))
    }

    fn asked(&self) -> Result<Vec<Asked>, LedgerError> {
        let mut asked = Vec::new();
        for letter in letters(self.store, self.of()) {
            let letter = letter.map_err(|error| unread(&error))?;
            if let Some(retry) = letter.retry {
                let (file, line) = letter.source.unwrap_or_default();
                asked.push(Asked {
                    key: letter.key,
                    payload: letter.payload,
                    edited: retry.payload,
                    file,
                    line,
                });
            }
        }
        Ok(asked)
    }

    fn letters(&self, each: &mut dyn FnMut(Buried<'_>)) -> Result<(), LedgerError> {
        for letter in letters(self.store, self.of()) {
            let letter = letter.map_err(|error| unread(&error))?;
            let (file, line) = letter.source.as_ref().map_or(("", 0), |(file, line)| (file.as_str(), *line));
            each(Buried { key: &letter.key, payload: &letter.payload, file, line });
        }
        Ok(())
    }

    fn apply(&self, changes: Changes) -> Result<(), LedgerError> {
        let Changes { scope, pages, deltas, merged, dead, revived, durable } = changes;
        let (of, mut batch) = (self.of(), Batch::new());
        // One that was given up meanwhile writes nothing more.
        batch.require_attempt(self.attempt, self.epoch);
        if let Some(scope) = scope {
            batch.put_record_scope(of, scope.encode());
        }
        for (prefix, page) in pages {
            batch.put_record_page(of, prefix, page);
        }
        for (number, delta) in deltas {
            batch.put_record_delta(of, number, delta);
        }
        for number in merged {
            batch.remove_record_delta(of, number);
        }
        for letter in revived {
            batch.remove_dead_record(of, &letter.key, &letter.payload);
        }
        for letter in dead {
            let letter = self.letter(letter);
            // A person's edit is not to be lost because the retry failed as well.
            let DeadLetter { pipeline, instance, kind, .. } = &letter;
            let before = self.store.dead_letter(pipeline, instance, *kind, letter.id());
            batch.put_dead(&letter.clone().after(before.map_err(|error| unread(&error))?.as_ref()));
        }
        let durability = if durable { Durability::Synced } else { Durability::Written };
        self.store.commit(batch, durability).map(drop).map_err(|error| unwritten(&error))
    }
}
