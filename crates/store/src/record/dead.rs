//! Dead letters: records, and instances, that failed for good.

use std::fmt;
use std::str::FromStr;

use cairn_model::{Digest, Domain, InputHash, InstanceName, Name, RunId, Timestamp};

use super::{Damage, Record, from_postcard, names, to_postcard};

/// What failed for good, with all that is needed to look into it and to try it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What it is.
    pub kind: DeadKind,
    /// The pipeline.
    pub pipeline: Name,
    /// The instance that failed, or that read the record.
    pub instance: InstanceName,
    /// The record's key as people are shown it; empty for an instance, and for a record without one.
    pub key: String,
    /// The record as it came, cut short where it was too long to be kept; empty for an instance.
    pub payload: Vec<u8>,
    /// Digest of the record's bytes, see [`DeadLetter::digest_of`].
    pub digest: Digest,
    /// The file that the record came from, and its line there from 1, 0 where lines mean nothing.
    pub source: Option<(String, u64)>,
    /// What sort of failure it was, in a word: `invalid-json`, `worker`, `sink`, `rejected`, `exit-status`.
    pub class: String,
    /// What happened, the last time.
    pub error: String,
    /// Each try: when it ended, and how. The first ones are left out when there were many.
    pub attempts: Vec<(Timestamp, String)>,
    /// What it was tried under, where that is known.
    pub input_hash: Option<InputHash>,
    /// The run in which it died.
    pub run: RunId,
    /// The key under which it was tried, and is tried again.
    pub idempotency_key: String,
    /// When it died.
    pub died: Timestamp,
    /// Whether the next run is to take it in again; of an instance, that the daemon asked for a run that executes it.
    pub retry: Option<Retry>,
    /// The record as a person mended it before it died once more: the next retry is of this, unless another is given.
    pub edited: Option<Vec<u8>>,
    /// How often the daemon had it tried again by itself.
    pub retries: u32,
}

/// What a dead letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeadKind {
    /// A record that a records stage could not deliver.
    Record,
    /// A record that a stage's command refused, by `cairn reject`.
    Rejected,
    /// An instance.
    Instance,
}

impl DeadKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Record, Self::Rejected, Self::Instance];

    /// Returns the word that people and programs are shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Rejected => "rejected",
            Self::Instance => "instance",
        }
    }

    /// Returns the number that stands for it in keys and values.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Record => 0,
            Self::Rejected => 1,
            Self::Instance => 2,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// That a dead letter is to be taken in again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The record as a person mended it; `None`: as it came.
    pub payload: Option<Vec<u8>>,
    /// When it was asked for.
    pub asked: Timestamp,
}

/// Names a dead letter: the same poison record has the same id whenever it dies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadId([u8; 16]);

impl DeadId {
    /// Wraps stored bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns what people are shown and type: the first 8 of 32 hex digits.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// Returns the id of the one dead letter that an instance has at a time.
    pub fn of_instance(pipeline: &Name, instance: &InstanceName) -> Self {
        Self::new(DeadKind::Instance, pipeline, instance, "", None)
    }

    /// Returns the id of a record's: it is known by its key, or where it has none by the digest of its bytes.
    pub(crate) fn of_record(
        kind: DeadKind,
        pipeline: &Name,
        instance: &InstanceName,
        key: &str,
        digest: &Digest,
    ) -> Self {
        Self::new(kind, pipeline, instance, key, key.is_empty().then_some(digest))
    }

    fn new(
        kind: DeadKind,
        pipeline: &Name,
        instance: &InstanceName,
        key: &str,
        digest: Option<&Digest>,
    ) -> Self {
        let mut hasher = Domain::DeadLetter.hasher();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
        };
        part(&[kind.number()]);
        part(pipeline.as_str().as_bytes());
        part(instance.stage().as_str().as_bytes());
        part(&[u8::from(instance.coordinates().is_some())]);
        part(instance.coordinates().unwrap_or_default().as_bytes());
        part(key.as_bytes());
        part(digest.map_or(&[], |digest| digest.as_bytes()));
        let digest = Digest::from(hasher.finalize());
        Self(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
    }
}

impl fmt::Display for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DeadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadId({})", self.short())
    }
}

/// A text that is no dead letter's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not the id of a dead letter: 32 hex digits")]
pub struct DeadIdError {
    /// What was read.
    pub text: String,
}

impl FromStr for DeadId {
    type Err = DeadIdError;

