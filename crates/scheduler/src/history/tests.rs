use cairn_model::{Digest, InstanceName};

use super::*;

fn hash() -> InputHash {
    InputHash::from_digest(Digest::from_bytes([0; 32]))
}

fn fold(events: &[(i64, &str, InstanceEvent)], parts: &[(i64, i64, RunStatus)]) -> History {
    let mut all: Vec<Event> = events
        .iter()
        .map(|(at, stage, event)| {
            let instance = InstanceName::new(stage.parse().unwrap(), None);
            Event { at: Timestamp(*at), what: RunEvent::Instance { instance, event: event.clone() } }
        })
        .collect();
    for (number, (start, end, status)) in parts.iter().enumerate() {
        let started = RunEvent::Started { instances: 3, resumed: number > 0 };
        all.push(Event { at: Timestamp(*start), what: started });
        all.push(Event { at: Timestamp(*end), what: RunEvent::Ended { status: *status } });
    }
    all.sort_by_key(|event| event.at);
    History::of(&all)
}

fn started(attempt: u32, reason: Reason) -> InstanceEvent {
    InstanceEvent::AttemptStarted { attempt, input_hash: hash(), reason }
}

fn committed(attempt: u32) -> InstanceEvent {
    InstanceEvent::Committed { attempt, input_hash: hash(), took_ms: 7 }
}

fn found() -> InstanceEvent {
    InstanceEvent::CheckpointFound { input_hash: hash(), restored: vec![], trashed: vec![], saved_ms: 100 }
}

fn failed(attempts: u32) -> InstanceEvent {
    InstanceEvent::Failed { attempts, error: "exit status 2".into(), help: None }
}

#[test]
fn a_resumed_run_keeps_what_is_done_and_gives_the_rest_a_new_chance() {
    let history = fold(
        &[
            (1, "a", started(1, Reason::First)),
            (2, "a", committed(1)),
            (3, "b", started(1, Reason::First)),
            (4, "b", failed(1)),
            (5, "c", InstanceEvent::Blocked { by: Blocker::Failed("b".into()) }),
            (101, "a", found()),
            (102, "b", started(2, Reason::Again("exit status 2".into()))),
            (103, "b", committed(2)),
            (104, "c", found()),
        ],
        &[(0, 10, RunStatus::Failed), (100, 120, RunStatus::Succeeded)],
    );
    assert_eq!(history.counts(), Counts { ran: 2, fresh: 1, ..Counts::default() });
    let reasons: Vec<&str> = history.instances.iter().map(|instance| instance.reason.as_str()).collect();
    assert_eq!(reasons, ["never ran before", "never ran before; attempt 2", "inputs and outputs unchanged"]);
    assert_eq!(history.took_ms(), Some(20), "of the last part");
    assert_eq!(history.took_in_all_ms(), 30, "without the time between them");
    assert_eq!(history.status, Some(RunStatus::Succeeded));
}

#[test]
fn what_cannot_happen_is_passed_over() {
    let history = fold(&[(1, "a", committed(1)), (2, "a", found()), (3, "a", found())], &[]);
    assert_eq!(history.counts(), Counts { fresh: 1, ..Counts::default() });
    assert_eq!(history.saved_ms(), 100);
}

#[test]
fn what_came_of_placing_is_told_after_the_commit() {
    let trashed = InstanceEvent::Trashed { attempt: 1, paths: vec!["t".into()] };
    let not_placed =
        InstanceEvent::NotPlaced { attempt: 1, error: "in the way".into(), help: Some("move it".into()) };
    let history = fold(
        &[
            (1, "a", started(1, Reason::First)),
            (2, "a", committed(1)),
            (3, "a", trashed),
            (4, "b", started(1, Reason::First)),
            (5, "b", committed(1)),
            (6, "b", not_placed.clone()),
            // As the terminal is told it, which hears of a commit only together with its outputs' places.
            (7, "c", started(1, Reason::First)),
            (8, "c", not_placed),
        ],
        &[],
    );
    assert_eq!(history.counts(), Counts { ran: 1, failed: 2, ..Counts::default() });
    let [a, b, c] = &history.instances[..] else { panic!("{:?}", history.instances) };
    assert_eq!((&*a.trashed, &*a.reason), (&["t".to_owned()][..], "never ran before"));
    assert_eq!((&*b.reason, b.help.as_deref(), b.took_ms), ("in the way", Some("move it"), Some(7)));
    assert_eq!((&*c.reason, c.help.as_deref(), c.took_ms), ("in the way", Some("move it"), Some(1)));
}

#[test]
fn a_failure_without_an_attempt_has_taken_no_time() {
    let history = fold(&[(1, "a", failed(0))], &[]);
    assert_eq!(history.instances[0].took_ms, None);
    assert_eq!(history.instances[0].attempts, 0);
}

#[test]
fn an_attempt_that_was_adopted_is_one() {
    let adopted = Reason::Again("adopted: it went on".into());
    let history = fold(
        &[(1, "a", started(1, Reason::First)), (101, "a", started(1, adopted)), (103, "a", committed(1))],
        &[(0, 10, RunStatus::Interrupted), (100, 120, RunStatus::Succeeded)],
    );
    assert_eq!(history.counts(), Counts { ran: 1, ..Counts::default() });
    let [instance] = &history.instances[..] else { panic!("one instance") };
    assert_eq!((instance.attempts, instance.started), (1, Some(Timestamp(1))));
}
