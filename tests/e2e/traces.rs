//! Traces of runs, as a collector gets them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cairn_testkit::Project;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::BINARY;
use super::daemon::{Daemon, until};

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What came: the head of a request, and what it said.
type Came = (String, ExportTraceServiceRequest);

/// Listens, and keeps what comes.
struct Collector {
    port: u16,
    came: Arc<Mutex<Vec<Came>>>,
}

impl Collector {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = Arc::<Mutex<Vec<Came>>>::default();
        let kept = Arc::clone(&came);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || answer(stream, &kept));
            }
        });
        Self { port, came }
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn heads(&self) -> Vec<String> {
        self.came.lock().unwrap().iter().map(|(head, _)| head.clone()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let came = self.came.lock().unwrap();
        let of_resource = came.iter().flat_map(|(_, request)| &request.resource_spans);
        of_resource.flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans).cloned().collect()
    }

    fn span(&self, name: &str) -> Span {
        let spans = self.spans();
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found.next().unwrap_or_else(|| panic!("`{name}` is not among {:?}", names(&spans)));
        assert!(found.next().is_none(), "`{name}` came twice");
        span.clone()
    }
}

/// Answers the requests of a connection, one after the other.
fn answer(mut stream: TcpStream, kept: &Mutex<Vec<Came>>) {
    loop {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap().to_ascii_lowercase();
            }
            let mut some = [0; 4096];
            match stream.read(&mut some) {
                Ok(count) if count > 0 => bytes.extend_from_slice(&some[..count]),
                _ => return,
            }
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
        let mut body = bytes;
        let left = length.unwrap_or(0) - body.len();
        (&stream).take(left as u64).read_to_end(&mut body).unwrap();
        let request = if head.contains("application/json") {
            serde_json::from_slice(&body).unwrap()
        } else {
            ExportTraceServiceRequest::decode(&body[..]).unwrap()
        };
        kept.lock().unwrap().push((head, request));
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
            return;
        }
    }
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

fn fact(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|attribute| attribute.value.clone()?.value);
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => panic!("`{name}` of `{}` is {other:?}", span.name),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// `a` says in which span it is, and fails once; `b` follows it.
fn project() -> Project {
    Project::with_pipeline(
        BINARY,
        "[pipeline]\nname = \"p\"\n[stages.a]\nrun = '''\nif [ \"$CAIRN_ATTEMPT\" = 1 ]; then exit 3; fi\n\
         echo ${TRACEPARENT:-none} > a.txt\n'''\noutputs = [\"a.txt\"]\nretries = { attempts = 2, delay = \"1ms\" }\n\
         [stages.b]\nrun = \"cp a.txt b.txt\"\ninputs = [\"a.txt\"]\noutputs = [\"b.txt\"]\n",
    )
}

