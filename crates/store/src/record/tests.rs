use std::fmt;

use cairn_model::{
    AttemptId, Blocker, Command, Content, Counts, Digest, EffectMode, EffectState, EntryKind, Event,
    FileContent, InputHash, InstanceEvent, InstanceName, Interval, Level, Manifest, Output, ProjectPath,
    Reason, RunEvent, RunId, RunStatus, Timestamp, Tree, TreeEntry,
};

use super::*;
use crate::ProcessId;
use crate::keys::hexadecimal;

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn hash(byte: u8) -> InputHash {
    InputHash::from_digest(digest(byte))
}

fn alone() -> InstanceName {
    InstanceName::new("clean".parse().unwrap(), None)
}

fn of_matrix() -> InstanceName {
    InstanceName::new("grid".parse().unwrap(), Some("UA,1".to_owned()))
}

fn process() -> ProcessId {
    ProcessId { boot_id: "boot".to_owned(), pid: 300, start_ticks: 4711 }
}

fn stamp() -> Stamp {
    Stamp { size: 1000, mtime_ns: 1_700_000_000_000_000_001, ctime_ns: -2, mode: 0o100_644 }
}

/// Reads bytes in hexadecimal, runs of equal ones as `7*32`, and text between quotes.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('*') {
            Some((byte, times)) => {
                let byte = u8::from_str_radix(byte, 16).unwrap();
                bytes.extend(std::iter::repeat_n(byte, times.parse().unwrap()));
            }
            None if word.starts_with('\'') => bytes.extend_from_slice(word.trim_matches('\'').as_bytes()),
            None => bytes.extend(
                (0..word.len()).step_by(2).map(|at| u8::from_str_radix(&word[at..at + 2], 16).unwrap()),
            ),
        }
    }
    bytes
}

/// Checks that `record` is stored as `expect`, version and body as [`bytes`] reads them, and is read back.
#[track_caller]
fn check<R: Record + PartialEq + fmt::Debug>(record: &R, expect: &str) {
    let expected = bytes(expect);
    let body = record.body();
    assert_eq!(hexadecimal(&[&[R::VERSION], body.as_slice()].concat()), hexadecimal(&expected));
    assert_eq!(&R::read(R::VERSION, &body).unwrap(), record);
    assert!(R::read(R::VERSION + 1, &body).is_err(), "a later version is refused");
}

/// Checks that a value of before is read as `record`.
fn reads_as<R: Record + PartialEq + fmt::Debug>(record: &R, stored: &str) {
    let stored = bytes(stored);
    assert_eq!(&R::read(stored[0], &stored[1..]).unwrap(), record);
}

#[test]
fn golden_checkpoint() {
    let file = |byte, executable| FileContent { digest: digest(byte), size: 300, executable };
    let entry = |path: &[u8], kind| TreeEntry { path: path.to_vec(), kind };
    let tree = Tree::new(vec![
        entry(b"d", EntryKind::Folder),
        entry(b"d/f", EntryKind::File(file(2, true))),
        entry(b"l\xff", EntryKind::Link(b"d".to_vec())),
    ]);
    let output = |path, content| Output { path: ProjectPath::parse(path).unwrap(), content };
    let checkpoint = Checkpoint {
        preimage: b"pre".to_vec(),
        manifest: Manifest {
            outputs: vec![
                output("a/b.csv", Content::File(file(1, false))),
                output("dir", Content::Folder(tree)),
            ],
        },
        level: Level::Private,
        made_by: AttemptId { run: RunId::from_bytes([9; 16]), instance: of_matrix(), number: 2 },
        pipeline: "flights".parse().unwrap(),
        finished: Timestamp(1000),
        took_ms: 250,
        log: LogRef { path: "logs/x".to_owned(), bytes: 5 },
        exit: Exit { code: 0, user_ms: 1, sys_ms: 2, max_rss_bytes: 4096 },
    };
    let outputs = "02 07 'a/b.csv' 00 01*32 ac02 00 \
        03 'dir' 01 03 01 'd' 01 03 'd/f' 00 02*32 ac02 01 02 6cff 02 01 'd'";
    let rest =
        "01 09*16 04 'grid' 01 04 'UA,1' 02 07 'flights' d00f fa01 06 'logs/x' 05 00 01 02 8020 03 'pre'";
    check(&Recorded { checkpoint: checkpoint.clone(), demoted: None }, &format!("01 00 {outputs} {rest}"));
    let demoted = Some(Demoted { why: "gone".to_owned() });
    check(&Recorded { checkpoint, demoted }, &format!("01 01 04 'gone' {outputs} {rest}"));
}

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CALLER_BYTES: &str = "01 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 01";

