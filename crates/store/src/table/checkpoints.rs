//! Checkpoints: the result under each input-hash, and others that were made under the same (K8).

use cairn_model::InputHash;

use crate::changes::Changes;
use crate::keys::{self, Family};
use crate::record::{Damage, Recorded};
use crate::{Checkpoint, Demoted, ReadError, Store};

impl Store {
    /// Returns the checkpoint under `hash`: `None` when there is none, and when it was demoted.
    pub fn checkpoint(&self, hash: &InputHash) -> Result<Option<Checkpoint>, ReadError> {
        let recorded = self.inner.database.get(Family::Checkpoints, &keys::checkpoint(hash))?;
        Ok(recorded.and_then(Recorded::counting))
    }

    /// Returns [`Store::checkpoint`] of each hash, in one call.
    pub fn checkpoints(&self, hashes: &[InputHash]) -> Result<Vec<Option<Checkpoint>>, ReadError> {
        let keys: Vec<[u8; 32]> = hashes.iter().map(keys::checkpoint).collect();
        let recorded = self.inner.database.get_many(Family::Checkpoints, &keys)?;
        Ok(recorded.into_iter().map(|recorded| recorded.and_then(Recorded::counting)).collect())
    }

    /// Returns what is recorded under `hash` even when it was demoted: to explain, not to rely on.
    pub fn recorded(&self, hash: &InputHash) -> Result<Option<(Checkpoint, Option<Demoted>)>, ReadError> {
        let recorded = self.inner.database.get(Family::Checkpoints, &keys::checkpoint(hash))?;
        Ok(recorded.map(|Recorded { checkpoint, demoted }| (checkpoint, demoted)))
    }

    /// Returns the other results that were made under `hash`, oldest first: the stage is not deterministic.
    pub fn second_results(&self, hash: &InputHash) -> Result<Vec<Checkpoint>, ReadError> {
        let database = &self.inner.database;
        let results = database.scan(Family::Disputes, &keys::checkpoint(hash)).map(|row| {
            let (key, Recorded { checkpoint, .. }) = row?;
            match keys::read_dispute(&key) {
                Some(_) => Ok(checkpoint),
                None => Err(database.damaged(Family::Disputes, &key, &Damage::Key)),
            }
        });
        results.collect()
    }
}

impl Recorded {
    fn counting(self) -> Option<Checkpoint> {
        match self.demoted {
            None => Some(self.checkpoint),
            Some(_) => None,
        }
    }
}

/// What becomes of a result that stands under the hash already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stands, unless it was demoted or made under weaker isolation.
    Stands,
    /// The new one takes its place.
    GivesWay,
}

/// Other results that are kept for one hash: enough to show that they differ.
const DISPUTES_MAX: usize = 8;

pub(crate) fn put(
    changes: &mut Changes<'_>,
    hash: InputHash,
    new: Checkpoint,
    existing: Existing,
) -> Result<(), ReadError> {
    let key = keys::checkpoint(&hash);
    let Some(old) = changes.get::<Recorded>(Family::Checkpoints, &key)? else {
        changes.put(Family::Checkpoints, &key, &Recorded { checkpoint: new, demoted: None });
        return Ok(());
    };
    let same = old.checkpoint.manifest == new.manifest;
    let gives_way = match existing {
        Existing::GivesWay => true,
        Existing::Stands => old.demoted.is_some() || old.checkpoint.level < new.level,
    };
    if gives_way {
        if !same && existing == Existing::Stands {
            dispute(changes, hash, &old)?;
        }
        changes.put(Family::Checkpoints, &key, &Recorded { checkpoint: new, demoted: None });
    } else if !same {
        dispute(changes, hash, &Recorded { checkpoint: new, demoted: None })?;
        changes.disputed.push(hash);
    }
    Ok(())
}

/// Keeps a result as evidence, unless one like it is kept already.
fn dispute(changes: &mut Changes<'_>, hash: InputHash, result: &Recorded) -> Result<(), ReadError> {
    let kept = changes.database.scan::<Recorded>(Family::Disputes, &keys::checkpoint(&hash));
    let kept = kept.map(|row| Ok(row?.1)).collect::<Result<Vec<_>, ReadError>>()?;
    let known = kept.iter().any(|kept| kept.checkpoint.manifest == result.checkpoint.manifest);
    if !known && kept.len() < DISPUTES_MAX {
        let key = keys::dispute(&hash, changes.sequence);
        changes.put(Family::Disputes, &key, result);
    }
    Ok(())
}

pub(crate) fn demote(changes: &mut Changes<'_>, hash: InputHash, why: String) -> Result<(), ReadError> {
    let key = keys::checkpoint(&hash);
    if let Some(Recorded { checkpoint, .. }) = changes.get(Family::Checkpoints, &key)? {
        changes.put(Family::Checkpoints, &key, &Recorded { checkpoint, demoted: Some(Demoted { why }) });
    }
    Ok(())
}
