//! Sinks in memory.

use super::*;

/// What a sink holds; it outlives whoever writes to it.
#[derive(Debug, Default)]
pub(in crate::engine::tests) struct Table {
    pub(in crate::engine::tests) rows: BTreeMap<String, Vec<Value>>,
    /// The last batch of each scope.
    pub(in crate::engine::tests) last: HashMap<String, (u64, Digest)>,
    /// What was applied under each idempotency key.
    pub(in crate::engine::tests) applied: HashMap<Digest, Vec<Bytes>>,
    prepared: BTreeMap<(String, u64), Vec<Delivery>>,
    pub(in crate::engine::tests) batches: usize,
    /// What came under each number, to one that knows nothing but idempotency keys.
    pub(in crate::engine::tests) sent: BTreeMap<(String, u64), BTreeSet<Vec<Bytes>>>,
    /// How many records it takes before it is busy, and how many after that, one that is not transactional.
    pub(in crate::engine::tests) patience: Option<u32>,
    pub(in crate::engine::tests) calm: Option<u32>,
    /// How many batches it does not take, since nobody can reach it.
    pub(in crate::engine::tests) down: u32,
    /// Whether it goes away for a call just when it has prepared the next batch.
    pub(in crate::engine::tests) faints: bool,
}

/// How a sink keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::tests) enum Nature {
    /// Whole batches with a ledger.
    Transactional,
    /// Record by record, knowing nothing but idempotency keys.
    Keyed,
}

pub(in crate::engine::tests) struct Fake {
    pub(in crate::engine::tests) name: String,
    pub(in crate::engine::tests) nature: Nature,
    pub(in crate::engine::tests) mode: SinkMode,
    pub(in crate::engine::tests) table: Arc<Mutex<Table>>,
    pub(in crate::engine::tests) cut: Arc<Cut>,
}

impl Fake {
    fn gone(&self) -> SinkError {
        SinkError::Unavailable { sink: self.name.clone(), error: "cut".to_owned(), retry_after_ms: None }
    }

    fn check(&self) -> Result<(), SinkError> {
        if self.cut.lives() { Ok(()) } else { Err(self.gone()) }
    }

    /// A record says itself which sink does not take it.
    fn faults(&self, records: &[Delivery]) -> Vec<RecordFault> {
        let fault = |(index, delivery): (usize, &Delivery)| {
            let record: Value = serde_json::from_slice(&delivery.record).unwrap();
            let error = ["misfit", "busy"].into_iter().find(|error| record[error] == self.name.as_str())?;
            let (of_sink, retry_after_ms) = (false, None);
            Some(RecordFault { index, error: error.into(), retry: error == "busy", of_sink, retry_after_ms })
        };
        records.iter().enumerate().filter_map(fault).collect()
    }

    /// Fails where nobody can reach the sink.
    fn reach(&self) -> Result<(), SinkError> {
        self.check()?;
        let mut table = self.table.lock().unwrap();
        if table.down == 0 {
            return Ok(());
        }
        table.down -= 1;
        Err(self.gone())
    }

    fn put(&self, table: &mut Table, delivery: &Delivery) {
        let seen = table.applied.entry(delivery.idempotency_key).or_default();
        seen.push(delivery.record.clone());
        if self.nature == Nature::Keyed && seen.len() > 1 {
            return;
        }
        let record: Value = serde_json::from_slice(&delivery.record).unwrap();
        let rows = table.rows.entry(record["id"].to_string()).or_default();
        match (delivery.operation, self.mode) {
            (Operation::Delete, _) => rows.clear(),
            (Operation::Put, SinkMode::Append) => rows.push(record),
            (Operation::Put, SinkMode::Insert) if !rows.is_empty() => {}
            (Operation::Put, _) => *rows = vec![record],
        }
    }
}

impl Sink for Fake {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_transactional(&self) -> bool {
        self.nature == Nature::Transactional
    }

    fn most(&self) -> usize {
        if self.nature == Nature::Keyed { 2 } else { usize::MAX }
    }

