//! Batches and sinks in few words.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cairn_model::{Clock, Digest, FieldPath, Sink as Definition, SinkMode, SinkPlace, SystemClock};
use cairn_records::sink::{self, BatchId, Delivery, OpenContext, Operation, RecordFault, Sink, SinkError};

pub(crate) const SCOPE: &str = "project/load/0";

pub(crate) fn put(record: &str) -> Delivery {
    delivery(Operation::Put, record)
}

/// One under whose key something was delivered before.
pub(crate) fn known(record: &str) -> Delivery {
    Delivery { fresh: false, ..put(record) }
}

pub(crate) fn delete(record: &str) -> Delivery {
    delivery(Operation::Delete, record)
}

fn delivery(operation: Operation, record: &str) -> Delivery {
    let record = record.as_bytes().to_vec();
    let idempotency_key = blake3::hash(&record).into();
    Delivery { operation, idempotency_key, record: record.into(), fresh: operation == Operation::Put }
}

/// A batch's identity, its digest that of its records.
pub(crate) fn batch(sequence: u64, records: &[Delivery]) -> BatchId {
    let mut hasher = blake3::Hasher::new();
    for delivery in records {
        hasher.update(&delivery.record).update(b"\n");
    }
    BatchId { scope: SCOPE.to_owned(), sequence, digest: Digest::from(hasher.finalize()), fence: 1 }
}

/// A sink's definition, to be changed and opened.
pub(crate) struct Given {
    pub(crate) definition: Definition,
    pub(crate) key: Vec<FieldPath>,
    pub(crate) version: Option<FieldPath>,
}

pub(crate) fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

impl Given {
    pub(crate) fn new(place: SinkPlace) -> Self {
        let definition =
            Definition { place, mode: SinkMode::Upsert, key: Vec::new(), columns: BTreeMap::new() };
        Self { definition, key: vec![path("id")], version: None }
    }

    pub(crate) fn mode(mut self, mode: SinkMode) -> Self {
        self.definition.mode = mode;
        self
    }

    pub(crate) fn key(mut self, fields: &[&str]) -> Self {
        self.key = fields.iter().map(|field| path(field)).collect();
        self
    }

    pub(crate) fn version(mut self, field: &str) -> Self {
        self.version = Some(path(field));
        self
    }

    pub(crate) fn column(mut self, name: &str, kind: &str) -> Self {
        self.definition.columns.insert(name.to_owned(), kind.to_owned());
        self
    }

    pub(crate) fn try_open(&self, folder: &Path) -> Result<Box<dyn Sink>, SinkError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let variable = |name: &str| (name == "SECRET").then(|| "hidden".to_owned());
        let context = OpenContext { folder, variable: &variable, clock: &clock };
        sink::open(&self.definition, &self.key, self.version.as_ref(), &context)
    }

    pub(crate) fn open(&self, folder: &Path) -> Box<dyn Sink> {
        self.try_open(folder).unwrap()
    }
}

/// Delivers under the next number.
pub(crate) fn deliver(sink: &mut dyn Sink, records: &[Delivery]) -> Result<(), SinkError> {
    let next = sink.last_applied(SCOPE)?.unwrap_or(0) + 1;
    let delivered = sink.deliver(&batch(next, records), records)?;
    assert!(delivered.refused.is_empty(), "a SQL sink takes all or says so: {:?}", delivered.refused);
    Ok(())
}

/// The faults of a batch that was not applied.
pub(crate) fn faults(result: Result<(), SinkError>) -> Vec<(usize, String)> {
    match result {
        Err(SinkError::Records(faults)) => faults
            .into_iter()
            .map(|RecordFault { index, error, retry, .. }| {
                assert!(!retry, "{error}");
                (index, error)
            })
            .collect(),
        other => panic!("faults expected, not {other:?}"),
    }
}

/// The sentence and the help of a refusal.
pub(crate) fn refusal<T>(result: Result<T, SinkError>) -> (String, String) {
    match result {
        Err(SinkError::Refused { error, help, .. }) => (error, help.unwrap_or_default()),
        Err(other) => panic!("a refusal expected, not {other:?}"),
        Ok(_) => panic!("a refusal expected"),
    }
}

/// What happened to a sink that is not there.
pub(crate) fn outage<T>(result: Result<T, SinkError>) -> String {
    match result {
        Err(SinkError::Unavailable { error, .. }) => error,
        Err(other) => panic!("an outage expected, not {other:?}"),
        Ok(_) => panic!("an outage expected"),
    }
}
