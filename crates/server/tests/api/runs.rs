//! Cancelling runs, and going on with them.

use std::time::{Duration, Instant};

use super::daemon::{Served, until};

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_is_taken_from_the_queue() {
    let served = Served::idle().await;
    let run = served.submit("quick", "").await;
    assert_eq!(served.status(&run).await, "queued");
    let cancelled = served.post(&format!("/api/v1/runs/{run}/cancel"), "").await.expect(200);
    assert_eq!(cancelled["status"], "interrupted");
    assert!(cancelled["error"].as_str().unwrap().contains("cancelled before it began"), "{cancelled}");
    served.work();
    let next = served.submit("quick", "").await;
    served.until_status(&next, "succeeded").await;
    assert_eq!(served.status(&run).await, "interrupted", "it stays what it is");
    served.post(&format!("/api/v1/runs/{run}/cancel"), "").await.problem(409);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_goes_on_is_ended_and_can_go_on_later() {
    let served = Served::start().await;
    let run = served.submit("slow", "").await;
    until("its start", async || served.path("starts").exists()).await;
    let goes_on = served.post(&format!("/api/v1/runs/{run}/resume"), "").await.problem(409);
    assert_eq!(goes_on["type"], "urn:cairn:run-goes-on");
    served.post(&format!("/api/v1/runs/{run}/cancel"), "").await.expect(200);
    served.until_status(&run, "interrupted").await;
    assert!(!served.path("b.txt").exists());
    served.make("go");
    served.post(&format!("/api/v1/runs/{run}/resume"), "").await.expect(200);
    served.until_status(&run, "succeeded").await;
    assert!(served.path("c.txt").exists());
    let over = served.post(&format!("/api/v1/runs/{run}/resume"), "").await.problem(409);
    assert!(over["detail"].as_str().unwrap().contains("succeeded"), "{over}");
}

/// An answer can be lost: what is asked for again, saying how, is not the second time, which ends it at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_says_how_is_the_same_when_it_is_sent_again() {
    let served = Served::start().await;
    let root = served.path("").display().to_string();
    let text = "[stages.a]\nrun = \"\"\"trap 'echo x >> FOLDER/asked' TERM; echo x >> FOLDER/starts
until [ -e FOLDER/go ]; do sleep 0.02 || true; done\"\"\"\noutputs = []\n";
    std::fs::write(served.path("stubborn.toml"), text.replace("FOLDER/", &root)).unwrap();
    served.daemon.reload();
    let run = served.submit("stubborn", "").await;
    until("its start", async || served.path("starts").exists()).await;
    let cancel = format!("/api/v1/runs/{run}/cancel");
    served.post(&cancel, r#"{"how":"at length"}"#).await.problem(422);
    for _ in 0..3 {
        let cancelled = served.post(&cancel, r#"{"how":"gently"}"#).await.expect(200);
        assert_eq!(
            (cancelled["status"].as_str(), cancelled["cancelled"].as_str()),
            (Some("running"), Some("by the API"))
        );
    }
    until("its being asked", async || served.path("asked").exists()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(served.status(&run).await, "running", "it was not killed");
    let began = Instant::now();
    served.post(&cancel, r#"{"how":"now"}"#).await.expect(200);
    served.until_status(&run, "interrupted").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(std::fs::read_to_string(served.path("asked")).unwrap(), "x\n");
    // What follows from its end may take a moment.
    let over = async || served.post(&cancel, r#"{"how":"now"}"#).await.status == 409;
    until("its being settled", over).await;
    served.post(&cancel, r#"{"how":"gently"}"#).await.problem(409);
    // At once, without having been asked before.
    let run = served.submit("stubborn", "").await;
    let starts = || std::fs::read_to_string(served.path("starts")).unwrap().len();
    until("its start", async || starts() == 4).await;
    let began = Instant::now();
    served.post(&format!("/api/v1/runs/{run}/cancel"), r#"{"how":"now"}"#).await.expect(200);
    served.until_status(&run, "interrupted").await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_failed_goes_on() {
    let served = Served::start().await;
    let run = served.submit("fickle", "").await;
    served.until_status(&run, "failed").await;
    served.make("good");
    served.post(&format!("/api/v1/runs/{run}/resume"), "").await.expect(200);
    served.until_status(&run, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_pipeline_go_one_after_the_other() {
    let served = Served::start().await;
    let first = served.submit("slow", "").await;
    let second = served.submit("slow", r#"{"force":true}"#).await;
    until("its start", async || served.path("starts").exists()).await;
    let quick = served.submit("quick", "").await;
    served.until_status(&quick, "succeeded").await;
    assert_eq!(
        (served.status(&first).await, served.status(&second).await),
        ("running".into(), "queued".into())
    );
    served.make("go");
    served.until_status(&second, "succeeded").await;
    assert_eq!(std::fs::read_to_string(served.path("starts")).unwrap(), "x\nx\n");
}
