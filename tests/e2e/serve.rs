//! The daemon from outside: the real binary on a port of its own, stopped by the test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cairn_testkit::Project;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::BINARY;
use super::daemon::{Daemon, PATIENCE, until};

/// `slow` waits for the file `go`, and tells outside of what cairn sees that it started, and that it ended.
fn project() -> Project {
    let project = Project::new(BINARY);
    let outside = project.path().display().to_string();
    let slow = "[stages.a]\nrun = 'echo x >> OUTSIDE/starts; until [ -e OUTSIDE/go ]; do sleep 0.02; done; echo a > a.txt; echo x >> OUTSIDE/ends'\n\
        outputs = ['a.txt']\n[stages.b]\nrun = 'cp a.txt b.txt'\ninputs = ['a.txt']\noutputs = ['b.txt']\n";
    project.write("slow.toml", slow.replace("OUTSIDE", &outside));
    project.write(
        "quick.toml",
        "[params]\nword = 'w'\n[stages.a]\nrun = 'echo {{ params.word }} > q.txt'\noutputs = ['q.txt']\n",
    );
    project.write("cairn.toml", "pipelines = ['slow.toml', 'quick.toml']\n[serve]\nstop_after = '1s'\n");
    project
}

fn lines(project: &Project, file: &str) -> usize {
    std::fs::read_to_string(project.file(file)).unwrap_or_default().lines().count()
}

#[test]
fn killed_while_a_stage_runs_the_next_daemon_takes_it_over_and_queued_runs_stay() {
    let project = project();
    let daemon = Daemon::start(&project);
    let slow = daemon.submit("slow", &json!({}));
    // One that waits for its pipeline, one that waits for its time, one with a key.
    let second = daemon.submit("slow", &json!({ "force": true }));
    let later = daemon.submit("quick", &json!({ "not_before": "2999-01-01T00:00:00Z" }));
    until("its start", || lines(&project, "starts") == 1);
    daemon.kill();

    let daemon = Daemon::start(&project);
    for (run, status) in [(&slow, "running"), (&second, "queued"), (&later, "queued")] {
        assert_eq!(daemon.run(run)["status"], status);
    }
    daemon.kill();
    // It ends while no daemon is there to see it.
    project.write("go", "");
    until("its end", || lines(&project, "ends") == 1);
    let daemon = Daemon::start(&project);
    daemon.until_status(&slow, "succeeded");
    daemon.until_status(&second, "succeeded");
    assert_eq!((lines(&project, "starts"), lines(&project, "ends")), (2, 2), "each run's command ran once");
    assert_eq!(project.read("b.txt"), "a\n");
    assert_eq!(daemon.run(&later)["status"], "queued");
    let (_, all) = daemon.ask("GET", "/api/v1/runs", "");
    assert_eq!(all["items"].as_array().unwrap().len(), 3, "{all}");
}

#[test]
fn asked_to_stop_it_does_in_time_and_leaves_its_run_to_the_next() {
    let project = project();
    let daemon = Daemon::start(&project);
    let run = daemon.submit("slow", &json!({}));
    until("its start", || lines(&project, "starts") == 1);
    let (status, took) = daemon.stop();
    assert_eq!(status, Some(0));
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(20),
        "{took:?}: `stop_after` is 1 s"
    );
    assert!(!project.exists(".cairn/daemon.sock") && !project.exists(".cairn/address"));
    let daemon = Daemon::start(&project);
    assert_eq!(daemon.run(&run)["status"], "running");
    project.write("go", "");
    daemon.until_status(&run, "succeeded");
    assert_eq!((lines(&project, "starts"), lines(&project, "ends")), (1, 1));
    let (status, took) = daemon.stop();
    assert!(status == Some(0) && took < Duration::from_secs(20), "{status:?} {took:?}");
}

