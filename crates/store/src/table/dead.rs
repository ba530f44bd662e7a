//! Dead letters, until they are dropped.

use std::collections::HashMap;

use cairn_model::{InstanceName, Name};

use crate::keys::{self, Family};
use crate::record::Damage;
use crate::{DeadId, DeadKind, DeadLetter, ReadError, Store};

/// How many dead letters there are, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeadCounts {
    /// Records of records stages.
    pub records: u64,
    /// Records that commands rejected.
    pub rejected: u64,
    /// Instances.
    pub instances: u64,
}

impl DeadCounts {
    /// Returns their number.
    pub const fn total(&self) -> u64 {
        self.records + self.rejected + self.instances
    }
}

/// Which dead letters are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeadOf<'a> {
    /// Those of this pipeline; `None`: of all.
    pub pipeline: Option<&'a Name>,
    /// Those of this instance of it.
    pub instance: Option<&'a InstanceName>,
}

/// Why a text names no dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindDeadError {
    /// No id begins with it.
    #[error("there is no dead letter `{text}`")]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// Several do.
    #[error("`{text}` may be any of {candidates} dead letters")]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// How many.
        candidates: usize,
    },
    /// They could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FindDeadError {
    /// Says what to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => Some("`cairn dead list` lists them".to_owned()),
            Self::Ambiguous { .. } => Some("give more of its digits; `--json` shows all of them".to_owned()),
            Self::Read(error) => error.help(),
        }
    }
}

impl Store {
    /// Returns dead letters in the order of their keys: by pipeline, instance and kind.
    pub fn dead(&self, of: DeadOf<'_>) -> impl Iterator<Item = Result<DeadLetter, ReadError>> + use<'_> {
        let prefix = keys::dead_prefix(of.pipeline, of.instance);
        // One instance's name may be the beginning of another's: their keys then differ in length.
        let length = of.instance.map(|_| prefix.len() + keys::DEAD_REST);
        let rows = self.inner.database.scan::<DeadLetter>(Family::Dead, &prefix);
        rows.filter(move |row| match (row, length) {
            (Ok((key, _)), Some(length)) => key.len() == length,
            _ => true,
        })
        .map(|row| Ok(row?.1))
    }

    /// Returns a dead letter.
    pub fn dead_letter(
        &self,
        pipeline: &Name,
        instance: &InstanceName,
        kind: DeadKind,
        id: DeadId,
    ) -> Result<Option<DeadLetter>, ReadError> {
        self.inner.database.get(Family::Dead, &keys::dead(pipeline, instance, kind, id))
    }

    /// Returns whether an instance is a dead letter, without reading it.
    pub fn is_dead(&self, pipeline: &Name, instance: &InstanceName) -> Result<bool, ReadError> {
        let id = DeadId::of_instance(pipeline, instance);
        self.inner.database.contains(Family::Dead, &keys::dead(pipeline, instance, DeadKind::Instance, id))
    }

    /// Returns how often each dead instance of a pipeline was tried again by itself, without those that never were.
    pub fn dead_retries(&self, pipeline: &Name) -> Result<HashMap<InstanceName, u32>, ReadError> {
        let mut retries = HashMap::new();
        let prefix = keys::dead_prefix(Some(pipeline), None);
        for key in self.inner.database.keys(Family::Dead, &prefix) {
            let (_, instance, kind, id) = self.read_dead_key(&key?)?;
            // Records are passed over unread: there may be very many.
            if kind == DeadKind::Instance
                && let Some(letter) = self.dead_letter(pipeline, &instance, kind, id)?
                && letter.retries > 0
            {
                retries.insert(instance, letter.retries);
            }
        }
        Ok(retries)
    }

    /// Returns whether a pipeline has any dead letter.
    pub fn has_dead(&self, pipeline: &Name) -> Result<bool, ReadError> {
        let prefix = keys::dead_prefix(Some(pipeline), None);
        Ok(self.inner.database.last_key(Family::Dead, &prefix)?.is_some())
    }

    /// Counts the dead letters of a pipeline, without reading them.
    pub fn dead_counts(&self, pipeline: &Name) -> Result<DeadCounts, ReadError> {
        let mut counts = DeadCounts::default();
        let prefix = keys::dead_prefix(Some(pipeline), None);
        for key in self.inner.database.keys(Family::Dead, &prefix) {
            match self.read_dead_key(&key?)?.2 {
                DeadKind::Record => counts.records += 1,
                DeadKind::Rejected => counts.rejected += 1,
                DeadKind::Instance => counts.instances += 1,
            }
        }
        Ok(counts)
    }

    /// Returns the dead letter whose id begins with `text`, when it is the only one.
    pub fn find_dead(&self, text: &str) -> Result<DeadLetter, FindDeadError> {
        let digits = text.to_ascii_lowercase();
        let mut found = Vec::new();
        if !digits.is_empty() {
            for key in self.inner.database.keys(Family::Dead, &[]) {
                let key = key?;
                if self.read_dead_key(&key)?.3.to_string().starts_with(&digits) {
                    found.push(key);
                }
            }
        }
        let unknown = || FindDeadError::Unknown { text: text.to_owned() };
        match found.as_slice() {
            [] => Err(unknown()),
            [key] => self.inner.database.get(Family::Dead, key)?.ok_or_else(unknown),
            several => Err(FindDeadError::Ambiguous { text: text.to_owned(), candidates: several.len() }),
        }
    }

    fn read_dead_key(&self, key: &[u8]) -> Result<(Name, InstanceName, DeadKind, DeadId), ReadError> {
        keys::read_dead(key).ok_or_else(|| self.inner.database.damaged(Family::Dead, key, &Damage::Key))
    }
}

#[cfg(test)]
mod tests {
    use cairn_model::{FixedClock, RunId, Timestamp};

