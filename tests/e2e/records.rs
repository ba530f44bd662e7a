//! I5: each version of each key reaches the sinks once; what is not new costs nothing.

use std::io::Write as _;
use std::process::{Command, Stdio};

use cairn_testkit::{Outcome, PostgresServer, Project};
use rusqlite::Connection;
use serde_json::Value;

use super::{BINARY, run};

mod again;
mod folders;
mod kept;
mod workers;

/// A stage `load` from `in/*` into the table `t`, with more keys of `records`.
fn to_sqlite(keys: &str) -> String {
    format!(
        "[pipeline]\nname = \"p\"\n[stages.load.records]\nsource = \"in/*\"\n{keys}\n\
         sink = {{ type = \"sqlite\", path = \"t.db\", table = \"t\" }}\n"
    )
}

/// The same with a Python worker, whose answer to `request` is what `body` prints.
fn with_worker(project: &Project, keys: &str, body: &str) {
    let keys = format!("key = [\"id\"]\nworker = [\"python3\", \"worker.py\"]\n{keys}");
    let text = to_sqlite(&keys)
        .replace("[stages.load.records]", "[stages.load]\ninputs = [\"worker.py\"]\n[stages.load.records]");
    project.write("pipeline.toml", text);
    let body = format!("    {}\n", body.replace('\n', "\n    "));
    project.write(
        "worker.py",
        format!(
            "import json, os, signal, sys, time\n\
             def answer(request, **more): print(json.dumps({{\"key\": request[\"key\"], **more}}), flush=True)\n\
             for line in sys.stdin:\n    request = json.loads(line)\n    record = request[\"record\"]\n{body}"
        ),
    );
}

fn rows_of(project: &Project, sql: &str) -> String {
    let connection = Connection::open(project.file("t.db")).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let shown = statement.query_map([], |row| {
        let values = (0..width).map(|column| {
            Ok(match row.get_ref(column)? {
                rusqlite::types::ValueRef::Null => "-".to_owned(),
                rusqlite::types::ValueRef::Integer(value) => value.to_string(),
                rusqlite::types::ValueRef::Real(value) => value.to_string(),
                rusqlite::types::ValueRef::Text(text) | rusqlite::types::ValueRef::Blob(text) => {
                    String::from_utf8_lossy(text).into_owned()
                }
            })
        });
        Ok(values.collect::<Result<Vec<_>, rusqlite::Error>>()?.join("|"))
    });
    shown.unwrap().collect::<Result<Vec<_>, _>>().unwrap().join(" ")
}

fn rows(project: &Project) -> String {
    rows_of(project, "SELECT * FROM t ORDER BY 1")
}

/// The batches that the SQLite file was given.
fn batches(project: &Project) -> String {
    rows_of(project, "SELECT count(*), max(batch_seq) FROM cairn_ledger")
}

/// What became of the records, as far as there are any: `new=1 same=2`.
#[track_caller]
fn counts(outcome: &Outcome) -> String {
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut records = lines.filter(|line| line["type"] == "instance_records");
    let counts = records.next_back().unwrap_or_else(|| panic!("{}", outcome.shown()));
    let words = ["new", "changed", "same", "late", "dropped", "retrying", "dead"];
    let shown = words.iter().filter(|word| counts[word] != 0).map(|word| format!("{word}={}", counts[word]));
    shown.collect::<Vec<_>>().join(" ")
}

/// Runs well and returns the counts.
#[track_caller]
fn load(project: &Project) -> String {
    counts(&project.cairn(&["run", "--json"]).expect(0))
}

/// Runs in vain and returns what is said.
#[track_caller]
fn fails(project: &Project) -> String {
    project.cairn(&["run"]).expect(1).shown()
}

#[track_caller]
fn dead(project: &Project) -> Vec<Value> {
    let list = project.cairn(&["dead", "list", "--json"]).expect(0).stdout;
    list.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn errors(project: &Project) -> String {
    let mut errors: Vec<String> = dead(project)
        .iter()
        .map(|letter| format!("{}: {}", text(letter, "key"), text(letter, "error")))
        .collect();
    errors.sort_unstable();
    errors.join("\n")
}

fn text<'a>(letter: &'a Value, name: &str) -> &'a str {
    letter[name].as_str().unwrap_or_else(|| panic!("{name}: {letter}"))
}