#[test]
fn golden_run() {
    let run = RunRecord {
        pipeline: "flights".parse().unwrap(),
        file: "p.toml".to_owned(),
        definition: digest(3),
        params: vec![("year".to_owned(), "2013".to_owned())],
        logical_time: Timestamp(1),
        started: Timestamp(2),
        ended: Some(Timestamp(-3)),
        status: RunStatus::Interrupted,
        counts: Counts { ran: 1, restored: 2, fresh: 300, failed: 4, blocked: 5, in_doubt: 6 },
        selection: vec!["clean".to_owned()],
        options: RunOptions {
            jobs: 2,
            keep_going: true,
            frozen: false,
            force: Force::Stages(vec!["grid".to_owned()]),
        },
        caller: Some(CALLER.parse().unwrap()),
        command_line: vec!["cairn".to_owned(), "run".to_owned()],
        process: process(),
        cairn_version: "0.1.0".to_owned(),
        saved_ms: 128,
    };
    let head = "03 07 'flights' 06 'p.toml' 03*32 01 04 'year' 04 '2013' 02 04";
    let middle = "01 02 ac02 04 05 01 05 'clean' 02 01 00";
    let before = "02 05 'cairn' 03 'run' 04 'boot' ac02 e724 05 '0.1.0' 8001 06";
    let tail = &format!("{before} {CALLER_BYTES}");
    check(&run, &format!("{head} 01 05 03 {middle} 02 01 04 'grid' {tail}"));
    let statuses = [
        RunStatus::Running,
        RunStatus::Succeeded,
        RunStatus::Failed,
        RunStatus::Interrupted,
        RunStatus::Frozen,
        RunStatus::InDoubt,
    ];
    for (number, status) in statuses.into_iter().enumerate() {
        let run = RunRecord { status, ended: None, ..run.clone() };
        check(&run, &format!("{head} 00 0{number} {middle} 02 01 04 'grid' {tail}"));
    }
    for (number, force) in [Force::Nothing, Force::Everything].into_iter().enumerate() {
        let run = RunRecord { options: RunOptions { force, ..run.options.clone() }, ..run.clone() };
        check(&run, &format!("{head} 01 05 03 {middle} 0{number} {tail}"));
    }
}

#[test]
fn a_run_without_a_caller() {
    let second = "07 'flights' 06 'p.toml' 03*32 00 02 04 00 01 01 02 ac02 04 05 01 05 'clean' 02 01 00 00 00 04 'boot' ac02 \
        e724 05 '0.1.0' 8001 06";
    let run = RunRecord::read(2, &bytes(second)).unwrap();
    assert_eq!((&run.selection[..], run.caller, run.counts.in_doubt), (&["clean".to_owned()][..], None, 6));
    check(&run, &format!("03 {second} 00"));
}

#[test]
fn the_caller_of_older_values_is_a_word_of_their_selection() {
    let word = format!("45 '--traceparent={CALLER}'");
    let asked = format!("03 05 'clean' {word} 03 '--x'");
    let second = format!(
        "07 'flights' 06 'p.toml' 03*32 00 02 04 00 01 01 02 ac02 04 05 {asked} 02 01 00 00 00 04 'boot' ac02 e724 05 \
        '0.1.0' 8001 06"
    );
    let run = RunRecord::read(2, &bytes(&second)).unwrap();
    assert_eq!(
        (&run.selection[..], run.caller),
        (&["clean".to_owned(), "--x".to_owned()][..], CALLER.parse().ok())
    );
    let ticket = format!("01 'p' 06 'p.toml' 01*32 00 {asked} 00 01 00 00 02 00 00 00 00 08 00 00 00 00 00");
    let ticket = Ticket::read(1, &bytes(&ticket)).unwrap();
    assert_eq!((ticket.selection.len(), ticket.caller), (2, CALLER.parse().ok()));
    // As before, what cannot be read counts as none.
    let unread =
        second.replace(&word, &format!("45 '--traceparent={}'", CALLER.to_uppercase().replace("00-", "zz-")));
    let run = RunRecord::read(2, &bytes(&unread)).unwrap();
    assert_eq!((run.selection.len(), run.caller), (2, None));
}

