//! Traces of runs, sent to a collector as OTLP over HTTP, when the usual `OTEL_` variables say where.
//!
//! Spans come from runs' events ([`cairn_scheduler::spans`]). They wait in a queue that is bounded, for a thread that sends them: a
//! collector that is slow or down holds up nothing, and is told of once. Where no variable asks for traces there is neither.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, UNIX_EPOCH};

use cairn_model::Timestamp;
use cairn_scheduler::spans::{Export, Exported, Fact, Span};
use futures_util::FutureExt as _;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};

/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 8192;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long one waits for others to be sent with it.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a process that is about to end waits until all is sent.
const LAST: Duration = Duration::from_secs(2);
/// How long the collector may take over one batch, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Sends spans.
pub(super) struct Otlp {
    queue: SyncSender<Message>,
    counts: Arc<Counts>,
}

/// How many spans came to what.
#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

enum Message {
    Span(Box<Span>),
    /// All before it is to be sent, and this be told then.
    Flush(SyncSender<()>),
}

/// What variables ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    /// No traces.
    Nothing,
    /// Traces, in a way that there is not: what it is.
    Unknown(String),
    /// Traces.
    Otlp,
}

/// Returns what sends this process's spans; `None` where nobody wants them.
pub(super) fn of_process() -> Option<Arc<Otlp>> {
    static TELEMETRY: OnceLock<Option<Arc<Otlp>>> = OnceLock::new();
    let make = || match wanted(&|name| std::env::var(name).ok()) {
        Wanted::Nothing => None,
        Wanted::Unknown(what) => {
            tracing::warn!("no traces are sent: {what}");
            None
        }
        Wanted::Otlp => Otlp::start().inspect_err(|error| tracing::warn!(%error, "no traces are sent")).ok(),
    };
    TELEMETRY.get_or_init(make).clone()
}

fn wanted(variable: &dyn Fn(&str) -> Option<String>) -> Wanted {
    // One that is empty counts as not set.
    let said = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let is_off = said("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let exporter = said("OTEL_TRACES_EXPORTER");
    let has_endpoint = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        .into_iter()
        .any(|name| said(name).is_some());
    match exporter.as_deref() {
        _ if is_off => return Wanted::Nothing,
        Some("none") => return Wanted::Nothing,
        None if !has_endpoint => return Wanted::Nothing,
        None | Some("otlp") => {}
        Some(other) => {
            return Wanted::Unknown(format!("`OTEL_TRACES_EXPORTER` is `{other}`, and not `otlp`"));
        }
    }
    let protocol = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| said("OTEL_EXPORTER_OTLP_PROTOCOL"));
    match protocol.as_deref() {
        None | Some("http/protobuf" | "http/json") => Wanted::Otlp,
        Some(other) => Wanted::Unknown(format!(
            "the protocol `{other}` is not spoken here, only `http/protobuf` and `http/json`"
        )),
    }
}

impl Otlp {
    fn start() -> Result<Arc<Self>, Box<dyn std::error::Error>> {
        let mut exporter = SpanExporter::builder().with_http().with_http_client(Client::new()).build()?;
        let mut resource = Resource::builder();
        if ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"].iter().all(|name| !names_service(name)) {
            resource = resource.with_service_name("cairn");
        }
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        exporter.set_resource(&resource.with_attribute(version).build());
        let (queue, received) = sync_channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let sender =
            Sender { exporter, received, counts: Arc::clone(&counts), dropped_before: 0, is_told: false };
        std::thread::Builder::new().name("traces".to_owned()).spawn(move || sender.run())?;
        Ok(Arc::new(Self { queue, counts }))
    }
}

impl super::Telemetry for Otlp {
    fn flush(&self) {
        let (told, sent) = sync_channel(1);
        let began = Instant::now();
        let mut message = Message::Flush(told);
        // Where the queue is full, there is no room for the question either.
        while let Err(error) = self.queue.try_send(message) {
            let std::sync::mpsc::TrySendError::Full(back) = error else { return };
            if began.elapsed() > LAST {
                return;
            }
            message = back;
            std::thread::sleep(Duration::from_millis(10));
        }
        if sent.recv_timeout(LAST.saturating_sub(began.elapsed())).is_err() {
            tracing::warn!("the last traces are not sent: the collector takes too long");
        }
    }
}

fn names_service(variable: &str) -> bool {
    says_service(variable, &std::env::var(variable).unwrap_or_default())
}

fn says_service(variable: &str, said: &str) -> bool {
    let is_attribute = |entry: &str| entry.split('=').next().is_some_and(|key| key.trim() == "service.name");
    if variable == "OTEL_SERVICE_NAME" { !said.is_empty() } else { said.split(',').any(is_attribute) }
}

