//! Backfills: looked at, started once, followed, cancelled.

use serde_json::{Value, json};

use super::daemon::{Served, until};

const BACKFILLS: &str = "/api/v1/backfills";
const PLAN: &str = "/api/v1/backfills/plan";

/// One whose `daily` writes a file for each day, and fails on the third of a month unless `good` is there.
async fn served() -> Served {
    let served = Served::idle().await;
    let text = "[schedule]\ncron = '@daily'\ntimezone = 'Europe/Berlin'\n[params]\nword = 'x'\n[stages.a]\n\
        run = 'case {{ interval.start | date }} in *-03) test -e FOLDER/good;; esac; mkdir -p out; echo {{ params.word }} > out/{{ interval.start | date }}'\n\
        outputs = ['out/{{ interval.start | date }}']\n";
    let text = text.replace("FOLDER", &served.path("").display().to_string());
    std::fs::write(served.path("daily.toml"), text).unwrap();
    served.daemon.reload();
    served
}

fn january(more: &Value) -> String {
    let mut body =
        json!({ "pipeline": "daily", "from": "2026-01-01", "to": "2026-01-05", "keep_going": true });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn selected(plan: &Value) -> Vec<bool> {
    plan["items"].as_array().unwrap().iter().map(|item| item["selected"].as_bool().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_is_planned_by_content_started_and_followed() {
    let served = served().await;
    let plan = served.post(PLAN, &january(&json!({}))).await.expect(200);
    assert_eq!((&plan["selected"], &plan["reprocess"]), (&json!(4), &json!("stale")));
    let first = &plan["items"][0];
    // Midnight in Berlin.
    assert_eq!(first["interval"]["start"], "2025-12-31T23:00:00.000Z", "{first}");
    assert_eq!((&first["plan"], &first["why"]), (&json!("RUN"), &json!("never ran before")), "{first}");
    assert_eq!(served.get("/api/v1/runs").await.expect(200)["items"], json!([]), "a plan starts nothing");

    let answer = served.post(BACKFILLS, &january(&json!({}))).await;
    let begun = answer.expect(201);
    let id = begun["id"].as_str().unwrap();
    let one = format!("{BACKFILLS}/{id}");
    assert_eq!(answer.header("location"), one);
    assert_eq!(
        (&begun["total"], &begun["done"], &begun["status"]),
        (&json!(4), &json!(0), &json!("running"))
    );
    assert_eq!(begun["stretch"], "2026-01-01 – 2026-01-05");
    let runs = begun["runs"].as_array().unwrap();
    assert!(runs.iter().all(|run| run["trigger"]["kind"] == "backfill"), "{begun}");
    // What waits is not asked for twice; with other params it is something else.
    let plan = served.post(PLAN, &january(&json!({}))).await.expect(200);
    assert_eq!(plan["items"][0]["open"], begun["id"], "{plan}");
    served.post(BACKFILLS, &january(&json!({}))).await.problem(409);
    let other = served.post(PLAN, &january(&json!({ "params": { "word": "y" } }))).await.expect(200);
    assert_eq!(other["selected"], 4);

    served.work();
    until("the backfill's end", async || served.get(&one).await.expect(200)["status"] == "over").await;
    let over = served.get(&one).await.expect(200);
    assert_eq!(over["runs_by_status"], json!({ "failed": 1, "succeeded": 3 }), "{over}");
    assert_eq!(over["done"], 4);
    // Each of its runs names it.
    let last = runs[3]["short"].as_str().unwrap();
    assert_eq!(served.get(&format!("{BACKFILLS}/{last}")).await.expect(200)["id"], begun["id"]);
    let listed = served.get(&format!("{BACKFILLS}?pipeline=daily")).await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["runs"]), (&begun["id"], &Value::Null));
    assert_eq!(served.get(&format!("{BACKFILLS}?pipeline=quick")).await.expect(200)["items"], json!([]));

    let plan = served.post(PLAN, &january(&json!({ "reprocess": "failed" }))).await.expect(200);
    assert_eq!(selected(&plan), [false, false, true, false], "{plan}");
    assert_eq!(plan["items"][2]["last"]["status"], "failed");
    assert_eq!(plan["items"][0]["plan"], "FRESH", "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_makes_one_backfill_of_the_same_request() {
    let served = served().await;
    let key = [("idempotency-key", "k")];
    served.post_with(BACKFILLS, &january(&json!({ "params": { "no": "x" } })), &key).await.problem(422);
    let first = served.post_with(BACKFILLS, &january(&json!({})), &key).await.expect(201);
    let again = served.post_with(BACKFILLS, &january(&json!({ "every": "" })), &key).await.expect(200);
    assert_eq!(again["runs"], first["runs"]);
    served.post_with(BACKFILLS, &january(&json!({ "reprocess": "all" })), &key).await.problem(422);
    // Neither is a run the same request, nor is a key that names one free for a backfill.
    served.post_with("/api/v1/pipelines/quick/runs", "", &key).await.problem(422);
    let other = [("idempotency-key", "other")];
    served.post_with("/api/v1/pipelines/quick/runs", "", &other).await.expect(201);
    served.post_with(BACKFILLS, &january(&json!({})), &other).await.problem(422);
    assert_eq!(served.get("/api/v1/runs").await.expect(200)["items"].as_array().unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_of_a_backfill_is_taken_back() {
    let served = served().await;
    let other = served.submit("quick", "").await;
    served.post(&format!("{BACKFILLS}/{other}/cancel"), "").await.problem(404);
    let begun = served.post(BACKFILLS, &january(&json!({}))).await.expect(201);
    let run = begun["runs"][2]["id"].as_str().unwrap();
    for _ in 0..2 {
        let cancelled = served.post(&format!("{BACKFILLS}/{run}/cancel"), "").await.expect(200);
        assert_eq!(cancelled["status"], "over", "{cancelled}");
        assert_eq!(cancelled["runs_by_status"], json!({ "interrupted": 4 }));
        assert_eq!(cancelled["runs"][0]["cancelled"], "with its backfill, by the API");
    }
    assert_eq!(served.status(&other).await, "queued");
}

#[tokio::test(flavor = "multi_thread")]
async fn backfills_that_cannot_be() {
    let served = served().await;
    for (more, status, word) in [
        (json!({ "pipeline": "nothing" }), 404, "no pipeline"),
        (json!({ "pipeline": "../daily" }), 404, "no pipeline"),
        (json!({ "from": "soon" }), 400, "no date or time"),
        (json!({ "to": "" }), 400, "no date or time"),
        (json!({ "reprocess": "some" }), 400, "does not say which intervals"),
        (json!({ "params": { "word": [] } }), 422, "neither a text"),
        (json!({ "from": "2026-02-01" }), 422, "no later than"),
        (json!({ "every": "x" }), 422, "no length of an interval"),
        (json!({ "from": "2000-01-01" }), 422, "more than the 1000"),
        (json!({ "pipeline": "quick" }), 422, "reads no interval"),
        (json!({ "until": "2026-01-09" }), 422, "unknown field"),
    ] {
        for path in [PLAN, BACKFILLS] {
            let problem = served.post(path, &january(&more)).await.problem(status);
            assert!(problem["detail"].as_str().unwrap().contains(word), "{more}: {problem}");
        }
    }
    served.post(BACKFILLS, "").await.problem(404);
    for query in ["limit=0", "limit=1001", "before=x", "unknown=1"] {
        served.get(&format!("{BACKFILLS}?{query}")).await.problem(400);
    }
    served.get(PLAN).await.problem(405);
    let other = served.submit("quick", "").await;
    served.get(&format!("{BACKFILLS}/{other}")).await.problem(404);
    assert_eq!(served.get("/api/v1/runs").await.expect(200)["items"].as_array().unwrap().len(), 1);
}