    fn from_str(text: &str) -> Result<Self, DeadIdError> {
        let wrong = || DeadIdError { text: text.to_owned() };
        if text.len() != 32 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl DeadLetter {
    /// Returns the digest of a record's bytes.
    pub fn digest_of(payload: &[u8]) -> Digest {
        Domain::Record.digest(payload)
    }

    /// Returns its id.
    pub fn id(&self) -> DeadId {
        let Self { kind, pipeline, instance, key, digest, .. } = self;
        match kind {
            DeadKind::Instance => DeadId::of_instance(pipeline, instance),
            DeadKind::Record | DeadKind::Rejected => {
                DeadId::of_record(*kind, pipeline, instance, key, digest)
            }
        }
    }

    /// Returns the record as a person mended it last.
    pub fn mended(&self) -> Option<&[u8]> {
        let asked = self.retry.as_ref().and_then(|retry| retry.payload.as_deref());
        asked.or(self.edited.as_deref())
    }

    /// Returns the record as it is to be taken in again: as it was mended, else as it came.
    pub fn payload_to_retry(&self) -> &[u8] {
        self.mended().unwrap_or(&self.payload)
    }

    /// Takes over what is known of it from the time before, when it died once more: how often it was tried again, and of a record,
    /// as long as it is the one that died then, a person's edit. An instance is the same one whatever it reads: were it another
    /// with each input-hash, what reads the time would be tried for ever.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        let Some(before) = before.filter(|before| before.id() == self.id()) else { return self };
        if before.payload != self.payload {
            return self;
        }
        Self { edited: before.mended().map(<[u8]>::to_vec), retries: before.retries, ..self }
    }
}

mod v1 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use crate::record::names::v1::{Digest, InstanceName, RunId, Timestamp};

    #[derive(Serialize, Deserialize)]
    pub(super) struct DeadLetter<'a> {
        pub(super) kind: u8,
        #[serde(borrow)]
        pub(super) pipeline: Cow<'a, str>,
        #[serde(borrow)]
        pub(super) instance: InstanceName<'a>,
        #[serde(borrow)]
        pub(super) key: Cow<'a, str>,
        #[serde(borrow)]
        pub(super) payload: Cow<'a, [u8]>,
        pub(super) digest: Digest,
        pub(super) source: Option<(String, u64)>,
        #[serde(borrow)]
        pub(super) class: Cow<'a, str>,
        #[serde(borrow)]
        pub(super) error: Cow<'a, str>,
        pub(super) attempts: Vec<(Timestamp, String)>,
        pub(super) input_hash: Option<Digest>,
        pub(super) run: RunId,
        #[serde(borrow)]
        pub(super) idempotency_key: Cow<'a, str>,
        pub(super) died: Timestamp,
        pub(super) retry: Option<Retry>,
    }

    #[derive(Serialize, Deserialize)]
    pub(super) struct Retry {
        pub(super) payload: Option<Vec<u8>>,
        pub(super) asked: Timestamp,
    }
}

mod v2 {
    use std::borrow::Cow;

    use serde::{Deserialize, Serialize};

    use super::v1;

    /// What was added stands after what there was.
    #[derive(Serialize, Deserialize)]
    pub(super) struct DeadLetter<'a> {
        #[serde(borrow)]
        pub(super) first: v1::DeadLetter<'a>,
        #[serde(borrow)]
        pub(super) edited: Option<Cow<'a, [u8]>>,
        pub(super) retries: u32,
    }
}

impl Record for DeadLetter {
    const VERSION: u8 = 2;

    fn body(&self) -> Vec<u8> {
        let Self {
            kind,
            pipeline,
            instance,
            key,
            payload,
            digest,
            source,
            class,
            error,
            attempts,
            input_hash,
            run,
            idempotency_key,
            died,
            retry,
            edited,
            retries,
        } = self;
        let first = v1::DeadLetter {
            kind: kind.number(),
            pipeline: pipeline.as_str().into(),
            instance: instance.into(),
            key: key.into(),
            payload: payload.into(),
            digest: *digest.as_bytes(),
            source: source.clone(),
            class: class.into(),
            error: error.into(),
            attempts: attempts.iter().map(|(at, error)| (at.0, error.clone())).collect(),
            input_hash: input_hash.as_ref().map(names::stored_input_hash),
            run: *run.as_bytes(),
            idempotency_key: idempotency_key.into(),
            died: died.0,
            retry: retry
                .as_ref()
                .map(|Retry { payload, asked }| v1::Retry { payload: payload.clone(), asked: asked.0 }),
        };
        let edited = edited.as_deref().map(Into::into);
        to_postcard(&v2::DeadLetter { first, edited, retries: *retries })
    }

