//! What is known of a run: its instances, what they printed, what has not changed since.

use axum::body::Body;
use axum::http::Request;

use super::daemon::{Answer, Served, until};

#[tokio::test(flavor = "multi_thread")]
async fn instances_stand_where_the_events_say() {
    let served = Served::start().await;
    let run = served.submit("slow", "").await;
    until("its start", async || served.path("starts").exists()).await;
    let path = format!("/api/v1/runs/{run}/instances");
    let instances = served.get(&path).await.expect(200);
    assert_eq!(
        (&instances["total"], &instances["items"][0]["state"]),
        (&2.into(), &"running".into()),
        "{instances}"
    );
    served.make("go");
    served.until_status(&run, "succeeded").await;
    let instances = served.get(&path).await.expect(200);
    let items = instances["items"].as_array().unwrap();
    let told: Vec<(&str, &str, u64)> = items
        .iter()
        .map(|item| {
            (
                item["instance"].as_str().unwrap(),
                item["state"].as_str().unwrap(),
                item["attempts"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told, [("a", "ran", 1), ("b", "ran", 1)]);
    assert!(
        items[0]["input_hash"].as_str().unwrap().len() == 64 && items[0]["took_ms"].is_u64(),
        "{instances}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_from_any_byte_on_and_those_of_the_run_that_printed_them() {
    let served = Served::start().await;
    let first = served.submit("quick", r#"{"params":{"word":"w"}}"#).await;
    served.until_status(&first, "succeeded").await;
    let log = served.get(&format!("/api/v1/runs/{first}/logs/a")).await;
    assert_eq!((log.status.as_u16(), log.text.as_str()), (200, "said w\n"));
    assert_eq!(log.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!((log.header("cairn-next-offset"), log.header("cairn-complete")), ("7", "true"));
    assert_eq!((log.header("cairn-run"), log.header("cairn-attempt")), (first.as_str(), "1"));
    for (after, text, next) in [(5, "w\n", "7"), (7, "", "7"), (1000, "", "1000")] {
        let part = served.get(&format!("/api/v1/runs/{first}/logs/a?after={after}&attempt=1")).await;
        assert_eq!((part.text.as_str(), part.header("cairn-next-offset")), (text, next));
    }
    // What it did not have to do again was printed by the first.
    let second = served.submit("quick", r#"{"params":{"word":"w"}}"#).await;
    served.until_status(&second, "succeeded").await;
    for beyond in [u64::MAX, 1 << 63, (1 << 63) - 1] {
        let part = served.get(&format!("/api/v1/runs/{first}/logs/a?after={beyond}")).await;
        assert_eq!((part.status.as_u16(), part.text.as_str()), (200, ""));
        assert_eq!(part.header("cairn-next-offset"), beyond.to_string());
    }
    let log = served.get(&format!("/api/v1/runs/{second}/logs/a")).await;
    assert_eq!((log.text.as_str(), log.header("cairn-run")), ("said w\n", first.as_str()));
    for wrong in [
        "logs/b",
        "logs/a?attempt=2",
        "logs/a?attempt=0",
        "logs/..",
        "logs/..%2f..%2ftoken",
        "logs/a%2f..%2fa",
        "logs/%00",
        "logs/a?worker=9999",
    ] {
        served.get(&format!("/api/v1/runs/{first}/{wrong}")).await.problem(404);
    }
    for wrong in ["logs/a?after=-1", "logs/a?after=x", "logs/a?unknown=1"] {
        served.get(&format!("/api/v1/runs/{first}/{wrong}")).await.problem(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_while_it_grows_and_taken_up_again() {
    let served = Served::idle().await;
    let text = "[stages.a]\nrun = 'echo one; until [ -e FOLDER/go ]; do sleep 0.02; done; printf \"t\\303\\274\"'\noutputs = []\n";
    std::fs::write(
        served.path("talks.toml"),
        text.replace("FOLDER", &served.path("").canonicalize().unwrap().display().to_string()),
    )
    .unwrap();
    served.daemon.reload();
    served.work();
    let run = served.submit("talks", "").await;
    let log = format!("/api/v1/runs/{run}/logs/a");
    until("its first line", async || served.get(&log).await.text == "one\n").await;
    assert_eq!(served.get(&log).await.header("cairn-complete"), "false");
    let stream = async |last: Option<&str>| {
        let mut request = Request::get(format!("{log}/stream"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Answer::of(served.send(request.body(Body::empty()).unwrap()).await).await.text
    };
    let going = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        served.make("go");
    };
    let (followed, ()) = tokio::join!(stream(None), going);
    assert_eq!(
        followed.replace(": \n\n", ""),
        "id: 4\ndata: {\"text\":\"one\\n\"}\n\nid: 7\ndata: {\"text\":\"tü\"}\n\nevent: done\ndata: {}\n\n"
    );
    assert_eq!(stream(Some("4")).await, "id: 7\ndata: {\"text\":\"tü\"}\n\nevent: done\ndata: {}\n\n");
    assert_eq!(stream(Some("7")).await, "event: done\ndata: {}\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_changed_is_not_sent_again() {
    let served = Served::idle().await;
    let run = served.submit("quick", "").await;
    let ask = async |path: &str, tag: &str| {
        let request = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
        Answer::of(served.send(request).await).await
    };
    for path in [
        "/api/v1/pipelines",
        "/api/v1/pipelines/quick",
        "/api/v1/runs",
        &format!("/api/v1/runs/{run}"),
        "/api/v1/openapi.json",
    ] {
        let tag = served.get(path).await.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 20, "{path}: {tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let same = ask(path, &known).await;
            assert_eq!(
                (same.status.as_u16(), same.text.as_str(), same.header("etag")),
                (304, "", tag.as_str()),
                "{path}"
            );
        }
        assert_eq!(ask(path, "\"x\"").await.status, 200);
    }
    let before = served.get(&format!("/api/v1/runs/{run}")).await.header("etag").to_owned();
    served.post(&format!("/api/v1/runs/{run}/cancel"), "").await.expect(200);
    assert_eq!(ask(&format!("/api/v1/runs/{run}"), &before).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_tell_what_comes_and_what_became_of_what_came() {
    let served = Served::idle().await;
    std::fs::write(
        served.path("daily.toml"),
        "[schedule]\ncron = '30 6 * * *'\ntimezone = 'Europe/Berlin'\n[stages.a]\nrun = 'true'\noutputs = []\n",
    )
    .unwrap();
    served.daemon.reload();
    let path = "/api/v1/pipelines/daily/schedule";
    let schedule = served.get(&format!("{path}?next=3")).await.expect(200);
    let next = schedule["next"].as_array().unwrap();
    assert_eq!((next.len(), &schedule["timezone"]), (3, &"Europe/Berlin".into()), "{schedule}");
    assert_eq!(next[0]["time"], next[0]["interval"]["end"], "a run is about what is over");
    assert_eq!(next[0]["time"], next[1]["interval"]["start"]);
    assert!(schedule["text"].as_str().unwrap().contains("06:30"), "{schedule}");
    served.post("/api/v1/pipelines/daily/pause", "{}").await.expect(200);
    assert_eq!(served.get(path).await.expect(200)["paused"]["why"], "by hand");
    served.get("/api/v1/pipelines/quick/schedule").await.problem(404);
    served.get(&format!("{path}?next=1001")).await.problem(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_usual_names_and_count_what_happened() {
    let served = Served::start().await;
    let quick = served.submit("quick", "").await;
    let fickle = served.submit("fickle", "").await;
    served.submit("slow", r#"{"not_before":"2999-01-01T00:00:00Z"}"#).await;
    served.until_status(&quick, "succeeded").await;
    served.until_status(&fickle, "failed").await;
    until("the counts", async || {
        let metrics = served.get("/metrics").await;
        assert_eq!(
            metrics.header("content-type"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        [
            "cairn_runs_total{pipeline=\"quick\",status=\"succeeded\"} 1\n",
            "cairn_runs_total{pipeline=\"fickle\",status=\"failed\"} 1\n",
            "cairn_run_duration_seconds_count{pipeline=\"quick\"} 1\n",
            "cairn_instances_total{pipeline=\"quick\",outcome=\"ran\"} 1\n",
            "cairn_dead_letters{pipeline=\"fickle\",kind=\"instance\"} 1\n",
            "cairn_queue_waiting 1\n",
            "cairn_runs_running 0\n",
            "cairn_pipelines 3\n",
            "cairn_build_info{version=\"",
            "process_resident_memory_bytes ",
            "process_cpu_seconds_total ",
        ]
        .iter()
        .all(|line| metrics.text.contains(line))
    })
    .await;
    let text = served.get("/metrics").await.text;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let bytes: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("cairn_store_bytes "))
        .and_then(|number| number.parse().ok())
        .unwrap();
    assert!(bytes > 0.0);
    assert!(!text.contains(&quick), "no run's id is a label");
}