fn project(keys: &str, lines: &str) -> Project {
    let project = Project::with_pipeline(BINARY, &to_sqlite(keys));
    project.write("in/a.jsonl", lines);
    project
}

/// So many records with one field, from 0.
fn numbered(field: &str, count: u32) -> String {
    (0..count).map(|number| format!("{{\"{field}\":{number}}}\n")).collect::<Vec<_>>().concat()
}

const KEYED: &str = "key = [\"id\"]";
const VERSIONED: &str = "key = [\"id\"]\nversion = \"v\"";

#[test]
fn i5_a_second_load_changes_nothing_and_a_later_one_what_changed() {
    let project = project(KEYED, "{\"id\":1,\"x\":\"a\"}\n{\"id\":2,\"x\":\"b\"}\n");
    assert_eq!(load(&project), "new=2");
    assert_eq!(rows(&project), "1|a 2|b");
    let before = project.snapshot();
    assert_eq!(run(&project, &[]), "load=FRESH");
    assert_eq!(project.snapshot(), before, "not a byte of the database");
    assert_eq!(batches(&project), "1|1");
    // A record more, one changed, one as it was; one that is gone stays.
    project.write("in/a.jsonl", "{\"id\":2,\"x\":\"c\"}\n{\"id\":3,\"x\":\"d\"}\n{\"id\":2,\"x\":\"c\"}\n");
    assert_eq!(load(&project), "new=1 changed=1 same=1");
    assert_eq!(rows(&project), "1|a 2|c 3|d");
    assert_eq!(batches(&project), "2|2");
    // Forced: everything is read, nothing delivered.
    let forced = project.cairn(&["run", "--json", "--force"]).expect(0);
    assert_eq!(counts(&forced), "same=3");
    assert_eq!(batches(&project), "2|2");
    // The source as it was at first: the sink is brought back to it, since nothing says which is the newer.
    project.write("in/a.jsonl", "{\"id\":1,\"x\":\"a\"}\n{\"id\":2,\"x\":\"b\"}\n");
    assert_eq!(load(&project), "changed=1 same=1");
    assert_eq!(rows(&project), "1|a 2|b 3|d");
}

#[test]
fn the_newest_version_wins_whatever_order_it_comes_in() {
    let project = project(VERSIONED, "{\"id\":1,\"v\":2,\"x\":\"new\"}\n{\"id\":1,\"v\":1,\"x\":\"old\"}\n");
    project.write("in/b.jsonl", "{\"id\":1,\"v\":1,\"x\":\"older\"}\n{\"id\":2,\"v\":1,\"x\":\"first\"}\n");
    assert_eq!(load(&project), "new=2 late=2");
    assert_eq!(rows(&project), "1|2|new 2|1|first");
    // What comes late stays outside, in the source alone too.
    project
        .remove("in/b.jsonl")
        .write("in/a.jsonl", "{\"id\":1,\"v\":1.5,\"x\":\"late\"}\n{\"id\":2,\"v\":10,\"x\":\"tenth\"}\n");
    assert_eq!(load(&project), "changed=1 late=1");
    assert_eq!(rows(&project), "1|2|new 2|10|tenth");
    // Of equal versions the later one in the source.
    project.write("in/a.jsonl", "{\"id\":1,\"v\":3,\"x\":\"p\"}\n{\"id\":1,\"v\":3,\"x\":\"q\"}\n");
    assert_eq!(load(&project), "changed=1 late=1");
    assert_eq!(rows(&project), "1|3|q 2|10|tenth");
}