#[test]
fn an_idempotency_key_outlives_the_daemon() {
    let project = project();
    let ask = |daemon: &Daemon, body: &str| {
        let request = format!(
            "POST /api/v1/pipelines/quick/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Connection: close\r\nIdempotency-Key: \"k\"\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            daemon.token,
            body.len()
        );
        let answer = daemon.raw(request.as_bytes());
        let id = answer.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        (answer.split(' ').nth(1).unwrap().to_owned(), id)
    };
    let daemon = Daemon::start(&project);
    let first = ask(&daemon, "{}");
    assert_eq!(first.0, "201");
    daemon.kill();
    let daemon = Daemon::start(&project);
    assert_eq!(ask(&daemon, "{}"), ("200".to_owned(), first.1));
    assert_eq!(ask(&daemon, "{\"priority\":1}").0, "422");
}

#[test]
fn a_port_that_is_taken_and_a_state_folder_that_is_taken_are_told() {
    let project = project();
    let daemon = Daemon::start(&project);
    let second = project.cairn(&["serve", "--no-port"]).expect(5);
    assert!(second.stderr.contains(&daemon.child.id().to_string()), "{}", second.shown());

    let elsewhere = self::project();
    let port = daemon.port.to_string();
    let taken = elsewhere.cairn(&["serve", "--bind", &port]).expect(5);
    assert!(taken.stderr.contains(&port) && taken.stderr.contains("--bind"), "{}", taken.shown());
    // Nothing of it is left that would hold up the next.
    Daemon::start(&elsewhere);
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200, "the first goes on");
}

#[test]
fn an_address_that_other_machines_reach_has_to_be_meant() {
    let project = project();
    for bind in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = project.cairn(&["serve", "--bind", bind]).expect(2);
        assert!(
            refused.stderr.contains(bind) && refused.stderr.contains("`--expose`"),
            "{}",
            refused.shown()
        );
    }
    project.write("cairn.toml", "pipelines = ['quick.toml']\n[serve]\nbind = '0.0.0.0:0'\n");
    project.cairn(&["serve"]).expect(2);
    assert!(!project.exists(".cairn"), "it is refused before anything is made");
    project.write("cairn.toml", "pipelines = ['quick.toml']\n[serve]\nbind = '0.0.0.0:0'\nexpose = true\n");
    let daemon = Daemon::serve(&project, &["serve"]);
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200);
    daemon.kill();
    let daemon = Daemon::serve(&project, &["serve", "--bind", "0.0.0.0:0", "--expose"]);
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200);
}

#[test]
fn only_its_user_reads_the_token_and_uses_the_socket() {
    let project = project();
    let daemon = Daemon::start(&project);
    for file in [".cairn/token", ".cairn/daemon.sock"] {
        let mode = std::fs::symlink_metadata(project.file(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(daemon.token.len(), 64);
    let token = daemon.token.clone();
    daemon.kill();
    assert_eq!(Daemon::start(&project).token, token, "who knows it knows it tomorrow");
}

#[test]
fn a_token_that_can_be_guessed_or_read_is_none() {
    let project = project();
    project.write(".cairn/token", "abc\n");
    let refused = project.cairn(&["serve", "--no-port"]).expect(2);
    assert!(
        refused.stderr.contains("3 characters") && refused.stderr.contains("at least 32"),
        "{}",
        refused.shown()
    );
    project.write(".cairn/token", format!("{}\n", "s".repeat(32)));
    let token = project.file(".cairn/token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o640)).unwrap();
    let daemon = Daemon::start(&project);
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200);
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    daemon.kill();
    std::fs::remove_file(&token).unwrap();
    std::os::unix::fs::symlink("/dev/null", &token).unwrap();
    let refused = project.cairn(&["serve", "--no-port"]).expect(2);
    assert!(refused.stderr.contains("is no file"), "{}", refused.shown());
}

#[test]
fn a_socket_that_was_removed_is_back_before_commands_give_up() {
    let project = project();
    let daemon = Daemon::start(&project);
    let socket = project.file(".cairn/daemon.sock");
    std::fs::remove_file(&socket).unwrap();
    project.cairn(&["submit", "quick"]).expect(0);
    until("its run", || daemon.ask("GET", "/api/v1/runs", "").1["items"][0]["status"] == "succeeded");
    std::fs::remove_file(&socket).unwrap();
    project.cairn(&["run", "quick.toml"]).expect(0);
    // One that does not make it anew is told by what is missing.
    daemon.signal(Signal::STOP);
    std::fs::remove_file(&socket).unwrap();
    let missing = project.cairn(&["submit", "quick"]).expect(5);
    let pid = format!("process {}", daemon.child.id());
    assert!(missing.stderr.contains(&pid) && missing.stderr.contains("daemon.sock"), "{}", missing.shown());
}

#[test]
fn a_body_of_100_mb_is_refused_before_it_is_read() {
    let project = project();
    let daemon = Daemon::start(&project);
    let head = format!(
        "POST /api/v1/pipelines/quick/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 100000000\r\n\r\n",
        daemon.token
    );
    let mut request = head.into_bytes();
    request.resize(request.len() + (2 << 20), b' ');
    let began = Instant::now();
    let answer = daemon.raw(&request);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(20));
    // One without a token is not even listened to.
    let answer = daemon.raw(
        b"POST /api/v1/pipelines/quick/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Connection: close\r\nContent-Length: 100000000\r\n\r\n{",
    );
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200);
}

#[test]
fn a_client_that_is_slow_with_its_head_is_given_up_and_holds_up_nobody() {
    let project = project();
    let daemon = Daemon::start(&project);
    let mut slow: Vec<TcpStream> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", daemon.port)).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /api/v1/system HTTP/1.1\r\nHost: loc").unwrap();
    }
    let began = Instant::now();
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "it was held up");
    let mut first = slow.remove(0);
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = Vec::new();
    let _ = first.read_to_end(&mut rest);
    assert!(began.elapsed() >= Duration::from_secs(4), "5 s are given");
    assert!(began.elapsed() < Duration::from_secs(40), "the connection is ended");
}

