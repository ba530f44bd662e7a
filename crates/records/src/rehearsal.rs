//! Loads that are only rehearsed: deliveries are noted on their way to a sink, or instead of it, so that two loads can be
//! compared record by record.
//!
//! Some 40 bytes of memory a record; their texts go to a file.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cairn_model::{Digest, FieldPath};
use serde_json::Value;

use crate::fields::key_text;
use crate::sink::{BatchId, Delivered, Delivery, Operation, Sink, SinkError};
use crate::state::Short;

/// One record of two loads that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordApart {
    /// Its key as people write it.
    pub key: String,
    /// The first of its fields that differs; `None` where one load has the record and the other has not.
    pub field: Option<String>,
    /// What the first load has there.
    pub before: String,
    /// What the second has.
    pub after: String,
}

/// What stands for a record, or a field, that is not there.
const NOTHING: &str = "nothing";

/// Names the first field in which two records of one key differ; `None` when they are no two records of one key, or do not
/// differ in any field.
pub fn record_apart(before: &[u8], after: &[u8], key: &[FieldPath]) -> Option<RecordApart> {
    let object = |json: &[u8]| match serde_json::from_slice(json) {
        Ok(Value::Object(fields)) => Some(fields),
        Ok(_) | Err(_) => None,
    };
    let (left, right) = (object(before)?, object(after)?);
    let name = key_text(before, key);
    if !key.is_empty() && name != key_text(after, key) {
        return None;
    }
    let field = left.keys().chain(right.keys()).find(|name| left.get(*name) != right.get(*name))?;
    let shown = |value: Option<&Value>| value.map_or_else(|| NOTHING.to_owned(), Value::to_string);
    let (before, after) = (shown(left.get(field)), shown(right.get(field)));
    Some(RecordApart { key: name, field: Some(field.clone()), before, after })
}

/// What one load delivered to a sink.
#[derive(Debug)]
pub struct Deliveries {
    key: Vec<FieldPath>,
    file: BufWriter<File>,
    length: u64,
    noted: Vec<Noted>,
    failed: Option<io::Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Noted {
    key: Short,
    record: Short,
    offset: u64,
    length: u32,
}

fn short(bytes: &[&[u8]]) -> Short {
    let mut hasher = blake3::Hasher::new();
    for bytes in bytes {
        hasher.update(bytes);
    }
    *hasher.finalize().as_bytes().first_chunk().expect("a digest has 32 bytes")
}

impl Deliveries {
    /// Begins with none; the new file `path` takes their texts. `key` is what is unique in the sink.
    pub fn create(path: &Path, key: &[FieldPath]) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        let file = BufWriter::new(file);
        Ok(Self { key: key.to_vec(), file, length: 0, noted: Vec::new(), failed: None })
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.noted.len()
    }

    /// Returns the key of one of them.
    pub fn first_key(&mut self) -> io::Result<Option<String>> {
        let Some(first) = self.noted.first().copied() else { return Ok(None) };
        let record = self.text(first)?;
        Ok(Some(key_text(&record, &self.key)))
    }

    fn note(&mut self, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let kind = [u8::from(delivery.operation == Operation::Delete)];
            let noted = Noted {
                key: short(&[key_text(&delivery.record, &self.key).as_bytes()]),
                record: short(&[&kind, &delivery.record]),
                offset: self.length,
                length: u32::try_from(delivery.record.len()).unwrap_or(u32::MAX),
            };
            if let Err(error) = self.file.write_all(&delivery.record) {
                // A sink has no such error: it is told when they are compared.
                self.failed.get_or_insert(error);
                return;
            }
            self.length += delivery.record.len() as u64;
            self.noted.push(noted);
        }
    }

    fn text(&mut self, noted: Noted) -> io::Result<Vec<u8>> {
        self.file.flush()?;
        let mut bytes = vec![0; noted.length as usize];
        self.file.get_ref().read_exact_at(&mut bytes, noted.offset)?;
        Ok(bytes)
    }

    /// Returns a record that two loads delivered otherwise, or only one of them; in which order they did does not count.
    pub fn first_apart(&mut self, other: &mut Self) -> io::Result<Option<RecordApart>> {
        for failed in [self.failed.take(), other.failed.take()] {
            failed.map_or(Ok(()), Err)?;
        }
        self.noted.sort_unstable();
        other.noted.sort_unstable();
        let Some((one, two)) = first_of(&self.noted, &other.noted) else { return Ok(None) };
        let one = one.map(|noted| self.text(noted)).transpose()?;
        let two = two.map(|noted| other.text(noted)).transpose()?;
        let shown = |record: &Option<Vec<u8>>| {
            record
                .as_ref()
                .map_or_else(|| NOTHING.to_owned(), |text| String::from_utf8_lossy(text).into_owned())
        };
        let whole = || RecordApart {
            key: key_text(one.as_ref().or(two.as_ref()).map_or(&[], Vec::as_slice), &self.key),
            field: None,
            before: shown(&one),
            after: shown(&two),
        };
        let named = one.as_ref().zip(two.as_ref()).and_then(|(one, two)| record_apart(one, two, &self.key));
        Ok(Some(named.unwrap_or_else(whole)))
    }
}

