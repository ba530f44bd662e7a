//! Notes of scripts.

use cairn_model::Timestamp;

use crate::keys::{self, Family, NoteKind};
use crate::record::{Damage, Seen, Settled};
use crate::{Batch, Generation, Mark, NoteScope, Once, ReadError, Store};

/// What tells one key from another: the beginning of a digest.
pub type NoteKey = [u8; 16];

impl Store {
    /// Returns how far the command under a key has come.
    pub fn once(&self, scope: &NoteScope, key: &NoteKey) -> Result<Option<Once>, ReadError> {
        self.inner.database.get(Family::Notes, &keys::note(scope, NoteKind::Once, key))
    }

    /// Returns who had each of these records last; its records count once it is committed.
    pub fn seen_by(
        &self,
        scope: &NoteScope,
        records: &[NoteKey],
    ) -> Result<Vec<Option<Generation>>, ReadError> {
        let keys: Vec<_> = records.iter().map(|key| keys::note(scope, NoteKind::Seen, key)).collect();
        let seen = self.inner.database.get_many::<Seen>(Family::Notes, &keys)?;
        Ok(seen.into_iter().map(|seen| seen.map(|Seen(generation)| generation)).collect())
    }

    /// Returns whether what a generation had is committed.
    pub fn is_settled(&self, scope: &NoteScope, generation: Generation) -> Result<bool, ReadError> {
        let key = keys::note(scope, NoteKind::Generation, &generation.0);
        self.inner.database.contains(Family::Notes, &key)
    }

    /// Returns a mark.
    pub fn mark(&self, scope: &NoteScope, name: &str) -> Result<Option<Mark>, ReadError> {
        self.inner.database.get(Family::Notes, &keys::note(scope, NoteKind::Mark, name.as_bytes()))
    }

    /// Returns the names of all marks of a scope.
    pub fn mark_names(&self, scope: &NoteScope) -> Result<Vec<String>, ReadError> {
        let prefix = keys::note(scope, NoteKind::Mark, b"");
        let database = &self.inner.database;
        let names = database.keys(Family::Notes, &prefix).map(|key| {
            let key = key?;
            let name = String::from_utf8(key[prefix.len()..].to_vec());
            name.map_err(|_| database.damaged(Family::Notes, &key, &Damage::Key))
        });
        names.collect()
    }
}

impl Batch {
    /// Writes down how far the command under a key has come.
    pub fn put_once(&mut self, scope: &NoteScope, key: &NoteKey, once: &Once) {
        self.put(Family::Notes, keys::note(scope, NoteKind::Once, key), once);
    }

    /// Has a key's command be as if it never was started.
    pub fn remove_once(&mut self, scope: &NoteScope, key: &NoteKey) {
        self.delete(Family::Notes, keys::note(scope, NoteKind::Once, key));
    }

    /// Writes down who had a record, which counts once that is committed.
    pub fn put_seen(&mut self, scope: &NoteScope, record: &NoteKey, by: Generation) {
        self.put(Family::Notes, keys::note(scope, NoteKind::Seen, record), &Seen(by));
    }

    /// Has all count that a generation had.
    pub fn settle(&mut self, scope: &NoteScope, generation: Generation, at: Timestamp) {
        let key = keys::note(scope, NoteKind::Generation, &generation.0);
        self.put(Family::Notes, key, &Settled { at });
    }

    /// Sets a mark.
    pub fn put_mark(&mut self, scope: &NoteScope, name: &str, mark: &Mark) {
        self.put(Family::Notes, keys::note(scope, NoteKind::Mark, name.as_bytes()), mark);
    }

    /// Removes a mark.
    pub fn remove_mark(&mut self, scope: &NoteScope, name: &str) {
        self.delete(Family::Notes, keys::note(scope, NoteKind::Mark, name.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{Digest, FixedClock, InputHash, Timestamp};

    use super::*;
    use crate::{Access, Durability};

    #[test]
    fn a_note_is_found_in_its_scope_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".cairn");
        let store = Store::open(&state, Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
        let of = |pipeline: &str, stage: &str| NoteScope::Stage {
            pipeline: pipeline.parse().unwrap(),
            stage: stage.parse().unwrap(),
        };
        let scopes = [
            of("a", "b"),
            of("ab", "c"),
            NoteScope::Named("a".parse().unwrap()),
            NoteScope::Inputs(InputHash::from_digest(Digest::from_bytes([7; 32]))),
        ];
        let (key, other, generation) = ([1; 16], [2; 16], Generation([3; 16]));
        let once = Once { key: "k".to_owned(), done: true, at: Timestamp(1), run: None, starts: 1 };
        let mark = Mark { value: "88123".to_owned(), at: Timestamp(2) };
        for scope in &scopes {
            assert_eq!(store.once(scope, &key).unwrap(), None);
            assert_eq!(store.seen_by(scope, &[key]).unwrap(), [None]);
            assert!(!store.is_settled(scope, generation).unwrap());
            assert_eq!(store.mark(scope, "offset").unwrap(), None);
            let mut batch = Batch::new();
            batch.put_once(scope, &key, &once);
            batch.put_seen(scope, &key, generation);
            batch.settle(scope, generation, Timestamp(5));
            batch.put_mark(scope, "offset", &mark);
            let _ = store.commit(batch, Durability::Written).unwrap();
            assert_eq!(store.once(scope, &key).unwrap().as_ref(), Some(&once));
            assert_eq!(store.once(scope, &other).unwrap(), None);
            assert_eq!(store.seen_by(scope, &[other, key]).unwrap(), [None, Some(generation)]);
            assert!(store.is_settled(scope, generation).unwrap());
            assert_eq!(store.mark(scope, "offset").unwrap().as_ref(), Some(&mark));
            assert_eq!(store.mark_names(scope).unwrap(), ["offset"]);
        }
        let mut batch = Batch::new();
        batch.remove_once(&scopes[0], &key);
        batch.remove_mark(&scopes[0], "offset");
        let _ = store.commit(batch, Durability::Written).unwrap();
        assert_eq!(store.once(&scopes[0], &key).unwrap(), None);
        assert_eq!(store.mark(&scopes[0], "offset").unwrap(), None);
        assert_eq!(store.mark(&scopes[1], "offset").unwrap(), Some(mark));
    }
}
