//! The example `orders`: what it loads is what the messages say, by a reading of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use cairn_testkit::{PostgresServer, Project};
use serde_json::Value;

use super::examples::{example, repository};
use super::run;

/// Returns the version of each order that should be there. Whoever wrote the messages also broke these.
fn newest(project: &Project) -> BTreeMap<String, String> {
    let mut newest: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let mut take = |id: &str, updated: &str, cancelled: bool| {
        let known = newest.get(id).is_some_and(|(version, _)| version.as_str() > updated);
        if !known && !["A-2900", "A-3900"].contains(&id) {
            newest.insert(id.to_owned(), (updated.to_owned(), cancelled));
        }
    };
    for (path, bytes) in project.snapshot_of("build/orders") {
        if Path::new(&path).extension().is_some_and(|ending| ending == "jsonl") {
            for line in String::from_utf8(bytes).unwrap().lines() {
                let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
                let Some(id) = message["id"].as_str() else { continue };
                take(id, message["updated"].as_str().unwrap(), message["cancelled"] == true);
            }
        } else {
            let table = Command::new("gzip").arg("-dc").arg(project.file(&path)).output().unwrap();
            for row in String::from_utf8(table.stdout).unwrap().lines().skip(1) {
                let fields: Vec<&str> = row.split(',').collect();
                let (id, last) = (fields[0], fields.len() - 1);
                if id != "B-0150" {
                    take(id, fields[last - 1], fields[last] == "true");
                }
            }
        }
    }
    let there = newest.into_iter().filter(|(_, (_, cancelled))| !cancelled);
    there.map(|(id, (updated, _))| (id, updated)).collect()
}

/// Returns all rows of the SQLite table as lines of CSV, sorted.
fn table(project: &Project) -> Vec<String> {
    let script = "import sqlite3, sys\n\
        for row in sqlite3.connect(sys.argv[1]).execute('select * from orders order by id'): print(*row, sep=',')";
    let rows =
        Command::new("python3").args(["-c", script]).arg(project.file("build/orders.db")).output().unwrap();
    assert!(rows.status.success(), "{}", String::from_utf8_lossy(&rows.stderr));
    String::from_utf8(rows.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_loaded(project: &Project) {
    let rows = table(project);
    let loaded: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row.split(',').next().unwrap().to_owned(), row.rsplit(',').next().unwrap().to_owned()))
        .collect();
    assert_eq!(loaded.len(), rows.len());
    assert_eq!(loaded, newest(project));
    let file = project.read("build/orders.csv");
    let mut lines: Vec<&str> = file.lines().skip(1).collect();
    lines.sort_unstable();
    assert_eq!(lines, rows, "the file holds what the table holds");
}

fn dead(project: &Project) -> Vec<(String, String)> {
    let listed = project.cairn(&["dead", "list", "--json"]).expect(0);
    let letters = listed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |letter: &Value, name: &str| letter[name].as_str().unwrap_or_default().to_owned();
    letters.map(|letter| (text(&letter, "key"), text(&letter, "class"))).collect()
}

#[test]
fn orders_are_loaded_once_whatever_comes() {
    let mut project = example("orders");
    let outcome = project.cairn(&["run", "orders"]).expect(0);
    assert!(!outcome.stderr.contains("killed"), "the worker ends by itself: {}", outcome.shown());
    assert_loaded(&project);
    assert!(project.read("build/report.txt").contains("cheese"));
    let mut classes: Vec<String> = dead(&project).into_iter().map(|(_, class)| class).collect();
    classes.sort();
    assert_eq!(classes.len(), 5, "{classes:?}");

    // Again: nothing.
    let before = project.snapshot_of("build");
    assert_eq!(run(&project, &["orders"]), "generate=FRESH load=FRESH report=FRESH");
    assert_eq!(project.snapshot_of("build"), before);

    // One more day, with changes of older orders, and back.
    for days in ["days=6", "days=5", "days=6"] {
        project.cairn(&["run", "orders", "-p", days]).expect(0);
        if days == "days=6" {
            assert_loaded(&project);
        }
        assert_eq!(dead(&project).len(), 5);
    }

    // The database is lost: who only looks makes no new one.
    project.remove("build/orders.db");
    let plan = project.cairn(&["plan", "orders", "-p", "days=6"]).expect(0);
    assert!(plan.stdout.contains("orders.db` is gone"), "{}", plan.shown());
    assert!(!project.exists("build/orders.db"));
    project.cairn(&["run", "orders", "-p", "days=6"]).expect(0);
    assert_loaded(&project);

    // A person mends one.
    project.set_env("EDITOR", "sed -i.old 's/a gift/4.50/'");
    project.cairn(&["dead", "retry", "--key", "A-2900", "--edit"]).expect(0);
    project.cairn(&["run", "orders", "-p", "days=6"]).expect(0);
    assert_eq!(dead(&project).len(), 4);
    let mended = "A-2900,Ada Byron,,tea,2,450,900,2026-03-03T08:30:00Z";
    assert!(table(&project).iter().any(|row| row == mended));
    assert!(project.read("build/orders.csv").lines().any(|line| line == mended));
}