/// One delivery of each of two loads, where there is one.
type Pair = (Option<Noted>, Option<Noted>);

/// Returns the delivery that came first of those that are not in both, each list sorted, with what stands for it in the
/// other.
fn first_of(ours: &[Noted], theirs: &[Noted]) -> Option<Pair> {
    let (mut ours, mut theirs) = (ours.iter().copied().peekable(), theirs.iter().copied().peekable());
    let mut first: Option<(u64, Pair)> = None;
    loop {
        let (one, two) = match (ours.peek(), theirs.peek()) {
            (None, None) => return first.map(|(_, pair)| pair),
            (Some(one), Some(two)) if one.key == two.key => (ours.next(), theirs.next()),
            // What sorts first has no partner.
            (Some(one), Some(two)) if one.key > two.key => (None, theirs.next()),
            (Some(_), _) => (ours.next(), None),
            (None, Some(_)) => (None, theirs.next()),
        };
        let is_same = one.zip(two).is_some_and(|(one, two)| one.record == two.record);
        let offset = one.or(two).map_or(0, |noted| noted.offset);
        if !is_same && first.is_none_or(|(known, _)| offset < known) {
            first = Some((offset, (one, two)));
        }
    }
}

/// Where deliveries go in the end.
pub enum Through {
    /// To a sink.
    Sink(Box<dyn Sink>),
    /// To nothing: the sink is asked what it has, and not written to.
    Asking(Box<dyn Sink>),
    /// To nothing: there is only its name.
    Nothing(String),
}

/// A sink whose deliveries are noted, and which is gone from a moment on.
pub struct Watched {
    through: Through,
    notes: Option<Arc<Mutex<Deliveries>>>,
    cut: Arc<AtomicBool>,
}

impl Watched {
    /// Makes one. Once `cut` holds, no call of it reaches anything any more, and none returns well.
    pub fn new(through: Through, notes: Option<Arc<Mutex<Deliveries>>>, cut: Arc<AtomicBool>) -> Self {
        Self { through, notes, cut }
    }

    fn check(&self) -> Result<(), SinkError> {
        if self.cut.load(Ordering::SeqCst) {
            let (sink, error) = (self.name(), "it was cut off".to_owned());
            return Err(SinkError::Unavailable { sink, error, retry_after_ms: None });
        }
        Ok(())
    }

    /// A call, between a look at whether it is cut off before and one after it.
    fn call<T>(&mut self, call: impl FnOnce(&mut Through) -> Result<T, SinkError>) -> Result<T, SinkError> {
        self.check()?;
        let done = call(&mut self.through)?;
        self.check()?;
        Ok(done)
    }

    fn note(&self, records: &[Delivery]) {
        if let Some(notes) = &self.notes {
            notes.lock().unwrap_or_else(PoisonError::into_inner).note(records);
        }
    }
}

impl Sink for Watched {
    fn name(&self) -> String {
        match &self.through {
            Through::Sink(sink) | Through::Asking(sink) => sink.name(),
            Through::Nothing(name) => name.clone(),
        }
    }

    fn is_transactional(&self) -> bool {
        match &self.through {
            Through::Sink(sink) | Through::Asking(sink) => sink.is_transactional(),
            Through::Nothing(_) => false,
        }
    }

    fn last_applied(&mut self, scope: &str) -> Result<Option<u64>, SinkError> {
        self.call(|through| match through {
            Through::Sink(sink) | Through::Asking(sink) => sink.last_applied(scope),
            Through::Nothing(_) => Ok(None),
        })
    }