impl Export for Otlp {
    fn export(&self, span: Span) {
        if self.queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn exported(&self) -> Exported {
        let Counts { sent, failed, dropped } = &*self.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Exported { sent: read(sent), failed: read(failed), dropped: read(dropped) }
    }
}

/// The thread that sends.
struct Sender {
    exporter: SpanExporter,
    received: Receiver<Message>,
    counts: Arc<Counts>,
    /// How many had been dropped when the last batch was sent.
    dropped_before: u64,
    /// Whether it was told that spans do not arrive, and not yet that they do again.
    is_told: bool,
}

impl Sender {
    fn run(mut self) {
        let mut batch = Vec::new();
        let mut due: Option<Instant> = None;
        loop {
            let pause = due.map_or(Duration::MAX, |due| due.saturating_duration_since(Instant::now()));
            match self.received.recv_timeout(pause) {
                Ok(Message::Span(span)) => {
                    batch.push(data_of(*span));
                    due.get_or_insert_with(|| Instant::now() + PAUSE);
                    if batch.len() < BATCH {
                        continue;
                    }
                    self.send(&mut batch);
                }
                Ok(Message::Flush(told)) => {
                    self.send(&mut batch);
                    let _ = told.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.send(&mut batch),
                Err(RecvTimeoutError::Disconnected) => return self.send(&mut batch),
            }
            due = None;
        }
    }

    fn send(&mut self, batch: &mut Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let count = batch.len();
        // The client waits, so that this is over when it is first asked.
        let sent = self.exporter.export(std::mem::take(batch)).now_or_never();
        let failed = match sent {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some("it waits for something".to_owned()),
        };
        let Counts { sent, failed: not_sent, dropped } = &*self.counts;
        let counted = if failed.is_none() { sent } else { not_sent };
        counted.fetch_add(count as u64, Ordering::Relaxed);
        let dropped_now = dropped.load(Ordering::Relaxed);
        let dropped = dropped_now - std::mem::replace(&mut self.dropped_before, dropped_now);
        if let Some(error) = failed {
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!(spans = count, %error, "traces do not reach the collector; runs go on without");
            }
        } else if dropped > 0 {
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!(dropped, "more spans than the collector takes: some are dropped");
            }
        } else if std::mem::take(&mut self.is_told) {
            tracing::info!("traces reach the collector again");
        }
    }
}

fn data_of(span: Span) -> SpanData {
    let time = |at: Timestamp| UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    let id = |id: &cairn_model::SpanId| SpanId::from_bytes(*id.as_bytes());
    let trace = TraceId::from_bytes(span.trace);
    let attribute = |(name, fact): (&'static str, Fact)| match fact {
        Fact::Text(text) => KeyValue::new(name, text),
        Fact::Number(number) => KeyValue::new(name, number),
        Fact::Flag(flag) => KeyValue::new(name, flag),
    };
    let (parent, is_remote) =
        span.parent.map_or((SpanId::INVALID, false), |(parent, remote)| (id(&parent), remote));
    SpanData {
        span_context: SpanContext::new(
            trace,
            id(&span.id),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent,
        parent_span_is_remote: is_remote,
        span_kind: SpanKind::Internal,
        name: span.name.into(),
        start_time: time(span.began),
        // A clock that was set back between two events is not to make a span end before it began.
        end_time: time(span.ended.max(span.began)),
        attributes: span.facts.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: InstrumentationScope::builder("cairn")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// The HTTP client that the rest of the program has; it waits.
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let said = |name| std::env::var(name).ok().and_then(|text| text.trim().parse().ok());
        let within = said("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT").or_else(|| said("OTEL_EXPORTER_OTLP_TIMEOUT"));
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(within.map_or(WITHIN, Duration::from_millis)))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self(agent)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let response = self.0.run(Request::from_parts(head, &body[..]))?;
        let (head, mut body) = response.into_parts();
        let bytes = body.with_config().limit(ANSWER_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, Bytes::from(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_named_by_its_own_key_alone() {
        for (variable, said, expected) in [
            ("OTEL_SERVICE_NAME", "", false),
            ("OTEL_SERVICE_NAME", "x", true),
            ("OTEL_RESOURCE_ATTRIBUTES", "", false),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x", true),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name = x", true),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.namespace=x", false),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=service.name", false),
        ] {
            assert_eq!(says_service(variable, said), expected, "{variable}={said}");
        }
    }

    #[test]
    fn variables_say_whether_there_are_traces() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318");
        let off = Wanted::Nothing;
        for (said, expected) in [
            (vec![], Some(off.clone())),
            (vec![("OTEL_SERVICE_NAME", "x")], Some(off.clone())),
            (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], Some(off.clone())),
            (vec![endpoint], Some(Wanted::Otlp)),
            (vec![("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/v1/traces")], Some(Wanted::Otlp)),
            (vec![("OTEL_TRACES_EXPORTER", "otlp")], Some(Wanted::Otlp)),
            (vec![endpoint, ("OTEL_TRACES_EXPORTER", "none")], Some(off.clone())),
            (vec![endpoint, ("OTEL_SDK_DISABLED", "TRUE")], Some(off)),
            (vec![endpoint, ("OTEL_SDK_DISABLED", "false")], Some(Wanted::Otlp)),
            (vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")], Some(Wanted::Otlp)),
            (vec![endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], None),
            (vec![endpoint, ("OTEL_TRACES_EXPORTER", "zipkin")], None),
        ] {
            let variable = |name: &str| {
                said.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            let found = wanted(&variable);
            match expected {
                Some(expected) => assert_eq!(found, expected, "{said:?}"),
                None => assert!(matches!(found, Wanted::Unknown(_)), "{said:?}: {found:?}"),
            }
        }
    }
}
