//! Records from and into what is no table, as pipeline files name it: Parquet, compressed lines, endpoints, files that grow;
//! and columns that it declares.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cairn_testkit::web::{Web, reply};
use cairn_testkit::{PostgresServer, Project};
use rusqlite::Connection;
use serde_json::Value;

use super::{BINARY, run};

/// A stage that passes records on.
fn stage(name: &str, source: &str, keys: &str, sink: &str) -> String {
    format!("[stages.{name}.records]\nsource = \"{source}\"\n{keys}\nsink = {{ {sink} }}\n")
}

fn project(stages: &[String]) -> Project {
    Project::with_pipeline(BINARY, &format!("[pipeline]\nname = \"p\"\n{}", stages.concat()))
}

fn dead(project: &Project) -> Vec<Value> {
    let list = project.cairn(&["dead", "list", "--json"]).expect(0).stdout;
    list.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_parquet_file_is_made_and_read_and_one_with_other_columns_is_told_of() {
    let make = stage("a", "a.jsonl", "key = \"id\"", "type = \"parquet\", path = \"build/a.parquet\"");
    let other = stage("b", "b.jsonl", "key = \"n\"", "type = \"parquet\", path = \"build/b.parquet\"");
    let load = stage("load", "build/*.parquet", "key = \"id\"", "type = \"jsonl\", path = \"out.jsonl\"");
    let project = project(&[make.clone(), load.clone()]);
    project.write("a.jsonl", "{\"id\":2,\"x\":2.25,\"t\":null}\n{\"id\":1,\"x\":1.5,\"t\":\"é\"}\n");
    project.write("b.jsonl", "{\"n\":1,\"y\":true}\n");
    assert_eq!(run(&project, &[]), "a=RAN load=RAN");
    let written = project.read("out.jsonl");
    let mut lines: Vec<&str> = written.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["{\"id\":1,\"x\":1.5,\"t\":\"é\"}", "{\"id\":2,\"x\":2.25,\"t\":null}"]);
    let shown = project.cairn(&["show", "latest"]).expect(0).stdout;
    assert!(shown.contains("never ran before; 2 new"), "{shown}");
    assert_eq!(run(&project, &[]), "a=FRESH load=FRESH");

    project.write("pipeline.toml", format!("[pipeline]\nname = \"p\"\n{make}{other}{load}"));
    assert_eq!(run(&project, &[]), "a=FRESH b=RAN load=RAN");
    let letters = dead(&project);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        (&letters[0]["source"], &letters[0]["payload"]),
        (&"build/b.parquet".into(), &"{\"n\":1,\"y\":true}".into())
    );
    assert!(
        letters[0]["error"].as_str().unwrap().starts_with("field `id` of the key is missing"),
        "{letters:?}"
    );
    assert_eq!(project.read("out.jsonl").lines().count(), 2);
}

#[test]
fn each_version_is_a_line_of_a_file_that_is_appended_to_in_the_order_of_the_source() {
    let sink = "type = \"jsonl\", path = \"out.jsonl\", mode = \"append\"";
    let project = project(&[stage("log", "in/*", "key = \"id\"\nversion = \"v\"", sink)]);
    let line = |id: u32, v: u32| format!("{{\"id\":{id},\"v\":{v}}}\n");
    project.write("in/a.jsonl", [line(1, 1), line(2, 1), line(1, 3), line(1, 2), line(1, 2)].concat());
    project.write("in/b.jsonl.gz", "");
    let zipped = std::fs::File::create(project.file("in/b.jsonl.gz")).unwrap();
    let mut gzip = Command::new("gzip").stdin(Stdio::piped()).stdout(zipped).spawn().unwrap();
    std::io::Write::write_all(&mut gzip.stdin.take().unwrap(), line(3, 1).as_bytes()).unwrap();
    assert!(gzip.wait().unwrap().success());
    assert_eq!(run(&project, &[]), "log=RAN");
    let first = [line(1, 1), line(2, 1), line(1, 3), line(1, 2)].concat();
    assert_eq!(project.read("out.jsonl"), format!("{first}{}", line(3, 1)), "what is twice is a line");
    let before = project.read("in/a.jsonl");
    project.write("in/a.jsonl", format!("{before}{}", line(2, 5)));
    assert_eq!(run(&project, &[]), "log=RAN");
    assert_eq!(project.read("out.jsonl"), format!("{first}{}{}", line(2, 5), line(3, 1)));
    assert_eq!(run(&project, &[]), "log=FRESH");
}