#[test]
fn nonsense_on_the_port_is_refused_and_the_daemon_goes_on() {
    let project = project();
    let daemon = Daemon::start(&project);
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        b"POST /api/v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
    ] {
        let answer = daemon.raw(nonsense);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    let mut endless = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ".to_vec();
    endless.resize(1 << 20, b'x');
    let answer = daemon.raw(&endless);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(daemon.ask("GET", "/api/v1/system", "").0, 200);
}

#[test]
fn commands_ask_the_daemon() {
    let project = project();
    let none = project.cairn(&["submit", "quick"]).expect(2);
    assert!(none.stderr.contains("cairn serve"), "{}", none.shown());
    let daemon = Daemon::start(&project);
    let first = project.cairn(&["submit", "quick", "-p", "word=hi", "--key", "k", "--json"]).expect(0);
    let again = project.cairn(&["submit", "quick", "-p", "word=hi", "--key", "k", "--json"]).expect(0);
    let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(id(&first.stdout), id(&again.stdout));
    daemon.until_status(&id(&first.stdout), "succeeded");
    assert_eq!(project.read("q.txt"), "hi\n");
    project.cairn(&["submit", "unknown"]).expect(2);
    project.cairn(&["submit", "../quick"]).expect(2);
    let waiting = daemon.submit("quick", &json!({ "not_before": "2999-01-01T00:00:00Z" }));
    project.cairn(&["cancel", &waiting]).expect(0);
    assert_eq!(daemon.run(&waiting)["status"], "interrupted");
    project.cairn(&["cancel", &waiting]).expect(2);
    let link = project.cairn(&["serve", "--link"]).expect(0);
    assert!(
        link.stdout.starts_with(&format!("http://127.0.0.1:{}/login?code=", daemon.port)),
        "{}",
        link.stdout
    );
}

