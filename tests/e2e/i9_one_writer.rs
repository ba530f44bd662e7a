//! I9: two processes never execute in one project at once.

use std::time::{Duration, Instant};

use cairn_testkit::Project;

use super::BINARY;

#[test]
fn a_second_run_is_refused_with_the_holder_named() {
    let project =
        Project::with_pipeline(BINARY, "[stages.s]\nrun = \"sleep 30\"\n[stages.t]\nrun = \"true\"\n");
    let mut first = project.start(&["run", "-j", "1"]);
    let began = Instant::now();
    let runs = || {
        std::fs::read_dir(project.file(".cairn/staging")).is_ok_and(|mut entries| entries.next().is_some())
    };
    while !runs() {
        assert!(began.elapsed() < Duration::from_mins(1), "the first run never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = project.cairn(&["run"]).expect(5);
    assert!(refused.stderr.contains(&first.id().to_string()), "{}", refused.shown());
    // Reading goes on meanwhile.
    project.cairn(&["runs"]).expect(0);
    rustix::process::kill_process(rustix::process::Pid::from_child(&first), rustix::process::Signal::INT)
        .unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(130));
}