    use super::*;
    use crate::{Access, Batch, Durability};

    fn letter(pipeline: &str, coordinates: Option<&str>, kind: DeadKind, key: &str) -> DeadLetter {
        DeadLetter {
            kind,
            pipeline: pipeline.parse().unwrap(),
            instance: InstanceName::new("s".parse().unwrap(), coordinates.map(str::to_owned)),
            key: key.to_owned(),
            payload: Vec::new(),
            digest: DeadLetter::digest_of(b""),
            source: None,
            class: "worker".to_owned(),
            error: "no".to_owned(),
            attempts: Vec::new(),
            input_hash: None,
            run: RunId::from_bytes([0; 16]),
            idempotency_key: String::new(),
            died: Timestamp(0),
            retry: None,
            edited: None,
            retries: 0,
        }
    }

    #[test]
    fn they_are_found_by_pipeline_by_instance_and_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join(".cairn");
        let store = Store::open(&state, Access::Write, &FixedClock::new(Timestamp(0))).unwrap();
        let letters = [
            letter("p", None, DeadKind::Record, "1"),
            letter("p", None, DeadKind::Instance, ""),
            letter("p", Some("U"), DeadKind::Rejected, "1"),
            letter("p", Some("UA"), DeadKind::Rejected, "2"),
            letter("pp", None, DeadKind::Record, "1"),
        ];
        let mut batch = Batch::new();
        for letter in &letters {
            batch.put_dead(letter);
        }
        let _ = store.commit(batch, Durability::Written).unwrap();
        let keys = |pipeline: Option<&str>, coordinates: Option<&str>| {
            let pipeline = pipeline.map(|name| name.parse().unwrap());
            let instance =
                coordinates.map(|name| InstanceName::new("s".parse().unwrap(), Some(name.to_owned())));
            let of = DeadOf { pipeline: pipeline.as_ref(), instance: instance.as_ref() };
            store.dead(of).map(|letter| letter.unwrap().key).collect::<Vec<_>>()
        };
        assert_eq!(keys(None, None), ["1", "", "1", "2", "1"]);
        assert_eq!(keys(Some("p"), None), ["1", "", "1", "2"]);
        assert_eq!(keys(Some("p"), Some("U")), ["1"]);
        let pipeline = "p".parse().unwrap();
        let counts = store.dead_counts(&pipeline).unwrap();
        assert_eq!(counts, DeadCounts { records: 1, rejected: 2, instances: 1 });
        for letter in &letters {
            assert_eq!(&store.find_dead(&letter.id().to_string()).unwrap(), letter);
        }
        assert!(matches!(store.find_dead("x"), Err(FindDeadError::Unknown { .. })));
        assert!(matches!(store.find_dead(""), Err(FindDeadError::Unknown { .. })));

        assert!(store.is_dead(&pipeline, &letters[1].instance).unwrap());
        let mut batch = Batch::new();
        batch.remove_dead(&letters[1]);
        let _ = store.commit(batch, Durability::Written).unwrap();
        assert!(!store.is_dead(&pipeline, &letters[1].instance).unwrap());
        assert!(store.has_dead(&pipeline).unwrap());
        assert!(!store.has_dead(&"q".parse().unwrap()).unwrap());
    }
}