#[test]
fn dead_letters_and_effects_are_changed_through_the_daemon() {
    let project = project();
    project.write("bad.toml", "[stages.a]\nrun = 'exit 3'\noutputs = []\n");
    project.write("cairn.toml", "pipelines = ['bad.toml', 'quick.toml']\n");
    let daemon = Daemon::start(&project);
    let run = daemon.submit("bad", &json!({}));
    daemon.until_status(&run, "failed");
    let listed = project.cairn(&["dead", "list", "--json"]).expect(0);
    let id = serde_json::from_str::<Value>(&listed.stdout).unwrap()["id"].as_str().unwrap().to_owned();
    let retried = project.cairn(&["dead", "retry", &id]).expect(0);
    assert!(retried.stdout.contains("`cairn run bad.toml a` runs it again"), "{}", retried.shown());
    let as_json = project.cairn(&["dead", "retry", &id, "--json"]).expect(0);
    assert!(as_json.stdout.contains("\"taken_in\":false"), "{}", as_json.shown());
    let dropped = project.cairn(&["dead", "drop", &id[..8]]).expect(0);
    assert_eq!(dropped.stdout, "dropped 1 dead letter\n");
    assert_eq!(daemon.ask("GET", "/api/v1/dead-letters", "").1["items"], json!([]));
    let none = project.cairn(&["effects", "settle", "x", "--happened"]).expect(2);
    assert!(none.stderr.contains("there is no effect `x`"), "{}", none.shown());
}

#[test]
fn an_effect_is_undone_through_the_daemon() {
    let project = project();
    let outbox = project.file("outbox");
    project.write(
        "mail.toml",
        format!(
            r#"
[stages.send]
run = "true"
outputs = []
[stages.send.effect]
mode = "exactly-once"
key = "mail/1"
confirm = "true"
undo = 'echo "$CAIRN_IDEMPOTENCY_KEY" >> {}'

[stages.other]
run = "true"
outputs = []
[stages.other.effect]
mode = "at-least-once"
key = "mail/2"

[stages.slow]
run = "sleep 60"
outputs = []
needs = ["send", "other"]
"#,
            outbox.display()
        ),
    );
    project.write("cairn.toml", "pipelines = ['mail.toml']\n");
    let daemon = Daemon::start(&project);
    let run = daemon.submit("mail", &json!({}));
    until("both effects", || {
        let listed = daemon.ask("GET", "/api/v1/effects", "").1;
        let is_done = |one: &&Value| one["state"] == "confirmed";
        listed["items"].as_array().is_some_and(|all| all.iter().filter(is_done).count() == 2)
    });
    // What it did may be needed by what goes on.
    let busy = project.cairn(&["effects", "undo", "mail/1"]).expect(1);
    assert!(busy.stderr.contains("a run of `mail` goes on"), "{}", busy.shown());
    let _ = daemon.ask("POST", &format!("/api/v1/runs/{run}/cancel"), "");
    daemon.until_status(&run, "interrupted");
    until("the pipeline's turn", || daemon.ask("GET", "/api/v1/system", "").1["running"] == 0);

    let undone = project.cairn(&["effects", "undo", "mail/1", "--json"]).expect(0);
    assert!(undone.stdout.contains("\"undone\":true"), "{}", undone.shown());
    assert_eq!(project.read("outbox"), "undo:mail/1\n");
    let again = project.cairn(&["effects", "undo", "mail/1"]).expect(1);
    assert!(again.stderr.contains("the effect `mail/1` is UNDONE"), "{}", again.shown());
    let none = project.cairn(&["effects", "undo", "mail/2"]).expect(1);
    assert!(none.stderr.contains("it has no `undo`"), "{}", none.shown());
    let rest = project.cairn(&["effects", "undo", "--run", &run]).expect(1);
    assert!(rest.stderr.contains("it has no `undo`"), "{}", rest.shown());
    assert_eq!(project.read("outbox"), "undo:mail/1\n", "nothing is undone twice");
}

