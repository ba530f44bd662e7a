//! A table that is right stays as it is, row by row and byte by byte, however often it is loaded.

use super::*;

/// Has the table count from now on what is done to its rows.
fn watch(project: &Project) {
    let sql = ["INSERT", "UPDATE", "DELETE"].map(|what| {
        format!(
            "CREATE TRIGGER watch_{what} AFTER {what} ON t BEGIN INSERT INTO written VALUES ('{what}'); END;"
        )
    });
    let connection = Connection::open(project.file("t.db")).unwrap();
    connection.execute_batch(&format!("CREATE TABLE written (what);{}", sql.concat())).unwrap();
    // All of it in the file, nothing in a log beside it.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

#[track_caller]
fn nothing_was_written(project: &Project) {
    assert_eq!(rows_of(project, "SELECT what, count(*) FROM written GROUP BY what"), "");
}

const SOURCE: &str = "{\"id\":1,\"v\":2,\"x\":\"a\"}\n{\"id\":2,\"v\":1,\"gone\":true}\n{\"id\":3,\"v\":1,\"x\":\"c\"}\n\
    {\"id\":1,\"v\":1,\"x\":\"late\"}\n{\"id\":3,\"v\":1,\"x\":\"c\"}\n";

/// A load of [`SOURCE`] in `mode`, with a worker or without.
fn loaded(mode: &str, worker: bool) -> Project {
    let project = Project::new(BINARY);
    let keys = if mode == "upsert" { "version = \"v\"\ntombstone = \"gone\"" } else { "version = \"v\"" };
    if worker {
        with_worker(&project, keys, "answer(request, record={**record, 'y': 1})");
    } else {
        project.write("pipeline.toml", to_sqlite(&format!("{KEYED}\n{keys}")));
    }
    let text = project.read("pipeline.toml");
    project
        .write("pipeline.toml", text.replace("table = \"t\"", &format!("table = \"t\", mode = \"{mode}\"")));
    project.write("in/a.jsonl", SOURCE);
    load(&project);
    project
}

#[test]
fn a_forced_load_over_a_table_that_is_right_changes_nothing_and_neither_does_the_next() {
    for mode in ["upsert", "insert", "append"] {
        for worker in [false, true] {
            let project = loaded(mode, worker);
            watch(&project);
            let (before, listed) = (project.snapshot(), rows(&project));
            for _ in 0..2 {
                let forced = counts(&project.cairn(&["run", "--json", "--force"]).expect(0));
                assert!(!forced.contains("new") && !forced.contains("changed"), "{mode}, {worker}: {forced}");
                assert_eq!(project.snapshot(), before, "{mode}, {worker}: not a byte of the database");
                assert_eq!(run(&project, &[]), "load=FRESH");
                assert_eq!(project.snapshot(), before, "{mode}, {worker}");
            }
            nothing_was_written(&project);
            assert_eq!(rows(&project), listed);
        }
    }
}

/// Where cairn itself has forgotten what it delivered, everything is delivered anew, and no row is written again.
#[test]
fn a_load_that_begins_anew_over_a_table_that_is_right_writes_no_row() {
    for mode in ["upsert", "insert"] {
        for worker in [false, true] {
            let project = loaded(mode, worker);
            watch(&project);
            let listed = rows(&project);
            std::fs::remove_dir_all(project.file(".cairn")).unwrap();
            assert!(load(&project).starts_with("new=3"), "{mode}, {worker}");
            nothing_was_written(&project);
            assert_eq!(rows(&project), listed);
            assert_eq!(run(&project, &[]), "load=FRESH");
            let before = project.snapshot();
            assert!(counts(&project.cairn(&["run", "--json", "--force"]).expect(0)).starts_with("same="));
            assert_eq!(project.snapshot(), before, "{mode}, {worker}");
        }
    }
}

/// A snapshot whose versions are coarse: what was corrected under its old version is not lost, wherever its line is by now.
#[test]
fn what_was_corrected_under_its_old_version_counts_and_of_a_file_that_is_gone_the_later_place() {
    let project = project(VERSIONED, "{\"id\":1,\"v\":1}\n{\"id\":2,\"v\":1,\"x\":\"old\"}\n");
    project.write("in/b.jsonl", "{\"id\":3,\"v\":1,\"x\":\"b\"}\n");
    assert_eq!(load(&project), "new=3");
    project.write("in/a.jsonl", "{\"id\":2,\"v\":1,\"x\":\"corrected\"}\n");
    assert_eq!(load(&project), "changed=1 same=1");
    assert_eq!(rows_of(&project, "SELECT x FROM t WHERE id = 2"), "corrected");
    assert_eq!(counts(&project.cairn(&["run", "--json", "--force"]).expect(0)), "same=2");
    // Which of two files that were never there together came first is of no account.
    std::fs::remove_file(project.file("in/b.jsonl")).unwrap();
    project.write("in/a.jsonl", "{\"id\":3,\"v\":1,\"x\":\"a\"}\n");
    assert_eq!(load(&project), "late=1");
    // One that was renamed is where it is now.
    std::fs::remove_file(project.file("in/a.jsonl")).unwrap();
    project.write("in/0.jsonl", "{\"id\":3,\"v\":1,\"x\":\"b\"}\n");
    assert_eq!(load(&project), "same=1");
    project.write("in/0.jsonl", "{\"id\":3,\"v\":1,\"x\":\"0\"}\n");
    assert_eq!(load(&project), "changed=1");
    std::fs::remove_file(project.file("in/0.jsonl")).unwrap();
    project.write("in/c.jsonl", "{\"id\":3,\"v\":1,\"x\":\"c\"}\n");
    assert_eq!(load(&project), "changed=1");
}

#[test]
fn the_empty_text_is_a_key_like_others() {
    let project = Project::new(BINARY);
    with_worker(
        &project,
        "",
        "if record['x'] == 'bad': answer(request, error='no', retry=False)\nelse: answer(request, record=record)",
    );
    project.write("in/a.jsonl", "{\"id\":\"\",\"x\":\"bad\"}\n");
    assert_eq!(load(&project), "dead=1");
    assert_eq!(text(&dead(&project)[0], "key"), "\"\"");
    let again = project.cairn(&["run", "--json", "--force"]).expect(0);
    assert_eq!(counts(&again), "dead=1", "it is dead, not dropped");
    project.write("in/a.jsonl", "{\"id\":\"\",\"x\":\"good\"}\n");
    assert_eq!(load(&project), "new=1");
    assert!(dead(&project).is_empty(), "it was mended in the source");
}

#[test]
fn what_was_edited_in_append_mode_stands_for_what_it_was() {
    let mut project = Project::new(BINARY);
    with_worker(
        &project,
        "",
        "if record['x'] == 'bad': answer(request, error='no', retry=False)\nelse: answer(request, record=record)",
    );
    let text = project.read("pipeline.toml").replace("table = \"t\"", "table = \"t\", mode = \"append\"");
    project.write("pipeline.toml", text);
    project.write("in/a.jsonl", "{\"id\":1,\"x\":\"bad\"}\n{\"id\":1,\"x\":\"good\"}\n");
    assert_eq!(load(&project), "new=1 dead=1");
    project.write("editor", "#!/bin/sh\nsed -i s/bad/better/ \"$1\"\n");
    let editor = format!("sh {}", project.file("editor").display());
    project.set_env("EDITOR", &editor);
    project.cairn(&["dead", "retry", "--stage", "load", "--edit"]).expect(0);
    let said = load(&project);
    assert!(!said.contains("dead") && said.contains("new=1"), "{said}");
    assert_eq!(rows_of(&project, "SELECT x FROM t ORDER BY x"), "better good");
    // What it was before is known as delivered.
    assert_eq!(counts(&project.cairn(&["run", "--json", "--force"]).expect(0)), "same=2");
    assert_eq!(rows_of(&project, "SELECT count(*) FROM t"), "2");
}

/// What no table can have as a column is one record's fault, not the load's.
#[test]
fn a_field_that_can_be_no_column_is_a_dead_letter_when_the_table_is_made_too() {
    let project = project(KEYED, "{\"id\":1,\"a\\u0000b\":1}\n{\"id\":2,\"x\":1}\n");
    assert_eq!(load(&project), "new=1 dead=1");
    let said = errors(&project);
    assert!(said.contains("a\\0b") || said.contains("\\u{0}"), "{said:?}");
    assert!(!said.contains('\0'), "{said:?}");
    assert_eq!(rows(&project), "2|1");
}
