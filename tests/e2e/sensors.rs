//! Sensors of the daemon: what they cannot look at, and what they leave behind.

use cairn_testkit::Project;
use rustix::process::Signal;

use super::BINARY;
use super::daemon::{Daemon, until};

fn project(sensor: &str) -> Project {
    let project = Project::new(BINARY);
    let outside = project.path().display().to_string();
    let text = "[stages.a]\nrun = 'echo x >> OUTSIDE/runs'\ncache = false\n[schedule]\noverlap = 'queue'\nsensors = [SENSOR]\n";
    project.write(
        "p.toml",
        text.replace("OUTSIDE", &outside).replace("SENSOR", &sensor.replace("OUTSIDE", &outside)),
    );
    project.write("cairn.toml", "pipelines = ['p.toml']\n[serve]\nstop_after = '1s'\n");
    project
}

fn runs(project: &Project) -> usize {
    std::fs::read_to_string(project.file("runs")).unwrap_or_default().lines().count()
}

fn metric(daemon: &Daemon, what: &str) -> bool {
    let ask = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        daemon.token
    );
    daemon.raw(ask.as_bytes()).contains(what)
}

#[test]
fn an_odd_file_is_told_and_the_others_are_seen_as_ever() {
    let project = project("{ files = 'in/*', poll = '100ms', settle = '0s' }");
    project.write("in/old", "1");
    let daemon = Daemon::start(&project);
    let failing = || daemon.ask("GET", "/api/v1/pipelines/p", "").1["sensors_failing"].clone();
    std::os::unix::fs::symlink("/etc/passwd", project.file("in/odd")).unwrap();
    until("it to be told", || {
        failing()[0]["passed_over"][0].as_str().is_some_and(|why| why.contains("in/odd"))
    });
    assert_eq!(failing()[0]["sensor"], "files in/*");
    assert!(failing()[0]["cannot_look"].is_null());
    assert!(metric(&daemon, "cairn_sensors_failing{what=\"passes files over\"} 1"));
    let before = runs(&project);
    project.write("in/new", "2");
    until("a run for the new file", || runs(&project) > before);
    std::fs::remove_file(project.file("in/odd")).unwrap();
    until("it to be well", || failing().is_null());
    assert!(metric(&daemon, "cairn_sensors_failing{what=\"passes files over\"} 0"));
}

#[test]
fn a_command_that_prints_without_end_is_ended_and_told() {
    let project = project("{ command = 'echo $$ > OUTSIDE/pid; exec yes', poll = '1h' }");
    let daemon = Daemon::start(&project);
    let failing = || daemon.ask("GET", "/api/v1/pipelines/p", "").1["sensors_failing"].clone();
    until("it to be told", || {
        failing()[0]["cannot_look"]
            .as_str()
            .is_some_and(|why| why.starts_with("it prints more than 64 KiB: "))
    });
    assert!(metric(&daemon, "cairn_sensors_failing{what=\"cannot look\"} 1"));
    until("its end", || !lives(&project.read("pid")));
}

#[test]
fn what_a_sensor_asks_ends_with_the_daemon_or_by_the_next() {
    let project = project("{ command = 'sleep 1000 & echo $! > OUTSIDE/pid; wait', poll = '1h' }");
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(&project);
        until("its command", || project.exists("pid") && lives(&project.read("pid")));
        daemon.signal(signal);
        until("its end", || daemon.child.try_wait().unwrap().is_some());
        assert_eq!(daemon.child.wait().unwrap().code(), Some(0));
        until("the end of the command", || !lives(&project.read("pid")));
        std::fs::remove_file(project.file("pid")).unwrap();
    }
    let daemon = Daemon::start(&project);
    until("its command", || project.exists("pid") && lives(&project.read("pid")));
    daemon.kill();
    let left = project.read("pid");
    let _daemon = Daemon::start(&project);
    until("the end of what was left", || !lives(&left));
}

#[test]
fn a_command_that_ends_with_the_daemon_has_not_printed_nothing() {
    let text = "echo $$ > OUTSIDE/pid; echo x >> OUTSIDE/looks; until [ ! -e OUTSIDE/hang ]; do sleep 0.02; done; echo a";
    let project = project(&format!("{{ command = '{text}', poll = '100ms' }}"));
    let looks = || std::fs::read_to_string(project.file("looks")).unwrap_or_default().lines().count();
    let daemon = Daemon::start(&project);
    until("looks", || looks() >= 3);
    project.write("hang", "");
    let before = looks();
    until("one that hangs", || looks() > before);
    assert_eq!(daemon.stop().0, Some(0));
    std::fs::remove_file(project.file("hang")).unwrap();
    let before = looks();
    let daemon = Daemon::start(&project);
    until("more looks", || looks() >= before + 4);
    assert_eq!(
        daemon.ask("GET", "/api/v1/runs", "").1["items"],
        serde_json::json!([]),
        "it is the same as before"
    );
}

/// Returns whether a process is there and no zombie.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