#[test]
fn a_daemon_that_is_to_stop_waits_for_an_undo() {
    let project = project();
    let outside = project.path().display().to_string();
    let mail = r#"
[stages.send]
run = "true"
outputs = []
[stages.send.effect]
mode = "at-most-once"
key = "mail/1"
undo = 'touch OUTSIDE/begun; until [ -e OUTSIDE/go ]; do sleep 0.02; done; echo x >> OUTSIDE/ends'
"#;
    project.write("mail.toml", mail.replace("OUTSIDE", &outside));
    project.write("cairn.toml", "pipelines = ['mail.toml']\n");
    let daemon = Daemon::start(&project);
    let run = daemon.submit("mail", &json!({}));
    daemon.until_status(&run, "succeeded");
    until("the pipeline's turn", || daemon.ask("GET", "/api/v1/system", "").1["running"] == 0);
    let mut asking = project.command(&["effects", "undo", "mail/1"]);
    let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the undo", || project.exists("begun"));
    let record = daemon.run(&run);
    assert_eq!(record["status"], "succeeded", "what is undone does not make its run go on: {record}");
    let (status, _) = daemon.ask("POST", &format!("/api/v1/runs/{run}/cancel"), "");
    assert_eq!(status, 409, "nor can that be cancelled");
    let go = project.file("go");
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        std::fs::write(go, "").unwrap();
    });
    let (status, took) = daemon.stop();
    later.join().unwrap();
    let _ = asking.wait();
    assert_eq!((status, lines(&project, "ends")), (Some(0), 1), "{took:?}");
    let listed = project.cairn(&["effects", "list", "--json"]).expect(0);
    assert!(listed.stdout.contains("\"state\":\"UNDONE\""), "{}", listed.shown());
}

#[test]
fn while_a_daemon_begins_commands_wait_for_it_and_it_waits_for_a_command_that_ends() {
    let project = project();
    let serve = || {
        let mut command = project.command(&["serve", "--bind", "127.0.0.1:0"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let run = project.start(&["run", "slow.toml"]);
    until("its start", || lines(&project, "starts") == 1);
    let child = serve();
    std::thread::sleep(Duration::from_millis(500));
    let mut daemon = Daemon { child, port: 0, token: String::new() };
    assert!(daemon.child.try_wait().unwrap().is_none(), "it waits");
    project.write("go", "");
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(0));
    project.cairn(&["run", "quick.toml"]).expect(0);
    until("its port", || project.exists(".cairn/address"));
    drop(daemon);
    for round in 0..5 {
        let daemon = Daemon { child: serve(), port: 0, token: String::new() };
        std::thread::sleep(Duration::from_millis(7 * round));
        project.cairn(&["run", "quick.toml", "--force"]).expect(0);
        drop(daemon);
    }
}

/// Reads what a command says until a line has these words.
fn says(child: &mut std::process::Child, words: &str) {
    let mut said = Vec::new();
    let mut byte = [0];
    let stderr = child.stderr.as_mut().unwrap();
    while !String::from_utf8_lossy(&said).contains(words) {
        assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&said));
        said.extend(byte);
    }
}

#[test]
fn a_request_that_meets_a_restart_is_sent_again_and_nothing_is_begun_twice() {
    let project = project();
    let failing = "[stages.a]\nrun = 'echo x >> fails; exit 1'\noutputs = ['f.txt']\n";
    project.write("failing.toml", failing.replace("fails", &project.file("fails").display().to_string()));
    project.write("cairn.toml", "pipelines = ['slow.toml', 'quick.toml', 'failing.toml']\n");
    let mut daemon = Daemon::start(&project);
    let failed = daemon.submit("failing", &json!({}));
    daemon.until_status(&failed, "failed");
    for (command, ends, runs) in [
        (&["run", "quick"][..], 0, 2),
        (&["submit", "quick"], 0, 3),
        (&["resume", &failed], 1, 3),
        (&["pause", "quick"], 0, 3),
    ] {
        // It hears what it is asked, and is killed before it reads it.
        daemon.signal(Signal::STOP);
        let mut child =
            project.command(command).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        says(&mut child, &format!("waiting for the daemon, process {}", daemon.child.id()));
        daemon.kill();
        daemon = Daemon::start(&project);
        let mut rest = String::new();
        child.stderr.take().unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(ends), "{command:?}: {rest}");
        until("its run", || {
            let (_, all) = daemon.ask("GET", "/api/v1/runs", "");
            let all = all["items"].as_array().unwrap().clone();
            assert_eq!(all.len(), runs, "{command:?}");
            all.iter().all(|run| !["queued", "running"].contains(&run["status"].as_str().unwrap()))
        });
    }
    assert_eq!(lines(&project, "fails"), 2);
}