#[test]
fn a_run_is_a_trace_in_which_its_caller_and_its_commands_are() {
    for protocol in ["http/protobuf", "http/json"] {
        let (collector, mut project) = (Collector::listen(), project());
        project
            .set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
            .set_env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .set_env("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven")
            .set_env("OTEL_SERVICE_NAME", "loads")
            .set_env("OTEL_RESOURCE_ATTRIBUTES", "team=data")
            .set_env("TRACEPARENT", CALLER);
        let outcome = project.cairn(&["run"]).expect(0);
        assert!(!outcome.stderr.contains("trace"), "{}", outcome.shown());
        let head = &collector.heads()[0];
        assert!(head.starts_with("post /v1/traces ") && head.contains("x-tenant: seven"), "{head}");
        assert!(head.contains(if protocol == "http/json" {
            "application/json"
        } else {
            "application/x-protobuf"
        }));

        let (run, a, first, second) = (
            collector.span("p"),
            collector.span("a"),
            collector.span("a attempt 1"),
            collector.span("a attempt 2"),
        );
        let b = collector.span("b");
        assert_eq!(names(&collector.spans()).len(), 6, "{:?}", names(&collector.spans()));
        for span in collector.spans() {
            assert_eq!(hexadecimal(&span.trace_id), &CALLER[3..35], "{}", span.name);
            assert!(span.start_time_unix_nano > 0 && span.start_time_unix_nano <= span.end_time_unix_nano);
            assert!(span.start_time_unix_nano >= run.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= run.end_time_unix_nano);
        }
        assert_eq!(hexadecimal(&run.parent_span_id), &CALLER[36..52]);
        assert_eq!((&a.parent_span_id, &b.parent_span_id), (&run.span_id, &run.span_id));
        assert_eq!((&first.parent_span_id, &second.parent_span_id), (&a.span_id, &a.span_id));
        assert!(first.end_time_unix_nano <= second.start_time_unix_nano);
        // The command was told the span of its attempt.
        let told = format!("00-{}-{}-01", &CALLER[3..35], hexadecimal(&second.span_id));
        assert_eq!(project.read("a.txt").trim(), told);

        assert_eq!(
            (fact(&run, "cicd.pipeline.name"), fact(&run, "cairn.status")),
            ("p".into(), "succeeded".into())
        );
        assert_eq!((fact(&a, "cairn.outcome"), fact(&a, "cairn.reason").is_empty()), ("RAN".into(), false));
        assert_eq!(
            (fact(&first, "process.exit.code"), fact(&second, "process.exit.code")),
            ("3".into(), "0".into())
        );
        let status = |span: &Span| span.status.clone().map(|status| (status.code, status.message));
        assert!(status(&first).is_some_and(|(code, why)| code == 2 && why.contains("exit status 3")));
        assert!(status(&a).is_none_or(|(code, _)| code != 2));
        let resource = collector.came.lock().unwrap()[0].1.resource_spans[0].resource.clone().unwrap();
        let said = |key: &str| resource.attributes.iter().any(|attribute| attribute.key == key);
        let service = resource.attributes.iter().find(|attribute| attribute.key == "service.name").unwrap();
        assert_eq!(
            service.value.clone().unwrap().value,
            Some(Value::StringValue("loads".to_owned())),
            "{resource:?}"
        );
        assert!(said("team") && said("service.version"), "{resource:?}");

        // What is fresh is told as such; no command runs.
        project.cairn(&["run", "--json"]).expect(0);
        let fresh = collector.spans().into_iter().rfind(|span| span.name == "a").unwrap();
        assert_eq!(fact(&fresh, "cairn.outcome"), "FRESH");
    }
}

#[test]
fn a_run_that_is_resumed_goes_on_in_its_trace() {
    let (collector, mut project) = (Collector::listen(), project());
    project.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("cp a.txt b.txt", "test ! -e a.txt"));
    project.cairn(&["run"]).expect(1);
    project.cairn(&["resume"]).expect(1);
    let spans = collector.spans();
    let runs: Vec<&Span> = spans.iter().filter(|span| span.name == "p").collect();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0].trace_id, runs[1].trace_id);
    assert_ne!(runs[0].span_id, runs[1].span_id);
    assert_eq!(fact(runs[0], "cicd.pipeline.run.id").replace('-', ""), hexadecimal(&runs[0].trace_id));
    assert!(runs[0].parent_span_id.is_empty() || runs[0].parent_span_id == [0; 8]);
    assert_eq!(
        (fact(runs[0], "cairn.resumed"), fact(runs[1], "cairn.resumed")),
        ("false".into(), "true".into())
    );
    assert!(spans.iter().any(|span| span.name == "b attempt 2"), "{:?}", names(&spans));
}

#[test]
fn nothing_is_sent_unasked() {
    let collector = Collector::listen();
    let endpoint = collector.endpoint();
    for asked in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_SDK_DISABLED", "true")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_TRACES_EXPORTER", "none")],
        &[("TRACEPARENT", CALLER)],
        // Its caller does not record this trace.
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("TRACEPARENT", &CALLER.replace("-01", "-00"))],
    ] {
        let mut project = project();
        for (name, value) in asked {
            project.set_env(name, value);
        }
        let outcome = project.cairn(&["run"]).expect(0);
        assert!(!outcome.stderr.contains("trace"), "{}", outcome.shown());
        let told = project.read("a.txt");
        match asked {
            // What the commands do is in their caller's span.
            [("TRACEPARENT", caller)] => assert_eq!(told.trim(), *caller),
            [.., ("TRACEPARENT", _)] => assert!(told.trim().ends_with("-00"), "{told}"),
            _ => assert_eq!(told.trim(), "none"),
        }
    }
    let mut project = project();
    project.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint).set_env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let outcome = project.cairn(&["run"]).expect(0);
    assert_eq!(outcome.stderr.matches("`grpc`").count(), 1, "{}", outcome.shown());
    assert!(collector.spans().is_empty());
}

