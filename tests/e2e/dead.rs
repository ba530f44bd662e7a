//! `cairn dead`: what failed for good, looked at, tried again, dropped.

use std::os::unix::fs::PermissionsExt;

use cairn_model::{RunId, SystemClock, Timestamp};
use cairn_store::{Access, Batch, DeadKind, DeadLetter, DeadOf, Durability, Store};
use cairn_testkit::Project;
use serde_json::Value;

use super::{BINARY, run};

const PIPELINE: &str = "[pipeline]\nname = \"p\"\n[stages.load]\nrun = \"test -e in && exit 0; echo broken >&2; exit 3\"\n\
    inputs = [{ path = \"in\", optional = true }]\nretries = { attempts = 2, delay = \"1ms\" }\n[stages.other]\nrun = \"true\"\n";

fn open(project: &Project, access: Access) -> Store {
    Store::open(&project.file(".cairn"), access, &SystemClock).unwrap()
}

/// Enters dead records as a records stage does: `(stage, key, record, error, days)`.
fn enter(project: &Project, letters: &[(&str, &str, &str, &str, i64)]) {
    let store = open(project, Access::Write);
    let mut batch = Batch::new();
    for (stage, key, payload, error, days) in letters {
        let died = Timestamp(cairn_model::Clock::now(&SystemClock).0 - days * 86_400_000);
        batch.put_dead(&DeadLetter {
            kind: DeadKind::Record,
            pipeline: "p".parse().unwrap(),
            instance: cairn_model::InstanceName::new(stage.parse().unwrap(), None),
            key: (*key).to_owned(),
            payload: payload.as_bytes().to_vec(),
            digest: DeadLetter::digest_of(payload.as_bytes()),
            source: Some(("orders/1.jsonl".to_owned(), 7)),
            class: "worker".to_owned(),
            error: (*error).to_owned(),
            attempts: vec![(died, (*error).to_owned())],
            input_hash: None,
            run: RunId::from_bytes([0; 16]),
            idempotency_key: format!("idempotency-{key}"),
            died,
            retry: None,
            edited: None,
            retries: 0,
        });
    }
    let _ = store.commit(batch, Durability::Synced).unwrap();
    store.close().unwrap();
}

/// A project that ran well, with three dead records.
fn with_records() -> Project {
    let project = Project::with_pipeline(BINARY, PIPELINE);
    project.write("in", "");
    project.cairn(&["run"]).expect(0);
    enter(
        &project,
        &[
            ("load", "a", "{\"id\": \"a\"}", "timed out", 10),
            ("load", "b", "{\"id\":\"b\",\"n\":1}", "no such customer", 1),
            ("other", "a", "not json", "Timeout", 0),
        ],
    );
    project
}

#[track_caller]
fn list(project: &Project, options: &[&str]) -> Vec<Value> {
    let options: Vec<&str> = ["dead", "list", "--json"].iter().chain(options).copied().collect();
    let outcome = project.cairn(&options).expect(0);
    outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn keys(letters: &[Value]) -> String {
    let shown = letters.iter().map(|letter| format!("{}:{}", text(letter, "stage"), text(letter, "key")));
    shown.collect::<Vec<_>>().join(" ")
}

fn text<'a>(letter: &'a Value, name: &str) -> &'a str {
    letter[name].as_str().unwrap()
}

fn stored(project: &Project) -> Vec<DeadLetter> {
    open(project, Access::Read).dead(DeadOf::default()).map(Result::unwrap).collect()
}

#[test]
fn an_instance_that_failed_for_good_is_one_dead_letter_until_it_succeeds() {
    let project = Project::with_pipeline(BINARY, PIPELINE);
    project.cairn(&["dead", "list"]).expect(0);
    for _ in 0..2 {
        assert!(run(&project, &["-k"]).contains("load=FAILED"));
        let dead = list(&project, &[]);
        assert_eq!(dead.len(), 1);
        assert_eq!((text(&dead[0], "kind"), text(&dead[0], "instance")), ("instance", "load"));
        assert_eq!((text(&dead[0], "class"), text(&dead[0], "error")), ("exit-status", "exit status 3"));
        assert_eq!(dead[0]["attempts"].as_array().unwrap().len(), 2);
        assert_eq!(text(&dead[0], "input_hash"), text(&dead[0], "idempotency_key"));
    }
    // It stands among what failed, and is not told twice.
    let status = project.cairn(&["status"]).expect(3);
    assert!(!status.stdout.contains("dead:"), "{}", status.shown());
    project.cairn(&["run", "other"]).expect(0);
    let status = project.cairn(&["status"]).expect(3);
    assert!(status.stdout.contains("dead: 1 dead letter (1 instance)"), "{}", status.shown());

    let id = text(&list(&project, &[])[0], "id").to_owned();
    let retried = project.cairn(&["dead", "retry", &id]).expect(0);
    assert!(retried.stdout.contains("`cairn run pipeline.toml load` runs it again"), "{}", retried.shown());
    project.write("in", "");
    project.cairn(&["run", "pipeline.toml", "load"]).expect(0);
    assert!(list(&project, &[]).is_empty());
}

