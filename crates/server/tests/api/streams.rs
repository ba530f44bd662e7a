//! Events as they happen.

use axum::body::Body;
use axum::http::Request;

use super::daemon::{Answer, Served, until};

/// The numbers of the events of a stream, and whether it says that it is done.
fn numbers(stream: &str) -> (Vec<u64>, bool) {
    let ids = stream.lines().filter_map(|line| line.strip_prefix("id:")).map(|id| id.trim().parse().unwrap());
    (ids.collect(), stream.trim_end().ends_with("event: done\ndata: {}"))
}

async fn stream(served: &Served, run: &str, after: Option<&str>) -> Answer {
    let mut request = Request::get(format!("/api/v1/runs/{run}/events"));
    if let Some(after) = after {
        request = request.header("last-event-id", after);
    }
    Answer::of(served.send(request.body(Body::empty()).unwrap()).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_streamed_from_before_the_run_begins_until_it_ends() {
    let served = Served::idle().await;
    let run = served.submit("slow", "").await;
    let watched = stream(&served, &run, None);
    let rest = async {
        served.work();
        until("its start", async || served.path("starts").exists()).await;
        served.make("go");
        served.until_status(&run, "succeeded").await;
    };
    let (watched, ()) = tokio::join!(watched, rest);
    assert_eq!(watched.header("content-type"), "text/event-stream");
    let (seen, done) = numbers(&watched.text);
    assert!(done, "{}", watched.text);
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "each once, in order");
    let last: serde_json::Value = {
        let data = watched.text.lines().filter_map(|line| line.strip_prefix("data: ")).nth_back(1);
        serde_json::from_str(data.unwrap()).unwrap()
    };
    assert!(last["what"].to_string().contains("nded"), "the last one tells the end: {last}");

    // A client that lost the stream takes it up where it was.
    for after in [1, seen.len() as u64 - 1, seen.len() as u64, 1_000_000, u64::MAX] {
        let (again, done) = numbers(&stream(&served, &run, Some(&after.to_string())).await.text);
        assert_eq!(again, (after.saturating_add(1)..=seen.len() as u64).collect::<Vec<_>>(), "after {after}");
        assert!(done);
    }
    for wrong in ["x", "-1", "1.5", ""] {
        stream(&served, &run, Some(wrong)).await.problem(400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_never_began_has_no_events_and_is_done() {
    let served = Served::idle().await;
    let run = served.submit("quick", "").await;
    served.post(&format!("/api/v1/runs/{run}/cancel"), "").await.expect(200);
    assert_eq!(numbers(&stream(&served, &run, None).await.text), (Vec::new(), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_short_runs_are_each_told_to_their_end() {
    let served = Served::start().await;
    for number in 0..12 {
        let run = served.submit("quick", &format!(r#"{{"params":{{"word":"{number}"}}}}"#)).await;
        let text = stream(&served, &run, None).await.text;
        let (seen, done) = numbers(&text);
        assert!(done && seen.len() > 2 && text.contains("nded"), "{text}");
    }
}