#[test]
fn an_endpoint_is_sent_each_record_under_its_key_again_after_a_retry_and_its_answers_are_kept() {
    let refuses = Arc::new(AtomicBool::new(true));
    let web = Web::start({
        let refuses = Arc::clone(&refuses);
        move |request| {
            let is_bad = request.body.contains("bad") && refuses.load(Ordering::Relaxed);
            reply(if is_bad { "422 Unprocessable Entity" } else { "200 OK" }, "{\"got\":1}")
        }
    });
    let sink = format!("type = \"http\", url = \"{}\", headers = {{ \"X-Team\" = \"blue\" }}", web.url());
    let project = project(&[stage("send", "h.jsonl", "key = \"id\"", &sink)]);
    project.write("h.jsonl", "{\"id\":1,\"t\":\"good\"}\n{\"id\":2,\"t\":\"bad\"}\n");
    assert_eq!(run(&project, &[]), "send=RAN");
    let key_of = |text: &str| {
        let sent = web.requests().into_iter().filter(|request| request.body.contains(text));
        let keys: Vec<String> =
            sent.map(|request| request.header("idempotency-key").unwrap().to_owned()).collect();
        (keys.len(), keys.into_iter().collect::<std::collections::BTreeSet<_>>())
    };
    assert!(web.requests().iter().all(|request| request.header("x-team") == Some("blue")));
    let letters = dead(&project);
    assert_eq!(letters.len(), 1, "{letters:?}");
    let (sent, keys) = key_of("bad");
    let key = letters[0]["idempotency_key"].as_str().unwrap();
    assert_eq!((sent, &*keys.first().unwrap().replace('"', "")), (1, key));

    // Nobody has mended it: the very same request, now that it is taken.
    refuses.store(false, Ordering::Relaxed);
    project.cairn(&["dead", "retry", letters[0]["id"].as_str().unwrap()]).expect(0);
    assert_eq!(run(&project, &[]), "send=RAN");
    assert!(dead(&project).is_empty());
    let (sent, keys) = key_of("bad");
    assert_eq!((sent, keys.len()), (2, 1), "under one key");
    assert_eq!(key_of("good").0, 1);
    assert_eq!(run(&project, &[]), "send=FRESH");

    let receipts = project.read(".cairn/records/p.send.receipts");
    let receipts: Vec<Value> = receipts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(receipts.len(), 2, "{receipts:?}");
    assert!(receipts.iter().all(|receipt| receipt["receipt"] == "200 {\"got\":1}"), "{receipts:?}");
    assert_eq!(receipts[1]["idempotency_key"], key);
}

#[test]
fn an_endpoint_that_takes_many_gets_them_as_one_list() {
    let web = Web::start(|_| reply("200 OK", ""));
    let sink = format!("type = \"http\", url = \"{}\", batched = true", web.url());
    let project = project(&[stage("send", "h.jsonl", "key = \"id\"", &sink)]);
    project.write("h.jsonl", "{\"id\":1}\n{\"id\":2}\n");
    assert_eq!(run(&project, &[]), "send=RAN");
    let bodies: Vec<String> = web.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, ["[{\"id\":1},{\"id\":2}]"]);
    assert_eq!(run(&project, &[]), "send=FRESH");
    assert_eq!(web.requests().len(), 1);
}

/// What a run leaves of a batch that an endpoint did not take whole, and of its being away, holds in the next one.
#[test]
fn an_endpoint_that_goes_away_gets_the_rest_once_it_is_back_and_one_try_until_then() {
    let left = Arc::new(AtomicUsize::new(3));
    let web = Web::start({
        let left = Arc::clone(&left);
        move |_| {
            let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            reply(if taken.is_ok() { "200 OK" } else { "503 Service Unavailable" }, "")
        }
    });
    let sink = format!("type = \"http\", url = \"{}\"", web.url());
    let stage = stage("send", "h.jsonl", "key = \"id\"\nretries = { attempts = 2, delay = \"1ms\" }", &sink);
    let project = project(&[stage]);
    let lines: Vec<String> = (0..30).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    project.write("h.jsonl", lines.concat());
    let failed = || {
        let before = web.requests().len();
        let run = project.cairn(&["run"]);
        assert!(run.stderr.contains("503") && run.stderr.contains("in a row"), "{}", run.stderr);
        run.expect(1);
        web.requests().len() - before
    };
    assert!(failed() >= 3 + 2, "two tries");
    // As many as are under way at once before the first answer.
    let asked = failed();
    assert!((1..=8).contains(&asked), "one try: {asked}");
    left.store(usize::MAX, Ordering::Relaxed);
    assert_eq!(run(&project, &[]), "send=RAN");
    let receipts = project.read(".cairn/records/p.send.receipts");
    assert_eq!(receipts.lines().count(), 30, "each is taken once: {receipts}");
    assert!(dead(&project).is_empty());
    assert_eq!(run(&project, &[]), "send=FRESH");
}

