//! What is wrong is told as RFC 9457 has it, and changes nothing.

use axum::body::Body;
use axum::http::{Method, Request, header};
use futures_util::StreamExt as _;

use super::daemon::{Answer, Served};

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_or_lead_elsewhere() {
    let served = Served::idle().await;
    let run = served.submit("quick", "").await;
    let outside = served.path("outside");
    std::fs::write(&outside, "kept").unwrap();
    let ids = [
        "unknown",
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2foutside",
        "%2fetc%2fpasswd",
        "a%00b",
        "%ff",
        "%",
        "a%0ab",
        "UPPER",
        "a%20b",
        "quick.",
        "quick%2f",
        "..%5c..",
        "%252e%252e",
        "\u{fc}",
        &"x".repeat(4000),
        "00000000-0000-0000-0000-000000000000",
    ];
    for id in ids {
        let id = if id.is_ascii() { id.to_owned() } else { "%c3%bc".to_owned() };
        for (method, path) in [
            ("GET", format!("/api/v1/pipelines/{id}")),
            ("POST", format!("/api/v1/pipelines/{id}/runs")),
            ("POST", format!("/api/v1/pipelines/{id}/pause")),
            ("POST", format!("/api/v1/pipelines/{id}/unpause")),
            ("GET", format!("/api/v1/runs/{id}")),
            ("GET", format!("/api/v1/runs/{id}/events")),
            ("POST", format!("/api/v1/runs/{id}/cancel")),
            ("POST", format!("/api/v1/runs/{id}/resume")),
            ("GET", format!("/api/v1/backfills/{id}")),
            ("POST", format!("/api/v1/backfills/{id}/cancel")),
        ] {
            let Ok(request) = Request::builder().method(method).uri(&path).body(Body::empty()) else {
                continue;
            };
            let answer = Answer::of(served.send(request).await).await;
            assert!([400, 404].contains(&answer.status.as_u16()), "{method} {path}: {answer:?}");
            answer.problem(answer.status.as_u16());
        }
    }
    assert_eq!(served.status(&run).await, "queued");
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_are_wrong() {
    let served = Served::idle().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=1&limit=2",
        "before=x",
        "status=done",
        "unknown=1",
        "before=..%2f..",
        "limit=99999999999999999999",
    ] {
        served.get(&format!("/api/v1/runs?{query}")).await.problem(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_wrong() {
    let served = Served::idle().await;
    let post = async |body: &str| served.post("/api/v1/pipelines/quick/runs", body).await;
    for syntax in ["{", "nonsense", "{\"params\":", "[}", "{}{}", "\u{0}"] {
        post(syntax).await.problem(400);
    }
    for value in [
        "[]",
        "null",
        "3",
        r#"{"params":[]}"#,
        r#"{"params":3}"#,
        r#"{"priority":"high"}"#,
        r#"{"priority":1e99}"#,
        r#"{"unknown":1}"#,
        r#"{"stages":"a"}"#,
        r#"{"jobs":-1}"#,
        r#"{"jobs":0}"#,
        r#"{"jobs":10001}"#,
        r#"{"params":{"word":["a"]}}"#,
        r#"{"params":{"word":null}}"#,
        r#"{"interval":{"start":"2024-01-01T00:00:00Z"}}"#,
        r#"{"force":3}"#,
        r#"{"priority":1,"priority":2}"#,
        // As the definition has it.
        r#"{"params":{"unknown":"x"}}"#,
        r#"{"stages":["unknown"]}"#,
        r#"{"from":["unknown"]}"#,
    ] {
        post(value).await.problem(422);
    }
    for words in [
        r#"{"logical_time":"yesterday"}"#,
        r#"{"stages":["a"],"only":["a"]}"#,
        r#"{"not_before":"2024-13-01T00:00:00Z"}"#,
        r#"{"interval":{"start":"2024-01-02T00:00:00Z","end":"2024-01-01T00:00:00Z"}}"#,
    ] {
        post(words).await.problem(400);
    }
    let wrong = post(r#"{"params":{"unknown":"x"}}"#).await.problem(422);
    assert!(wrong["report"].as_str().unwrap().contains("unknown"), "{wrong}");
    let none = served.get("/api/v1/runs").await.expect(200);
    assert_eq!(none["items"], serde_json::json!([]), "none of these is a run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_not_begun_cannot_be_resumed() {
    let served = Served::idle().await;
    let run = served.submit("quick", "").await;
    let resume = async |body: &str| served.post(&format!("/api/v1/runs/{run}/resume"), body).await;
    let told = resume("").await.problem(409);
    assert!(told["detail"].as_str().unwrap().ends_with("waits for its turn already"), "{told}");
    assert_eq!(told["type"], "urn:cairn:run-waits");
    resume(r#"{"jobs":0}"#).await.problem(422);
    served.post(&format!("/api/v1/runs/{run}/cancel"), "").await.expect(200);
    assert_eq!(served.status(&run).await, "interrupted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_two_hosts_is_refused_by_either_way() {
    let served = Served::idle().await;
    let request = || {
        let request = Request::get("/healthz").header(header::HOST, "localhost");
        request.header(header::HOST, "localhost").body(Body::empty()).unwrap()
    };
    served.send_tcp(request()).await.problem(400);
    Answer::of(served.send(request()).await).await.problem(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_a_kind_is_not_overlooked() {
    let served = Served::idle().await;
    let request =
        Request::post("/api/v1/pipelines/quick/runs").body(Body::from(r#"{"params":{"word":"x"}}"#)).unwrap();
    let run = Answer::of(served.send(request).await).await.expect(201);
    assert_eq!(run["params"]["word"], "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large() {
    let served = Served::idle().await;
    let path = "/api/v1/pipelines/quick/runs";
    let large = format!(r#"{{"params":{{"word":"{}"}}}}"#, "x".repeat(2 << 20));
    served.post(path, &large).await.problem(413);
    // 100 MB that come piece by piece are not read to their end.
    let pieces = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&pieces);
    let body = futures_util::stream::iter(0..1600).map(move |_| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::io::Error>(vec![b' '; 1 << 16])
    });
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    Answer::of(served.send(request.body(Body::from_stream(body)).unwrap()).await).await.problem(413);
    let read = pieces.load(std::sync::atomic::Ordering::Relaxed);
    assert!(read <= 20, "{read} pieces were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_methods_that_are_not_there() {
    let served = Served::idle().await;
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/run",
        "/api/v2/runs",
        "/api/v1/runs/",
        "//api/v1/runs",
        "/API/V1/RUNS",
    ] {
        served.get(path).await.problem(404);
    }
    for (method, path) in [
        (Method::DELETE, "/api/v1/runs"),
        (Method::PUT, "/api/v1/pipelines/quick"),
        (Method::GET, "/api/v1/pipelines/quick/runs"),
        (Method::POST, "/healthz"),
        (Method::PATCH, "/api/v1/system"),
    ] {
        let request = Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        let answer = Answer::of(served.send(request).await).await;
        answer.problem(405);
        assert!(!answer.header("allow").is_empty(), "{method} {path}");
    }
}
