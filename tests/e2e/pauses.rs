//! A sink that asks for a pause gets it, and whoever looks sees what is waited for, and until when.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

use cairn_testkit::Project;
use serde_json::{Value, json};

use super::BINARY;
use super::daemon::{Daemon, until};

/// Seconds that the endpoint asks for: from five on a pause is told of.
const PAUSE: u32 = 6;

/// An endpoint that has no time for a record the first time. It ends with the tests.
fn busy() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut seen = HashSet::new();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut key, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                let line = line.trim_end().to_ascii_lowercase();
                match line.split_once(": ") {
                    Some(("idempotency-key", value)) => value.clone_into(&mut key),
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    _ if line.is_empty() => break,
                    _ => {}
                }
            }
            stream.read_exact(&mut vec![0; length]).unwrap();
            let status = if seen.insert(key) {
                format!("429 Too Many Requests\r\nRetry-After: {PAUSE}")
            } else {
                "200 OK".to_owned()
            };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    port
}

fn project(port: u16) -> Project {
    let project = Project::with_pipeline(
        BINARY,
        &format!(
            "[pipeline]\nname = \"p\"\n[stages.load.records]\nsource = \"in.jsonl\"\nkey = \"id\"\n\
             sink = {{ type = \"http\", url = \"http://127.0.0.1:{port}/in\" }}\n"
        ),
    );
    project.write("in.jsonl", "{\"id\":1}\n");
    project
}

#[test]
fn a_run_says_what_it_waits_for() {
    let project = project(busy());
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    let lines: Vec<Value> = outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<&Value> = lines.iter().filter(|line| line["type"] == "instance_records_paused").collect();
    let [told] = told.as_slice() else { panic!("{}", outcome.shown()) };
    assert!(told["instance"] == "load" && told["asked"] == true, "{told}");
    assert!(told["sink"].as_str().unwrap().starts_with("http POST"), "{told}");
    assert!(told["error"].as_str().unwrap().contains("429"), "{told}");
    let at = |name: &str| told[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let pause = at("until").duration_since(at("at")).as_secs_f64();
    assert!((f64::from(PAUSE) - 1.0..=f64::from(PAUSE)).contains(&pause), "{told}");
    assert_eq!(lines.last().unwrap()["status"], "succeeded");
}

#[test]
fn the_daemon_says_what_its_run_waits_for() {
    let project = project(busy());
    let daemon = Daemon::start(&project);
    let run = daemon.submit("p", &json!({}));
    let path = format!("/api/v1/runs/{run}/instances");
    let instance = || daemon.ask("GET", &path, "").1["items"][0].clone();
    until("the pause", || !instance()["paused"].is_null());
    let paused = instance()["paused"].clone();
    assert!(paused["asked"] == true && paused["error"].as_str().unwrap().contains("429"), "{paused}");
    let page = daemon.raw(
        format!(
            "GET /runs/{run} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            daemon.token
        )
        .as_bytes(),
    );
    assert!(page.contains("asked for a pause until"), "{page}");
    daemon.until_status(&run, "succeeded");
    assert!(instance()["paused"].is_null(), "{}", instance());
}
