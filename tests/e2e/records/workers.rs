//! What a worker is given, how long it has, and what its crash costs: told by what it was given.

use cairn_testkit::processes_with;

use super::*;

/// Takes records from standard input itself, past what Python reads ahead; `read(seconds)` waits for some. What a worker was
/// given it tells in the file `seen`.
const TAKES: &str = r#"
import json, os, select, signal, sys, time

taken, rest = [], b""

def read(seconds):
    global rest
    if not select.select([0], [], [], seconds)[0]:
        return False
    got = os.read(0, 1 << 16)
    *lines, rest = (rest + got).split(b"\n")
    taken.extend(map(json.loads, lines))
    return bool(got)

def take(most):
    while len(taken) < most and read(10):
        pass
    # Whether more comes before any is answered.
    while read(0.3):
        pass

def tell(words):
    with open(SEEN, "a") as seen:
        seen.write(words + "\n")

def answer(requests):
    text = "".join(json.dumps({"key": it["key"], "record": it["record"]}) + "\n" for it in requests)
    sys.stdout.write(text)
    sys.stdout.flush()
"#;

/// A stage with a worker that begins with [`TAKES`].
fn taking(keys: &str, body: &str) -> Project {
    let project = Project::new(BINARY);
    with_worker(&project, keys, "");
    let seen = project.file("seen");
    project.write("worker.py", format!("SEEN = {:?}\n{TAKES}{body}", seen.display().to_string()));
    project
}

#[test]
fn a_worker_has_at_most_64_records_before_it_has_answered_any() {
    let body = "left = 192\n\
        while left:\n    take(min(64, left))\n    tell(str(len(taken)))\n    left -= len(taken)\n    \
        answer(reversed(taken))\n    taken.clear()\n";
    let project = taking("", body);
    project.write("in/a.jsonl", numbered("id", 192));
    assert_eq!(load(&project), "new=192");
    assert_eq!(project.read("seen"), "64\n64\n64\n");
}

#[test]
fn a_worker_never_has_two_records_of_one_key_at_once() {
    let body = "left = 50\n\
        while left:\n    take(min(10, left))\n    \
        tell(' '.join(f\"{it['key']}@{it['record']['v']}\" for it in taken))\n    left -= len(taken)\n    \
        answer(taken)\n    taken.clear()\n";
    let project = taking("version = \"v\"", body);
    let text = project.read("pipeline.toml").replace("table = \"t\"", "table = \"t\", mode = \"append\"");
    project.write("pipeline.toml", text);
    let lines = (0..5).flat_map(|v| (0..10).map(move |id| format!("{{\"id\":{id},\"v\":{v}}}\n")));
    project.write("in/a.jsonl", lines.collect::<String>());
    // One after the other, in the order of the source.
    let round = |v| (0..10).map(|id| format!("{id}@{v}")).collect::<Vec<_>>().join(" ") + "\n";
    assert_eq!(load(&project), "new=50");
    assert_eq!(project.read("seen"), (0..5).map(round).collect::<String>());
    assert_eq!(rows_of(&project, "SELECT count(*), count(DISTINCT id * 10 + v) FROM t"), "50|50");
}

#[test]
fn a_key_that_is_answered_twice_fails_the_stage_with_the_line_and_no_record_is_lost() {
    let twice = "{\"id\":1}\n";
    let others = numbered("id", 100).replace(twice, "");
    // Alone, before others, and where nothing else is left to be waited for.
    for source in [twice.to_owned(), format!("{twice}{others}"), format!("{others}{twice}")] {
        let project = Project::new(BINARY);
        let body = "line = json.dumps({'key': request['key'], 'record': record})\n\
            again = json.dumps({'key': request['key'], 'drop': True})\n\
            print(line + '\\n' + again if record['id'] == 1 else line, flush=True)";
        with_worker(&project, "", body);
        project.write("in/a.jsonl", &source);
        let said = fails(&project);
        let told =
            r#"the worker answered the key 1, which it does not have, in `{\"key\": 1, \"drop\": true}`"#;
        assert!(said.contains(told) && said.contains("answer each key that was sent once"), "{said}");
        assert!(dead(&project).iter().all(|letter| letter["kind"] == "instance"), "{said}");
        with_worker(&project, "", "answer(request, record=record)");
        load(&project);
        let count = source.lines().count();
        assert_eq!(
            rows_of(&project, "SELECT count(*), count(DISTINCT id) FROM t"),
            format!("{count}|{count}")
        );
        assert_eq!(rows_of(&project, "SELECT id FROM t WHERE id = 1"), "1");
        assert_eq!(rows_of(&project, "SELECT sum(puts) FROM cairn_ledger"), count.to_string());
        assert_eq!(run(&project, &[]), "load=FRESH");
    }
}

/// It ends in its own time, and what it does meanwhile is done; one that goes on for good is ended, with all that it has
/// started, and the records that it answered are delivered.
#[test]
fn a_worker_has_time_to_end_and_one_that_goes_on_is_ended() {
    let ends =
        taking("", "while read(60):\n    answer(taken)\n    taken.clear()\ntime.sleep(1)\ntell('ended')\n");
    let goes_on = taking(
        "",
        "import subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '600'])\n\
         while read(60):\n    answer(taken)\n    taken.clear()\ntell('closed')\nwhile True:\n    time.sleep(600)\n",
    );
    for (project, told) in [(&ends, "ended\n"), (&goes_on, "closed\n")] {
        project.write("in/a.jsonl", numbered("id", 2));
        assert_eq!(load(project), "new=2");
        assert_eq!(project.read("seen"), told);
        assert_eq!(rows(project), "0 1");
        crate::effects::wait(|| processes_with(project.path().to_str().unwrap()).is_empty());
        assert_eq!(run(project, &[]), "load=FRESH");
    }
}

