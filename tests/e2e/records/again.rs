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
    let keys = if mode == "append" { "version = \"v\"" } else { "version = \"v\"\ntombstone = \"gone\"" };
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