#[test]
fn a_run_of_the_first_version_has_none_in_doubt() {
    let first = "07 'flights' 06 'p.toml' 03*32 00 02 04 00 01 01 02 ac02 04 05 00 02 01 00 00 00 04 'boot' ac02 e724 05 \
        '0.1.0' 8001";
    let run = RunRecord::read(1, &bytes(first)).unwrap();
    assert_eq!((run.counts.blocked, run.counts.in_doubt, run.saved_ms), (5, 0, 128));
}

#[test]
fn golden_effect() {
    let effect = Effect {
        state: EffectState::Confirmed,
        mode: EffectMode::ExactlyOnce,
        instance: of_matrix(),
        attempts: 300,
        input_hash: hash(5),
        run: RunId::from_bytes([9; 16]),
        intended: Timestamp(1),
        settled: Some(Timestamp(2)),
        probe: Some("3".to_owned()),
        error: None,
        undo: Some(Command::Argv(vec!["undo".to_owned()])),
        drifted: None,
        asked: None,
    };
    let tail = "02 04 'grid' 01 04 'UA,1' ac02 05*32 09*16 02 01 04 01 01 '3' 00";
    check(&effect, &format!("02 01 {tail} 01 01 01 04 'undo' 00 00"));
    // As version 1 had it.
    reads_as(&effect, &format!("01 01 {tail} 01 01 01 04 'undo'"));
    let drifted = Effect { drifted: Some("how".to_owned()), asked: Some(Timestamp(3)), ..effect.clone() };
    check(&drifted, &format!("02 01 {tail} 01 01 01 04 'undo' 01 03 'how' 01 06"));
    assert_eq!((effect.word(), drifted.word()), ("CONFIRMED", "DRIFTED"));
    assert_eq!((effect.looked_at(), drifted.looked_at()), (Timestamp(2), Timestamp(3)));
    for (number, state) in EffectState::ALL.into_iter().enumerate() {
        let undo = Some(Command::Shell { shell: vec!["sh".to_owned()], script: "u".to_owned() });
        let effect = Effect { state, undo, ..effect.clone() };
        check(&effect, &format!("02 0{number} {tail} 01 00 01 02 'sh' 01 'u' 00 00"));
    }
    let tail = tail.split_once(' ').unwrap().1;
    for (number, mode) in EffectMode::ALL.into_iter().enumerate() {
        let effect = Effect { mode, undo: None, ..effect.clone() };
        check(&effect, &format!("02 01 0{number} {tail} 00 00 00"));
    }
}

#[test]
fn golden_attempt() {
    let attempt = Attempt {
        input_hash: hash(5),
        epoch: 7,
        started: Timestamp(64),
        process: process(),
        folder: "staging/x".to_owned(),
        token: "t".to_owned(),
        in_project: vec!["out".to_owned()],
    };
    check(&attempt, "01 05*32 07 8001 04 'boot' ac02 e724 09 'staging/x' 01 't' 01 03 'out'");
}

#[test]
fn golden_file_row_and_placed() {
    let stored_stamp = format!("e807 {} 03 a48302", zigzag(1_700_000_000_000_000_001));
    check(&FileRow { stamp: stamp(), digest: digest(6) }, &format!("01 {stored_stamp} 06*32"));
    let placed = Placed {
        content_digest: digest(1),
        pipeline: "p".parse().unwrap(),
        instance: alone(),
        input_hash: hash(4),
    };
    let rest = "01 'p' 05 'clean' 00 04*32";
    check(&placed, &format!("01 01*32 00 {rest}"));
    // A file's identity and stamp may stand where now is 00, and are passed over.
    let with_file = bytes(&format!("01*32 01 02 ac02 {stored_stamp} {rest}"));
    assert_eq!(Placed::read(1, &with_file).unwrap(), placed);
}