    fn read(version: u8, body: &[u8]) -> Result<Self, Damage> {
        let (stored, edited, retries) = match version {
            1 => (from_postcard::<v1::DeadLetter<'_>>(body)?, None, 0),
            2 => {
                let v2::DeadLetter { first, edited, retries } = from_postcard(body)?;
                (first, edited, retries)
            }
            version => return Err(Damage::Version { version }),
        };
        Ok(Self {
            kind: DeadKind::from_number(stored.kind).ok_or(Damage::Body { what: "its kind is not known" })?,
            pipeline: names::name(&stored.pipeline)?,
            instance: stored.instance.try_into()?,
            key: stored.key.into_owned(),
            payload: stored.payload.into_owned(),
            digest: Digest::from_bytes(stored.digest),
            source: stored.source,
            class: stored.class.into_owned(),
            error: stored.error.into_owned(),
            attempts: stored.attempts.into_iter().map(|(at, error)| (Timestamp(at), error)).collect(),
            input_hash: stored.input_hash.map(names::input_hash),
            run: RunId::from_bytes(stored.run),
            idempotency_key: stored.idempotency_key.into_owned(),
            died: Timestamp(stored.died),
            retry: stored
                .retry
                .map(|v1::Retry { payload, asked }| Retry { payload, asked: Timestamp(asked) }),
            edited: edited.map(std::borrow::Cow::into_owned),
            retries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(kind: DeadKind, coordinates: Option<&str>, key: &str, payload: &[u8]) -> DeadLetter {
        DeadLetter {
            kind,
            pipeline: "p".parse().unwrap(),
            instance: InstanceName::new("s".parse().unwrap(), coordinates.map(str::to_owned)),
            key: key.to_owned(),
            payload: payload.to_vec(),
            digest: DeadLetter::digest_of(payload),
            source: None,
            class: String::new(),
            error: String::new(),
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
    fn an_edit_and_the_count_of_tries_stay_when_the_same_record_dies_once_more() {
        let fresh = || letter(DeadKind::Record, None, "7", b"{}");
        let asked = Retry { payload: Some(b"[1]".to_vec()), asked: Timestamp(1) };
        let before = DeadLetter { retry: Some(asked), retries: 2, ..fresh() };
        let again = fresh().after(Some(&before));
        assert_eq!((again.edited.as_deref(), again.retries, &again.retry), (Some(&b"[1]"[..]), 2, &None));
        assert_eq!(again.payload_to_retry(), b"[1]");
        // Once more, without another edit.
        assert_eq!(fresh().after(Some(&again)).edited, again.edited);
        // The source holds another record under the key: the edit was of one that is gone.
        let other = letter(DeadKind::Record, None, "7", b"{2}").after(Some(&before));
        assert_eq!((other.edited, other.retries), (None, 0));
        assert_eq!(fresh().after(None), fresh());
        assert_eq!(letter(DeadKind::Record, None, "8", b"{}").after(Some(&before)).retries, 0);
    }

    #[test]
    fn an_instance_is_tried_so_often_whatever_it_reads() {
        let of = |preimage: &[u8]| DeadLetter {
            input_hash: Some(InputHash::of_preimage(preimage)),
            ..letter(DeadKind::Instance, Some("x"), "", b"")
        };
        let before = DeadLetter { retries: 2, ..of(b"1") };
        assert_eq!(of(b"2").after(Some(&before)).retries, 2);
        let other = letter(DeadKind::Instance, Some("y"), "", b"");
        assert_eq!(other.after(Some(&before)).retries, 0);
    }

    #[test]
    fn a_poison_record_is_one_dead_letter_by_its_key_or_else_by_its_bytes() {
        let id =
            |kind, coordinates, key, payload: &str| letter(kind, coordinates, key, payload.as_bytes()).id();
        let record = DeadKind::Record;
        assert_eq!(id(record, None, "7", "a"), id(record, None, "7", "b"), "the record changed, not its key");
        assert_ne!(id(record, None, "7", "a"), id(record, None, "8", "a"));
        assert_ne!(id(record, None, "", "a"), id(record, None, "", "b"));
        assert_ne!(id(record, None, "7", "a"), id(DeadKind::Rejected, None, "7", "a"));
        assert_ne!(id(record, None, "7", "a"), id(record, Some(""), "7", "a"));
        let instance = letter(DeadKind::Instance, Some("x"), "", b"");
        assert_eq!(instance.id(), DeadId::of_instance(&instance.pipeline, &instance.instance));
    }

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let id = letter(DeadKind::Record, None, "7", b"").id();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().starts_with(&id.short()));
        for text in ["", "12", "zz34567890123456789012345678901z", "é234567890123456789012345678901"] {
            assert!(text.parse::<DeadId>().is_err(), "{text}");
        }
    }
}