#[test]
fn a_definition_that_was_just_edited_is_the_one_that_runs() {
    let project = project();
    let _daemon = Daemon::start(&project);
    let text = project.read("quick.toml");
    for word in ["one", "two", "six"] {
        project.write("quick.toml", text.replace("'w'", &format!("'{word}'")));
        project.cairn(&["run", "quick.toml"]).expect(0);
        assert_eq!(project.read("q.txt"), format!("{word}\n"));
    }
    project.write("new.toml", "[stages.n]\nrun = 'echo n > n.txt'\noutputs = ['n.txt']\n");
    project.write("cairn.toml", "pipelines = ['slow.toml', 'quick.toml', 'new.toml']\n");
    project.cairn(&["run", "new.toml"]).expect(0);
}

#[test]
fn a_link_is_told_only_where_there_is_a_port() {
    let project = project();
    Daemon::start(&project).kill();
    assert!(project.exists(".cairn/address"), "a daemon that is killed leaves it");
    let mut command = project.command(&["serve", "--no-port"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _daemon = Daemon { child, port: 0, token: String::new() };
    until("its socket", || project.cairn(&["submit", "quick"]).status == Some(0));
    let none = project.cairn(&["serve", "--link"]).expect(2);
    assert!(none.stderr.contains("no port"), "{}", none.shown());
}

#[test]
fn a_run_that_is_resumed_is_shown_from_there_on() {
    let project = project();
    project.write("bad.toml", "[stages.a]\nrun = 'echo x >> tries; exit 3'\noutputs = []\n");
    project.write("cairn.toml", "pipelines = ['bad.toml', 'slow.toml']\n");
    let _daemon = Daemon::start(&project);
    project.cairn(&["run", "bad.toml"]).expect(1);
    let first = project.cairn(&["resume", "--json"]).expect(1);
    let started = first.stdout.matches("attempt_started").count();
    let second = project.cairn(&["resume", "--json"]).expect(1);
    assert_eq!(second.stdout.matches("attempt_started").count(), started, "{}", second.shown());
}

#[test]
fn a_run_goes_on_otherwise_than_it_began() {
    let project = project();
    let text = "[stages.bad]\nrun = 'exit 3'\noutputs = []\n\
        [stages.first]\nrun = 'sleep 0.5; echo f > f.txt'\noutputs = ['f.txt']\n\
        [stages.last]\nrun = 'cp f.txt l.txt'\ninputs = ['f.txt']\noutputs = ['l.txt']\n";
    project.write("bad.toml", text);
    project.write("cairn.toml", "pipelines = ['bad.toml']\n");
    let daemon = Daemon::start(&project);
    project.cairn(&["run", "bad.toml"]).expect(1);
    let run = daemon.ask("GET", "/api/v1/runs", "").1["items"][0]["id"].as_str().unwrap().to_owned();
    let instances = || {
        let (_, found) = daemon.ask("GET", &format!("/api/v1/runs/{run}/instances"), "");
        found["items"].as_array().unwrap().clone()
    };
    assert!(!project.exists("l.txt"), "{:?}", instances());
    project.cairn(&["resume", "-k"]).expect(1);
    assert_eq!(project.read("l.txt"), "f\n", "`-k` goes past the failure: {:?}", instances());

    project.write("bad.toml", text.replace("exit 3", "true"));
    project.cairn(&["resume"]).expect(1);
    project.write("bad.toml", text.replace("exit 3", "exit"));
    project.cairn(&["resume", "--with-current", "-j", "3"]).expect(0);
    assert_eq!(daemon.run(&run)["status"], "succeeded");

    // Another text than the one in force is refused, and nothing is begun.
    project.write("bad.toml", text);
    project.cairn(&["run", "bad.toml"]).expect(1);
    let run = daemon.ask("GET", "/api/v1/runs", "").1["items"][0]["id"].as_str().unwrap().to_owned();
    let other = json!({ "file": "bad.toml", "definition": "0".repeat(64) }).to_string();
    let (status, problem) = daemon.ask("POST", &format!("/api/v1/runs/{run}/resume"), &other);
    assert_eq!(status, 409, "{problem}");
    assert_eq!(daemon.run(&run)["status"], "failed");
    let (status, _) = daemon.ask("POST", &format!("/api/v1/runs/{run}/resume"), "{\"job\":1}");
    assert_eq!(status, 422);
}

#[test]
fn what_a_paused_pipeline_misses_is_written_down() {
    let project = project();
    let head = "[schedule]\nafter = ['quick']\nsensors = [{ webhook = 'hook' }]\n";
    project.write("next.toml", format!("{head}[stages.n]\nrun = 'echo n > n.txt'\noutputs = ['n.txt']\n"));
    project.write("cairn.toml", "pipelines = ['quick.toml', 'next.toml']\n");
    let daemon = Daemon::start(&project);
    let hook =
        |body: &str| daemon.ask("POST", "/api/v1/hooks/hook", body).1["runs"].as_array().unwrap().len();
    let past = |daemon: &Daemon| -> Vec<String> {
        let (_, schedule) = daemon.ask("GET", "/api/v1/pipelines/next/schedule", "");
        let past = schedule["past"].as_array().unwrap().iter();
        past.map(|past| past["dropped"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(daemon.ask("POST", "/api/v1/pipelines/next/pause", "").0, 200);
    let run = daemon.submit("quick", &json!({}));
    daemon.until_status(&run, "succeeded");
    let short = daemon.run(&run)["short"].as_str().unwrap().to_owned();
    until("the end's consequences", || past(&daemon).len() == 1);
    assert_eq!(past(&daemon), [format!("after quick {short}: the schedule was paused")]);
    // Who calls tries again.
    assert_eq!((hook("{\"a\":1}"), hook("{\"a\":1}"), hook("{\"a\":2}")), (0, 0, 0));
    let missed = past(&daemon);
    assert_eq!(missed.iter().filter(|why| why.starts_with("webhook hook ")).count(), 2, "{missed:?}");
    daemon.kill();
    let daemon = Daemon::start(&project);
    assert_eq!(past(&daemon), missed, "it is durable");
    assert_eq!(daemon.ask("POST", "/api/v1/pipelines/next/unpause", "").0, 200);
    let run = daemon.submit("quick", &json!({ "force": true }));
    daemon.until_status(&run, "succeeded");
    let follows = || {
        let (_, runs) = daemon.ask("GET", "/api/v1/runs?pipeline=next", "");
        runs["items"].as_array().unwrap().len()
    };
    until("its follower", || follows() == 1);
    assert_eq!(past(&daemon), missed);
}

#[test]
fn pipelines_that_follow_each_other_in_a_circle_are_told_before_they_run() {
    let project = project();
    let follows =
        |name: &str| format!("[schedule]\nafter = ['{name}']\n[stages.n]\nrun = ['true']\noutputs = []\n");
    project.write("one.toml", follows("two")).write("two.toml", follows("one"));
    project.write("cairn.toml", "pipelines = ['one.toml', 'two.toml', 'quick.toml']\n");
    let all = project.cairn(&["check"]).expect(0);
    assert!(
        all.stderr.contains("one → two → one") && all.stderr.contains("two → one → two"),
        "{}",
        all.shown()
    );
    let named = project.cairn(&["check", "one.toml"]).expect(0);
    assert!(named.stderr.contains("CRN0705") && named.stderr.contains("one.toml:2:10"), "{}", named.shown());
    project.cairn(&["check", "quick.toml"]).expect(0);
    let daemon = Daemon::start(&project);
    let (_, one) = daemon.ask("GET", "/api/v1/pipelines/one", "");
    assert_eq!(one["circle"], json!(["one", "two"]));
    let (_, quick) = daemon.ask("GET", "/api/v1/pipelines/quick", "");
    assert_eq!(quick["circle"], Value::Null);
    let page = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        daemon.token
    );
    let page = daemon.raw(page.as_bytes());
    assert!(page.contains("one → two → one") && page.contains("follows itself"), "{page}");
}