#[test]
fn a_crash_costs_only_the_records_that_were_not_answered() {
    // The half of an answer is none.
    for last in ["", "sys.stdout.write('{\"key\": 63, \"rec'); sys.stdout.flush()"] {
        let body = format!(
            "def told(requests):\n    for it in requests:\n        tell(f\"{{it['key']}}@{{it['attempt']}}\")\n\n\
             if not os.path.exists(SEEN):\n    take(64)\n    told(taken)\n    answer(reversed(taken[10:40]))\n    {last}\n    \
             os.kill(os.getpid(), signal.SIGKILL)\n\
             while taken or read(60):\n    told(taken)\n    answer(taken)\n    taken.clear()\n"
        );
        let project = taking("", &body);
        project.write("in/a.jsonl", numbered("id", 100));
        assert_eq!(load(&project), "new=100", "{last}");
        assert_eq!(rows_of(&project, "SELECT count(*), sum(id) FROM t"), "100|4950");
        let seen = project.read("seen");
        let mut given = vec![0; 100];
        for key in seen.lines().map(|line| line.strip_suffix("@1").expect("no try of theirs failed")) {
            given[key.parse::<usize>().unwrap()] += 1;
        }
        let twice = |id: usize| id < 10 || (40..64).contains(&id);
        let expected: Vec<u32> = (0..100).map(|id| if twice(id) { 2 } else { 1 }).collect();
        assert_eq!(given, expected, "{last}");
        assert!(dead(&project).is_empty());
    }
}

#[test]
fn records_that_wait_for_another_try_are_told_of_as_retrying_until_their_fate_is_decided() {
    let project = Project::new(BINARY);
    let keys = "retries = { attempts = 2, delay = \"1s\", jitter = false }";
    let body = "if request['attempt'] == 1: answer(request, error='later')\nelif record['id'] == 2: answer(request, error='no')\n\
        else: answer(request, record=record)";
    with_worker(&project, keys, body);
    project.write("in/a.jsonl", numbered("id", 3));
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    let lines = outcome.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told: Vec<Value> = lines.filter(|line| line["type"] == "instance_records_progress").collect();
    assert!(told.iter().any(|line| line["retrying"] == 3 && line["new"] == 0), "{}", outcome.shown());
    assert_eq!(counts(&outcome), "new=2 dead=1");
}

#[test]
fn a_load_that_takes_longer_than_its_stage_may_fails_and_goes_on_the_next_time() {
    let project = Project::new(BINARY);
    with_worker(
        &project,
        "batch = 1",
        "if record['id'] > 1: time.sleep(0.4)\nanswer(request, record=record)",
    );
    let text = project.read("pipeline.toml");
    project.write("pipeline.toml", text.replace("[stages.load]\n", "[stages.load]\ntimeout = \"3s\"\n"));
    project.write("in/a.jsonl", numbered("id", 12));
    let said = fails(&project);
    assert!(said.contains("timed out") && said.contains("raise `timeout`"), "{said}");
    let there: u32 = rows_of(&project, "SELECT count(*) FROM t").parse().unwrap();
    assert!((1..12).contains(&there), "{there}");
    assert_eq!(load(&project), format!("new={} same={there}", 12 - there));
}

/// A worker that has answered is not to blame for what its answer waits for.
#[test]
fn workers_are_not_timed_while_the_sink_is_waited_for() {
    let project = Project::new(BINARY);
    with_worker(
        &project,
        "workers = 2\nbatch = 50\ntimeout = \"1s\"",
        "time.sleep(0.002)\nanswer(request, record=record)",
    );
    project.write("in/a.jsonl", numbered("id", 10));
    assert_eq!(load(&project), "new=10");
    project.write("in/b.jsonl", numbered("id", 600));
    let lock = Connection::open(project.file("t.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let unlocking = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(4));
        lock.execute_batch("ROLLBACK").unwrap();
    });
    let outcome = project.cairn(&["run", "--json"]).expect(0);
    unlocking.join().unwrap();
    assert_eq!(counts(&outcome), "new=590 same=20");
    let logs = project.cairn(&["logs", "load"]).expect(0).stdout;
    let said = format!("{}{logs}", outcome.shown());
    assert!(!said.contains("did not answer") && !said.contains("killed"), "{said}");
}

#[test]
fn each_of_several_workers_is_heard_in_the_log() {
    let project = Project::new(BINARY);
    with_worker(
        &project,
        "workers = 2",
        "print('at', record['id'], 'by', os.getpid(), file=sys.stderr, flush=True)\ntime.sleep(0.005)\nanswer(request, record=record)",
    );
    project.write("in/a.jsonl", numbered("id", 200));
    assert_eq!(load(&project), "new=200");
    let logs = project.cairn(&["logs", "load"]).expect(0).stdout;
    let by: std::collections::BTreeSet<&str> =
        logs.lines().filter_map(|line| Some(line.split_once(" by ")?.1)).collect();
    assert_eq!(by.len(), 2, "{logs}");
    assert!((0..200).all(|id| logs.contains(&format!("at {id} by "))), "{logs}");
}