#[test]
fn nested_keys_no_keys_and_tombstones() {
    let nested = Project::with_pipeline(
        BINARY,
        "[stages.load.records]\nsource = \"in.jsonl\"\nkey = [\"order.id\", \"line\"]\n\
         sink = { type = \"sqlite\", path = \"t.db\", table = \"t\", key = [\"line\"] }\n",
    );
    nested.write("in.jsonl", "{\"order\":{\"id\":1},\"line\":1}\n{\"line\":1,\"order\":{\"id\":1.0}}\n{\"order\":{\"id\":1},\"line\":2}\n");
    assert_eq!(load(&nested), "new=2 late=1");
    let unkeyed = Project::with_pipeline(
        BINARY,
        "[stages.load.records]\nsource = \"in.jsonl\"\nsink = { type = \"sqlite\", path = \"t.db\", table = \"t\", mode = \"append\" }\n",
    );
    unkeyed.write("in.jsonl", "{\"x\":1}\n{\"x\":2}\n{\"x\":1}\n");
    assert_eq!(load(&unkeyed), "new=2 same=1");
    unkeyed.write("in.jsonl", "{\"x\":2}\n{\"x\":3}\n");
    assert_eq!(load(&unkeyed), "new=1 same=1");
    assert_eq!(rows(&unkeyed), "1 2 3");
    let stoned =
        project("key = [\"id\"]\ntombstone = \"gone\"", "{\"id\":1,\"gone\":false}\n{\"id\":2,\"gone\":0}\n");
    load(&stoned);
    stoned.write("in/a.jsonl", "{\"id\":1,\"gone\":true}\n{\"id\":2,\"gone\":0}\n");
    assert_eq!(load(&stoned), "changed=1 same=1");
    assert_eq!(rows_of(&stoned, "SELECT id FROM t"), "2");
}

#[test]
fn inserted_ones_stay_and_appended_ones_are_all_there_once() {
    let mode = |mode: &str| {
        let text =
            to_sqlite(VERSIONED).replace("table = \"t\"", &format!("table = \"t\", mode = \"{mode}\""));
        let project = Project::with_pipeline(BINARY, &text);
        project.write("in/a.jsonl", "{\"id\":1,\"v\":1}\n{\"id\":1,\"v\":2}\n");
        project
    };
    let insert = mode("insert");
    assert_eq!(load(&insert), "new=1 late=1");
    assert_eq!(rows(&insert), "1|2");
    insert.write("in/a.jsonl", "{\"id\":1,\"v\":3}\n{\"id\":2,\"v\":1}\n");
    assert_eq!(load(&insert), "new=1 late=1");
    assert_eq!(rows(&insert), "1|2 2|1");
    let append = mode("append");
    assert_eq!(load(&append), "new=2");
    append.write("in/b.jsonl", "{\"id\":1,\"v\":3}\n{\"id\":1,\"v\":2}\n{\"id\":1,\"v\":1}\n");
    assert_eq!(load(&append), "new=1 same=4");
    assert_eq!(rows_of(&append, "SELECT v FROM t ORDER BY v"), "1 2 3");
}

#[test]
fn sources_of_other_forms() {
    let project = Project::with_pipeline(BINARY, &to_sqlite(VERSIONED));
    project.write("in/a.csv", "id,v,x\n1,10,\"a, \"\"b\"\"\"\n2,9,c\n");
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(b"{\"id\":\"2\",\"v\":\"10\",\"x\":\"d\"}\n").unwrap();
    project.write("in/b.jsonl.gz", gzip.wait_with_output().unwrap().stdout);
    assert_eq!(load(&project), "new=2 late=1");
    assert_eq!(rows(&project), "1|10|a, \"b\" 2|10|d");
    project.write("in/b.jsonl.gz", b"\x1f\x8b\x08\x00");
    let said = fails(&project);
    assert!(said.contains("in/b.jsonl.gz"), "{said}");
    assert_eq!(rows(&project), "1|10|a, \"b\" 2|10|d");
}

#[test]
fn bad_records_are_dead_letters_with_their_place_until_a_person_mends_them() {
    let mut project = project(KEYED, "{\"id\":1}\n{\"id\":\n{\"ident\":3}\n");
    assert_eq!(load(&project), "new=1 dead=2");
    let letters = dead(&project);
    assert_eq!(letters.len(), 2);
    let place = |letter: &Value| format!("{}:{}", text(letter, "source"), letter["line"]);
    let mut places: Vec<String> = letters.iter().map(place).collect();
    places.sort();
    assert_eq!(places, ["in/a.jsonl:2", "in/a.jsonl:3"]);
    assert!(errors(&project).contains("`ident`"), "{}", errors(&project));
    assert_eq!(run(&project, &[]), "load=FRESH");
    // One is edited and comes in; the others stay, each once.
    let bad = letters.iter().find(|letter| text(letter, "payload").contains("ident")).unwrap();
    project.write("editor", "#!/bin/sh\nsed -i 's/ident/id/' \"$1\"\n");
    let editor = format!("sh {}", project.file("editor").display());
    project.set_env("EDITOR", &editor);
    project.cairn(&["dead", "retry", text(bad, "id"), "--edit"]).expect(0);
    assert_eq!(load(&project), "new=1 same=1 dead=2");
    assert_eq!(rows(&project), "1 3");
    assert_eq!(dead(&project).len(), 1);
    assert_eq!(run(&project, &[]), "load=FRESH");
    // Not mended, it comes back.
    project.cairn(&["dead", "retry", "--stage", "load"]).expect(0);
    load(&project);
    assert_eq!(dead(&project).len(), 1);
    assert_eq!(run(&project, &[]), "load=FRESH");
}

