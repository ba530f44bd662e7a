//! What the daemon looks after by itself, one look at a time.

use std::sync::Arc;

use cairn_model::{
    Clock as _, Counts, Digest, EffectMode, EffectState, InputHash, InstanceName, Name, RunId,
};
use cairn_model::{RunStatus, SystemClock, Timestamp};
use cairn_server::Ending;
use cairn_store::{
    Batch, DeadKind, DeadLetter, Durability, Effect, Force, ProcessId, Retry, RunOptions, RunRecord, Ticket,
    TriggerKind,
};
use tokio::sync::watch;

use super::daemon::Served;

const HOUR: u64 = 3_600_000;

/// A daemon with one more pipeline, that begins no run.
async fn serving(text: &str) -> Served {
    let served = Served::idle().await;
    let text = text.replace("FOLDER", &served.path("").display().to_string());
    std::fs::write(served.path("p.toml"), text).unwrap();
    served.daemon.reload();
    served
}

fn ago(hours: u64) -> Timestamp {
    let now = SystemClock.now();
    Timestamp(now.0 - i64::try_from(hours * HOUR).unwrap())
}

fn pipeline() -> Name {
    "p".parse().unwrap()
}

fn instance(name: &str) -> InstanceName {
    InstanceName::new(name.parse().unwrap(), None)
}

fn put(served: &Served, fill: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    fill(&mut batch);
    let _ = served.daemon.store().commit(batch, Durability::Synced).unwrap();
}

fn tickets(served: &Served) -> Vec<(RunId, Ticket)> {
    served.daemon.store().open_tickets().unwrap()
}

async fn look_at_effects(served: &Served) -> Option<Vec<String>> {
    let (daemon, entry) = (Arc::clone(&served.daemon), served.daemon.entry("p").unwrap());
    let (_stop, stopping) = watch::channel(false);
    let look = move || daemon.check_drift(&entry, &stopping).unwrap();
    tokio::task::spawn_blocking(look).await.unwrap()
}

fn put_effect(served: &Served, key: &str, settled: Timestamp) {
    let effect = Effect {
        state: EffectState::Confirmed,
        mode: EffectMode::AtLeastOnce,
        instance: instance("pay"),
        attempts: 1,
        input_hash: InputHash::of_preimage(b"x"),
        run: RunId::from_bytes([1; 16]),
        intended: settled,
        settled: Some(settled),
        probe: Some("paid\n".to_owned()),
        error: None,
        undo: None,
        drifted: None,
        asked: None,
    };
    put(served, |batch| {
        batch.put_effect(&pipeline(), key, &effect);
    });
}

fn effect(served: &Served, key: &str) -> Effect {
    served.daemon.store().effect(&pipeline(), key).unwrap().unwrap()
}

const PAYS: &str = "[schedule]\ncheck_drift = '1h'\n[params]\nday = '2'\n[stages.pay]\nrun = 'true'\n\
     [stages.pay.effect]\nmode = 'at-least-once'\nkey = 'sales/{{ params.day }}'\n\
     probe = 'echo x >> FOLDER/asked; cat FOLDER/book'\n";