#[test]
fn an_instance_whose_old_result_fits_again_is_dead_no_more() {
    let project = Project::with_pipeline(BINARY, PIPELINE);
    project.write("in", "");
    project.cairn(&["run"]).expect(0);
    project.remove("in");
    project.cairn(&["run", "-k"]).expect(1);
    assert_eq!(list(&project, &[]).len(), 1);
    project.write("in", "");
    assert_eq!(run(&project, &[]), "load=FRESH other=FRESH");
    assert!(list(&project, &[]).is_empty());
}

#[test]
fn they_are_listed_by_stage_key_error_and_age() {
    let project = with_records();
    let check = |options: &[&str], expect: &str| assert_eq!(keys(&list(&project, options)), expect);
    check(&[], "load:a load:b other:a");
    check(&["--stage", "load"], "load:a load:b");
    check(&["--stage", "nothing"], "");
    check(&["--key", "a"], "load:a other:a");
    check(&["--error", "timeout"], "other:a");
    check(&["--error", "TIMED"], "load:a");
    check(&["--error", "worker"], "load:a load:b other:a");
    check(&["--older-than", "2d"], "load:a");
    check(&["--older-than", "12h", "--stage", "load", "--key", "b"], "load:b");
    check(&["--pipeline", "another"], "");
    project.cairn(&["dead", "list", "--older-than", "2 weeks"]).expect(2);
    let shown = project.cairn(&["dead", "list"]).expect(0).stdout;
    for word in ["ID", "record", "load", "no such customer", "10 d"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    assert_eq!(shown.lines().count(), 4);
}

#[test]
fn they_are_exported_whole_or_as_records() {
    let project = with_records();
    project.cairn(&["dead", "list", "--output", "dead.jsonl"]).expect(0);
    assert_eq!(project.read("dead.jsonl"), project.cairn(&["dead", "list", "--jsonl"]).expect(0).stdout);
    project.cairn(&["dead", "list", "--records", "--stage", "load", "--output", "records"]).expect(0);
    assert_eq!(project.read("records"), "{\"id\": \"a\"}\n{\"id\":\"b\",\"n\":1}\n");
    let letter = &list(&project, &["--key", "b"])[0];
    assert_eq!(text(letter, "payload"), "{\"id\":\"b\",\"n\":1}");
    assert_eq!((text(letter, "source"), letter["line"].as_u64()), ("orders/1.jsonl", Some(7)));
    project.cairn(&["dead", "list", "--output", "no/such/folder"]).expect(1);
}

#[test]
fn one_is_shown_with_all_that_is_kept_of_it() {
    let project = with_records();
    let id = text(&list(&project, &["--key", "b"])[0], "id").to_owned();
    let shown = project.cairn(&["dead", "show", &id[..8]]).expect(0).stdout;
    for word in [&*id, "no such customer", "orders/1.jsonl, line 7", "idempotency-b", "\"n\": 1", "attempts"]
    {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    let json: Value =
        serde_json::from_str(&project.cairn(&["dead", "show", &id, "--json"]).expect(0).stdout).unwrap();
    assert_eq!(json["schema"], "cairn.dead/1");
    let unknown = project.cairn(&["dead", "show", "zz"]).expect(2);
    assert!(unknown.stderr.contains("cairn dead list"), "{}", unknown.shown());
}

#[test]
fn a_record_that_is_retried_is_marked_for_the_next_run() {
    let project = with_records();
    project.cairn(&["dead", "retry"]).expect(2);
    project.cairn(&["dead", "retry", "--error", "nothing of the kind"]).expect(0);
    assert!(stored(&project).iter().all(|letter| letter.retry.is_none()));
    let retried = project.cairn(&["dead", "retry", "--stage", "load"]).expect(0);
    assert_eq!(retried.stdout, "the next run takes 2 records in again\n");
    let marked = stored(&project);
    for letter in &marked {
        assert_eq!(letter.retry.is_some(), letter.instance.stage().as_str() == "load");
        assert_eq!(letter.payload_to_retry(), letter.payload);
    }
    // The idempotency key is that of before; the mark is shown.
    assert!(marked.iter().any(|letter| letter.idempotency_key == "idempotency-a"));
    let shown = project.cairn(&["dead", "list"]).expect(0).stdout;
    assert_eq!(shown.matches("retry").count(), 2, "{shown}");
    let json = project.cairn(&["dead", "retry", "--stage", "other", "--json"]).expect(0).stdout;
    assert!(json.contains("\"taken_in\":true"), "{json}");
}

#[test]
fn a_record_is_edited_before_it_is_retried() {
    let mut project = with_records();
    let editor = |script: &str| {
        project.write("editor", format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(project.file("editor"), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    editor("grep -q '\"n\": 1' \"$2\" && sed -i 's/\"n\": 1/\"n\": 2/' \"$2\"");
    let path = project.file("editor").display().to_string();
    project.set_env("EDITOR", &format!("'{path}' --wait"));
    project.set_env("TMPDIR", &project.path().display().to_string());
    let edit = ["dead", "retry", "--key", "b", "--edit"];
    project.cairn(&edit).expect(0);
    let of_b = || stored(&project).into_iter().find(|letter| letter.key == "b").unwrap();
    assert_eq!(of_b().payload_to_retry(), b"{\"id\":\"b\",\"n\":2}");
    assert_eq!(of_b().payload, b"{\"id\":\"b\",\"n\":1}", "as it came");

    let editor = |script: &str| project.write("editor", format!("#!/bin/sh\n{script}\n"));
    editor("echo '{\"id\":' > \"$2\"");
    let refused = project.cairn(&edit).expect(1);
    assert!(refused.stderr.contains("not one JSON object"), "{}", refused.shown());
    let kept = std::fs::read_dir(project.path()).unwrap().flatten();
    let kept: Vec<_> =
        kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("cairn-")).collect();
    assert_eq!(kept.len(), 1, "the text is kept");
    assert_eq!(std::fs::read_to_string(kept[0].path()).unwrap(), "{\"id\":\n");
    assert_eq!(of_b().payload_to_retry(), b"{\"id\":\"b\",\"n\":2}", "nothing changed");
    for text in ["[1]", "7", "{} {}"] {
        editor(&format!("echo '{text}' > \"$2\""));
        let refused = project.cairn(&edit).expect(1);
        assert!(refused.stderr.contains("not one JSON object"), "{}", refused.shown());
    }
    editor("exit 1");
    project.cairn(&edit).expect(1);
}

#[test]
fn they_are_kept_until_they_are_dropped_and_counted_meanwhile() {
    let project = with_records();
    let status = project.cairn(&["status"]);
    assert!(
        status.stdout.contains("dead: 3 dead letters (3 records); `cairn dead list`"),
        "{}",
        status.shown()
    );
    let status: Value = serde_json::from_str(&project.cairn(&["status", "--json"]).stdout).unwrap();
    assert_eq!(status["dead"]["records"], 3);
    project.cairn(&["run", "--fail-on-dead"]).expect(1);
    let ended = project.cairn(&["run", "--force"]).expect(0);
    assert!(ended.stderr.contains("dead: 3 dead letters"), "{}", ended.shown());
    let ended = project.cairn(&["run", "--json"]).expect(0);
    assert!(ended.stdout.lines().last().unwrap().contains("cairn.dead_counts/1"), "{}", ended.shown());

    project.cairn(&["dead", "drop"]).expect(2);
    project.cairn(&["dead", "drop", "--older-than", "2d"]).expect(0);
    assert_eq!(keys(&list(&project, &[])), "load:b other:a");
    let id = text(&list(&project, &["--key", "b"])[0], "id").to_owned();
    project.cairn(&["dead", "drop", &id[..8], "--json"]).expect(0);
    assert_eq!(keys(&list(&project, &[])), "other:a");
    project.cairn(&["dead", "drop", &id[..8]]).expect(2);
    project.cairn(&["dead", "drop", "--stage", "other"]).expect(0);
    assert!(list(&project, &[]).is_empty());
    project.cairn(&["run", "--fail-on-dead"]).expect(0);
}
