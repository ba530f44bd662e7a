//! The one gate: who knows no token gets nothing, in whatever way a path is written.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use cairn_server::gate::PUBLIC;
use cairn_server::{api, listen};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::daemon::{Answer, PATIENCE, Served, TOKEN, until};

/// Ways to write a path that routers have been made to take for it, or for one that is public.
fn variants(path: &str) -> Vec<String> {
    let mut all = vec![
        path.to_owned(),
        format!("{path}/"),
        format!("/{path}"),
        format!("/.{path}"),
        format!("{path}."),
        format!("{path}%00"),
        format!("{path}?a=b"),
        format!("{path};a=b"),
        format!("{path}/healthz"),
        format!("{path}/../healthz"),
        format!("{path}%2f..%2fhealthz"),
        path.to_uppercase(),
        path.replace('/', "//"),
        path.replacen('/', "/%2e/", 1),
        path.replacen('/', "/x/../", 1),
        path.replace('/', "%2f").replacen("%2f", "/", 1),
    ];
    // Each public path as a beginning, and as an end, of this one.
    for public in PUBLIC {
        all.push(format!("{public}{path}"));
        all.push(format!("{public}/..{path}"));
        all.push(format!("{public}%2f..{path}"));
        all.push(format!("{path}{public}"));
        all.push(format!("{path}?{public}"));
        all.push(format!("{path}%3f{public}"));
    }
    if let Some(last) = path.chars().last().filter(char::is_ascii_alphanumeric) {
        let cut = &path[..path.len() - 1];
        all.push(format!("{cut}%{:02x}", last as u32));
    }
    all
}

