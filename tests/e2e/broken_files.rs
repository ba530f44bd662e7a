//! Pipeline files that an edit broke: their pipelines go on as they were, over restarts too, until the file is mended or gone.

use std::path::Path;
use std::process::Stdio;

use cairn_testkit::Project;
use serde_json::Value;

use super::BINARY;
use super::daemon::{Daemon, until};

const GOOD: &str = "[stages.a]\nrun = 'echo x >> OUTSIDE/runs'\ncache = false\n";

fn project() -> (Project, String) {
    let project = Project::new(BINARY);
    let good = GOOD.replace("OUTSIDE", &project.path().display().to_string());
    project.write("pipelines/a.toml", &good);
    project.write("cairn.toml", "");
    (project, good)
}

fn pipelines(daemon: &Daemon) -> (Vec<(String, bool)>, usize) {
    let (_, all) = daemon.ask("GET", "/api/v1/pipelines", "");
    let items = all["items"].as_array().unwrap();
    let one = |item: &Value| (item["name"].as_str().unwrap().to_owned(), item["broken"].is_string());
    (items.iter().map(one).collect(), all["broken"].as_array().unwrap().len())
}

/// Replaces the file at once, as editors do.
fn replace(file: &Path, bytes: &[u8]) {
    let beside = file.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, file).unwrap();
}

#[test]
fn a_file_that_an_edit_emptied_or_spoilt_is_broken_and_only_one_that_is_gone_is_gone() {
    let (project, good) = project();
    let file = project.file("pipelines/a.toml");
    let mut daemon = Daemon::start(&project);
    let one = |broken: bool| (vec![("a".to_owned(), broken)], 0);
    assert_eq!(pipelines(&daemon), one(false));
    let spoilt = [&b"\xff"[..], good.as_bytes()].concat();
    let missed = good.replace("[stages.", "[stage.");
    for (text, restart) in [
        (&b""[..], false),
        (b"", true),
        (b"garbage", false),
        (&spoilt, true),
        (missed.as_bytes(), false),
        (b"[stages.a\n", true),
        (b"# nothing\n", false),
    ] {
        let what = String::from_utf8_lossy(text).into_owned();
        replace(&file, text);
        until(&format!("it to be broken: {what:?}"), || pipelines(&daemon) == one(true));
        if restart {
            daemon.kill();
            daemon = Daemon::start(&project);
            assert_eq!(pipelines(&daemon), one(true), "after a restart: {what:?}");
        }
        let run = daemon.submit("a", &serde_json::json!({}));
        daemon.until_status(&run, "succeeded");
        replace(&file, good.as_bytes());
        until("it to be mended", || pipelines(&daemon) == one(false));
    }
    let metrics = daemon.raw(
        format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            daemon.token
        )
        .as_bytes(),
    );
    assert!(metrics.contains("cairn_pipelines_broken 0"), "{metrics}");
    std::fs::remove_file(&file).unwrap();
    until("it to be gone", || pipelines(&daemon) == (Vec::new(), 0));
    daemon.kill();
    // What is there under the same name later is another's.
    std::fs::write(&file, "[tool]\nx = 1\n").unwrap();
    let daemon = Daemon::start(&project);
    assert_eq!(pipelines(&daemon), (Vec::new(), 0));
}

#[test]
fn what_is_wrong_with_a_file_is_in_the_log_once() {
    let (project, _) = project();
    let said = std::fs::File::create(project.file("said")).unwrap();
    let mut command = project.command(&["serve", "--no-port"]);
    let mut daemon = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    until("its start", || project.read("said").contains("serving"));
    replace(&project.file("pipelines/a.toml"), b"");
    let warned = || project.read("said").matches("its last text without stays in force").count();
    until("a warning", || warned() > 0);
    project.write("pipelines/b.txt", "any change in the folder has the files looked at");
    std::thread::sleep(std::time::Duration::from_millis(500));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(warned(), 1, "{}", project.read("said"));
}

#[test]
fn a_near_miss_is_told_by_check_and_other_files_are_not() {
    let (project, good) = project();
    project.write("other.toml", "[stage.prod]\nurl = 'x'\n");
    project.cairn(&["check"]).expect(0);
    project.write("pipelines/b.toml", good.replace("[stages.", "[stage."));
    let checked = project.cairn(&["check"]).expect(2);
    assert!(checked.stderr.contains("no key `stage`"), "{}", checked.shown());
    std::fs::remove_file(project.file("pipelines/a.toml")).unwrap();
    project.cairn(&["check"]).expect(2);
    // One that is named is a pipeline's whatever is in it.
    project.write("pipelines/b.toml", "");
    project.write("cairn.toml", "pipelines = ['pipelines/b.toml']\n");
    let checked = project.cairn(&["check"]).expect(2);
    assert!(checked.stderr.contains("pipelines/b.toml"), "{}", checked.shown());
}
