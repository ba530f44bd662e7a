//! A state folder that is renamed or removed under who holds it: another process may hold what stands there then, and
//! nothing is executed by both.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use cairn_testkit::Project;

use super::BINARY;
use super::daemon::{Daemon, until};

fn project() -> Project {
    let project = Project::new(BINARY);
    let outside = project.path().display().to_string();
    let text = "[stages.a]\nrun = 'echo {{ interval.end }} >> OUTSIDE/times'\ncache = false\n\
                [schedule]\nevery = '1s'\noverlap = 'queue'\n";
    project.write("often.toml", text.replace("OUTSIDE", &outside));
    project.write("cairn.toml", "pipelines = ['often.toml']\n[serve]\nstop_after = '1s'\n");
    project
}

fn times(project: &Project) -> Vec<String> {
    let text = std::fs::read_to_string(project.file("times")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_daemon_whose_state_folder_is_renamed_ends_and_no_time_is_executed_twice() {
    let project = project();
    let said = std::fs::File::create(project.file("said")).unwrap();
    let mut command = project.command(&["serve", "--bind", "127.0.0.1:0"]);
    let mut first = command.stdout(Stdio::null()).stderr(said).spawn().unwrap();
    until("a run", || !times(&project).is_empty());
    std::fs::rename(project.file(".cairn"), project.file("moved")).unwrap();
    let mut second = Daemon::start(&project);
    until("the first's end", || first.try_wait().unwrap().is_some());
    assert_eq!(first.wait().unwrap().code(), Some(5));
    let said = project.read("said");
    assert!(
        said.contains("ERROR") && said.contains("is no longer the one that this process holds"),
        "{said}"
    );
    assert!(said.contains("help: start the daemon again, with the folder put back"), "{said}");
    // What the second one put there is not the first one's to take away.
    assert!(project.exists(".cairn/daemon.sock") && project.exists(".cairn/address"));
    let before = times(&project).len();
    until("runs of the second", || times(&project).len() >= before + 3);
    assert!(second.child.try_wait().unwrap().is_none());
    second.kill();
    let times = times(&project);
    let twice: HashSet<_> =
        times.iter().filter(|time| times.iter().filter(|of| of == time).count() > 1).collect();
    assert!(twice.is_empty(), "executed twice: {twice:?}");
}

#[test]
fn a_daemon_whose_state_folder_or_lock_is_removed_ends() {
    for gone in [".cairn", ".cairn/lock"] {
        let project = project();
        let mut daemon = Daemon::start(&project);
        until("a run", || !times(&project).is_empty());
        let path = project.file(gone);
        // The daemon may write to it meanwhile.
        until("its removal", || {
            if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }.is_ok()
                || !path.exists()
        });
        until("its end", || daemon.child.try_wait().unwrap().is_some());
        assert_eq!(daemon.child.wait().unwrap().code(), Some(5), "{gone}");
    }
}

#[test]
fn a_run_whose_state_folder_is_renamed_begins_nothing_more() {
    let project = Project::new(BINARY);
    let outside = project.path().display().to_string();
    let text = "[stages.a]\nrun = 'touch OUTSIDE/began; until [ -e OUTSIDE/go ]; do sleep 0.02; done'\ncache = false\n\
                [stages.b]\nneeds = ['a']\nrun = 'touch OUTSIDE/second'\ncache = false\n";
    project.write("pipeline.toml", text.replace("OUTSIDE", &outside));
    let said = std::fs::File::create(project.file("said")).unwrap();
    let mut run = project.command(&["run"]).stdout(Stdio::null()).stderr(said).spawn().unwrap();
    until("its start", || project.exists("began"));
    std::fs::rename(project.file(".cairn"), project.file("moved")).unwrap();
    project.write("go", "");
    until("its end", || run.try_wait().unwrap().is_some());
    assert_eq!(run.wait().unwrap().code(), Some(5), "{}", project.read("said"));
    assert!(
        project.read("said").contains("is no longer the one that this process holds"),
        "{}",
        project.read("said")
    );
    std::thread::sleep(Duration::from_millis(100));
    assert!(!project.exists("second"));
}
