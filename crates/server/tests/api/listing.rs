//! What there is, listed.

use serde_json::Value;

use super::daemon::Served;

fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_come_newest_first_in_pages_without_gap_or_double() {
    let served = Served::start().await;
    let mut made = Vec::new();
    for word in ["a", "b", "c", "d", "e"] {
        made.push(served.submit("quick", &format!(r#"{{"params":{{"word":"{word}"}}}}"#)).await);
    }
    for run in &made {
        served.until_status(run, "succeeded").await;
    }
    // Two that wait: their time is to come.
    for _ in 0..2 {
        made.push(served.submit("slow", r#"{"not_before":"2999-01-01T00:00:00Z"}"#).await);
    }
    made.reverse();
    for limit in [1, 2, 3, 7, 50] {
        let (mut seen, mut path) = (Vec::new(), format!("/api/v1/runs?limit={limit}"));
        loop {
            let page = served.get(&path).await.expect(200);
            let of_page = ids(&page);
            assert!(!of_page.is_empty() && of_page.len() <= limit, "{page}");
            seen.extend(of_page);
            match page["next"].as_str() {
                Some(next) => path = format!("/api/v1/runs?limit={limit}&before={next}"),
                None => break,
            }
        }
        assert_eq!(seen, made, "limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_chosen_by_pipeline_and_status() {
    let served = Served::start().await;
    let quick = served.submit("quick", "").await;
    let fickle = served.submit("fickle", "").await;
    let slow = served.submit("slow", r#"{"not_before":"2999-01-01T00:00:00Z"}"#).await;
    served.until_status(&quick, "succeeded").await;
    served.until_status(&fickle, "failed").await;
    for (query, expected) in [
        ("pipeline=quick", vec![&quick]),
        ("status=failed", vec![&fickle]),
        ("status=queued", vec![&slow]),
        ("status=queued&pipeline=quick", vec![]),
        ("status=in%20doubt", vec![]),
        ("pipeline=unknown", vec![]),
        ("status=succeeded&limit=1", vec![&quick]),
    ] {
        let page = served.get(&format!("/api/v1/runs?{query}")).await.expect(200);
        assert_eq!(ids(&page), expected.into_iter().cloned().collect::<Vec<_>>(), "{query}");
        assert_eq!(page["next"], Value::Null, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelines_and_files_with_errors_are_listed() {
    let served = Served::idle().await;
    std::fs::write(served.path("broken.toml"), "[stages.a]\nrunn = 1\n").unwrap();
    served.daemon.reload();
    let all = served.get("/api/v1/pipelines").await.expect(200);
    let names: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["fickle", "quick", "slow"]);
    assert_eq!(all["broken"][0]["file"], "broken.toml");
    assert!(all["broken"][0]["report"].as_str().unwrap().contains("runn"), "{all}");
    let one = served.get("/api/v1/pipelines/slow").await.expect(200);
    assert_eq!(one["stages"], serde_json::json!(["a", "b"]));
    assert_eq!((&one["instances"], &one["scheduled"]), (&2.into(), &false.into()));
    served.post("/api/v1/pipelines/slow/pause", r#"{"why":"a holiday"}"#).await.expect(200);
    assert_eq!(served.get("/api/v1/pipelines/slow").await.expect(200)["paused"]["why"], "a holiday");
    served.post("/api/v1/pipelines/slow/unpause", "").await.expect(200);
    assert_eq!(served.get("/api/v1/pipelines/slow").await.expect(200)["paused"], Value::Null);
}