/// Signed numbers are doubled, below zero less one, so that small ones are short; then seven bits a byte.
fn zigzag(number: i64) -> String {
    let mut number = u64::try_from(number).unwrap() * 2;
    let mut bytes = Vec::new();
    while number > 127 {
        bytes.push((number & 127) as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
    hexadecimal(&bytes)
}

#[test]
fn golden_small_ones() {
    check(&Format { version: 300 }, "01 ac02");
    let tallies = std::array::from_fn(|number| number as u64);
    check(
        &Head { sequence: 300, chain: digest(8), tallies },
        "01 ac02 08*32 16 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 14 15",
    );
    check(&History { hashes: vec![hash(2), hash(1)] }, "01 02 02*32 01*32");
    check(&Duration { mean_ms: 300 }, "01 ac02");
    check(&Blob(b"[stages]".to_vec()), "01 '[stages]'");
}

#[test]
fn golden_of_the_daemon() {
    let ticket = Ticket {
        pipeline: "p".parse().unwrap(),
        file: "p.toml".to_owned(),
        definition: digest(1),
        params: vec![("a".to_owned(), "b".to_owned())],
        selection: vec!["--only=s".to_owned()],
        options: RunOptions { jobs: 0, keep_going: true, frozen: false, force: Force::Nothing },
        caller: Some(CALLER.parse().unwrap()),
        logical_time: Timestamp(1),
        interval: Some(Interval { start: Timestamp(2), end: Timestamp(3) }),
        priority: -1,
        trigger: Trigger { kind: TriggerKind::Sensor, detail: "f".to_owned() },
        submitted: Timestamp(4),
        not_before: None,
        retries: 2,
        stage: TicketStage::Running,
        error: Some("e".to_owned()),
        cancel: Some("c".to_owned()),
    };
    let asked = "01 01 'a' 01 'b' 01 08 '--only=s' 00 01 00 00";
    check(
        &ticket,
        &format!(
            "02 01 'p' 06 'p.toml' 01*32 {asked} 02 01 04 06 01 03 01 'f' 08 00 02 01 01 01 'e' 01 01 'c' {CALLER_BYTES}"
        ),
    );
    let run = RunId::from_bytes([9; 16]);
    let interval = Interval { start: Timestamp(1), end: Timestamp(2) };
    let occurrence = Occurrence { decided: Timestamp(3), interval, fate: Fate::Run(run) };
    check(&occurrence, "01 06 02 04 00 09*16");
    let dropped = Occurrence { fate: Fate::Dropped("late".to_owned()), ..occurrence };
    check(&dropped, "01 06 02 04 01 04 'late'");
    let state = ScheduleState {
        paused: Some((Timestamp(1), "w".to_owned())),
        failures: 300,
        decided_until: Some(Timestamp(2)),
        seen: [("f".to_owned(), digest(7))].into(),
    };
    check(&state, "01 01 02 01 'w' ac02 01 04 01 01 'f' 07*32");
    check(&Submission { fingerprint: digest(1), run, at: Timestamp(1) }, "01 01*32 09*16 02");
    let message = Message {
        to: Recipient::Lineage,
        key: "k".to_owned(),
        body: b"{}".to_vec(),
        made: Timestamp(1),
        tries: 3,
        not_before: Timestamp(2),
        error: Some("e".to_owned()),
    };
    check(&message, "01 02 01 'k' 02 '{}' 02 03 04 01 01 'e'");
    let message = Message { to: Recipient::Mail, error: None, ..message };
    check(&message, "01 03 01 'k' 02 '{}' 02 03 04 00");
}

#[test]
fn golden_dead_letter() {
    let letter = DeadLetter {
        kind: DeadKind::Rejected,
        pipeline: "p".parse().unwrap(),
        instance: alone(),
        key: "7".to_owned(),
        payload: b"{}".to_vec(),
        digest: digest(1),
        source: Some(("a.jsonl".to_owned(), 300)),
        class: "rejected".to_owned(),
        error: "no id".to_owned(),
        attempts: vec![(Timestamp(1), "e".to_owned())],
        input_hash: Some(hash(2)),
        run: RunId::from_bytes([9; 16]),
        idempotency_key: "k".to_owned(),
        died: Timestamp(2),
        retry: Some(Retry { payload: Some(b"[]".to_vec()), asked: Timestamp(3) }),
        edited: Some(b"[1]".to_vec()),
        retries: 300,
    };
    let head = "01 'p' 05 'clean' 00 01 '7' 02 '{}' 01*32";
    let middle = "08 'rejected' 05 'no_id' 01 02 01 'e'";
    check(
        &letter,
        &format!("02 01 {head} 01 07 'a.jsonl' ac02 {middle} 01 02*32 09*16 01 'k' 04 01 01 02 '[]' 06 01 03 '[1]' ac02")
            .replace("'no_id'", "6e6f206964"),
    );
    for (number, kind) in DeadKind::ALL.into_iter().enumerate() {
        let bare = DeadLetter {
            kind,
            source: None,
            input_hash: None,
            retry: None,
            edited: None,
            retries: 0,
            ..letter.clone()
        };
        let expect =
            format!("0{number} {head} 00 {middle} 00 09*16 01 'k' 04 00").replace("'no_id'", "6e6f206964");
        check(&bare, &format!("02 {expect} 00 00"));
        // As version 1 had it.
        reads_as(&bare, &format!("01 {expect}"));
    }
}

#[test]
fn golden_notes() {
    let run = Some(RunId::from_bytes([9; 16]));
    let once = Once { key: "k".to_owned(), done: true, at: Timestamp(1), run, starts: 300 };
    check(&once, "01 01 'k' 01 02 01 09*16 ac02");
    check(&Once { done: false, run: None, ..once }, "01 01 'k' 00 02 00 ac02");
    check(&Mark { value: "88".to_owned(), at: Timestamp(-1) }, "01 02 '88' 01");
    check(&Seen(Generation([7; 16])), "01 07*16");
    check(&Settled { at: Timestamp(1) }, "01 02");
}

#[test]
fn golden_events() {
    let check =
        |what: RunEvent, expect: &str| check(&Event { at: Timestamp(-1), what }, &format!("01 01 {expect}"));
    check(RunEvent::Started { instances: 3, resumed: true }, "00 03 01");
    check(RunEvent::Ended { status: RunStatus::Frozen }, "02 04");
    let check = |event: InstanceEvent, expect: &str| {
        let what = RunEvent::Instance { instance: alone(), event };
        check(what, &format!("01 05 'clean' 00 {expect}"));
    };
    check(
        InstanceEvent::CheckpointFound {
            input_hash: hash(1),
            restored: vec!["a".to_owned()],
            trashed: vec!["t".to_owned()],
            saved_ms: 9,
        },
        "00 01*32 01 01 'a' 01 01 't' 09",
    );
    check(
        InstanceEvent::AttemptFailed { attempt: 1, error: "exit 1".to_owned(), retry_at: Timestamp(2) },
        "02 01 06 'exit' 20 '1' 04",
    );
    check(InstanceEvent::Committed { attempt: 2, input_hash: hash(1), took_ms: 3 }, "03 02 01*32 03 00");
    check(InstanceEvent::Trashed { attempt: 2, paths: vec!["t".to_owned()] }, "06 02 01 01 't'");
    check(
        InstanceEvent::NotPlaced { attempt: 2, error: "e".to_owned(), help: Some("h".to_owned()) },
        "07 02 01 'e' 01 01 'h'",
    );
    check(
        InstanceEvent::Failed { attempts: 2, error: "e".to_owned(), help: Some("h".to_owned()) },
        "04 02 01 'e' 01 01 'h'",
    );
    check(InstanceEvent::Failed { attempts: 0, error: String::new(), help: None }, "04 00 00 00");
    check(
        InstanceEvent::InDoubt { attempts: 1, error: "e".to_owned(), help: Some("h".to_owned()) },
        "08 01 01 'e' 01 01 'h'",
    );
    check(
        InstanceEvent::EffectStands {
            input_hash: hash(1),
            key: "k".to_owned(),
            restored: vec!["a".to_owned()],
            trashed: Vec::new(),
            saved_ms: 9,
        },
        "0a 01*32 01 'k' 01 01 'a' 00 09",
    );
    check(InstanceEvent::Undone { key: "k".to_owned(), error: None }, "09 01 'k' 00");
    let blockers = [
        (Blocker::Failed("s".to_owned()), "00 01 's'"),
        (Blocker::Stopping("s".to_owned()), "01 01 's'"),
        (Blocker::Interrupted, "02"),
        (Blocker::Frozen(Reason::Forced), "03 02"),
        (Blocker::BehindFrozen("s".to_owned()), "04 01 's'"),
        (Blocker::InDoubt("s".to_owned()), "05 01 's'"),
    ];
    for (by, expect) in blockers {
        check(InstanceEvent::Blocked { by }, &format!("05 {expect}"));
    }
    let reasons = [
        (Reason::First, "00"),
        (Reason::Changed(vec!["x".to_owned()]), "01 01 01 'x'"),
        (Reason::Forced, "02"),
        (Reason::CacheOff, "03"),
        (Reason::Expired { age_ms: 5, ttl_ms: 4 }, "04 05 04"),
        (Reason::ContentLost("p".to_owned()), "05 01 'p'"),
        (Reason::WeakerIsolation("off".to_owned()), "06 03 'off'"),
        (Reason::Again("w".to_owned()), "07 01 'w'"),
        (Reason::Failed("e".to_owned()), "08 01 'e'"),
        (Reason::Drifted("d".to_owned()), "09 01 'd'"),
        (Reason::Effect("x".to_owned()), "0a 01 'x'"),
    ];
    for (reason, expect) in reasons {
        let event = InstanceEvent::AttemptStarted { attempt: 1, input_hash: hash(1), reason };
        check(event, &format!("01 01 01*32 {expect}"));
    }
}

#[test]
fn a_sealed_value_is_golden_too() {
    let value = seal(Family::Durations, b"key", &Duration { mean_ms: 300 });
    assert_eq!(hexadecimal(&value), "01ac02d05cc9ae563170d1");
}

#[test]
fn no_flip_cut_or_move_gives_another_value() {
    let (family, key) = (Family::Attempts, b"key");
    let attempt = Attempt {
        input_hash: hash(5),
        epoch: 7,
        started: Timestamp(64),
        process: process(),
        folder: "staging/x".to_owned(),
        token: "t".to_owned(),
        in_project: Vec::new(),
    };
    let value = seal(family, key, &attempt);
    assert_eq!(open(family, key, &value), Ok(attempt));
    for at in 0..value.len() {
        for bit in 0..8 {
            let mut damaged = value.clone();
            damaged[at] ^= 1 << bit;
            assert_eq!(open::<Attempt>(family, key, &damaged), Err(Damage::Checksum), "byte {at}, bit {bit}");
        }
        let cut = open::<Attempt>(family, key, &value[..at]);
        assert!(matches!(cut, Err(Damage::Checksum | Damage::Short { .. })), "cut at {at}");
    }
    assert_eq!(open::<Attempt>(family, b"another", &value), Err(Damage::Checksum));
    assert_eq!(open::<Attempt>(Family::Runs, key, &value), Err(Damage::Checksum));
    // A body of another type under the right checksum, as a bug would write it.
    let longer = seal_body(family, key, 1, &[value[1..value.len() - 8].to_vec(), vec![0]].concat());
    assert_eq!(open::<Attempt>(family, key, &longer), Err(Damage::Body { what: "bytes are left over" }));
    let later = seal_body(family, key, 2, b"");
    assert_eq!(open::<Attempt>(family, key, &later), Err(Damage::Version { version: 2 }));
}

#[test]
fn a_head_of_a_format_with_fewer_families_counts_none_in_the_others() {
    let stored = v1_head_with_tallies(3);
    let head = <Head as Record>::read(1, &stored).unwrap();
    assert_eq!(head.tallies[..4], [7, 7, 7, 0]);
    assert!(<Head as Record>::read(1, &v1_head_with_tallies(Family::ALL.len() + 1)).is_err());
}

/// A head as postcard writes it: sequence 1, a chain of zeros, and so many tallies of 7.
fn v1_head_with_tallies(count: usize) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend([0; 32]);
    bytes.push(u8::try_from(count).unwrap());
    bytes.extend(vec![7; count]);
    bytes
}
