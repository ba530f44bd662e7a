//! Committing without a thread for it.

use super::{Message, Worker};

/// What was handed over and is not written yet, and who writes it.
///
/// A run of one short command has hardly ever more than one thing to commit: to wake another thread for each, and to be woken
/// by it, would cost more than what is written together with others.
pub(super) struct Here {
    worker: Worker,
    /// What nobody waits for.
    held_back: Vec<Message>,
}

impl Here {
    pub(super) fn new(worker: Worker) -> Self {
        Self { worker, held_back: Vec::new() }
    }

    /// Commits what is waited for, with all that was held back before it.
    pub(super) fn take(&mut self, message: Message) {
        let is_waited_for = !matches!(message, Message::Write(_) | Message::Hurry);
        self.held_back.push(message);
        if is_waited_for {
            self.write_out();
        }
    }

    pub(super) fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    pub(super) fn write_out(&mut self) {
        let group = std::mem::take(&mut self.held_back);
        if !group.is_empty() {
            self.worker.commit(group);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cairn_content::{Digests, Objects, Placer, durable};
    use cairn_model::{Event, FixedClock, RunEvent, RunId, Timestamp};
    use cairn_store::{Access, Batch, Store};

    use crate::committer::{Committer, Parts, Publication};
    use crate::rows::{StoredObjects, StoredRows};

    fn parts(root: &std::path::Path) -> (Parts, Store) {
        let state = root.join(".cairn");
        let store = Store::open(&state, Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
        let objects = Objects::open(&state, Arc::new(StoredObjects(store.clone()))).unwrap();
        let placer = Placer::new(root, &state, objects.clone(), "run").unwrap();
        let digests = Arc::new(Digests::new(Box::new(StoredRows(Some(store.clone()))), 7));
        let (folder, root) = (root.to_owned(), root.to_owned());
        (Parts { store: store.clone(), objects, placer: Arc::new(placer), digests, folder, root }, store)
    }

    fn batch() -> Batch {
        let mut batch = Batch::new();
        let what = RunEvent::Started { instances: 1, resumed: false };
        batch.event(RunId::from_bytes([7; 16]), &Event { at: Timestamp(0), what });
        batch
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_written_with_what_is_waited_for_next() {
        let root = tempfile::tempdir().unwrap();
        let (parts, store) = parts(root.path());
        let committer = Committer::here(parts);
        let before = store.head().sequence;
        let written = || store.head().sequence - before;
        committer.write(batch());
        committer.write(batch());
        assert_eq!(written(), 0);
        committer.written(batch()).await.unwrap();
        assert_eq!(written(), 1, "three in one");
        committer.write(batch());
        committer.write_out().await;
        committer.write_out().await;
        assert_eq!(written(), 2);
        let publication = Publication { batch: batch(), outputs: Vec::new(), in_place: false };
        assert_eq!(committer.publish(publication).await.unwrap(), Vec::<String>::new());
        assert_eq!(written(), 3);
        assert_eq!(Store::sequence_on_disk(&root.path().join(".cairn")), Some(before + 3), "it is durable");
        committer.write(batch());
        drop(committer);
        assert_eq!(store.head().sequence - before, 4);
        assert_eq!(store.events(RunId::from_bytes([7; 16])).unwrap().len(), 6);
    }

    #[tokio::test]
    async fn after_a_failure_all_who_wait_are_told_and_nothing_is_written() {
        let root = tempfile::tempdir().unwrap();
        let (parts, _store) = parts(root.path());
        let (state, elsewhere) = (root.path().join(".cairn"), root.path().join("elsewhere"));
        let committer = Committer::here(parts);
        durable::rename(&state, &elsewhere).unwrap();
        assert!(committer.written(batch()).await.is_err());
        durable::rename(&elsewhere, &state).unwrap();
        assert!(committer.flush(batch()).await.is_err(), "what was lost before it stays lost");
    }
}
