//! An HTTP endpoint.
//!
//! It has no ledger to ask, so each request carries an `Idempotency-Key` (a quoted string, as the IETF's draft
//! "The Idempotency-Key HTTP Header Field" has it), the same in each try: a server that heeds it applies a repeated
//! request once; one that does not may apply it twice after a crash or a lost answer.
//!
//! | | one record a request | `batched` |
//! |---|---|---|
//! | body | the record | an array of records |
//! | `Idempotency-Key` | of the record's key and version | of the stage and the records in it, each with its version |
//! | in flight | up to 8 | 1; one whose outcome is open (no answer, or one that asks for another try) is sent again as it was |
//! | tombstones | `DELETE` with the tombstone as its body | in the array, as they are |
//!
//! | answer | means |
//! |---|---|
//! | 2xx, and 404 or 410 to a `DELETE` | delivered; status and the first 512 bytes are the receipt (of a batch: its first record's) |
//! | 408, 409, 425, 429, 5xx | another try, after `Retry-After` at least; 409: a request with this key is still being processed |
//! | 401, 403, 404, 405, 407, 415 and 3xx to all | the endpoint is not what was meant: a person must act |
//! | other 4xx | the record is refused for good; of a batch, which one is found by halves (400, 413, 422) |
//!
//! After an answer that speaks of the server (429, 503, or none at all) the rest of the batch is not sent. When some of it
//! was delivered or refused before, that counts, and the rest is to be tried again.

mod answer;

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_model::{Clock, Digest};
use ureq::Agent;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use self::answer::Answer;
use super::{BatchId, Delivered, Delivery, Operation, RecordFault, Sink, SinkError};

/// Requests at once: enough to hide the way to the server and back, few enough not to be taken for an attack.
const IN_FLIGHT: usize = 8;

/// Records that are sent, one a request, before it is asked whether the run is to be stopped.
const AT_ONCE: usize = 256;

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one request may take in all.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);

/// How many refused records of one batch are looked for by halves: each costs some requests.
const FAULTS_MAX: usize = 100;

/// What an endpoint is asked, and how.
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) method: String,
    pub(super) batched: bool,
    /// Sent with each request.
    pub(super) headers: Vec<(String, String)>,
}

/// The sink.
pub(super) struct Http {
    /// Method and address, without user, password and query.
    name: String,
    uri: Uri,
    method: Method,
    batched: bool,
    headers: HeaderMap,
    agent: Agent,
    clock: Arc<dyn Clock>,
}

