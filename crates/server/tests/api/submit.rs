//! Asking for runs.

use cairn_model::Domain;
use serde_json::json;

use super::daemon::Served;

const RUNS: &str = "/api/v1/pipelines/quick/runs";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_runs() {
    let served = Served::start().await;
    let answer = served.post(RUNS, r#"{"params":{"word":"you"},"priority":3}"#).await;
    let run = answer.expect(201);
    let id = run["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/runs/{id}"));
    assert_eq!(run["pipeline"], "quick");
    assert_eq!(run["params"], json!({ "word": "you" }));
    assert_eq!(run["trigger"]["kind"], "api");
    served.until_status(id, "succeeded").await;
    assert_eq!(std::fs::read_to_string(served.path("a.txt")).unwrap(), "you\n");
    let run = served.get(&format!("/api/v1/runs/{id}")).await.expect(200);
    assert_eq!(run["outcomes"]["ran"], 1, "{run}");
    // Its short id names it too.
    served.get(&format!("/api/v1/runs/{}", run["short"].as_str().unwrap())).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_run_of_the_same_request() {
    let served = Served::idle().await;
    let key = |key: &'static str| [("idempotency-key", key)];
    let first = served.post_with(RUNS, r#"{"params":{"word":"a"}}"#, &key("k")).await.expect(201);
    // The draft's form is a quoted string; spaces and the order of keys say nothing.
    let again = served.post_with(RUNS, r#"{ "priority":0, "params": {"word":"a"} }"#, &key("\"k\"")).await;
    assert_eq!(again.expect(200)["id"], first["id"]);
    let other = served.post_with(RUNS, r#"{"params":{"word":"b"}}"#, &key("k")).await.problem(422);
    assert!(other["help"].is_string(), "{other}");
    // Neither is another pipeline the same request.
    served.post_with("/api/v1/pipelines/slow/runs", "", &key("k")).await.problem(422);
    served.post_with(RUNS, r#"{"params":{"word":"b"}}"#, &key("other")).await.expect(201);
    assert_eq!(served.get("/api/v1/runs").await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_refused_leaves_its_key_free() {
    let served = Served::idle().await;
    let key = [("idempotency-key", "k")];
    served.post_with(RUNS, r#"{"params":{"nothing":"a"}}"#, &key).await.problem(422);
    served.post_with(RUNS, r#"{"params":{"word":"a"}}"#, &key).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_with_one_key_are_one_run() {
    let served = Served::idle().await;
    let asked = (0..32).map(|_| served.post_with(RUNS, "{}", &[("idempotency-key", "k")]));
    let answers = futures_util::future::join_all(asked).await;
    let (mut made, mut ids) = (0, std::collections::BTreeSet::new());
    for answer in answers {
        match answer.status.as_u16() {
            201 => made += 1,
            200 => {}
            _ => {
                answer.problem(409);
                continue;
            }
        }
        ids.insert(answer.json()["id"].as_str().unwrap().to_owned());
    }
    assert_eq!((made, ids.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_none_are_told() {
    let served = Served::idle().await;
    let long = "x".repeat(256);
    for key in ["", "\"\"", "  ", &long] {
        served.post_with(RUNS, "{}", &[("idempotency-key", key)]).await.problem(400);
    }
    let two = [("idempotency-key", "a"), ("idempotency-key", "b")];
    served.post_with(RUNS, "{}", &two).await.problem(400);
    assert_eq!(served.get("/api/v1/runs").await.expect(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn greater_priorities_leave_the_queue_first() {
    let served = Served::idle().await;
    let low = served.submit("quick", r#"{"params":{"word":"low"}}"#).await;
    let high = served.submit("quick", r#"{"params":{"word":"high"},"priority":9}"#).await;
    served.work();
    served.until_status(&low, "succeeded").await;
    let started = async |run: &str| {
        served.get(&format!("/api/v1/runs/{run}")).await.expect(200)["started"].as_str().unwrap().to_owned()
    };
    let (first, then) = (started(&high).await, started(&low).await);
    assert!(first < then, "{first} is before {then}");
    assert_eq!(std::fs::read_to_string(served.path("a.txt")).unwrap(), "low\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_that_was_read_is_run_or_nothing_is() {
    let served = Served::idle().await;
    let text = std::fs::read_to_string(served.path("quick.toml")).unwrap();
    let body = |file: &str, text: &str| {
        let definition = Domain::Definition.digest(text.as_bytes()).to_string();
        json!({ "file": file, "definition": definition }).to_string()
    };
    served.submit("quick", &body("quick.toml", &text)).await;
    // As long as before, and written within the same moment: nobody has seen the change yet.
    let edited = text.replace("hello", "jello");
    std::fs::write(served.path("quick.toml"), &edited).unwrap();
    served.submit("quick", &body("quick.toml", &edited)).await;
    assert_eq!(served.daemon.entry("quick").unwrap().text[..], *edited.as_bytes());
    let other = served.post(RUNS, &body("quick.toml", &text)).await.problem(409);
    assert!(other["detail"].as_str().unwrap().contains("another text of `quick.toml`"), "{other}");
    let other = served.post(RUNS, &body("slow.toml", &edited)).await.problem(409);
    assert!(other["detail"].as_str().unwrap().contains("not from `slow.toml`"), "{other}");
    std::fs::write(served.path("quick.toml"), "[stages.a]\n").unwrap();
    let broken = served.post(RUNS, &body("quick.toml", "[stages.a]\n")).await.problem(409);
    assert!(broken["report"].is_string(), "{broken}");
    // A pipeline that is new.
    std::fs::write(served.path("new.toml"), &text).unwrap();
    let new = "/api/v1/pipelines/new/runs";
    served.post(new, &body("new.toml", &text)).await.expect(201);
    served.post(new, r#"{"file":"new.toml"}"#).await.problem(400);
    served.post(new, r#"{"file":"new.toml","definition":"x"}"#).await.problem(400);
}
