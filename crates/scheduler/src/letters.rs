//! Dead letters chosen, taken in again, dropped: what the command line and the daemon have in common.

use std::collections::{HashMap, HashSet};

use cairn_model::{InstanceName, Timestamp};
use cairn_store::{Batch, DeadId, DeadKind, DeadLetter, DeadOf, FindDeadError, ReadError, Retry, Store};

/// Which dead letters: all that fit everything that is said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Those of this pipeline.
    pub pipeline: Option<String>,
    /// Those of this stage, or instance.
    pub stage: Option<String>,
    /// Those of the record with this key.
    pub key: Option<String>,
    /// Those whose error, or its class, holds this text, in whichever case.
    pub error: Option<String>,
    /// Those that died longer ago, in milliseconds.
    pub older_than_ms: Option<u64>,
}

impl Filter {
    /// Returns whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether a dead letter fits at `now`.
    pub fn fits(&self, letter: &DeadLetter, now: Timestamp) -> bool {
        let Self { pipeline, stage, key, error, older_than_ms } = self;
        let holds = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        pipeline.as_ref().is_none_or(|name| letter.pipeline.as_str() == name)
            && stage.as_ref().is_none_or(|name| is_named(&letter.instance, name))
            && key.as_ref().is_none_or(|key| letter.key == *key)
            && error.as_ref().is_none_or(|text| holds(&letter.error, text) || holds(&letter.class, text))
            && older_than_ms.is_none_or(|age| now.millis_since(letter.died) > age)
    }

    /// Reads those that fit, one after the other, in the order of the store.
    pub fn each(
        self,
        store: &Store,
        now: Timestamp,
    ) -> impl Iterator<Item = Result<DeadLetter, ReadError>> + use<'_> {
        store
            .dead(DeadOf::default())
            .filter(move |letter| letter.as_ref().map_or(true, |letter| self.fits(letter, now)))
    }
}

fn is_named(instance: &InstanceName, name: &str) -> bool {
    instance.stage().as_str() == name || instance.to_string() == name
}

/// Reads the dead letters whose ids begin with these texts, each once. Those that are named by their whole ids are found in
/// one pass.
pub fn named(store: &Store, ids: &[String]) -> Result<Vec<DeadLetter>, FindDeadError> {
    let whole: Vec<Option<DeadId>> = ids.iter().map(|id| id.parse().ok()).collect();
    let mut wanted: HashSet<DeadId> = whole.iter().flatten().copied().collect();
    let mut found = HashMap::new();
    if !wanted.is_empty() {
        for letter in store.dead(DeadOf::default()) {
            let letter = letter?;
            if wanted.remove(&letter.id()) {
                found.insert(letter.id(), letter);
                if wanted.is_empty() {
                    break;
                }
            }
        }
    }
    let mut letters = Vec::with_capacity(ids.len());
    let mut seen = HashSet::new();
    for (text, id) in ids.iter().zip(whole) {
        let letter = match id {
            Some(id) if seen.contains(&id) => continue,
            Some(id) => found.remove(&id).ok_or_else(|| FindDeadError::Unknown { text: text.clone() })?,
            None => store.find_dead(text)?,
        };
        if seen.insert(letter.id()) {
            letters.push(letter);
        }
    }
    Ok(letters)
}

/// What became of a dead letter that was to be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retried {
    /// The next run of its stage takes the record in again, under the same idempotency key.
    TakenIn {
        /// Whether as it was edited.
        edited: bool,
    },
    /// An instance, or a record that a stage's script rejected: this runs it again.
    Run {
        /// The pipeline's file, or its name.
        file: String,
        /// The instance.
        instance: String,
        /// Whether a checkpoint has to be passed over.
        force: bool,
    },
    /// A record that was rejected in a scope that is no stage: the script is to be run again.
    Script,
}

/// Marks a record to be taken in again, as it was edited, where it was, now or before. What cannot be marked is left, and it
/// is said what to do. A person asked: how often the daemon tried it by itself counts anew.
pub fn retry(
    store: &Store,
    batch: &mut Batch,
    letter: &DeadLetter,
    edited: Option<Vec<u8>>,
    now: Timestamp,
) -> Result<Retried, ReadError> {
    if letter.kind == DeadKind::Record {
        let payload = edited.or_else(|| letter.mended().map(<[u8]>::to_vec));
        let is_edited = payload.is_some();
        let retry = Some(Retry { payload, asked: now });
        batch.put_dead(&DeadLetter { retry, retries: 0, ..letter.clone() });
        return Ok(Retried::TakenIn { edited: is_edited });
    }
    if letter.retries > 0 {
        batch.put_dead(&DeadLetter { retries: 0, ..letter.clone() });
    }
    let run = store.run(letter.run)?;
    let is_rejected = letter.kind == DeadKind::Rejected;
    if is_rejected && run.as_ref().is_none_or(|run| run.pipeline != letter.pipeline) {
        return Ok(Retried::Script);
    }
    let file = run.map_or_else(|| letter.pipeline.to_string(), |run| run.file);
    Ok(Retried::Run { file, instance: letter.instance.to_string(), force: is_rejected })
}

#[cfg(test)]
mod tests {
    use cairn_model::{Digest, RunId};

    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            kind: DeadKind::Record,
            pipeline: "p".parse().unwrap(),
            instance: InstanceName::new("load".parse().unwrap(), Some("UA".to_owned())),
            key: "7".to_owned(),
            payload: b"{}".to_vec(),
            digest: Digest::from_bytes([0; 32]),
            source: None,
            class: "worker".to_owned(),
            error: "Timed out".to_owned(),
            attempts: Vec::new(),
            input_hash: None,
            run: RunId::from_bytes([0; 16]),
            idempotency_key: String::new(),
            died: Timestamp(1_000),
            retry: None,
            edited: None,
            retries: 0,
        }
    }

    #[test]
    fn all_that_is_said_has_to_fit() {
        let text = |text: &str| Some(text.to_owned());
        let now = Timestamp(11_000);
        for (filter, fits) in [
            (Filter::default(), true),
            (Filter { pipeline: text("p"), ..Filter::default() }, true),
            (Filter { pipeline: text("q"), ..Filter::default() }, false),
            (Filter { stage: text("load"), ..Filter::default() }, true),
            (Filter { stage: text("load[UA]"), ..Filter::default() }, true),
            (Filter { stage: text("load[AA]"), ..Filter::default() }, false),
            (Filter { key: text("7"), error: text("timed"), ..Filter::default() }, true),
            (Filter { error: text("WORKER"), ..Filter::default() }, true),
            (Filter { key: text("7"), error: text("refused"), ..Filter::default() }, false),
            (Filter { older_than_ms: Some(9_999), ..Filter::default() }, true),
            (Filter { older_than_ms: Some(10_000), ..Filter::default() }, false),
        ] {
            assert_eq!(filter.fits(&letter(), now), fits, "{filter:?}");
            assert_eq!(filter.is_empty(), filter == Filter::default());
        }
    }
}