    fn applied(&mut self, batch: &BatchId) -> Result<Option<bool>, SinkError> {
        self.call(|through| match through {
            Through::Sink(sink) | Through::Asking(sink) => sink.applied(batch),
            Through::Nothing(_) => Ok(None),
        })
    }

    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError> {
        let delivered = self.call(|through| match through {
            Through::Sink(sink) => sink.deliver(batch, records),
            Through::Asking(_) | Through::Nothing(_) => Ok(Delivered::default()),
        })?;
        self.note(records);
        Ok(delivered)
    }

    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError> {
        self.call(|through| match through {
            Through::Sink(sink) | Through::Asking(sink) => sink.fingerprint(),
            Through::Nothing(_) => Ok(None),
        })
    }

    fn prepare(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<(), SinkError> {
        self.call(|through| match through {
            Through::Sink(sink) => sink.prepare(batch, records),
            Through::Asking(_) | Through::Nothing(_) => Ok(()),
        })?;
        self.note(records);
        Ok(())
    }

    fn settle(&mut self, batch: &BatchId, commit: bool) -> Result<(), SinkError> {
        self.call(|through| match through {
            Through::Sink(sink) => sink.settle(batch, commit),
            Through::Asking(_) | Through::Nothing(_) => Ok(()),
        })
    }

    fn prepared(&mut self, scope: &str) -> Result<Vec<u64>, SinkError> {
        self.call(|through| match through {
            Through::Sink(sink) | Through::Asking(sink) => sink.prepared(scope),
            Through::Nothing(_) => Ok(Vec::new()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
mod tests {
    use super::*;

    fn load(folder: &Path, name: &str, records: &[&str]) -> Deliveries {
        let key = [FieldPath(vec!["id".to_owned()])];
        let notes = Deliveries::create(&folder.join(name), &key).unwrap();
        let notes = Arc::new(Mutex::new(notes));
        let through = Through::Nothing("nothing".to_owned());
        let mut sink = Watched::new(through, Some(Arc::clone(&notes)), Arc::default());
        let deliveries = records.iter().map(|record| Delivery {
            operation: Operation::Put,
            record: bytes::Bytes::from((*record).to_owned()),
            idempotency_key: Digest::from_bytes([0; 32]),
            fresh: true,
        });
        let digest = Digest::from_bytes([0; 32]);
        let batch = BatchId { scope: "s".to_owned(), sequence: 1, digest, fence: 1 };
        sink.deliver(&batch, &deliveries.collect::<Vec<_>>()).unwrap();
        drop(sink);
        Arc::into_inner(notes).unwrap().into_inner().unwrap()
    }

    fn apart(before: &[&str], after: &[&str]) -> Option<(String, Option<String>, String, String)> {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut two) = (load(folder.path(), "1", before), load(folder.path(), "2", after));
        let apart = one.first_apart(&mut two).unwrap()?;
        Some((apart.key, apart.field, apart.before, apart.after))
    }

    #[test]
    fn two_loads_are_compared_record_by_record_whatever_their_order() {
        let (a, b) = (r#"{"id":"a","x":1}"#, r#"{"id":"b","x":1}"#);
        assert_eq!(apart(&[a, b], &[b, a]), None);
        assert_eq!(apart(&[], &[]), None);
        let told = |key: &str, field: Option<&str>, before: &str, after: &str| {
            Some((key.to_owned(), field.map(str::to_owned), before.to_owned(), after.to_owned()))
        };
        let other = r#"{"id":"b","x":2}"#;
        assert_eq!(apart(&[a, b], &[other, a]), told("b", Some("x"), "1", "2"));
        assert_eq!(apart(&[a], &[r#"{"id":"a"}"#]), told("a", Some("x"), "1", "nothing"));
        assert_eq!(apart(&[a, b], &[a]), told("b", None, b, "nothing"));
        assert_eq!(apart(&[b], &[a, b]), told("a", None, "nothing", a));
        assert_eq!(apart(&[a, a], &[a]), told("a", None, a, "nothing"));
    }

    #[test]
    fn what_is_cut_off_returns_no_more() {
        let cut = Arc::new(AtomicBool::new(false));
        let mut sink = Watched::new(Through::Nothing("nothing".to_owned()), None, Arc::clone(&cut));
        assert!(sink.last_applied("s").is_ok());
        cut.store(true, Ordering::SeqCst);
        assert!(matches!(sink.last_applied("s"), Err(SinkError::Unavailable { .. })));
    }
}