/// All paths that are routed, as the router itself has them, with something where a name is to be.
fn routes(served: &Served) -> Vec<String> {
    // Its table is told by its debug form alone: `RouteId(3): "/api/v1/runs"`.
    let table = format!("{:?}", served.router);
    let paths = table.split("RouteId(").filter_map(|entry| entry.split_once("): \"")?.1.split('"').next());
    let paths: BTreeSet<String> = paths.filter(|path| path.starts_with('/')).map(str::to_owned).collect();
    for (documented, _) in api::documented_paths() {
        assert!(paths.contains(&documented), "`{documented}` is not in {paths:?}");
    }
    for public in PUBLIC {
        assert!(paths.contains(public), "`{public}` is not in {paths:?}");
    }
    let filled = |path: &String| {
        let path = path.replace("{name}", "quick").replace("{run}", "latest");
        path.split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .collect::<Vec<_>>()
            .join("/")
    };
    paths.iter().map(filled).collect()
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Option<Request<Body>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_only_what_is_public_answers() {
    let served = Served::idle().await;
    let before = served.get("/api/v1/pipelines").await.text;
    let mut asked = 0;
    for path in routes(&served) {
        for variant in variants(&path) {
            for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
                // A browser that is shown the way is one that looks.
                let accepts: &[&str] = if method == "GET" { &["*/*", "text/html"] } else { &["*/*"] };
                for accept in accepts.iter().copied() {
                    let headers = [("host", "localhost"), ("accept", accept)];
                    let Some(request) = request(method, &variant, &headers) else { continue };
                    if PUBLIC.contains(&request.uri().path()) {
                        continue;
                    }
                    let answer = served.send_tcp(request).await;
                    asked += 1;
                    let to_login = answer.status == 303
                        && answer.header("location") == "/login"
                        && answer.text.is_empty();
                    if method == "HEAD" {
                        assert!(to_login || answer.status == 401, "{method} {variant}: {answer:?}");
                    } else if !to_login {
                        answer.problem(401);
                        assert_eq!(answer.header("www-authenticate"), "Bearer", "{method} {variant}");
                    }
                }
            }
        }
    }
    assert!(asked > 1000, "{asked}");
    assert_eq!(served.get("/api/v1/pipelines").await.text, before, "nothing was changed");
    assert_eq!(served.get("/api/v1/runs").await.expect(200)["items"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_public_tells_nothing() {
    let served = Served::idle().await;
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/login", 401), ("/login?code=x", 401)] {
        let answer = served.send_tcp(request("GET", path, &[("host", "localhost")]).unwrap()).await;
        assert_eq!(answer.status, status, "{path}");
        let folder = served.path("").display().to_string();
        assert!(!answer.text.contains(TOKEN) && !answer.text.contains(&folder), "{answer:?}");
        assert!(answer.header("set-cookie").is_empty(), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_it_is_not_ready_is_told_to_those_who_may_ask() {
    let served = Served::idle().await;
    let folder = served.path("");
    let away = folder.with_extension("away");
    std::fs::rename(&folder, &away).unwrap();
    served.daemon.reload();
    std::fs::rename(&away, &folder).unwrap();
    let detail = async |more: &[(&str, &str)]| {
        let headers: Vec<_> = [("host", "localhost")].iter().chain(more).copied().collect();
        let answer = served.send_tcp(request("GET", "/readyz", &headers).unwrap()).await;
        answer.problem(503)["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(detail(&[]).await, "not ready");
    let bearer = format!("Bearer {TOKEN}");
    assert!(detail(&[("authorization", &bearer)]).await.contains("No such file"));
    let by_socket = served.get("/readyz").await.problem(503);
    assert!(by_socket["detail"].as_str().unwrap().contains("No such file"), "{by_socket}");
    served.daemon.reload();
    served.get("/readyz").await;
    assert_eq!(served.get("/readyz").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_taken_whole() {
    let served = Served::idle().await;
    let ask = async |authorization: &str| {
        let headers = [("host", "localhost"), ("authorization", authorization)];
        served.send_tcp(request("GET", "/api/v1/system", &headers).unwrap()).await.status.as_u16()
    };
    for right in [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}"), format!("Bearer  {TOKEN} ")] {
        assert_eq!(ask(&right).await, 200, "{right}");
    }
    for wrong in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        TOKEN.to_owned(),
        format!("Basic {TOKEN}"),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {} {}", &TOKEN[..3], &TOKEN[3..]),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer {TOKEN},{TOKEN}"),
        format!("Bearer\t{TOKEN}"),
    ] {
        assert_eq!(ask(&wrong).await, 401, "{wrong}");
    }
    // It is not taken from the query, which ends up in logs, nor as a cookie.
    let query = format!("/api/v1/system?token={TOKEN}");
    assert_eq!(served.send_tcp(request("GET", &query, &[("host", "localhost")]).unwrap()).await.status, 401);
    let link = format!("/login?code={}", served.gate.login_code());
    let answer = served.send_tcp(request("GET", &link, &[("host", "localhost")]).unwrap()).await;
    let name = answer.headers["set-cookie"].to_str().unwrap().split('=').next().unwrap().to_owned();
    let cookie = format!("{name}={TOKEN}");
    let headers = [("host", "localhost"), ("cookie", cookie.as_str())];
    assert_eq!(served.send_tcp(request("GET", "/api/v1/system", &headers).unwrap()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_origins_are_refused() {
    let served = Served::idle().await;
    let bearer = format!("Bearer {TOKEN}");
    let ask = async |method: &str, path: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(more);
        served.send_tcp(request(method, path, &headers).unwrap()).await
    };
    for own in
        ["localhost", "localhost:8787", "127.0.0.1:1", "[::1]:80", "cairn.example", "CAIRN.example:443"]
    {
        ask("GET", "/api/v1/system", &[("host", own)]).await.expect(200);
    }
    let foreign = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "localhost.",
        "",
        "192.168.0.1",
        "cairn.example.evil",
    ];
    for host in foreign {
        ask("GET", "/api/v1/system", &[("host", host)]).await.problem(403);
        // What is public is not for them either.
        ask("GET", "/healthz", &[("host", host)]).await.problem(403);
    }
    ask("GET", "/api/v1/system", &[]).await.problem(403);

    let pause = "/api/v1/pipelines/quick/pause";
    let host = ("host", "localhost:8787");
    for origin in ["http://localhost:8787", "https://localhost:8787"] {
        ask("POST", pause, &[host, ("origin", origin), ("sec-fetch-site", "same-origin")]).await.expect(200);
    }
    ask("POST", "/api/v1/pipelines/quick/unpause", &[host]).await.expect(200);
    for origin in [
        "http://evil.example",
        "http://localhost",
        "http://localhost:80",
        "null",
        "",
        "file://",
        "http://localhost:8787.evil",
        "http://localhost:8787/",
        "http://evil@localhost:8787",
    ] {
        ask("POST", pause, &[host, ("origin", origin)]).await.problem(403);
    }
    for site in ["cross-site", "same-site", "x"] {
        ask("POST", pause, &[host, ("sec-fetch-site", site)]).await.problem(403);
    }
    let paused = &served.get("/api/v1/pipelines/quick").await.expect(200)["paused"];
    assert!(paused.is_null(), "none of these was done: {paused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_come_as_json() {
    let served = Served::idle().await;
    let bearer = format!("Bearer {TOKEN}");
    let send = async |kind: Option<&str>, body: &'static str| {
        let mut request = Request::post("/api/v1/pipelines/quick/pause")
            .header("host", "localhost")
            .header("authorization", &bearer)
            .header("content-length", body.len());
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        served.send_tcp(request.body(Body::from(body)).unwrap()).await
    };
    send(Some("application/json; charset=utf-8"), "{}").await.expect(200);
    send(None, "").await.expect(200);
    // What a page elsewhere can send without asking.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
    ] {
        send(Some(kind), "{}").await.problem(415);
    }
    send(None, "{}").await.problem(415);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_link_works_once_and_its_cookie_is_the_browsers_alone() {
    let served = Served::idle().await;
    let link = served.post("/api/v1/login-links", "").await.expect(200);
    let path = link["path"].as_str().unwrap();
    let host = ("host", "localhost");
    let answer = served.send_tcp(request("GET", path, &[host]).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/"));
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(TOKEN), "{cookie}");
    let session = cookie.split(';').next().unwrap();
    let with = [host, ("cookie", session)];
    served.send_tcp(request("GET", "/api/v1/system", &with).unwrap()).await.expect(200);
    served.send_tcp(request("GET", path, &[host]).unwrap()).await.problem(401);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let served = Served::idle().await;
    for path in ["/healthz", "/api/v1/system", "/nothing", "/login"] {
        let answer = served.send_tcp(request("GET", path, &[("host", "localhost")]).unwrap()).await;
        assert!(answer.header("content-security-policy").contains("default-src 'self'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_tells_of_all_routes_and_their_params() {
    let served = Served::idle().await;
    let document = served.get("/api/v1/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let params = operation["parameters"].as_array().cloned().unwrap_or_default();
            let declared: Vec<&str> = params
                .iter()
                .filter(|param| param["in"] == "path")
                .map(|param| param["name"].as_str().unwrap())
                .collect();
            let in_path: Vec<&str> =
                path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(declared, in_path, "{method} {path}");
            assert!(!operation["summary"].as_str().unwrap_or_default().is_empty(), "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_needs_no_token() {
    let served = Served::idle().await;
    let answer = Answer::of(served.send(request("GET", "/api/v1/system", &[]).unwrap()).await).await;
    answer.expect(200);
    assert_eq!(served.gate.login_code().len(), 64);
}

/// Sends a head, and returns that of the answer.
async fn head(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    // It may be refused before it is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_say_nothing_do_not_deafen_it() {
    let served = Served::idle().await;
    let listener = listen::bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listen::serve_tcp(listener, served.router.clone()));
    let connect = async || TcpStream::connect(address).await.unwrap();
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let mut known = connect().await;
    assert!(head(&mut known, "/api/v1/system", &token).await.starts_with("HTTP/1.1 200"));
    let run = served.submit("quick", "").await;
    let mut follower = connect().await;
    let events = format!("/api/v1/runs/{run}/events");
    assert!(head(&mut follower, &events, &token).await.starts_with("HTTP/1.1 200"));

    let state = tempfile::tempdir().unwrap();
    let socket = listen::Socket::bind(state.path()).unwrap();
    let by_socket = socket.path().to_owned();
    tokio::spawn(listen::serve_socket(socket.into_listening().unwrap(), served.router.clone()));

    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..400 {
        let mut stream = connect().await;
        stream.write_all(b"G").await.unwrap();
        silent.push(stream);
    }
    // They have their places before this one comes, which is told at once that there is none.
    let turned_away = head(&mut connect().await, "/healthz", "").await;
    assert!(turned_away.is_empty() || turned_away.starts_with("HTTP/1.1 503"), "{turned_away}");
    // The command line's way in is another.
    for _ in 0..20 {
        let mut stream = UnixStream::connect(&by_socket).await.unwrap();
        let asked = head(&mut stream, "/api/v1/system", "");
        let answer = tokio::time::timeout(Duration::from_secs(2), asked).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let mut told = 0;
    for stream in &mut silent {
        let mut answer = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap_or(0);
        told += usize::from(&answer[..read] == b"HTTP/1.1 503");
    }
    assert!(told > 0, "those beyond the bound are told");
    assert!(began.elapsed() < Duration::from_secs(20), "5 s are given: {:?}", began.elapsed());
    // All were ended, by it.
    until("an answer", async || head(&mut connect().await, "/healthz", "").await.starts_with("HTTP/1.1 200"))
        .await;
    drop(follower);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_brought_the_token_keeps_no_connection() {
    let served = Served::idle().await;
    let listener = listen::bind_tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(listen::serve_tcp(listener, served.router.clone()));
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    for (path, headers, kept) in [
        ("/healthz", "", false),
        ("/api/v1/system", "", false),
        ("/api/v1/system", "Authorization: Bearer x\r\n", false),
        ("/healthz", token.as_str(), true),
        ("/api/v1/system", token.as_str(), true),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = head(&mut stream, path, headers).await.to_lowercase();
        assert_eq!(!answer.contains("\nconnection: close"), kept, "{path} {headers}: {answer}");
    }
}