impl Http {
    /// Checks what can be checked without a request.
    pub(super) fn open(endpoint: &Endpoint, clock: Arc<dyn Clock>) -> Result<Self, SinkError> {
        let refused = |sink: &str, error: String, help: &str| SinkError::Refused {
            sink: sink.to_owned(),
            error,
            help: Some(help.to_owned()),
        };
        // The address may hold a password: errors do not repeat it.
        let uri: Uri = endpoint
            .url
            .parse()
            .ok()
            .filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
            .ok_or_else(|| {
                refused("http", "its `url` is not an address".to_owned(), "write `https://HOST/PATH`")
            })?;
        let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let place = format!(
            "{}://{}{port}{}",
            uri.scheme_str().unwrap_or_default(),
            uri.host().unwrap_or_default(),
            uri.path()
        );
        let name = format!("http {} `{place}`", endpoint.method);
        let method = match endpoint.method.as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            other => {
                let error = format!("method `{other}` does not deliver records");
                return Err(refused(&name, error, "use POST, PUT or PATCH"));
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        for (header, value) in &endpoint.headers {
            let value = HeaderName::try_from(header).ok().zip(HeaderValue::try_from(value).ok());
            let (header, mut value) = value.ok_or_else(|| {
                let error =
                    format!("the header `{header}` or its value has characters that no header may have");
                refused(&name, error, "remove line ends and spaces around it")
            })?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections_per_host(IN_FLIGHT)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(REQUEST_TIMEOUT))
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Ok(Self { name, uri, method, batched: endpoint.batched, headers, agent, clock })
    }

    /// Sends one request and waits for its answer.
    fn send(&self, method: &Method, key: &Digest, body: &[u8]) -> Answer {
        let uri = self.uri.clone();
        let mut request = match *method {
            Method::DELETE => self.agent.delete(uri).force_send_body(),
            Method::PUT => self.agent.put(uri),
            Method::PATCH => self.agent.patch(uri),
            _ => self.agent.post(uri),
        };
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let sent = request.header("idempotency-key", format!("\"{key}\"")).send(body);
        Answer::read(sent, method, self.clock.as_ref())
    }

    fn deliver_single(&self, records: &[Delivery]) -> Vec<Option<Answer>> {
        let answers: Vec<OnceLock<Answer>> = records.iter().map(|_| OnceLock::new()).collect();
        // A worker takes the next record; an answer that speaks of the server leaves none to take.
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..IN_FLIGHT.min(records.len()) {
                scope.spawn(|| {
                    while let Some(index) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < records.len())
                    {
                        let delivery = &records[index];
                        let method = match delivery.operation {
                            Operation::Put => &self.method,
                            Operation::Delete => &Method::DELETE,
                        };
                        let answer = self.send(method, &delivery.idempotency_key, &delivery.record);
                        if answer.is_of_server() {
                            next.store(records.len(), Ordering::Relaxed);
                        }
                        let _ = answers[index].set(answer);
                    }
                });
            }
        });
        answers.into_iter().map(OnceLock::into_inner).collect()
    }

    /// Returns the answers, and the requests whose outcome is open.
    fn deliver_batched(
        &self,
        batch: &BatchId,
        records: &[Delivery],
    ) -> (Vec<Option<Answer>>, Vec<Range<usize>>) {
        let mut answers: Vec<Option<Answer>> = records.iter().map(|_| None).collect();
        let mut open = Vec::new();
        let mut refused = 0;
        // Parts yet to be sent; the last first.
        let mut parts = Vec::from([Range { start: 0, end: records.len() }]);
        while let Some(part) = parts.pop() {
            if part.is_empty() || refused >= FAULTS_MAX {
                break;
            }
            let sent = &records[part.clone()];
            let answer = self.send(&self.method, &batch_key(batch, sent), &array(sent));
            if answer.retry() {
                open.push(part.clone());
            }
            if answer.is_of_server() {
                answers[part.start] = Some(answer);
                break;
            }
            if answer.is_of_some_record() && part.len() > 1 {
                let middle = part.start.midpoint(part.end);
                parts.push(middle..part.end);
                parts.push(part.start..middle);
                continue;
            }
            refused += usize::from(!answer.is_delivered());
            answers[part].fill(Some(answer));
        }
        (answers, open)
    }

    /// Says what became of the batch. One that was `parted` has been looked into: its parts are told of, whatever they got.
    fn outcome(&self, answers: Vec<Option<Answer>>, parted: bool) -> Result<Delivered, SinkError> {
        // One that it refused for good it was there for.
        let dealt_with_some = answers.iter().flatten().any(|answer| answer.is_delivered() || !answer.retry());
        if !dealt_with_some
            && !parted
            && let Some(error) = answers.iter().flatten().find_map(|answer| answer.of_sink(&self.name))
        {
            return Err(error);
        }
        // What is said of records that were not sent: the server was not there for another one.
        let cause = answers.iter().flatten().find(|answer| answer.is_of_server());
        let unsent = cause.map_or_else(
            || ("not sent: too many others of its batch were refused".to_owned(), None),
            |cause| {
                (
                    format!("not sent, since of another of its batch: {}", cause.error()),
                    cause.retry_after_ms(),
                )
            },
        );
        let mut delivered = Delivered::default();
        let mut last = None;
        for (index, answer) in answers.into_iter().enumerate() {
            let Some(answer) = answer else {
                let (error, retry_after_ms) = unsent.clone();
                delivered.refused.push(RecordFault {
                    index,
                    error,
                    retry: true,
                    of_sink: true,
                    retry_after_ms,
                });
                continue;
            };
            match answer.receipt() {
                // The answer to several records is kept once.
                Some(receipt) if !self.batched || last.as_ref() != Some(&receipt) => {
                    delivered.receipts.push((index, receipt.clone()));
                    last = Some(receipt);
                }
                Some(_) => {}
                None => delivered.refused.push(RecordFault {
                    index,
                    error: answer.error(),
                    retry: answer.retry(),
                    of_sink: answer.is_of_server(),
                    retry_after_ms: answer.retry_after_ms(),
                }),
            }
        }
        Ok(delivered)
    }
}

/// Returns the key of a request with `records` of a batch: of what is sent, whatever the batch's number, since the rest of a
/// batch may be sent again without those that were delivered or refused before, and all of it in another batch after an outage.
fn batch_key(batch: &BatchId, records: &[Delivery]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("cairn v2 http batch");
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    part(batch.scope.as_bytes());
    for delivery in records {
        part(delivery.idempotency_key.as_bytes());
        part(&delivery.record);
    }
    hasher.finalize().into()
}

fn array(records: &[Delivery]) -> Vec<u8> {
    let mut body =
        Vec::with_capacity(records.iter().map(|delivery| delivery.record.len() + 1).sum::<usize>() + 2);
    body.push(b'[');
    for (index, delivery) in records.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&delivery.record);
    }
    body.push(b']');
    body
}

impl Sink for Http {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn is_transactional(&self) -> bool {
        false
    }

    fn most(&self) -> usize {
        if self.batched { usize::MAX } else { AT_ONCE }
    }

    fn last_applied(&mut self, _: &str) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn applied(&mut self, _: &BatchId) -> Result<Option<bool>, SinkError> {
        Ok(None)
    }

    fn deliver(&mut self, batch: &BatchId, records: &[Delivery]) -> Result<Delivered, SinkError> {
        if !self.batched {
            return self.outcome(self.deliver_single(records), false);
        }
        let (answers, open) = self.deliver_batched(batch, records);
        let parted = open.iter().any(|part| part.len() < records.len());
        Ok(Delivered { open, ..self.outcome(answers, parted)? })
    }

    fn fingerprint(&mut self) -> Result<Option<Digest>, SinkError> {
        Ok(None)
    }

    fn prepare(&mut self, _: &BatchId, _: &[Delivery]) -> Result<(), SinkError> {
        Err(super::no_two_phase(self.name.clone()))
    }

    fn settle(&mut self, _: &BatchId, _: bool) -> Result<(), SinkError> {
        Err(super::no_two_phase(self.name.clone()))
    }

    fn prepared(&mut self, _: &str) -> Result<Vec<u64>, SinkError> {
        Ok(Vec::new())
    }
}