/// What a person made of a record is not lost because it was not enough.
#[test]
fn an_edit_that_did_not_help_is_there_to_be_edited_again() {
    let mut project = Project::new(BINARY);
    let body = "if record['name'] == 'good': answer(request, record=record)\n\
        else: answer(request, error='no such name', retry=False)";
    with_worker(&project, "", body);
    let came = "{\"id\":1,\"name\":\"bad\"}";
    project.write("in/a.jsonl", format!("{came}\n{{\"id\":2,\"name\":\"good\"}}\n"));
    assert_eq!(load(&project), "new=1 dead=1");
    let edit = |project: &mut Project, script: &str| {
        project.write("editor", format!("#!/bin/sh\n{script} \"$1\"\n"));
        let editor = format!("sh {}", project.file("editor").display());
        project.set_env("EDITOR", &editor);
        project.cairn(&["dead", "retry", "--stage", "load", "--edit"]).expect(0);
    };
    edit(&mut project, "sed -i s/bad/better/");
    load(&project);
    let letter = dead(&project).remove(0);
    assert_eq!(text(&letter, "payload"), came, "it is known by what came");
    assert!(text(&letter, "edited").contains("better"), "{letter}");
    assert!(letter.get("retry_asked").is_none(), "{letter}");
    let shown = project.cairn(&["dead", "show", text(&letter, "id")]).expect(0).stdout;
    assert!(shown.contains("\"better\"") && shown.contains("\"bad\""), "{shown}");
    // Unasked it is not taken in; asked without an edit it is the edited one once more.
    assert_eq!(run(&project, &[]), "load=FRESH");
    project.cairn(&["dead", "retry", "--stage", "load"]).expect(0);
    load(&project);
    assert!(text(&dead(&project)[0], "edited").contains("better"));
    // The editor is given what the edit before made.
    edit(&mut project, "sed -i s/better/good/");
    load(&project);
    assert!(dead(&project).is_empty());
    assert_eq!(rows_of(&project, "SELECT id, name FROM t ORDER BY id"), "1|good 2|good");
}

#[test]
fn over_a_tenth_of_bad_records_is_an_outage() {
    let (good, bad) = (numbered("id", 50), numbered("ident", 25));
    let project = project(KEYED, &format!("{good}{bad}"));
    let said = fails(&project);
    assert!(said.contains("25 of 75 records failed, which looks like an outage"), "{said}");
    assert!(said.contains("in/a.jsonl:51"), "{said}");
    let letters = dead(&project);
    assert!(letters.iter().all(|letter| letter["kind"] == "instance"), "{letters:?}");
    assert_eq!(rows_of(&project, "SELECT count(*) FROM sqlite_schema WHERE name = 't'"), "0");
    project.write("in/a.jsonl", good);
    assert_eq!(load(&project), "new=50");
    assert!(dead(&project).is_empty());
}

#[test]
fn a_sink_that_lost_what_it_had_is_given_all_of_it_again() {
    let project = project(KEYED, "{\"id\":1}\n{\"id\":2}\n");
    load(&project);
    for gone in ["t.db", "t.db-wal", "t.db-shm"] {
        let _ = std::fs::remove_file(project.file(gone));
    }
    assert_eq!(load(&project), "new=2");
    assert_eq!(rows(&project), "1 2");
    Connection::open(project.file("t.db")).unwrap().execute_batch("DROP TABLE t").unwrap();
    assert_eq!(load(&project), "new=2");
    assert_eq!(rows(&project), "1 2");
    assert_eq!(run(&project, &[]), "load=FRESH");
}

