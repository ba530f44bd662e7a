//! What is kept of a load: of a record that died all that it takes to step into it, of a sink's password nothing.

use std::path::Path;

use cairn_testkit::web::{Web, reply};

use super::*;

#[test]
fn a_dead_letter_names_its_run_the_inputs_its_tries_and_the_key_it_was_sent_under() {
    let project = Project::new(BINARY);
    let keys = "retries = { attempts = 2, delay = \"1ms\", jitter = false }";
    with_worker(&project, keys, "answer(request, error='no such name')");
    project.write("in/a.jsonl", "{\"id\":1}\n");
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    assert_eq!(counts(&outcome), "dead=1");
    let letter = dead(&project).remove(0);
    let show = project.cairn(&["show", "latest", "load", "--json"]).expect(0).stdout;
    let shown: Value = serde_json::from_str(&show).unwrap();
    let at_run = outcome.stdout.lines().next().unwrap();
    let begun: Value = serde_json::from_str(at_run).unwrap();
    assert_eq!(letter["run"], begun["run"], "{letter}\n{at_run}");
    assert!(text(&letter, "input_hash").len() >= 16, "{letter}");
    assert!(show.contains(text(&letter, "input_hash")), "{letter}\n{shown}");
    assert_eq!((text(&letter, "class"), text(&letter, "source")), ("worker", "in/a.jsonl"));
    assert_eq!((&letter["line"], text(&letter, "payload")), (&1.into(), "{\"id\":1}"));
    let tries = letter["attempts"].as_array().unwrap();
    assert_eq!(tries.len(), 2, "{letter}");
    for one in tries {
        assert!(one["error"] == "no such name" && one["at"].is_string(), "{letter}");
    }
    assert_eq!(text(&letter, "idempotency_key").len(), 64, "{letter}");
}

/// Says which files below a folder hold the text.
fn holding(folder: &Path, secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(holding(&entry.path(), secret));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(secret.len()).any(|part| part == secret.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
fn no_password_of_an_address_is_kept_or_told_whether_the_sink_takes_it_or_not() {
    let server = PostgresServer::start(&[]);
    let web = Web::start(|_| reply("401 Unauthorized", "no"));
    let secret = "s3cr3t-0f-n0b0dy";
    let mut project = Project::with_pipeline(
        BINARY,
        &format!(
            "[pipeline]\nname = \"p\"\n\
             [stages.table.records]\nsource = \"in/*\"\nkey = \"id\"\n\
             sink = {{ type = \"postgres\", url = \"{{{{ env.DATABASE_URL }}}}\", table = \"t\" }}\n\
             [stages.calls.records]\nsource = \"in/*\"\nkey = \"id\"\nretries = {{ attempts = 1 }}\n\
             sink = {{ type = \"http\", url = \"{}\", headers = {{ authorization = \"Bearer {{{{ env.TOKEN }}}}\" }} }}\n",
            web.url()
        ),
    );
    project.write("in/a.jsonl", "{\"id\":1}\n");
    project.set_env("TOKEN", secret);
    project.set_env("DATABASE_URL", &format!("postgres://cairn:{secret}@127.0.0.1:1/d"));
    let mut said = project.cairn(&["run", "-v"]).expect(1).shown();
    let good = server.database("d").replace("cairn@", &format!("cairn:{secret}@"));
    project.set_env("DATABASE_URL", &good);
    said += &project.cairn(&["run", "-v"]).expect(1).shown();
    assert_eq!(server.sql("d", "SELECT count(*) FROM t"), "1");
    assert!(
        web.requests()
            .iter()
            .any(|request| request.header("authorization").is_some_and(|said| said.contains(secret))),
        "the endpoint is told"
    );
    for line in
        [&["show", "latest", "--json"][..], &["logs", "calls"], &["logs", "table"], &["plan", "--json"]]
    {
        said += &project.cairn(line).shown();
    }
    assert!(!said.contains(secret), "{said}");
    assert_eq!(holding(&project.file(".cairn"), secret), Vec::<String>::new());
}