#[test]
fn the_same_orders_go_into_postgres() {
    let server = PostgresServer::start(&[]);
    let mut project = example("orders");
    project.set_env("DATABASE_URL", &server.database("shop"));
    assert_eq!(run(&project, &["orders-postgres"]), "generate=RAN load=RAN");
    let rows = server.sql("shop", "select id, updated from orders order by id");
    let loaded: BTreeMap<String, String> = rows
        .lines()
        .map(|row| row.split_once('|').expect("two values"))
        .map(|(id, updated)| (id.to_owned(), updated.to_owned()))
        .collect();
    assert_eq!(loaded, newest(&project));
    let versions = "select string_agg(xmin::text, ',' order by id) from orders";
    let before = server.sql("shop", versions);
    assert_eq!(run(&project, &["orders-postgres"]), "generate=FRESH load=FRESH");
    // What the other pipeline of the example needs is made already.
    let other = project.cairn(&["run", "orders"]).expect(0);
    assert!(other.stderr.contains("FRESH     generate"), "{}", other.shown());
    assert_eq!(server.sql("shop", versions), before, "no row was written again");
}

/// Keys with everything that a simple worker might trip over.
const KEYS: [&str; 5] =
    ["1", r#""a\"b""#, r#""é\n %s \\""#, r#""x,\"attempt\":1,\"record\":""#, "12345678901234567890"];

/// A worker of the documentation, on records as it expects them: delivered, dropped, dead.
#[track_caller]
fn assert_worker(worker: &str, files: &[(&str, &str)], keys: &[&str]) {
    let project = Project::with_pipeline(
        super::BINARY,
        &format!(
            "[stages.load]\ninputs = {:?}\n[stages.load.records]\nsource = \"in.jsonl\"\nkey = \"id\"\nworkers = 2\n{worker}\n\
             sink = {{ type = \"jsonl\", path = \"out.jsonl\" }}\n",
            files.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        ),
    );
    for (name, text) in files {
        project.write(name, text);
    }
    let mut records = String::new();
    let mut expected = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let record = format!("{{\"id\":{key},\"email\":\"n{number}@example.org\",\",\\\"record\\\":\":1}}");
        expected.push(serde_json::from_str::<Value>(&record).unwrap());
        records.push_str(&record);
        records.push('\n');
    }
    for number in 100..300 {
        let record = format!("{{\"id\":{number},\"email\":\"n{number}@example.org\"}}");
        expected.push(serde_json::from_str(&record).unwrap());
        records.push_str(&record);
        records.push('\n');
    }
    records += "{\"id\":\"drop\",\"email\":\"a@b\",\"test\":true}\n{\"id\":\"dead\"}\n";
    project.write("in.jsonl", records);
    let outcome = project.cairn(&["run"]).expect(0);
    assert!(!outcome.stderr.contains("killed"), "{}", outcome.shown());
    let made: Vec<Value> =
        project.read("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(made, expected);
    assert_eq!(dead(&project), [("dead".to_owned(), "worker".to_owned())]);
}

fn client(name: &str) -> String {
    std::fs::read_to_string(repository().join("docs/clients").join(name)).expect("a client")
}

#[test]
fn the_python_client_answers_as_it_says() {
    let script = "import cairn_worker\n\
        print('this is no answer')\n\
        def work(record):\n    \
            if record.get('test'): return None\n    \
            return [record] if record['email'] else None\n\
        cairn_worker.run(work)\n";
    let library = client("cairn_worker.py");
    let files = [("work.py", script), ("cairn_worker.py", library.as_str())];
    assert_worker("worker = [\"python3\", \"work.py\"]", &files, &KEYS);
    let copy = std::fs::read_to_string(repository().join("pipelines/orders/cairn_worker.py")).unwrap();
    assert_eq!(copy, library, "the example's is a copy");
}

#[test]
fn the_shell_worker_answers_as_it_says() {
    assert_worker("worker = [\"sh\", \"worker.sh\"]", &[("worker.sh", &client("worker.sh"))], &KEYS);
}

#[test]
fn the_jq_worker_that_the_shell_worker_names_does_the_same() {
    let text = client("worker.sh");
    let line = text.lines().find(|line| line.contains("jq -c")).expect("the line");
    let there = Command::new("sh").args(["-c", "command -v jq"]).stdout(Stdio::null()).status().unwrap();
    if !there.success() {
        eprintln!("jq is not installed: its line is not tried");
        return;
    }
    let line = line.trim_start_matches('#').trim();
    // The shell's worker also drops what is a test.
    let line = line.replace("{key} + if", "{key} + if .record.test then {drop: true} elif");
    assert_worker(&format!("worker = \"\"\"{line}\"\"\""), &[], &KEYS[..4]);
}
