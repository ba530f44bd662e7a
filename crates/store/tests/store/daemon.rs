//! What the daemon has remembered: tickets and their queue, occurrences, schedules, submissions, messages.

use cairn_model::{Digest, Interval, Name, RunId, Timestamp};
use cairn_store::{
    Batch, Durability, Fate, Force, Message, Occurrence, Recipient, RunOptions, ScheduleState, Store,
    Submission, Ticket, TicketStage, Trigger, TriggerKind,
};

use crate::sample::State;

fn ticket(stage: TicketStage) -> Ticket {
    Ticket {
        pipeline: "p".parse().unwrap(),
        file: "p.toml".to_owned(),
        definition: Digest::from_bytes([1; 32]),
        params: Vec::new(),
        selection: Vec::new(),
        options: RunOptions { jobs: 0, keep_going: false, frozen: false, force: Force::Nothing },
        caller: None,
        logical_time: Timestamp(1),
        interval: None,
        priority: 0,
        trigger: Trigger { kind: TriggerKind::Api, detail: String::new() },
        submitted: Timestamp(1),
        not_before: None,
        retries: 0,
        stage,
        error: None,
        cancel: None,
    }
}

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn commit(store: &Store, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    let _ = store.commit(batch, Durability::Written).unwrap();
}

#[test]
fn tickets_leave_the_queue_when_they_end_and_are_kept() {
    let state = State::new();
    let store = state.open();
    commit(&store, |batch| {
        for number in [3, 1, 2] {
            batch.put_ticket(run(number), &ticket(TicketStage::Queued));
        }
    });
    commit(&store, |batch| {
        batch.put_ticket(run(1), &ticket(TicketStage::Ended));
        batch.put_ticket(run(3), &ticket(TicketStage::Running));
    });
    drop(store);
    let store = state.open();
    let open: Vec<_> = store.open_tickets().unwrap().into_iter().map(|(run, it)| (run, it.stage)).collect();
    assert_eq!(open, [(run(2), TicketStage::Queued), (run(3), TicketStage::Running)]);
    assert_eq!(store.ticket(run(1)).unwrap().map(|ticket| ticket.stage), Some(TicketStage::Ended));
    assert_eq!(store.ticket(run(4)).unwrap(), None);
}

#[test]
fn occurrences_are_found_by_id_and_listed_from_the_latest_on() {
    let state = State::new();
    let store = state.open();
    let (p, pq): (Name, Name) = ("p".parse().unwrap(), "pq".parse().unwrap());
    let dropped = |at: i64| Occurrence {
        decided: Timestamp(at),
        interval: Interval { start: Timestamp(at - 1), end: Timestamp(at) },
        fate: Fate::Dropped("late".to_owned()),
    };
    commit(&store, |batch| {
        for at in [-5, 300, 2] {
            batch.put_occurrence((&p, Timestamp(at), [7; 16]), &dropped(at));
        }
        batch.put_occurrence((&pq, Timestamp(400), [7; 16]), &dropped(400));
    });
    let times = |limit| -> Vec<i64> {
        store.occurrences(&p, limit).unwrap().into_iter().map(|(time, _, _)| time.0).collect()
    };
    assert_eq!((times(9), times(2)), (vec![300, 2, -5], vec![300, 2]));
    let within = |start, end, limit| -> Vec<i64> {
        let stretch = Interval { start: Timestamp(start), end: Timestamp(end) };
        let found = store.occurrences_within(&p, stretch, limit).unwrap();
        found.into_iter().map(|(time, _, _)| time.0).collect()
    };
    assert_eq!(within(-5, 300, 9), [2, -5], "its end is none of it");
    assert_eq!(within(-4, 301, 9), [300, 2]);
    assert_eq!(within(-5, 301, 1), [300], "the latest");
    assert_eq!(within(3, 300, 9), [0; 0]);
    assert_eq!(within(301, 999, 9), [0; 0], "another pipeline's are not its own");
    assert_eq!(store.occurrence(&p, Timestamp(2), [7; 16]).unwrap(), Some(dropped(2)));
    assert_eq!(store.occurrence(&p, Timestamp(2), [8; 16]).unwrap(), None);
}