#[test]
fn what_is_packed_by_zstandard_is_read_as_what_is_in_it() {
    let keys = "key = \"id\"\nversion = \"v\"";
    let project = project(&[stage("load", "in/*", keys, "type = \"jsonl\", path = \"out.jsonl\"")]);
    let pack = |path: &str, text: &str, level| {
        project.write(path, zstd::encode_all(text.as_bytes(), level).unwrap());
    };
    let lines = "{\"id\":\"A\",\"v\":1,\"x\":\"old\"}\n{\"id\":\"B\",\"v\":1,\"x\":\"é\"}\n";
    pack("in/a.jsonl.zst", lines, 1);
    pack("in/b.csv.zst", "id,v,x\nA,2,\"new, and \"\"newer\"\"\"\nC,1,c\n", 1);
    pack("in/c.ndjson.zst", "{\"id\":\"D\",\"v\":1}\n", 1);
    assert_eq!(run(&project, &[]), "load=RAN");
    let expected = "{\"id\":\"B\",\"v\":1,\"x\":\"é\"}\n{\"id\":\"A\",\"v\":\"2\",\"x\":\"new, and \\\"newer\\\"\"}\n\
        {\"id\":\"C\",\"v\":\"1\",\"x\":\"c\"}\n{\"id\":\"D\",\"v\":1}\n";
    assert_eq!(project.read("out.jsonl"), expected);
    assert_eq!(run(&project, &[]), "load=FRESH");
    // Packed otherwise, in two frames, they are the same records.
    let (first, second) = lines.split_at(lines.find('\n').unwrap() / 2);
    let frames = [first, second].map(|part| zstd::encode_all(part.as_bytes(), 19).unwrap());
    project.write("in/a.jsonl.zst", frames.concat());
    let outcome = project.cairn(&["run"]).expect(0);
    assert!(outcome.stderr.contains("4 same, 1 late"), "{}", outcome.shown());
    assert_eq!(project.read("out.jsonl"), expected);

    let whole = std::fs::read(project.file("in/a.jsonl.zst")).unwrap();
    project.write("in/a.jsonl.zst", &whole[..whole.len() - 3]);
    let outcome = project.cairn(&["run"]).expect(1);
    assert!(outcome.stderr.contains("`in/a.jsonl.zst` breaks off after line 1"), "{}", outcome.shown());
    assert_eq!(project.read("out.jsonl"), expected, "nothing of it is taken");
}

/// Records of which the first say little about the others, and two that no column takes.
const UNEVEN: &str = "{\"id\":1}\n{\"id\":2,\"price\":4.5,\"note\":\"x\",\"n\":7}\n\
    {\"id\":3,\"colour\":\"red\"}\n{\"id\":4,\"n\":\"many\"}\n";

/// Checks that what is wrong with records 3 and 4 of [`UNEVEN`] is told, and of no others.
#[track_caller]
fn two_do_not_fit(project: &Project, type_of_n: &str) {
    let mut letters: Vec<String> = dead(project)
        .iter()
        .map(|letter| format!("{}: {}", letter["key"].as_str().unwrap(), letter["error"].as_str().unwrap()))
        .collect();
    letters.sort_unstable();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert!(letters[0].starts_with("3: the field `colour` is no column of the table `t`"), "{letters:?}");
    assert!(letters[1].starts_with("4: ") && letters[1].contains(type_of_n), "{letters:?}");
}

#[test]
fn a_table_of_sqlite_is_made_with_the_columns_that_are_declared() {
    let columns =
        "columns = { price = \"NUMERIC(9,2)\", id = \"INTEGER\", note = \"TEXT\", n = \"INTEGER\" }";
    let sink = format!("type = \"sqlite\", path = \"t.db\", table = \"t\", {columns}");
    // The first batch has one record, which has one field.
    let project = project(&[stage("load", "in.jsonl", "key = \"id\"\nbatch = 1", &sink)]);
    project.write("in.jsonl", UNEVEN);
    assert_eq!(run(&project, &[]), "load=RAN");
    two_do_not_fit(&project, "column `n` of type INTEGER");
    let connection = Connection::open(project.file("t.db")).unwrap();
    let ask = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let made = "SELECT group_concat(name || ' ' || type || ' ' || pk, ', ') FROM pragma_table_info('t')";
    assert_eq!(ask(made), "id INTEGER 1, n INTEGER 0, note TEXT 0, price NUMERIC(9,2) 0");
    let rows =
        "SELECT group_concat(concat_ws('|', id, n, note, price), ' ') FROM (SELECT * FROM t ORDER BY id)";
    assert_eq!(ask(rows), "1 2|7|x|4.5");
    assert_eq!(run(&project, &[]), "load=FRESH");
}

