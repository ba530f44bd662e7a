//! Who outside is told of runs: at least once, each under a key of its own, whatever fails meanwhile.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use cairn_model::Timestamp;
use cairn_server::Telling;
use cairn_server::lineage::{Lineage, LineageTo};
use cairn_server::notify::{Notify, Occasion};
use cairn_store::{Batch, Durability, Message, Recipient};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::daemon::{Served, until};

/// Takes what is posted to it, and answers the first requests with errors.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<(String, Value)>>>);

impl Ear {
    async fn listen(failures: &'static [u16]) -> (String, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let ear = Self::default();
        let heard = ear.clone();
        tokio::spawn(async move {
            let mut failures = failures.iter();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                let body = loop {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap();
                    request.extend_from_slice(&part[..read]);
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let Some((fields, body)) = text.split_once("\r\n\r\n") else { continue };
                    let field = |name: &str| {
                        let lines = fields.lines().filter_map(|line| line.split_once(": "));
                        lines
                            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                            .map(|(_, value)| value.to_owned())
                            .next()
                    };
                    if body.len() >= field("content-length").unwrap().parse::<usize>().unwrap() {
                        break (field("idempotency-key").unwrap(), serde_json::from_str(body).unwrap());
                    }
                };
                heard.0.lock().unwrap().push(body);
                let status = failures.next().copied().unwrap_or(204);
                let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (url, ear)
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.0.lock().unwrap().clone()
    }
}

fn deliver(served: &Served) {
    let daemon = Arc::clone(&served.daemon);
    tokio::spawn(async move { daemon.deliver().await });
}

fn to_webhook(url: String) -> Telling {
    let notify = Notify { on: BTreeSet::from(Occasion::ALL), webhook: Some(url), ..Notify::default() };
    Telling { notify, lineage: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_recoveries_are_told_again_until_they_are_taken() {
    let (url, ear) = Ear::listen(&[503]).await;
    let served = Served::telling(to_webhook(url)).await;
    served.work();
    deliver(&served);
    let run = served.submit("fickle", "").await;
    until("two tries", async || ear.heard().len() == 2).await;
    let heard = ear.heard();
    assert_eq!(heard[0], heard[1], "the same under the same key");
    let (key, told) = &heard[0];
    assert!(key.starts_with('"') && key.contains(&run), "{key}");
    assert_eq!(
        (&told["occasion"], &told["pipeline"], &told["status"]),
        (&"failed".into(), &"fickle".into(), &"failed".into())
    );
    assert!(told["text"].as_str().unwrap().contains("`fickle` failed"), "{told}");
    assert_eq!(told["instances"][0]["instance"], "a", "{told}");
    until("an empty outbox", async || served.daemon.store().messages(9).unwrap().is_empty()).await;

    served.make("good");
    let next = served.submit("fickle", "").await;
    until("the recovery", async || ear.heard().len() == 3).await;
    let (_, told) = &ear.heard()[2];
    assert_eq!((&told["occasion"], &told["run"]), (&"recovered".into(), &next.clone().into()));
    // One that goes well after one that went well is no news.
    let last = served.submit("fickle", r#"{"force":true}"#).await;
    served.until_status(&last, "succeeded").await;
    let quick = served.submit("quick", "").await;
    served.until_status(&quick, "succeeded").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(ear.heard().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_and_succeeds_has_recovered() {
    let (url, ear) = Ear::listen(&[]).await;
    let served = Served::telling(to_webhook(url)).await;
    served.work();
    deliver(&served);
    let run = served.submit("fickle", "").await;
    until("the failure", async || ear.heard().len() == 1).await;
    served.make("good");
    served.post(&format!("/api/v1/runs/{run}/resume"), "").await.expect(200);
    until("the recovery", async || ear.heard().len() == 2).await;
    assert_eq!(ear.heard()[1].1["occasion"], "recovered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_given_up() {
    let (url, ear) = Ear::listen(&[410]).await;
    let served = Served::telling(to_webhook(url)).await;
    served.work();
    deliver(&served);
    served.submit("fickle", "").await;
    until("the refusal", async || ear.heard().len() == 1).await;
    until("an empty outbox", async || served.daemon.store().messages(9).unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_before_it_is_durable_and_what_is_not_delivered_stays() {
    // Nobody listens there.
    let served = Served::telling(to_webhook("http://127.0.0.1:1/".to_owned())).await;
    served.work();
    let run = served.submit("fickle", "").await;
    served.until_status(&run, "failed").await;
    until("the message", async || served.daemon.store().messages(9).unwrap().len() == 1).await;
    let look = async |to| {
        let daemon = Arc::clone(&served.daemon);
        tokio::task::spawn_blocking(move || daemon.deliver_due(to).unwrap()).await.unwrap()
    };
    assert!(look(Recipient::Webhook).await.is_some());
    let left = served.daemon.store().messages(9).unwrap();
    assert_eq!((left.len(), left[0].tries), (1, 1));
    assert!(left[0].error.is_some() && left[0].not_before > left[0].made, "{left:?}");
    assert_eq!(look(Recipient::Command).await, None, "nothing is left for it");
    assert!(look(Recipient::Webhook).await >= Some(left[0].not_before), "it is looked again when it is due");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_given_the_text_and_all_else_in_its_environment() {
    let script = "cat > told.txt; printf '%s|%s|%s' \"$CAIRN_OCCASION\" \"$CAIRN_PIPELINE\" \"$CAIRN_NOTIFICATION\" > env.txt";
    let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let notify = Notify { on: [Occasion::Failed].into(), command, ..Notify::default() };
    let served = Served::telling(Telling { notify, lineage: None }).await;
    served.work();
    deliver(&served);
    served.submit("fickle", "").await;
    until("the text", async || {
        std::fs::read_to_string(served.path("env.txt")).is_ok_and(|text| text.ends_with('}'))
    })
    .await;
    let text = std::fs::read_to_string(served.path("told.txt")).unwrap();
    assert!(text.starts_with("`fickle` failed (run ") && text.contains("\na: "), "{text}");
    let env = std::fs::read_to_string(served.path("env.txt")).unwrap();
    assert!(env.starts_with("failed|fickle|{\"schema\":\"cairn.notification/1\""), "{env}");
}

/// What the schema of `OpenLineage` 2-0-2 requires of a run event, its datasets and facets.
fn check_event(event: &Value) {
    let time = event["eventTime"].as_str().unwrap();
    assert!(time.len() >= 20 && time.ends_with('Z'), "{time}");
    for uri in ["producer", "schemaURL"] {
        assert!(event[uri].as_str().unwrap().contains(':'), "{event}");
    }
    let kinds = ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"];
    assert!(kinds.contains(&event["eventType"].as_str().unwrap()), "{event}");
    let run = event["run"]["runId"].as_str().unwrap();
    assert!(run.len() == 36 && run.split('-').map(str::len).eq([8, 4, 4, 4, 12]), "{run}");
    assert!(event["job"]["namespace"].is_string() && event["job"]["name"].is_string(), "{event}");
    let mut with_facets = vec![&event["run"], &event["job"]];
    for list in ["inputs", "outputs"] {
        for dataset in event[list].as_array().unwrap() {
            assert!(dataset["namespace"].is_string() && dataset["name"].is_string(), "{dataset}");
            with_facets.push(dataset);
        }
    }
    for of in with_facets {
        for (name, facet) in of["facets"].as_object().unwrap() {
            let schema = facet["_schemaURL"].as_str().unwrap();
            assert!(
                facet["_producer"].is_string() && schema.starts_with("https://openlineage.io/spec/facets/"),
                "{name}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lineage_tells_of_starts_and_ends_with_what_was_read_and_made() {
    let lineage = Lineage { to: LineageTo::File("lineage.ndjson".into()), namespace: "here".to_owned() };
    let served = Served::telling(Telling { notify: Notify::default(), lineage: Some(lineage) }).await;
    std::fs::write(served.path("in.txt"), "x\n").unwrap();
    std::fs::write(
        served.path("copies.toml"),
        "[stages.a]\nrun = 'cp in.txt mid.txt'\ninputs = ['in.txt']\noutputs = ['mid.txt']\n\
         [stages.b]\nrun = 'cp mid.txt out.txt'\ninputs = ['mid.txt']\noutputs = ['out.txt']\n",
    )
    .unwrap();
    served.daemon.reload();
    served.work();
    deliver(&served);
    let run = served.submit("copies", "").await;
    served.until_status(&run, "succeeded").await;
    let events = || -> Vec<Value> {
        let text = std::fs::read_to_string(served.path("lineage.ndjson")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    until("two events", async || events().len() == 2).await;
    let fickle = served.submit("fickle", "").await;
    served.until_status(&fickle, "failed").await;
    until("four events", async || events().len() == 4).await;
    let events = events();
    events.iter().for_each(check_event);
    let told: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (event["job"]["name"].as_str().unwrap(), event["eventType"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("copies", "START"), ("copies", "COMPLETE"), ("fickle", "START"), ("fickle", "FAIL")]);
    assert_eq!(events[0]["run"]["runId"], events[1]["run"]["runId"]);
    let names = |list: &str| -> Vec<String> {
        let names =
            events[1][list].as_array().unwrap().iter().map(|dataset| dataset["name"].as_str().unwrap());
        names.map(|name| name.rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(names("inputs"), ["in.txt"], "what the run made itself is no input of it");
    assert_eq!(names("outputs"), ["mid.txt", "out.txt"]);
    assert!(events[1]["outputs"][0]["name"].as_str().unwrap().starts_with('/'));
    assert_eq!(events[1]["outputs"][0]["facets"]["version"]["datasetVersion"].as_str().unwrap().len(), 64);
    assert!(
        events[3]["run"]["facets"]["errorMessage"]["message"].as_str().unwrap().starts_with("a: "),
        "{}",
        events[3]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_silent_recipient_holds_up_no_other() {
    // It is connected to, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let told = folder.path().join("told.txt");
    let mut telling = to_webhook(format!("http://{}/", silent.local_addr().unwrap()));
    let script = format!("cat >> '{}'", told.display());
    telling.notify.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    let served = Served::telling(telling).await;
    served.work();
    deliver(&served);
    for count in 1..=2 {
        served.submit("fickle", "").await;
        let lines = || std::fs::read_to_string(&told).unwrap_or_default().matches("failed").count();
        until("the command", async || lines() >= count).await;
    }
    // What the command took is forgotten a moment after it did; all that is for the other one is still at its first try.
    let is_silent = |message: &Message| message.to == Recipient::Webhook && message.tries == 0;
    until("the webhook's alone", async || {
        let left = served.daemon.store().messages(9).unwrap();
        left.len() == 2 && left.iter().all(is_silent)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_off_does_not_count_against_what_is_due() {
    let (url, ear) = Ear::listen(&[]).await;
    let served = Served::telling(to_webhook(url)).await;
    let mut batch = Batch::new();
    for (number, to) in (0..1100).flat_map(|number| [(number, Recipient::Mail), (number, Recipient::Webhook)])
    {
        batch.put_message(&Message {
            to,
            key: number.to_string(),
            body: b"{}".to_vec(),
            made: Timestamp(0),
            tries: 9,
            not_before: Timestamp(i64::MAX),
            error: None,
        });
    }
    let _ = served.daemon.store().commit(batch, Durability::Synced).unwrap();
    served.work();
    deliver(&served);
    served.submit("fickle", "").await;
    until("the failure", async || ear.heard().len() == 1).await;
    until("the rest alone", async || served.daemon.store().messages(9999).unwrap().len() == 2200).await;
}