/// What a person let go of is no dead letter any more.
#[test]
fn a_dead_letter_that_was_dropped_counts_as_dropped() {
    let project = Project::with_pipeline(BINARY, "");
    let body = "if record.get(\"bad\"): answer(request, error=\"no\", retry=False)\nelse: answer(request, record=record)";
    with_worker(&project, "", body);
    project.write("in/a.jsonl", "{\"id\":1,\"bad\":1}\n{\"id\":2}\n{\"x\":1}\n{\"id\":3,\"bad\":1}\n");
    assert_eq!(load(&project), "new=1 dead=3");
    let forced = || counts(&project.cairn(&["run", "--json", "--force"]).expect(0));
    assert_eq!(forced(), "same=1 dead=3");
    for letter in dead(&project) {
        if text(&letter, "key") != "3" {
            project.cairn(&["dead", "drop", text(&letter, "id")]).expect(0);
        }
    }
    assert_eq!(forced(), "same=1 dropped=2 dead=1");
    assert_eq!(dead(&project).len(), 1);
}

/// Programs see how far a long load is, and not more often than they can read.
#[test]
fn progress_of_a_load_is_told_now_and_then() {
    let project = Project::with_pipeline(BINARY, "");
    with_worker(&project, "", "time.sleep(0.05)\nanswer(request, record=record)");
    project.write("in/a.jsonl", numbered("id", 40));
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<Value> = lines.filter(|line| line["type"] == "instance_records_progress").collect();
    assert!((2..=15).contains(&told.len()), "{}", outcome.shown());
    let new = |line: &Value| line["new"].as_u64().unwrap();
    assert!(told.is_sorted_by_key(new), "{}", outcome.shown());
    assert!(
        told.iter().all(|line| line["instance"] == "load" && line["read"] == 40 && line["run"].is_string())
    );
    assert!(told.iter().any(|line| (1..40).contains(&new(line))), "{}", outcome.shown());
    assert_eq!(counts(&outcome), "new=40");
}

#[test]
fn records_in_postgresql() {
    let server = PostgresServer::start(&[]);
    let mut project = Project::with_pipeline(
        BINARY,
        "[stages.load.records]\nsource = \"in.jsonl\"\nkey = [\"id\"]\nversion = \"v\"\n\
         sink = { type = \"postgres\", url = \"{{ env.DATABASE_URL }}\", table = \"t\" }\n",
    );
    project.write("in.jsonl", "{\"id\":1,\"v\":1,\"x\":\"a\"}\n{\"id\":2,\"v\":1,\"x\":\"b\"}\n");
    let said = project.cairn(&["run"]);
    assert!(said.status != Some(0) && said.shown().contains("DATABASE_URL"), "{}", said.shown());
    project.set_env("DATABASE_URL", "postgres://locked:wr0ng@127.0.0.1:1/d");
    let said = fails(&project);
    assert!(said.contains("postgres table `t`") && !said.contains("wr0ng"), "{said}");
    project.set_env("DATABASE_URL", &server.database("d"));
    assert_eq!(load(&project), "new=2");
    let seen = || server.sql("d", "SELECT xmin, * FROM t ORDER BY id");
    let before = seen();
    assert_eq!(run(&project, &[]), "load=FRESH");
    let forced = project.cairn(&["run", "--json", "--force"]).expect(0);
    assert_eq!(counts(&forced), "same=2");
    project.write(
        "in.jsonl",
        "{\"id\":1,\"v\":1,\"x\":\"a\"}\n{\"id\":2,\"v\":0,\"x\":\"late\"}\n{\"id\":3,\"v\":1,\"x\":\"c\"}\n",
    );
    assert_eq!(load(&project), "new=1 same=1 late=1");
    let after = seen();
    assert!(after.starts_with(&before), "rows that did not change are as they were: {before}\n{after}");
    // A table of somebody else's, without what an upsert needs.
    server.sql("d", "CREATE TABLE other (id bigint, v bigint, x text)");
    let text = project.read("pipeline.toml").replace("\"t\"", "\"other\"");
    project.write("pipeline.toml", text);
    let said = fails(&project);
    let ddl = "CREATE UNIQUE INDEX";
    let line = said.lines().find(|line| line.contains(ddl)).unwrap_or_else(|| panic!("{said}"));
    let ddl = line[line.find(ddl).unwrap()..].trim().trim_matches('`');
    server.sql("d", ddl);
    assert_eq!(load(&project), "new=3");
    server.sql("d", "DROP TABLE other");
    let said = project.cairn(&["run", "--json"]);
    assert_eq!(counts(&said.expect(0)), "new=3");
}