#[test]
fn a_table_of_postgresql_is_made_with_the_columns_that_are_declared() {
    let server = PostgresServer::start(&[]);
    let columns =
        "columns = { price = \"numeric(9,2)\", id = \"bigint\", note = \"varchar(9)\", n = \"smallint\" }";
    let url = server.database("d");
    let sink = format!("type = \"postgres\", url = \"{url}\", table = \"t\", {columns}");
    let project = project(&[stage("load", "in.jsonl", "key = \"id\"\nbatch = 1", &sink)]);
    project.write("in.jsonl", UNEVEN);
    assert_eq!(run(&project, &[]), "load=RAN");
    two_do_not_fit(&project, "column `n` of type smallint");
    let made = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute \
        WHERE attrelid = 't'::regclass AND attnum > 0 ORDER BY attname";
    assert_eq!(server.sql("d", made), "id|bigint\nn|smallint\nnote|character varying(9)\nprice|numeric(9,2)");
    assert_eq!(server.sql("d", "SELECT id, n, note, price FROM t ORDER BY id"), "1|||\n2|7|x|4.50");
    assert_eq!(run(&project, &[]), "load=FRESH");
}

#[test]
fn csv_and_parquet_have_the_columns_that_are_declared() {
    let columns = |more: &str| {
        format!(
            "columns = {{ x = \"float\", id = \"integer\", ok = \"boolean\", note = \"string\", at = \"timestamp\", tags = \"json\"{more} }}"
        )
    };
    let pipeline = |more: &str| {
        let columns = columns(more);
        let csv = format!("type = \"csv\", path = \"out.csv\", {columns}");
        let parquet = format!("type = \"parquet\", path = \"out.parquet\", {columns}");
        let stages = [
            stage("csv", "in.jsonl", "key = \"id\"", &csv),
            stage("parquet", "in.jsonl", "key = \"id\"", &parquet),
            stage("back", "out.parquet", "key = \"id\"", "type = \"jsonl\", path = \"back.jsonl\""),
        ];
        format!("[pipeline]\nname = \"p\"\n{}", stages.concat())
    };
    let project = Project::with_pipeline(BINARY, &pipeline(""));
    // Nothing but its key, then all of it, in another order.
    let good = "{\"id\":1}\n{\"tags\":[1,\"a\"],\"at\":\"2024-05-01T10:00:00.5+02:00\",\"note\":\"a, b\",\"ok\":true,\"x\":5,\"id\":2}\n";
    project.write("in.jsonl", good);
    assert_eq!(run(&project, &[]), "back=RAN csv=RAN parquet=RAN");
    let csv =
        "at,id,note,ok,tags,x\n,1,,,,\n2024-05-01T10:00:00.5+02:00,2,\"a, b\",true,\"[1,\"\"a\"\"]\",5\n";
    assert_eq!(project.read("out.csv"), csv);
    let back = "{\"at\":null,\"id\":1,\"note\":null,\"ok\":null,\"tags\":null,\"x\":null}\n\
        {\"at\":\"2024-05-01T08:00:00.5Z\",\"id\":2,\"note\":\"a, b\",\"ok\":true,\"tags\":\"[1,\\\"a\\\"]\",\"x\":5.0}\n";
    assert_eq!(project.read("back.jsonl"), back);

    // What does not fit fails the stage, and what stood there stands.
    let parquet = std::fs::read(project.file("out.parquet")).unwrap();
    for (bad, said) in [
        ("{\"id\":3,\"colour\":\"red\"}", "field `colour` is no column of the file"),
        ("{\"id\":3,\"ok\":\"yes\"}", "field `ok`"),
    ] {
        project.write("in.jsonl", format!("{good}{bad}\n"));
        let outcome = project.cairn(&["run", "-k"]);
        assert!(outcome.stderr.contains("FAILED    parquet"), "{}", outcome.shown());
        assert!(
            outcome.stderr.contains("in.jsonl:3") && outcome.stderr.contains(said),
            "{}",
            outcome.shown()
        );
        assert_eq!(std::fs::read(project.file("out.parquet")).unwrap(), parquet);
        assert_eq!(project.read("back.jsonl"), back);
    }
    // A column more is another result.
    project.write("in.jsonl", format!("{good}{{\"id\":3,\"colour\":\"red\"}}\n"));
    project.write("pipeline.toml", pipeline(", colour = \"string\""));
    assert_eq!(run(&project, &[]), "back=RAN csv=RAN parquet=RAN");
    assert!(project.read("out.csv").starts_with("at,colour,id,"), "{}", project.read("out.csv"));
    assert_eq!(project.read("back.jsonl").lines().filter(|line| line.contains("\"red\"")).count(), 1);
}
