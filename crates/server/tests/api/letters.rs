//! Dead letters and effects.

use cairn_model::{Clock as _, EffectMode, EffectState, InputHash, InstanceName, RunId, SystemClock};
use cairn_store::{Batch, DeadKind, DeadLetter, Durability, Effect};
use serde_json::json;

use super::daemon::{Served, until};

/// Enters dead records as a records stage does; returns their ids.
fn enter(served: &Served, keys: &[&str]) -> Vec<String> {
    let mut batch = Batch::new();
    let mut ids = Vec::new();
    for key in keys {
        let payload = format!("{{\"id\":\"{key}\"}}").into_bytes();
        let letter = DeadLetter {
            kind: DeadKind::Record,
            pipeline: "quick".parse().unwrap(),
            instance: InstanceName::new("a".parse().unwrap(), None),
            key: (*key).to_owned(),
            digest: DeadLetter::digest_of(&payload),
            payload,
            source: Some(("in.jsonl".to_owned(), 3)),
            class: "worker".to_owned(),
            error: format!("no {key}"),
            attempts: Vec::new(),
            input_hash: None,
            run: RunId::from_bytes([0; 16]),
            idempotency_key: format!("k-{key}"),
            died: SystemClock.now(),
            retry: None,
            edited: None,
            retries: 0,
        };
        ids.push(letter.id().to_string());
        batch.put_dead(&letter);
    }
    let _ = served.daemon.store().commit(batch, Durability::Synced).unwrap();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_shown_taken_in_again_and_dropped() {
    let served = Served::start().await;
    let run = served.submit("fickle", "").await;
    served.until_status(&run, "failed").await;
    let ids = enter(&served, &["1", "2", "3"]);
    let all = served.get("/api/v1/dead-letters").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 4, "{all}");
    assert!(
        all["items"].as_array().unwrap().iter().all(|item| item["payload"].is_null()),
        "lists are without records"
    );
    let some = served.get("/api/v1/dead-letters?pipeline=quick&error=NO%202").await.expect(200);
    assert_eq!(some["items"][0]["id"], *ids[1]);
    let mut seen = Vec::new();
    let mut path = "/api/v1/dead-letters?limit=3".to_owned();
    loop {
        let page = served.get(&path).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        let Some(next) = page["next"].as_u64() else { break };
        path = format!("/api/v1/dead-letters?limit=3&offset={next}");
    }
    assert_eq!(
        json!(seen),
        json!(all["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect::<Vec<_>>())
    );

    let one = served.get(&format!("/api/v1/dead-letters/{}", &ids[0][..12])).await.expect(200);
    assert_eq!((&one["payload"], &one["line"]), (&"{\"id\":\"1\"}".into(), &3.into()), "{one}");

    let body = json!({ "ids": [ids[0]], "payload": "{\"id\":\"1\",\"mended\":true}" }).to_string();
    let retried = served.post("/api/v1/dead-letters/retry", &body).await.expect(200);
    assert_eq!(
        (&retried["items"][0]["taken_in"], &retried["items"][0]["edited"]),
        (&true.into(), &true.into())
    );
    let one = served.get(&format!("/api/v1/dead-letters/{}", ids[0])).await.expect(200);
    assert_eq!(one["edited"], "{\"id\":\"1\",\"mended\":true}");
    // Asked for again without a text, what was mended stays.
    let body = json!({ "ids": ids }).to_string();
    let retried = served.post("/api/v1/dead-letters/retry", &body).await.expect(200);
    let edited: Vec<bool> =
        retried["items"].as_array().unwrap().iter().map(|item| item["edited"].as_bool().unwrap()).collect();
    assert_eq!(edited, [true, false, false]);
    // An instance comes with what runs it again.
    let instance =
        served.get("/api/v1/dead-letters?pipeline=fickle").await.expect(200)["items"][0]["id"].clone();
    let retried = served
        .post("/api/v1/dead-letters/retry", &json!({ "ids": [instance] }).to_string())
        .await
        .expect(200);
    assert_eq!(
        retried["items"][0]["run_again"],
        json!({ "file": "fickle.toml", "instance": "a", "force": false })
    );
    let body = json!({ "ids": [instance], "payload": "{}" }).to_string();
    served.post("/api/v1/dead-letters/retry", &body).await.problem(422);

    // All or none.
    let body = json!({ "ids": [ids[0], "ffffffffffffffffffffffffffffffff"] }).to_string();
    served.post("/api/v1/dead-letters/drop", &body).await.problem(404);
    served.get(&format!("/api/v1/dead-letters/{}", ids[0])).await.expect(200);
    let body = json!({ "ids": [ids[0], &ids[0][..10], ids[2]] }).to_string();
    let dropped = served.post("/api/v1/dead-letters/drop", &body).await.expect(200);
    assert_eq!(dropped["dropped"], json!([ids[0], ids[2]]), "each once");
    served.get(&format!("/api/v1/dead-letters/{}", ids[0])).await.problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_about_dead_letters_change_nothing() {
    let served = Served::idle().await;
    let ids = enter(&served, &["1", "2"]);
    for (path, body, status) in [
        ("retry", json!({}), 400),
        ("drop", json!({ "ids": [] }), 400),
        ("drop", json!({ "ids": [""] }), 404),
        ("drop", json!({ "ids": ["../.."] }), 404),
        ("drop", json!({ "ids": ids[0] }), 422),
        ("drop", json!({ "ids": ids, "all": true }), 422),
        ("retry", json!({ "ids": ids, "payload": "{}" }), 400),
        ("retry", json!({ "ids": [ids[0]], "payload": "[]" }), 400),
        ("retry", json!({ "ids": [ids[0]], "payload": "{" }), 400),
    ] {
        served.post(&format!("/api/v1/dead-letters/{path}"), &body.to_string()).await.problem(status);
    }
    for query in ["limit=0", "older_than_ms=x", "unknown=1"] {
        served.get(&format!("/api/v1/dead-letters?{query}")).await.problem(400);
    }
    let all = served.get("/api/v1/dead-letters").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert!(all["items"].as_array().unwrap().iter().all(|item| item["retry_asked"].is_null()), "{all}");
}

fn effect(served: &Served, pipeline: &str, state: EffectState) {
    let effect = Effect {
        state,
        mode: EffectMode::ALL[0],
        instance: InstanceName::new("a".parse().unwrap(), None),
        attempts: 1,
        input_hash: InputHash::of_preimage(b"x"),
        run: RunId::from_bytes([1; 16]),
        intended: SystemClock.now(),
        settled: None,
        probe: None,
        error: Some("cut off".to_owned()),
        undo: None,
        drifted: None,
        asked: None,
    };
    let mut batch = Batch::new();
    batch.put_effect(&pipeline.parse().unwrap(), "sales/2024", &effect);
    let _ = served.daemon.store().commit(batch, Durability::Synced).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_settled_by_who_found_out() {
    let served = Served::start().await;
    effect(&served, "slow", EffectState::InDoubt);
    let open = served.get("/api/v1/effects?open=true").await.expect(200);
    assert_eq!(
        (&open["items"][0]["key"], &open["items"][0]["state"]),
        (&"sales/2024".into(), &"in doubt".into())
    );
    let settle =
        async |body: serde_json::Value| served.post("/api/v1/effects/settle", &body.to_string()).await;
    settle(json!({ "key": "sales/2024" })).await.problem(400);
    settle(json!({ "key": "unknown", "happened": true })).await.problem(404);
    settle(json!({ "key": "sales/2024", "happened": "yes" })).await.problem(422);
    // While its pipeline runs, it may just be being done.
    let run = served.submit("slow", "").await;
    until("its start", async || served.path("starts").exists()).await;
    settle(json!({ "key": "sales/2024", "happened": false })).await.problem(409);
    served.make("go");
    served.until_status(&run, "succeeded").await;
    until("its end", async || {
        let settled = settle(json!({ "key": "sales/2024", "happened": false })).await;
        settled.status == 200 && settled.json()["state"] == "rejected"
    })
    .await;
    assert_eq!(served.get("/api/v1/effects?open=true").await.expect(200)["items"], json!([]));
    assert_eq!(
        settle(json!({ "key": "sales/2024", "happened": true })).await.expect(200)["state"],
        "confirmed"
    );
    // Two pipelines have one.
    effect(&served, "quick", EffectState::Held);
    let first = served.get("/api/v1/effects?limit=1").await.expect(200);
    let second = served.get(&format!("/api/v1/effects?limit=1&offset={}", first["next"])).await.expect(200);
    assert_eq!(
        (&first["items"][0]["pipeline"], &second["items"][0]["pipeline"]),
        (&"slow".into(), &"quick".into())
    );
    assert!(second["next"].is_null() && second["items"].as_array().unwrap().len() == 1, "{second}");
    served.get("/api/v1/effects?limit=0").await.problem(400);
    settle(json!({ "key": "sales/2024", "happened": true })).await.problem(400);
    let settled =
        settle(json!({ "key": "sales/2024", "pipeline": "quick", "happened": true })).await.expect(200);
    assert_eq!(settled["pipeline"], "quick");
}