    fn last_applied(&mut self, scope: &str) -> Result<Option<u64>, SinkError> {
        self.check()?;
        let last = self.table.lock().unwrap().last.get(scope).map_or(0, |(last, _)| *last);
        Ok((self.nature == Nature::Transactional).then_some(last))
    }

    fn applied(&mut self, batch: &BatchId) -> Result<Option<bool>, SinkError> {
        Ok(self.last_applied(&batch.scope)?.map(|last| last >= batch.sequence))
    }

    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError> {
        self.table.lock().unwrap().batches += 1;
        self.reach()?;
        let faults = self.faults(records);
        let table = Arc::clone(&self.table);
        let mut table = table.lock().unwrap();
        if self.nature == Nature::Keyed {
            let mut faults = faults;
            let sent = records.iter().map(|delivery| delivery.record.clone()).collect();
            table.sent.entry((batch.scope.clone(), batch.sequence)).or_default().insert(sent);
            for (index, delivery) in records.iter().enumerate() {
                if table.patience == Some(0) {
                    let fault = |index| RecordFault {
                        index,
                        error: "busy".into(),
                        retry: true,
                        of_sink: true,
                        retry_after_ms: None,
                    };
                    faults.extend((index..records.len()).map(fault));
                    table.patience = table.calm;
                    if faults.len() == records.len() && index == 0 {
                        return Err(self.gone());
                    }
                    break;
                }
                table.patience = table.patience.map(|left| left - 1);
                if faults.iter().all(|fault| fault.index != index) {
                    self.check()?;
                    self.put(&mut table, delivery);
                }
            }
            self.check()?;
            return Ok(Delivered { refused: faults, ..Delivered::default() });
        }
        let last = table.last.get(&batch.scope).copied();
        match last {
            Some((last, digest)) if last == batch.sequence => {
                assert_eq!(digest, batch.digest, "{}: batch {last} comes with other content", self.name);
                return Ok(Delivered::default());
            }
            last => assert_eq!(last.map_or(0, |(last, _)| last) + 1, batch.sequence, "{}", self.name),
        }
        if !faults.is_empty() {
            return Err(SinkError::Records(faults));
        }
        for delivery in records {
            self.put(&mut table, delivery);
        }
        table.last.insert(batch.scope.clone(), (batch.sequence, batch.digest));
        drop(table);
        self.check()?;
        Ok(Delivered::default())
    }

    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError> {
        Ok(None)
    }

    fn prepare(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<(), SinkError> {
        self.table.lock().unwrap().batches += 1;
        self.reach()?;
        let faults = self.faults(records);
        if !faults.is_empty() {
            return Err(SinkError::Records(faults));
        }
        let id = (batch.scope.clone(), batch.sequence);
        let mut table = self.table.lock().unwrap();
        let known = table.prepared.insert(id, records.to_vec());
        assert!(known.is_none(), "{}: it is prepared already", self.name);
        if std::mem::take(&mut table.faints) {
            table.down = 1;
            return Err(self.gone());
        }
        drop(table);
        self.check()
    }

    fn settle(&mut self, batch: &BatchId, commit: bool) -> Result<(), SinkError> {
        self.reach()?;
        let table = Arc::clone(&self.table);
        let mut table = table.lock().unwrap();
        let prepared = table.prepared.remove(&(batch.scope.clone(), batch.sequence));
        for delivery in prepared.iter().flatten().filter(|_| commit) {
            self.put(&mut table, delivery);
        }
        if prepared.is_some() && commit {
            table.last.insert(batch.scope.clone(), (batch.sequence, batch.digest));
        }
        drop(table);
        self.check()
    }

    fn prepared(&mut self, scope: &str) -> Result<Vec<u64>, SinkError> {
        self.check()?;
        let table = self.table.lock().unwrap();
        let of_scope = table.prepared.keys().filter(|(known, _)| known == scope);
        Ok(of_scope.map(|(_, sequence)| *sequence).collect())
    }
}

impl Table {
    pub(in crate::engine::tests) fn has_prepared(&self) -> bool {
        !self.prepared.is_empty()
    }
}