#[test]
fn a_collector_that_is_down_or_silent_fails_no_run() {
    // Nobody listens at the first; the second takes a connection, and no more.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    for (endpoint, said) in [
        ("http://127.0.0.1:1".to_owned(), "do not reach the collector"),
        (format!("http://127.0.0.1:{port}"), "are not sent"),
    ] {
        let mut project = project();
        project
            .set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)
            .set_env("OTEL_EXPORTER_OTLP_TIMEOUT", "600000");
        let began = Instant::now();
        let outcome = project.cairn(&["run"]).expect(0);
        assert!(began.elapsed() < Duration::from_mins(2), "it waited for the collector");
        assert_eq!(outcome.stderr.matches("warning").count(), 1, "{}", outcome.shown());
        assert!(outcome.stderr.contains(said), "{}", outcome.shown());
    }
}

#[test]
fn a_run_under_the_daemon_is_in_the_trace_of_who_asked() {
    let (collector, mut project) = (Collector::listen(), project());
    project.write("cairn.toml", "pipelines = ['pipeline.toml']\n");
    project.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let daemon = Daemon::start(&project);
    // Who asks sends no spans of its own: it needs no variable but the one that says where it is.
    project.set_env("OTEL_SDK_DISABLED", "true").set_env("TRACEPARENT", CALLER);
    project.cairn(&["run"]).expect(0);
    let began = Instant::now();
    while !names(&collector.spans()).contains(&"p") {
        assert!(began.elapsed() < Duration::from_mins(1), "no trace came: {:?}", names(&collector.spans()));
        std::thread::sleep(Duration::from_millis(20));
    }
    let (run, attempt) = (collector.span("p"), collector.span("a attempt 2"));
    assert_eq!(hexadecimal(&run.trace_id), &CALLER[3..35]);
    assert_eq!(hexadecimal(&run.parent_span_id), &CALLER[36..52]);
    assert_eq!(fact(&run, "cairn.trigger"), "hand");
    assert_eq!(
        project.read("a.txt").trim(),
        format!("00-{}-{}-01", &CALLER[3..35], hexadecimal(&attempt.span_id))
    );
    // It is a fact of this run, and not one that people are shown as what was selected.
    let shown = project.cairn(&["show"]).expect(0).stdout;
    assert!(!shown.contains("traceparent"), "{shown}");
    daemon.kill();
}

#[test]
fn the_daemon_counts_what_becomes_of_spans() {
    let collector = Collector::listen();
    // Nobody listens at the second.
    for (endpoint, becomes) in [(collector.endpoint(), "sent"), ("http://127.0.0.1:1".to_owned(), "failed")] {
        let mut project = project();
        project.write("cairn.toml", "pipelines = ['pipeline.toml']\n");
        project.set_env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
        let daemon = Daemon::start(&project);
        project.set_env("OTEL_SDK_DISABLED", "true");
        project.cairn(&["run"]).expect(0);
        let request = format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            daemon.token
        );
        let counted = |result: &str| {
            let answer = daemon.raw(request.as_bytes());
            let label = format!("cairn_spans_total{{result=\"{result}\"}} ");
            let value = answer.lines().find_map(|line| line.strip_prefix(&label)?.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("no {label}: {answer}"))
        };
        until("the spans' end", || counted(becomes) > 0);
        for other in ["sent", "failed", "dropped"].into_iter().filter(|other| *other != becomes) {
            assert_eq!(counted(other), 0, "{endpoint}: {other}");
        }
        daemon.kill();
    }
}