#[test]
fn messages_are_kept_in_the_order_of_time_until_they_are_delivered() {
    let state = State::new();
    let store = state.open();
    let message = |made: i64, key: &str| Message {
        to: Recipient::Webhook,
        key: key.to_owned(),
        body: b"{}".to_vec(),
        made: Timestamp(made),
        tries: 0,
        not_before: Timestamp(made),
        error: None,
    };
    let tried = Message { tries: 1, error: Some("refused".to_owned()), ..message(7, "c") };
    commit(&store, |batch| {
        for message in [message(5, "b"), message(-1, "a"), message(7, "c"), message(5, "b")] {
            batch.put_message(&message);
        }
        batch.put_message(&tried);
    });
    assert_eq!(store.messages(9).unwrap(), [message(-1, "a"), message(5, "b"), tried]);
    commit(&store, |batch| batch.remove_message(&message(5, "b")));
    assert_eq!(store.messages(1).unwrap(), [message(-1, "a")]);
    assert_eq!(store.messages(9).unwrap().len(), 2);
}

#[test]
fn schedules_and_submissions_are_kept() {
    let state = State::new();
    let store = state.open();
    let (p, key) = ("p".parse().unwrap(), Digest::from_bytes([5; 32]));
    assert_eq!(store.schedule(&p).unwrap(), ScheduleState::default());
    let standing = ScheduleState { failures: 2, ..ScheduleState::default() };
    let submission = Submission { fingerprint: Digest::from_bytes([6; 32]), run: run(1), at: Timestamp(2) };
    commit(&store, |batch| {
        batch.put_schedule(&p, &standing);
        batch.put_submission(&key, &submission);
    });
    assert_eq!(store.schedule(&p).unwrap(), standing);
    assert_eq!(store.submission(&key).unwrap(), Some(submission.clone()));
    assert_eq!(store.submission(&Digest::from_bytes([4; 32])).unwrap(), None);

    let keys = [3, 5, 7].map(|byte| Digest::from_bytes([byte; 32]));
    commit(&store, |batch| keys.iter().for_each(|key| batch.put_submission(key, &submission)));
    let after = |key: Option<&Digest>, limit| -> Vec<Digest> {
        store.submissions_after(key, limit).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(after(None, 2), keys[..2]);
    assert_eq!(after(Some(&keys[1]), 2), keys[2..]);
    assert_eq!(after(Some(&Digest::from_bytes([4; 32])), 9), keys[1..], "one that is no more");
    commit(&store, |batch| batch.remove_submission(&keys[0]));
    assert_eq!(after(None, 9), keys[1..]);
    assert_eq!(store.submission(&keys[0]).unwrap(), None);
}

#[test]
fn which_text_of_a_file_is_in_force_is_kept_until_the_file_is_gone() {
    use std::os::unix::ffi::OsStrExt as _;
    let state = State::new();
    let store = state.open();
    let odd = std::path::Path::new(std::ffi::OsStr::from_bytes(b"pipelines/\xff.toml"));
    let plain = std::path::Path::new("p.toml");
    assert!(store.in_force().unwrap().is_empty());
    // A pipeline's standing lies beside it.
    commit(&store, |batch| batch.put_schedule(&"p".parse().unwrap(), &ScheduleState::default()));
    commit(&store, |batch| {
        batch.put_in_force(plain, b"one");
        batch.put_in_force(odd, b"odd");
    });
    commit(&store, |batch| {
        batch.put_in_force(plain, b"two");
    });
    let in_force = store.in_force().unwrap();
    let text = |file| store.definition(&in_force[file]).unwrap();
    assert_eq!((text(plain).as_deref(), text(odd).as_deref()), (Some(&b"two"[..]), Some(&b"odd"[..])));
    commit(&store, |batch| batch.remove_in_force(plain));
    assert_eq!(store.in_force().unwrap().keys().collect::<Vec<_>>(), [odd]);
}