#[test]
fn a_worker_answers_in_any_order_with_none_one_or_several_records() {
    let project = Project::new(BINARY);
    let body = "waiting = globals().setdefault('waiting', [])\nwaiting.append(request)\nif len(waiting) < 4: continue\n\
        for request in reversed(waiting):\n    id = request['key']\n    print('at', id, file=sys.stderr)\n    \
        if id == 1: answer(request, drop=True)\n    elif id == 2: answer(request, records=[{'id': 20}, {'id': 21}])\n    \
        else: answer(request, record={'id': id, 'x': 'é'})";
    with_worker(&project, "", body);
    project.write("in/a.jsonl", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n");
    let first = project.cairn(&["run", "--json"]).expect(0);
    assert_eq!(counts(&first), "new=3 dropped=1");
    assert_eq!(rows_of(&project, "SELECT id FROM t ORDER BY id"), "3 4 20 21");
    let logs = project.cairn(&["logs", "load"]).expect(0).stdout;
    assert!(logs.contains("at 3"), "{logs}");
    assert_eq!(run(&project, &[]), "load=FRESH");
    // What was worked on is not worked on again.
    project.write(
        "in/a.jsonl",
        "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n{\"id\":5}\n{\"id\":6}\n{\"id\":7}\n{\"id\":8}\n",
    );
    assert_eq!(load(&project), "new=4 same=3 dropped=1");
}

#[test]
fn a_worker_that_fails_a_record_is_asked_again_as_often_as_it_says() {
    let project = Project::new(BINARY);
    let body = "id = request['key']\n\
        if id == 1 and request['attempt'] < 3: answer(request, error='not yet', retry=True)\n\
        elif id == 2: answer(request, error='never')\n\
        elif id == 3: answer(request, error='no such customer', retry=False)\n\
        else: answer(request, record=record)";
    with_worker(&project, "retries = { attempts = 3, delay = \"1ms\" }", body);
    project.write("in/a.jsonl", "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n{\"id\":4}\n");
    assert_eq!(load(&project), "new=2 dead=2");
    assert_eq!(rows(&project), "1 4");
    assert_eq!(errors(&project), "2: never\n3: no such customer");
    let attempts: Vec<usize> =
        dead(&project).iter().map(|letter| letter["attempts"].as_array().unwrap().len()).collect();
    assert_eq!(attempts.iter().sum::<usize>(), 4);
    // Nothing is asked again before a person says so, or the worker changes.
    project.write("in/b.jsonl", "{\"id\":5}\n");
    assert_eq!(load(&project), "new=1 same=2 dead=2");
    project.cairn(&["dead", "retry", "--stage", "load", "--key", "3"]).expect(0);
    assert_eq!(load(&project), "same=4 dead=2");
    assert_eq!(dead(&project).len(), 2);
    with_worker(&project, "retries = { attempts = 3, delay = \"1ms\" }", "answer(request, record=record)");
    assert_eq!(load(&project), "new=2 same=3");
    assert_eq!(rows(&project), "1 2 3 4 5");
    assert!(dead(&project).is_empty());
}

#[test]
fn a_record_that_ends_the_worker_or_hangs_it_costs_no_other() {
    let project = Project::new(BINARY);
    let body = "id = request['key']\nif id == 7: os.kill(os.getpid(), signal.SIGKILL)\nif id == 9: time.sleep(600)\n\
        answer(request, record=record)";
    with_worker(
        &project,
        "timeout = \"400ms\"\nworkers = 2\nretries = { attempts = 2, delay = \"1ms\" }",
        body,
    );
    project.write("in/a.jsonl", numbered("id", 200));
    assert_eq!(load(&project), "new=198 dead=2");
    assert_eq!(
        errors(&project),
        "7: the worker was ended by signal 9\n9: the worker did not answer within 400 ms"
    );
    assert_eq!(rows_of(&project, "SELECT count(*) FROM t"), "198");
    // Alone, too.
    project.write("in/b.jsonl", "{\"id\":7,\"x\":1}\n");
    assert_eq!(load(&project), "same=198 late=1 dead=2");
}

#[test]
fn a_worker_that_does_not_keep_to_its_words_is_told_of() {
    let project = Project::new(BINARY);
    project.write("in/a.jsonl", "{\"id\":1}\n");
    for (body, said) in [
        ("print('hello', flush=True)", "the worker wrote `hello`"),
        ("print(json.dumps({'key': 5, 'drop': True}), flush=True)", "the key 5, which it does not have"),
        ("sys.exit(3)", "ended with exit status 3"),
    ] {
        with_worker(&project, "retries = { attempts = 1 }", body);
        let outcome = project.cairn(&["run", "--json"]);
        let shown = format!("{}{}", outcome.shown(), errors(&project));
        assert!(shown.contains(said), "{shown}");
    }
    with_worker(&project, "", "answer(request, record=record)");
    project.write("worker.py", "import sys\nprint('no module', file=sys.stderr)\nsys.exit(1)\n");
    let said = fails(&project);
    assert!(said.contains("ended with exit status 1"), "{said}");
    let logs = project.cairn(&["logs", "load"]).expect(0).stdout;
    assert!(logs.contains("no module"), "{logs}");
    assert!(
        !project.exists("t.db")
            || rows_of(&project, "SELECT count(*) FROM sqlite_schema WHERE name = 't'") == "0"
    );
}

#[test]
fn another_worker_works_on_all_again_or_on_what_is_new() {
    for keep in [false, true] {
        let project = Project::new(BINARY);
        let keys = if keep { "on_change = \"keep\"" } else { "" };
        with_worker(&project, keys, "answer(request, record={'id': record['id'], 'x': record['id'] * 10})");
        project.write("in/a.jsonl", "{\"id\":0}\n{\"id\":1}\n");
        assert_eq!(load(&project), "new=2");
        with_worker(&project, keys, "answer(request, record={'id': record['id'], 'x': record['id'] * 11})");
        project.write("in/b.jsonl", "{\"id\":2}\n");
        let (counts, x) =
            if keep { ("new=1 same=2", "0 10 22") } else { ("new=1 changed=1 same=1", "0 11 22") };
        assert_eq!(load(&project), counts);
        assert_eq!(rows_of(&project, "SELECT x FROM t ORDER BY id"), x);
    }
}

#[test]
fn a_sink_that_a_person_has_to_mend_is_told_of_and_not_taken_for_fresh() {
    let project = project("key = \"id\"", "{\"id\":1}\n{\"id\":2}\n");
    assert_eq!(load(&project), "new=2");
    let wipe = || {
        for file in ["t.db", "t.db-wal", "t.db-shm"] {
            let _ = std::fs::remove_file(project.file(file));
        }
    };
    wipe();
    project.write("t.db", "no database, but long enough to be looked at ".repeat(100));
    let told = fails(&project);
    assert!(told.contains("FAILED    load") && told.contains("not a database"), "{told}");
    wipe();
    assert_eq!(load(&project), "new=2");
    assert_eq!(rows(&project), "1 2");
}

#[test]
fn what_a_worker_made_is_checked_before_it_stands_in_a_file() {
    let project = project("", "{\"id\":1}\n{\"id\":2}\n");
    with_worker(&project, "", "answer(request, record={**record, \"made\": \"by hand\"})");
    let text = std::fs::read_to_string(project.file("pipeline.toml")).unwrap();
    let sink = "{ type = \"sqlite\", path = \"t.db\", table = \"t\" }";
    project.write("pipeline.toml", text.replace(sink, "{ type = \"jsonl\", path = \"out.jsonl\" }"));
    assert_eq!(load(&project), "new=2");
    let whole = std::fs::read_to_string(project.file("out.jsonl")).unwrap();

    let kept = project.file(".cairn/records/p.load.results");
    let mut bytes = std::fs::read(&kept).unwrap();
    let at = bytes.windows(4).position(|window| window == b"hand").unwrap();
    bytes[at] = b'l';
    std::fs::write(&kept, bytes).unwrap();
    project.write("in/b.jsonl", "{\"id\":3}\n");
    let told = fails(&project);
    assert!(told.contains("p.load.results` is damaged at byte 0") && told.contains("rm "), "{told}");
    assert_eq!(std::fs::read_to_string(project.file("out.jsonl")).unwrap(), whole, "what stood there stands");

    std::fs::remove_file(&kept).unwrap();
    assert_eq!(load(&project), "new=3");
    let made = std::fs::read_to_string(project.file("out.jsonl")).unwrap();
    assert_eq!(made.matches("by hand").count(), 3, "{made}");
}
