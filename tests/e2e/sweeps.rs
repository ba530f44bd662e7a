//! What the daemon looks after by itself: dead letters that are tried again, effects that drift.

use std::time::Duration;

use cairn_testkit::Project;
use serde_json::Value;

use super::BINARY;
use super::daemon::{Daemon, until};

fn lines(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let told = project.cairn(arguments).expect(0).stdout;
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn dead(project: &Project) -> Vec<Value> {
    lines(project, &["dead", "list", "--json"])
}

fn count(project: &Project, file: &str) -> usize {
    std::fs::read_to_string(project.file(file)).unwrap_or_default().lines().count()
}

/// The runs of a project that something other than a person asked for, by what that was.
fn triggers(daemon: &Daemon) -> Vec<String> {
    let (_, runs) = daemon.ask("GET", "/api/v1/runs?limit=100", "");
    let items = runs["items"].as_array().cloned().unwrap_or_default();
    let mut triggers: Vec<String> =
        items.iter().filter_map(|run| Some(run["trigger"]["kind"].as_str()?.to_owned())).collect();
    triggers.retain(|trigger| trigger != "hand" && trigger != "api");
    triggers
}

#[test]
fn an_instance_that_died_is_tried_again_so_often_and_no_more() {
    let project = Project::new(BINARY);
    let outside = project.path().display().to_string();
    project.write("cairn.toml", "pipelines = ['p.toml']\n").write(
        "p.toml",
        format!(
            "[pipeline]\nname = 'p'\n[schedule]\nretry_dead = '1s'\nretry_dead_max = 2\n[stages.a]\n\
             run = 'echo x >> {outside}/tries; test -e {outside}/good || {{ wc -l < {outside}/tries > {outside}/now.txt; exit 1; }}; \
             echo a > a.txt'\ninputs = ['now.txt']\noutputs = ['a.txt']\n\
             [stages.b]\nrun = 'echo x >> {outside}/others; echo b > b.txt'\noutputs = ['b.txt']\ncache = false\n"
        ),
    );
    project.write("now.txt", "");
    let daemon = Daemon::start(&project);
    project.cairn(&["run", "-k"]).expect(1);
    // It leaves another input-hash behind each time, and is the same instance.
    until("two more tries", || count(&project, "tries") == 3 && dead(&project)[0]["retries"] == 2);
    until("their ends", || {
        daemon.ask("GET", "/api/v1/runs?status=running", "").1["items"] == Value::Array(Vec::new())
    });
    // It is looked each second: were it tried once more, that would be now.
    std::thread::sleep(Duration::from_millis(3500));
    assert_eq!(count(&project, "tries"), 3);
    assert_eq!(count(&project, "others"), 1, "what did not die is none of its business");
    assert_eq!(triggers(&daemon), ["retry", "retry"]);
    // A person is asked for more; what succeeds is dead no more.
    project.write("good", "");
    project.cairn(&["run"]).expect(0);
    assert!(dead(&project).is_empty());
}

#[test]
fn a_record_that_died_is_taken_in_again_and_poison_stays_dead() {
    let project = Project::new(BINARY);
    let good = project.file("good").display().to_string();
    project
        .write("cairn.toml", "pipelines = ['p.toml']\n")
        .write(
            "p.toml",
            "[pipeline]\nname = 'p'\nsandbox = 'off'\n[schedule]\nretry_dead = '1s'\n[stages.load]\ninputs = ['worker.py']\n\
             [stages.load.records]\nsource = 'in/*.jsonl'\nkey = ['id']\nworker = ['python3', 'worker.py']\n\
             sink = { type = 'sqlite', path = 't.db', table = 't' }\n",
        )
        .write("in/a.jsonl", "{\"id\":1}\n{\"id\":2}\n{\"ident\":3}\n")
        .write(
            "worker.py",
            format!(
                "import json, os, sys\nfor line in sys.stdin:\n    request = json.loads(line)\n    key = request['key']\n    \
                 if key == 1 and not os.path.exists('{good}'):\n        answer = {{'key': key, 'error': 'down', 'retry': False}}\n    \
                 else:\n        answer = {{'key': key, 'record': request['record']}}\n    print(json.dumps(answer), flush=True)\n"
            ),
        );
    let daemon = Daemon::start(&project);
    project.cairn(&["run"]).expect(0);
    assert_eq!(dead(&project).len(), 2);
    project.write("good", "");
    until("the record", || dead(&project).len() == 1);
    let left = &dead(&project)[0];
    assert!(left["payload"].as_str().unwrap().contains("ident") && left["retries"] == 0, "{left}");
    assert!(triggers(&daemon).contains(&"retry".to_owned()));
}

#[test]
fn an_effect_that_drifts_is_shown_told_and_mended() {
    let project = Project::new(BINARY);
    let at = project.path().display().to_string();
    project
        .write(
            "cairn.toml",
            format!(
                "pipelines = ['p.toml', 'slow.toml']\n[serve]\nruns = 1\n\
                 [notify]\ncommand = ['sh', '-c', 'cat >/dev/null; echo $CAIRN_OCCASION $CAIRN_PIPELINE >> {at}/told']\n"
            ),
        )
        .write(
            "p.toml",
            format!(
                "[pipeline]\nname = 'p'\n[schedule]\ncheck_drift = '1s'\n[stages.pay]\nrun = 'echo paid > {at}/book; echo x >> {at}/times'\n\
                 [stages.pay.effect]\nmode = 'at-least-once'\nkey = 'k'\nprobe = 'cat {at}/book; echo x >> {at}/asked'\n"
            ),
        )
        .write(
            "slow.toml",
            format!(
                "[pipeline]\nname = 'slow'\n[stages.a]\nrun = 'until [ -e {at}/go ]; do sleep 0.02; done; echo a > s.txt'\noutputs = ['s.txt']\n"
            ),
        );
    let daemon = Daemon::start(&project);
    project.cairn(&["run", "p.toml"]).expect(0);
    // It is asked, and stands.
    let asked = count(&project, "asked");
    until("two more questions", || count(&project, "asked") >= asked + 2);
    assert_eq!((count(&project, "times"), triggers(&daemon).len()), (1, 0));

    // The run that mends it waits: there is time to see how it stands.
    let slow = daemon.submit("slow", &serde_json::json!({}));
    daemon.until_status(&slow, "running");
    project.write("book", "gone");
    let effect = || lines(&project, &["effects", "list", "--json"]).remove(0);
    until("the drift", || effect().get("drifted").is_some());
    let shown = project.cairn(&["effects", "list"]).expect(0).stdout;
    assert!(shown.contains("DRIFTED") && shown.contains("gone"), "{shown}");
    let (_, listed) = daemon.ask("GET", "/api/v1/effects", "");
    assert_eq!(listed["items"][0]["state"], "drifted", "{listed}");
    until("the news", || project.exists("told"));

    project.write("go", "");
    until("the mend", || project.read("book").trim() == "paid");
    until("its end", || effect().get("drifted").is_none());
    assert_eq!(triggers(&daemon), ["drift"]);
    assert_eq!(count(&project, "times"), 2);
    assert_eq!(project.read("told").trim(), "drifted p", "once");
    daemon.kill();
}