fn asked(served: &Served) -> usize {
    std::fs::read_to_string(served.path("asked")).unwrap_or_default().lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_speaks_of_the_effect_it_was_asked_after_and_of_no_other() {
    let served = serving(PAYS).await;
    std::fs::write(served.path("book"), "gone\n").unwrap();
    let (settled, young) = (ago(2), ago(0));
    put_effect(&served, "sales/1", settled);
    put_effect(&served, "sales/2", settled);
    put_effect(&served, "sales/3", young);
    assert_eq!(look_at_effects(&served).await, Some(Vec::new()));
    let (first, second) = (effect(&served, "sales/1"), effect(&served, "sales/2"));
    assert_eq!(first.drifted, None, "nobody asked after it");
    assert!(second.drifted.is_some_and(|how| how.contains("gone")));
    // When it took place stays what it was.
    assert_eq!((first.settled, second.settled), (Some(settled), Some(settled)));
    assert!(first.asked.is_some() && first.asked == second.asked);
    assert_eq!(effect(&served, "sales/3").asked, None, "it was not due");
    let open = tickets(&served);
    assert_eq!((open.len(), open[0].1.trigger.kind), (1, TriggerKind::Drift));
    assert_eq!(open[0].1.selection, ["pay"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_not_tried_at_each_look() {
    let served = serving(PAYS).await;
    // Its probe fails: there is no book.
    put_effect(&served, "sales/2", ago(2));
    let complaints = look_at_effects(&served).await.unwrap();
    assert!(complaints.len() == 1 && complaints[0].starts_with("pay: "), "{complaints:?}");
    assert_eq!((asked(&served), look_at_effects(&served).await, asked(&served)), (1, None, 1));
    // One of a key that no instance has any more.
    put_effect(&served, "sales/1", ago(2));
    assert!(look_at_effects(&served).await.is_some());
    assert_eq!(look_at_effects(&served).await, None);
    // The time is there again.
    let known = effect(&served, "sales/2");
    put(&served, |batch| {
        batch.put_effect(&pipeline(), "sales/2", &Effect { asked: Some(ago(2)), ..known });
    });
    std::fs::write(served.path("book"), "paid\n").unwrap();
    assert_eq!(look_at_effects(&served).await, Some(Vec::new()));
    assert_eq!((effect(&served, "sales/2").drifted, tickets(&served).len()), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_hangs_ends_with_the_daemon() {
    let served = serving(&PAYS.replace("cat FOLDER/book", "sleep 300")).await;
    put_effect(&served, "sales/2", ago(2));
    let (stop, stopping) = watch::channel(false);
    let (daemon, entry) = (Arc::clone(&served.daemon), served.daemon.entry("p").unwrap());
    let looking = tokio::task::spawn_blocking(move || daemon.check_drift(&entry, &stopping).unwrap());
    super::daemon::until("the question", async || asked(&served) == 1).await;
    stop.send(true).unwrap();
    let ended = tokio::time::timeout(super::daemon::PATIENCE, looking).await;
    assert_eq!(ended.unwrap().unwrap(), None);
    assert_eq!(effect(&served, "sales/2").asked, None, "the next daemon asks it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_begins_while_probes_are_asked_has_the_last_word() {
    let served =
        serving(&PAYS.replace("cat FOLDER/book", "until [ -e FOLDER/go ]; do sleep 0.02; done")).await;
    put_effect(&served, "sales/2", ago(2));
    let looking = look_at_effects(&served);
    let meanwhile = async {
        super::daemon::until("the question", async || asked(&served) == 1).await;
        let run = served.submit("p", "").await;
        served.make("go");
        run
    };
    let (_, run) = tokio::join!(looking, meanwhile);
    let known = effect(&served, "sales/2");
    assert_eq!((known.asked, known.drifted), (None, None));
    assert_eq!(tickets(&served).iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(), [run]);
}

const LOADS: &str = "[schedule]\nretry_dead = '1h'\nretry_dead_max = 2\n[params]\nday = '0'\n\
     [stages.a]\nrun = 'echo {{ params.day }}'\ncache = false\n[stages.b]\nrun = 'true'\ncache = false\n";

fn letter(name: &str, kind: DeadKind, run: u8, died: Timestamp) -> DeadLetter {
    let payload = format!("{name} {run}").into_bytes();
    DeadLetter {
        kind,
        pipeline: pipeline(),
        instance: instance(name),
        key: if kind == DeadKind::Instance { String::new() } else { run.to_string() },
        digest: DeadLetter::digest_of(&payload),
        payload,
        source: None,
        class: "worker".to_owned(),
        error: "down".to_owned(),
        attempts: Vec::new(),
        input_hash: None,
        run: RunId::from_bytes([run; 16]),
        idempotency_key: String::new(),
        died,
        retry: None,
        edited: None,
        retries: 0,
    }
}

/// A run that ended, with `day` as its param.
fn ran(batch: &mut Batch, number: u8, logical_time: Timestamp) {
    let record = RunRecord {
        pipeline: pipeline(),
        file: "p.toml".to_owned(),
        definition: Digest::from_bytes([0; 32]),
        params: vec![("day".to_owned(), number.to_string())],
        logical_time,
        started: logical_time,
        ended: Some(logical_time),
        status: RunStatus::Failed,
        counts: Counts::default(),
        selection: vec!["--interval=2024-01-01T00:00:00Z/2024-01-02T00:00:00Z".to_owned()],
        options: RunOptions { jobs: 0, keep_going: false, frozen: false, force: Force::Nothing },
        caller: None,
        command_line: Vec::new(),
        process: ProcessId::current(),
        cairn_version: String::new(),
        saved_ms: 0,
    };
    batch.put_run(RunId::from_bytes([number; 16]), &record);
}

async fn look_at_letters(served: &Served) -> Option<Vec<String>> {
    let (daemon, entry) = (Arc::clone(&served.daemon), served.daemon.entry("p").unwrap());
    tokio::task::spawn_blocking(move || daemon.retry_dead(&entry).unwrap()).await.unwrap()
}

/// Returns the run that is asked for, and takes it away.
fn taken(served: &Served) -> Option<Ticket> {
    let mut open = tickets(served);
    assert!(open.len() < 2, "{open:?}");
    let (run, ticket) = open.pop()?;
    served.daemon.cancel(run, Ending::Next, "seen").unwrap();
    Some(ticket)
}

fn stored(served: &Served, letter: &DeadLetter) -> DeadLetter {
    let store = served.daemon.store();
    store.dead_letter(&letter.pipeline, &letter.instance, letter.kind, letter.id()).unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_tried_as_the_run_was_asked_for_in_which_they_died() {
    let served = serving(LOADS).await;
    let (old, older) = (ago(2), ago(3));
    let of = [
        letter("a", DeadKind::Record, 1, old),
        letter("a", DeadKind::Record, 2, older),
        letter("b", DeadKind::Record, 2, old),
        letter("gone", DeadKind::Record, 2, ago(9)),
    ];
    put(&served, |batch| {
        ran(batch, 1, Timestamp(1_000));
        ran(batch, 2, Timestamp(2_000));
        for letter in &of {
            batch.put_dead(letter);
        }
    });
    for (day, names, at) in [("2", vec!["a", "b"], 2_000), ("1", vec!["a"], 1_000)] {
        assert_eq!(look_at_letters(&served).await, Some(Vec::new()));
        // While it waits, nothing else is asked for.
        assert_eq!(look_at_letters(&served).await, None);
        let ticket = taken(&served).unwrap();
        assert_eq!(ticket.params, [("day".to_owned(), day.to_owned())]);
        assert_eq!((ticket.logical_time, ticket.trigger.kind), (Timestamp(at), TriggerKind::Retry));
        assert_eq!(ticket.interval.unwrap().start, Timestamp(1_704_067_200_000));
        let selected = cairn_scheduler::launch::words_that_select(&ticket.selection);
        assert_eq!(selected, names);
    }
    let _ = look_at_letters(&served).await;
    assert!(taken(&served).is_none(), "all are asked for, but what is of no instance");
    assert_eq!(of.each_ref().map(|letter| stored(&served, letter).retries), [1, 1, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_came_to_nothing_is_asked_for_again() {
    let served = serving(LOADS).await;
    let asked = |hours| Some(Retry { payload: Some(b"mended".to_vec()), asked: ago(hours) });
    let fresh = || letter("a", DeadKind::Record, 1, ago(9));
    let dead = || letter("a", DeadKind::Instance, 1, ago(9));
    for (letter, expected) in [
        (DeadLetter { retry: asked(0), ..fresh() }, None),
        // However often: it was asked for, and nothing took it in.
        (DeadLetter { retry: asked(2), retries: 2, ..fresh() }, Some(2)),
        (DeadLetter { retry: asked(2), class: "invalid-json".to_owned(), ..fresh() }, Some(0)),
        (DeadLetter { class: "invalid-json".to_owned(), ..fresh() }, None),
        (DeadLetter { retries: 2, ..fresh() }, None),
        (DeadLetter { retry: asked(0), ..dead() }, None),
        // Nothing tells whether a run came to it.
        (DeadLetter { retry: asked(2), retries: 1, ..dead() }, Some(2)),
        (DeadLetter { retry: asked(2), retries: 2, ..dead() }, None),
        (letter("a", DeadKind::Rejected, 1, ago(9)), None),
    ] {
        put(&served, |batch| {
            batch.put_dead(&letter);
        });
        let _ = look_at_letters(&served).await;
        let found = taken(&served).map(|_| stored(&served, &letter));
        assert_eq!(found.as_ref().map(|letter| letter.retries), expected, "{letter:?}");
        if let Some(found) = found {
            let retry = found.retry.clone().unwrap();
            let edited = letter.retry.as_ref().and_then(|retry| retry.payload.clone());
            assert!(retry.asked > ago(1) && retry.payload == edited, "{found:?}");
        }
        put(&served, |batch| {
            batch.remove_dead(&letter);
        });
    }
}
